"""Who takes part in a comparison, and a finished comparison as registry scripts read it, without loading a model."""

import hashlib
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from steps.sentiment import registry, runs
from steps.sentiment.command_line import InputError

#: The artifacts of a comparison: what was found, and the scores of each test row (label, slices, one column per model).
RESULT, SCORES, HUMAN_SCORES, TABLE = "comparison.json", "scores.parquet", "human_scores.parquet", "comparison.md"
_RUN = re.compile(r"runs:/([0-9a-f]{8})[0-9a-f]{24}/\S+")


class EvidenceError(InputError):
    """A comparison that nothing can be judged from. The message says what is wrong with it, and what to run."""


def hash_tag(name: str) -> str:
    """Return the tag of a comparison's run that holds the sha256 of one of its files."""
    return f"sha256.{name}"


@dataclass(frozen=True)
class Entrant:
    """A model in a comparison."""

    name: str
    family: str
    model_id: str
    run_id: str
    champion: bool

    @property
    def uri(self) -> str:
        """The URI under which MLflow loads the model."""
        return f"models:/{self.model_id}"


def entrants(digest: str, candidates: list[str]) -> list[Entrant]:
    """Return the candidates of a dataset and the present champion, whatever that was trained on.

    Args:
        digest: of the dataset.
        candidates: run ids; without any, the newest finished run of each training with its parameters.

    Raises:
        InputError: a run that does not exist, was deleted, has no model or another dataset; no candidate at all.
    """
    if candidates:
        found = [runs.get(run_id, "candidates") for run_id in dict.fromkeys(candidates)]
        for run in found:
            if run.info.status != "FINISHED" or "model_id" not in run.data.tags:
                raise InputError(f"candidates={run.info.run_id}: not a finished training run with a model")
            if run.data.tags.get("dataset_digest") != digest:
                raise InputError(
                    f"candidates={run.info.run_id}: trained on dataset {run.data.tags.get('dataset_digest')}, "
                    f"not on {digest}; models are compared only on the same digest"
                )
    else:
        newest: dict[str, Run] = {}
        for run in runs.finished(dataset_digest=digest):
            if "model_id" in run.data.tags:
                newest.setdefault(run.data.tags["step_key"], run)
        found = list(newest.values())[::-1]
    if not found:
        raise InputError(f"no finished training run on dataset {digest}; run a train_ entry point first")
    champion = registry.with_alias(registry.CHAMPION)
    names = [_name(run, found) for run in found]
    names = [
        name if names.count(name) == 1 else f"{name} {run.info.run_id[:6]}"
        for name, run in zip(names, found, strict=True)
    ]
    named = [
        (name, run.data.tags["family"], run.data.tags["model_id"], run.info.run_id)
        for name, run in zip(names, found, strict=True)
    ]
    if champion and champion.model_id not in {model_id for _, _, model_id, _ in named}:
        try:
            runs.get(champion.run_id, "champion")
        except InputError as error:
            raise InputError(
                f"the champion, version {champion.number}, was trained by run {champion.run_id}, which was deleted; restore it "
                f"(mlflow runs restore --run-id {champion.run_id}), or let another version be the champion (rollback, promote)"
            ) from error
        named.append((f"champion v{champion.number}", champion.tags["family"], champion.model_id, champion.run_id))
    return [Entrant(*values, champion=bool(champion and champion.model_id == values[2])) for values in named]


def refuse_deleted(found: list[Entrant]) -> None:
    """Check that the models are still there, before the first is asked thousands of texts.

    Raises:
        InputError: one was deleted.
    """
    for entrant in found:
        try:
            mlflow.get_logged_model(entrant.model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise InputError(
                f"{entrant.name}: model {entrant.model_id} of run {entrant.run_id} was deleted; allowed: models that are there"
            ) from error


def _name(run: Run, found: list[Run]) -> str:
    # The model's name; of several with one name, with the flags that are other than what most of them were given.
    name = _model_name(run)
    alike = [other for other in found if _model_name(other) == name]
    telling = [
        f"{flag}={_short(typed(text))}"
        for flag, text in sorted(run.data.params.items())
        if flag != "dataset" and typed(text) and typed(text) != _usual(flag, alike)
    ]
    return " ".join([name, *telling])


def _usual(flag: str, found: list[Run]) -> str | None:
    # What most of the runs were given that know the flag; None where no value leads.
    given = Counter(typed(run.data.params[flag]) for run in found if flag in run.data.params)
    (first, most), *others = given.most_common(2)
    return None if others and others[0][1] == most else first


def _model_name(run: Run) -> str:
    return run.data.tags.get("model_name", run.data.tags["family"])


def _short(text: str) -> str:
    # Of what a run has left its id tells enough, and of that the first letters.
    return _RUN.sub(r"\1", text)


def slice_accuracies(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the accuracy on each slice from the test metrics of a model."""
    found = {
        name.removeprefix("test_accuracy_"): value
        for name, value in metrics.items()
        if name.startswith("test_accuracy_")
    }
    return {name: value for name, value in found.items() if name not in ("low", "high")}  # the ends of its interval


def typed(text: str) -> str:
    """Return a logged flag as it was typed: `mlflow run` quotes it for the shell."""
    return " ".join(shlex.split(text))


def inputs_digest(dataset: str, models: list[Entrant]) -> str:
    """Return a digest of what a comparison reads: equal for the same models on the same dataset."""
    content = json.dumps([dataset, sorted(entrant.model_id for entrant in models)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: `result` is its comparison.json, `tags` are those of its run."""

    run_id: str
    result: dict[str, Any]
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def hashes(self) -> tuple[str, str]:
        """The sha256 of comparison.json and of scores.parquet; empty where none was logged."""
        return self.tags.get(hash_tag(RESULT), ""), self.tags.get(hash_tag(SCORES), "")

    @property
    def model_ids(self) -> list[str]:
        """The compared models."""
        return [entry["model_id"] for entry in self.result["models"]]

    def entry(self, model_id: str) -> dict[str, Any]:
        """Return what was found of one model."""
        return next(entry for entry in self.result["models"] if entry["model_id"] == model_id)

    def facts(self, model_id: str) -> dict[str, Any]:
        """Return what one model is, and what training and comparison measured of it.

        Raises:
            InputError: its training run was deleted.
        """
        entry = self.entry(model_id)
        run = runs.get(entry["run_id"], "model")
        trained = {name: value for name, value in sorted(run.data.metrics.items()) if not name.startswith("system/")}
        return {
            "name": entry["name"],
            "family": entry["family"],
            "run_id": run.info.run_id,
            "commit": run.data.tags.get("mlflow.source.git.commit", ""),
            "trained_on": run.data.tags["dataset_digest"],
            **{
                name: self.result[name] for name in ("dataset_digest", "dataset_source", "test_rows", "human_test_rows")
            },
            "training_metrics": trained,
            "test_metrics": dict(sorted(entry["metrics"].items())),
        }

    def scores(self) -> pd.DataFrame:
        """Return the test rows: `label`, slices, and the scores of each model under its id.

        Raises:
            EvidenceError: they were not logged, were changed since, or are not one score for each row and model.
        """
        return self._rows(SCORES, self.result["test_rows"])

    def human_scores(self) -> pd.DataFrame | None:
        """Return the same for the human-labelled test, or None where the dataset has none."""
        if not self.result["human_test_rows"]:
            return None
        return self._rows(HUMAN_SCORES, self.result["human_test_rows"])

    def _rows(self, name: str, count: int) -> pd.DataFrame:
        rows = pd.read_parquet(io.BytesIO(_logged(self.run_id, name, self.tags)))
        wrong = ""
        if missing := [column for column in ("label", *self.model_ids) if column not in rows]:
            wrong = f"holds no column {missing[0]}"
        elif len(rows) != count:
            wrong = f"holds {len(rows)} rows, not one for each of the {count} of the test"
        elif not rows["label"].isin([0, 1]).all():
            wrong = "holds a label that is neither 0 nor 1"
        else:
            for model_id in self.model_ids:
                scores = pd.to_numeric(rows[model_id], errors="coerce")
                bad = int((~scores.between(0, 1)).sum())  # a NaN lies between nothing
                if bad:
                    wrong = f"holds {bad} scores of {model_id} that are no number from 0 to 1"
        if wrong:
            raise EvidenceError(f"comparison {self.run_id}: {name} {wrong}; run the entry point compare again")
        return rows


def read(run_id: str) -> Comparison:
    """Read a finished comparison.

    Raises:
        InputError: the run is none.
        EvidenceError: it was changed since it was logged.
    """
    tags = runs.get(run_id, "comparison").data.tags
    return Comparison(run_id, json.loads(_logged(run_id, RESULT, tags)), dict(tags))


def _logged(run_id: str, name: str, tags: dict[str, str]) -> bytes:
    # The file as it was logged, by its sha256; read once, so that what was checked is what is used.
    try:
        content = runs.artifact(f"runs:/{run_id}/{name}", "comparison").read_bytes()
    except InputError as error:
        raise EvidenceError(
            f"comparison {run_id} has no {name} ({error}); run the entry point compare again"
        ) from error
    known = tags.get(hash_tag(name))
    if known is None:
        raise EvidenceError(
            f"comparison {run_id}: the sha256 of {name} was not logged, so that no change of it would be seen; "
            "run the entry point compare again"
        )
    if known != hashlib.sha256(content).hexdigest():
        raise EvidenceError(
            f"comparison {run_id}: {name} was changed since it was logged; run the entry point compare again"
        )
    return content


def table_of(run_id: str) -> str:
    """Return the table of a finished comparison, in Markdown."""
    return _logged(run_id, TABLE, runs.get(run_id, "comparison").data.tags).decode()


def newest(*model_ids: str) -> Comparison | None:
    """Return the newest finished comparison in which all these models took part, or None."""
    for run in runs.finished(step="compare"):
        found = read(run.info.run_id)
        if set(model_ids) <= set(found.model_ids):
            return found
    return None

"""Who takes part in a comparison, and a finished comparison as registry scripts read it, without loading a model."""

import hashlib
import json
import shlex
from dataclasses import dataclass
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from steps.sentiment import registry, runs
from steps.sentiment.command_line import InputError

#: The artifacts of a comparison: what was found, and the scores of each test row (label, slices, one column per model).
RESULT, SCORES, HUMAN_SCORES, TABLE = "comparison.json", "scores.parquet", "human_scores.parquet", "comparison.md"


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
            if run.info.lifecycle_stage == "deleted":
                raise InputError(
                    f"candidates={run.info.run_id}: this run was deleted; allowed: a finished training run"
                )
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
    # The model's name; of several with one name, with the flags in which they differ and that are not left out.
    name = _model_name(run)
    others = [other for other in found if other is not run and _model_name(other) == name]
    differing = [
        f"{flag}={typed(text)}"
        for flag, text in sorted(run.data.params.items())
        if flag != "dataset"
        and typed(text)
        and any(typed(other.data.params.get(flag, "")) != typed(text) for other in others)
    ]
    return " ".join([name, *differing])


def _model_name(run: Run) -> str:
    return run.data.tags.get("model_name", run.data.tags["family"])


def typed(text: str) -> str:
    """Return a logged flag as it was typed: `mlflow run` quotes it for the shell."""
    return " ".join(shlex.split(text))


def inputs_digest(dataset: str, models: list[Entrant]) -> str:
    """Return a digest of what a comparison reads: equal for the same models on the same dataset."""
    content = json.dumps([dataset, sorted(entrant.model_id for entrant in models)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: `result` is its comparison.json."""

    run_id: str
    result: dict[str, Any]

    @property
    def model_ids(self) -> list[str]:
        """The compared models."""
        return [entry["model_id"] for entry in self.result["models"]]

    def entry(self, model_id: str) -> dict[str, Any]:
        """Return what was found of one model."""
        return next(entry for entry in self.result["models"] if entry["model_id"] == model_id)

    def scores(self) -> pd.DataFrame:
        """Return the test rows: `label`, slices, and the scores of each model under its id."""
        return pd.read_parquet(runs.artifact(f"runs:/{self.run_id}/{SCORES}", "comparison"))

    def human_scores(self) -> pd.DataFrame | None:
        """Return the same for the human-labelled test, or None where the dataset has none."""
        if not self.result["human_test_rows"]:
            return None
        return pd.read_parquet(runs.artifact(f"runs:/{self.run_id}/{HUMAN_SCORES}", "comparison"))


def read(run_id: str) -> Comparison:
    """Read a finished comparison.

    Raises:
        InputError: the run is none.
    """
    path = runs.artifact(f"runs:/{run_id}/{RESULT}", "comparison")
    return Comparison(run_id, json.loads(path.read_text(encoding="utf-8")))


def table_of(run_id: str) -> str:
    """Return the table of a finished comparison, in Markdown."""
    return runs.artifact(f"runs:/{run_id}/{TABLE}", "comparison").read_text(encoding="utf-8")


def newest(*model_ids: str) -> Comparison | None:
    """Return the newest finished comparison in which all these models took part, or None."""
    for run in runs.finished(step="compare"):
        found = read(run.info.run_id)
        if set(model_ids) <= set(found.model_ids):
            return found
    return None

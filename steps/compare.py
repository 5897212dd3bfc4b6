"""Evaluates the candidates and the present champion on the test split, once, and names the best.

    mlflow run . -e compare --env-manager local
    python -m steps.compare --candidates RUN_ID,RUN_ID

The only step that opens the test split. The winner is the best on validation (ROC AUC): test figures are for judging it,
not for choosing it. A model takes seconds per 15,000 tweets. Leaves a finished run with a child run per model
(`test_` metrics with 95 % intervals, slices, figures), the table, and the scores of each test row, so that
`promote` can decide without loading a model.
"""

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from tabulate import tabulate

from steps.sentiment import command_line, comparison, metrics, plots, runs, slices, tracking
from steps.sentiment.command_line import Flags, InputError, integer, words
from steps.sentiment.comparison import Entrant
from steps.sentiment.dataset import Dataset, fold
from steps.sentiment.paired import mcnemar

#: Texts asked one at a time for the latency of a single request.
SINGLE_TEXTS = 50
BATCH = 256


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("compare", __doc__)
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    flags.flag("candidates", "", "ids of training runs, separated by commas; default: all on this dataset", words)
    flags.flag("seed", "0", "of the bootstrap intervals", integer())
    return flags


def scores_of(model: Any, texts: list[str]) -> np.ndarray:
    """Return P(positive) of each text, shape (n_texts,)."""
    return np.array([answer["score"] for answer in model.predict(texts)])


@dataclass
class Rows:
    """The rows of a test, and the scores of each model on them by its id."""

    frame: pd.DataFrame
    scores: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        """0 or 1, shape (n_rows,)."""
        return self.frame["label"].to_numpy()

    @cached_property
    def slices(self) -> pd.DataFrame:
        """Which slices each row is in."""
        return slices.flags(self.frame["text"])

    def ask(self, entrant: Entrant, model: Any) -> np.ndarray:
        """Score the rows with a model and keep what it answers, shape (n_rows,)."""
        self.scores[entrant.model_id] = scores_of(model, self.frame["text"].tolist())
        return self.scores[entrant.model_id]

    def artifact(self) -> pd.DataFrame:
        """Return label, slices and scores of each row; no text."""
        return pd.concat([self.frame["label"].to_frame(), self.slices, pd.DataFrame(self.scores)], axis=1)


def latency(model: Any, texts: list[str]) -> dict[str, float]:
    """Return milliseconds per text, asked one by one (median) and in batches."""
    single = []
    for text in texts[:SINGLE_TEXTS]:
        start = time.perf_counter()
        model.predict([text])
        single.append(1000 * (time.perf_counter() - start))
    start = time.perf_counter()
    model.predict(texts[:BATCH])
    return {
        "predict_ms_single": float(np.median(single)),
        "predict_ms_per_tweet": 1000 * (time.perf_counter() - start) / len(texts[:BATCH]),
    }


def refuse_rows_it_was_trained_on(entrant: Entrant, dataset: Dataset, test: Rows) -> None:
    """Check that a model trained on another dataset has seen none of this one's validation and test rows.

    Raises:
        InputError: it has, or what it was trained on is not to be had any more.
    """
    tags = runs.get(entrant.run_id, "candidates").data.tags
    if tags["dataset_digest"] == dataset.digest:
        return
    trained_on = tracking.find_dataset(tags["dataset_uri"])
    known = {fold(text) for text in trained_on.split("train")["text"]}
    for name, rows in (("test", test.frame), ("validation", dataset.split("validation"))):
        seen = sum(fold(text) in known for text in rows["text"])
        if seen:
            raise InputError(
                f"{entrant.name} was trained on {seen} of the {len(rows)} {name} rows of dataset {dataset.digest}; allowed: a "
                f"dataset that keeps them apart, as one prepared with the seed, holdout and counts of {trained_on.digest} does"
            )


def validation_auc(entrant: Entrant, dataset: Dataset, model: Any) -> float:
    """Return the ROC AUC on this dataset's validation split; measured anew for a model trained on another dataset."""
    trained = runs.get(entrant.run_id, "candidates")
    if trained.data.tags["dataset_digest"] == dataset.digest:
        return trained.data.metrics["validation_roc_auc"]
    validation = dataset.split("validation")
    return float(roc_auc_score(validation["label"], scores_of(model, validation["text"].tolist())))


def evaluate(test: Rows, scores: np.ndarray, seed: int) -> dict[str, float]:
    """Return the test metrics of one model with their intervals, and its accuracy in each slice that the test has."""
    labels = test.labels
    found = {f"test_{name}": value for name, value in metrics.evaluate(labels, scores).items()}
    for name, (low, high) in metrics.intervals(labels, scores, seed=seed).items():
        found |= {f"test_{name}_low": low, f"test_{name}_high": high}
    right = (scores >= 0.5) == labels.astype(bool)
    for name, rows in test.slices.items():
        if rows.any():
            found[f"test_accuracy_{name}"] = float(right[rows.to_numpy()].mean())
    return found


def table(entries: list[dict[str, Any]]) -> str:
    """Return the comparison as a Markdown table, the best first."""

    def figure(values: dict[str, float], name: str) -> str:
        if name not in values:
            return ""
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        return f"{values[name]:.4f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")

    rows = []
    for entry in entries:
        found = entry["metrics"]
        rows.append(
            {
                "model": entry["name"] + (" (champion)" if entry["champion"] else ""),
                "validation AUC": f"{found['validation_roc_auc']:.4f}",
                "accuracy": figure(found, "test_accuracy"),
                "F1": f"{found['test_f1']:.4f}",
                "ROC AUC": figure(found, "test_roc_auc"),
                "ECE": f"{found['test_ece']:.4f}",
                "human test": figure(found, "human_test_accuracy"),
                "ms/tweet": f"{found['predict_ms_per_tweet']:.3f}",
                "MB": f"{found.get('model_size_mb', float('nan')):.1f}",
                "p against champion": f"{found['p_against_champion']:.4f}" if "p_against_champion" in found else "",
            }
        )
    shown = pd.DataFrame(rows)
    shown = shown.loc[:, (shown != "").any()]
    return tabulate(shown, headers="keys", tablefmt="github", showindex=False, disable_numparse=True)


def human_metrics(human: Rows, scores: np.ndarray, seed: int) -> dict[str, float]:
    """Return accuracy and ROC AUC on the human-labelled test with their intervals; they choose nothing."""
    found, bounds = metrics.evaluate(human.labels, scores), metrics.intervals(human.labels, scores, seed=seed)
    values: dict[str, float] = {}
    for name in ("accuracy", "roc_auc"):
        low, high = bounds[name]
        values |= {f"human_test_{name}": found[name], f"human_test_{name}_low": low, f"human_test_{name}_high": high}
    return values


def examine(entrant: Entrant, dataset: Dataset, test: Rows, human: Rows | None, seed: int) -> dict[str, float]:
    """Load a model, ask it all test rows and return its metrics."""
    refuse_rows_it_was_trained_on(entrant, dataset, test)
    model = mlflow.pyfunc.load_model(entrant.uri)
    found = evaluate(test, test.ask(entrant, model), seed) | latency(model, test.frame["text"].tolist())
    found["validation_roc_auc"] = validation_auc(entrant, dataset, model)
    trained = runs.get(entrant.run_id, "candidates").data.metrics
    found |= {name: trained[name] for name in ("model_size_mb", "train_seconds", "train_rows") if name in trained}
    if human is not None:
        found |= human_metrics(human, human.ask(entrant, model), seed)
    return found


def main(argv: list[str] | None = None) -> None:
    """Compare the models and log what was found."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    entrants = comparison.entrants(dataset.digest, given.candidates)
    with tracking.step("compare", given.texts, comparison.inputs_digest(dataset.digest, entrants)) as run:
        test, human = Rows(dataset.split("test")), dataset.human_test()
        human_rows = None if human is None else Rows(human)
        entries = [
            {**vars(entrant), "metrics": examine(entrant, dataset, test, human_rows, given.seed)}
            for entrant in command_line.progress(entrants, desc="compare", unit="model")
        ]
        for entry in entries:
            for champion in (entrant for entrant in entrants if entrant.champion and not entry["champion"]):
                paired = mcnemar(test.labels, test.scores[entry["model_id"]], test.scores[champion.model_id])
                entry["metrics"]["p_against_champion"] = paired.p_value
        entries.sort(key=lambda entry: -entry["metrics"]["validation_roc_auc"])
        result = {
            "dataset_digest": dataset.digest,
            "dataset_source": dataset.source,
            "test_rows": len(test.frame),
            "human_test_rows": 0 if human is None else len(human),
            "winner": entries[0]["model_id"],
            "models": entries,
        }
        frames = {comparison.SCORES: test.artifact()}
        if human_rows is not None:
            frames[comparison.HUMAN_SCORES] = human_rows.artifact()
        tracking.log_comparison(dataset, result, table(entries), frames, figures(entries, test))
    print(
        f"compare: {len(entries)} model(s) on {len(test.frame):,} test rows of dataset {dataset.digest} ({dataset.source})"
    )
    if "mlflow.parentRunId" not in run.data.tags:  # `main` shows the table at its end
        print(table(entries))


def figures(entries: list[dict[str, Any]], test: Rows) -> dict[str, Figure]:
    """Return the curves of the first models in one figure each, and a confusion matrix of every model."""
    by_name = {entry["name"]: test.scores[entry["model_id"]] for entry in entries}
    confusions = {
        f"confusion-{name}": plots.confusion(test.labels, score, f"test, {name}") for name, score in by_name.items()
    }
    return plots.curves(test.labels, dict(list(by_name.items())[: plots.MOST]), "test") | confusions


if __name__ == "__main__":
    command_line.run(main, "compare")

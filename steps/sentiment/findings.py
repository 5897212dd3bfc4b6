"""What the evidence of a comparison says, as numbers: read by the notebook and by the slides, which show and explain them.

Everything here follows from the files of `docs/results/evidence/`: no run is looked up, no model asked.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cleanlab.count import estimate_joint
from scipy import stats

from steps.sentiment import evidence, judgement
from steps.sentiment.paired import PairedTest, mcnemar
from steps.sentiment.plots import Interval

#: What a model costs: name of its metric -> how it is shown.
COSTS = {
    "predict_ms_per_tweet": "ms per tweet, in a batch",
    "predict_ms_single": "ms per tweet, alone",
    "model_size_mb": "size, MB",
    "train_seconds": "training, s",
    "peak_memory_mb": "memory, MB",
    "usd_per_million_tweets": "USD per million tweets",
}
#: Level below which a paired test tells two models apart.
LEVEL = 0.05
#: Accuracy that we give for behaviour or for size: half a tweet in a hundred.
MARGIN = 0.005


@dataclass(frozen=True, eq=False)
class Model:
    """One compared model: its `run.json`, and label, slices and score of each test row and each human-labelled row."""

    run: dict[str, Any]
    scores: pd.DataFrame
    human: pd.DataFrame | None

    @property
    def kind(self) -> str:
        """What it is, without the flags that tell it from others of its kind."""
        return judgement.kind(self.run["name"])

    @property
    def name(self) -> str:
        """What it is and on how many tweets it was trained."""
        return f"{self.kind}, {self.metric('train_rows'):,.0f}"

    @property
    def labels(self) -> np.ndarray:
        """0 or 1 of each test row, shape (n_rows,)."""
        return self.scores["label"].to_numpy()

    @cached_property
    def right(self) -> np.ndarray:
        """Whether its answer is the label, bool of shape (n_rows,)."""
        return (self.scores["score"].to_numpy() >= 0.5) == self.labels.astype(bool)

    def metric(self, name: str) -> float:
        """Return a figure of the comparison, or else of the training; NaN where it was not measured."""
        return float(self.run["test_metrics"].get(name, self.run["training_metrics"].get(name, np.nan)))

    def interval(self, name: str) -> Interval:
        """Return a figure with its 95 % interval."""
        return self.metric(name), self.metric(f"{name}_low"), self.metric(f"{name}_high")

    def slices(self) -> dict[str, Interval]:
        """Return the accuracy on each kind of test row that there is, with its 95 % interval.

        Where the comparison has none, it is that of the bootstrap: how often a resample of n rows is right is binomial.
        """
        found = {}
        for name in self.scores.columns.drop(["label", "score"]):
            value, *ends = self.interval(f"test_accuracy_{name}")
            rows = int(self.scores[name].sum())
            if not rows:
                continue
            low, high = stats.binom.ppf([0.025, 0.975], rows, value) / rows if np.isnan(ends).any() else ends
            found[name] = (value, float(low), float(high))
        return found

    @property
    def failures(self) -> float:
        """The mean rate of failure of its behavioural tests, 0 to 1; NaN where it was not asked them."""
        rates = [value for name, value in self.run["test_metrics"].items() if name.startswith("behaviour_")]
        return float(np.mean(rates)) if rates else float("nan")

    def unsure(self) -> tuple[float, float, float]:
        """Return the share of the test rows in its unsure band, and its accuracy inside and outside."""
        inside = self.scores["score"].between(self.metric("unsure_low"), self.metric("unsure_high")).to_numpy()
        return float(inside.mean()), float(self.right[inside].mean()), float(self.right[~inside].mean())


def read(folder: Path, digest: str = "") -> list[Model]:
    """Return the models compared on one dataset, the best on validation first.

    Args:
        folder: the evidence.
        digest: of the dataset; default the one with the newest training.

    Raises:
        ValueError: no evidence of it.
    """
    found = evidence.read(folder)
    there = {run["dataset_digest"]: None for run, _ in sorted(found, key=lambda one: one[0]["started"])}
    digest = digest or next(reversed(there), "")
    models = []
    for run, scores in found:
        if run["dataset_digest"] == digest:
            path = evidence.place(folder, digest, run["family"], run["run_id"]) / "human_scores.parquet"
            models.append(Model(run, scores, pd.read_parquet(path) if path.exists() else None))
    if not models:
        raise ValueError(f"no evidence of dataset {digest or '(any)'} in {folder}; there is some of {list(there)}")
    return models


def of_families(models: Sequence[Model]) -> list[Model]:
    """Return the first model of each family: the best on validation, as `read` orders them."""
    first: dict[str, Model] = {}
    for model in models:
        first.setdefault(model.run["family"], model)
    return list(first.values())


def learning_curves(models: Sequence[Model]) -> dict[str, dict[int, Interval]]:
    """Return the ROC AUC by training tweets of each kind of model that was trained on two sizes at least."""
    return judgement.learning_curves(((model.run["name"], model.run["test_metrics"]) for model in models), sizes=2)


def quality_by_cost(
    models: Sequence[Model],
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, float]]]:
    """Return the ROC AUC by family and run, and each cost that was measured of all models, as it is shown, by run."""
    quality: dict[str, dict[str, Interval]] = {}
    for model in models:
        quality.setdefault(model.run["family"], {})[model.run["run_id"]] = model.interval("test_roc_auc")
    costs = {shown: {model.run["run_id"]: model.metric(cost) for model in models} for cost, shown in COSTS.items()}
    return quality, {shown: of_run for shown, of_run in costs.items() if not np.isnan(list(of_run.values())).any()}


def paired(model: Model, other: Model) -> PairedTest:
    """Return the test rows that only one of two models has right, and how surely one is better."""
    return mcnemar(model.labels, model.scores["score"].to_numpy(), other.scores["score"].to_numpy())


def tied(models: Sequence[Model]) -> list[Model]:
    """Return those of the models that the paired test cannot tell from the first of them."""
    return [model for model in models[1:] if paired(model, models[0]).p_value > LEVEL]


def as_accurate(models: Sequence[Model]) -> list[Model]:
    """Return the models whose accuracy is not surely lower than that of the first of them by more than the margin; it is one."""

    def surely_lower(model: Model) -> bool:
        test = mcnemar(
            model.labels, model.scores["score"].to_numpy(), models[0].scores["score"].to_numpy(), margin=-MARGIN
        )
        return test.worse - test.better > MARGIN * len(model.labels) and test.p_value <= LEVEL

    return [model for model in models if not surely_lower(model)]


def proposed(models: Sequence[Model]) -> Model:
    """Return the model to serve, of those that are as accurate as the first.

    The one that fails the fewest written cases; of those that were not asked them, the one that takes the least room.
    """
    alike = as_accurate(models)
    asked = [model for model in alike if not np.isnan(model.failures)]
    return min(asked or alike, key=lambda model: (model.failures if asked else 0.0, model.metric("model_size_mb")))


def human_tests(models: Sequence[Model]) -> list[PairedTest]:
    """Return the paired test of each two models on the human-labelled rows, of those models that were asked them."""
    asked = [model.human for model in models if model.human is not None]
    return [
        mcnemar(one["label"].to_numpy(), one["score"].to_numpy(), other["score"].to_numpy())
        for one, other in itertools.combinations(asked, 2)
    ]


def agreement(models: Sequence[Model]) -> pd.DataFrame:
    """Return on which share of the test rows two models give the same answer, by names, shape (n_models, n_models)."""
    answers = {model.name: model.scores["score"] >= 0.5 for model in models}
    return pd.DataFrame(
        {
            one: {other: float((ours == theirs).mean()) for other, theirs in answers.items()}
            for one, ours in answers.items()
        }
    )


def wrong_together(models: Sequence[Model]) -> pd.DataFrame:
    """Return the share of the test rows on which 0, 1, ... of the models are wrong.

    Returns:
        Columns `found`, and `by chance`: as it would be if models of this accuracy erred on tweets of their own.
    """
    wrong = np.sum([~model.right for model in models], axis=0)
    chance = np.ones(1)
    for model in models:
        chance = np.convolve(chance, [model.right.mean(), 1 - model.right.mean()])
    found = np.bincount(wrong, minlength=len(models) + 1) / len(wrong)
    return pd.DataFrame({"found": found, "by chance": chance})


def wrong_labels(labels: np.ndarray, scores: np.ndarray) -> float:
    """Estimate the share of wrong labels by confident learning (Northcutt, Jiang and Chuang 2021, by cleanlab).

    A row speaks against its label when the model is surer of the other class than it is, on average, of that class's own rows.

    Args:
        labels: 0 or 1, shape (n,), both present.
        scores: P(label 1) by a model that was not trained on these rows, shape (n,).
    """
    scores = scores.astype(float)
    joint = estimate_joint(labels.astype(int), np.column_stack([1 - scores, scores]))
    return float(1 - np.trace(joint))


def needed(disagreements: int) -> int:
    """Return of how many rows, of those on which two models disagree, one must be right for McNemar's test to tell them apart.

    It is more than all of them where there are too few.
    """
    rights = np.arange(disagreements // 2, disagreements + 1)
    p_values = 2 * stats.binom.sf(rights - 1, disagreements, 0.5)
    return int(rights[p_values <= LEVEL].min(initial=disagreements + 1))


def measured(models: Sequence[Model], word: str) -> pd.DataFrame:
    """Return the figures of the comparison in whose names `word` occurs, by name and model, intervals left out.

    Models of which no such thing was measured are left out; without any it is empty. Of two of one name the run is named too.
    """
    names = Counter(model.name for model in models)
    found = {
        model.name if names[model.name] == 1 else f"{model.name} ({model.run['run_id'][:8]})": {
            name: value
            for name, value in model.run["test_metrics"].items()
            if word in name and not name.endswith(("_low", "_high"))
        }
        for model in models
    }
    return pd.DataFrame(found).dropna(how="all").dropna(how="all", axis=1)

"""What models reach on the same rows: figures with intervals, by slice, and against each other."""

from collections.abc import Iterable, Mapping

import numpy as np

from steps.sentiment import metrics
from steps.sentiment.paired import delong, mcnemar
from steps.sentiment.rows import Rows

#: Metrics of a model by its id.
Measured = dict[str, dict[str, float]]
#: Metrics that are shown of the human-labelled test, and as differences of two models.
FEW = ("accuracy", "roc_auc")
#: Sizes of training data from which on a model has a learning curve.
SIZES = 4


def judge(test: Rows, opponents: Mapping[str, str], seed: int) -> Measured:
    """Return the test metrics of each model with their 95 % intervals, and its accuracy in each slice that the test has.

    `test_unsure_share` is the share of rows that it is unsure of, `test_unsure_accuracy` and `test_sure_accuracy` are those of
    these rows and of the others, where there are some.
    Against each opponent: `p_against_` (McNemar: who is right more often), `roc_auc_p_against_` (DeLong: who ranks better), and
    how much higher accuracy and ROC AUC are, `accuracy_above_` and `roc_auc_above_`, with the intervals of the differences.

    Args:
        test: the rows, asked to every model.
        opponents: model ids by what they are called in the names of metrics, `champion` and `baseline`.
        seed: of the resamples, which all models share.
    """
    drawn = metrics.resampled(test.labels, test.scores, seed=seed)
    found: Measured = {}
    for model_id, scores in test.scores.items():
        ends = metrics.bounds(test.labels, scores, drawn[model_id])
        found[model_id] = _with_ends("test_", metrics.evaluate(test.labels, scores), ends)
        right = (scores >= 0.5) == test.labels.astype(bool)
        found[model_id] |= {
            f"test_accuracy_{name}": float(right[rows.to_numpy()].mean())
            for name, rows in test.slices.items()
            if rows.any()
        } | _trusted(right, test.unsure[model_id])
    for name, opponent in opponents.items():
        for model_id in found.keys() - {opponent}:
            found[model_id] |= _against(name, test, model_id, opponent)
            for metric in FEW:
                differences = drawn[model_id][metric] - drawn[opponent][metric]
                difference = found[model_id][f"test_{metric}"] - found[opponent][f"test_{metric}"]
                found[model_id] |= _with_ends(
                    "", {f"{metric}_above_{name}": difference}, {f"{metric}_above_{name}": metrics.middle(differences)}
                )
    return found


def judge_human(human: Rows, seed: int) -> Measured:
    """Return accuracy and ROC AUC of each model on the human-labelled test with their intervals; they choose nothing."""
    drawn = metrics.resampled(human.labels, human.scores, seed=seed)
    found: Measured = {}
    for model_id, scores in human.scores.items():
        values, ends = metrics.evaluate(human.labels, scores), metrics.bounds(human.labels, scores, drawn[model_id])
        found[model_id] = _with_ends("human_test_", {name: values[name] for name in FEW}, ends)
    return found


def kind(name: str) -> str:
    """Return what a model of this name is, without the flags that tell it from others of its kind."""
    return " ".join(word for word in name.split() if "=" not in word)


def learning_curves(
    models: Iterable[tuple[str, Mapping[str, float]]], sizes: int = SIZES
) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Return ROC AUC with its interval by training tweets, of each model that was trained on many sizes.

    Args:
        models: names and metrics of a comparison, the best on validation first; flags in a name tell no models apart here, and of
            equal sizes the first counts.
        sizes: how many are many.
    """
    curves: dict[str, dict[int, tuple[float, float, float]]] = {}
    for name, found in models:
        if "train_rows" not in found:
            continue
        point = (found["test_roc_auc"], found["test_roc_auc_low"], found["test_roc_auc_high"])
        curves.setdefault(kind(name), {}).setdefault(int(found["train_rows"]), point)
    return {name: points for name, points in curves.items() if len(points) >= sizes}


def _with_ends(prefix: str, values: Mapping[str, float], ends: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        low, high = ends[name]
        found |= {f"{prefix}{name}": value, f"{prefix}{name}_low": low, f"{prefix}{name}_high": high}
    return found


def _trusted(right: np.ndarray, unsure: np.ndarray) -> dict[str, float]:
    parts = {"test_unsure_accuracy": right[unsure], "test_sure_accuracy": right[~unsure]}
    return {"test_unsure_share": float(unsure.mean())} | {
        name: float(own.mean()) for name, own in parts.items() if len(own)
    }


def _against(name: str, test: Rows, model_id: str, opponent: str) -> dict[str, float]:
    ours, theirs = test.scores[model_id], test.scores[opponent]
    return {
        f"p_against_{name}": mcnemar(test.labels, ours, theirs).p_value,
        f"roc_auc_p_against_{name}": delong(test.labels, ours, theirs).p_value,
    }

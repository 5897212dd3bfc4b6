"""Labels and scores -> numbers and intervals. Pure: neither MLflow nor files."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from steps.sentiment.command_line import RefusedError

#: Equal-width bins of the expected calibration error (Guo et al. 2017, "On calibration of modern neural networks").
ECE_BINS = 15
#: A text whose answers are right less often than this is not to be trusted: the unsure band.
TRUSTED = 2 / 3
#: A model that calls a class this much rarer than it is, on validation, has fallen to the other class.
COLLAPSE = 0.2


def evaluate(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return accuracy, f1, roc_auc, pr_auc, brier and ece.

    Args:
        labels: 0 or 1, shape (n,), both present.
        scores: P(label 1), 0 to 1, shape (n,).
    """
    return {name: float(values[0]) for name, values in _weighted(labels, scores, np.ones((1, len(labels)))).items()}


def intervals(
    labels: np.ndarray, scores: np.ndarray, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap interval of each metric of `evaluate` (percentile; Efron 1979).

    All metrics of a resample come from one pass over rows sorted once, which is what makes 1,000 of them cheap. A resample
    is noisier than the rows, and noise alone raises the ECE: its draws are shifted by that bias, and end at 0.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, list[np.ndarray]] = {}
    for _ in range(0, resamples, 50):
        rows = random.integers(0, len(labels), (50, len(labels)))
        weights = np.stack([np.bincount(row, minlength=len(labels)) for row in rows]).astype(float)
        for name, values in _weighted(labels, scores, weights).items():
            drawn.setdefault(name, []).append(values)
    together = {name: np.concatenate(values) for name, values in drawn.items()}
    bias = together["ece"].mean() - evaluate(labels, scores)["ece"]
    together["ece"] = np.maximum(together["ece"] - bias, 0.0)
    bounds = {name: np.nanquantile(values, [0.025, 0.975]) for name, values in together.items()}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def _weighted(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    # weights: (resamples, n). Each metric comes out with shape (resamples,).
    labels, scores = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    order = np.argsort(-scores, kind="stable")
    labels, scores, weights = labels[order], scores[order], weights[:, order]
    total = weights.sum(axis=1)
    positive = weights * labels
    positives = positive.sum(axis=1)
    # Tied scores are one threshold: cumulative sums are read at the last row of each tie.
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    true_positive = np.cumsum(positive, axis=1)[:, ends]
    called = np.cumsum(weights, axis=1)[:, ends]
    recall = _ratio(true_positive, positives[:, None])
    false_rate = _ratio(called - true_positive, (total - positives)[:, None])
    precision = _ratio(true_positive, called, empty=1.0)
    step = np.diff(recall, axis=1, prepend=0.0)
    above = recall - step / 2
    predicted = scores >= 0.5
    hits = (positive * predicted).sum(axis=1)
    called_positive = (weights * predicted).sum(axis=1)
    bins = np.minimum((scores * ECE_BINS).astype(int), ECE_BINS - 1)
    member = (bins[:, None] == np.arange(ECE_BINS)).astype(float)
    gap = np.abs((weights * (labels - scores)) @ member).sum(axis=1)
    return {
        "accuracy": (weights @ (predicted == labels)) / total,
        "f1": _ratio(2 * hits, positives + called_positive),
        "roc_auc": (np.diff(false_rate, axis=1, prepend=0.0) * above).sum(axis=1),
        "pr_auc": (step * precision).sum(axis=1),
        "brier": (weights @ (scores - labels) ** 2) / total,
        "ece": gap / total,
    }


def _ratio(numerator: np.ndarray, denominator: np.ndarray, empty: float = np.nan) -> np.ndarray:
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, empty), where=denominator > 0)


def calibrate(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept so that sigmoid(slope * logit + intercept) is calibrated (Platt 1999).

    The slope stays above 0, so that calibration never turns the model's ranking around.
    """
    fitted = LogisticRegression(C=np.inf).fit(np.asarray(logits, dtype=float)[:, None], labels)
    slope = float(fitted.coef_[0, 0])
    return (slope, float(fitted.intercept_[0])) if slope > 0 else (1.0, 0.0)


def unsure_band(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Return the band [low, high] around 0.5 in which answers are right less than two times in three.

    The widest symmetric band is taken whose outermost hundredth of rows still is; with too few rows it is [0.5, 0.5].
    """
    distance = np.abs(np.asarray(scores) - 0.5)
    right = (np.asarray(scores) >= 0.5) == np.asarray(labels).astype(bool)
    order = np.lexsort((right, distance))  # rows of equal scores in an order of their own, not in the file's
    window = max(50, len(order) // 100)
    width = 0.0
    for end in range(window, len(order) + 1, window):
        rows = order[end - window : end]
        if right[rows].mean() >= TRUSTED:
            break
        width = float(distance[rows[-1]]) + 1e-12  # so that rounding leaves none of these rows outside
    return 0.5 - width, 0.5 + width


def refuse_collapse(labels: np.ndarray, logits: np.ndarray) -> None:
    """Refuse a model that ranks tweets, maybe well, and calls nearly all of them one class: a ROC AUC would not show it.

    Raises:
        RefusedError: it calls one class so much rarer than it is.
    """
    called, there = float((logits > 0).mean()), float(labels.mean())
    if called < COLLAPSE * there or 1 - called < COLLAPSE * (1 - there):
        raise RefusedError(
            f"the model calls {called:.1%} of the validation tweets positive ({there:.1%} are): it fell to one class"
        )

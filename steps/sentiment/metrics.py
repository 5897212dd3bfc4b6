"""Labels and scores -> numbers and intervals. Pure: neither MLflow nor files."""

from collections.abc import Mapping

import numpy as np
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from steps.sentiment.command_line import RefusedError

#: Equal-width bins of the expected calibration error (Guo et al. 2017, "On calibration of modern neural networks").
ECE_BINS = 15
#: A text whose answers are right less often than this is not to be trusted: the unsure band.
TRUSTED = 2 / 3
#: A model that calls a class this much rarer than it is, on validation, has fallen to the other class.
COLLAPSE = 0.2
#: Resamples drawn at once: bounds the memory, and keeps what is worked on in the processor's cache.
BLOCK = 20


def evaluate(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return accuracy, f1 (of the positive class), f1_negative, f1_macro, roc_auc, pr_auc, brier and ece.

    Args:
        labels: 0 or 1, shape (n,), both present.
        scores: P(label 1), 0 to 1, shape (n,).
    """
    found = _Sorted(labels, scores).metrics(np.ones((1, len(labels))))
    return {name: float(values[0]) for name, values in found.items()}


def resampled(
    labels: np.ndarray, scores: Mapping[str, np.ndarray], resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Return what each metric of `evaluate` is on each of the same resamples of the rows (Efron 1979), by model.

    A model's rows are sorted once, all its metrics come from one pass over the weights that a resample gives them, and no
    resample is drawn twice: this makes 1,000 of them cheap, and the difference of two models a paired one.

    Args:
        labels: 0 or 1, shape (n,), both present.
        scores: P(label 1) of each model by its name, each of shape (n,).
        resamples: how many times n rows are drawn with replacement.
        seed: of the draws.

    Returns:
        Values of shape (resamples,) by model and metric; NaN where a resample has one class alone and the metric needs both.
    """
    random = np.random.default_rng(seed)
    models = {model: _Sorted(labels, own) for model, own in scores.items()}
    drawn: dict[str, dict[str, list[np.ndarray]]] = {model: {} for model in scores}
    for start in range(0, resamples, BLOCK):
        rows = random.integers(0, len(labels), (min(BLOCK, resamples - start), len(labels)))
        weights = np.stack([np.bincount(row, minlength=len(labels)) for row in rows]).astype(float)
        for model, ours in models.items():
            for name, values in ours.metrics(weights).items():
                drawn[model].setdefault(name, []).append(values)
    return {model: {name: np.concatenate(values) for name, values in found.items()} for model, found in drawn.items()}


def bounds(labels: np.ndarray, scores: np.ndarray, drawn: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap interval of each metric of `evaluate`.

    It reaches 1.96 standard errors to either side on the log-odds scale: unlike percentiles of the resamples it holds the truth
    as often as it says on a few hundred rows too (tests/sentiment/test_metrics.py), and never leaves 0 to 1.

    Noise alone raises an ECE, and a resample is noisier than the rows. Its percentiles are shifted by what resampling adds, and
    reach down by what a calibrated model would show of noise: the interval is too wide rather than above the truth.

    Args:
        labels: 0 or 1, shape (n,), both present.
        scores: P(label 1), 0 to 1, shape (n,).
        drawn: the metrics on resamples of these rows, as `resampled` gives them.
    """
    found = evaluate(labels, scores)
    ends = {name: _around(found[name], values) for name, values in drawn.items() if name != "ece"}
    low, high = np.array(middle(drawn["ece"])) - (drawn["ece"].mean() - found["ece"])
    return {**ends, "ece": (max(float(low) - _noise(scores), 0.0), float(high))}


def intervals(
    labels: np.ndarray, scores: np.ndarray, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap interval of each metric of one model."""
    return bounds(labels, scores, resampled(labels, {"": scores}, resamples, seed)[""])


def middle(values: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of values on resamples, of shape (resamples,); those that are NaN are left out."""
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _around(value: float, drawn: np.ndarray) -> tuple[float, float]:
    error = float(np.nanstd(drawn))
    if error == 0 or not 0 < value < 1:  # a model without a mistake, or one that is never right
        return value, value
    margin = 1.96 * error / (value * (1 - value))
    return float(expit(logit(value) - margin)), float(expit(logit(value) + margin))


def _noise(scores: np.ndarray) -> float:
    # The ECE that a calibrated model with these scores is expected to show: in each bin the mean size of a normal error.
    scores = np.asarray(scores, dtype=float)
    variances = np.bincount(_bins(scores), scores * (1 - scores), ECE_BINS)
    return float(np.sqrt(2 / np.pi * variances).sum() / len(scores))


def _bins(scores: np.ndarray) -> np.ndarray:
    return np.minimum((scores * ECE_BINS).astype(int), ECE_BINS - 1)


class _Sorted:
    """The scores of a model on rows, sorted once, so that its metrics under any weights of the rows are a few sums."""

    def __init__(self, labels: np.ndarray, scores: np.ndarray) -> None:
        truth, scores = np.asarray(labels).astype(bool), np.asarray(scores, dtype=float)
        called = scores >= 0.5
        gaps = np.where(_bins(scores)[:, None] == np.arange(ECE_BINS), (truth - scores)[:, None], 0.0)
        ones = np.ones(len(truth))
        self._columns = np.column_stack([ones, truth, called, truth & called, (scores - truth) ** 2, gaps])
        # Rows of each class, the highest score first. Tied scores are one threshold: what stands above a positive row is read
        # at the last row of its tie, and of the negative ones before and after those tied with it.
        self._positive, self._negative = (
            rows[np.argsort(-scores[rows], kind="stable")] for rows in map(np.flatnonzero, (truth, ~truth))
        )
        ours, theirs = -scores[self._positive], -scores[self._negative]
        self._last = np.searchsorted(ours, ours, side="right") - 1
        self._above, self._upto = (np.searchsorted(theirs, ours, side=side) for side in ("left", "right"))

    def metrics(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return each metric, of shape (resamples,), from how often each row counts, of shape (resamples, n)."""
        # What is a sum over rows is one matrix product for all of these.
        total, positives, calls, hits, squares = (sums := weights @ self._columns)[:, :5].T
        negatives, rejections = total - positives, total - positives - calls + hits
        f1 = _ratio(2 * hits, positives + calls)
        f1_negative = _ratio(2 * rejections, negatives + total - calls)
        positive = weights[:, self._positive]
        true = np.cumsum(positive, axis=1)[:, self._last]
        false = np.zeros((len(weights), len(self._negative) + 1))
        np.cumsum(weights[:, self._negative], axis=1, out=false[:, 1:])
        above, upto = false[:, self._above], false[:, self._upto]
        return {
            "accuracy": (hits + rejections) / total,
            "f1": f1,
            "f1_negative": f1_negative,
            "f1_macro": (f1 + f1_negative) / 2,
            "roc_auc": 1.0 - _ratio(_dot(positive, above + upto) / 2, positives * negatives),
            "pr_auc": _ratio(_dot(positive, true / np.maximum(true + upto, 1.0)), positives),
            "brier": squares / total,
            "ece": np.abs(sums[:, 5:]).sum(axis=1) / total,
        }


def _dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", left, right)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)


def calibrate(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Return the `slope`, `bend` and `intercept` by which sigmoid(slope * logit + bend * logit**3 + intercept) is calibrated.

    Platt 1999 with a cubic term, since a network that learned from smoothed labels holds its surest logits back. The slope
    stays above 0 and the bend is never below, so that calibration never turns the model's ranking around.
    """
    logits = np.asarray(logits, dtype=float)
    scale = float(logits.std()) or 1.0
    unit = logits / scale
    for features in ((unit, unit**3), (unit,)):
        fitted = LogisticRegression(C=np.inf).fit(np.stack(features, axis=1), labels)
        slope, bend = (*map(float, fitted.coef_[0]), 0.0)[:2]
        if slope > 0 and bend >= 0:
            return {"slope": slope / scale, "bend": bend / scale**3, "intercept": float(fitted.intercept_[0])}
    return {"slope": 1.0, "bend": 0.0, "intercept": 0.0}


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

"""Paired tests of two models on the same rows. Pure; importing this loads no ML framework."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test: rows that only one of two models has right, and the two-sided p-value."""

    better: int
    worse: int
    p_value: float


def mcnemar(labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray, margin: float = 0.0) -> PairedTest:
    """Test whether two models are right equally often (McNemar 1947; Dietterich 1998).

    With a margin the question is whether the challenger's accuracy is higher by just that much: as many rows as make half
    of it are moved from those that it alone has right to those of the champion, rounded up. The spread is then taken a
    little too large, never too small. A margin below 0 asks in the same way whether it is lower by that much, which is how
    a test of non-inferiority begins.

    Args:
        labels: 0 or 1, shape (n,).
        challenger: its scores, P(positive), shape (n,).
        champion: its scores, P(positive), shape (n,).
        margin: accuracy, -1 to 1.
    """
    truth = np.asarray(labels).astype(bool)
    ours, theirs = (np.asarray(challenger) >= 0.5) == truth, (np.asarray(champion) >= 0.5) == truth
    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    moved = math.ceil(round(margin * len(truth) / 2, 9))
    split = min(max(better - moved, 0), better + worse)
    p_value = stats.binomtest(split, better + worse).pvalue if better + worse else 1.0
    return PairedTest(better, worse, float(p_value))


@dataclass(frozen=True)
class AucTest:
    """DeLong's test: how much higher the first model's ROC AUC is, its standard error, and the two-sided p-value."""

    difference: float
    error: float
    p_value: float


def delong(labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> AucTest:
    """Test whether two models rank the rows equally well (DeLong, DeLong and Clarke-Pearson 1988).

    In the form of Sun and Xu (2014) all comes from ranks: n log n rather than each positive row against each negative one.
    Of a single positive or negative row nothing follows: the error is infinite.

    Args:
        labels: 0 or 1, shape (n,), both present.
        challenger: its scores, shape (n,).
        champion: its scores, shape (n,).
    """
    truth = np.asarray(labels).astype(bool)
    shares = [ours - theirs for ours, theirs in zip(_won(truth, challenger), _won(truth, champion), strict=True)]
    difference = float(shares[0].mean())
    if min(map(len, shares)) < 2:
        return AucTest(difference, float("inf"), 1.0)
    error = float(np.sqrt(sum(share.var(ddof=1) / len(share) for share in shares)))
    if error == 0:  # the same ranking, or two that differ on every row alike
        return AucTest(difference, error, float(difference == 0))
    return AucTest(difference, error, float(2 * stats.norm.sf(abs(difference) / error)))


def _won(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Of each positive row the share of negative ones below it, and of each negative row that of positive ones above; ties half.
    scores = np.asarray(scores, dtype=float)
    ranks = stats.rankdata(scores)
    above = ranks[truth] - stats.rankdata(scores[truth])
    below = ranks[~truth] - stats.rankdata(scores[~truth])
    return above / len(below), 1 - below / len(above)

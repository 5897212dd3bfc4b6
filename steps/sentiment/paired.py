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
    little too large, never too small.

    Args:
        labels: 0 or 1, shape (n,).
        challenger: its scores, P(positive), shape (n,).
        champion: its scores, P(positive), shape (n,).
        margin: accuracy, 0 to 1.
    """
    truth = np.asarray(labels).astype(bool)
    ours, theirs = (np.asarray(challenger) >= 0.5) == truth, (np.asarray(champion) >= 0.5) == truth
    better, worse = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    moved = math.ceil(round(margin * len(truth) / 2, 9))
    p_value = stats.binomtest(max(better - moved, 0), better + worse).pvalue if better + worse else 1.0
    return PairedTest(better, worse, float(p_value))

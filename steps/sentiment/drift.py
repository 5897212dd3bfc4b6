"""Whether what is asked and answered is still as it was on the validation tweets of the model.

Each feature of the profile is held against the events by a two-sample chi-square test over the bins of the profile; the p-values are
multiplied by the number of tests (Bonferroni), so that an undrifted stream raises any of them at most as often as `level` says. A
difference must also be large: with a million events every one is significant, and no stream is exactly what a model was trained on.
Large is a population stability index from 0.1 on, by custom a moderate shift; from 0.25 on it is a major one.

People who judge answers are no random sample: most say only what was wrong. How many were wrong is therefore no sign, but where is. Of
a calibrated model whose world is unchanged, wrong answers lie where it was unsure: a share of 1 - max(score, 1 - score) at each score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from steps.sentiment import profile as profiles
from steps.sentiment.command_line import InputError
from steps.sentiment.events import Events
from steps.sentiment.reference import FEWEST, LEAST, features

#: Wrong answers from which on it can be told where they lie: below, a flipped label would be missed too often.
FEWEST_WRONG = 100
#: By custom: a moderate shift, and a major one.
MODERATE, MAJOR = 0.1, 0.25
#: What is compared of the wrong answers, and edges of its bins.
WRONG = "confidence of wrong answers"
CONFIDENCE = tuple(0.5 + index / 20 for index in range(11))
#: Texts that must be expected in a bin for a chi-square test (Cochran 1954); smaller bins are joined with their neighbours.
_EXPECTED = 5


@dataclass(frozen=True)
class Finding:
    """A feature: its bins, the shares of the reference and of the events in them, and how far these are apart.

    `p_value` is corrected for the number of features; `rows` are the events that were counted.
    """

    feature: str
    edges: tuple[float, ...]
    expected: tuple[float, ...]
    found: tuple[float, ...]
    expected_mean: float
    found_mean: float
    rows: int
    psi: float
    p_value: float
    drifted: bool

    @property
    def shift(self) -> str:
        """What the index is called."""
        return "major" if self.psi >= MAJOR else "moderate" if self.psi >= MODERATE else "small"


@dataclass(frozen=True)
class Result:
    """A comparison of events with a profile. `confusion` counts judged answers: rows expected, columns answered."""

    version: str
    predictions: int
    others: int
    repeated: int
    unknown: int
    first: str
    last: str
    findings: tuple[Finding, ...]
    confusion: tuple[tuple[int, int], tuple[int, int]]
    level: float
    psi: float

    @property
    def drifted(self) -> list[Finding]:
        """The features that drifted, the farthest first."""
        return sorted((one for one in self.findings if one.drifted), key=lambda one: -one.psi)

    @property
    def wrong(self) -> int:
        """Judged answers that were wrong."""
        return self.confusion[0][1] + self.confusion[1][0]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self) | {"drifted": [one.feature for one in self.drifted]}


def judge(profile: Mapping[str, Any], version: str, events: Events, level: float, psi: float) -> Result:
    """Compare events with the profile of a version of the model.

    Args:
        profile: profile.json of the version.
        version: as the events name it.
        events: of any versions; those of others are left out and counted.
        level: how often an undrifted stream may raise any feature, 0 to 1.
        psi: population stability index below which a difference is no drift.

    Raises:
        InputError: there are no events, none of this version, or too few.
    """
    own = _enough(events, version)
    compared = [_two_sample(name, bins, own[name]) for name, bins in features(profile).items()]
    wrong = own[(own["expected"] >= 0) & (own["expected"] != own["label"])]
    if len(wrong) >= FEWEST_WRONG:
        compared.append(_where_wrong(own["score"].to_numpy(), wrong["score"].to_numpy()))
    judged = own[own["expected"] >= 0]
    counts = pd.crosstab(judged["expected"], judged["label"]).reindex(index=[0, 1], columns=[0, 1], fill_value=0)
    (a, b), (c, d) = counts.to_numpy().tolist()
    return Result(
        version=version,
        predictions=len(own),
        others=len(events.predictions) - len(own),
        repeated=events.repeated,
        unknown=events.unknown,
        first=str(events.first),
        last=str(events.last),
        findings=tuple(_corrected(one, len(compared), level, psi) for one in compared),
        confusion=((a, b), (c, d)),
        level=level,
        psi=psi,
    )


def _enough(events: Events, version: str) -> pd.DataFrame:
    if events.predictions.empty:
        raise InputError(f"events: no prediction is among them; needed: {FEWEST} of version {version}")
    own = events.of(version).predictions
    if own.empty:
        named = ", ".join(sorted(events.predictions["model_version"].unique()))
        raise InputError(f"events: of version {named}, but the profile is that of version {version}; allowed: the same")
    if len(own) < FEWEST:
        raise InputError(
            f"events: {len(own)} predictions of version {version} are too few to tell drift from chance; needed: {FEWEST}"
        )
    return own


def _two_sample(feature: str, bins: Any, values: pd.Series) -> Finding:
    counted = profiles.histogram(values, bins.edges)
    reference, found = np.array(bins.counts), np.array(counted["counts"])
    pooled = _pooled(np.vstack([reference, found]), reference + found)
    p_value = float(stats.chi2_contingency(pooled).pvalue) if pooled.shape[1] > 1 else 1.0
    return _finding(feature, bins.edges, (reference, found), (bins.mean, counted["mean"]), p_value)


def _where_wrong(scores: np.ndarray, wrong: np.ndarray) -> Finding:
    # Scores of shape (n,) of all answers, and of those that people called wrong.
    confidence, found = np.maximum(scores, 1 - scores), np.maximum(wrong, 1 - wrong)
    weights, _ = np.histogram(confidence, CONFIDENCE, weights=1 - confidence)
    counts = np.array(profiles.histogram(found, CONFIDENCE)["counts"])
    pooled = _pooled(np.vstack([weights / weights.sum() * len(wrong), counts]), weights)
    p_value = float(stats.chisquare(pooled[1], pooled[0]).pvalue) if pooled.shape[1] > 1 else 1.0
    mean = float(np.average(confidence, weights=1 - confidence))
    return _finding(WRONG, CONFIDENCE, (weights, counts), (mean, float(found.mean())), p_value)


def _finding(
    feature: str,
    edges: Sequence[float],
    counts: tuple[np.ndarray, np.ndarray],
    means: tuple[float, float],
    p_value: float,
) -> Finding:
    expected, found = (one / one.sum() for one in counts)
    index = stability_index(expected, found)
    shares = (tuple(expected.tolist()), tuple(found.tolist()))
    return Finding(feature, tuple(edges), *shares, *means, int(counts[1].sum()), index, p_value, drifted=False)


def _corrected(one: Finding, tests: int, level: float, psi: float) -> Finding:
    p_value = min(one.p_value * tests, 1.0)
    drifted = p_value < level and one.psi >= psi
    return Finding(**{**vars(one), "p_value": p_value, "drifted": drifted})


def stability_index(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the population stability index of shares in bins, each of shape (n_bins,)."""
    expected, found = np.maximum(expected, LEAST), np.maximum(found, LEAST)
    return float(np.sum((found - expected) * np.log(found / expected)))


def _pooled(counts: np.ndarray, due: np.ndarray) -> np.ndarray:
    # Counts of two samples, shape (2, n_bins): neighbours are joined until enough is due in the smaller one, in proportion to `due`.
    enough = _EXPECTED * due.sum() / counts.sum(axis=1).min()
    groups: list[np.ndarray] = []
    gathered, total = np.zeros(len(counts)), 0.0
    for column, own in zip(counts.T, due, strict=True):
        gathered, total = gathered + column, total + own
        if total >= enough:
            groups.append(gathered)
            gathered, total = np.zeros(len(counts)), 0.0
    if groups:
        groups[-1] = groups[-1] + gathered
    return np.array(groups).T if groups else gathered[:, None]

"""The checks of the gate: each compares what a comparison found with what the limits require. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from registry_scripts.registry.limits import DEFAULT, Limits, limit
from steps.sentiment.command_line import InputError
from steps.sentiment.paired import PairedTest, mcnemar

BEHAVIOUR = "behaviour_"
#: What is just at a limit is within it: 0.15 - 0.1 is a little more than 0.05 to a computer.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """One thing that was required, and what was found; `passed` is None where it could not be judged."""

    name: str
    required: str
    found: str
    passed: bool | None

    @property
    def verdict(self) -> str:
        """The check's outcome in a word or two."""
        return "not judged" if self.passed is None else "passed" if self.passed else "REFUSED"


@dataclass(frozen=True)
class Pair:
    """A challenger and what it is up against, on the rows of one comparison.

    Args:
        rows: `label`, and one boolean column per slice.
        slices: the names of these columns.
        scores: P(positive) of the challenger and of its opponent, each of shape (n_rows,).
        metrics: what the comparison found of each; of the opponent None where that is the majority class.
        opponent: its name.
    """

    rows: pd.DataFrame
    slices: list[str]
    scores: tuple[np.ndarray, np.ndarray]
    metrics: tuple[Mapping[str, float], Mapping[str, float] | None]
    opponent: str

    def accuracies(self, where: np.ndarray | None = None) -> tuple[float, float]:
        """Return the accuracy of both, on the rows where that is true."""
        labels = self.rows["label"].to_numpy() == 1
        where = np.ones(len(labels), dtype=bool) if where is None else where
        ours, theirs = (float(((scores >= 0.5) == labels)[where].mean()) for scores in self.scores)
        return ours, theirs

    def test(self, where: np.ndarray | None = None, margin: float = 0.0) -> PairedTest:
        """Return the paired test of both, on the rows where that is true."""
        labels = self.rows["label"].to_numpy()
        where = np.ones(len(labels), dtype=bool) if where is None else where
        return mcnemar(labels[where], self.scores[0][where], self.scores[1][where], margin)

    def failures(self) -> tuple[float, float] | None:
        """Return the mean failure rate of both over the tests of behaviour that both were asked; None without such tests."""
        ours, theirs = self.metrics[0], self.metrics[1] or {}
        both = [name for name in ours if name.startswith(BEHAVIOUR) and name in theirs]
        return (
            (float(np.mean([ours[name] for name in both])), float(np.mean([theirs[name] for name in both])))
            if both
            else None
        )


def better(pair: Pair, limits: Limits) -> Check:
    """Check that the challenger is right more often, by more than the margin and by more than chance, or else behaves better."""
    ours, theirs = pair.accuracies()
    test = pair.test(margin=limits.margin)
    beats = _higher(pair, limits.margin, limits)
    required = f"an accuracy higher by more than {limits.margin:g}" if limits.margin else "a higher accuracy"
    found = (
        f"{ours:.4f} against {theirs:.4f} of {pair.opponent}, right alone on {test.better} rows against {test.worse} "
        f"(McNemar p={test.p_value:.2g})"
    )
    rates = pair.failures()
    if limits.better_behaved and rates:
        share, lost = limits.better_behaved
        fewer = rates[0] < rates[1] and rates[0] <= share * rates[1] + ROUNDING
        beats |= fewer and _higher(pair, -lost, limits)
        required += f", or one not lower by {lost:g} and at most {share:g} of the failures on written cases,"
        found += f", written cases fail at {rates[0]:.4f} against {rates[1]:.4f}"
    return Check("better", f"{required} at p < {limits.significance:g}", found, beats)


def _higher(pair: Pair, margin: float, limits: Limits) -> bool:
    # A margin below 0 asks whether the accuracy is surely not lower by that much: a test of non-inferiority.
    test = pair.test(margin=margin)
    return test.better - test.worse > margin * len(pair.rows) + ROUNDING and test.p_value < limits.significance


def slices(pair: Pair, limits: Limits) -> Iterator[Check]:
    """Check each slice: not less accurate than the champion by more than the limit and by more than chance.

    Raises:
        InputError: the limits name a slice that the comparison does not know.
    """
    _refuse_unknown(limits, "slices.worse_at_most", limits.slices, pair.slices)
    if pair.metrics[1] is None:
        yield Check("slices", "not worse than the champion's", "no champion yet", None)
        return
    for name in pair.slices:
        most = limit(limits.slices, name)
        if most is None:
            continue
        where = pair.rows[name].to_numpy(dtype=bool)
        found, passed = f"{where.sum()} rows, fewer than {limits.least_rows}", None
        if where.sum() >= limits.least_rows:
            ours, theirs = pair.accuracies(where)
            test = pair.test(where)
            worse = test.worse - test.better > most * where.sum() + ROUNDING
            passed = not (worse and test.p_value < limits.significance)
            found = f"{ours:.4f} against {theirs:.4f} on {where.sum()} rows (McNemar p={test.p_value:.2g})"
        yield Check(f"slice {name}", f"not worse by more than {most:g} at p < {limits.significance:g}", found, passed)


def behaviours(pair: Pair, limits: Limits) -> Iterator[Check]:
    """Check the failure rate of each behaviour test, by itself and against the champion's.

    Raises:
        InputError: the limits name a test that the comparison does not know, though it has measured some.
    """
    ours, theirs = pair.metrics
    measured = [name.removeprefix(BEHAVIOUR) for name in ours if name.startswith(BEHAVIOUR)]
    named = [name for name in {**limits.rises, **limits.failures} if name != DEFAULT]
    if not measured and limits.behaviour_required:
        yield Check("behaviour", "measured", "not measured; run compare again", False)
    elif not measured:
        yield Check("behaviour", "no limit where not measured", "not measured", None)
    elif not limits.behaviour_required:
        _refuse_unknown(limits, "behaviour.rise_at_most", limits.rises, measured)
        _refuse_unknown(limits, "behaviour.failure_at_most", limits.failures, measured)
    for name in [*measured, *(name for name in named if measured and name not in measured)]:
        champions = None if theirs is None else theirs.get(BEHAVIOUR + name)
        yield _behaviour(name, ours.get(BEHAVIOUR + name), champions, limits)


def _behaviour(name: str, ours: float | None, theirs: float | None, limits: Limits) -> Check:
    most, rise = limit(limits.failures, name), limit(limits.rises, name)
    required = []
    passed = True
    if most is not None:
        required.append(f"fails on at most {most:g}")
        passed &= ours is not None and ours <= most
    if rise is not None and theirs is not None:
        required.append(f"on at most {rise:g} more than the champion")
        passed &= ours is not None and ours - theirs <= rise + ROUNDING
    found = "not measured" if ours is None else f"{ours:.4f}" + ("" if theirs is None else f" against {theirs:.4f}")
    if ours is None:
        return Check(f"behaviour {name}", "measured", found, False)
    return Check(f"behaviour {name}", ", ".join(required) or "no limit", found, passed if required else None)


def metrics(pair: Pair, limits: Limits) -> Iterator[Check]:
    """Check the metrics that may be so large and no larger; one that is no number passes nothing."""
    for name, most in limits.most.items():
        value = pair.metrics[0].get(name, math.nan)
        found = "not measured; run compare again" if math.isnan(value) else f"{value:.4g}"
        yield Check(name, f"at most {most:g}", found, value <= most)


def _refuse_unknown(limits: Limits, key: str, given: Mapping[str, float], known: list[str]) -> None:
    for name in given:
        if name not in (DEFAULT, *known):
            raise InputError(
                f"--limits: {limits.path}: {key}.{name}: got an unknown name; allowed: {', '.join((DEFAULT, *known))}, "
                "which the comparison knows"
            )

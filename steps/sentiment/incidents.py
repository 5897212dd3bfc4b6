"""Incidents drawn at random, and which of them a rule sees: what the choice of a window costs, in numbers.

An incident is three tweets reported as wrong within five minutes, as they follow from reports that come independently of each other.
All times are in minutes. A test holds what is computed here for many incidents at once against `alert.fired`, one at a time.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from steps.sentiment.alert import THRESHOLD, WINDOW, Schedule

#: How long Azure Monitor takes on average until an event can be asked for: from 20 seconds to 3 minutes, as its documentation says.
INGESTION = (1 / 3, 3.0)
_MINUTE = 60.0
_WINDOW = WINDOW.total_seconds() / _MINUTE


def told(
    schedule: Schedule, cases: int, seed: int = 0, delay: tuple[float, float] = (0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw incidents, and return how long each lasted and how long after its last report people were told.

    Args:
        schedule: how often the rule looks, and how far back.
        cases: how many incidents. The first report comes at any time, the other two anywhere in the five minutes after it.
        seed: of the draw.
        delay: least and most minutes until a report can be seen; each report has its own.

    Returns:
        Minutes from the first report to the last, and from there until people are told, each of shape (cases,); NaN: never.
    """
    every, look_back = (one.total_seconds() / _MINUTE for one in (schedule.every, schedule.look_back))
    dice = np.random.default_rng(seed)
    drawn = dice.uniform(size=(cases, THRESHOLD))
    times = drawn * _WINDOW
    times[:, 0] = 0
    times += drawn[:, :1] * every
    arrived = times + dice.uniform(*delay, size=times.shape)
    when = np.full(cases, np.nan)
    for now in np.arange(0, arrived.max() + look_back + every, every):
        seen = (arrived <= now) & (now - look_back < times) & (times <= now)
        when[np.isnan(when) & seen.all(axis=1)] = now
    return np.ptp(times, axis=1), when - times.max(axis=1)


def missed(schedule: Schedule, cases: int, seed: int = 0, delay: tuple[float, float] = (0, 0)) -> float:
    """Return the share of incidents that a rule does not see; arguments as of `told`."""
    return float(np.isnan(told(schedule, cases, seed, delay)[1]).mean())


def missed_apart(workers: int, cases: int, seed: int = 0) -> float:
    """Return the share of incidents missed where each of several processes counts only the reports that it took itself."""
    taken_by = np.random.default_rng(seed).integers(workers, size=(cases, THRESHOLD))
    return float((np.ptp(taken_by, axis=1) > 0).mean())


def by_chance(schedule: Schedule, an_hour: float, days: int, seed: int = 0) -> int:
    """Return how often people are told when so many reports an hour come independently of each other, each of another tweet."""
    every, look_back, quiet = (
        one.total_seconds() / _MINUTE for one in (schedule.every, schedule.look_back, schedule.quiet)
    )
    dice, minutes = np.random.default_rng(seed), days * 24 * _MINUTE
    times = np.sort(dice.uniform(0, minutes, size=dice.poisson(an_hour * days * 24)))
    first, last = times[: 1 - THRESHOLD], times[THRESHOLD - 1 :]
    close = last - first <= _WINDOW
    # The condition is true at each look from the last report of three on, until the first of them is too old.
    begins = np.ceil(last[close] / every) * every
    ends = np.ceil((first[close] + look_back) / every) * every - every
    count, true_at = 0, -np.inf
    for begin, end in zip(begins, ends, strict=True):
        count += bool(begin - true_at > quiet)
        true_at = max(true_at, end)
    return count


def study(rule: Schedule, seed: int = 0) -> dict[str, Any]:
    """Return what the article tells of incidents drawn at random, for JSON.

    Args:
        rule: the schedule of the rule that is deployed; others look back five minutes, every five or every minute.
        seed: of each draw.
    """
    cases, days = 10_000, 364
    rules = {
        "fixed": replace(rule, look_back=WINDOW, every=WINDOW),
        "each_minute": replace(rule, look_back=WINDOW),
        "sliding": rule,
    }
    found: dict[str, Any] = {"cases": cases, "seed": seed, "days": days, "ingestion": INGESTION, "rules": {}}
    for name, one in rules.items():
        found["rules"][name] = {
            "look_back": one.look_back.total_seconds() / _MINUTE,
            "every": one.every.total_seconds() / _MINUTE,
        }
        for kind, delay in (("at_once", (0, 0)), ("late", INGESTION)):
            spans, waits = told(one, cases, seed, delay)
            never = np.isnan(waits)
            bins = np.minimum((2 * spans).astype(int), 9)  # of half a minute
            found["rules"][name][kind] = {
                "missed": never.mean(),
                "missed_by_span": [never[bins == each].mean() for each in range(10)],
                "minutes_median": np.nanmedian(waits),
                "minutes_p95": np.nanquantile(waits, 0.95),
            }
    found["workers"] = {str(workers): missed_apart(workers, cases, seed) for workers in (1, 2, 4)}
    found["by_chance"] = {str(an_hour): by_chance(rule, an_hour, days, seed) * 7 / days for an_hour in (1, 2, 4, 8)}
    return found

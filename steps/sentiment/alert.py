"""The alert, three mispredicted tweets within any five minutes: what it means, and how a service that looks now and then does it.

A report is one verdict of a person (`/feedback`). It counts by the time at which the endpoint took it. Reports of one tweet count
once, however many they are, and not at all once its last verdict says that the answer was right. The five minutes begin and end
anywhere and hold both their ends. `registry_scripts/azure/queries/mispredicted.kql` says the same to Application Insights.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from steps.sentiment import envelopes

#: How many tweets, and within what time.
THRESHOLD, WINDOW = 3, timedelta(minutes=5)


@dataclass(frozen=True)
class Report:
    """A verdict on an answer: when the endpoint took it, and when the service could first be asked for it."""

    prediction_id: str
    mispredicted: bool
    time: datetime
    arrived: datetime


@dataclass(frozen=True)
class Schedule:
    """How a service carries a rule out.

    Once every `every` it asks for the reports of the last `look_back` that have arrived by then. It tells people when the condition
    comes true, and again only after it has not been true for `quiet`.
    """

    look_back: timedelta
    every: timedelta = timedelta(minutes=1)
    quiet: timedelta = timedelta(minutes=10)


def reports(captured: Iterable[dict[str, Any]], delay: timedelta = timedelta()) -> list[Report]:
    """Return the reports among captured envelopes, each arriving `delay` after its time.

    Raises:
        ValueError: an event `feedback` says of `mispredicted` neither true nor false.
    """
    found = []
    for row in envelopes.tables(captured)["customEvents"]:
        if row["name"] == "feedback":
            said = row["customDimensions"]
            if said["mispredicted"] not in ("true", "false"):
                raise ValueError(f"mispredicted: got {said['mispredicted']!r}; allowed: true, false")
            mispredicted, when = said["mispredicted"] == "true", row["timestamp"]
            found.append(Report(said["prediction_id"], mispredicted, when, when + delay))
    return found


def met(known: Iterable[Report], threshold: int = THRESHOLD, window: timedelta = WINDOW) -> list[datetime]:
    """Return the times of the reports that end a window with enough mispredicted tweets; none: the condition is not met.

    Args:
        known: the reports at hand, in any order.
        threshold: how many tweets are enough.
        window: the longest time from the first to the last of them.
    """
    ordered = sorted(known, key=lambda report: (report.time, report.prediction_id))
    last = {report.prediction_id: report.mispredicted for report in ordered}
    within: deque[Report] = deque()
    tweets: Counter[str] = Counter()
    found = []
    for report in ordered:
        if not (report.mispredicted and last[report.prediction_id]):
            continue
        within.append(report)
        tweets[report.prediction_id] += 1
        while report.time - within[0].time > window:
            gone = within.popleft().prediction_id
            tweets[gone] -= 1
            if not tweets[gone]:
                del tweets[gone]
        if len(tweets) >= threshold:
            found.append(report.time)
    return found


def fired(known: Sequence[Report], schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """Return when people are told, if the service asks from `start` to `end`."""
    told, true_at, now = [], None, start
    while now <= end:
        seen = [one for one in known if one.arrived <= now and now - schedule.look_back < one.time <= now]
        if met(seen):
            if true_at is None:
                told.append(now)
            true_at = now
        elif true_at is not None and now - true_at >= schedule.quiet:
            true_at = None
        now += schedule.every
    return told

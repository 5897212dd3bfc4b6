"""What an endpoint counted within the last hour: its counters, asked for every few seconds and kept.

An endpoint knows totals since its start alone. So the hour begins, at the earliest, when somebody began to ask, and `Hour` says when
that was. Totals that have become smaller are those of an endpoint that was started anew: they count from zero.
"""

import itertools
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd
from prometheus_client.parser import text_string_to_metric_families

from steps.sentiment.page.client import Client, EndpointError

#: Seconds between two questions, and what is kept.
EVERY, HOUR = 5.0, 3600.0
#: Counters that are read. Requests are those for scores: the page's own questions are no traffic.
_WANTED = {
    "sentiment_requests_total",
    "sentiment_request_seconds_bucket",
    "sentiment_answers_total",
    "sentiment_unsure_total",
    "sentiment_feedback_total",
}
_ROUTE = "/invocations"
Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Sample:
    """Totals at a time, in seconds since 1970; none where the endpoint did not answer."""

    when: float
    totals: dict[Series, float] | None


@dataclass(frozen=True)
class Hour:
    """What happened from `since` on, in seconds since 1970, at most an hour ago.

    `failed` are requests with a status from 400 on, by status. `seconds` has the median and the 95th percentile of the requests' times
    as their histogram tells them, or None without requests. `minutes` has a row for each minute with the texts of each label.
    """

    since: float
    up: bool
    requests: int
    failed: dict[str, int]
    labels: dict[str, int]
    versions: dict[str, int]
    unsure: int
    verdicts: dict[str, int]
    seconds: tuple[float, float] | None
    minutes: pd.DataFrame

    @property
    def texts(self) -> int:
        """How many texts were answered."""
        return sum(self.labels.values())


def totals(page: str) -> dict[Series, float]:
    """Read the totals of a page of /metrics.

    Raises:
        ValueError: it is none.
    """
    found = {}
    for family in text_string_to_metric_families(page):
        for one in family.samples:
            if one.name in _WANTED and one.labels.get("route", _ROUTE) == _ROUTE:
                found[one.name, frozenset(one.labels.items())] = float(one.value)
    return found


def hour(samples: Sequence[Sample]) -> Hour:
    """Return what happened between the first of the samples, ordered by time, and the last."""
    increases: dict[Series, float] = defaultdict(float)
    minutes: dict[int, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        minutes[int(sample.when // 60)].update({"negative": 0, "positive": 0})
    known = [sample for sample in samples if sample.totals is not None]
    for before, after in itertools.pairwise(known):
        grown = _grown(before.totals or {}, after.totals or {})
        for series, number in grown.items():
            increases[series] += number
        minutes[int(after.when // 60)].update(_by(grown, "sentiment_answers_total", "label"))
    statuses = _by(increases, "sentiment_requests_total", "status")
    return Hour(
        since=samples[0].when if samples else time.time(),
        up=bool(samples) and samples[-1].totals is not None,
        requests=sum(statuses.values()),
        failed={status: count for status, count in sorted(statuses.items()) if status >= "400"},
        labels=_by(increases, "sentiment_answers_total", "label"),
        versions=_by(increases, "sentiment_answers_total", "version"),
        unsure=sum(_by(increases, "sentiment_unsure_total", "version").values()),
        verdicts=_by(increases, "sentiment_feedback_total", "verdict"),
        seconds=_quantiles(_by(increases, "sentiment_request_seconds_bucket", "le")),
        minutes=_frame(minutes),
    )


def _grown(before: dict[Series, float], after: dict[Series, float]) -> dict[Series, float]:
    if any(after.get(series, 0.0) < total for series, total in before.items()):
        before = {}
    return {series: total - before.get(series, 0.0) for series, total in after.items()}


def _by(increases: Mapping[Series, float], name: str, label: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (counter, labels), number in increases.items():
        if counter == name and round(number):
            found[dict(labels)[label]] += round(number)
    return dict(found)


def _quantiles(buckets: dict[str, int]) -> tuple[float, float] | None:
    edges = sorted((float(edge), count) for edge, count in buckets.items())
    if not edges:
        return None
    return _quantile(edges, 0.5), _quantile(edges, 0.95)


def _quantile(edges: Sequence[tuple[float, int]], share: float) -> float:
    # As Prometheus' histogram_quantile: straight lines within a bucket; beyond the last edge, that edge.
    wanted, low, below = share * edges[-1][1], 0.0, 0
    for high, count in edges:
        if count >= wanted:
            return low if high == float("inf") else low + (high - low) * (wanted - below) / max(count - below, 1)
        low, below = high, count
    raise ValueError("a histogram whose last bucket does not hold all")


def _frame(minutes: dict[int, Counter[str]]) -> pd.DataFrame:
    whole = range(min(minutes), max(minutes) + 1) if minutes else range(0)
    rows = [[minutes[one]["negative"], minutes[one]["positive"]] if one in minutes else [0, 0] for one in whole]
    index = pd.to_datetime([60 * one for one in whole], unit="s", utc=True)
    return pd.DataFrame(rows, index=index, columns=["negative", "positive"])


class Watch:
    """Asks an endpoint for its counters in a thread of its own, from now on."""

    def __init__(self, client: Client, every: float = EVERY) -> None:
        self._client, self._every = client, every
        self._samples: deque[Sample] = deque()
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="watching", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(self._every)

    def look(self) -> None:
        """Ask once."""
        try:
            found = totals(self._client.metrics())
        except (EndpointError, ValueError):
            found = None
        with self._lock:
            self._samples.append(Sample(time.time(), found))
            while self._samples[-1].when - self._samples[0].when > HOUR:
                self._samples.popleft()

    def hour(self) -> Hour:
        """Return what happened within the last hour."""
        with self._lock:
            samples = list(self._samples)
        return hour(samples)


@cache
def of(address: str, key: str) -> Watch:
    """Return the one watch of this process over an endpoint; it begins with the first question for it."""
    return Watch(Client(address, key))

"""The last hour, from totals that only grow: also across a restart, a time without an answer, and more than an hour."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from steps.sentiment.page import watch
from steps.sentiment.page.watch import Sample


class Counted:
    """Counters as an endpoint has them."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self.requests = Counter("sentiment_requests", "r", ("route", "status"), registry=own)
        self.seconds = Histogram("sentiment_request_seconds", "s", ("route",), buckets=(0.01, 0.1, 1), registry=own)
        self.answers = Counter("sentiment_answers", "a", ("version", "label"), registry=own)
        self.unsure = Counter("sentiment_unsure", "u", ("version",), registry=own)
        self.feedback = Counter("sentiment_feedback", "f", ("version", "verdict"), registry=own)
        self.own = own

    def request(
        self, seconds: float, positive: int, negative: int = 0, status: str = "200", route: str = "/invocations"
    ) -> None:
        self.requests.labels(route, status).inc()
        self.seconds.labels(route).observe(seconds)
        self.answers.labels("3", "positive").inc(positive)
        self.answers.labels("3", "negative").inc(negative)

    def at(self, when: float) -> Sample:
        return Sample(when, watch.totals(generate_latest(self.own).decode()))


def test_what_was_before_does_not_count_and_what_follows_does() -> None:
    counted = Counted()
    counted.request(5, 1000)
    samples = [counted.at(600)]
    for seconds in (0.005, 0.05, 0.05, 0.5):
        counted.request(seconds, 2, 1)
    counted.request(0.001, 0, status="429")
    counted.request(0.001, 0, route="/metrics")
    counted.unsure.labels("3").inc(4)
    counted.feedback.labels("3", "wrong").inc()
    found = watch.hour([*samples, counted.at(700)])
    assert (found.since, found.up, found.requests, found.texts, found.unsure) == (600, True, 5, 12, 4)
    assert found.labels == {"positive": 8, "negative": 4}
    assert (found.failed, found.verdicts, found.versions) == ({"429": 1}, {"wrong": 1}, {"3": 12})
    assert found.minutes.to_numpy().tolist() == [[0, 0], [4, 8]]
    assert found.seconds
    # 2 of 5 up to 0.01, 2 more up to 0.1, the last up to 1: half of them within the second bucket, at 0.5 of 2.
    assert found.seconds == pytest.approx((0.01 + 0.09 * 0.25, 0.1 + 0.9 * 0.75))


def test_a_restart_counts_on_from_zero_and_a_time_without_an_answer_is_bridged() -> None:
    before, after = Counted(), Counted()
    before.request(0.05, 10)
    first = before.at(0)
    before.request(0.05, 5)
    second = before.at(60)
    after.request(0.05, 2)
    found = watch.hour([first, second, Sample(120, None), after.at(180)])
    assert (found.texts, found.requests, found.up) == (7, 2, True)
    assert not watch.hour([first, Sample(60, None)]).up
    assert watch.hour([first]).seconds is None
    assert watch.hour([]).texts == 0


def test_an_hour_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    counted = Counted()

    class Client:
        def metrics(self) -> str:
            counted.request(0.05, 1)
            return generate_latest(counted.own).decode()

    class Still(watch.Watch):
        def _run(self) -> None:
            """Look when the test does."""

    monkeypatch.setattr(watch.time, "time", lambda: now[0])
    watching = Still(Client())  # type: ignore[arg-type]
    for minute in range(90):
        now[0] = 60.0 * minute
        watching.look()
    found = watching.hour()
    assert (found.since, found.texts, len(found.minutes)) == (29 * 60, 60, 61)


def test_what_is_no_page_of_counters_is_refused() -> None:
    with pytest.raises(ValueError):
        watch.totals("<html>{ not counters")

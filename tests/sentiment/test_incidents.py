"""Incidents drawn at random: many at once as `alert.fired` sees them one at a time, and shares that can be calculated."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from steps.sentiment import alert, incidents
from steps.sentiment.alert import Report, Schedule
from tests.conftest import ROOT
from tests.sentiment.test_alert import MINUTE, SCHEDULE

START = datetime(2026, 11, 1, tzinfo=UTC)
FIXED = Schedule(look_back=5 * MINUTE, every=5 * MINUTE)
EACH_MINUTE = Schedule(look_back=5 * MINUTE, every=MINUTE)


def fired(times: np.ndarray, arrived: np.ndarray, schedule: Schedule) -> list[float]:
    """Return the minutes at which people are told of reports of as many tweets, as the alert itself finds them."""
    known = [
        Report(str(tweet), True, START + time * MINUTE, START + there * MINUTE)
        for tweet, (time, there) in enumerate(zip(times, arrived, strict=True))
    ]
    end = START + (arrived.max() + 1) * MINUTE + schedule.look_back + schedule.every
    return [(when - START) / MINUTE for when in alert.fired(known, schedule, START, end)]


@pytest.mark.parametrize("delay", [(0, 0), incidents.INGESTION], ids=["at once", "late"])
@pytest.mark.parametrize("schedule", [FIXED, EACH_MINUTE, SCHEDULE], ids=["fixed", "each minute", "sliding"])
def test_many_incidents_at_once_are_told_as_one_by_one(schedule: Schedule, delay: tuple[float, float]) -> None:
    spans, waits = incidents.told(schedule, 60, seed=1, delay=delay)
    dice = np.random.default_rng(1)
    drawn = dice.uniform(size=(60, 3))
    times = drawn[:, :1] * (schedule.every / MINUTE) + np.column_stack([np.zeros(60), 5 * drawn[:, 1:]])
    arrived = times + dice.uniform(*delay, size=(60, 3))
    for row in range(60):
        found = fired(times[row], arrived[row], schedule)
        assert spans[row] == pytest.approx(np.ptp(times[row]))
        assert bool(found) == (not np.isnan(waits[row]))
        assert not found or found == [pytest.approx(waits[row] + times[row].max())]


def test_what_fixed_windows_miss_is_what_the_page_says() -> None:
    # Exact: 2/3 of the cases lie across a border of windows one after the other, 14/75 fit into none of those that begin each minute.
    missed = {schedule: incidents.missed(schedule, 10_000) for schedule in (FIXED, EACH_MINUTE)}
    assert missed[FIXED] == pytest.approx(2 / 3, abs=0.015)
    assert missed[EACH_MINUTE] == pytest.approx(14 / 75, abs=0.012)
    assert incidents.missed(SCHEDULE, 10_000) == 0
    assert incidents.missed(SCHEDULE, 10_000, delay=incidents.INGESTION) == 0
    late = [incidents.missed(schedule, 10_000, delay=incidents.INGESTION) for schedule in (FIXED, EACH_MINUTE)]
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for share in (*missed.values(), *late):
        assert f"{100 * share:.1f} %" in page


def test_of_several_processes_that_count_apart_each_sees_its_own() -> None:
    assert incidents.missed_apart(1, 1000) == 0
    assert incidents.missed_apart(2, 10_000) == pytest.approx(3 / 4, abs=0.015)
    assert incidents.missed_apart(4, 10_000) == pytest.approx(15 / 16, abs=0.01)


def test_what_chance_raises_is_what_the_alert_raises() -> None:
    dice = np.random.default_rng(3)
    times = np.sort(dice.uniform(0, 1440, size=dice.poisson(8 * 24)))
    found = fired(times, times, SCHEDULE)
    assert len(found) > 3
    assert incidents.by_chance(SCHEDULE, 8, days=1, seed=3) == len(found)


def test_the_delays_that_are_drawn_are_those_that_the_rule_allows() -> None:
    assert timedelta(minutes=incidents.INGESTION[1]) < SCHEDULE.look_back - alert.WINDOW - SCHEDULE.every

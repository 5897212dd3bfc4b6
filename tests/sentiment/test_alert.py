"""What the alert means: by example, by a definition that tries every three reports, and by a service that looks now and then."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from steps.sentiment import alert
from steps.sentiment.alert import Report, Schedule
from tests.conftest import ROOT

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
RULE = json.loads((ROOT / "registry_scripts/azure/rules.json").read_text())["mispredicted"]
MINUTE = timedelta(minutes=1)


def minutes(duration: str) -> timedelta:
    """Return a duration of ISO 8601 in whole minutes."""
    return int(re.fullmatch(r"PT(\d+)M", duration)[1]) * MINUTE  # type: ignore[index]


SCHEDULE = Schedule(look_back=minutes(RULE["windowSize"]), every=minutes(RULE["evaluationFrequency"]))
#: An event may arrive so late that the rule still sees it together with those of its five minutes, however its minutes fall.
LATEST = SCHEDULE.look_back - alert.WINDOW - SCHEDULE.every


def report(tweet: str, seconds: float, wrong: bool = True, delay: float = 0) -> Report:
    time = NOON + timedelta(seconds=seconds)
    return Report(tweet, wrong, time, time + timedelta(seconds=delay))


def wrong(*seconds: float) -> list[Report]:
    """Return reports of as many tweets, each at its second after noon."""
    return [report(str(tweet), second) for tweet, second in enumerate(seconds)]


def told(known: list[Report], schedule: Schedule = SCHEDULE) -> list[datetime]:
    """Return when people are told, asked until everything is long past."""
    end = max(one.arrived for one in known) + schedule.look_back + 2 * schedule.quiet
    return alert.fired(known, schedule, min(one.time for one in known).replace(second=0, microsecond=0), end)


def test_three_within_five_minutes_fire_once() -> None:
    assert alert.met(wrong(0, 60, 120)) == [NOON + 2 * MINUTE]
    assert told(wrong(0, 60, 120)) == [NOON + 2 * MINUTE]


def test_the_window_holds_both_its_ends_and_not_a_second_more() -> None:
    assert alert.met(wrong(0, 150, 300))
    assert told(wrong(0, 150, 300))
    assert not alert.met(wrong(0, 150, 301))
    assert not told(wrong(0, 150, 301))


@pytest.mark.parametrize("second", range(0, 600, 7))
def test_where_the_minutes_and_the_fives_of_minutes_begin_does_not_matter(second: int) -> None:
    assert told(wrong(second, second + 1, second + 300))
    assert not told(wrong(second, second + 1, second + 301))


def test_two_do_not_fire() -> None:
    assert not told(wrong(0, 1))


def test_one_tweet_reported_three_times_does_not_fire_and_counts_once_beside_others() -> None:
    one = [report("a", second) for second in (0, 1, 2)]
    assert not told(one)
    assert not told([*one, report("b", 3)])
    assert told([*one, report("b", 3), report("c", 4)])


def test_a_tweet_counts_at_each_time_that_it_is_reported() -> None:
    # By its first report alone these three would lie ten minutes apart, by its last alone those.
    assert alert.met([report("a", 0), report("a", 600), report("b", 630), report("c", 660)])
    assert alert.met([report("b", 0), report("c", 30), report("a", 60), report("a", 660)])


def test_a_verdict_of_right_does_not_count_and_takes_back_what_was_said_of_its_tweet() -> None:
    assert not told([*wrong(0, 60), report("2", 120, wrong=False)])
    assert not alert.met([*wrong(0, 60, 120), report("1", 180, wrong=False)])
    assert alert.met([*wrong(0, 60, 120), report("1", 180, wrong=False), report("1", 200)])


def test_the_order_of_arrival_does_not_matter() -> None:
    for known in itertools.permutations([*wrong(0, 120, 299), report("right", 5, wrong=False)]):
        assert alert.met(known) == [NOON + timedelta(seconds=299)]


def test_reports_that_arrive_late_and_out_of_order_fire_by_their_own_time() -> None:
    late = [report("a", 0, delay=900), report("b", 150, delay=0), report("c", 300, delay=400)]
    assert told(late) == [NOON + 15 * MINUTE]
    apart = [report("a", 0, delay=900), report("b", 400, delay=500), report("c", 800, delay=100)]  # arrive together
    assert not told(apart)


def test_reports_later_than_the_rule_looks_back_are_not_seen() -> None:
    edge = LATEST.total_seconds()
    assert told([report("a", 0, delay=edge), report("b", 150), report("c", 300, delay=edge)])
    assert not told([report("a", 0), report("b", 150), report("c", 300, delay=edge + 360)])


def test_people_are_told_again_only_after_it_was_over() -> None:
    again = [*wrong(0, 60, 120), *(report(f"again {row}", 3600 + row) for row in range(3))]
    assert len(told(again)) == 2
    going_on = [report(str(row), 60 * row) for row in range(120)]
    assert len(told(going_on)) == 1


times = st.one_of(st.integers(0, 900), st.integers(0, 30).map(lambda steps: 60 * steps))
some_reports = st.lists(
    st.builds(report, st.sampled_from("abcde"), times, st.sampled_from([True, True, True, False])), max_size=12
)


def by_definition(known: list[Report]) -> bool:
    """Return whether any three reports are of three tweets, within five minutes, all wrong and none taken back."""
    last = {one.prediction_id: one for one in sorted(known, key=lambda one: one.time)}
    counted = [one for one in known if one.mispredicted and last[one.prediction_id].mispredicted]
    return any(
        len({one.prediction_id for one in three}) == 3
        and max(one.time for one in three) - min(one.time for one in three) <= timedelta(minutes=5)
        for three in itertools.combinations(counted, 3)
    )


def clear(known: list[Report]) -> bool:
    """Return whether no tweet has two verdicts at one moment: which of them is the last, nothing tells."""
    return len({(one.prediction_id, one.time) for one in known}) == len(known)


@settings(max_examples=500, deadline=None)
@given(some_reports)
def test_the_condition_is_that_of_the_definition(known: list[Report]) -> None:
    assume(clear(known))
    assert bool(alert.met(known)) == by_definition(known)


@settings(max_examples=200, deadline=None)
@given(some_reports, st.integers(0, 400), st.randoms())
def test_the_condition_depends_neither_on_the_clock_nor_on_the_order(
    known: list[Report], shift: int, dice: Any
) -> None:
    assume(clear(known))
    moved = [Report(one.prediction_id, one.mispredicted, one.time + shift * MINUTE / 60, one.arrived) for one in known]
    dice.shuffle(moved)
    assert [time - shift * MINUTE / 60 for time in alert.met(moved)] == alert.met(known)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda tweet, second, delay: report(tweet, second, delay=delay),
            st.sampled_from("abcde"),
            times,
            st.integers(0, int(LATEST.total_seconds())),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_the_schedule_misses_no_case_and_invents_none_whatever_the_delays(known: list[Report]) -> None:
    assume(clear(known))
    assert bool(told(known)) == by_definition(known)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=3, max_size=3),
    st.lists(st.integers(0, int(LATEST.total_seconds())), min_size=3, max_size=3),
)
def test_one_case_is_told_once_however_late_its_parts_arrive(seconds: list[int], delays: list[int]) -> None:
    case = [
        report(str(row), second, delay=delay) for row, (second, delay) in enumerate(zip(seconds, delays, strict=True))
    ]
    assert len(told(case)) == 1


def test_captured_envelopes_are_reports() -> None:
    def captured(tweet: str, mispredicted: str, name: str = "feedback") -> dict[str, Any]:
        properties = {"prediction_id": tweet, "mispredicted": mispredicted}
        data = {"baseType": "EventData", "baseData": {"name": name, "properties": properties, "measurements": {}}}
        return {"time": "2026-11-01T12:00:00Z", "tags": {}, "data": data}

    events = [captured("a", "true"), captured("b", "false"), captured("c", "true", name="prediction")]
    delay = timedelta(seconds=90)
    assert alert.reports(events, delay) == [report("a", 0, delay=90), report("b", 0, wrong=False, delay=90)]
    with pytest.raises(ValueError, match="True"):
        alert.reports([captured("a", "True")])

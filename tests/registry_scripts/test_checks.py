"""The gate's checks, one by one, on rows and figures planted here."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from registry_scripts.registry import checks, limits
from registry_scripts.registry.checks import Check, Pair
from steps.sentiment.command_line import InputError
from tests.registry_scripts.conftest import right_on

ROWS = 1000
LABELS = np.tile([0, 1], ROWS // 2)
REQUIRED = replace(
    limits.read(), slices={"default": 0.02}, behaviour_required=False, rises={"default": 0.05}, failures={}, most={}
)


def pair(ours: np.ndarray, theirs: np.ndarray, slices: dict[str, np.ndarray] | None = None, **metrics: Any) -> Pair:
    """Return a pair with these scores, slices, and metrics `ours` and `theirs` of behaviour."""
    rows = pd.DataFrame({"label": LABELS, **(slices or {})})
    found = ({}, {}) if not metrics else (metrics["of_ours"], metrics["of_theirs"])
    return Pair(rows, list(slices or {}), (ours, theirs), found, "champion 1")


def by_name(found: Any) -> dict[str, Check]:
    return {check.name: check for check in found}


@pytest.mark.parametrize(
    ("ours", "theirs", "margin", "passed"),
    [
        (900, 800, 0.0, True),
        (800, 900, 0.0, False),
        (800, 800, 0.0, False),
        (805, 800, 0.0, False),  # five of five rows are p = 0.06
        (806, 800, 0.0, True),
        (900, 800, 0.05, True),
        (900, 800, 0.1, False),  # just the margin
        (810, 800, 0.01, False),
        (900, 800, 0.2, False),
    ],
)
def test_better_by_more_than_the_margin_and_more_than_chance(
    ours: int, theirs: int, margin: float, passed: bool
) -> None:
    check = checks.better(pair(right_on(LABELS, ours), right_on(LABELS, theirs)), replace(REQUIRED, margin=margin))
    assert check.passed is passed
    assert f"{ours / ROWS:.4f} against {theirs / ROWS:.4f} of champion 1" in check.found
    assert ("by more than 0.05" in check.required) == (margin == 0.05)


@pytest.mark.parametrize(
    ("ours", "theirs", "fails", "passed"),
    [
        ((850, 0), 850, (0.10, 0.20), False),  # not one row tells them apart: nothing is proved
        ((850, 60), 850, (0.10, 0.20), True),
        ((850, 60), 850, (0.14, 0.20), True),  # just as few as required
        ((850, 60), 850, (0.15, 0.20), False),
        ((850, 60), 850, (0.007, 0.01), True),
        ((850, 60), 850, (0.0, 0.0), False),  # a champion without failures is not passed by one without
        ((850, 60), 850, (0.30, 0.20), False),
        ((845, 60), 850, (0.10, 0.20), True),  # lower by 0.005, and surely not by 0.04
        ((830, 60), 850, (0.10, 0.20), False),  # by 0.02: it may be 0.04
        ((810, 60), 850, (0.10, 0.20), False),
        ((900, 60), 850, (0.30, 0.20), True),  # more accurate: its behaviour has checks of its own
    ],
)
def test_a_model_that_behaves_better_and_is_surely_no_less_accurate_is_better(
    ours: tuple[int, int], theirs: int, fails: tuple[float, float], passed: bool
) -> None:
    # So many rows right, of which so many are others than the champion's.
    right, others = ours
    answers = np.where(
        np.arange(ROWS) < others, 1 - right_on(LABELS, ROWS), right_on(LABELS, min(right + others, ROWS))
    )
    assert ((answers >= 0.5) == LABELS).sum() == right
    rates = [{"behaviour_typos": rate, "behaviour_names": rate, "test_ece": 0.9} for rate in fails]
    found = pair(answers, right_on(LABELS, theirs), of_ours=rates[0], of_theirs=rates[1])
    behaved = replace(REQUIRED, better_behaved=(0.7, 0.04))
    check = checks.better(found, behaved)
    assert check.passed is passed
    assert f"written cases fail at {fails[0]:.4f} against {fails[1]:.4f}" in check.found
    assert "or one not lower by 0.04 and at most 0.7 of the failures on written cases" in check.required
    assert checks.better(found, replace(behaved, better_behaved=None)).passed is (right == 900)


def test_behaviour_that_was_not_measured_of_both_makes_no_model_better() -> None:
    behaved = replace(REQUIRED, better_behaved=(0.7, 0.04))
    for theirs in ({}, None):
        found = replace(pair(right_on(LABELS, 850), right_on(LABELS, 850)), metrics=({"behaviour_typos": 0.0}, theirs))
        check = checks.better(found, behaved)
        assert (check.passed, check.required) == (False, "a higher accuracy at p < 0.05")


def of_a_slice(ours: int, theirs: int, rows: int = 400, **changes: Any) -> Check:
    # Alike on the other rows; on those of the slice right on the first so many.
    inside = np.arange(ROWS) < rows
    both = [np.where(inside, right_on(LABELS, right), right_on(LABELS, ROWS)) for right in (ours, theirs)]
    (check,) = checks.slices(pair(both[0], both[1], {"negation": inside}), replace(REQUIRED, **changes))
    return check


@pytest.mark.parametrize(
    ("ours", "theirs", "passed"),
    [(350, 300, True), (300, 300, True), (299, 300, True), (292, 300, True), (290, 300, False), (0, 400, False)],
)
def test_a_slice_may_not_be_worse_by_more_than_its_limit(ours: int, theirs: int, passed: bool) -> None:
    check = of_a_slice(ours, theirs)  # 0.02 of 400 rows are 8
    assert (check.name, check.passed) == ("slice negation", passed)


def test_a_slice_that_is_worse_by_chance_is_not_refused() -> None:
    assert of_a_slice(100, 105, rows=120, slices={"default": 0.02}).passed is True  # 5 rows alone: p = 0.06
    assert of_a_slice(100, 106, rows=120, slices={"default": 0.02}).passed is False


def test_a_slice_has_its_own_limit_or_the_default_or_none() -> None:
    assert of_a_slice(290, 300, slices={"default": 0.0, "negation": 0.1}).passed is True
    assert of_a_slice(290, 300, slices={"default": 0.1, "negation": 0.0}).passed is False
    inside = np.ones(ROWS, dtype=bool)
    none = pair(right_on(LABELS, 10), right_on(LABELS, 900), {"negation": inside})
    assert list(checks.slices(none, replace(REQUIRED, slices={}))) == []


def test_a_slice_of_few_rows_is_not_judged() -> None:
    assert of_a_slice(0, 99, rows=99).passed is None
    assert of_a_slice(0, 99, rows=99).verdict == "not judged"
    assert of_a_slice(0, 100, rows=100).passed is False
    assert of_a_slice(0, 99, rows=99).found == "99 rows, fewer than 100"


def test_without_a_champion_slices_are_not_judged() -> None:
    first = replace(pair(right_on(LABELS, 1), right_on(LABELS, ROWS), {"negation": LABELS == 1}), metrics=({}, None))
    (check,) = checks.slices(first, REQUIRED)
    assert (check.name, check.passed, check.found) == ("slices", None, "no champion yet")


def test_a_slice_that_the_comparison_does_not_know_is_named_with_those_it_does() -> None:
    found = pair(right_on(LABELS, 1), right_on(LABELS, 1), {"negation": LABELS == 1, "emoji": LABELS == 0})
    with pytest.raises(InputError) as error:
        list(checks.slices(found, replace(REQUIRED, slices={"default": 0.1, "negatoin": 0.1})))
    assert "slices.worse_at_most.negatoin: got an unknown name; allowed: default, negation, emoji" in str(error.value)


def behaviours(ours: dict[str, float], theirs: dict[str, float] | None, **changes: Any) -> dict[str, Check]:
    of_ours, of_theirs = (
        None if rates is None else {f"behaviour_{name}": rate for name, rate in rates.items()} | {"test_ece": 0.01}
        for rates in (ours, theirs)
    )
    scores = right_on(LABELS, 1)
    found = pair(scores, scores, of_ours=of_ours, of_theirs=of_theirs)
    return by_name(checks.behaviours(found, replace(REQUIRED, **changes)))


def test_a_behaviour_test_may_not_fail_on_many_more_cases_than_the_champions() -> None:
    found = behaviours({"typos": 0.15, "names": 0.16, "handles": 0.0}, {"typos": 0.10, "names": 0.10, "handles": 0.9})
    assert {name: check.passed for name, check in found.items()} == {
        "behaviour typos": True,
        "behaviour names": False,
        "behaviour handles": True,
    }
    assert found["behaviour names"].found == "0.1600 against 0.1000"


def test_a_behaviour_test_has_its_own_limits_or_the_default() -> None:
    ours, theirs = {"typos": 0.2, "names": 0.2}, {"typos": 0.2, "names": 0.2}
    found = behaviours(ours, theirs, failures={"names": 0.15})
    assert (found["behaviour typos"].passed, found["behaviour names"].passed) == (True, False)
    found = behaviours(ours, {"typos": 0.1, "names": 0.1}, rises={"default": 0.05, "names": 0.2})
    assert (found["behaviour typos"].passed, found["behaviour names"].passed) == (False, True)
    assert behaviours(ours, theirs, rises={})["behaviour names"].passed is None


def test_without_a_champion_only_the_absolute_limits_count() -> None:
    assert behaviours({"typos": 0.9}, None)["behaviour typos"].passed is None
    assert behaviours({"typos": 0.9}, None, failures={"default": 0.15})["behaviour typos"].passed is False
    assert behaviours({"typos": 0.1}, None, failures={"default": 0.15})["behaviour typos"].passed is True


def test_behaviour_that_was_not_measured_is_refused_only_where_it_is_required() -> None:
    (check,) = behaviours({}, {}).values()
    assert (check.passed, check.found) == (None, "not measured")
    (check,) = behaviours({}, {}, behaviour_required=True).values()
    assert check.passed is False
    assert behaviours({}, {}, failures={"typos": 0.1})["behaviour"].passed is None
    found = behaviours({"typos": 0.1}, {"typos": 0.1}, behaviour_required=True, failures={"names": 0.1})
    assert (found["behaviour typos"].passed, found["behaviour names"].passed) == (True, False)
    assert found["behaviour names"].found == "not measured"


def test_a_behaviour_test_that_no_comparison_knows_is_named() -> None:
    for key, changes in (
        ("rise_at_most", {"rises": {"typoes": 0.1}}),
        ("failure_at_most", {"failures": {"typoes": 0.1}}),
    ):
        with pytest.raises(InputError, match=f"behaviour.{key}.typoes: got an unknown name; allowed: default, typos"):
            behaviours({"typos": 0.1}, {"typos": 0.1}, **changes)


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_a_rate_that_is_no_number_passes_nothing(rate: float) -> None:
    assert behaviours({"typos": rate}, {"typos": 0.1})["behaviour typos"].passed is False
    assert behaviours({"typos": rate}, None, failures={"typos": 1.0})["behaviour typos"].passed is False


@pytest.mark.parametrize(
    ("metrics", "passed"),
    [
        ({"test_ece": 0.1}, True),
        ({"test_ece": 0.1001}, False),
        ({"test_ece": float("nan")}, False),
        ({}, False),
    ],
)
def test_a_metric_may_be_so_large_and_must_be_there(metrics: dict[str, float], passed: bool) -> None:
    scores = right_on(LABELS, 1)
    (check,) = checks.metrics(
        pair(scores, scores, of_ours=metrics, of_theirs={}), replace(REQUIRED, most={"test_ece": 0.1})
    )
    assert (check.name, check.passed, check.required) == ("test_ece", passed, "at most 0.1")

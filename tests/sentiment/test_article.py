"""The articles as text: numbers and spaces as each language writes them, and no number without a figure behind it."""

import json
from typing import Any

import jinja2
import pytest

from steps.sentiment import article
from tests.conftest import ROOT


@pytest.fixture
def figures() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "docs/blog" / article.FIGURES).read_text(encoding="utf-8"))
    return found


def test_numbers_are_written_as_each_language_writes_them(figures: dict[str, Any]) -> None:
    figures["simulated"]["rules"]["fixed"]["late"]["missed"] = 0.12345
    assert "| 12.3 % |" in article.markdown(figures, "en")
    assert "| 12,3\u202f% |" in article.markdown(figures, "fr")


def test_french_marks_stand_behind_a_space_that_does_not_break_and_code_stays_as_it_is(figures: dict[str, Any]) -> None:
    text = article.markdown(figures, "fr")
    assert "production\u00a0: trois" in text
    assert "«\u00a0juste\u00a0»" in text
    assert '"prediction_id": "' in text
    prose = [part for at, part in enumerate(text.split("```")) if at % 2 == 0]
    assert not any(f" {mark}" in part for part in prose for mark in (":", ";", "?", "!", "»", "%"))


def test_a_text_that_asks_for_what_was_not_recorded_is_refused(figures: dict[str, Any]) -> None:
    del figures["delivery"]["faults"]
    with pytest.raises(jinja2.UndefinedError, match="faults"):
        article.markdown(figures, "en")


def test_an_event_is_shown_without_what_no_reader_needs(figures: dict[str, Any]) -> None:
    shown = json.loads(article.shown(figures["captured"]["feedback"]))
    assert shown["data"]["properties"]["mispredicted"] == "true"
    assert set(shown["tags"]) == {"ai.cloud.role", "ai.cloud.roleInstance", "ai.operation.id"}


def test_what_was_recorded_names_no_machine_and_holds_whole_figures(figures: dict[str, Any]) -> None:
    for event in ("prediction", "feedback"):
        envelope = figures["captured"][event]
        assert envelope["tags"]["ai.cloud.roleInstance"].startswith("endpoint-")
        assert envelope["data"]["baseData"]["properties"]["prediction_id"].endswith("...")
    assert [step["evaluator"] for step in figures["captured"]["steps"]] == [False, False, True, False]
    assert [step["query"] for step in figures["captured"]["steps"]] == [False, False, True, False]
    for one in figures["delivery"]["faults"]:
        assert one["cached"] + one["lost"] == 50
        assert one["delivered"] == one["cached"]


@pytest.mark.parametrize("language", article.ARTICLES)
def test_the_figures_show_a_line_for_each_rule_and_kind_of_drift(figures: dict[str, Any], language: str) -> None:
    windows, streams = article.drawn(figures, language).values()
    assert [[len(line.get_xdata()) for line in axes.lines] for axes in windows.axes] == [[10] * 3] * 2
    shares = 1 + len(figures["drift"]["drifted"]["500"]["french"])
    assert [[len(line.get_xdata()) for line in axes.lines] for axes in streams.axes] == [[shares] * 4] * 2

"""Tables that newer evidence fills: each where its metrics are, none where they are not."""

from typing import Any

from steps.sentiment.evidence_tables import further

LABELS = {"voters": ["bert", "baseline"], "suspect_rows": 812, "suspect_negative": 412, "suspect_positive": 400}


def evidence(name: str, comparison: str = "c-1", **metrics: float) -> dict[str, Any]:
    """Return the evidence of a made-up model as it was before any of the tables."""
    ends = ("", "_low", "_high")
    old = {
        f"test_{metric}{end}": 0.5 for metric in ("accuracy", "f1", "roc_auc", "pr_auc", "brier", "ece") for end in ends
    }
    return {"name": name, "comparison_run_id": comparison, "test_rows": 15_000, "test_metrics": old | metrics}


def with_ends(**values: float) -> dict[str, float]:
    return {
        f"{name}{end}": value + step
        for name, value in values.items()
        for end, step in (("", 0), ("_low", -0.01), ("_high", 0.01))
    }


def compared(name: str, comparison: str = "c-1", behaviour: float | None = None) -> dict[str, Any]:
    """Return the evidence of a made-up model with all that the tables show."""
    measured = with_ends(
        test_f1_negative=0.81, test_f1_macro=0.82, accuracy_above_baseline=0.03, roc_auc_above_baseline=0.02
    )
    measured |= {
        "test_unsure_share": 0.12,
        "test_sure_accuracy": 0.9,
        "peak_memory_mb": 271.4,
        "usd_per_million_tweets": 0.0671,
    }
    measured |= {"p_against_baseline": 1.2e-9, "roc_auc_p_against_baseline": 0.034}
    for kind, value in (("cleaned_test", 0.95), ("cleaned_by_others_test", 0.94)):
        measured |= {f"{kind}_accuracy": value - 0.05, f"{kind}_roc_auc": value}
    if behaviour is not None:
        measured |= {"behaviour_negation_easy": behaviour, "behaviour_typos": 0.0}
    facts = {"core_hour_price": 0.05, "labels": LABELS, "opponents": {"baseline": "baseline C=4"}}
    return {**evidence(name, comparison, **measured), **facts}


def rows(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table, its head first."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]


def test_older_evidence_has_none_of_them() -> None:
    assert further([evidence("old"), evidence("older", comparison="c-0")]) == []
    without_comparison = evidence("oldest")
    del without_comparison["comparison_run_id"]
    assert further([without_comparison]) == []


def test_each_model_that_was_measured_is_in_each_table_and_no_other() -> None:
    tables = further([compared("new"), evidence("old"), compared("newer")])
    assert [table.split(" ")[0] for table in tables] == ["What", "Against", "Labels"]
    for table in tables:
        assert [row[0] for row in rows(table)[1:]] == ["new", "newer"]


def test_figures_stand_with_their_intervals_cost_and_memory() -> None:
    (head, row), text = rows(found := further([compared("new")])[0]), found.split("\n")[0]
    shown = dict(zip(head, row, strict=True))
    assert shown["F1, macro"] == "0.8200 [0.8100, 0.8300]"
    assert shown["PR AUC"] == "0.5000 [0.5000, 0.5000]"
    assert shown["unsure (accuracy there / elsewhere)"] == "0.120 (– / 0.900)"
    assert shown["MB in memory"] == "271"
    assert shown["USD per million tweets"] == "0.0671"
    assert "a core costs 0.05 USD an hour" in text


def test_models_stand_against_the_opponent_of_their_own_comparison() -> None:
    other = compared("other", comparison="c-2") | {"opponents": {"baseline": "another"}}
    tables = [table for table in further([compared("new"), other]) if table.startswith("Against")]
    assert [table.split("\n")[0] for table in tables] == [
        "Against the baseline, *baseline C=4*:",
        "Against the baseline, *another*:",
    ]
    assert [rows(table)[1][0] for table in tables] == ["new", "other"]
    assert rows(tables[0])[1][1:] == ["0.0300 [0.0200, 0.0400]", "1.2e-09", "0.0200 [0.0100, 0.0300]", "0.034"]


def test_cleaned_figures_stand_beside_the_raw_ones_with_what_they_are_worth() -> None:
    table = further([compared("new")])[-1]
    assert rows(table)[1] == ["new", "0.5000", "0.9000", "0.8900", "0.5000", "0.9500", "0.9400"]
    assert "812 of 15,000 test labels are probably wrong (412 labelled negative, 400 positive)" in table
    assert "*bert*, *baseline*" in table
    assert "a voter is flattered" in table


def test_behaviour_is_a_table_of_failures_where_it_was_tested() -> None:
    tables = further([compared("good", behaviour=0.125), compared("untested"), compared("poor", behaviour=0.95)])
    (table,) = [table for table in tables if table.startswith("Share of failed cases")]
    assert rows(table) == [
        ["behaviour", "good", "poor"],
        ["negation easy", "12.5%", "95.0%"],
        ["typos", "0.0%", "0.0%"],
    ]

"""Test rows and what models answer to them: an answer that is no probability is refused, by the model's name."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from steps.sentiment import slices
from steps.sentiment.command_line import RefusedError
from steps.sentiment.comparison import Entrant
from steps.sentiment.rows import Rows, scores_of

FRAME = pd.DataFrame({"text": ["no way", "fine then", "fine, then?"], "label": [0, 1, 1]})


class Toy:
    """A model that answers what it is told to."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers

    def predict(self, texts: list[str], params: dict[str, Any] | None = None) -> list[Any]:
        return self.answers


def scored(*scores: Any) -> Toy:
    return Toy([{"label": "positive", "score": score, "unsure": score == 0.5} for score in scores])


def entrant(model_id: str) -> Entrant:
    return Entrant(f"toy {model_id}", "toy", model_id, "run", champion=False)


def test_the_scores_of_each_model_stay_with_the_rows() -> None:
    rows = Rows(FRAME)
    assert rows.ask(entrant("m-1"), scored(0.1, 0.9, 0.5)).tolist() == [0.1, 0.9, 0.5]
    rows.ask(entrant("m-2"), scored(0, 1, 1.0))
    assert {model_id: scores.tolist() for model_id, scores in rows.scores.items()} == {
        "m-1": [0.1, 0.9, 0.5],
        "m-2": [0.0, 1.0, 1.0],
    }
    assert {model_id: unsure.tolist() for model_id, unsure in rows.unsure.items()} == {
        "m-1": [False, False, True],
        "m-2": [False, False, False],
    }


def test_the_artifact_holds_labels_slices_and_scores_and_no_text() -> None:
    rows = Rows(FRAME)
    rows.ask(entrant("m-1"), scored(0.1, 0.9, 0.5))
    found = rows.artifact()
    assert list(found.columns) == ["label", *slices.PATTERNS, "short", "long", "m-1"]
    assert found["label"].tolist() == [0, 1, 1]
    assert found["question"].tolist() == [False, False, True]
    assert all(kind.kind in "bif" for kind in found.dtypes)


def test_early_and_late_rows_are_slices_where_dates_are_known() -> None:
    found = Rows(FRAME.assign(late=pd.array([True, None, False], dtype="boolean"))).slices
    assert found["late"].tolist() == [True, False, False]
    assert found["early"].tolist() == [False, False, True]
    assert {"early", "late"}.isdisjoint(Rows(FRAME).slices.columns)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (scored(0.1, 0.9), "gave 2 answers to 3 texts; allowed: one for each"),
        (scored(0.1, 0.9, 0.2, 0.3), "gave 4 answers to 3 texts"),
        (scored(0.1, float("nan"), 0.2), "gave 1 of 3 texts a score that is no probability, nan for one; allowed: 0 to 1"),
        (scored(0.1, 0.2, None), "gave 1 of 3 texts a score that is no probability"),
        (scored(-0.1, 1.5, float("inf")), "gave 3 of 3 texts a score that is no probability, -0.1 for one"),
        (scored("much", 0.2, 0.3), "gave no score: {'label': 'positive', 'score': 'much', 'unsure': False}; allowed: records"),
        (Toy([0.1, 0.2, 0.3]), "gave no score: 0.1; allowed: records with a number `score` and a truth `unsure`"),
        (Toy([{"label": "positive"}] * 3), "gave no score"),
        (Toy([{"score": 0.5}] * 3), "gave no score"),
        (Toy([]), "gave 0 answers to 3 texts"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_probability_is_refused_with_the_name_of_the_model(model: Toy, reason: str) -> None:
    rows = Rows(FRAME)
    with pytest.raises(RefusedError) as refusal:
        rows.ask(entrant("m-1"), model)
    assert str(refusal.value).startswith("toy m-1 gave ")
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert rows.scores == {}


def test_no_text_is_no_score() -> None:
    assert np.array_equal(scores_of(Toy([]), [], "toy"), np.zeros(0))

"""The worst errors: the right rows, the words that drove them, and nobody's handle."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from steps.sentiment.error_analysis import COLUMNS, LEAST, SHOWN, WORDS, doubtful, worst
from steps.sentiment.label_noise import Suspects
from steps.sentiment.rows import Rows

TEXTS = [
    "thanks @ottosocks for nothing",  # negative, called positive
    "not bad at all http://a.example/x",  # positive, called negative
    "<b>so</b> good",  # negative, called positive
    "it is what it is",  # right
    "never laughed so much @ottosocks!!",  # positive, called negative
    "grim",  # right
]
LABELS, SCORES = np.array([0, 1, 0, 1, 1, 0]), np.array([0.7, 0.02, 0.95, 0.9, 0.4, 0.1])
WEIGHTS = {"thanks": 0.4, "@ottosocks": 0.1, "nothing": -0.2, "good": 0.6, "not": -0.3, "bad": -0.35, "never": -0.2}


class Toy:
    """A model whose words weigh what WEIGHTS says."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def predict(self, texts: list[str], params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        assert params == {"explain": True}
        self.asked.append(texts)
        return [
            {"words": [{"word": word, "weight": WEIGHTS.get(word, 0.001)} for word in text.split()]} for text in texts
        ]


@pytest.fixture
def test() -> Rows:
    return Rows(pd.DataFrame({"text": TEXTS, "label": LABELS}), {"m-1": SCORES})


def test_errors_of_the_highest_loss_stand_first_in_each_kind(test: Rows) -> None:
    found = worst(test, "m-1", "toy", Toy())
    assert list(found.columns) == list(COLUMNS)
    assert found["kind"].tolist() == ["false positive"] * 2 + ["false negative"] * 2
    assert found["score"].tolist() == [0.95, 0.7, 0.02, 0.4]
    assert found["label"].tolist() == ["negative"] * 2 + ["positive"] * 2
    assert found["loss"].tolist() == pytest.approx(-np.log([0.05, 0.3, 0.02, 0.4]))
    assert set(found["model"]) == {"toy"}


def test_only_the_shown_rows_are_explained_and_as_they_were_written(test: Rows) -> None:
    worst(test, "m-1", "toy", model := Toy())
    assert model.asked == [[TEXTS[2], TEXTS[0], TEXTS[1], TEXTS[4]]]


def test_the_words_that_drove_an_error_are_those_towards_it_the_strongest_first(test: Rows) -> None:
    found = worst(test, "m-1", "toy", Toy())["words"].tolist()
    assert found == ["good +0.60", "thanks +0.40; @user +0.10", "bad -0.35; not -0.30", "never -0.20"]


def test_many_errors_are_cut_to_the_worst_and_many_words_to_the_strongest() -> None:
    labels, scores = np.zeros(50, dtype=int), np.linspace(0.5, 1, 50)
    rows = Rows(pd.DataFrame({"text": "thanks " * 9, "label": labels}), {"m-1": scores})
    found = worst(rows, "m-1", "toy", Toy())
    assert found["score"].tolist() == scores[::-1][:SHOWN].tolist()
    assert found["words"].tolist() == ["; ".join(["thanks +0.40"] * WORDS)] * SHOWN
    assert np.isfinite(found["loss"]).all()


def test_a_word_that_weighs_next_to_nothing_did_not_drive_it() -> None:
    rows = Rows(pd.DataFrame({"text": ["so so"], "label": [0]}), {"m-1": np.array([0.8])})
    assert LEAST > 0.001
    assert worst(rows, "m-1", "toy", Toy())["words"].tolist() == [""]


def test_a_model_without_an_error_is_asked_nothing() -> None:
    rows = Rows(pd.DataFrame({"text": ["so", "so"], "label": [0, 1]}), {"m-1": np.array([0.2, 0.5])})
    found = worst(rows, "m-1", "toy", model := Toy())
    assert (len(found), list(found.columns), model.asked) == (0, list(COLUMNS), [])


def test_labels_in_doubt_are_those_that_the_voters_contradict_most(test: Rows) -> None:
    suspected = Suspects({"toy": "m-1"}, SCORES, np.array([True, True, True, False, False, False]))
    found = doubtful(test, suspected)
    assert found["score"].tolist() == [0.02, 0.95, 0.7]
    assert found["label"].tolist() == ["positive", "negative", "negative"]
    assert set(found["kind"]) == {"label in doubt"}
    assert list(found.columns) == list(COLUMNS)

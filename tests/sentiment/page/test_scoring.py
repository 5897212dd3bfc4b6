"""Many tweets in the background: every answer in its place, and none lost when the endpoint is, or somebody stops."""

import threading
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from steps.sentiment.page import scoring
from steps.sentiment.page.client import Answers, DownError, TooLargeError
from steps.sentiment.page.scoring import Filter, Job


def record(text: str) -> dict[str, Any]:
    score = 0.9 if "good" in text else 0.2
    label = "positive" if score >= 0.5 else "negative"
    return {"label": label, "score": score, "unsure": "?" in text, "truncated": False, "prediction_id": f"id of {text}"}


class Scorer:
    """Answers; takes `most` texts at once and 20 characters of each, and is down after `lives` requests."""

    def __init__(self, most: int = 10_000, lives: int = 10_000) -> None:
        self.most, self.lives, self.sizes = most, lives, []
        self.wait = threading.Event()
        self.wait.set()

    def score(self, texts: Sequence[str]) -> Answers:
        self.wait.wait(10)
        if self.lives <= 0:
            raise DownError("The endpoint does not answer.")
        if len(texts) > self.most or any(len(text) > 20 for text in texts):
            raise TooLargeError("too large")
        self.lives -= 1
        self.sizes.append(len(texts))
        return Answers("3" if len(self.sizes) < 3 else "4", [record(text) for text in texts])


def job(scorer: Scorer, texts: list[str], column: str = "text", **more: Any) -> Job:
    found = Job(scorer, pd.DataFrame({column: texts, **more}), column)
    found.wait(10)
    return found


TEXTS = [f"good {number}" if number % 3 else f"bad {number}?" for number in range(1200)]


def test_every_answer_stands_beside_its_text_and_the_columns_of_the_file() -> None:
    found = job(Scorer(), TEXTS, stars=range(1200), unsure="mine")
    assert found.finished
    table = found.table()
    assert table["text"].tolist() == TEXTS
    assert table["prediction_id"].tolist() == [f"id of {text}" for text in TEXTS]
    assert table["stars"].tolist() == list(range(1200))
    assert set(table["unsure (file)"]) == {"mine"}
    assert table["unsure"].tolist() == ["?" in text for text in TEXTS]
    assert table["model_version"].tolist() == ["3"] * 1000 + ["4"] * 200


def test_a_column_of_texts_that_is_called_like_a_result_is_renamed() -> None:
    found = job(Scorer(), TEXTS[:3], column="sentiment")
    assert found.table()[found.text_column].tolist() == TEXTS[:3]


def test_smaller_requests_follow_where_one_is_too_large_and_what_is_too_long_is_left_out() -> None:
    scorer = Scorer(most=100)
    found = job(scorer, [*TEXTS[:5], "x" * 21, *TEXTS[5:]])
    assert max(scorer.sizes) <= 100
    assert found.finished
    assert found.too_long == 1
    assert found.table()["text"].tolist() == TEXTS


def test_what_was_scored_before_the_endpoint_was_lost_is_kept_and_the_rest_follows() -> None:
    scorer = Scorer(lives=1)
    found = job(scorer, TEXTS)
    assert (found.failed, found.running, found.finished) == ("The endpoint does not answer.", False, False)
    assert found.table()["text"].tolist() == TEXTS[:500]
    scorer.lives = 10
    found.resume()
    found.wait(10)
    assert not found.failed
    assert found.table()["text"].tolist() == TEXTS


def test_a_stop_sends_no_further_request() -> None:
    scorer = Scorer()
    scorer.wait.clear()
    found = Job(scorer, pd.DataFrame({"text": TEXTS}), "text")
    found.stop()
    scorer.wait.set()
    found.wait(10)
    assert (len(found.records), found.failed) == (500, "")
    found.resume()
    found.wait(10)
    assert found.finished
    found.resume()
    assert scorer.sizes == [500, 500, 200]


def test_a_job_that_nobody_looks_at_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "PATIENCE", -1.0)
    assert len(job(Scorer(), TEXTS).records) == 500


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(["negative", "positive"]), 1200),
        (Filter([]), 0),
        (Filter(["negative"]), 400),
        (Filter(["negative", "positive"], low=0.5), 800),
        (Filter(["negative", "positive"], unsure=True), 400),
        (Filter(["negative", "positive"], words="GOOD 7 "), 299),
        (Filter(["negative", "positive"], words="[("), 0),
    ],
)
def test_filters(wanted: Filter, expected: int) -> None:
    table = job(Scorer(), TEXTS).table()
    found = wanted.of(table, "text")
    if wanted.words.startswith("GOOD"):
        expected = sum("good" in text and "7" in text for text in TEXTS)
    assert len(found) == expected

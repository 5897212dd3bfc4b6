"""The review queue: verdicts joined with answers, the last one wins, and no text gets in without its sender's word."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from steps.sentiment import envelopes, review_queue
from steps.sentiment.review_queue import Verdicts
from tests.streams import PROFILE, START, drawn, envelope, judged

TWEET = drawn(PROFILE, 1, seed=0).to_dict("records")[0]
WRONG, RIGHT = 1 - TWEET["label"], TWEET["label"]


def verdict(identity: str, truth: int, minute: int = 0, text: str = "", keep: bool | None = None) -> dict[str, Any]:
    """Return the envelope of a verdict in some minute; a text is agreed to be kept unless `keep` says otherwise."""
    found = judged(identity, TWEET, truth, "3", START + timedelta(minutes=minute))
    said = found["data"]["baseData"]["properties"]
    said["keep"] = "true" if (bool(text) if keep is None else keep) else "false"
    if text:
        said["text"] = text
    return found


def read(*told: dict[str, Any]) -> Verdicts:
    verdicts = Verdicts()
    for _, row in envelopes.rows(told):
        verdicts.add(row)
    return verdicts


def queued(*told: dict[str, Any], before: pd.DataFrame | None = None) -> pd.DataFrame:
    return read(*told).queue(review_queue.empty() if before is None else before)


def test_a_wrong_answer_whose_text_may_be_kept_waits_with_its_score_and_without_handles_and_links() -> None:
    (row,) = queued(
        envelope("a", TWEET, "3"), verdict("a", WRONG, 7, "@AirParadis late again https://t.co/x :(")
    ).to_dict("records")
    labels = ("negative", "positive")
    assert row == {
        "prediction_id": "a",
        "model_version": "3",
        "predicted": labels[RIGHT],
        "expected": labels[WRONG],
        "score": TWEET["score"],
        "reported": pd.Timestamp(START + timedelta(minutes=7)),
        "text": "@user late again http://… :(",
    }


def test_nothing_gets_in_without_a_word_of_its_sender_or_when_the_answer_was_right() -> None:
    told = [verdict("a", WRONG), verdict("b", WRONG, text="secret", keep=False), verdict("c", RIGHT, text="fine")]
    verdicts = read(*told)
    assert verdicts.queue(review_queue.empty()).empty
    counts = verdicts.counts()
    assert (counts.judged, counts.wrong, counts.kept) == (3, 2, 0)


SAID = {
    "wrong": verdict("a", WRONG, 0, "late"),
    "right": verdict("a", RIGHT, 1),
    "wrong, without a text": verdict("a", WRONG, 2),
    "wrong again": verdict("a", WRONG, 3, "late again"),
}


@pytest.mark.parametrize("last", range(1, 5))
def test_the_last_verdict_wins_in_whatever_order_all_arrives(last: int) -> None:
    told = list(SAID.values())[:last]
    expected = [["late"], [], [], ["late again"]][last - 1]
    for order in itertools.permutations(told):
        assert queued(*order)["text"].tolist() == expected


def test_what_was_said_again_contradicted_or_of_unknown_answers_is_counted() -> None:
    told = [envelope("a", TWEET, "3"), *SAID.values(), SAID["right"], verdict("b", WRONG, 0, "of another day")]
    verdicts = read(*told)
    counts = verdicts.counts()
    assert (counts.judged, counts.wrong, counts.kept) == (2, 2, 2)
    assert (counts.contradicted, counts.repeated, counts.unknown) == (1, 2, 1)
    scores = verdicts.queue(review_queue.empty()).set_index("prediction_id")["score"]
    assert scores["a"] == TWEET["score"]
    assert pd.isna(scores["b"])


def test_a_queue_is_added_to_and_taken_from() -> None:
    first = queued(envelope("a", TWEET, "3"), verdict("a", WRONG, 5, "late"), verdict("b", WRONG, 5, "lost"))
    assert first["prediction_id"].tolist() == ["a", "b"]
    second = queued(
        verdict("a", WRONG, 6, "very late"), verdict("b", RIGHT, 6), verdict("c", WRONG, 6, "x"), before=first
    )
    assert second["text"].tolist() == ["very late", "x"]
    assert second["score"][0] == TWEET["score"]  # its prediction was read the first time
    assert queued(verdict("a", RIGHT, 4), before=first).equals(first)  # it came late, and is older
    assert queued(before=first).equals(first)


def test_the_digest_is_that_of_the_rows() -> None:
    told = [verdict("a", WRONG, 0, "late"), verdict("b", WRONG, 1, "lost")]
    digests = {review_queue.digest(queued(*order)) for order in (told, told[::-1])}
    assert len(digests) == 1
    assert review_queue.digest(queued(told[0])) not in digests
    assert review_queue.digest(queued(told[0], verdict("b", WRONG, 2, "lost"))) not in digests


@pytest.mark.parametrize(
    "broken", [{"expected": "neutral"}, {"predicted": ""}, {"keep": None}, {"model_version": None}]
)
def test_what_no_endpoint_tells_is_refused(broken: dict[str, str | None]) -> None:
    row: dict[str, Any] = {"name": "feedback", "timestamp": datetime.now()}
    said = {
        "prediction_id": "a",
        "model_version": "3",
        "predicted": "negative",
        "expected": "positive",
        "keep": "false",
    }
    row["customDimensions"] = {name: value for name, value in (said | broken).items() if value is not None}
    with pytest.raises((ValueError, KeyError)):
        Verdicts().add(row)

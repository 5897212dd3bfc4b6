"""Ids of answers: what they say, and what cannot be made up."""

import base64
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.sentiment.predictions import LABELS, Signer

SIGNER = Signer(b"a key of the tests")


@given(st.text(max_size=40), st.lists(st.sampled_from(LABELS), max_size=5))
def test_an_id_says_version_label_and_time(version: str, labels: list[str]) -> None:
    before = time.time()
    ids = SIGNER.sign(version, labels)
    assert len(set(ids)) == len(labels)
    for prediction_id, label in zip(ids, labels, strict=True):
        found = SIGNER.read(prediction_id)
        assert found
        assert (found.version, found.label) == (version, label)
        assert before - 0.01 <= found.time <= time.time()


def test_ids_of_two_requests_differ_and_are_short() -> None:
    first, second = (SIGNER.sign("3", ["positive"])[0] for _ in range(2))
    assert first != second
    assert len(first) < 50


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_what_was_never_signed_is_not_read(text: str) -> None:
    assert SIGNER.read(text) is None


@pytest.mark.parametrize("place", range(0, 44, 3))
def test_a_change_in_any_place_is_seen(place: int) -> None:
    (prediction_id,) = SIGNER.sign("12", ["negative"])
    other = "A" if prediction_id[place] != "A" else "B"
    assert SIGNER.read(prediction_id[:place] + other + prediction_id[place + 1 :]) is None


def test_one_prediction_has_one_spelling() -> None:
    (prediction_id,) = SIGNER.sign("3", ["negative"])
    for spelling in (
        prediction_id + "=",
        prediction_id + "==",
        prediction_id[:9] + "\n" + prediction_id[9:],
        " " + prediction_id,
    ):
        assert SIGNER.read(spelling) is None
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [letter for letter in letters if SIGNER.read(prediction_id[:-1] + letter)] == [prediction_id[-1]]


@given(st.binary(min_size=1, max_size=100), st.binary(max_size=100))
def test_the_signature_is_hmac(key: bytes, signed: bytes) -> None:
    assert Signer(key)._mac(signed) == hmac.digest(key, signed, "sha256")[:16]


def test_another_key_reads_nothing() -> None:
    (prediction_id,) = SIGNER.sign("3", ["negative"])
    assert Signer(b"another key of the tests").read(prediction_id) is None

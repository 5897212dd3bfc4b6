"""The smoke test of an endpoint that nobody uses yet: who it is, what it answers to known tweets, whether it takes feedback."""

import time
from collections.abc import Mapping
from typing import Any

import requests

from steps.sentiment.model_folder import Identity

#: Tweets that any champion must get right.
TWEETS = {
    "I love this so much, best day ever! thank you": "positive",
    "yay, what a wonderful morning, so happy 😊": "positive",
    "thanks for the great help, you are awesome!": "positive",
    "I hate this, worst day ever, so sad": "negative",
    "my flight was cancelled and they lost my bag, terrible": "negative",
    "ugh, I feel sick and my head hurts 😢": "negative",
}
#: Seconds of one request, and between two looks at an endpoint that is starting.
TIMEOUT, PAUSE = 30.0, 1.0


class RedError(Exception):
    """The endpoint is not what it should be. The message says what was asked, what came, and what should have."""


class Endpoint:
    """An endpoint at an address, with the key that it asks for, if any."""

    def __init__(self, address: str, key: str = "") -> None:
        self.address = address
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def ask(self, method: str, path: str, content: Any = None) -> requests.Response:
        """Send a request, and return what came back.

        Raises:
            RedError: nothing did.
        """
        try:
            return requests.request(
                method, self.address + path, json=content, headers=self._headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            raise RedError(f"{method} {path}: no answer ({type(error).__name__})") from error

    def record(self, method: str, path: str, content: Any = None) -> tuple[Mapping[str, Any], requests.Response]:
        """Send a request, and return the object that came back with 200.

        Raises:
            RedError: something else did.
        """
        answer = self.ask(method, path, content)
        try:
            found = answer.json() if answer.status_code == requests.codes.ok else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise RedError(
                f"{method} {path}: got {answer.status_code} {answer.text[:200]!r}, and not 200 with an object"
            )
        return found, answer


def well(endpoint: Endpoint) -> bool:
    """Return whether an endpoint says that it is well."""
    try:
        return endpoint.ask("GET", "/health").status_code == requests.codes.ok
    except RedError:
        return False


def wait(endpoint: Endpoint, seconds: float) -> None:
    """Wait until an endpoint is well.

    Raises:
        RedError: it is not, after so many seconds.
    """
    give_up = time.monotonic() + seconds
    while not well(endpoint):
        if time.monotonic() > give_up:
            raise RedError(f"GET /health: not 200 within {seconds:g} s")
        time.sleep(PAUSE)


def test(endpoint: Endpoint, expected: Identity) -> None:
    """Hold an endpoint against the version that it should serve.

    Raises:
        RedError: it is another, it gets a known tweet wrong, or its feedback does not work.
    """
    about, _ = endpoint.record("GET", "/version")
    for name, value in expected.as_dict().items():
        if about.get(name) != value:
            raise RedError(f"GET /version: {name} is {about.get(name)!r}, and not {value!r}")
    found, answer = endpoint.record("POST", "/invocations", {"inputs": list(TWEETS)})
    version = answer.headers.get("X-Model-Version")
    if version != expected.version:
        raise RedError(f"POST /invocations: X-Model-Version is {version!r}, and not {expected.version!r}")
    records = found.get("predictions")
    if not isinstance(records, list) or len(records) != len(TWEETS):
        raise RedError(f"POST /invocations: {len(TWEETS)} tweets, and not as many predictions")
    for (text, label), record in zip(TWEETS.items(), records, strict=True):
        _right(text, label, record)
    _feedback(endpoint, records[0])


def _right(text: str, label: str, record: Any) -> None:
    score = record.get("score") if isinstance(record, dict) else None
    if not isinstance(score, float) or not 0 <= score <= 1:
        raise RedError(f"POST /invocations: {text!r} has no score from 0 to 1: {str(record)[:200]}")
    if record.get("label") != label:
        raise RedError(f"POST /invocations: {text!r} is {record.get('label')!r} ({score:.2f}), and not {label!r}")
    if not record.get("prediction_id"):
        raise RedError(f"POST /invocations: {text!r} has no prediction_id")


def _feedback(endpoint: Endpoint, record: Mapping[str, Any]) -> None:
    # What it answered is said to be right, so that no alert counts it.
    content = {"prediction_id": record["prediction_id"], "expected": record["label"]}
    found, _ = endpoint.record("POST", "/feedback", content)
    if found.get("predicted") != record["label"] or found.get("mispredicted") is not False:
        raise RedError(
            f"POST /feedback: got {str(dict(found))[:200]} for an answer of {record['label']!r} that was right"
        )
    forged = endpoint.ask("POST", "/feedback", content | {"prediction_id": record["prediction_id"][::-1]})
    if forged.status_code != requests.codes.not_found:
        raise RedError(f"POST /feedback: an id that nobody has signed got {forged.status_code}, and not 404")

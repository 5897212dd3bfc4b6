"""The smoke test, against a real endpoint: green as it is, red for another version or model, or feedback that does not work."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_scripts.azure import smoke
from registry_scripts.azure.smoke import Endpoint, RedError
from steps.sentiment import model_folder
from steps.sentiment.model_folder import Identity
from tests import relay
from tests.conftest import ROOT
from tests.registry_scripts.conftest import opened
from tests.serving import KEY, Server, free_port, serve

BUNDLED = ROOT / "data/champion/model"
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("smoke")
    with serve(folder, folder, "--model", str(BUNDLED)) as running:
        yield running


@pytest.fixture(scope="module")
def who() -> Identity:
    return model_folder.identify(BUNDLED)


def test_the_endpoint_as_it_is_passes(server: Server, who: Identity) -> None:
    smoke.wait(Endpoint(server.address), 5)
    smoke.test(Endpoint(server.address), who)
    assert server.metric("sentiment_feedback_total", verdict="right") == 1
    assert server.metric("sentiment_feedback_total", verdict="wrong") == 0  # no alert may count the test


def test_a_model_of_another_family_trained_on_the_sample_alone_passes_too(champions: Path, tmp_path: Path) -> None:
    with opened(tmp_path, champions / "mlflow.db"):
        uri = "models:/tweet-sentiment@challenger"
        expected = model_folder.identify(model_folder.fetch(uri, tmp_path / "model"))
    with serve(tmp_path, champions, "--model", uri) as other:
        smoke.test(Endpoint(other.address), expected)
    assert expected.family == "baseline"


def records(body: bytes, **changes: Any) -> bytes:
    found = json.loads(body)
    for one in found["predictions"]:
        one.update(changes)
    return json.dumps(found).encode()


def swapped(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    if path != "/invocations":
        return status, headers, body
    text = body.replace(b'"positive"', b'"x"').replace(b'"negative"', b'"positive"').replace(b'"x"', b'"negative"')
    return status, headers, text


def constant(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return status, headers, records(body, label="positive") if path == "/invocations" else body


def without_scores(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return status, headers, records(body, score=None) if path == "/invocations" else body


def without_ids(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return status, headers, records(body, prediction_id="") if path == "/invocations" else body


def fewer(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return status, headers, b'{"predictions": []}' if path == "/invocations" else body


def failing(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return (500, {}, b'{"error_code": "INTERNAL_ERROR"}') if path == "/invocations" else (status, headers, body)


def another_header(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    other = {name: "7" if name.lower() == "x-model-version" else value for name, value in headers.items()}
    return status, other, body


def another_model(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return status, headers, json.dumps(json.loads(body) | {"model_id": "m-0"}).encode() if path == "/version" else body


def a_page(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return 200, {"Content-Type": "text/html"}, b"<h1>Your app is ready</h1>"


def no_feedback(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    return (404, {}, b"{}") if path == "/feedback" else (status, headers, body)


def any_feedback(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    told = {"predicted": "positive", "expected": "positive", "mispredicted": False}
    return (200, headers, json.dumps(told).encode()) if path == "/feedback" else (status, headers, body)


def feedback_of_another(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Answer:
    told = json.loads(body) | {"mispredicted": True} if path == "/feedback" and status == 200 else None
    return status, headers, json.dumps(told).encode() if told else body


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (swapped, "'I love this so much, best day ever! thank you' is 'negative'"),
        (constant, "'I hate this, worst day ever, so sad' is 'positive'"),
        (without_scores, "has no score from 0 to 1"),
        (without_ids, "has no prediction_id"),
        (fewer, "6 tweets, and not as many predictions"),
        (failing, "POST /invocations: got 500"),
        (another_header, "X-Model-Version is '7', and not"),
        (another_model, "GET /version: model_id is 'm-0', and not"),
        (a_page, "GET /version: got 200 '<h1>Your app is ready</h1>', and not 200 with an object"),
        (no_feedback, "POST /feedback: got 404"),
        (any_feedback, "an id that nobody has signed got 200, and not 404"),
        (feedback_of_another, "POST /feedback: got .*'mispredicted': True"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_an_endpoint_that_is_not_what_it_should_be_is_red(
    server: Server, who: Identity, alter: relay.Alter, message: str
) -> None:
    with relay.before(server.port, alter) as address, pytest.raises(RedError, match=message):
        smoke.test(Endpoint(f"http://{address}"), who)


def test_another_version_is_red(server: Server, who: Identity) -> None:
    expected = Identity("tweet-sentiment", "3", who.model_id, who.family, who.dataset_digest)
    with pytest.raises(RedError, match="GET /version: model is 'model', and not 'tweet-sentiment'"):
        smoke.test(Endpoint(server.address), expected)


def test_nobody_there_is_red(who: Identity) -> None:
    with pytest.raises(RedError, match="GET /version: no answer"):
        smoke.test(Endpoint(f"http://127.0.0.1:{free_port()}"), who)


def test_an_endpoint_that_never_gets_well_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "PAUSE", 0.05)
    with pytest.raises(RedError, match=r"GET /health: not 200 within 0\.2 s"):
        smoke.wait(Endpoint(f"http://127.0.0.1:{free_port()}"), 0.2)


def test_a_closed_endpoint_wants_its_key(tmp_path: Path, who: Identity) -> None:
    with serve(tmp_path, tmp_path, "--model", str(BUNDLED), SERVE_API_KEY=KEY) as closed:
        smoke.test(Endpoint(closed.address, KEY), who)
        with pytest.raises(RedError, match="GET /version: got 401"):
            smoke.test(Endpoint(closed.address), who)

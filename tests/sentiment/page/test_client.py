"""The client: against loopback servers that answer as an endpoint does, as a stranger, too late, or not at all."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from steps.sentiment.page import client, highlight
from steps.sentiment.page.client import Client, DownError, EndpointError, TooLargeError
from tests.serving import free_port

RECORD = {"label": "negative", "score": 0.1, "unsure": False, "truncated": False, "prediction_id": "x"}


@contextmanager
def server(*answers: tuple[int, Any], seconds: float = 0) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Answer with these in turn, the last one for ever; yield the address and what was asked."""
    asked: list[dict[str, Any]] = []
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append({"path": self.path, "headers": dict(self.headers), "body": json.loads(body or b"null")})
            released.wait(seconds)
            status, content = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            self.send_header("X-Model-Version", "3")
            self.send_header("Location", "http://127.0.0.1:9/")
            if status in (429, 503):
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content.encode() if isinstance(content, str) else json.dumps(content).encode())

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        released.set()
        running.shutdown()


def test_texts_a_version_and_a_key_are_sent_and_records_come_back() -> None:
    with server((200, {"predictions": [RECORD]})) as (address, asked):
        answers = Client(address + "/", "sesame").score(["late \ud800"], True, "4")
    assert (answers.version, answers.records) == ("3", [RECORD])
    (question,) = asked
    assert question["path"] == "/invocations"
    assert question["body"] == {"inputs": ["late \ud800"], "params": {"explain": True}}
    assert question["headers"]["X-Model-Version"] == "4"
    assert question["headers"]["Authorization"] == "Bearer sesame"


def test_a_text_goes_along_with_a_verdict_only_if_it_is_given() -> None:
    with server((200, {})) as (address, asked):
        Client(address).judge("x", "positive")
        Client(address).judge("x", "positive", "late")
    assert asked[0]["body"] == {"prediction_id": "x", "expected": "positive"}
    assert asked[1]["body"] == {"prediction_id": "x", "expected": "positive", "text": "late", "keep": True}


def test_a_busy_endpoint_is_asked_again() -> None:
    busy = (429, {"error_code": "E", "message": "too many"})
    with server(busy, busy, (200, {"predictions": [RECORD]})) as (address, asked):
        Client(address).score(["late"])
        assert len(asked) == 3
    with server(busy) as (address, asked), pytest.raises(EndpointError, match=r"refused \(429\): too many"):
        Client(address).score(["late"])


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((413, {"message": "5,001 inputs are too many"}), TooLargeError, r"refused \(413\): 5,001 inputs"),
        ((404, {"message": "no such version"}), EndpointError, r"refused \(404\): no such version"),
        ((401, {"message": "the API key is missing"}), EndpointError, "asks for a key: start this page with SERVE_API_KEY"),
        ((500, "<html>oops"), EndpointError, "answers, but not as this project's endpoint does"),
        ((200, "<html>hello"), EndpointError, "answers, but not as"),
        ((200, {"predictions": []}), EndpointError, "answers, but not as"),
        ((200, {"predictions": [{"label": "sad"}]}), EndpointError, "answers, but not as"),
        ((200, [1]), EndpointError, "answers, but not as"),
        ((302, ""), EndpointError, "answers, but not as"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(answer: tuple[int, Any], kind: type[Exception], message: str) -> None:
    with server(answer) as (address, _), pytest.raises(kind, match=message):
        Client(address).score(["late"])


def test_nobody_and_somebody_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DownError, match="does not answer"):
        Client(f"http://127.0.0.1:{free_port()}").about()
    monkeypatch.setattr(client, "SHORT", 0.3)
    with server((200, {}), seconds=5) as (address, _), pytest.raises(DownError, match=r"within 0\.3 seconds"):
        Client(address).about()


def test_a_word_is_text_whatever_it_holds() -> None:
    words = [
        {"word": "<img src=x onerror=alert(1)>", "weight": 0.5},
        {"word": '"&', "weight": -0.3},
        {"word": "a", "weight": 0.0},
    ]
    shown = highlight.highlighted(words).partition("</style>")[2]
    assert shown.count("<") == 2 * (1 + 2 * 3 + 2)  # the block, three words twice, two numbers
    assert "<bdi>&lt;img src=x onerror=alert(1)&gt;</bdi><small>+0.50</small>" in shown
    assert "<bdi>&quot;&amp;</bdi><small>\N{MINUS SIGN}0.30</small>" in shown
    assert "<span><bdi>a</bdi></span>" in shown

"""What a client can do to the endpoint, by mistake or on purpose, and what it gets: the cases of a test and the rows of a table.

    .venv/bin/python tests/abuse.py

`tests/steps/test_serve_abuse.py` does each to a real endpoint; the command writes them, and what else can go wrong, into
docs/architecture.md. Not a test itself.
"""

import gzip
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from steps.sentiment.connections import HEAD_BYTES, HEAD_SECONDS  # noqa: E402
from steps.sentiment.evidence import with_block  # noqa: E402
from tests.serving import Server, received, resident, wait_for  # noqa: E402

#: Bytes of a body that are allowed unless told otherwise.
LIMIT = 4 * 2**20
LEAKS = re.compile(rb"Traceback|\.py|/tmp|/root|/usr|steps\.|secret")
#: The status of a client that was hung up on without an answer.
SILENCE = 0
PAGE = ROOT / "docs/architecture.md"


@dataclass(frozen=True)
class Case:
    """What a client does; `do` returns the statuses that it got, each one of `statuses`. `remark` is what else `do` has checked."""

    name: str
    statuses: tuple[int, ...]
    remark: str
    do: Callable[[Server], Iterable[int]]

    def row(self) -> str:
        """Return the row of the table."""
        got = " or ".join(str(code) if code else "hung up on" for code in self.statuses)
        return f"| {self.name} | {got}{self.remark and f': {self.remark}'} |"


CASES: list[Case] = []


def case(name: str, *statuses: int, remark: str = "") -> Callable[[Callable[[Server], Iterable[int]]], None]:
    """Add a case that a function does."""
    return lambda do: CASES.append(Case(name, statuses, remark, do))


def sends(name: str, status: int, *requests: bytes, remark: str = "") -> None:
    """Add a case in which each of these is sent on a connection of its own."""
    CASES.append(Case(name, (status,), remark, lambda server: [code(server.send(one, 5)) for one in requests]))


def post(path: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """Return a request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def asks(*bodies: bytes, kind: str = "application/json", path: str = "/invocations") -> list[bytes]:
    """Return requests with these bodies."""
    return [post(path, body, "Connection: close", kind=kind) for body in bodies]


def gets(*paths: str) -> list[bytes]:
    """Return requests for these paths."""
    return [f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode() for path in paths]


def question(*texts: str) -> bytes:
    """Return a body that asks for these texts."""
    return json.dumps({"inputs": texts}).encode()


def code(answer: bytes) -> int:
    """Return the status of an answer's bytes, which have been looked at for leaks."""
    assert not LEAKS.search(answer), answer[:500]
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(found[1]) if found else SILENCE


def connected(server: Server, seconds: float = 60) -> socket.socket:
    """Return a connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=seconds)


# fmt: off
sends("no JSON: broken, cut off, empty, zeros, more behind it", 400,
      *asks(b'{"inputs": ["secret"]', b"", b"\x00" * 1000, b'{"inputs": ["secret"]} and more'))
sends("JSON that is no object: a list, a text, `null`", 400, *asks(b'["secret"]', b'"secret"', b"null"))
sends("none of the known keys", 400, *asks(b"{}", b'{"texts": ["secret"]}'))
sends("a table as JSON (`dataframe_split`, `dataframe_records`, `instances`)", 400, *asks(
    b'{"dataframe_split": {"columns": ["text"], "data": [["secret"]]}}', b'{"dataframe_records": [{"text": "secret"}]}',
    b'{"instances": ["secret"]}'), remark="stock MLflow refuses it too")
sends("a number, `null`, `true`, a list or an object among the texts", 400, *asks(
    *(b'{"inputs": ["fine", %s]}' % value for value in (b"5", b"null", b"true", b'["secret"]', b'{"secret": 1}'))),
    remark="with the position of the first")
sends("keys that are not known, `__proto__` among them", 200,
      *asks(b'{"__proto__": 1, "inputs": ["a"], "constructor": {}}', b'{"inputs": ["a"], "params": {"unknown": 1}}'))
sends("a parameter of a wrong type", 400, *asks(b'{"inputs": [], "params": {"explain": "secret"}}', b'{"inputs": [], "params": []}'))
sends("`NaN` among the texts", 400, *asks(b'{"inputs": [NaN, "secret"]}'))
sends("`NaN`, `Infinity` or 1e999 elsewhere", 200, *asks(*(
    b'{"inputs": ["a"], "x": %s}' % value for value in (b"NaN", b"Infinity", b"-1e999"))))
sends("a number of 100,000 digits", 400, *asks(b'{"inputs": ["a"], "x": ' + b"9" * 100_000 + b"}"))
sends("100,000 lists or 50,000 objects in each other", 400, *asks(
    b"[" * 100_000, b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"inputs": ["secret"], "x": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}"))
sends("bytes that are not UTF-8", 400, *asks(b'{"inputs": ["secret \xff\xfe"]}'), *asks(b"text\n\xff\n", kind="text/csv"))
sends("half of a surrogate pair, 1,000 zero characters", 200,
      *asks(b'{"inputs": ["\xed\xa0\x80"]}', b'{"inputs": ["' + b"\\u0000" * 1000 + b'"]}'), remark="stock MLflow takes both too")
sends("CSV of no column, two columns, an open quote", 400, *asks(b"", b"id,text\n1,secret\n", b'text\n"secret', kind="text/csv"))
sends("no Content-Type", 415, *(one.replace(b"Content-Type: application/json\r\n", b"") for one in asks(question("secret"))),
      remark="500 from stock MLflow")
sends("another Content-Type or charset", 415, *(post("/invocations", question("secret"), "Connection: close", kind=kind) for kind in (
    "text/plain", "application/json; charset=latin-1", "application/vnd.apache.parquet", "multipart/form-data")))
sends("a gzip bomb, and other compressed bodies", 415, *(
    post("/invocations", gzip.compress(b" " * 50_000_000), f"Content-Encoding: {encoding}", "Connection: close")
    for encoding in ("gzip", "br", "deflate")), remark="nothing is unpacked")
# As empty texts they fit into the largest body.
sends("a million texts", 413, *asks(question(*[""] * 1_000_000)))
sends("`/feedback` with an id that was never signed", 404, *asks(
    b'{"prediction_id": "secret", "expected": "positive"}', b'{"prediction_id": "%s", "expected": "negative"}' % (b"A" * 100_000),
    path="/feedback"))
sends("`/feedback` without an id, or expecting another label", 400, *asks(
    b'{"expected": "positive"}', b'{"prediction_id": "secret", "expected": "secret"}', path="/feedback"))
sends("paths that lead out, encoded or not, or nowhere", 404, *gets(
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//invocations", "/invocations/../ping", "/invocations%00", "/secret"))
sends("a path that is not ASCII", 400, *gets("/é"))
sends("another method", 405, *gets("/invocations", "/feedback"), *asks(b"{}", path="/ping"), remark="with the allowed ones")
sends("a head of 100 kB, as one header or 4,000", 400, *gets("/ping HTTP/1.1\r\nX-Long: " + "a" * 100_000, "/ping HTTP/1.1" + 4_000 * (
    "\r\nX-Many: aaaaaaaaaaaaaaaaaaaa")), remark=f"{HEAD_BYTES // 1024} kB are allowed")
sends("a body with a wrong length, with two, or in wrong pieces", 400, *(
    b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + rest for rest in (
        b"Content-Length: -5\r\n\r\n", b"Content-Length: 5, 6\r\n\r\nsecret", b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")))
sends("what is not HTTP: TLS, another protocol or version", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SECRET\r\n\r\n",
      b"GET / HTTP/9.9\r\n\r\n")
# fmt: on


@case("a body of 200 MB", 413, remark="less than 30 MB of it are held")
def _(server: Server) -> list[int]:
    before = resident(server.process.pid)
    with connected(server) as connection:
        connection.sendall(post("/invocations", b"")[:-4].replace(b"Length: 0", b"Length: 200000000") + b"\r\n\r\n")
        for _ in range(200):
            connection.sendall(b" " * 1_000_000)
        found = code(received(connection))
    assert resident(server.process.pid) - before < 30e6
    return [found]


@case("a body without a length and without an end", 413, remark="as soon as it is too long")
def _(server: Server) -> list[int]:
    with connected(server) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(2 * LIMIT // 65536):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        return [code(received(connection))]


@case("a head of 100 kB in small pieces", 400, SILENCE)
def _(server: Server) -> Iterable[int]:
    for head in (b"X-Long: " + b"a" * 100_000, b"X-Many: aaaaaaaaaaaaaaaaaaaa\r\n" * 4_000):
        with connected(server, 10) as connection:
            try:
                for start in range(0, len(head), 10_000):
                    connection.sendall((b"GET /ping HTTP/1.1\r\n" * (start == 0)) + head[start : start + 10_000])
                    time.sleep(0.01)
            except OSError:
                pass  # it has hung up already
            yield code(received(connection))


@case("nothing, or a head a byte a second", SILENCE, remark=f"within {HEAD_SECONDS} s")
def _(server: Server) -> list[int]:
    beginnings = [b"", b"GET /pi", b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Slow: "]
    connections = [connected(server, HEAD_SECONDS + 10) for _ in beginnings]
    for connection, beginning in zip(connections, beginnings, strict=True):
        connection.sendall(beginning)
    for _ in range(4):
        time.sleep(1)
        connections[2].sendall(b"a")
    start = time.monotonic()
    found = [code(received(connection)) for connection in connections]
    for connection in connections:
        connection.close()
    assert time.monotonic() - start < HEAD_SECONDS
    return found


@case("a body that comes slowly", 200, remark="others are answered meanwhile")
def _(server: Server) -> list[int]:
    with connected(server) as slow:
        whole = post("/invocations", question("slowly but surely"), "Connection: close")
        slow.sendall(whole[:-10])
        for byte in whole[-10:]:
            time.sleep(0.1)
            assert server.ask(["quick"])
            slow.sendall(bytes([byte]))
        return [code(received(slow))]


@case("a connection half closed after the request", 200)
def _(server: Server) -> list[int]:
    return [_half_closed(server, post("/invocations", question("done talking")))]


@case("a connection half closed within the request", SILENCE)
def _(server: Server) -> list[int]:
    return [_half_closed(server, post("/invocations", question("done talking"))[:part]) for part in (20, -5)]


def _half_closed(server: Server, data: bytes) -> int:
    with connected(server) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return code(received(connection))


@case("clients that leave before the answer", 200, remark="to the others")
def _(server: Server) -> list[int]:
    leaving = [post("/invocations", question(*["some words"] * 2000))] * 20 + [
        post("/invocations", b" " * 100)[:-50]
    ] * 5
    for request in leaving:
        with connected(server) as connection:
            connection.sendall(request)
    return [code(server.send(asks(question("one who stays"))[0]))]


@case("30 requests in one piece (pipelining)", 200, remark="answered in their order")
def _(server: Server) -> list[int]:
    requests = [post("/invocations", question(*["text"] * number)) for number in range(1, 30)]
    answer = server.send(b"".join(requests) + asks(question())[0])
    found = re.findall(rb'\{"predictions":(\[.*?\])\}', answer)
    assert [len(json.loads(one)) for one in found] == [*range(1, 30), 0]
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@case("1,000 connections at once, each with a request", 200, 429, remark="another is answered in between")
def _(server: Server) -> list[int]:
    connections = []
    try:
        for _ in range(1000):
            connections.append(connected(server))
        assert server.ask(["in between"])
        for connection in connections:
            connection.sendall(asks(question("one of a thousand"))[0])
        found = [code(received(connection)) for connection in connections]
    finally:
        for connection in connections:
            connection.close()
    assert found.count(200) >= 128
    return found


@case("40 of the largest bodies at once", 200, 429, remark="less than 400 MB are held")
def _(server: Server) -> list[int]:
    before = resident(server.process.pid)
    body = b'{"inputs": ["a"]' + b" " * (LIMIT - 20) + b"}"
    found: list[int] = []

    def send(connection: socket.socket) -> None:
        try:
            connection.sendall(post("/invocations", body, "Connection: close")[:-1])
            time.sleep(1)
            connection.sendall(body[-1:])
        except OSError:
            pass
        found.append(code(received(connection)))
        connection.close()

    threads = [threading.Thread(target=send, args=(connected(server),)) for _ in range(40)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(found) == 40, 90)
    assert 429 in found
    assert resident(server.process.pid) - before < 400e6
    return found


@case("`/feedback` again for the same answer", 200, remark="the last verdict counts")
def _(server: Server) -> list[int]:
    (record,) = server.ask(["not good"])
    verdict = {"prediction_id": record["prediction_id"]}
    return [
        server.post("/feedback", verdict | {"expected": label})[0] for label in ("negative", "positive", "positive")
    ]


#: What else can go wrong: what happens then, and the test that shows it.
FAULTS = [
    ("SIGTERM under load, with one worker and with two", "every accepted request is answered, later ones get 503 or are hung up on; "
     "every event arrives; it ends within 10 s", "test_sigterm_under_load_loses_neither_an_answer_nor_an_event"),
    ("the same with the ingestion service down", "every event lies on disk within the 10 s, and is sent by the next endpoint",
     "test_with_ingestion_down_the_events_are_on_disk_in_time_and_are_sent_by_the_next"),
    ("the same with a disk cache that is full", "what finds no room is counted as lost, and logged",
     "test_with_ingestion_down_and_the_disk_cache_full_the_loss_is_counted"),
    ("the same with a service that does not answer", "every event lies on disk within the 10 s",
     "test_with_ingestion_that_never_answers_it_still_ends_in_time"),
    ("SIGKILL under load", "the port can be taken again at once", "test_one_that_is_killed_leaves_a_port_that_can_be_taken_again"),
    ("a worker is killed under load", "another takes its place; whom it was answering is hung up on",
     "test_counters_add_up_over_workers_also_over_one_that_is_killed"),
    ("the process above the workers is killed", "they end", "test_workers_do_not_outlive_a_parent_that_was_killed"),
    ("the folder of the model vanishes", "the workers that have it go on",
     "test_a_folder_is_served_as_well_also_after_it_has_vanished"),
    ("the registry goes away, with `follow`", "the version that is there goes on, and log and `/metrics` say so",
     "test_it_changes_to_the_next_champion_without_dropping_a_request"),
    ("a text on which the model fails", "500 without its message or a stack trace; texts of others in the batch are answered",
     "test_a_model_that_fails_on_a_text_is_a_500_that_shows_nothing"),
    ("scoring takes longer than `timeout`", "504", "test_limits_come_from_flags_and_from_the_environment"),
    ("the disk is full", "it goes on", "test_without_room_on_the_disk_it_goes_on"),
]  # fmt: skip


def tables() -> str:
    """Return the cases and the faults as Markdown."""
    faults = [f"| {what} | {then} |" for what, then, _ in FAULTS]
    clients = ["| sent | got |", "| --- | --- |", *(case.row() for case in CASES)]
    return "\n".join([*clients, "", "| fault | what happens |", "| --- | --- |", *faults])


if __name__ == "__main__":
    PAGE.write_text(with_block(PAGE.read_text(encoding="utf-8"), "abuse", tables()), encoding="utf-8")

"""What a client can do to the endpoint, by mistake or on purpose: never a 5xx, never its own words or our paths in an answer."""

import contextlib
import gzip
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steps.sentiment import bodies
from steps.sentiment.connections import HEAD_BYTES, HEAD_SECONDS
from steps.sentiment.exchange import RequestError
from tests.serving import TWEETS, Server, received, resident, serve, wait_for

LIMIT = 4 * 2**20
LEAKS = re.compile(rb"Traceback|\.py|/tmp|/root|/usr|steps\.|secret")


@pytest.fixture(scope="module")
def served(champions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("served"), champions) as server:
        yield server


@pytest.fixture(autouse=True)
def _unharmed(served: Server) -> Iterator[None]:
    """After each test the endpoint answers as before, has shown no failure, and counts none."""
    yield
    assert served.ask(TWEETS)
    assert served.metric("sentiment_errors_total", code="INTERNAL_ERROR") == 0
    assert "Traceback" not in served.log.read_text()


def post(path: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """Return a request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    """Return the status of an answer's bytes, which have been looked at for leaks."""
    assert not LEAKS.search(answer), answer[:500]
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(found[1]) if found else 0


def question(*texts: str) -> bytes:
    return json.dumps({"inputs": texts}).encode()


def test_a_body_of_200_mb_is_413_in_little_memory(served: Server) -> None:
    before = resident(served.process.pid)
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(post("/invocations", b"")[:-4].replace(b"Length: 0", b"Length: 200000000") + b"\r\n\r\n")
        for _ in range(200):
            connection.sendall(b" " * 1_000_000)
        assert status(received(connection)) == 413
    assert resident(served.process.pid) - before < 30e6


def test_a_body_without_a_length_is_413_as_soon_as_it_is_too_long(served: Server) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(2 * LIMIT // 65536):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        assert status(received(connection)) == 413


def test_a_million_rows_are_413(served: Server) -> None:
    # As empty texts they fit into the largest body.
    assert status(served.send(post("/invocations", question(*[""] * 1_000_000), "Connection: close"))) == 413


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 100_000, 400),
        (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"inputs": ["secret"], "x": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", 400),
        (b'{"inputs": [NaN, "secret"]}', 400),
        (b'{"inputs": ["a"], "x": Infinity}', 200),
        (b'{"inputs": ["a"], "x": 1e999, "y": -1e999}', 200),
        (b'{"inputs": ["a"], "x": ' + b"9" * 100_000 + b"}", 400),
        (b'{"inputs": ["secret \xff\xfe"]}', 400),
        (b'{"inputs": ["\xed\xa0\x80"]}', 200),  # half of a pair, as stock MLflow takes it
        (b'{"inputs": ["secret"]', 400),
        (b"\x00" * 1000, 400),
        (b'"secret"', 400),
        (b'{"inputs": ["' + b"\\u0000" * 1000 + b'"]}', 200),
        (b'{"__proto__": 1, "inputs": ["a"], "constructor": {}}', 200),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_json_of_all_kinds(served: Server, body: bytes, code: int) -> None:
    assert status(served.send(post("/invocations", body, "Connection: close"))) == code


def test_compressed_bodies_are_not_unpacked(served: Server) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    for encoding in ("gzip", "br", "deflate"):
        answer = served.send(post("/invocations", bomb, f"Content-Encoding: {encoding}", "Connection: close"))
        assert status(answer) == 415


def test_a_missing_content_type_is_415(served: Server) -> None:
    bare = post("/invocations", question("secret"), "Connection: close").replace(
        b"Content-Type: application/json\r\n", b""
    )
    assert status(served.send(bare)) == 415


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//invocations",
        "/invocations/../ping",
        "/invocations%00",
        "/é",
    ],
)
def test_no_path_leads_out(served: Server, path: str) -> None:
    answer = served.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert status(answer) in (400, 404)
    assert b"passwd" not in answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nsecret",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        b"GET /ping HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=lambda data: repr(data)[:40],
)
def test_what_is_not_http_is_told_so_or_hung_up_on(served: Server, data: bytes) -> None:
    assert status(served.send(data, seconds=3)) < 500


def test_a_head_of_100_kb_is_refused_in_one_piece_or_in_many(served: Server) -> None:
    long = b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n"
    many = b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"X-Many: aaaaaaaaaaaaaaaaaaaa\r\n" * 4_000 + b"\r\n"
    for head in (long, many):
        assert status(served.send(head)) == 400
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            try:
                for start in range(0, len(head), 10_000):
                    connection.sendall(head[start : start + 10_000])
                    time.sleep(0.01)
            except OSError:
                pass  # it has hung up already
            assert status(received(connection)) in (0, 400)
    assert len(long) > HEAD_BYTES
    small = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"
    assert status(served.send(small)) == 200


def test_clients_that_say_nothing_or_little_are_hung_up_on(served: Server) -> None:
    beginnings = [b"", b"GET /pi", b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Slow: "]
    connections = [socket.create_connection(("127.0.0.1", served.port), timeout=HEAD_SECONDS + 10) for _ in beginnings]
    for connection, beginning in zip(connections, beginnings, strict=True):
        connection.sendall(beginning)
    for _ in range(4):
        time.sleep(1)
        connections[2].sendall(b"a")
    start = time.monotonic()
    for connection in connections:
        received(connection)
        connection.close()
    assert time.monotonic() - start < HEAD_SECONDS


def test_a_slow_body_keeps_nobody_else_from_an_answer(served: Server) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as slow:
        whole = post("/invocations", question("slowly but surely"), "Connection: close")
        slow.sendall(whole[:-10])
        for byte in whole[-10:]:
            time.sleep(0.1)
            assert served.ask(["quick"])
            slow.sendall(bytes([byte]))
        assert status(received(slow)) == 200


def test_a_client_that_closes_its_side_gets_its_answer(served: Server) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
        connection.sendall(post("/invocations", question("done talking")))
        connection.shutdown(socket.SHUT_WR)
        assert status(received(connection)) == 200
    for part in (20, -5):  # or none, if it had not finished
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(post("/invocations", question("done talking"))[:part])
            connection.shutdown(socket.SHUT_WR)
            assert status(received(connection)) == 0


def test_clients_that_leave_before_the_answer_are_no_error(served: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(post("/invocations", question(*["some words"] * 2000)))
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
            connection.sendall(post("/invocations", b" " * 100)[:-50])


def test_pipelined_requests_are_answered_in_order(served: Server) -> None:
    requests = [post("/invocations", question(*["text"] * number)) for number in range(1, 30)]
    last = post("/invocations", question(), "Connection: close")
    answer = served.send(b"".join(requests) + last)
    bodies_found = re.findall(rb'\{"predictions":(\[.*?\])\}', answer)
    assert [len(json.loads(found)) for found in bodies_found] == [*range(1, 30), 0]


def test_a_thousand_connections_at_once(served: Server) -> None:
    connections = []
    try:
        for _ in range(1000):
            connections.append(socket.create_connection(("127.0.0.1", served.port), timeout=60))
        assert served.ask(["in between"])
        for connection in connections:
            connection.sendall(post("/invocations", question("one of a thousand"), "Connection: close"))
        found = [status(received(connection)) for connection in connections]
    finally:
        for connection in connections:
            connection.close()
    assert set(found) <= {200, 429}
    assert found.count(200) >= 128


def test_many_large_bodies_at_once_do_not_fill_the_memory(served: Server) -> None:
    before = resident(served.process.pid)
    body = b'{"inputs": ["a"]' + b" " * (LIMIT - 20) + b"}"
    connections = [socket.create_connection(("127.0.0.1", served.port), timeout=60) for _ in range(40)]
    found: list[int] = []

    def send(connection: socket.socket) -> None:
        try:
            connection.sendall(post("/invocations", body, "Connection: close")[:-1])
            time.sleep(1)
            connection.sendall(body[-1:])
        except OSError:
            pass
        found.append(status(received(connection)))
        connection.close()

    threads = [threading.Thread(target=send, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(found) == 40, 90)
    assert set(found) <= {200, 429}
    assert 429 in found
    assert resident(served.process.pid) - before < 400e6


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["inputs", "params", "explain", "keep", "expected", "prediction_id", "x"]), inner
        )
    ),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda content: json.dumps(content).encode()))
@example(b"[" * 10_000)
@example(b"\xff\xfe{\x00")
def test_the_reader_of_bodies_reads_or_refuses_whatever_comes(body: bytes) -> None:
    for read in (
        lambda: bodies.asked(bodies.JSON, body, 10, 1000),
        lambda: bodies.asked(bodies.CSV, body, 10, 1000),
        lambda: bodies.verdict(body),
    ):
        try:
            found = read()
        except RequestError as refused:
            assert refused.status in (400, 413)
            assert len(refused.body()) < 300
        else:
            if isinstance(found, bodies.Asked):
                assert all(isinstance(text, str) for text in found.texts)
                assert isinstance(found.explain, bool)


def test_the_openapi_schema_holds_under_schemathesis(served: Server, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "run", f"{served.address}/openapi.json", "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", "40", "--seed", "1", "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"\b\d{3,} generated", done.stdout)


def test_without_room_on_the_disk_it_goes_on(champions: Path, tmp_path: Path) -> None:
    (small := tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk to be filled needs the right to mount one")
    try:
        with serve(tmp_path, champions, TMPDIR=str(small)) as server:
            with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(b"x" * 65536)
            assert server.ask(TWEETS)
            assert server.metric("sentiment_answers_total") == 2
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)

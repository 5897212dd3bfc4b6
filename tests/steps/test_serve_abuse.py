"""What a client can do to the endpoint, by mistake or on purpose: never a 5xx, never its own words or our paths in an answer."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steps.sentiment import bodies
from steps.sentiment.exchange import RequestError
from tests.abuse import CASES, Case, code
from tests.serving import TWEETS, Server, serve, small_disk


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_client_gets_what_the_table_says(served: Server, case: Case) -> None:
    assert {*case.do(served)} <= {*case.statuses}


def test_a_websocket_is_not_opened(served: Server) -> None:
    asked = b"GET /ping HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    assert code(served.send(asked, seconds=3)) == 200


def test_a_head_of_20_kb_is_taken(served: Server) -> None:
    small = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"
    assert code(served.send(small)) == 200


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
    with small_disk(tmp_path / "small", "8m") as small, serve(tmp_path, champions, TMPDIR=str(small)) as server:
        with contextlib.suppress(OSError), (small / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 65536)
        assert server.ask(TWEETS)
        assert server.metric("sentiment_answers_total") == 2

"""The endpoint as its clients meet it: a real server, beside stock MLflow's for the same model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from steps.sentiment.model import Answer
from tests.conftest import ROOT, environment
from tests.serving import KEY, TWEETS, Server, all_answer, children, free_port, load, serve, wait_for


@pytest.fixture(scope="module")
def served(champions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The champion behind our endpoint."""
    with serve(tmp_path_factory.mktemp("served"), champions) as server:
        yield server


@pytest.fixture(scope="module")
def stock(champions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same champion behind the app that `mlflow models serve` runs."""
    folder = tmp_path_factory.mktemp("stock")
    port, own = free_port(), environment(folder)
    mlflow.set_tracking_uri(f"sqlite:///{champions}/mlflow.db")
    own["__pyfunc_model_path__"] = mlflow.artifacts.download_artifacts(
        "models:/tweet-sentiment@champion", dst_path=str(folder)
    )
    mlflow.set_tracking_uri(None)
    command = [sys.executable, *f"-m uvicorn --port {port} mlflow.pyfunc.scoring_server.app:app".split()]
    with subprocess.Popen(command, env=own, cwd=folder, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: status(f"http://127.0.0.1:{port}/ping", None) == 200, 60)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def fetched(address: str, body: bytes | None, kind: str = "application/json") -> tuple[int, bytes]:
    question = urllib.request.Request(address, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(question, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def status(address: str, body: bytes | None, kind: str = "application/json") -> int:
    return fetched(address, body, kind)[0]


def test_a_record_has_the_fields_of_the_contract_and_an_id(served: Server) -> None:
    code, headers, body = served.request(
        "/invocations", json.dumps({"inputs": TWEETS}).encode(), Content_Type="application/json"
    )
    assert code == 200
    assert headers["x-model-version"] == "1"
    assert headers["content-type"] == "application/json"
    records = json.loads(body)["predictions"]
    assert len(records) == 2
    for record in records:
        assert record.pop("prediction_id")
        Answer.model_validate(record)
        assert "words" not in record
    assert len({record["prediction_id"] for record in served.ask(TWEETS * 50)}) == 100


VALID = [
    {"inputs": TWEETS},
    {"inputs": []},
    {"inputs": ["", " ", "😀😀", "привет", "\x00\x07", "<script>alert(1)</script>", "x" * 10_000, "word " * 2_000]},
    {"inputs": TWEETS, "params": {"explain": True}},
    {"inputs": TWEETS, "params": {"explain": False}},
    {"inputs": TWEETS, "params": {"explain": None}},
    {"inputs": TWEETS, "params": {}},
    {"inputs": TWEETS, "params": None},
    {"inputs": TWEETS, "params": {"unknown": 5}},
    {"inputs": TWEETS, "unknown": 5},
    {"inputs": TWEETS, "instances": ["other"]},
    b'{"inputs": ["\\ud800 half of a pair"]}',
    b'{"inputs": ["a"], "unknown": NaN}',
    b'\xef\xbb\xbf{"inputs": ["a byte order mark"]}',
    '{"inputs": ["sixteen bits"]}'.encode("utf-16"),
    b'{"inputs": ["first"], "inputs": ["the last one counts", "twice"]}',
    {"inputs": [f"tweet {number}" for number in range(5_000)]},
]


@pytest.mark.parametrize("content", VALID, ids=lambda content: repr(content)[:50])
def test_what_stock_mlflow_answers_is_answered_alike(served: Server, stock: str, content: Any) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    theirs, their_body = fetched(f"{stock}/invocations", body)
    ours, our_body = fetched(f"{served.address}/invocations", body)
    assert theirs == ours == 200
    records = json.loads(our_body)["predictions"]
    for record in records:
        del record["prediction_id"]
    expected = json.loads(their_body)["predictions"]
    assert [record.pop("score") for record in records] == pytest.approx(
        [record.pop("score") for record in expected], abs=1e-9
    )
    for record in [*records, *expected]:
        for word in record.get("words", []):
            word["weight"] = pytest.approx(word["weight"], abs=1e-9)
    assert records == expected


INVALID = [
    {"inputs": "one text"},
    {"inputs": None},
    {"inputs": {"text": ["x"]}},
    {"inputs": [["nested"]]},
    {"inputs": ["fine", None]},
    {"inputs": [5]},
    {"inputs": [True]},
    {"inputs": TWEETS, "params": []},
    {"inputs": TWEETS, "params": {"explain": 1}},
    {"inputs": TWEETS, "params": {"explain": "true"}},
    {"instances": TWEETS},
    {"dataframe_split": {"columns": ["text"], "data": [["x"]]}},
    {"dataframe_records": [{"text": "x"}]},
    {},
    [],
    b"",
    b"null",
    b'{"inputs": ["a"]} and more',
    b'{"inputs": [NaN]}',
    b'{"inputs": ["\xff"]}',
    b'{"inputs": ["a\x01b"]}',
]


@pytest.mark.parametrize("content", INVALID, ids=lambda content: repr(content)[:50])
def test_what_stock_mlflow_refuses_is_refused_too(served: Server, stock: str, content: Any) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    assert status(f"{stock}/invocations", body) == 400
    code, found = served.post("/invocations", body)
    assert code == 400
    assert set(found) == {"error_code", "message"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"inputs": ["fine", None]}, "inputs[1]: got null; allowed: a string"),
        ({"inputs": [*TWEETS, 5]}, "inputs[2]: got a number; allowed: a string"),
        ({"inputs": [{"text": "secret"}]}, "inputs[0]: got an object; allowed: a string"),
        ({"inputs": "secret"}, "inputs: got a string; allowed: a list of strings"),
        ({"texts": ["secret"]}, "the key inputs is missing; allowed: a list of strings"),
        ({"inputs": [], "params": {"explain": "secret"}}, "params.explain: got a string; allowed: true or false"),
        (["secret"], "the body is a list; allowed: an object"),
        (b'{"inputs": ["secret"', "the body is not valid JSON"),
        (b'{"inputs": ["\xff"]}', "the body is not valid UTF-8"),
    ],
)
def test_a_refusal_says_where_and_what_is_allowed_and_repeats_nothing(
    served: Server, content: Any, message: str
) -> None:
    code, found = served.post("/invocations", content)
    assert (code, found["message"]) == (400, message)


def test_a_column_of_csv_is_answered_and_a_wider_table_is_not_guessed_at(served: Server) -> None:
    address = f"{served.address}/invocations"
    code, body = fetched(address, b'text\nlost my bag\n"great, really"\nNA\n\n""\n', "text/csv")
    assert (code, len(json.loads(body)["predictions"])) == (200, 4)
    code, body = fetched(address, b"id,text\n1,lost my bag\n", "text/csv; charset=utf-8")
    message = "line 1 has 2 columns; allowed: one column of texts under a heading"
    assert (code, json.loads(body)["message"]) == (400, message)
    for table in (b"", b'text\n"open', b"text\n\xff\n"):
        assert status(address, table, "text/csv") == 400


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/json; charset=latin-1", "application/vnd.apache.parquet", "application/json; x=1", ""],
)
def test_another_content_type_is_415(served: Server, kind: str) -> None:
    code, body = fetched(f"{served.address}/invocations", b'{"inputs": []}', kind)
    assert code == 415
    assert "allowed: application/json, text/csv, in UTF-8" in json.loads(body)["message"]


def test_an_id_brings_a_verdict_home_and_a_stranger_is_404(served: Server) -> None:
    (record,) = served.ask(["not good"])
    other = "positive" if record["label"] == "negative" else "negative"
    wrong = {"prediction_id": record["prediction_id"], "expected": other, "comment": "irony", "text": "x", "keep": True}
    for _ in range(2):  # a repeat is taken
        code, found = served.post("/feedback", wrong)
        expected = {"predicted": record["label"], "expected": other, "mispredicted": True}
        assert (code, found) == (200, {"prediction_id": record["prediction_id"], **expected})
    code, found = served.post("/feedback", wrong | {"expected": record["label"]})
    assert (code, found["mispredicted"]) == (200, False)

    own = record["prediction_id"]
    changed = ("A" if own[0] != "A" else "B") + own[1:]
    for stranger in (
        "",
        "x",
        "é",
        "A" * 60,
        "A" * 100_000,
        own[:-1],
        own + "A",
        own + "=",
        own[:5] + "!" + own[5:],
        changed,
    ):
        code, found = served.post("/feedback", wrong | {"prediction_id": stranger})
        assert (code, found["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST"), stranger


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expected": "neutral"}, "expected: allowed: negative, positive"),
        ({"expected": None}, "expected: got null; allowed: a string"),
        ({"prediction_id": 5}, "prediction_id: got a number; allowed: a string"),
        ({"text": 5}, "text: got a number; allowed: a string"),
        ({"comment": []}, "comment: got a list; allowed: a string"),
        ({"keep": "yes"}, "keep: got a string; allowed: true or false"),
    ],
)
def test_a_verdict_that_cannot_be_read_is_400(served: Server, change: dict[str, Any], message: str) -> None:
    code, found = served.post("/feedback", {"prediction_id": "x", "expected": "positive"} | change)
    assert (code, found["message"]) == (400, message)


def test_health_and_version_say_who_answers(served: Server) -> None:
    assert served.request("/ping")[2] == b"\n"
    health, version = served.get("/health"), served.get("/version")
    for found in (health, version):
        assert (found["model"], found["version"], found["family"]) == ("tweet-sentiment", "1", "baseline")
        assert found["model_id"].startswith("m-")
        assert len(found["dataset_digest"]) == 16
    assert health["uptime_seconds"] > 0
    assert version["mlflow"] == mlflow.__version__


def test_other_paths_and_methods_are_told_what_there_is(served: Server) -> None:
    assert served.request("/nothing")[0] == 404
    code, headers, _ = served.request("/invocations")
    assert (code, headers["allow"]) == (405, "POST, OPTIONS")
    code, headers, _ = served.request("/ping", b"{}")
    assert (code, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    head = served.send(b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")


def test_no_page_of_another_origin_may_ask_unless_it_was_named(served: Server, champions: Path, tmp_path: Path) -> None:
    origin = "https://page.example"
    body = json.dumps({"inputs": TWEETS}).encode()
    assert "access-control-allow-origin" not in served.request("/health", Origin=origin)[1]
    with serve(tmp_path, champions, "--cors", f"{origin},https://other.example") as open_one:
        code, headers, _ = open_one.request("/invocations", body, Content_Type="application/json", Origin=origin)
        assert (code, headers["access-control-allow-origin"]) == (200, origin)
        asked = "OPTIONS /invocations HTTP/1.1\r\nHost: x\r\nOrigin: {}\r\nConnection: close\r\n\r\n"
        assert b"access-control-allow-methods: GET, POST" in open_one.send(asked.format(origin).encode())
        assert b"access-control" not in open_one.send(asked.format("https://evil.example").encode())


def test_with_a_key_only_its_holders_are_answered(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, SERVE_API_KEY="k3y-é") as guarded:
        question, key = {"inputs": TWEETS}, "k3y-é".encode().decode("latin-1")
        assert guarded.post("/invocations", question, X_API_Key=key)[0] == 200
        assert guarded.post("/invocations", question, Authorization=f"bearer {key}")[0] == 200
        for wrong in ({}, {"X_API_Key": "k3y"}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {key}"}):
            assert guarded.post("/invocations", question, **wrong)[0] == 401
            assert guarded.post("/feedback", {}, **wrong)[0] == 401
            assert guarded.request("/metrics", **wrong)[0] == 401
        for path in ("/ping", "/health", "/openapi.json"):
            assert guarded.request(path)[0] == 200
        assert "k3y" not in guarded.log.read_text()


def test_limits_come_from_flags_and_from_the_environment(champions: Path, tmp_path: Path) -> None:
    flags = ["--max_rows", "3", "--max_bytes", "6400"]
    with serve(tmp_path, champions, *flags, SERVE_MAX_BYTES="99", SERVE_TIMEOUT="0.0001") as small:
        code, found = small.post("/invocations", {"inputs": ["x"] * 4})
        assert (code, found["message"]) == (413, "4 inputs are too many; allowed: 3")
        code, found = small.post("/invocations", {"inputs": ["x" * 6400]})
        assert (code, found["message"]) == (413, "the body is too large; allowed: 6,400 bytes")
        code, found = small.post("/invocations", {"inputs": ["x" * 101], "params": {"explain": True}})
        assert (code, found["message"]) == (413, "explain: 101 characters are too many; allowed: 100")
        code, found = small.post("/invocations", {"inputs": TWEETS})
        assert (code, found["error_code"]) == (504, "DEADLINE_EXCEEDED")
        assert small.metric("sentiment_errors_total", code="REQUEST_LIMIT_EXCEEDED") == 3


def test_more_requests_at_once_than_allowed_are_429(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, "--max_concurrent", "1") as narrow:

        def long() -> None:
            while narrow.post("/invocations", {"inputs": ["word " * 20] * 500, "params": {"explain": True}})[0] != 200:
                pass

        asking = threading.Thread(target=long)
        asking.start()
        heard = set()
        while asking.is_alive():
            code, headers, _ = narrow.request("/invocations", b'{"inputs": ["x"]}', Content_Type="application/json")
            heard.add((code, headers.get("retry-after")))
        assert (429, "1") in heard
        assert heard <= {(429, "1"), (200, None)}


def test_counters_add_up_over_workers_also_over_one_that_is_killed(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, "--workers", "2") as two:
        wait_for(lambda: all_answer(two, 2), 60)
        until = threading.Event()
        heard, threads = load(two, 8, until, texts=3)
        wait_for(lambda: len(heard.ids) > 300, 60)
        before = children(two.process)
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: all_answer(two, 3), 60)
        more = len(heard.ids) + 300
        wait_for(lambda: len(heard.ids) > more, 60)
        until.set()
        for thread in threads:
            thread.join()
        assert heard.statuses == []
        answered = two.metric("sentiment_answers_total")
        # The killed one had answered some that nobody heard, and may have been killed between two counters of one request.
        assert len(heard.ids) <= answered <= len(heard.ids) + 3 * 8
        assert two.metric("sentiment_requests_total", route="/invocations", status="200") == pytest.approx(
            answered / 3, abs=1
        )
        assert two.metric("sentiment_request_seconds_count", route="/invocations") == pytest.approx(answered / 3, abs=1)
        assert two.metric("sentiment_answers_total", label="negative") == pytest.approx(answered, abs=3)
        wait_for(lambda: two.metric("sentiment_requests_in_progress") == 0, 10)
        (record,) = two.ask(["fine"])
        assert two.post("/feedback", {"prediction_id": record["prediction_id"], "expected": "positive"})[0] == 200
        assert two.metric("sentiment_feedback_total") == 1
        assert "died" in two.log.read_text()


def test_it_changes_to_the_next_champion_without_dropping_a_request(champions: Path, tmp_path: Path) -> None:
    shutil.copy2(champions / "mlflow.db", tmp_path / "mlflow.db")
    own = environment(tmp_path) | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}

    def script(name: str) -> None:
        command = [sys.executable, "-m", f"registry_scripts.{name}"]
        subprocess.run(command, cwd=ROOT, env=own, check=True, capture_output=True, timeout=120)

    with serve(tmp_path, tmp_path, "--follow", "0.5") as following:
        (before,) = following.ask(["lovely crew"])
        until = threading.Event()
        heard, threads = load(following, 4, until)
        script("promote")
        wait_for(lambda: following.get("/version")["version"] == "2", 30)
        assert following.get("/version")["switches"] == 1
        (after,) = following.ask(["lovely crew"])
        script("rollback")
        wait_for(lambda: following.get("/version")["version"] == "1", 30)
        until.set()
        for thread in threads:
            thread.join()
        assert (heard.statuses, heard.silent, heard.cut) == ([], 0, [])
        assert heard.versions == {"1", "2"}
        assert after["score"] != before["score"]
        # The ids of the version before are still understood.
        assert following.post("/feedback", {"prediction_id": before["prediction_id"], "expected": "positive"})[0] == 200
        assert following.metric("sentiment_model_switches_total", outcome="done") == 2
        assert "now answering with version 2" in following.log.read_text()

        (tmp_path / "mlflow.db").write_bytes(b"no database" * 10_000)  # the registry goes away: the model stays
        wait_for(lambda: following.metric("sentiment_model_switches_total", outcome="failed") >= 1, 30)
        assert following.ask(TWEETS)
        assert "still answering with version 1" in following.log.read_text()


def test_a_folder_is_served_as_well_also_after_it_has_vanished(champions: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / "data/champion/model", model)
    with serve(tmp_path, champions, "--model", str(model), "--workers", "2") as server:
        wait_for(lambda: all_answer(server, 2), 60)
        assert server.get("/health")["family"] == "bert"
        assert server.get("/health")["version"] == server.get("/health")["model_id"]
        shutil.rmtree(model)
        negative, positive = server.ask(["worst flight, I hate this", "love it, best crew ever"])
        assert negative["score"] < 0.5 < positive["score"]
        os.kill(children(server.process)[0], signal.SIGKILL)  # its successor cannot load: the other one goes on
        wait_for(lambda: server.log.read_text().count("died") >= 2, 60)
        assert server.ask(TWEETS)


@pytest.mark.parametrize(
    ("flags", "variables", "line"),
    [
        (["--workers", "0"], {}, "--workers: got '0'; allowed: a whole number of at least 1 and at most 64"),
        (["--timeout", "soon"], {}, "--timeout: got 'soon'; allowed: a number above 0"),
        (["--model", "models:/nobody@champion"], {}, "model=models:/nobody@champion: not found ("),
        (["--model", "nowhere"], {}, "model=nowhere: no model there; allowed: models:/<name>@<alias>"),
        (
            ["--model", "models:/tweet-sentiment/1", "--follow", "5"],
            {},
            "follow=5: model=models:/tweet-sentiment/1 has no alias",
        ),
        (["--host", "192.0.2.1"], {}, "host=192.0.2.1, port="),
        ([], {"SERVE_MAX_ROWS": "many"}, "--max_rows: got 'many'; allowed: a whole number"),
        ([], {"SERVE_PREDICTION_KEY": "short"}, "SERVE_PREDICTION_KEY: got 5 characters; allowed: at least 16"),
        (
            [],
            {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=secret"},
            "APPLICATIONINSIGHTS_CONNECTION_STRING: InstrumentationKey is missing or not a UUID; allowed: ",
        ),
        (
            ["--telemetry_cache", "/dev/null/cache"],
            {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=00000000-0000-0000-0000-00000000000a"},
            "telemetry_cache=/dev/null/cache: Not a directory; allowed: a folder that can be written to",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_served_is_one_line(
    champions: Path, tmp_path: Path, flags: list[str], variables: dict[str, str], line: str
) -> None:
    own = environment(tmp_path) | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{champions}/mlflow.db",
        "SERVE_PREDICTION_KEY": KEY,
    }
    command = [sys.executable, "-m", "steps.serve", "--port", str(free_port()), *flags]
    done = subprocess.run(
        command, cwd=ROOT, env=own | variables, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"serve: error: {line}")
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_a_port_that_is_taken_is_one_line(served: Server, champions: Path, tmp_path: Path) -> None:
    own = environment(tmp_path) | {"MLFLOW_TRACKING_URI": f"sqlite:///{champions}/mlflow.db"}
    command = [sys.executable, "-m", "steps.serve", "--port", str(served.port)]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 2
    assert f"port={served.port}: Address already in use; allowed: " in done.stderr
    assert "SERVE_PREDICTION_KEY is not set" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_that_is_not_one_of_ours_is_not_served(tmp_path: Path, workers: str) -> None:
    (tmp_path / "other.py").write_text(
        "from mlflow.models import set_model\nfrom mlflow.pyfunc import PythonModel\n\n\nclass Other(PythonModel):\n"
        "    def predict(self, context, model_input: list[str], params=None) -> list[str]:\n        return model_input\n\n\n"
        "set_model(Other())\n"
    )
    mlflow.pyfunc.save_model(str(tmp_path / "model"), python_model=str(tmp_path / "other.py"), pip_requirements=[])
    command = [
        sys.executable,
        *f"-m steps.serve --model {tmp_path}/model --workers {workers} --port {free_port()}".split(),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("serve: error: ")]
    assert len(errors) == 1
    assert f"model={tmp_path}/model: cannot be served (" in errors[0]


FAILING = """
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Failing(PythonModel):
    def predict(self, context, model_input: list[str], params=None):
        if "boom" in model_input:
            raise ValueError("a secret of the model")
        words = [] if (params or {}).get("explain") else None
        return [{"label": "positive", "score": 0.9, "unsure": False, "truncated": False, "words": words} for _ in model_input]


set_model(Failing())
"""


def test_a_model_that_fails_on_a_text_is_a_500_that_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    mlflow.pyfunc.save_model(str(tmp_path / "model"), python_model=str(tmp_path / "failing.py"), pip_requirements=[])
    with serve(tmp_path, tmp_path, "--model", str(tmp_path / "model")) as server:
        heard: list[tuple[int, Any]] = []

        def ask(text: str) -> None:
            heard.append(server.post("/invocations", {"inputs": [text]}))

        threads = [threading.Thread(target=ask, args=("boom" if number % 2 else "fine",)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failed = [content for code, content in heard if code != 200]
        assert sorted(code for code, _ in heard) == [200] * 10 + [500] * 10
        assert failed == [{"error_code": "INTERNAL_ERROR", "message": "the endpoint failed"}] * 10
        assert server.metric("sentiment_errors_total", code="INTERNAL_ERROR") == 10
        assert "POST /invocations failed: ValueError" in server.log.read_text()


def test_ids_outlive_a_restart_with_the_same_key_and_not_with_another(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions) as first:
        (record,) = first.ask(["fine"])
    verdict = {"prediction_id": record["prediction_id"], "expected": "positive"}
    with serve(tmp_path, champions) as again:
        assert again.post("/feedback", verdict)[0] == 200
    with serve(tmp_path, champions, SERVE_PREDICTION_KEY="another key of some length") as other:
        assert other.post("/feedback", verdict)[0] == 404


def test_one_tweet_does_not_wait_for_thousands(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, "--model", "data/champion/model") as server:
        server.ask(TWEETS)
        began = time.monotonic()
        long = threading.Thread(target=server.post, args=("/invocations", {"inputs": ["so many words here"] * 1500}))
        long.start()
        time.sleep(0.3)
        start = time.monotonic()
        server.ask(["short"])
        waited = time.monotonic() - start
        long.join()
        assert waited < (time.monotonic() - began) / 2

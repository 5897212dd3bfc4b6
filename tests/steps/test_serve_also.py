"""A second version beside the champion, asked for by a header: each answers as itself, within the same limits."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.conftest import ROOT, environment
from tests.serving import TWEETS, Ingestion, Server, free_port, load, serve, wait_for

ALSO = ["--also", "models:/tweet-sentiment@challenger"]


@pytest.fixture(scope="module")
def served(champions: Path, service: Ingestion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string}
    folder = tmp_path_factory.mktemp("served")
    flags = [*ALSO, "--max_rows", "50", "--cors", "https://page.example", "--telemetry_cache", str(folder / "cache")]
    with serve(folder, champions, *flags, **variables) as server:
        yield server


def asked(server: Server, version: str | None, content: Any = None) -> tuple[int, str, Any]:
    headers = {"Content_Type": "application/json"} | ({} if version is None else {"X_Model_Version": version})
    body = json.dumps(content or {"inputs": TWEETS}).encode()
    code, answered, found = server.request("/invocations", body, **headers)
    return code, answered.get("x-model-version", ""), json.loads(found)


def test_each_version_answers_as_it_does_alone(served: Server, champions: Path, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{champions}/mlflow.db")
    found = {}
    for version in ("1", "2"):
        place = mlflow.artifacts.download_artifacts(
            f"models:/tweet-sentiment/{version}", dst_path=str(tmp_path / version)
        )
        found[version] = [record["score"] for record in mlflow.pyfunc.load_model(place).predict(TWEETS)]
    mlflow.set_tracking_uri(None)
    assert found["1"] != found["2"]
    for version, expected in ((None, "1"), ("1", "1"), ("2", "2")):
        code, answered, content = asked(served, version)
        assert (code, answered) == (200, expected)
        assert [record["score"] for record in content["predictions"]] == pytest.approx(found[expected], abs=1e-9)


@pytest.mark.parametrize("version", ["3", "", " 1 2", "tweet-sentiment", "challenger", "1\xe9", "2" * 5000])
def test_a_version_that_is_not_here_is_refused_and_those_that_are_here_are_named(served: Server, version: str) -> None:
    code, _, found = asked(served, version)
    assert (code, found["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert found["message"] == "X-Model-Version: this version does not answer here; allowed: 1, 2"


def test_it_is_described(served: Server) -> None:
    about = served.get("/version")
    assert (about["version"], about["also"]["version"], about["also"]["model"]) == ("1", "2", "tweet-sentiment")
    parameter = served.get("/openapi.json")["components"]["parameters"]["Version"]
    assert parameter["schema"]["enum"] == ["1", "2"]
    question = {"Origin": "https://page.example", "Access_Control_Request_Method": "POST"}
    _, headers, _ = served.request("/invocations", **question)
    assert "access-control-allow-origin" in headers


def test_limits_hold_for_it_too(served: Server) -> None:
    assert asked(served, "2", {"inputs": ["x"] * 51})[0] == 413
    assert asked(served, "2", {"inputs": ["fine", None]})[0] == 400
    assert served.request("/invocations", b"text\nfine\n", Content_Type="text/csv", X_Model_Version="2")[0] == 200


def test_its_answers_are_judged_counted_and_told_as_its_own(served: Server, service: Ingestion) -> None:
    _, _, content = asked(served, "2", {"inputs": ["the crew was zzyzx"]})
    (record,) = content["predictions"]
    other = "positive" if record["label"] == "negative" else "negative"
    assert served.post("/feedback", {"prediction_id": record["prediction_id"], "expected": other})[0] == 200
    assert served.metric("sentiment_feedback_total", version="2", verdict="wrong") == 1
    assert served.metric("sentiment_answers_total", version="2") >= 1
    wait_for(lambda: record["prediction_id"] in service.ids() and service.events("feedback"), 20)
    (event,) = [
        one for one in service.events("prediction") if one["properties"]["prediction_id"] == record["prediction_id"]
    ]
    assert event["properties"]["model_version"] == "2"
    assert 0 < event["measurements"]["out_of_vocabulary"] < 1
    assert service.events("feedback")[-1]["properties"]["model_version"] == "2"


def test_both_answer_at_once(served: Server) -> None:
    done = threading.Event()
    heard, threads = load(served, 3, done)
    for _ in range(30):
        code, version, content = asked(served, "2")
        assert (code, version, len(content["predictions"])) == (200, "2", 2)
    done.set()
    for thread in threads:
        thread.join()
    assert not heard.statuses
    assert not heard.cut
    assert heard.versions == {"1"}


@pytest.mark.parametrize(
    ("also", "message"),
    [
        ("nowhere", "also=nowhere: no model there"),
        ("models:/tweet-sentiment/1", "also=models:/tweet-sentiment/1: that is version 1 again"),
    ],
)
def test_a_second_version_that_cannot_be_served_is_one_line(champions: Path, also: str, message: str) -> None:
    own = environment(champions) | {"MLFLOW_TRACKING_URI": f"sqlite:///{champions}/mlflow.db"}
    command = [sys.executable, "-m", "steps.serve", "--port", str(free_port()), "--also", also]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "SERVE_PREDICTION_KEY" not in line]
    assert lines[-1].startswith(f"serve: error: {message}")

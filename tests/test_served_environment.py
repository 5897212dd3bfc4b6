"""Models served by stock MLflow from an environment made of their own requirements alone."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from steps import prepare, train_keras
from steps.sentiment import runs
from steps.sentiment.served import ENDPOINT_REQUIREMENTS
from tests.conftest import ROOT, environment
from tests.serving import ingestion, serve


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a small trained network, as it lies in the store."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "data").mkdir()
        (folder / "data/sample").symlink_to(ROOT / "data/sample")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        prepare.main([])
        train_keras.main([item for flag, text in train_keras.SMOKE_PARAMETERS.items() for item in (f"--{flag}", text)])
        trained = runs.finished(step="train_keras")[0]
        yield Path(mlflow.artifacts.download_artifacts(f"models:/{trained.data.tags['model_id']}"))
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def own(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with what the model asks for and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin/python", "-m", "pip", "install", "--quiet", "-r", model / "requirements.txt"]
    subprocess.run(install, check=True, timeout=600)
    return folder / "bin"


@pytest.mark.parametrize("name", ["tensorflow", "keras", "keras_tuner", "gensim", "torch", "sklearn", "safetensors"])
def test_no_framework_of_training_is_there(own: Path, name: str) -> None:
    done = subprocess.run([own / "python", "-c", f"import {name}"], capture_output=True, text=True, check=False)
    assert f"No module named '{name}'" in done.stderr


@pytest.fixture(params=["network", "bundled"])
def served(request: pytest.FixtureRequest, model: Path) -> Path:
    """The folder of the network, or of the bundled encoder in eight bits, which asks for the same packages."""
    if request.param == "network":
        return model
    bundled = ROOT / "data/champion/model"
    assert (bundled / "requirements.txt").read_text() == (model / "requirements.txt").read_text()
    return bundled


def test_stock_mlflow_serves_it_there(served: Path, own: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [own / "mlflow", *f"models serve -m {served} --env-manager local -p {port}".split()]
    variables = environment(tmp_path) | {"PATH": os.pathsep.join([str(own), os.environ["PATH"]])}
    texts = ["love it, best crew ever", "worst flight, I hate this", "", "😀"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while True:
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.3)
            question = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations",
                json.dumps({"inputs": texts}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(question, timeout=60) as answer:
                answers = json.load(answer)["predictions"]
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)
    here = mlflow.pyfunc.load_model(str(served)).predict(texts)
    assert [one["score"] for one in answers] == pytest.approx([one["score"] for one in here], abs=1e-5)
    assert [one["label"] for one in answers] == [one["label"] for one in here]
    assert answers[0]["score"] > answers[1]["score"]


@pytest.fixture(scope="module")
def with_endpoint(own: Path) -> Path:
    """The same environment with what the entry point `serve` needs beside."""
    install = [own / "python", "-m", "pip", "install", "--quiet", *ENDPOINT_REQUIREMENTS]
    subprocess.run(install, check=True, timeout=600)
    return own


def test_the_endpoint_serves_it_there_and_tells_of_it(served: Path, with_endpoint: Path, tmp_path: Path) -> None:
    with ingestion() as service:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string, "TMPDIR": str(tmp_path)}
        python = str(with_endpoint / "python")
        with serve(tmp_path, tmp_path, "--model", str(served), "--workers", "2", python=python, **variables) as server:
            positive, negative = server.ask(["love it, best crew ever", "worst flight, I hate this"])
            assert positive["score"] > negative["score"]
            assert server.metric("sentiment_answers_total") == 2
        assert set(service.ids()) == {positive["prediction_id"], negative["prediction_id"]}

"""A tracking server that goes away in the middle of a promotion: one clear line, nothing half done, and a rerun repairs."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from registry_scripts import promote
from registry_scripts.registry import aliases, audit
from steps.sentiment import command_line, registry
from tests.registry_scripts.conftest import Models, assert_in_step, expire_locks, held, right_on, synthetic

LABELS = np.tile([0, 1], 200)


@pytest.fixture
def server(rivals: Models, database: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A tracking server before the store, in a process group of its own, and its address."""
    synthetic(LABELS, {rivals.strong: right_on(LABELS, 350), rivals.weak: right_on(LABELS, 300)})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["server", "--backend-store-uri", f"sqlite:///{database}", "--port", str(port), "--workers", "1"]
    with Path("server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command], stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, Path("server.log").read_text()
            assert time.monotonic() < deadline, Path("server.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}", process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def test_a_server_that_goes_away_halfway_leaves_nothing_that_a_rerun_does_not_repair(
    server: tuple[str, subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, process = server
    store = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(sys, "argv", ["promote"])
    write = MlflowClient.set_registered_model_alias

    def gone(*args: Any, **kwargs: Any) -> Any:
        stop(process)
        return write(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", gone)
    mlflow.set_tracking_uri(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            command_line.run(promote.main, "promote")
    finally:
        signal.signal(signal.SIGTERM, handler)
        mlflow.set_tracking_uri(store)
    monkeypatch.undo()
    assert ended.value.code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(
        "promote: error: MLflow's server does not answer; run this again when it does: API request to "
    )
    assert held() == {"champion": 1, "challenger": 2}
    assert aliases.PENDING in registry.model_tags()
    expire_locks()
    promote.main([])
    assert held() == {"champion": 2, "previous": 1}
    assert len(audit.trail()) == 2
    assert_in_step()


def test_without_a_server_one_line_says_so_and_nothing_is_written(
    rivals: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    store = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        with pytest.raises(MlflowException) as error:
            promote.main([])
    finally:
        mlflow.set_tracking_uri(store)
    assert command_line.unreachable(error.value)
    assert held() == {"champion": 1, "challenger": 2}

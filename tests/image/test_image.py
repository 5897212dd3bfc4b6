"""The image of a version, built and run with podman: `make image-test`.

The published base image has a stand-in unless IMAGE_BASE=published.
"""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest

from registry_scripts.azure import smoke
from steps.sentiment.model_folder import Identity
from tests.conftest import ROOT, environment
from tests.containers import IMAGE, Podman
from tests.serving import KEY, TWEETS, Server, free_port, ingestion, load, wait_for

pytestmark = pytest.mark.image

STOCK = "localhost/stock:latest"
#: Megabytes that the image may have.
MOST = 700


class Container(Server):
    """A container as the server that it is."""

    def __init__(self, podman: Podman, name: str, port: int) -> None:
        self.podman, self.name, self.port = podman, name, port

    def inside(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in it."""
        return subprocess.run(
            ["podman", "exec", self.name, "sh", "-c", command],
            env=self.podman.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def log(self) -> str:  # type: ignore[override]
        """Return what it has printed."""
        return self.podman("logs", self.name)

    def end(self) -> int:
        """Stop it as `podman stop` does by default, 10 seconds before a SIGKILL; return its exit code."""
        self.podman("stop", self.name)
        return int(self.podman("inspect", "--format", "{{.State.ExitCode}}", self.name))


@contextmanager
def running(podman: Podman, name: str, image: str, port: int, *flags: str) -> Iterator[Container]:
    """Run a container until the block ends."""
    podman("run", "--detach", "--name", name, *flags, image)
    container = Container(podman, name, port)
    try:
        wait_for(lambda: ping(container), 60, container.log)
        yield container
    finally:
        podman("rm", "--force", "--time", "0", name)


def ping(container: Container) -> bool:
    """Return whether a container answers."""
    try:
        return container.request("/ping")[0] == 200
    except OSError:
        return False


@contextmanager
def production(podman: Podman, volume: str, **variables: str) -> Iterator[Container]:
    """Run the image as one would in production: nothing but the volume can be written to, not even /tmp."""
    port = free_port()
    given = {"PORT": str(port), "SERVE_PREDICTION_KEY": KEY, **variables}
    flags = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"]
    flags += ["--volume", f"{volume}:/var/lib/serve", *(f"--env={name}={text}" for name, text in given.items())]
    with running(podman, volume, IMAGE, port, *flags) as container:
        yield container


def test_it_says_what_it_is_and_asks_for_little(image: dict[str, Any]) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    settings, champion = image["Config"], json.loads((ROOT / "data/champion/champion.json").read_text())
    said = settings["Labels"]
    assert said["org.opencontainers.image.title"] == "tweet-sentiment"
    assert said["org.opencontainers.image.version"] == "1"
    assert said["org.opencontainers.image.revision"].removesuffix("-dirty") == commit
    assert said["org.opencontainers.image.base.name"] == "python:3.11.7-slim"
    assert said["tweet-sentiment.dataset_digest"] == champion["dataset_digest"]
    assert said["tweet-sentiment.family"] == champion["family"]
    assert settings["User"] == "10001"
    assert settings["Entrypoint"] == ["python", "-m", "steps.serve"]
    assert list(settings["Volumes"]) == ["/var/lib/serve"]
    assert list(settings["ExposedPorts"]) == ["8080/tcp"]
    assert image["Healthcheck"]["Test"][0] == "CMD"


def test_it_passes_the_smoke_test_of_a_deployment(podman: Podman, image: dict[str, Any]) -> None:
    said = image["Config"]["Labels"]
    names = ("model_id", "family", "dataset_digest")
    expected = Identity("tweet-sentiment", "1", *(said[f"tweet-sentiment.{name}"] for name in names))
    with production(podman, "smoke") as container:
        smoke.test(smoke.Endpoint(container.address), expected)


def test_it_is_small(podman: Podman, image: dict[str, Any]) -> None:
    size = show(podman, IMAGE)
    assert size < MOST * 1e6
    assert size == pytest.approx(image["Size"], rel=0.05)


def show(podman: Podman, image: str) -> int:
    """Print the bytes of each layer of an image; return their sum."""
    layers = podman.layers(image)
    total = sum(size for size, _ in layers)
    print(f"\n{image}: {total / 1e6:.0f} MB")
    for size, instruction in layers:
        print(f"{size:>13,}  {instruction.removeprefix('/bin/sh -c ').removeprefix('#(nop) ')[:80]}")
    return total


def test_it_holds_no_compiler_no_cache_and_no_framework(podman: Podman, image: dict[str, Any]) -> None:
    script = (
        "which gcc cc g++ make ld nginx; ls -d /root/.cache /var/lib/serve/.cache /opt/serve/registry_scripts /opt/mlflow; "
        'for name in torch tensorflow gensim sklearn numpy; do python -c "import $name" 2>/dev/null && echo $name; done'
    )
    assert podman("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", script) == "numpy"


def test_it_answers_as_nobody_with_nothing_to_write_to(podman: Podman, image: dict[str, Any]) -> None:
    with production(podman, "answers") as server:
        status, _, content = server.request("/ping")
        assert (status, content) == (200, b"\n")
        health, version = server.get("/health"), server.get("/version")
        assert (health["status"], health["model"], health["version"]) == ("ok", "tweet-sentiment", "1")
        assert version["dataset_digest"] == image["Config"]["Labels"]["tweet-sentiment.dataset_digest"]
        answers = server.ask(TWEETS)
        here = mlflow.pyfunc.load_model(str(ROOT / "data/champion/model")).predict(TWEETS)
        assert [one["label"] for one in answers] == [one["label"] for one in here] == ["negative", "positive"]
        assert [one["score"] for one in answers] == pytest.approx([one["score"] for one in here], abs=1e-5)
        code, found = server.post("/feedback", {"prediction_id": answers[0]["prediction_id"], "expected": "positive"})
        assert (code, found["mispredicted"]) == (200, True)
        assert server.metric("sentiment_answers_total") == len(TWEETS)
        assert server.inside("id -u").stdout.strip() == "10001"
        assert server.inside("cat /proc/1/status | grep CapEff").stdout.split()[1] == "0" * 16
        for place in ("/", "/tmp", "/opt/serve", "/opt/ml/model"):
            assert "Read-only file system" in server.inside(f"touch {place}/x").stderr
        left = server.inside("ls -A /var/lib/serve").stdout.split()
        assert [name for name in left if not name.startswith("served-")] == []  # the folder of fetched models
        assert server.end() == 0
        assert "Traceback" not in server.log()


def test_its_health_check_is_green_while_it_answers_and_red_when_not(podman: Podman, image: dict[str, Any]) -> None:
    def health() -> str:
        podman("healthcheck", "run", "healthy", check=False)  # by hand: the timer would need systemd
        return podman("inspect", "--format", "{{.State.Health.Status}}", "healthy")

    with production(podman, "healthy"):
        assert health() == "healthy"
        podman("kill", "--signal", "STOP", "healthy")
        wait_for(lambda: health() == "unhealthy", 120)
        podman("kill", "--signal", "CONT", "healthy")
        wait_for(lambda: health() == "healthy", 60)


def test_a_stop_under_load_loses_neither_an_answer_nor_an_event(podman: Podman, image: dict[str, Any]) -> None:
    with ingestion() as service:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string}
        with production(podman, "stopped", **variables) as server:
            given = server.ask(TWEETS)[0]["prediction_id"]
            assert server.post("/feedback", {"prediction_id": given, "expected": "positive"})[0] == 200
            ids = {*stopped_under_load(server), given}
        told = service.ids()
        assert ids <= set(told)
        assert len(told) == len(set(told))
        assert service.ids("feedback") == [given]


def test_what_a_stop_could_not_send_lies_in_the_volume_and_is_sent_by_the_next(
    podman: Podman, image: dict[str, Any]
) -> None:
    with ingestion() as service:
        line, port = service.connection_string, service.port
    with production(podman, "kept", APPLICATIONINSIGHTS_CONNECTION_STRING=line) as server:
        ids = stopped_under_load(server)
    mounted = Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}", "kept"))
    waiting = list(mounted.glob("telemetry/*.blob*"))
    assert waiting
    for blob in waiting:  # files of a failure rest for a minute
        blob.rename(blob.with_name(blob.name.partition("@")[0]))
    with ingestion(port) as service, production(podman, "kept", APPLICATIONINSIGHTS_CONNECTION_STRING=line) as server:

        def all_sent() -> bool:
            server.ask(["one more, so that a success wakes the rest"])
            return set(ids) <= set(service.ids())

        wait_for(all_sent, 60)
        assert server.metric("sentiment_telemetry_events_total", fate="lost") == 0


def stopped_under_load(server: Container) -> list[str]:
    """Stop a container in the middle of a load; return the ids of all answers."""
    until = threading.Event()
    heard, threads = load(server, 8, until)
    wait_for(lambda: len(heard.ids) > 300, 120)
    code = server.end()
    until.set()
    for thread in threads:
        thread.join()
    assert code == 0, server.log()
    assert heard.cut == []
    assert set(heard.statuses) <= {503}
    return heard.ids


def test_the_image_of_mlflow_alone_still_answers(podman: Podman, tmp_path: Path) -> None:
    docker = tmp_path / "docker"  # MLflow calls docker; podman understands the same
    docker.symlink_to("/usr/bin/podman")
    own = environment(tmp_path) | podman.variables
    own["PATH"] = os.pathsep.join([str(tmp_path), own["PATH"]])
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "build-docker",
        "-m",
        str(ROOT / "data/champion/model"),
        "-n",
        "stock",
    ]
    done = subprocess.run([*command, "--env-manager", "local"], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    show(podman, STOCK)
    with running(podman, "stock", STOCK, 8080, "--env=MLFLOW_MODELS_WORKERS=1") as server:  # its port is fixed
        body = json.dumps({"inputs": TWEETS}).encode()
        question = urllib.request.Request(f"{server.address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(question, timeout=60) as answer:
            found = json.load(answer)["predictions"]
        assert [one["label"] for one in found] == ["negative", "positive"]
        assert server.request("/feedback", b"{}")[0] == 404  # why there is a stage of ours

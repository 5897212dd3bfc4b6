"""build_image: what it asks of the engine, what of bad input. The image itself is built by tests/image/test_image.py."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

from registry_scripts import build_image
from registry_scripts.image import build
from steps.sentiment.command_line import InputError
from steps.sentiment.served import ENDPOINT_REQUIREMENTS
from tests.conftest import ROOT, environment

BUNDLED = ROOT / "data/champion/model"
DOCKERFILE = (ROOT / "registry_scripts/image/Dockerfile").read_text(encoding="utf-8")

#: An engine that writes down what it is asked, and keeps what it was to build from.
ENGINE = f"""#!{sys.executable}
import json, os, shutil, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
name, asked = os.path.basename(sys.argv[0]), sys.argv[1:]
with open(folder + "/asked", "a") as log:
    log.write(json.dumps([name, *asked]) + "\\n")
mood = open(folder + "/mood").read()
if asked[0] == "info" and mood == "dead":
    sys.exit("some warning\\nCannot connect to the daemon")
if asked[0] == "build":
    print("[1/2] STEP 4/9: RUN pip install one", flush=True)
    print("[2/2] STEP 5/21: RUN pip install two\\nno such package: two", flush=True)
    if mood == "slow":
        open(folder + "/pid", "w").write(str(os.getpid()))
        time.sleep(60)
    if mood == "failing":
        sys.exit(125)
    shutil.copytree(asked[-1], folder + "/context")
if asked[0] == "image":
    print(636000000)
"""


class Engine:
    """The fake engine, as docker and as podman, alone on the PATH beside the programs of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.context = folder, folder / "context"
        folder.mkdir()
        for name in build.ENGINES:
            (folder / name).write_text(ENGINE)
            (folder / name).chmod(0o755)
        self.mood("willing")

    def mood(self, name: str) -> None:
        """Make it willing, dead, failing or slow."""
        (self.folder / "mood").write_text(name)

    def asked(self) -> list[list[str]]:
        """Return the commands that it was given."""
        log = self.folder / "asked"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine(tmp_path / "engine")
    monkeypatch.setenv("PATH", os.pathsep.join([str(made.folder), os.environ["PATH"]]))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return made


@pytest.fixture
def champion(store: Path, empty: Path) -> Path:
    """A registry whose champion is version 1; the folder of its files."""
    shutil.copy(empty, store / "mlflow.db")
    source = shutil.copytree(BUNDLED, store / "source")
    client = MlflowClient()
    client.create_registered_model("tweet-sentiment")
    version = client.create_model_version("tweet-sentiment", str(source))
    client.set_registered_model_alias("tweet-sentiment", "champion", version.version)
    return source


def left(tmp_path: Path) -> list[Path]:
    """Return what lies in the temporary folder."""
    return list((tmp_path / "temporary").iterdir())


def labels(command: list[str]) -> dict[str, str]:
    """Return the labels of a build."""
    pairs = [text.partition("=") for flag, text in itertools.pairwise(command) if flag == "--label"]
    return {name: text for name, _, text in pairs}


def bases(engine: Engine) -> list[str]:
    """Return what the stages of a built Dockerfile stand on."""
    return re.findall(r"^FROM (.*)$", (engine.context / "Dockerfile").read_text(), re.MULTILINE)


def test_the_champion_is_built_and_labelled(
    champion: Path, engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_image.main([])
    info, build, size = engine.asked()
    assert info == ["docker", "info"]
    assert build[:4] == ["docker", "build", "--tag", "tweet-sentiment:1"]
    assert size == ["docker", "image", "inspect", "--format", "{{.Size}}", "tweet-sentiment:1"]
    described: dict[str, Any] = yaml.safe_load((BUNDLED / "MLmodel").read_text())
    said = labels(build)
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", said.pop("org.opencontainers.image.revision"))
    assert said == {
        "org.opencontainers.image.title": "tweet-sentiment",
        "org.opencontainers.image.version": "1",
        "org.opencontainers.image.base.name": "python:3.11.7-slim",
        "tweet-sentiment.model_id": described["model_id"],
        "tweet-sentiment.family": "bert",
        "tweet-sentiment.dataset_digest": described["metadata"]["dataset_digest"],
    }
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "build_image: tweet-sentiment:1 from tweet-sentiment version 1, on python:3.11.7-slim",
        "build_image: tweet-sentiment:1 is built, 636 MB",
    ]
    assert "no such package: two" in printed.err  # what the engine says is passed on
    assert left(tmp_path) == []


def test_a_folder_is_built_under_the_name_tag_base_and_engine_that_are_given(engine: Engine) -> None:
    flags = "--name localhost:5000/team/tweets --tag v1.2_rc-3 --base mirror/python:3.11-slim --engine podman"
    build_image.main(["--model", str(BUNDLED), *flags.split()])
    command = engine.asked()[1]
    assert command[:4] == ["podman", "build", "--tag", "localhost:5000/team/tweets:v1.2_rc-3"]
    assert bases(engine) == ["mirror/python:3.11-slim"] * 2
    assert labels(command)["org.opencontainers.image.version"].startswith("m-")


def test_without_git_the_commit_is_unknown(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(engine.folder))
    build_image.main(["--model", str(BUNDLED)])
    assert labels(engine.asked()[1])["org.opencontainers.image.revision"] == "unknown"


def test_the_first_stage_is_the_one_of_mlflow_and_the_second_one_ours(engine: Engine, tmp_path: Path) -> None:
    build_image.main(["--model", str(BUNDLED)])
    made = (engine.context / "Dockerfile").read_text()
    command = [sys.executable, "-m", "mlflow", "models", "generate-dockerfile", "-m", str(BUNDLED), "-d", "stock"]
    own = environment(tmp_path)
    subprocess.run([*command, "--env-manager", "local"], cwd=tmp_path, env=own, check=True, capture_output=True)
    stock = (tmp_path / "stock/Dockerfile").read_text()
    assert made == stock + "\n" + DOCKERFILE.replace("${BASE}", "python:3.11.7-slim")
    assert bases(engine) == ["python:3.11.7-slim"] * 2
    copied = re.search(r"^COPY (model_dir/\S+) /opt/ml/model$", made, re.MULTILINE)
    assert copied
    assert (engine.context / copied[1] / "MLmodel").read_bytes() == (BUNDLED / "MLmodel").read_bytes()


def test_the_second_stage_runs_as_nobody_and_keeps_nothing_that_only_a_build_needs() -> None:
    instructions = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    names = [name for name, _ in instructions]
    given: dict[str, str] = dict(instructions)
    assert names.index("USER") > max(at for at, name in enumerate(names) if name in ("RUN", "COPY"))
    assert re.fullmatch(r"[1-9]\d*", given["USER"])  # a number: Kubernetes cannot tell who a name is
    assert json.loads(given["ENTRYPOINT"]) == ["python", "-m", "steps.serve"]  # no shell between a signal and it
    assert given["HEALTHCHECK"].startswith("--interval=")
    runs = [text for name, text in instructions if name == "RUN"]
    assert all("--no-cache-dir" in text for text in runs if "pip " in text)
    assert not any("apt" in text for text in runs)
    settings = dict(re.findall(r"(\w+)=(\S+)", given["ENV"]))
    for name in ("HOME", "TMPDIR", "SERVE_TELEMETRY_CACHE"):
        assert settings[name].startswith(given["VOLUME"])


def test_the_endpoint_goes_along_whole_and_alone(engine: Engine, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        build_image.main(["--model", str(BUNDLED)])
    finally:
        os.umask(before)
    context = engine.context
    assert (context / "endpoint-requirements.txt").read_text().splitlines() == ENDPOINT_REQUIREMENTS
    assert {path.name for path in (context / "steps").iterdir()} == {"__init__.py", "serve.py", "sentiment"}
    assert not list(context.rglob("__pycache__"))
    assert {path.stat().st_mode & 0o777 for path in context.rglob("*") if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in context.rglob("*") if path.is_dir()} == {0o755}
    command = [sys.executable, "-m", "steps.serve", "--model", "nowhere", "--port", "0"]
    done = subprocess.run(command, cwd=context, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "allowed: a whole number of at least 1" in done.stderr


@pytest.mark.parametrize(
    ("flag", "given"),
    [
        ("engine", "lxc"),
        ("name", ""),
        ("name", "Tweets"),
        ("name", "tweets:1"),
        ("name", "--help"),
        ("tag", "a b"),
        ("tag", "-x"),
        ("tag", "x" * 129),
        ("model", ""),
    ],
)
def test_a_wrong_flag_is_named_and_the_engine_is_not_asked(
    engine: Engine, capsys: pytest.CaptureFixture[str], flag: str, given: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_image.main([f"--{flag}={given}"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"build_image: error: --{flag}: got {given!r}; allowed: ")
    assert message.count("\n") == 1
    assert engine.asked() == []


def test_an_engine_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"--engine: podman is not installed; allowed: one of docker, podman that is"):
        build_image.main(["--engine", "podman"])


def test_an_engine_that_does_not_work_says_why(engine: Engine) -> None:
    engine.mood("dead")
    with pytest.raises(InputError, match=r"--engine: docker does not work here \(Cannot connect to the daemon\)"):
        build_image.main([])


@pytest.mark.parametrize(
    "model", ["models:/tweet-sentiment@nobody", "models:/tweet-sentiment/7", "models:/other/1", "data", "nowhere"]
)
def test_a_model_that_is_not_there_is_named(champion: Path, engine: Engine, tmp_path: Path, model: str) -> None:
    with pytest.raises(InputError, match=f"^model={re.escape(model)}: ") as error:
        build_image.main(["--model", model])
    assert "; allowed: " in str(error.value)
    assert "\n" not in str(error.value)
    assert [command[1] for command in engine.asked()] == ["info"]
    assert left(tmp_path) == []


def test_a_version_without_its_model_is_named(champion: Path, engine: Engine, tmp_path: Path) -> None:
    shutil.rmtree(champion)
    with pytest.raises(InputError, match=r"^model=models:/tweet-sentiment/1: "):
        build_image.main(["--model", "models:/tweet-sentiment/1"])
    assert [command[1] for command in engine.asked()] == ["info"]
    assert left(tmp_path) == []


def test_a_build_that_fails_names_the_step_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    engine.mood("failing")
    with pytest.raises(SystemExit) as ended:
        build_image.main(["--model", str(BUNDLED)])
    assert ended.value.code == (
        "build_image: error: docker build ended with 125 at [2/2] STEP 5/21: RUN pip install two: no such package: two"
    )
    assert [command[1] for command in engine.asked()] == ["info", "build"]
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "line",
    [
        "[2/2] STEP 5/21: RUN pip install two",  # podman
        "STEP 5/21: RUN pip install two",  # buildah
        "Step 5/21 : RUN pip install two",  # docker's builder of old
        "#12 [stage-1 5/9] RUN pip install two",  # BuildKit
    ],
)
def test_steps_are_known_however_the_engine_announces_them(line: str) -> None:
    assert build._STEP.fullmatch(line)
    assert not build._STEP.fullmatch("no such package: two")


def test_who_is_told_to_stop_stops_the_engine_too(engine: Engine, tmp_path: Path) -> None:
    engine.mood("slow")
    own = environment(tmp_path) | {
        "PATH": os.pathsep.join([str(engine.folder), os.environ["PATH"]]),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    command = [sys.executable, "-m", "registry_scripts.build_image", "--model", str(BUNDLED)]
    with subprocess.Popen(command, cwd=ROOT, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (engine.folder / "pid").exists() or not (engine.folder / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((engine.folder / "pid").read_text()), 0)
    assert left(tmp_path) == []

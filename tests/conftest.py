"""What the tests share: a copy of the project to run in, a tracking store of one's own, and the real thread run once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import psutil
import pytest
from hypothesis import settings
from mlflow.tracking import MlflowClient

# The same examples everywhere: a red test in CI is red at home too.
settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which MLflow's default store is the one in `folder`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), ours["PATH"]])
    return {**ours, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"}


def ended(pid: int) -> bool:
    """Return whether a process has ended, even where nobody has collected it."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store's database: making MLflow's tables takes seconds, a copy does not."""
    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's files as git would clone them, without stores and environments."""
    folder = tmp_path_factory.mktemp("clone") / "tweet-sentiment"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def run_in(clone: Path) -> Run:
    """Run a command in the copy, as a person would in a shell, and return what it printed."""

    def run(*command: str, check: bool = True, cwd: Path = clone, **variables: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment(cwd) | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture(scope="session")
def thread(run_in: Run) -> subprocess.CompletedProcess[str]:
    """The whole project run once in the copy, with the command that a person types."""
    return run_in("mlflow", "run", ".", "--env-manager", "local", "--experiment-name", "tweet-sentiment")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh folder as working directory, with the bundled sample, and MLflow's default store in it."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    shutil.copytree(ROOT / "data/sample", tmp_path / "data/sample")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_registry_uri(None)
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def champions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two baselines of the sample: version 1 from few tweets, the champion, and 2 from all, the challenger."""
    folder = tmp_path_factory.mktemp("champions")
    (folder / "data").mkdir()
    (folder / "data/sample").symlink_to(ROOT / "data/sample")
    commands = [
        ("steps.prepare", []),
        *(
            command
            for rows in ("150", "")
            for command in (
                ("steps.train_baseline", ["--C", "4", "--max_rows", rows]),
                ("steps.compare", []),
                ("registry_scripts.register", []),
                *([("registry_scripts.promote", [])] if rows else []),
            )
        ),
    ]
    lines = ["import importlib", *(f"importlib.import_module({step!r}).main({flags!r})" for step, flags in commands)]
    own = environment(folder) | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=folder, env=own, capture_output=True, check=True, timeout=300
    )
    return folder


def statuses() -> list[str]:
    """Return the status of every run in the store."""
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    return [run.info.status for run in runs]

"""A store with three trained and compared models, built once; each test gets a copy of its database."""

import itertools
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from registry_scripts import promote, register, versions
from registry_scripts.registry import aliases, audit, lock
from steps import compare, prepare, train_baseline
from steps.sentiment import comparison, registry, runs, tracking
from steps.sentiment.command_line import InputError, RefusedError

ROOT = Path(__file__).parents[2]
Main = Callable[[list[str] | None], None]


class CrashError(BaseException):
    """What ends a process between two registry calls: nothing may catch it."""


@dataclass(frozen=True)
class Models:
    """The trained models: `weak` from few tweets, `strong` from all, `other` from another dataset."""

    weak: str
    strong: str
    other: str
    digest: str
    other_digest: str
    compared: str

    @property
    def winner(self) -> str:
        """The model that the newest comparison named."""
        return str(comparison.read(self.compared).result["winner"])


@contextmanager
def opened(folder: Path, database: Path) -> Iterator[None]:
    """Work in a folder, with `database` as MLflow's store."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{database}")
        mlflow.set_registry_uri(None)
        try:
            yield
        finally:
            while mlflow.active_run():
                mlflow.end_run()
            mlflow.set_tracking_uri(None)


def copy(source: Path, target: Path) -> None:
    """Copy a database, also over one that this process has open (a new one would cost MLflow half a second)."""
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)


def _trained(*flags: str) -> str:
    train_baseline.main(["--C", "4", *flags])
    newest = next(run for run in runs.finished(step="train_baseline"))
    return newest.data.tags["model_id"]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Models]:
    """The folder of the store, which keeps the artifacts for all copies of its database."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copytree(ROOT / "data/sample", folder / "data/sample")
    with opened(folder, folder / "mlflow.db"):
        prepare.main(["--seed", "1"])
        other = _trained("--max_rows", "600")
        compare.main([])
        other_digest = tracking.find_dataset("").digest
        prepare.main([])
        weak, strong = _trained("--max_rows", "150"), _trained()
        compare.main([])
        compared = runs.finished(step="compare")[0].info.run_id
        digest = tracking.find_dataset("").digest
    return folder, Models(weak, strong, other, digest, other_digest, compared)


@pytest.fixture
def database(template: tuple[Path, Models], tmp_path: Path) -> Iterator[Path]:
    """The store as it was built, open in a folder of the test's own: nothing is registered yet."""
    used = template[0] / "used.db"
    copy(template[0] / "mlflow.db", used)
    with opened(tmp_path, used):
        yield used


@pytest.fixture
def models(template: tuple[Path, Models], database: Path) -> Models:
    """The models in `database`."""
    assert registry.versions() == {}
    return template[1]


def brought_to(kept: Path, database: Path, *commands: tuple[Main, list[str]]) -> Path:
    """Run commands on the open store, or copy what they have left before; return the copy that is kept."""
    if kept.exists():
        copy(kept, database)
        return kept
    for main, argv in commands:
        main(argv)
    copy(database, kept)
    return kept


@pytest.fixture
def rivals(models: Models, database: Path, template: tuple[Path, Models]) -> Models:
    """The weak model is champion, the strong one challenger; what they are compared by is to be planted."""
    brought_to(
        template[0] / "rivals.db",
        database,
        (register.main, ["--model", models.weak]),
        (promote.main, []),
        (register.main, ["--model", models.strong]),
    )
    return models


#: What every model of a synthetic comparison was measured at, unless told otherwise: within the limits.
MEASURED = {
    "test_roc_auc": 0.5,
    "test_ece": 0.01,
    "predict_ms_single": 1.0,
    "model_size_mb": 5.0,
    "behaviour_typo": 0.1,
}


def synthetic(
    labels: np.ndarray,
    scores: dict[str, np.ndarray],
    status: str = "FINISHED",
    slices: dict[str, np.ndarray] | None = None,
    measured: dict[str, dict[str, float | None]] | None = None,
    result: dict[str, Any] | None = None,
) -> str:
    """Log a comparison with the scores given, as `compare` would, and return its run; the first model is the winner.

    Args:
        labels: of the test rows.
        scores: by model.
        status: of the run.
        slices: which rows are in each.
        measured: metrics of a model that are not those of MEASURED; None for what was not measured.
        result: what stands otherwise in comparison.json.
    """
    dataset = tracking.find_dataset("")
    trained = {run.data.tags["model_id"]: run for run in runs.finished(step="train_baseline")}
    entries = [
        {
            "name": f"baseline-{model_id[:6]}",
            "family": "baseline",
            "model_id": model_id,
            "run_id": trained[model_id].info.run_id,
            "champion": False,
            "metrics": {
                name: value
                for name, value in {
                    "test_accuracy": float(((own >= 0.5) == labels).mean()),
                    **MEASURED,
                    **(measured or {}).get(model_id, {}),
                }.items()
                if value is not None
            },
        }
        for model_id, own in scores.items()
    ]
    found: dict[str, Any] = {
        "dataset_digest": dataset.digest,
        "dataset_source": dataset.source,
        "test_rows": len(labels),
        "human_test_rows": 0,
        "winner": entries[0]["model_id"],
        "models": entries,
        **(result or {}),
    }
    none = np.zeros(len(labels), dtype=bool)
    frame = pd.DataFrame({"label": labels, "negation": none, **(slices or {}), **scores})
    mlflow.set_experiment(tracking.EXPERIMENT)
    with mlflow.start_run() as run:
        mlflow.set_tag("step", "compare")
        tracking.log_comparison(dataset, found, "", {comparison.SCORES: frame}, {})
    MlflowClient().set_terminated(run.info.run_id, status)
    return str(run.info.run_id)


def right_on(labels: np.ndarray, rows: int) -> np.ndarray:
    """Return scores that are right on the first `rows` rows and wrong on the others."""
    right = np.where(labels == 1, 0.9, 0.1)
    return np.where(np.arange(len(labels)) < rows, right, 1 - right)


def artifact(run: Run, name: str) -> Path:
    """Return where the store keeps an artifact of a run."""
    return Path(run.info.artifact_uri.removeprefix("file://"), name)


def held() -> dict[str, int]:
    """Return the version of each alias, as MLflow itself tells it."""
    return {alias: int(number) for alias, number in MlflowClient().get_registered_model(registry.MODEL).aliases.items()}


def stages() -> dict[int, str]:
    """Return the stage of each version, as MLflow itself tells it."""
    found = MlflowClient().search_model_versions(f"name='{registry.MODEL}'")
    return {int(version.version): version.current_stage for version in sorted(found, key=lambda one: int(one.version))}


def timeless(told: Any) -> Any:
    """Return what is told without when it was, and without the ids and hashes that follow from that."""
    if isinstance(told, dict):
        return {name: timeless(text) for name, text in told.items() if name not in ("when", "previous", "sha256")}
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00|\b[0-9a-f]{32,64}\b", "...", str(told))


def state() -> dict[str, Any]:
    """Return all that the registry and the trail of decisions say, but for when it was said."""
    return {
        "aliases": held(),
        "model tags": timeless(registry.model_tags()),
        "versions": {
            number: (version.model_id, version.stage, timeless(version.tags), timeless(version.description))
            for number, version in registry.versions().items()
        },
        "decisions": [(run.info.status, timeless(audit.content_of(run))) for run in audit.trail()],
        "wrong": audit.problems(audit.trail(), registry.model_tags().get(audit.LAST, "")),
    }


def assert_in_step() -> None:
    """Check that aliases and stages name the same versions, and that no move is left open."""
    by_stage = {
        stage: [number for number, own in stages().items() if own == stage] for stage in ("Production", "Staging")
    }
    names = held()
    assert by_stage["Production"] == [names["champion"]] if "champion" in names else by_stage["Production"] == []
    assert by_stage["Staging"] == [names["challenger"]] if "challenger" in names else by_stage["Staging"] == []
    # A champion of before may be challenger again; the champion itself is nothing else.
    assert "champion" not in names or list(names.values()).count(names["champion"]) == 1
    assert aliases.PENDING not in registry.model_tags()
    assert audit.problems(audit.trail(), registry.model_tags().get(audit.LAST, "")) == []


WRITES = [
    name
    for name in dir(MlflowClient)
    if name.split("_")[0] in ("copy", "create", "delete", "rename", "set", "transition", "update")
    and ("model_version" in name or "registered_model" in name)
] + ["create_run", "log_text", "set_terminated"]


@contextmanager
def crash_at(turn: int) -> Iterator[None]:
    """Let the process die just before its write number `turn`, whichever call that is: no later one comes through."""
    turns = itertools.count(1)

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(turns) >= turn:
                raise CrashError(f"before write {turn}, {write.__name__}")
            return write(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, dying(getattr(MlflowClient, name)))
        yield


def outcome(main: Main, argv: Sequence[str]) -> str:
    """Run a command and return how it ended."""
    try:
        main(list(argv))
    except (InputError, RefusedError) as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def survives_crashes(database: Path, main: Main, *argv: str, stride: int = 1) -> int:
    """Crash a command before each of its writes, run it again, and compare with the uninterrupted command.

    Args:
        database: the open store, in the state in which the command begins.
        main: the command.
        argv: its flags.
        stride: crash before each so-manieth write only.

    Returns:
        How many writes the command made at least, those of the lock among them.
    """
    start = Path("start.db")
    copy(database, start)
    ended = outcome(main, argv)
    expected = state()
    assert_in_step()
    for turn in itertools.count(1, stride):
        copy(start, database)
        had_champion = registry.with_alias(registry.CHAMPION) is not None
        if not crashes(main, argv, turn):
            assert state() == expected
            return turn - stride
        assert (registry.with_alias(registry.CHAMPION) is not None) >= had_champion, turn
        if registry.versions() and state() == expected:  # all was done but giving back the lock
            assert outcome(versions.main, []) == "done"
            continue
        assert outcome(main, argv) == ended, turn
        assert state() == expected, turn
        assert_in_step()
    raise AssertionError("unreachable")


def crashes(main: Main, argv: Sequence[str], turn: int) -> bool:
    """Run a command that dies before its write number `turn`, and let time pass; return whether it got that far."""
    try:
        with crash_at(turn):
            outcome(main, argv)
    except CrashError:
        expire_locks()
        return True
    return False


def expire_locks() -> None:
    """Let the locks of those that died expire."""
    for model in MlflowClient().search_registered_models(f"name LIKE '{lock.PREFIX}%'"):
        MlflowClient().set_registered_model_tag(model.name, "expires", "2026-01-01T00:00:00+00:00")


def added(model_id: str, run_id: str = "", tags: dict[str, str] | None = None) -> int:
    """Register a model without making it the challenger, and return its version."""
    with lock.held("register") as ours:
        return aliases.add(ours, model_id, run_id, "", tags or {}).number


def moved(command: str, targets: aliases.Move) -> None:
    """Move aliases as a command would, without a decision."""
    with lock.held(command) as ours:
        aliases.move(ours, targets)


def resumed(command: str, version: int | None = None) -> bool:
    """Begin a command; return whether it was done by finishing a move that had been cut short."""
    with lock.held(command) as ours:
        return aliases.resume(ours, version) is not None

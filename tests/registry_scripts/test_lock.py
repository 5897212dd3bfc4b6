"""The lock: one command at a time, whoever crashes, however many come at once."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from registry_scripts.registry import lock
from steps.sentiment import registry
from steps.sentiment.command_line import RefusedError
from tests.registry_scripts.conftest import ROOT, CrashError, crash_at, expire_locks, opened


@pytest.fixture(autouse=True)
def store(empty: Path, tmp_path: Path) -> Iterator[Path]:
    """An empty store of the test's own."""
    (tmp_path / "mlflow.db").write_bytes(empty.read_bytes())
    with opened(tmp_path, tmp_path / "mlflow.db"):
        yield tmp_path


def locks() -> list[str]:
    return [model.name for model in MlflowClient().search_registered_models()]


def died() -> None:
    """Die while holding the lock."""
    with pytest.raises(CrashError), crash_at(2), lock.held("promote"):
        raise CrashError
    assert len([name for name in locks() if name.startswith(lock.PREFIX)]) == 1


def test_a_lock_tells_who_holds_it_and_goes_when_the_command_ends() -> None:
    with lock.held("promote") as ours:
        (model,) = MlflowClient().search_registered_models()
        assert model.name == ours.name
        assert model.name.startswith("tweet-sentiment-lock-")
        assert model.tags["owner"] == lock.person()
        assert model.tags["command"] == "promote"
        since, expires = (datetime.fromisoformat(model.tags[name]) for name in ("since", "expires"))
        assert expires - since == lock.LIFE
        assert "Not a model" in str(model.description)
        assert registry.versions() == {}
    assert locks() == []


@pytest.mark.parametrize("error", [ValueError, RefusedError, KeyboardInterrupt, SystemExit, MlflowException])
def test_a_lock_is_given_back_whatever_ends_the_command(error: type[BaseException]) -> None:
    with pytest.raises(error), lock.held("promote"):
        raise error("told")
    assert locks() == []


def test_a_second_command_is_refused_with_the_owner_and_since_when() -> None:
    with lock.held("promote") as first:
        begin = time.monotonic()
        with pytest.raises(lock.BusyError) as refusal, lock.held("rollback", patience=0.5):
            raise AssertionError("two at once")
        assert 0.5 <= time.monotonic() - begin < 10
        assert f"{lock.person()} has been writing the registry since 20" in str(refusal.value)
        assert "(promote)" in str(refusal.value)
        assert first.expires.isoformat(timespec="seconds") in str(refusal.value)
        assert locks() == [first.name]
    assert locks() == []


def test_a_second_command_waits_for_a_short_one() -> None:
    client, ended = MlflowClient(), []

    def first() -> None:
        time.sleep(1)
        ended.append(time.monotonic())
        for name in locks():
            client.delete_registered_model(name)

    with lock._announced("promote"):
        thread = threading.Thread(target=first)
        thread.start()
        with lock.held("rollback", patience=30):
            assert ended
            assert time.monotonic() >= ended[0]
        thread.join()


def test_an_expired_lock_counts_no_more_and_is_swept_away() -> None:
    died()
    (left,) = locks()
    with pytest.raises(lock.BusyError), lock.held("promote", patience=0):
        pass
    expire_locks()
    with lock.held("promote") as ours:
        assert locks() == [ours.name] != [left]
    assert locks() == []


def test_who_comes_late_takes_no_other_lock_away() -> None:
    first = lock.held("promote")
    first.__enter__()
    expire_locks()
    with lock.held("rollback") as second:
        first.__exit__(None, None, None)
        assert locks() == [second.name]


def test_an_own_lock_about_to_expire_writes_nothing() -> None:
    now = datetime.now(UTC)
    assert lock.Lock("promote", "x", now + lock.LIFE).client
    assert lock.Lock("promote", "x", now + lock.GUARD + timedelta(seconds=5)).client
    with pytest.raises(RefusedError, match="took longer than 100 s and may write no more; run it again"):
        _ = lock.Lock("promote", "x", now + lock.GUARD - timedelta(seconds=1)).client


def test_of_two_that_look_at_the_same_moment_none_or_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    # The other one writes its lock between our look and our lock, and ours is seen by it: both step back.
    looks = itertools.count()
    look = lock._other
    others = []

    def late(kind: lock.Kind, ours: str = "") -> dict[str, str] | None:
        found = look(kind, ours)
        if next(looks) == 0:
            others.append(lock._announced("rollback"))
            others[0].__enter__()
        return found

    monkeypatch.setattr(lock, "_other", late)
    with pytest.raises(lock.BusyError), lock.held("promote", patience=0):
        raise AssertionError("two at once")
    assert len(locks()) == 1
    others[0].__exit__(None, None, None)
    assert locks() == []


def test_a_deployment_and_a_promotion_do_not_wait_for_each_other() -> None:
    with lock.held("deploy", kind=lock.DEPLOYMENT) as deploying, lock.held("promote", patience=0):
        assert deploying.expires - datetime.now(UTC) > timedelta(hours=1)
        with (
            pytest.raises(lock.BusyError, match=r"has been deploying since .* \(deploy\)"),
            lock.held("deploy", patience=0, kind=lock.DEPLOYMENT),
        ):
            pass
    assert locks() == []


def test_a_model_of_ones_own_with_such_a_name_is_no_lock() -> None:
    MlflowClient().create_registered_model("tweet-sentiment-lock-smith")
    with lock.held("promote", patience=0) as ours:
        assert set(locks()) == {ours.name, "tweet-sentiment-lock-smith"}
    assert locks() == ["tweet-sentiment-lock-smith"]


def test_without_a_name_of_the_user_the_lock_is_had_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    with lock.held("promote"):
        assert MlflowClient().search_registered_models()[0].tags["owner"].startswith("unknown@")


COUNTING = """
import sys, time
from pathlib import Path
from mlflow.tracking import MlflowClient
from registry_scripts.registry import lock

client, name, times = MlflowClient(), sys.argv[1], int(sys.argv[2])
Path(name).touch()
while not Path("go").exists():
    time.sleep(0.01)
for _ in range(times):
    with lock.held("count", patience=120):
        # Read, wait, write: whoever comes between them is lost.
        count = int(client.get_registered_model("counter").tags["count"])
        time.sleep(0.05)
        client.set_registered_model_tag("counter", "count", str(count + 1))
"""


def test_processes_that_find_a_stale_lock_at_once_never_hold_it_together(store: Path) -> None:
    client = MlflowClient()
    client.create_registered_model("counter", {"count": "0"})
    died()
    expire_locks()
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), "PYTHONPATH": str(ROOT)}
    names, times = ["one", "two", "three"], 4
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNTING, name, str(times)], cwd=store, env=environment)
        for name in names
    ]
    while not all((store / name).exists() for name in names):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    (store / "go").touch()
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert client.get_registered_model("counter").tags["count"] == str(len(names) * times)
    assert locks() == ["counter"]

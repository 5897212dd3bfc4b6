"""A derived folder is made once, whole or not at all, and anew as soon as anything on which it depends is another."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps.sentiment import derived

DIGEST = "0123456789abcdef"
SETTINGS = {"words": 10, "code": ["def make(): ..."]}
FILES = 5


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data/processed/derived"


class Maker:
    """Writes files, says which making they are of, and counts how often it was asked."""

    def __init__(self, before: Callable[[], Any] = lambda: None) -> None:
        self.made = 0
        self._before = before

    def __call__(self, folder: Path) -> None:
        assert list(folder.iterdir()) == []
        self.made += 1
        for number in range(FILES):
            if number == FILES // 2:
                self._before()
            (folder / f"{number}.txt").write_text(f"making {id(self)}")


def makings(folder: Path) -> set[str]:
    assert sorted(path.name for path in folder.iterdir()) == [*(f"{n}.txt" for n in range(FILES)), derived.SECONDS]
    return {path.read_text() for path in folder.glob("*.txt")}


def test_folder_is_made_once_and_reused(place):
    maker, never = Maker(), Maker()
    folder = derived.folder("vectors", DIGEST, SETTINGS, maker)
    assert folder.resolve().parent == place
    assert folder.name.startswith("vectors-")
    assert derived.folder("vectors", DIGEST, dict(reversed(SETTINGS.items())), never) == folder
    assert (maker.made, never.made) == (1, 0)
    assert makings(folder) == {f"making {id(maker)}"}
    assert list(place.iterdir()) == [folder.resolve()]


@pytest.mark.parametrize(
    ("name", "digest", "settings"),
    [
        ("other", DIGEST, SETTINGS),
        ("vectors", "another digest", SETTINGS),
        ("vectors", DIGEST, SETTINGS | {"words": 11}),
        ("vectors", DIGEST, SETTINGS | {"code": ["def make(): pass"]}),
        ("vectors", DIGEST, SETTINGS | {"more": None}),
    ],
)
def test_folder_is_made_again_for_other_settings(place, name, digest, settings):
    first = derived.folder("vectors", DIGEST, SETTINGS, Maker())
    maker = Maker()
    assert derived.folder(name, digest, settings, maker) != first
    assert maker.made == 1
    assert len(list(place.iterdir())) == 2


def test_folder_that_was_removed_is_made_again():
    for path in (folder := derived.folder("vectors", DIGEST, SETTINGS, Maker())).iterdir():
        path.unlink()
    folder.rmdir()
    maker = Maker()
    assert derived.folder("vectors", DIGEST, SETTINGS, maker) == folder
    assert makings(folder) == {f"making {id(maker)}"}


@pytest.mark.parametrize("failure", [ValueError, MemoryError, KeyboardInterrupt, SystemExit])
def test_maker_that_fails_leaves_nothing_and_is_asked_again(place, failure):
    def fail() -> None:
        raise failure("in the middle")

    with pytest.raises(failure, match="in the middle"):
        derived.folder("vectors", DIGEST, SETTINGS, Maker(fail))
    assert list(place.iterdir()) == []
    maker = Maker()
    assert makings(derived.folder("vectors", DIGEST, SETTINGS, maker)) == {f"making {id(maker)}"}


def test_folder_of_a_faster_run_is_taken(place):
    faster = Maker()
    slower = Maker(lambda: derived.folder("vectors", DIGEST, SETTINGS, faster))
    folder = derived.folder("vectors", DIGEST, SETTINGS, slower)
    assert (faster.made, slower.made) == (1, 1)
    assert makings(folder) == {f"making {id(faster)}"}
    assert list(place.iterdir()) == [folder.resolve()]


def test_makers_at_once_end_with_one_whole_folder(place, monkeypatch):
    together = threading.Barrier(8)
    rename, found = Path.rename, []

    def rename_together(path: Path, target: Path) -> Path:
        together.wait(10)
        return rename(path, target)

    def run() -> None:
        found.append(derived.folder("vectors", DIGEST, SETTINGS, Maker()))

    monkeypatch.setattr(Path, "rename", rename_together)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8, "a run failed because another was faster"
    assert len(set(found)) == 1
    assert len(makings(found[0])) == 1, "files of several runs in one folder"
    assert list(place.iterdir()) == [found[0].resolve()]


def test_folder_that_cannot_be_put_in_its_place_is_an_error(place):
    folder = derived.folder("vectors", DIGEST, SETTINGS, Maker())
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("a file is in the way")
    with pytest.raises(OSError, match=folder.name):
        derived.folder("vectors", DIGEST, SETTINGS, Maker())
    assert list(place.iterdir()) == [folder.resolve()]


def test_seconds_of_the_making_are_kept():
    folder = derived.folder("vectors", DIGEST, SETTINGS, Maker(lambda: time.sleep(0.05)))
    took = derived.seconds(folder)
    assert 0.05 <= took < 5
    assert derived.seconds(derived.folder("vectors", DIGEST, SETTINGS, Maker())) == took
    assert json.loads((folder / derived.SECONDS).read_text()) == took

"""The state of a training on disk, from which the same training goes on after a kill."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO
from uuid import uuid4

from steps.sentiment.command_line import InputError, first_line


class Checkpoint:
    """The newest state of one training; a state is a folder that appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: IO[str] | None = None

    def take(self) -> None:
        """Keep other processes away until this one ends, however it ends, or removes the checkpoint.

        Raises:
            InputError: another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock or (self.folder / "lock").open("w")
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise InputError(
                f"the same training is going on in another process ({self.folder}); wait for it, or change a flag"
            ) from error
        for unfinished in self.folder.glob(".*"):  # of a process that was killed while it wrote
            shutil.rmtree(unfinished)

    @property
    def newest(self) -> Path | None:
        """The folder of the newest state, or None where there is none."""
        return max(self._states, default=None)

    @property
    def _states(self) -> list[Path]:
        return list(self.folder.glob("[!.]*-*"))

    def save(self, name: str, write: Callable[[Path], None]) -> None:
        """Keep a state in place of the one before, which is there until the new one is whole.

        Args:
            name: `epoch-003`, for example; a later state has a later name in alphabetical order.
            write: writes the files of the state into an empty folder.
        """
        before = self._states  # several after a kill between the two last lines
        beside = self.folder / f".{uuid4().hex}"
        beside.mkdir(parents=True)
        write(beside)
        beside.rename(self.folder / name)
        for state in before:
            shutil.rmtree(state)

    def broken(self, state: Path, error: Exception) -> InputError:
        """Return the error to raise when a state cannot be read or does not fit."""
        return InputError(
            f"the checkpoint {state} does not fit or is damaged ({first_line(error)}); remove it to start anew"
        )

    def remove(self) -> None:
        """Remove the checkpoint of a training that is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock:
            self._lock.close()
            self._lock = None

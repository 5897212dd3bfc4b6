"""The state of a network's training on disk, from which the same training goes on after a kill."""

import fcntl
import json
import shutil
from pathlib import Path
from typing import IO
from uuid import uuid4

import keras

from steps.sentiment.command_line import InputError


class Checkpoint:
    """The state after the last finished epoch, on disk; an epoch's folder appears whole or not at all."""

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

    def save(self, network: keras.Model, best: keras.Model | None, history: list[dict[str, float]]) -> None:
        """Keep the state after an epoch; `best` where this epoch is the best so far, else the one kept before stays."""
        before = self._newest()
        beside = self.folder / f".{uuid4().hex}"
        beside.mkdir(parents=True)
        network.save(beside / "last.keras")
        if best is not None:
            best.save_weights(beside / "best.weights.h5")
        elif before:
            shutil.copy2(before / "best.weights.h5", beside / "best.weights.h5")
        (beside / "history.json").write_text(json.dumps(history), encoding="utf-8")
        beside.rename(self.folder / f"epoch-{len(history):03}")
        if before:
            shutil.rmtree(before)

    def load(self) -> tuple[keras.Model, list[dict[str, float]]] | None:
        """Return the network, with its optimizer, and the history, or None where there is no checkpoint.

        Raises:
            InputError: the checkpoint cannot be read.
        """
        newest = self._newest()
        if newest is None:
            return None
        try:
            history = json.loads((newest / "history.json").read_text(encoding="utf-8"))
            return keras.models.load_model(newest / "last.keras"), history
        except Exception as error:  # each of the formats within has errors of its own
            raise InputError(
                f"the checkpoint {newest} cannot be read ({_first_line(error)}); remove it to start anew"
            ) from error

    def best(self, network: keras.Model) -> None:
        """Put the best weights so far into `network`.

        Raises:
            InputError: they are those of another shape.
        """
        newest = self._newest()
        assert newest is not None, "there is no checkpoint yet"
        try:
            network.load_weights(newest / "best.weights.h5")
        except Exception as error:
            raise InputError(
                f"the checkpoint {newest} does not fit this network ({_first_line(error)}); remove it to start anew"
            ) from error

    def remove(self) -> None:
        """Remove the checkpoint of a training that is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock:
            self._lock.close()
            self._lock = None

    def _newest(self) -> Path | None:
        return max(self.folder.glob("epoch-*"), default=None)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]

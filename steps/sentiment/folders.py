"""Folders that appear whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """Open an empty folder that takes the place of `target` when the block ends well; else what was there stays."""
    beside, old = (target.with_name(f".{uuid4().hex}") for _ in range(2))
    try:
        beside.mkdir(parents=True)
        yield beside
        if not target.exists():
            beside.rename(target)
            return
        target.rename(old)
        try:
            beside.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old)
    finally:
        shutil.rmtree(beside, ignore_errors=True)

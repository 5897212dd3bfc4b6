"""Files that are made once from a dataset's training split and reused by every run: vocabularies and word vectors.

A cache: what is missing is made again. Each lies in `data/processed/derived/<name>-<key>/`, where the key is a digest of
the dataset and of all else on which the content depends, and appears whole or not at all.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from steps.sentiment import dataset

#: The seconds that it took to make a folder.
SECONDS = "seconds.json"


def folder(name: str, digest: str, settings: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """Return the folder of derived files, made by `make` when it is not there yet.

    Args:
        name: what it holds, for people.
        digest: of the dataset.
        settings: everything else on which the content depends, versions and source text of what makes it included.
        make: writes the files into an empty folder.
    """
    key = hashlib.sha256(json.dumps([digest, settings], sort_keys=True).encode()).hexdigest()[:16]
    found = dataset.PROCESSED / "derived" / f"{name}-{key}"
    if not found.is_dir():
        beside = found.with_name(f".{uuid4().hex}")
        beside.mkdir(parents=True)
        try:
            start = time.perf_counter()
            make(beside)
            (beside / SECONDS).write_text(json.dumps(time.perf_counter() - start), encoding="utf-8")
            try:
                beside.rename(found)
            except OSError:
                if not found.is_dir():  # else another run was faster, and made the same
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return found


def seconds(folder: Path) -> float:
    """Return the seconds that it took to make a folder of derived files."""
    return float(json.loads((folder / SECONDS).read_text(encoding="utf-8")))

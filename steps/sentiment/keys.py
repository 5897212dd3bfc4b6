"""The keys under which finished work is found again: equal flags, data and code give equal results."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

MODEL_FILE = Path(__file__).with_name("model.py")
PROJECT = MODEL_FILE.parents[2]


def code_digest(step: str) -> str:
    """Return a digest of what a step runs: its own file, the library and the lock of the environment."""
    files = [PROJECT / "steps" / f"{step}.py", *sorted(MODEL_FILE.parent.glob("*.*")), PROJECT / "requirements.txt"]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


#: Flags that only name data; the digest of the data stands in the key for them.
DATA_FLAGS = {"data", "human_test", "dataset", "candidates", "members", "teacher"}


def step_key(step: str, flags: Mapping[str, str], data: str) -> str:
    """Return the key under which a finished step with equal inputs is reused.

    Args:
        step: name of the entry point.
        flags: its flags as typed, defaults included.
        data: digest of the data that it reads.
    """
    counted = {name: text for name, text in flags.items() if name not in DATA_FLAGS}
    content = json.dumps([step, counted, data, code_digest(step)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

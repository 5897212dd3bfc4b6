"""The model that comes with the project, in `data/champion/`, so that a fresh machine can begin with a good one.

`model/` is the model as MLflow serves it, `champion.json` says what it is and what it reached, `seen.npz` holds a 32-bit hash of
each text that it was trained on: it never takes part in a comparison on these. `registry_scripts/bundle.py` writes all of it.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from steps.sentiment.dataset import fold

FOLDER = Path("data/champion")
MODEL, FACTS, SEEN = "model", "champion.json", "seen.npz"
#: Share of rows that may look as if it had been trained on them: of 1.5 million hashes one in 3,000 meets a stranger's.
STRANGERS = 0.005


def there() -> bool:
    """Return whether a model comes with this copy of the project."""
    return (FOLDER / FACTS).is_file()


def facts() -> dict[str, Any]:
    """Return what the bundled model is: `name`, `family`, `dataset_digest`, `metrics` and so on."""
    found: dict[str, Any] = json.loads((FOLDER / FACTS).read_text(encoding="utf-8"))
    return found


def digest() -> str:
    """Return a digest of the bundled files."""
    files = sorted(path for path in FOLDER.rglob("*") if path.is_file())
    found = hashlib.sha256()
    for path in files:
        found.update(f"{path.relative_to(FOLDER)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:16]


def hashes(texts: Iterable[str]) -> np.ndarray:
    """Return a 32-bit hash of each text, equal for texts that count as identical; uint32 of shape (n_texts,)."""
    found = (hashlib.blake2b(fold(text).encode("utf-8", "replace"), digest_size=4).digest() for text in texts)
    return np.frombuffer(b"".join(found), dtype="<u4")


def write_seen(texts: Iterable[str], path: Path) -> None:
    """Write the hashes of the texts that a model was trained on; sorted and as differences they take two bytes each."""
    known = np.unique(hashes(texts))
    np.savez_compressed(path, differences=np.diff(known, prepend=np.uint32(0)))


def seen(texts: Iterable[str]) -> int:
    """Return on how many of these texts the bundled model was trained; a few strangers may be among them."""
    with np.load(FOLDER / SEEN, allow_pickle=False) as file:
        known = np.cumsum(file["differences"], dtype=np.uint32)
    return int(np.isin(hashes(texts), known).sum())


def was_trained_on(texts: list[str]) -> bool:
    """Return whether the bundled model was trained on some of these texts, beyond what chance would show."""
    return seen(texts) > STRANGERS * len(texts)

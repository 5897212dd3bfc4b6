"""What a family hands over to be logged."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Trained:
    """What a family hands over: the files that `model.py` loads, and what the framework itself answers.

    Attributes:
        family: name of the family, `baseline` for example.
        name: of the model among those of its family, `word2vec bilstm` for example.
        loader: the key of `model.LOADERS`.
        folder: files of the loader.
        settings: JSON for the loader, in `model.json` under its name.
        requirements: pip requirements of the loader, pinned.
        validation_logits: logits of the validation texts from the training framework, shape (n_validation,).
        seconds: time of the training, in seconds.
        facts: further numbers worth a metric.
        files: further files worth keeping with the run, under `files/`.
    """

    family: str
    name: str
    loader: str
    folder: Path
    settings: dict[str, Any]
    requirements: list[str]
    validation_logits: np.ndarray
    seconds: float
    facts: dict[str, float] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

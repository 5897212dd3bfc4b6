"""What tests of the evidence share: made-up models in its folders."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from steps.sentiment import evidence

ROWS = 400


def model(
    name: str, auc: float, scores: np.ndarray, rows: int = 1000, **more: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return run and frames of a made-up model."""
    labels, at = np.tile([0, 1], len(scores) // 2), np.arange(len(scores))
    kinds = {"negation": at < max(2, len(at) // 10), "short": at >= len(at) // 20, "link": at < 0}
    right = (scores >= 0.5) == labels
    run = {
        "name": name,
        "family": name.split(maxsplit=1)[0],
        "run_id": f"{zlib.crc32(f'{name} {rows}'.encode()):08x}{0:024x}",
        "dataset_digest": "0123",
        "dataset_source": "made.csv",
        "human_test_rows": 0,
        "started": "2026-01-01",
        "training_metrics": {"train_rows": rows, "unsure_low": 0.4, "unsure_high": 0.6},
        "test_metrics": {
            "validation_roc_auc": auc,
            "train_rows": rows,
            **{f"test_roc_auc{end}": auc + shift for end, shift in (("", 0), ("_low", -0.1), ("_high", 0.1))},
            **{f"test_accuracy_{name}": float(right[rows].mean()) for name, rows in kinds.items() if rows.any()},
            **more.pop("test_metrics", {}),
        },
    } | more
    frame = pd.DataFrame({"label": labels, **kinds, "score": scores})
    return run, {"scores.parquet": frame}


def put(folder: Path, *models: tuple[dict[str, Any], dict[str, Any]]) -> Path:
    for run, frames in models:
        evidence.write(folder / run["dataset_digest"] / f"{run['family']}-{run['run_id'][:8]}", run, frames)
    return folder


def noisy(seed: int, skill: float) -> np.ndarray:
    """Return scores of a model that sees the label through noise."""
    random = np.random.default_rng(seed)
    return stats.logistic.cdf(skill * (2 * np.tile([0, 1], ROWS // 2) - 1) + random.normal(0, 1, ROWS))

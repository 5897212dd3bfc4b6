"""Reference statistics of texts and scores, kept with datasets and models so that drift has something to be held against.

A feature is described by its mean and by a histogram over fixed edges: enough for a population stability index and a
two-sample test, and no text leaves the data.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from steps.sentiment import slices

CHARACTERS = [0, 20, 40, 60, 80, 100, 120, 140, 200, 281]
WORDS = [0, 3, 6, 9, 12, 15, 18, 21, 24, 28, 61]
SCORES = [index / 20 for index in range(21)]


def of_texts(texts: pd.Series) -> dict[str, Any]:
    """Describe n texts: lengths as histograms, traits (mention, link, emoji, ...) as shares of the texts."""
    return {
        "rows": len(texts),
        "characters": histogram(texts.str.len(), CHARACTERS),
        "words": histogram(texts.str.count(r"\S+"), WORDS),
        "shares": slices.flags(texts).mean().round(6).to_dict(),
    }


def of_scores(scores: np.ndarray, unsure: np.ndarray) -> dict[str, Any]:
    """Describe n calibrated scores and how many of them lie in the unsure band."""
    return {"scores": histogram(scores, SCORES), "unsure_share": float(np.mean(unsure))}


def histogram(values: Any, edges: Sequence[float]) -> dict[str, Any]:
    """Count `values` between `edges`; those beyond fall into the outer bins."""
    values = np.asarray(values, dtype=float)
    counts, _ = np.histogram(np.clip(values, edges[0], np.nextafter(edges[-1], edges[0])), bins=edges)
    return {"edges": list(edges), "counts": counts.tolist(), "mean": float(values.mean()) if len(values) else None}

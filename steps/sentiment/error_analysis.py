"""The worst errors of the compared models and the labels in doubt, for the people who own the tweets.

It holds tweets, handles and links masked: an artifact of the comparison's run, never a file of the repository.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from steps.sentiment.label_noise import Suspects
from steps.sentiment.masks import masked
from steps.sentiment.rows import Rows

#: The artifact.
TABLE = "errors.parquet"
#: Rows shown of each kind and model, and the words shown of each.
SHOWN, WORDS = 10, 5
#: What the score must lose without a word that is shown.
LEAST = 0.01
LABELS = ("negative", "positive")
COLUMNS = ("model", "kind", "label", "score", "loss", "words", "text")


def worst(test: Rows, model_id: str, name: str, model: Any) -> pd.DataFrame:
    """Return a model's false positives and false negatives of the highest loss, with the words that drove it to them.

    Only these rows are explained: an explanation scores a text once for each of its words.

    Args:
        test: the rows, asked to the model before.
        model_id: of the model.
        name: of the model, for people.
        model: as MLflow loads it.

    Returns:
        Rows of COLUMNS, at most SHOWN of each kind, the highest loss first. `loss` is -log of the score of the true class.
    """
    labels, scores = test.labels, test.scores[model_id]
    wrong = (scores >= 0.5) != (labels == 1)
    kinds = {"false positive": wrong & (labels == 0), "false negative": wrong & (labels == 1)}
    chosen = [(kind, row) for kind, rows in kinds.items() for row in _highest(rows, np.abs(scores - labels))]
    texts = [test.texts[row] for _, row in chosen]
    explained = model.predict(texts, params={"explain": True}) if texts else []
    return pd.DataFrame(
        [
            {
                "model": name,
                "kind": kind,
                **_row(test, row, scores),
                "words": _drove(answer["words"], -1 if kind == "false negative" else 1),
            }
            for (kind, row), answer in zip(chosen, explained, strict=True)
        ],
        columns=list(COLUMNS),
    )


def doubtful(test: Rows, found: Suspects) -> pd.DataFrame:
    """Return the rows whose label the voters contradict most, as rows of COLUMNS; no model is asked for words here."""
    rows = _highest(found.rows, np.abs(found.votes - test.labels))
    return pd.DataFrame(
        [{"model": "voters", "kind": "label in doubt", **_row(test, row, found.votes), "words": ""} for row in rows],
        columns=list(COLUMNS),
    )


def _highest(rows: np.ndarray, distance: np.ndarray) -> Sequence[int]:
    among = np.flatnonzero(rows)
    found: list[int] = among[np.argsort(-distance[among], kind="stable")[:SHOWN]].tolist()
    return found


def _row(test: Rows, row: int, scores: np.ndarray) -> dict[str, Any]:
    right = scores[row] if test.labels[row] == 1 else 1 - scores[row]
    return {
        "label": LABELS[int(test.labels[row])],
        "score": float(scores[row]),
        "loss": float(-np.log(max(right, 1e-15))),
        "text": masked(test.texts[row]),
    }


def _drove(words: list[dict[str, Any]], side: int) -> str:
    # The words without which the score would be nearer to the label, the strongest first.
    driving = sorted((word for word in words if side * word["weight"] >= LEAST), key=lambda word: -abs(word["weight"]))
    return "; ".join(f"{masked(word['word'])} {word['weight']:+.2f}" for word in driving[:WORDS])

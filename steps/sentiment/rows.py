"""The labelled rows of a test, and what each model answers to them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from steps.sentiment import slices
from steps.sentiment.command_line import RefusedError
from steps.sentiment.comparison import Entrant


@dataclass
class Rows:
    """The rows of a test (`text`, `label`, and `late` where dates are known) and what each model answers to them, by its id.

    `scores` are P(positive), `unsure` says where a model does not trust its own; each of shape (n_rows,).
    """

    frame: pd.DataFrame
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    unsure: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def labels(self) -> np.ndarray:
        """0 or 1, shape (n_rows,)."""
        return self.frame["label"].to_numpy()

    @cached_property
    def texts(self) -> list[str]:
        """The texts, n_rows of them."""
        return self.frame["text"].tolist()

    @cached_property
    def slices(self) -> pd.DataFrame:
        """Which slices each row is in, `early` and `late` among them where dates are known."""
        found = slices.flags(self.frame["text"])
        if "late" in self.frame:
            late = self.frame["late"]
            found = found.assign(early=(~late).fillna(False).astype(bool), late=late.fillna(False).astype(bool))
        return found

    def ask(self, entrant: Entrant, model: Any) -> np.ndarray:
        """Score the rows with a model and keep what it answers; return the scores, shape (n_rows,).

        Raises:
            RefusedError: it does not answer every text with a probability.
        """
        self.scores[entrant.model_id], self.unsure[entrant.model_id] = answers_of(model, self.texts, entrant.name)
        return self.scores[entrant.model_id]

    def artifact(self) -> pd.DataFrame:
        """Return label, slices and scores of each row; no text."""
        return pd.concat([self.frame["label"].to_frame(), self.slices, pd.DataFrame(self.scores)], axis=1)


def scores_of(model: Any, texts: list[str], name: str) -> np.ndarray:
    """Return P(positive) of each text, as `answers_of` does, without what is unsure."""
    return answers_of(model, texts, name)[0]


def answers_of(model: Any, texts: list[str], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return P(positive) of each text and where it is not to be trusted, each of shape (n_texts,).

    Args:
        model: as MLflow loads it.
        texts: what it is asked.
        name: of the model, for people.

    Raises:
        RefusedError: it does not answer every text with a probability.
    """
    answers = model.predict(texts)
    if len(answers) != len(texts):
        raise RefusedError(f"{name} gave {len(answers)} answers to {len(texts)} texts; allowed: one for each")
    try:
        scores = np.array([answer["score"] for answer in answers], dtype=float)
        unsure = np.array([answer["unsure"] for answer in answers], dtype=bool)
    except (TypeError, KeyError, IndexError, ValueError):
        raise RefusedError(
            f"{name} gave no score: {str(answers[0])[:80]}; allowed: records with a number `score` and a truth `unsure`"
        ) from None
    wrong = ~((scores >= 0) & (scores <= 1))  # NaN is neither
    if wrong.any():
        raise RefusedError(
            f"{name} gave {wrong.sum()} of {len(texts)} texts a score that is no probability, {scores[wrong][0]} for one; "
            "allowed: 0 to 1"
        )
    return scores, unsure

"""Test rows whose label is probably wrong, by the votes of the compared models, and what models reach without these rows.

Confident learning (Northcutt, Jiang and Chuang 2021, by cleanlab) estimates from labels and out-of-sample probabilities how many
rows of each class carry the other's label; as many are suspected, those that the probabilities contradict most. No model has
learned from test rows, so test scores are out of sample. The best model of each family on validation votes, and the mean of
their scores counts.

What this cannot tell: a tweet that is hard for all families from one that is wrongly labelled. And a voter is flattered,
since rows on which it contradicts the label are more likely to go. Figures without the suspects are therefore shown beside
those of all rows, never in place of them, and twice: without the rows that all voters suspect, the same for each model; and
`by_others`, without equally many rows, chosen for each model by voters that have nothing to do with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.metrics import roc_auc_score

from steps.sentiment.rows import Rows

#: Families that are made from models of others: they repeat a vote, so they have none.
MADE_OF = {"ensemble": ("bert", "baseline"), "distilled": ("bert",)}


@dataclass(frozen=True)
class Suspects:
    """The rows that voters suspect.

    Attributes:
        voters: model ids by their family.
        votes: mean of the voters' scores, P(positive), shape (n_rows,).
        rows: whether a row's label is probably wrong, shape (n_rows,).
    """

    voters: dict[str, str]
    votes: np.ndarray
    rows: np.ndarray

    def described(self, labels: np.ndarray) -> dict[str, int]:
        """Return how many rows are suspected, and how many of them are labelled negative and positive."""
        counts = np.bincount(labels[self.rows].astype(int), minlength=2)
        return {
            "suspect_rows": int(self.rows.sum()),
            "suspect_negative": int(counts[0]),
            "suspect_positive": int(counts[1]),
        }


def suspects(test: Rows, entries: Sequence[dict[str, Any]]) -> Suspects | None:
    """Return the rows whose label is probably wrong, or None where no model has a vote.

    Args:
        test: the rows, asked to every model.
        entries: the models, the best on validation first, with `model_id` and `family`.
    """
    voters: dict[str, str] = {}
    for entry in entries:
        if entry["family"] not in MADE_OF:
            voters.setdefault(entry["family"], entry["model_id"])
    if not voters:
        return None
    votes = _mean(test, voters.values())
    rows = find_label_issues(test.labels.astype(int), np.column_stack([1 - votes, votes]), n_jobs=1)
    return Suspects(voters, votes, rows)


def cleaned(test: Rows, entries: Sequence[dict[str, Any]], found: Suspects) -> dict[str, dict[str, float]]:
    """Return what each model reaches without the suspects, by its id.

    `cleaned_test_` accuracy and ROC AUC are of the same rows for each model, `cleaned_by_others_test_` of rows that voters of
    other families have left it; where no two families vote nothing is measured, since a voter would judge itself.
    """
    measured: dict[str, dict[str, float]] = {entry["model_id"]: {} for entry in entries}
    if len(found.voters) < 2:
        return measured
    for entry in entries:
        model_id, kin = entry["model_id"], {entry["family"], *MADE_OF.get(entry["family"], ())}
        measured[model_id] |= _reached("cleaned_test", test, model_id, ~found.rows)
        others = [voter for family, voter in found.voters.items() if family not in kin]
        if others:
            kept = ~_most_contradicted(test.labels, _mean(test, others), found.rows)
            measured[model_id] |= _reached("cleaned_by_others_test", test, model_id, kept)
    return measured


def rankings(entries: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the names of the models by ROC AUC, the best first: on all rows, and without the suspects."""
    kinds = ("test_roc_auc", "cleaned_test_roc_auc", "cleaned_by_others_test_roc_auc")
    return {
        kind: [
            entry["name"]
            for entry in sorted(entries, key=lambda entry: -entry["metrics"].get(kind, 0.0))
            if kind in entry["metrics"]
        ]
        for kind in kinds
    }


def _mean(test: Rows, voters: Collection[str]) -> np.ndarray:
    return np.mean([test.scores[voter] for voter in voters], axis=0)


def _most_contradicted(labels: np.ndarray, votes: np.ndarray, suspected: np.ndarray) -> np.ndarray:
    # As many rows of each class as are suspected, those that these votes contradict most; shape (n_rows,).
    rows = np.zeros(len(labels), dtype=bool)
    contradiction = np.where(labels == 1, 1 - votes, votes)
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        rows[own[np.argsort(-contradiction[own], kind="stable")[: suspected[own].sum()]]] = True
    return rows


def _reached(prefix: str, test: Rows, model_id: str, kept: np.ndarray) -> dict[str, float]:
    labels, scores = test.labels[kept], test.scores[model_id][kept]
    if len(np.unique(labels)) < 2:
        return {}
    return {
        f"{prefix}_accuracy": float(((scores >= 0.5) == (labels == 1)).mean()),
        f"{prefix}_roc_auc": float(roc_auc_score(labels, scores)),
    }

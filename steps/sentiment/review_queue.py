"""The tweets that people called wrongly answered and agreed to have looked at, waiting for somebody to look.

A verdict is joined by its id with the answer that it is about. Of several on one answer the last one wins, also over what it says of
the text: who says "wrong" again without agreeing has taken the text back, and who says "right" has taken the tweet out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from steps.sentiment.command_line import InputError
from steps.sentiment.masks import masked
from steps.sentiment.predictions import LABELS

#: The artifact: a row for each tweet.
QUEUE = "review_queue.parquet"
#: Texts of a verdict that are needed beside what every event is read with.
SAID = ("predicted", "keep", "text")
_COLUMNS = {
    "prediction_id": "str",
    "model_version": "str",
    "predicted": "str",
    "expected": "str",
    "score": "float64",
    "reported": "datetime64[us, UTC]",
    "text": "str",
}


@dataclass(frozen=True)
class Counts:
    """What was read: judged answers, those that are wrong by their last verdict, and of these those whose text may be kept.

    `contradicted` answers were called both right and wrong, `repeated` verdicts say again what was said of an answer, and `unknown`
    answers are judged but not among the predictions that were read.
    """

    judged: int
    wrong: int
    kept: int
    contradicted: int
    repeated: int
    unknown: int

    def as_metrics(self) -> dict[str, float]:
        """Return them by name."""
        return {name: float(number) for name, number in asdict(self).items()}


@dataclass(frozen=True)
class _Verdict:
    time: datetime
    expected: str
    predicted: str
    version: str
    text: str


class Verdicts:
    """Takes predictions and verdicts, in any order; a `events.Gatherer`."""

    def __init__(self) -> None:
        self._scores: dict[str, float] = {}
        self._said: dict[str, dict[tuple[datetime, str], _Verdict]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take an event; others than ours are passed over.

        Raises:
            ValueError, KeyError, TypeError: it is not as an endpoint tells it.
        """
        said = row["customDimensions"]
        if row["name"] == "prediction":
            self._scores[said["prediction_id"]] = float(row["customMeasurements"]["score"])
        elif row["name"] == "feedback":
            for name in ("predicted", "expected"):
                if said[name] not in LABELS:
                    raise ValueError(f"{name}={said[name]!r}, which must be one of {', '.join(LABELS)}")
            text = masked(said.get("text", "")) if said["keep"] == "true" else ""
            verdict = _Verdict(row["timestamp"], said["expected"], said["predicted"], said["model_version"], text)
            # The key makes a verdict that is delivered twice one; a click that is repeated has a time of its own.
            self._said.setdefault(said["prediction_id"], {})[verdict.time, verdict.expected] = verdict

    def counts(self) -> Counts:
        """Return what was read."""
        last = self._last()
        wrong = [one for one in last.values() if one.expected != one.predicted]
        labels = {identity: [one.expected for one in said.values()] for identity, said in self._said.items()}
        return Counts(
            judged=len(last),
            wrong=len(wrong),
            kept=sum(bool(one.text) for one in wrong),
            contradicted=sum(len(set(said)) > 1 for said in labels.values()),
            repeated=sum(len(said) - len(set(said)) for said in labels.values()),
            unknown=len(last.keys() - self._scores.keys()),
        )

    def queue(self, before: pd.DataFrame) -> pd.DataFrame:
        """Return the queue, ordered by id: that of before, changed by what was read.

        Args:
            before: the queue of an earlier reading, or `empty()`.

        Returns:
            `prediction_id`, `model_version`, `predicted` and `expected` label, `score` (none where the prediction was not read),
            `reported` (when the last verdict came), `text` with handles and links masked.
        """
        rows = {row["prediction_id"]: row for row in before.to_dict("records")}
        for identity, one in self._last().items():
            if identity in rows and rows[identity]["reported"] > one.time:
                continue
            known = rows.pop(identity, {"score": float("nan")})
            if one.expected != one.predicted and one.text:
                rows[identity] = {
                    "prediction_id": identity,
                    "model_version": one.version,
                    "predicted": one.predicted,
                    "expected": one.expected,
                    "score": self._scores.get(identity, known["score"]),
                    "reported": one.time.astimezone(UTC),
                    "text": one.text,
                }
        return pd.DataFrame([rows[identity] for identity in sorted(rows)], columns=list(_COLUMNS)).astype(_COLUMNS)

    def _last(self) -> dict[str, _Verdict]:
        return {identity: said[max(said)] for identity, said in self._said.items()}


def empty() -> pd.DataFrame:
    """Return a queue without rows."""
    return Verdicts().queue(pd.DataFrame(columns=list(_COLUMNS)))


def read(path: Any) -> pd.DataFrame:
    """Read a queue.

    Raises:
        InputError: it is none.
    """
    try:
        return pd.read_parquet(path)[list(_COLUMNS)].astype(_COLUMNS)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"previous={path}: this is no review queue; allowed: newest, none") from error


def digest(queue: pd.DataFrame) -> str:
    """Return 16 hexadecimal digits of the rows of a queue."""
    rows = queue.assign(reported=queue["reported"].astype("int64")).astype(object).where(queue.notna(), None)
    lines = (json.dumps(row) for row in rows.to_dict("records"))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

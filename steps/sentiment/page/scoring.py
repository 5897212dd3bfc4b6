"""Many tweets, scored in a thread of their own, so that the page stays usable; what was scored is kept whatever happens then."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from steps.sentiment.page.client import Answers, EndpointError, TooLargeError

#: Texts of a request: enough to keep the endpoint busy, few enough that the progress moves.
BATCH = 500
#: Seconds after which nobody looks at a job any more: the page was closed.
PATIENCE = 600.0
#: What the table of results adds to the columns of a person's file.
ADDED = ("sentiment", "probability_positive", "unsure", "truncated", "model_version", "prediction_id")


class Scorer(Protocol):
    """What scores: a `client.Client`."""

    def score(self, texts: Sequence[str]) -> Answers:
        """Return what the endpoint says of texts."""


@dataclass(frozen=True)
class Batch:
    """Answers to the texts that come next. None: this one is longer than the endpoint takes."""

    version: str
    records: list[dict[str, Any] | None]


def batches(scorer: Scorer, texts: Sequence[str], size: int = BATCH) -> Iterator[Batch]:
    """Yield the answers to texts, a request at a time; where one is too large, smaller ones follow.

    Raises:
        EndpointError: the endpoint does not answer any more.
    """
    done, version = 0, ""
    while done < len(texts):
        part = texts[done : done + size]
        try:
            answers = scorer.score(part)
        except TooLargeError:
            if len(part) > 1:
                size = len(part) // 2
                continue
            yield Batch(version, [None])
        else:
            version = answers.version
            yield Batch(version, list(answers.records))
        done += len(part)


class Job:
    """Scores texts in the background. `records`, `versions`, `failed` and `finished` may be read at any time."""

    def __init__(self, scorer: Scorer, frame: pd.DataFrame, column: str) -> None:
        """Begin.

        Args:
            scorer: not used by anybody else meanwhile.
            frame: with the texts in `column`, and whatever else the person's file has.
            column: its name.
        """
        self.frame, self.column = frame, column
        self.records: list[dict[str, Any] | None] = []
        self.versions: list[str] = []
        self.failed = ""
        self._scorer, self._texts = scorer, frame[column].tolist()
        self._stopped, self._seen = threading.Event(), time.monotonic()
        self._begin()

    def _begin(self) -> None:
        self.failed = ""
        self._stopped.clear()
        self.seen()
        self._thread = threading.Thread(target=self._run, name="scoring a list", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for batch in batches(self._scorer, self._texts[len(self.records) :]):
                self.versions += [batch.version] * len(batch.records)
                self.records += batch.records
                if self._stopped.is_set() or time.monotonic() - self._seen > PATIENCE:
                    break
        except EndpointError as error:
            self.failed = str(error)

    @property
    def total(self) -> int:
        """How many texts there are."""
        return len(self._texts)

    @property
    def running(self) -> bool:
        """Whether more answers will come."""
        return self._thread.is_alive()

    @property
    def finished(self) -> bool:
        """Whether every text has its answer."""
        return len(self.records) == self.total

    def seen(self) -> None:
        """Note that somebody looks at it."""
        self._seen = time.monotonic()

    def stop(self) -> None:
        """Send no further request; what was scored stays."""
        self._stopped.set()

    def resume(self) -> None:
        """Score what is left."""
        if not self.running and not self.finished:
            self._begin()

    def wait(self, seconds: float) -> None:
        """Return when it has ended, or after so many seconds."""
        self._thread.join(seconds)

    def table(self) -> pd.DataFrame:
        """Return a row for each text with an answer so far: the columns of the file, then ADDED.

        A column of the file that has one of these names is called `<name> (file)`.
        """
        records = list(self.records)
        there = [number for number, record in enumerate(records) if record]
        found = [records[number] or {} for number in there]
        named = {name: f"{name} (file)" for name in self.frame if name in ADDED}
        return (
            self.frame.iloc[there]
            .rename(columns=named)
            .assign(
                sentiment=[record["label"] for record in found],
                probability_positive=[float(record["score"]) for record in found],
                unsure=[bool(record["unsure"]) for record in found],
                truncated=[bool(record["truncated"]) for record in found],
                model_version=[self.versions[number] for number in there],
                prediction_id=[record["prediction_id"] for record in found],
            )
        )

    @property
    def text_column(self) -> str:
        """What `table` calls the column of the texts."""
        return f"{self.column} (file)" if self.column in ADDED else self.column

    @property
    def too_long(self) -> int:
        """How many texts the endpoint did not take."""
        return self.records.count(None)


@dataclass(frozen=True)
class Filter:
    """Which rows to show: of these sentiments, with a probability within these bounds, holding these words; unsure ones alone."""

    sentiments: Sequence[str]
    low: float = 0.0
    high: float = 1.0
    words: str = ""
    unsure: bool = False

    def of(self, table: pd.DataFrame, column: str) -> pd.DataFrame:
        """Return the rows of a job's table that pass; `column` holds the texts."""
        kept = table["sentiment"].isin(list(self.sentiments)) & table["probability_positive"].between(
            self.low, self.high
        )
        if self.unsure:
            kept &= table["unsure"]
        for word in self.words.split():
            kept &= table[column].str.contains(word, case=False, regex=False)
        return table[kept]

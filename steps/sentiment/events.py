"""What an endpoint told of its answers, gathered: one row for each answered text, and the last verdict on each that was judged.

Each event is counted once, whatever its `itemCount`: what sampling has left out adds nothing to what a test can know.
"""

import gzip
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pandas as pd

from steps.sentiment import command_line, envelopes
from steps.sentiment.command_line import InputError
from steps.sentiment.predictions import LABELS
from steps.sentiment.reference import TRAITS

#: Measurements of a prediction that are kept.
MEASURED = ("score", "characters", "words", *TRAITS)
#: What each event must carry, by name: its properties and its measurements.
CARRIED: dict[str, tuple[Collection[str], Collection[str]]] = {
    "prediction": (("prediction_id", "model_version", "label", "unsure"), MEASURED),
    "feedback": (("prediction_id", "expected"), ()),
}
_STEP = 10_000


class Gatherer(Protocol):
    """Takes events one by one, in any order; it may be told one twice."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `customEvents`, as `envelopes.rows` gives it.

        Raises:
            ValueError, KeyError, TypeError: it is not as an endpoint tells it.
        """


@dataclass(frozen=True)
class Events:
    """What was told within a time.

    `predictions` has a row for each answered text: `model_version`, the measurements, `unsure` (0 or 1), `label` (1: positive) and
    `expected`, the last verdict on it (1: positive; -1: none). `unknown` verdicts are on texts of which no prediction is there.
    """

    predictions: pd.DataFrame
    repeated: int
    unknown: int
    first: datetime | None
    last: datetime | None

    def of(self, version: str) -> "Events":
        """Return these with the predictions of one version of the model alone."""
        own = self.predictions[self.predictions["model_version"] == version]
        return Events(own.reset_index(drop=True), self.repeated, self.unknown, self.first, self.last)


class Gathering:
    """Takes events one by one, in any order, and drops repeated deliveries; a million of them take about 300 MB."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._columns = {name: array("d") for name in (*MEASURED, "unsure", "label")}
        self._versions: dict[str, int] = {}
        self._version = array("l")
        self._verdicts: dict[str, tuple[datetime, int]] = {}
        self._repeated = 0
        self._first: datetime | None = None
        self._last: datetime | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row of `customEvents`, as `envelopes.rows` gives it; other events than ours are passed over.

        Raises:
            ValueError, KeyError, TypeError: it is not as an endpoint tells it.
        """
        if row["name"] not in CARRIED:
            return
        when, said = row["timestamp"], row["customDimensions"]
        if row["name"] == "feedback":
            verdict = (when, _label("expected", said))
            before = self._verdicts.get(said["prediction_id"])
            if before is None or before[0] <= when:
                self._verdicts[said["prediction_id"]] = verdict
            return
        values = [float(row["customMeasurements"][name]) for name in MEASURED]
        if not 0 <= values[0] <= 1 or not all(0 <= value < np.inf for value in values):
            raise ValueError(
                f"measurements {row['customMeasurements']!r}, of which none may be below 0 and no score above 1"
            )
        if said["unsure"] not in ("true", "false"):
            raise ValueError(f"unsure={said['unsure']!r}, which must be true or false")
        label, version = _label("label", said), said["model_version"]
        if self._rows.setdefault(said["prediction_id"], len(self._version)) != len(self._version):
            self._repeated += 1
            return
        for name, value in zip(self._columns, (*values, said["unsure"] == "true", label), strict=True):
            self._columns[name].append(value)
        self._version.append(self._versions.setdefault(version, len(self._versions)))
        self._first = when if self._first is None else min(self._first, when)
        self._last = when if self._last is None else max(self._last, when)

    def events(self) -> Events:
        """Return what was gathered."""
        frame = pd.DataFrame({name: np.asarray(values) for name, values in self._columns.items()})
        codes = np.asarray(self._version)
        frame["model_version"] = pd.Categorical.from_codes(codes, list(self._versions))
        expected = np.full(len(frame), -1)
        unknown = 0
        for prediction_id, (_, label) in self._verdicts.items():
            row = self._rows.get(prediction_id)
            if row is None:
                unknown += 1
            else:
                expected[row] = label
        frame["expected"] = expected
        return Events(frame, self._repeated, unknown, self._first, self._last)


def _label(name: str, said: Mapping[str, str]) -> int:
    if said[name] not in LABELS:
        raise ValueError(f"{name}={said[name]!r}, which must be one of {', '.join(LABELS)}")
    return LABELS.index(said[name])


def gather(paths: Sequence[Path], into: Gatherer) -> None:
    """Read captured envelopes: files of lines, each an envelope or an array of them in JSON; `.gz` ones are unpacked.

    Raises:
        InputError: a file is not there, or a line of it is no envelope of an endpoint's.
    """
    for path in paths:
        try:
            _read(path, into)
        except (OSError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"events={path}: {reason}; allowed: files of envelopes, separated by commas") from error


def _read(path: Path, into: Gatherer) -> None:
    with (
        path.open("rb") as raw,
        gzip.open(raw) if path.suffix == ".gz" else raw as lines,
        command_line.progress(total=path.stat().st_size, desc=path.name, unit="B") as bar,
    ):
        for number, line in enumerate(lines, 1):
            try:
                found = orjson.loads(line) if line.strip() else []
                for table, row in envelopes.rows(found if isinstance(found, list) else [found]):
                    if table == "customEvents":
                        into.add(row)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                raise InputError(
                    f"events={path}: line {number} is no envelope of an endpoint's ({reason(error)}); allowed: lines of JSON, "
                    "each an envelope or an array of them"
                ) from error
            if number % _STEP == 0:
                bar.update(raw.tell() - bar.n)


def reason(error: Exception) -> str:
    """Return in a few words why something is no event, from what `Gathering.add` raised."""
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    if isinstance(error, orjson.JSONDecodeError):
        return "no JSON"
    return str(error) if isinstance(error, ValueError) else "another structure"

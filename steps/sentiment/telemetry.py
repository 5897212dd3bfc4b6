"""Events of an endpoint, told in a thread of their own: a request only leaves a note of what it was.

Each request to /invocations or /feedback becomes a span, each answered text an event `prediction`, each verdict an event `feedback`,
each failure of ours an exception. The notes wait in a queue with bounds; what finds no room is dropped and counted, and no request
ever waits. `Silence` is told the same and does nothing: it stands where there is nobody to tell.
"""

import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from steps.sentiment import slices
from steps.sentiment.bodies import Verdict
from steps.sentiment.model import TOKEN, clean
from steps.sentiment.predictions import Prediction
from steps.sentiment.reference import TRAITS

#: Most texts and characters that wait to be told.
MOST_TEXTS, MOST_CHARACTERS = 40_000, 32 * 2**20
#: Seconds between two rounds of telling, and events after which what was told is sent off: below the queue of the SDK, which
#: would drop the rest without a count.
ROUND_SECONDS, ROUND_EVENTS = 1.0, 512
#: What else the packages would send, and where they would look, unless told otherwise: usage figures of Microsoft's (two kinds) and of
#: MLflow's, feature flags fetched hourly, the cloud's metadata address. The pipelines of logs and metrics are ours, or none.
QUIET = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    # Spans, too, leave when they are flushed, from the one thread that tells: two threads that begin to export at once can break
    # the exporter's classes, which are completed at their first use.
    "OTEL_BSP_SCHEDULE_DELAY": "3600000",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1024",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}

_TOKENS = re.compile(TOKEN).findall
_KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_logger = logging.getLogger("serve")


@dataclass
class Note:
    """What a request was: its times in nanoseconds since 1970 and in seconds, and what it led to."""

    method: str
    route: str
    began: int
    status: int = 0
    seconds: float = 0.0
    version: str = ""
    texts: list[str] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    feedback: tuple[Prediction, Verdict] | None = None
    error: BaseException | None = None


class Line(Protocol):
    """Where events go: `insights.Insights`, or what a test puts in its place."""

    def request(self, note: Note) -> Any:
        """Send a span, and return the context of what belongs to it."""

    def event(
        self, name: str, when: int, properties: dict[str, str], measurements: dict[str, float], context: Any
    ) -> None:
        """Send an event."""

    def exception(self, error: BaseException, when: int, context: Any) -> None:
        """Send a failure, without its message, which may repeat what a person wrote."""

    def flush(self) -> None:
        """Return when what was sent has arrived, lies on disk, or is given up."""

    def hurry(self) -> None:
        """Try no more: what is flushed from now on goes straight to the disk."""


class Silence:
    """Tells nobody."""

    def saw(self, note: Note) -> None:
        """Do nothing."""

    def serves(self, folders: Mapping[str, Path]) -> None:
        """Do nothing."""

    def stop(self, seconds: float) -> None:
        """Do nothing."""


class Telemetry:
    """Tells what it saw over a line."""

    def __init__(self, line: Line, count: Callable[[str, int], None], text_characters: int) -> None:
        """Begin.

        Args:
            line: where events go.
            count: is told "dropped" and how many events found no room.
            text_characters: of each text, the first of them are sent along; 0: no text leaves the endpoint.
        """
        self._line, self._count, self._text_characters = line, count, text_characters
        self._notes: deque[Note] = deque()
        self._texts = self._characters = self._unflushed = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._vocabularies: dict[str, Collection[str]] = {}
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def saw(self, note: Note) -> None:
        """Take a note, if there is room for it."""
        characters = sum(map(len, note.texts))
        with self._changed:
            if self._texts + len(note.texts) > MOST_TEXTS or self._characters + characters > MOST_CHARACTERS:
                self._count("dropped", max(len(note.texts), 1))
                return
            self._notes.append(note)
            self._texts += max(len(note.texts), 1)
            self._characters += characters
            if self._texts >= ROUND_EVENTS:
                self._changed.notify()

    def serves(self, folders: Mapping[str, Path]) -> None:
        """Take the vocabularies of the versions that answer from now on, and where their files are."""
        known = self._vocabularies
        self._vocabularies = {version: known.get(version) or vocabulary(folders[version]) for version in folders}

    def stop(self, seconds: float) -> None:
        """Tell what is left, for at most so many seconds; the rest is dropped and counted."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds / 2)
        self._line.hurry()  # the service is slow: the rest to the disk, also what the SDK does as the interpreter ends
        self._thread.join(seconds / 2)
        with self._changed:
            left, self._texts = self._texts, 0
            self._notes.clear()
        if left:
            self._count("dropped", left)
            _logger.error("telemetry: %d events dropped, they did not leave within %.0f seconds", left, seconds)

    def _run(self) -> None:
        last = False
        while not last:
            with self._changed:
                if not self._stopping and self._texts < ROUND_EVENTS:
                    self._changed.wait(ROUND_SECONDS)
                last = self._stopping
            self._round()

    def _round(self) -> None:
        # Tells what has gathered and sees it off.
        while True:
            with self._changed:
                if not self._notes:
                    break
                note = self._notes.popleft()
            try:
                self._tell(note)
            except Exception:  # a note that cannot be told must not silence the rest
                _logger.exception("telemetry: an event could not be sent")
                self._count("lost", max(len(note.texts), 1))
            with self._changed:
                self._texts = max(self._texts - max(len(note.texts), 1), 0)
                self._characters -= sum(map(len, note.texts))
        self._flush(0)

    def _flush(self, most: int) -> None:
        # Sees off what was told, if it is more than so many events.
        if self._unflushed > most:
            self._line.flush()
            self._unflushed = 0

    def _tell(self, note: Note) -> None:
        self._flush(ROUND_EVENTS - 1)
        self._unflushed += 1
        context = self._line.request(note)
        ended = note.began + int(note.seconds * 1e9)
        for text, answer in zip(note.texts, note.answers, strict=True):
            self._flush(ROUND_EVENTS - 1)
            self._unflushed += 1
            properties, measurements = self._prediction(note, text, answer)
            self._line.event("prediction", ended, properties, measurements, context)
        if note.feedback:
            self._line.event("feedback", ended, *_feedback(*note.feedback), context)
        if note.error:
            self._line.exception(note.error, ended, context)

    def _prediction(self, note: Note, text: str, answer: dict[str, Any]) -> tuple[dict[str, str], dict[str, float]]:
        words = _TOKENS(clean(text))
        properties = {
            "prediction_id": answer["prediction_id"],
            "model_version": note.version,
            "label": answer["label"],
            "unsure": _said(answer["unsure"]),
            "truncated": _said(answer["truncated"]),
        }
        if self._text_characters:
            properties["text"] = text[: self._text_characters]
        measurements = {
            "score": answer["score"],
            "characters": len(text),
            "words": len(text.split()),
            "latency_ms": round(1000 * note.seconds, 3),
            "rows": len(note.texts),
            **{name: float(there) for name, there in slices.of(text, TRAITS).items()},
        }
        if known := self._vocabularies.get(note.version):
            unknown = sum(word not in known for word in words)
            measurements["out_of_vocabulary"] = round(unknown / max(len(words), 1), 4)
        return properties, measurements


def open_telemetry(
    connection_string: str, cache: Path | None, text_characters: int, count: Callable[[str, int], None]
) -> Telemetry | Silence:
    """Return who is told: the Application Insights resource of a connection string, or nobody if it is empty.

    Args:
        connection_string: as the portal shows it.
        cache: folder for what could not be sent; None: one in the system's temporary folder.
        text_characters: of each text, the first of them are sent along; 0: no text leaves the endpoint.
        count: is told "sent", "cached", "lost" or "dropped" and how many events.
    """
    if not connection_string:
        return Silence()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from steps.sentiment.insights import Insights  # noqa: PLC0415 - takes a second, and reads QUIET

    return Telemetry(Insights(connection_string, cache, count), count, text_characters)


def wrong(connection_string: str) -> str:
    """Return what is wrong with a connection string, or an empty text; it is a secret and is not repeated."""
    pairs = [part.partition("=") for part in connection_string.strip(";").split(";")]
    found = {name.strip().lower(): value for name, _, value in pairs}
    if not _KEY.fullmatch(found.get("instrumentationkey", "")):
        return "InstrumentationKey is missing or not a UUID"
    address = found.get("ingestionendpoint", "https://default")
    try:
        urlsplit(address).port  # noqa: B018 - one beyond 65535 is found out when it is read
    except ValueError:
        return "IngestionEndpoint is not a URL"
    return "" if re.match(r"https?://[^/\s:]", address) else "IngestionEndpoint is not a URL"


def _feedback(prediction: Prediction, verdict: Verdict) -> tuple[dict[str, str], dict[str, float]]:
    properties = {
        "prediction_id": verdict.prediction_id,
        "model_version": prediction.version,
        "predicted": prediction.label,
        "expected": verdict.expected,
        "mispredicted": _said(prediction.label != verdict.expected),
        "keep": _said(bool(verdict.text)),
    }
    for name, text in (("text", verdict.text), ("comment", verdict.comment)):
        if text:
            properties[name] = text
    return properties, {"seconds_after_prediction": round(max(time.time() - prediction.time, 0.0), 3)}


def _said(value: bool) -> str:
    # The SDK would write "True": what a person queries for is "true".
    return "true" if value else "false"


def vocabulary(folder: Path) -> Collection[str]:
    """Return the words that the model in a folder knows whole, from its `words.json` or `tokenizer.json`; none if it has neither."""
    for path in sorted((folder / "artifacts").rglob("words.json")):
        return frozenset(json.loads(path.read_text(encoding="utf-8")))
    for path in sorted((folder / "artifacts").rglob("tokenizer.json")):
        words = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
        return frozenset(words if isinstance(words, dict) else (word for word, _ in words))
    return ()

"""What is told of a request, to a line that stands in for the service; what the service itself receives, tests/steps shows."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from steps.sentiment import telemetry
from steps.sentiment.telemetry import Note, Telemetry, vocabulary, wrong
from tests.conftest import ROOT


class Line:
    """Keeps what it is sent; `gate` holds up a flush, as a slow service does."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.flushed = self.longest = 0
        self.hurried = False
        self.gate = threading.Event()
        self.gate.set()

    def request(self, note: Note) -> str:
        return "context"

    def event(
        self, name: str, when: int, properties: dict[str, str], measurements: dict[str, float], context: Any
    ) -> None:
        assert context == "context"
        self.sent.append(properties["prediction_id"])
        self.longest = max(self.longest, len(self.sent) - self.flushed)

    def exception(self, error: BaseException, when: int, context: Any) -> None:
        self.sent.append(type(error).__name__)

    def flush(self) -> None:
        self.gate.wait(0 if self.hurried else 10)
        self.flushed = len(self.sent)

    def hurry(self) -> None:
        self.hurried = True
        self.gate.set()


def note(*ids: str, text: str = "a text") -> Note:
    answers = [
        {"prediction_id": one, "label": "positive", "score": 0.9, "unsure": False, "truncated": False} for one in ids
    ]
    return Note("POST", "/invocations", time.time_ns(), 200, 0.01, "3", [text] * len(ids), answers)


def begun(line: Line) -> tuple[Telemetry, dict[str, int]]:
    counts: dict[str, int] = {}

    def count(fate: str, number: int) -> None:
        counts[fate] = counts.get(fate, 0) + number

    return Telemetry(line, count, 0), counts


def test_all_is_told_in_order_and_seen_off_before_a_queue_overflows() -> None:
    line = Line()
    told, counts = begun(line)
    expected = []
    for number in range(30):
        ids = [f"{number}-{row}" for row in range(number * 50)]
        expected += ids
        told.saw(note(*ids))
    told.stop(30)
    assert line.sent == expected
    assert line.flushed == len(expected)
    assert line.longest <= telemetry.ROUND_EVENTS
    assert counts == {}


def test_what_finds_no_room_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "MOST_TEXTS", 100)
    monkeypatch.setattr(telemetry, "MOST_CHARACTERS", 2000)
    line = Line()
    line.gate.clear()
    told, counts = begun(line)
    told.saw(note(*(["x"] * 90)))
    told.saw(note(*(["x"] * 20)))
    told.saw(note("x", text="long " * 500))
    assert counts == {"dropped": 21}
    told.saw(note(*(["y"] * 5)))
    told.stop(4)
    assert len(line.sent) == 95


def test_a_service_that_does_not_answer_holds_up_a_stop_only_so_long() -> None:
    line = Line()
    line.gate.clear()
    told, counts = begun(line)
    for number in range(3000):
        told.saw(note(str(number)))
    start = time.monotonic()
    told.stop(4)
    assert time.monotonic() - start < 5
    assert line.hurried
    assert len(line.sent) == 3000  # the rest went the quick way, to the disk
    assert counts == {}


def test_a_note_that_cannot_be_told_silences_no_other() -> None:
    line = Line()
    told, counts = begun(line)
    broken = note("broken")
    broken.answers[0].pop("score")
    for one in (broken, note("whole")):
        told.saw(one)
    told.stop(10)
    assert line.sent == ["whole"]
    assert counts == {"lost": 1}


def test_a_failure_is_told_by_its_kind() -> None:
    line = Line()
    told, _ = begun(line)
    failed = note()
    failed.error = ValueError("a tweet that someone wrote")
    told.saw(failed)
    told.stop(10)
    assert line.sent == ["ValueError"]


def test_without_a_connection_string_nothing_of_azure_is_loaded() -> None:
    script = (
        "import sys\nfrom steps.sentiment import telemetry\nnobody = telemetry.open_telemetry('', None, 0, print)\n"
        "nobody.saw(telemetry.Note('POST', '/', 0)); nobody.stop(1)\n"
        "print([name for name in sys.modules if name.startswith(('azure.monitor', 'azure.core'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


GUID = "00000000-0000-0000-0000-00000000000a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"InstrumentationKey={GUID}", ""),
        (f"InstrumentationKey={GUID};IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/;", ""),
        ("InstrumentationKey=", "InstrumentationKey is missing or not a UUID"),
        ("InstrumentationKey=1234", "InstrumentationKey is missing or not a UUID"),
        ("IngestionEndpoint=https://x/", "InstrumentationKey is missing or not a UUID"),
        ("nonsense", "InstrumentationKey is missing or not a UUID"),
        (f"InstrumentationKey={GUID};IngestionEndpoint=ftp://x", "IngestionEndpoint is not a URL"),
        (f"InstrumentationKey={GUID};IngestionEndpoint=http://", "IngestionEndpoint is not a URL"),
        (f"InstrumentationKey={GUID};IngestionEndpoint=http://x:99999/", "IngestionEndpoint is not a URL"),
    ],
)
def test_a_malformed_connection_string_is_seen_before_it_is_used(text: str, reason: str) -> None:
    assert wrong(text) == reason


def test_a_vocabulary_comes_from_the_files_of_the_model(tmp_path: Path) -> None:
    assert vocabulary(tmp_path) == ()
    assert {"love", "flight"} <= set(vocabulary(ROOT / "data/champion/model"))
    (tmp_path / "artifacts/model").mkdir(parents=True)
    (tmp_path / "artifacts/model/words.json").write_text(json.dumps(["good", "bad"]))
    assert set(vocabulary(tmp_path)) == {"good", "bad"}

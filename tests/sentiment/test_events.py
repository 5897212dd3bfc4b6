"""Captured envelopes become rows: each prediction once, with its last verdict; what is no envelope is named by file and line."""

import gzip
import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest

from steps.sentiment import events
from steps.sentiment.command_line import InputError
from tests.streams import PROFILE, START, drawn, envelope, judged, read

TWEETS = drawn(PROFILE, 4, seed=0).to_dict("records")
LATER = START + timedelta(minutes=1)
PREDICTIONS = [envelope(str(number), tweet, "3") for number, tweet in enumerate(TWEETS)]


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def test_a_prediction_is_a_row_with_its_measurements(tmp_path: Path) -> None:
    found = read([written(tmp_path / "captured.jsonl", *PREDICTIONS)]).predictions
    assert found["model_version"].tolist() == ["3"] * 4
    for name in (*events.MEASURED, "unsure", "label"):
        assert found[name].tolist() == [tweet[name] for tweet in TWEETS], name
    assert found["expected"].tolist() == [-1] * 4


def test_arrays_blank_lines_packed_files_and_other_envelopes_are_read(tmp_path: Path) -> None:
    metric = {
        "name": "M",
        "time": "2026-11-01T00:00:00Z",
        "tags": {},
        "data": {"baseType": "MetricData", "baseData": {}},
    }
    other = json.loads(json.dumps(PREDICTIONS[0]).replace('"prediction"', '"another"'))
    first = written(tmp_path / "first.jsonl", [metric, *PREDICTIONS[:2]], other)
    with first.open("a") as file:
        file.write("\n")
    (second := tmp_path / "second.jsonl.gz").write_bytes(gzip.compress(json.dumps(PREDICTIONS[2:]).encode()))
    found = read([first, second])
    assert len(found.predictions) == 4
    assert (found.first, found.last) == (START, START)


def test_a_prediction_that_arrives_twice_counts_once(tmp_path: Path) -> None:
    found = read([written(tmp_path / "captured.jsonl", *PREDICTIONS, *PREDICTIONS[:2])])
    assert (len(found.predictions), found.repeated) == (4, 2)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_last_verdict_wins_in_whatever_order_all_arrives(tmp_path: Path, order: tuple[int, ...]) -> None:
    told = [PREDICTIONS[0], judged("0", TWEETS[0], 0, "3", START), judged("0", TWEETS[0], 1, "3", LATER)]
    stranger = judged("of another day", TWEETS[0], 0, "3")
    found = read([written(tmp_path / "captured.jsonl", stranger, *(told[number] for number in order))])
    assert found.predictions["expected"].tolist() == [1]
    assert found.unknown == 1


def test_versions_are_told_apart(tmp_path: Path) -> None:
    other = envelope("other", TWEETS[0], "4")
    found = read([written(tmp_path / "captured.jsonl", other, *PREDICTIONS)])
    assert len(found.of("3").predictions) == 4
    assert found.of("4").predictions["score"].tolist() == [TWEETS[0]["score"]]
    assert found.of("5").predictions.empty


def without(name: str) -> dict:
    changed = json.loads(json.dumps(PREDICTIONS[0]))
    for bag in ("properties", "measurements"):
        changed["data"]["baseData"][bag].pop(name, None)
    return changed


def with_(**values: object) -> dict:
    changed = json.loads(json.dumps(PREDICTIONS[0]))
    bags = changed["data"]["baseData"]
    for name, value in values.items():
        bags["measurements" if name in bags["measurements"] else "properties"][name] = value
    return changed


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a text", "another structure"),
        (17, "another structure"),
        ({"text": "hello"}, "no data"),
        ([PREDICTIONS[0], None], "another structure"),
        ({**PREDICTIONS[0], "time": "yesterday"}, "yesterday"),
        (without("capitals"), "no capitals"),
        (without("prediction_id"), "no prediction_id"),
        (with_(score=1.5), "no score above 1"),
        (with_(characters=-1), "none may be below 0"),
        (with_(words="many"), "many"),
        (with_(words=None), "another structure"),
        (with_(label="neutral"), "label='neutral', which must be one of negative, positive"),
        (with_(unsure="True"), "unsure='True', which must be true or false"),
        (with_(model_version=3), "allowed: texts"),
    ],
)
def test_what_is_no_envelope_is_named_by_file_and_line(tmp_path: Path, line: object, reason: str) -> None:
    path = written(tmp_path / "captured.jsonl", *PREDICTIONS[1:], line)
    with pytest.raises(InputError) as error:
        read([path])
    message = str(error.value)
    assert message.startswith(f"events={path}: line 4 is no envelope of an endpoint's (")
    assert reason in message
    assert message.endswith("allowed: lines of JSON, each an envelope or an array of them")
    assert "\n" not in message


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jsonl: No such file or directory; allowed: files of envelopes"):
        read([tmp_path / "nowhere.jsonl"])
    (text := tmp_path / "notes.txt").write_text("what I thought of it\n")
    with pytest.raises(InputError, match=r"line 1 is no envelope of an endpoint's \(no JSON\)"):
        read([text])
    (packed := tmp_path / "cut.gz").write_bytes(gzip.compress(json.dumps(PREDICTIONS).encode())[:-20])
    with pytest.raises(InputError, match=r"cut\.gz: "):
        read([packed])
    (false := tmp_path / "false.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"false\.gz: "):
        read([false])


def test_an_empty_file_holds_no_event(tmp_path: Path) -> None:
    found = read([written(tmp_path / "captured.jsonl")])
    assert found.predictions.empty
    assert found.first is None

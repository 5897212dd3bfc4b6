"""What arrives at Application Insights: a loopback service reads the envelopes that a real endpoint sends."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Ingestion, Server, ingestion, serve, wait_for

TEXTS = ["@AirParadis lost my bag https://t.co/x :(", "zzyzx qwrtp", "the crew was lovely"]


def told(service: Ingestion, **flags: str) -> dict[str, str]:
    return {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string, **flags}


@pytest.fixture(scope="module")
def served(service: Ingestion, champions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with serve(folder, champions, "--telemetry_cache", str(folder / "cache"), **told(service)) as server:
        yield server


def test_a_prediction_carries_numbers_as_measurements_and_no_text(served: Server, service: Ingestion) -> None:
    records = served.ask(TEXTS)
    wait_for(lambda: {record["prediction_id"] for record in records} <= set(service.ids()), 20)
    by_id = {event["properties"]["prediction_id"]: event for event in service.events("prediction")}
    for text, record in zip(TEXTS, records, strict=True):
        event = by_id[record["prediction_id"]]
        properties, measurements = event["properties"], event["measurements"]
        assert properties["model_version"] == "1"
        assert properties["label"] == record["label"]
        assert properties["unsure"] == str(record["unsure"]).lower()
        assert properties["truncated"] == "false"
        assert measurements["score"] == record["score"]
        assert (measurements["characters"], measurements["words"]) == (len(text), len(text.split()))
        assert measurements["rows"] == len(TEXTS)
        assert 0 < measurements["latency_ms"] < 60_000
        assert set(properties) == {"prediction_id", "model_version", "label", "unsure", "truncated", "logger_name"}
    first, unknown, known = (by_id[record["prediction_id"]]["measurements"] for record in records)
    assert [first[trait] for trait in ("mention", "link", "emoji")] == [1, 1, 1]
    assert [known[trait] for trait in ("mention", "link", "emoji")] == [0, 0, 0]
    assert unknown["out_of_vocabulary"] == 1 > known["out_of_vocabulary"]
    with service.lock:
        everything = json.dumps(service.envelopes)
    assert "AirParadis" not in everything
    assert "zzyzx" not in everything


def test_a_request_is_a_span_that_its_events_belong_to(served: Server, service: Ingestion) -> None:
    count = len(service.data("RequestData"))
    for _ in range(20):  # the package alone would keep five a second
        served.ask(TEXTS[:1])
    served.post("/invocations", {"inputs": None})
    wait_for(lambda: len(service.data("RequestData")) >= count + 21, 20)
    with service.lock:
        by_type: dict[str, list[Any]] = {"RequestData": [], "EventData": []}
        for envelope in service.envelopes:
            by_type.get(envelope["data"]["baseType"], []).append(envelope)
    request, *_, refused = by_type["RequestData"][count:]
    assert request["data"]["baseData"]["name"] == "POST /invocations"
    assert (request["data"]["baseData"]["responseCode"], request["data"]["baseData"]["success"]) == ("200", True)
    assert (refused["data"]["baseData"]["responseCode"], refused["data"]["baseData"]["success"]) == ("400", False)
    assert request["tags"]["ai.cloud.role"] == "tweet-sentiment"
    assert re.search(rf"-{served.process.pid}$", request["tags"]["ai.cloud.roleInstance"])
    operations = {one["tags"]["ai.operation.id"] for one in by_type["RequestData"]}
    assert {one["tags"]["ai.operation.id"] for one in by_type["EventData"]} <= operations


def test_a_verdict_is_an_event_with_what_was_said_and_kept(served: Server, service: Ingestion) -> None:
    (record,) = served.ask(TEXTS[:1])
    other = "positive" if record["label"] == "negative" else "negative"
    verdict = {
        "prediction_id": record["prediction_id"],
        "expected": other,
        "text": "kept " * 5000,
        "comment": "c" * 2000,
    }
    served.post("/feedback", verdict)
    served.post("/feedback", verdict | {"keep": True})
    served.post("/feedback", verdict | {"expected": record["label"], "text": None, "comment": None})
    wait_for(lambda: service.ids("feedback").count(record["prediction_id"]) == 3, 20)
    events = [
        one for one in service.events("feedback") if one["properties"]["prediction_id"] == record["prediction_id"]
    ]
    silent, kept, right = (event["properties"] for event in events)
    assert (silent["mispredicted"], silent["predicted"], silent["expected"]) == ("true", record["label"], other)
    assert "text" not in silent
    assert (silent["keep"], kept["keep"], right["keep"]) == ("false", "true", "false")
    assert (len(kept["text"]), len(kept["comment"])) == (8192, 1000)  # the service cuts a property there
    assert right["mispredicted"] == "false"
    assert events[0]["measurements"]["seconds_after_prediction"] >= 0


def test_text_is_sent_only_where_it_was_asked_for_and_then_cut(champions: Path, tmp_path: Path) -> None:
    with ingestion() as service, serve(tmp_path, champions, "--telemetry_text", "12", **told(service)) as server:
        server.ask(TEXTS)
        wait_for(lambda: len(service.events("prediction")) == 3, 20)
        assert [one["properties"]["text"] for one in service.events("prediction")] == [text[:12] for text in TEXTS]


def test_nothing_is_sent_on_the_side(served: Server, service: Ingestion) -> None:
    served.ask(TEXTS)
    time.sleep(2)
    assert set(service.paths) == {"/v2.1/track"}
    names = {one["metrics"][0]["name"] for one in service.data("MetricData")}
    assert names <= {"_OTELRESOURCE_"}
    assert not service.data("RemoteDependencyData")
    assert not service.data("MessageData")


def test_without_a_connection_string_nobody_is_told(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions) as server:
        server.ask(TEXTS)
        assert server.metric("sentiment_telemetry_events_total") == 0


def test_a_burst_of_twenty_thousand_arrives_whole(served: Server, service: Ingestion) -> None:
    sent = [record["prediction_id"] for _ in range(4) for record in served.ask([f"tweet {n}" for n in range(5000)])]
    assert len(set(sent)) == 20_000
    wait_for(lambda: set(sent) <= set(service.ids()), 120)
    # The service has an event before its answer is counted.
    wait_for(lambda: served.metric("sentiment_telemetry_events_total", fate="sent") >= 20_000, 20)
    for fate in ("dropped", "lost", "cached"):
        assert served.metric("sentiment_telemetry_events_total", fate=fate) == 0


@pytest.mark.parametrize(
    ("status", "headers", "fate"),
    [
        (400, {}, "lost"),
        (402, {}, "lost"),
        (429, {"Retry-After": "1"}, "cached"),
        (500, {}, "cached"),
        (503, {}, "cached"),
    ],
)
def test_what_the_service_refuses_is_counted(
    champions: Path, tmp_path: Path, status: int, headers: dict[str, str], fate: str
) -> None:
    answer = (status, headers, {"itemsReceived": 0, "itemsAccepted": 0, "errors": []})
    with ingestion(answer=lambda items: answer) as service:
        flags = ["--telemetry_cache", str(tmp_path / "cache")]
        with serve(tmp_path, champions, *flags, **told(service)) as server:
            server.ask(TEXTS)
            wait_for(lambda: server.metric("sentiment_telemetry_events_total", fate=fate) == 3, 20)
            assert server.metric("sentiment_telemetry_events_total") == 3
            server.ask(TEXTS)
            wait_for(lambda: server.metric("sentiment_telemetry_events_total", fate=fate) == 6, 20)
            said = server.log.read_text()
            assert (f"3 events lost, the service answered {status}" in said) == (fate == "lost")
            assert said.count("events could not be sent; they wait on disk") == (fate == "cached")  # once
    assert bool(list((tmp_path / "cache").glob("*.blob*"))) == (fate == "cached")


def test_of_a_batch_taken_in_part_the_rest_is_cached_or_lost(champions: Path, tmp_path: Path) -> None:
    def some(items: list[dict[str, Any]]) -> tuple[int, dict[str, str], Any]:
        events = [row for row, item in enumerate(items) if item["data"]["baseType"] == "EventData"]
        if len(events) < 3:
            return 200, {}, None
        errors = [
            {"index": events[0], "statusCode": 500, "message": "again, please"},
            {"index": events[1], "statusCode": 400, "message": "never"},
        ]
        return 206, {}, {"itemsReceived": len(items), "itemsAccepted": len(items) - 2, "errors": errors}

    with ingestion(answer=some) as service:
        flags = ["--telemetry_cache", str(tmp_path / "cache")]
        with serve(tmp_path, champions, *flags, **told(service)) as server:
            server.ask(TEXTS)
            wait_for(lambda: server.metric("sentiment_telemetry_events_total", fate="lost") == 1, 20)
            assert server.metric("sentiment_telemetry_events_total", fate="cached") == 1
            assert server.metric("sentiment_telemetry_events_total", fate="sent") == 1
            assert len(service.events("prediction")) == 1


def test_what_finds_no_room_on_disk_is_counted_as_lost(champions: Path, tmp_path: Path) -> None:
    with ingestion() as service:
        line = service.connection_string
    variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": line}
    taken = tmp_path / "cache"
    with serve(tmp_path, champions, "--telemetry_cache", str(taken), **variables) as server:
        shutil.rmtree(taken)
        taken.write_text("no folder any more")
        server.ask(TEXTS)
        wait_for(lambda: server.metric("sentiment_telemetry_events_total", fate="lost") == 3, 30)
        assert "3 events lost, there is no room for them on disk" in server.log.read_text()


def test_a_slow_service_slows_no_answer(champions: Path, tmp_path: Path) -> None:
    released = threading.Event()

    def slow(items: list[Any]) -> tuple[int, dict[str, str], None]:
        released.wait(2)
        return 200, {}, None

    with ingestion(answer=slow) as service, serve(tmp_path, champions, **told(service)) as server:
        server.ask(TEXTS)
        time.sleep(1.5)  # by now the thread that tells is waiting for the service
        times = []
        for _ in range(50):
            start = time.perf_counter()
            server.ask(TEXTS)
            times.append(time.perf_counter() - start)
        released.set()
        assert sorted(times)[25] < 0.5
        wait_for(lambda: len(service.events("prediction")) == 51 * 3, 30)

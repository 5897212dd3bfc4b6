"""Real verdicts at a real endpoint, read from the envelopes that it sends: what queries may ask for, and whether the alert fires."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steps.sentiment import alert, envelopes
from tests import kql
from tests.serving import Ingestion, Server, all_answer, ingestion, serve, wait_for

TEXTS = ["the crew was lovely", "lost my bag again", "what a flight", "@AirParadis never again https://t.co/x :("]
LABELS = {"positive": "negative", "negative": "positive"}


@contextmanager
def served(service: Ingestion, champions: Path, folder: Path, *flags: str) -> Iterator[Server]:
    variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string}
    with serve(folder, champions, "--telemetry_cache", str(folder / "cache"), *flags, **variables) as server:
        yield server


def judged(server: Server, record: dict[str, Any], right: bool = False, **more: Any) -> None:
    expected = record["label"] if right else LABELS[record["label"]]
    status, found = server.post("/feedback", {"prediction_id": record["prediction_id"], "expected": expected, **more})
    assert (status, found["mispredicted"]) == (200, not right)


def captured(service: Ingestion, feedback: int) -> list[dict[str, Any]]:
    """Return the envelopes, once so many verdicts are among them."""
    wait_for(lambda: len(service.events("feedback")) >= feedback, 20)
    assert len(service.events("feedback")) == feedback
    with service.lock:
        return list(service.envelopes)


def test_the_schema_of_the_queries_is_that_of_what_is_sent(champions: Path, tmp_path: Path) -> None:
    # After a change of an attribute, what is found here belongs into tests/kusto/schema.json, and the queries must ask for it.
    with ingestion() as service, served(service, champions, tmp_path, "--telemetry_text", "20") as server:
        record, *_ = server.ask(TEXTS)
        judged(server, record, text=TEXTS[0], keep=True, comment="no")
        server.post("/invocations", {"inputs": None})
        wait_for(lambda: len(service.data("RequestData")) >= 3 and len(service.events("prediction")) == 4, 20)
        found = captured(service, 1)
    assert envelopes.schema(found) == kql.SCHEMA
    codes = sorted(row["resultCode"] for row in envelopes.tables(found)["requests"])
    assert codes == ["200", "200", "400"]
    assert {row["name"] for row in envelopes.tables(found)["requests"]} == {"POST /invocations", "POST /feedback"}


def test_two_workers_and_a_restart_between_the_second_and_the_third_verdict(champions: Path, tmp_path: Path) -> None:
    with ingestion() as service:
        with served(service, champions, tmp_path, "--workers", "2") as server:
            wait_for(lambda: all_answer(server, 2), 90)
            records = server.ask(TEXTS)
            judged(server, records[0])
            judged(server, records[0])  # the same tweet again
            instances = _from_another_worker(server, service, records[1])
            two = captured(service, 3 + instances)
            assert not alert.met(alert.reports(two))
        with served(service, champions, tmp_path) as server:  # the key outlives the process, and so do the ids
            judged(server, records[1], right=False)
            assert not alert.met(alert.reports(captured(service, 4 + instances)))
            judged(server, records[2])
            three = captured(service, 5 + instances)
            assert alert.met(alert.reports(three))
            judged(server, records[2], right=True)  # a slip of the hand
            assert not alert.met(alert.reports(captured(service, 6 + instances)))
    roles = {row["cloud_RoleInstance"] for row in envelopes.tables(three)["customEvents"] if row["name"] == "feedback"}
    assert len(roles) == 3


def _from_another_worker(server: Server, service: Ingestion, record: dict[str, Any]) -> int:
    # Sends a verdict until one has come through each of the two workers; returns how many it took beyond the first.
    for sent in range(60):
        judged(server, record)
        rows = envelopes.tables(captured(service, 3 + sent))["customEvents"]
        if len({row["cloud_RoleInstance"] for row in rows if row["name"] == "feedback"}) == 2:
            return sent
    raise AssertionError("all verdicts came through one worker")

"""The load on the endpoint (`make load`): its clients count right, and it does not overlook a loss. The load itself takes minutes."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.load_serve import Found, Tally, Told
from tests.serving import ingestion, serve, wait_for
from tests.traffic import JUDGED, Heard, Load

IDS = {f"id {number}" for number in range(10)}


def test_what_the_clients_heard_is_what_the_endpoint_answered_and_told(tmp_path: Path) -> None:
    with ingestion(service=Tally()) as service:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string, "TMPDIR": str(tmp_path)}
        flags = ["--model", "data/champion/model", "--telemetry_cache", str(tmp_path / "cache")]
        with serve(tmp_path, tmp_path, *flags, **variables) as server:

            async def asked() -> tuple[Heard, Heard]:
                load = Load(server.port)
                await load.connect()
                most, steady = await load.run(1), await load.run(2, rate=20)
                load.close()
                return most, steady

            most, steady = asyncio.run(asked())
            answered = len(most.ids) + len(steady.ids)
            assert server.metric("sentiment_answers_total") == answered
            wait_for(lambda: service.told.ids["prediction"].total() == answered, 30)  # type: ignore[attr-defined]
        told: Told = service.told  # type: ignore[attr-defined]
    assert not most.failed
    assert not steady.failed
    assert len(steady.seconds) == len(steady.ids) == 2 * 20
    assert set(told.ids["prediction"]) == most.ids | steady.ids
    assert set(told.ids["feedback"]) == most.judged | steady.judged
    assert len(most.judged | steady.judged) == answered // JUDGED
    assert told.spans == most.requests + steady.requests


def test_a_refusal_is_a_failed_request(tmp_path: Path) -> None:
    with serve(tmp_path, tmp_path, "--model", "data/champion/model", "--max_bytes", "5") as server:

        async def asked() -> Heard:
            load = Load(server.port)
            await load.connect()
            return await load.run(0.5, rate=20)

        assert asyncio.run(asked()).failed == {"413": 10}


def found(**changes: Any) -> Found:
    """Return what a load of one worker shows in which nothing went wrong, but for the changes."""
    heard = Heard(
        [0.01] * 10, [0.01] * 2, set(IDS), set(sorted(IDS)[:2]), Counter({"1": 4, "2": 3, "3": 3}), lasted=1.0
    )
    told = Told({"prediction": Counter(IDS), "feedback": Counter(sorted(IDS)[:2])}, spans=12)
    counted = {"sent": 12.0, "cached": 0.0, "lost": 0.0, "dropped": 0.0}
    return replace(Found(Heard(), heard, [100] * 600, told, counted, 2.0, 1, 1.0, 1.0, 10.0), **changes)


def told(prediction: Counter[str], spans: int = 12) -> Told:
    return Told({"prediction": prediction, "feedback": Counter(sorted(IDS)[:2])}, spans)


def test_a_load_without_a_loss_is_right() -> None:
    assert all(right for *_, right in found().judged())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"largest": Heard(failed=Counter({"429": 1}))}, "failed requests"),
        ({"told": told(Counter(IDS - {"id 3"}))}, "events `prediction`"),
        ({"told": told(Counter([*IDS, "id 3"]))}, "events `prediction`"),
        ({"told": told(Counter([*IDS, "another"]))}, "events `prediction`"),
        ({"told": told(Counter(IDS), spans=11)}, "spans"),
        ({"counted": {"sent": 11.0, "cached": 0.0, "lost": 1.0, "dropped": 0.0}}, "events counted by the endpoint"),
        ({"rate": 10.5}, "answers a second"),
        ({"switches": 1.0}, "changes of the model"),
        ({"memory": [100] * 300 + [106] * 300}, "memory, second tenth to last"),
        ({"stop_seconds": 10.5}, "stop"),
    ],
)
def test_a_loss_is_seen(changes: dict[str, Any], name: str) -> None:
    assert name in [row[0] for row in found(**changes).judged() if not row[-1]]


def test_a_version_that_was_never_heard_is_seen() -> None:
    wrong = found()
    wrong.load.versions = Counter({"1": 10})
    assert [row[0] for row in wrong.judged() if not row[-1]] == ["answers"]

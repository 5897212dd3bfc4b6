"""The queries answer on rows in memory, run by duckdb-kql: when each returns a row, and when none.

It is no engine of Microsoft's, and knows neither `prev` nor `row_cumsum`: the rule of the mispredicted tweets is run in
test_azure_queries.py.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb_kql
import numpy as np
import pytest

from registry_scripts.azure import queries
from steps.sentiment.reference import TRAITS
from tests import kql
from tests.conftest import ROOT

PROFILE = json.loads((ROOT / "data/champion/model/artifacts/model/profile.json").read_text())
RULES = queries.rules(PROFILE)
SQL = {"string": "varchar", "int": "integer", "real": "double", "datetime": "timestamp", "dynamic": "json"}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def engine() -> Iterator[Any]:
    """An engine with our tables, empty."""
    connection = duckdb_kql.connect()
    for table, columns in kql.SCHEMA["tables"].items():
        declared = ", ".join(f'"{column}" {SQL[kind]}' for column, kind in columns.items())
        connection.execute(f'create table "{table}" ({declared})')
    yield connection
    connection.close()


def fill(engine: Any, table: str, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(rows[0])
    names, marks = ", ".join(f'"{column}"' for column in columns), ", ".join("?" * len(columns))
    engine.executemany(f'insert into "{table}" ({names}) values ({marks})', [list(row.values()) for row in rows])


def answers(engine: Any, name: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = duckdb_kql.query(engine, RULES[name]["query"]).fetchall()
    return found


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def requests(name: str, status: int, count: int, items: int = 1) -> list[dict[str, Any]]:
    return [{"timestamp": now(), "name": name, "resultCode": str(status), "itemCount": items}] * count


def verdict(tweet: int, mispredicted: bool, second: int = 0, version: str = "3") -> dict[str, Any]:
    said = {"prediction_id": str(tweet), "model_version": version, "mispredicted": str(mispredicted).lower()}
    when = now() + timedelta(seconds=second)
    return {"timestamp": when, "name": "feedback", "customDimensions": json.dumps(said), "itemCount": 1}


def prediction(number: int, when: datetime | None = None, **measurements: float) -> dict[str, Any]:
    said = {"model_version": "3", "unsure": str(bool(measurements.pop("unsure", 0))).lower()}
    return {
        "timestamp": when or now(),
        "name": "prediction",
        "operation_Id": str(number),
        "customDimensions": json.dumps(said),
        "customMeasurements": json.dumps({"rows": 1.0, "latency_ms": 5.0, **measurements}),
        "itemCount": 1,
    }


def drawn(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return measurements of texts as the profile describes them, each of shape (rows,)."""
    dice = np.random.default_rng(seed)
    found = {}
    for feature, key in {"characters": "characters", "words": "words", "score": "scores"}.items():
        edges, counts = np.array(PROFILE[key]["edges"]), np.array(PROFILE[key]["counts"])
        bins = dice.choice(len(counts), size=rows, p=counts / counts.sum())
        found[feature] = edges[bins] + dice.uniform(size=rows) * (edges[bins + 1] - edges[bins])
    for feature in TRAITS:
        found[feature] = (dice.uniform(size=rows) < PROFILE["shares"][feature]).astype(float)
    found["unsure"] = (dice.uniform(size=rows) < PROFILE["unsure_share"]).astype(float)
    return {**found, "characters": np.floor(found["characters"]), "words": np.floor(found["words"])}


def told(measured: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    rows = len(measured["score"])
    return [prediction(row, **{name: float(values[row]) for name, values in measured.items()}) for row in range(rows)]


@pytest.mark.parametrize("name", ["error_rate", "failures", "latency", "volume", "drift"])
def test_where_nothing_was_told_there_is_no_row(engine: Any, name: str) -> None:
    assert answers(engine, name) == []


def test_failures_are_those_of_ours_and_enough_of_them(engine: Any) -> None:
    fill(engine, "requests", requests("POST /invocations", 200, 95) + requests("POST /feedback", 404, 100))
    fill(engine, "requests", requests("POST /invocations", 503, 5))
    assert answers(engine, "failures") == []  # 5 % is not more than 5 %
    fill(engine, "requests", requests("POST /invocations", 429, 1, items=4))  # sampled: stands for four
    ((name, asked, failed, rate),) = answers(engine, "failures")
    assert (name, asked, failed, rate) == ("POST /invocations", 104, 9, pytest.approx(9 / 104))


def test_few_requests_say_nothing(engine: Any) -> None:
    fill(engine, "requests", requests("POST /invocations", 500, 19))
    assert answers(engine, "failures") == []


def test_the_error_rate_is_of_tweets_by_their_last_verdict(engine: Any) -> None:
    fill(engine, "customEvents", [verdict(tweet, True) for tweet in range(40)])
    fill(engine, "customEvents", [verdict(tweet, tweet < 25, second=9) for tweet in range(40)])
    fill(engine, "customEvents", [verdict(tweet, True, version="4") for tweet in range(100, 129)])
    assert answers(engine, "error_rate") == [("3", 40, 25, 0.625)]
    fill(engine, "customEvents", [verdict(tweet, False, second=10) for tweet in range(5)])
    assert answers(engine, "error_rate") == []


def test_latency_is_that_of_requests_and_of_small_ones(engine: Any) -> None:
    fill(engine, "customEvents", [prediction(number, latency_ms=100.0) for number in range(100)])
    fill(engine, "customEvents", [prediction(1000, latency_ms=900.0, rows=64.0) for _ in range(64)])  # one request
    fill(engine, "customEvents", [prediction(number, latency_ms=900.0, rows=65.0) for number in range(2000, 2050)])
    assert answers(engine, "latency") == []
    fill(engine, "customEvents", [prediction(number, latency_ms=900.0) for number in range(3000, 3020)])
    assert answers(engine, "latency") == [(121, 900.0)]


@pytest.mark.parametrize(
    ("lately", "row"), [(39, True), (41, False), (200, False), (1000, False), (1001, True), (0, True)]
)
def test_volume_is_held_against_the_hour_of_the_day_before(engine: Any, lately: int, row: bool) -> None:
    then, before = now() - HOUR / 2, now() - DAY - HOUR / 2
    fill(engine, "customEvents", [prediction(number, before) for number in range(200)])
    if lately:
        fill(engine, "customEvents", [prediction(number, then) for number in range(lately)])
    fill(engine, "customEvents", [prediction(number, now()) for number in range(50)])  # the hour ends before these
    assert answers(engine, "volume") == ([(lately, 200)] if row else [])


def test_no_drift_is_no_row(engine: Any) -> None:
    fill(engine, "customEvents", told(drawn(600)))
    assert answers(engine, "drift") == []


@pytest.mark.parametrize(
    ("feature", "drift"),
    [
        ("characters", lambda values: values / 3),
        ("words", lambda values: values + 12),
        ("score", lambda values: 0.5 + values / 2),
        ("mention", lambda values: 0 * values),
        ("link", lambda values: 1 - values),
        ("emoji", lambda values: 1 - values),
        ("capitals", lambda values: 1 - values),
        ("unsure", lambda values: 1 - values),
    ],
)
def test_drift_of_a_feature_is_the_index_of_its_histograms(engine: Any, feature: str, drift: Any) -> None:
    measured = drawn(600)
    measured[feature] = np.floor(1e9 * drift(measured[feature])) / 1e9
    fill(engine, "customEvents", told(measured))
    ((version, name, psi, texts),) = answers(engine, "drift")
    assert (version, name, texts) == ("3", feature, 600)
    assert psi == pytest.approx(index(feature, measured[feature]), rel=1e-3)


def index(feature: str, values: np.ndarray) -> float:
    """Return the population stability index of values against the profile."""
    if feature in ("characters", "words", "score"):
        histogram = PROFILE["scores" if feature == "score" else feature]
        inner = np.array(histogram["edges"][1:-1])
        expected = np.array(histogram["counts"]) / PROFILE["rows"]
    else:
        share = PROFILE["unsure_share"] if feature == "unsure" else PROFILE["shares"][feature]
        inner, expected = np.array([0.5]), np.array([1 - share, share])
    actual = np.bincount(np.searchsorted(inner, values, side="right"), minlength=len(expected)) / len(values)
    actual, expected = np.maximum(actual, 1e-4), np.maximum(expected, 1e-4)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def test_few_texts_are_no_drift(engine: Any) -> None:
    fill(engine, "customEvents", told({**drawn(499), "mention": np.zeros(499)}))
    assert answers(engine, "drift") == []

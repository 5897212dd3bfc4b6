"""Envelopes as rows; what a served model really sends, tests/steps/test_serve_alert.py reads."""

from datetime import UTC, datetime
from typing import Any

import pytest

from steps.sentiment import envelopes


def envelope(kind: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    tags = {"ai.operation.id": "operation", "ai.cloud.role": "tweet-sentiment"}
    return {"time": "2026-11-01T12:00:00.250000Z", "tags": tags, "data": {"baseType": kind, "baseData": data}, **more}


EVENT = envelope(
    "EventData", {"name": "feedback", "properties": {"mispredicted": "true"}, "measurements": {"age": 1.5}}
)
REQUEST = envelope(
    "RequestData",
    {
        "name": "POST /invocations",
        "id": "1",
        "url": "http://x/invocations",
        "responseCode": "200",
        "duration": "0.00:01:02.500",
    },
    sampleRate=25,
)


def test_an_event_is_a_row_with_its_bags() -> None:
    (row,) = envelopes.tables([EVENT])["customEvents"]
    assert row["timestamp"] == datetime(2026, 11, 1, 12, 0, 0, 250_000, UTC)
    assert (row["name"], row["itemCount"], row["operation_Id"]) == ("feedback", 1, "operation")
    assert (row["customDimensions"], row["customMeasurements"]) == ({"mispredicted": "true"}, {"age": 1.5})


def test_a_request_is_a_row_that_may_stand_for_several() -> None:
    (row,) = envelopes.tables([REQUEST])["requests"]
    assert (row["name"], row["resultCode"], row["duration"]) == ("POST /invocations", "200", 62_500)
    assert row["itemCount"] == 4


def test_a_failure_is_a_row_by_its_type_and_a_metric_of_the_sdk_is_none() -> None:
    failure = envelope("ExceptionData", {"exceptions": [{"typeName": "ValueError"}]})
    metric = envelope("MetricData", {"metrics": [{"name": "_OTELRESOURCE_", "value": 0}]})
    found = envelopes.tables([failure, metric])
    assert set(found) == {"exceptions"}
    assert found["exceptions"][0]["type"] == "ValueError"


@pytest.mark.parametrize(
    ("duration", "expected"), [("0.00:00:00.006", 6), ("1.01:00:00.000", 90_000_000), ("0.00:00:01", 1000)]
)
def test_durations_are_milliseconds(duration: str, expected: float) -> None:
    assert envelopes.milliseconds(duration) == expected


def test_a_property_that_is_no_text_is_refused() -> None:
    # The service would turn it into one, and a query that compares with it would fall silent.
    wrong = envelope("EventData", {"name": "feedback", "properties": {"mispredicted": True}})
    with pytest.raises(ValueError, match="mispredicted"):
        envelopes.tables([wrong])


def test_the_schema_has_columns_with_their_types_and_the_bags_of_each_event() -> None:
    other = envelope("EventData", {"name": "prediction", "properties": {"label": "positive"}, "measurements": {}})
    found = envelopes.schema([EVENT, other, REQUEST])
    assert found["tables"]["requests"]["duration"] == "real"
    assert found["tables"]["customEvents"]["timestamp"] == "datetime"
    assert found["events"] == {
        "feedback": {"customDimensions": ["mispredicted"], "customMeasurements": ["age"]},
        "prediction": {"customDimensions": ["label"], "customMeasurements": []},
    }

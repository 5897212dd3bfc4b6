"""Envelopes of the telemetry as the rows that Application Insights makes of them.

The service keeps each kind of envelope in a table of its own: tags and data as columns, and what an event carries in two bags,
`customDimensions` (texts) and `customMeasurements` (numbers). So what was captured can be asked what the service would be asked.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

#: Kind of envelope -> table, as it is called where a query's scope is the Application Insights resource.
TABLES = {"EventData": "customEvents", "RequestData": "requests", "ExceptionData": "exceptions"}
_TAGS = {
    "operation_Id": "ai.operation.id",
    "operation_ParentId": "ai.operation.parentId",
    "cloud_RoleName": "ai.cloud.role",
    "cloud_RoleInstance": "ai.cloud.roleInstance",
}
_KQL = {str: "string", int: "int", float: "real", datetime: "datetime", dict: "dynamic"}


def tables(envelopes: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table, in the order of the envelopes; other kinds (metrics of the SDK) have none.

    Args:
        envelopes: as the service receives them, decoded from JSON.

    Raises:
        ValueError: one has no time that can be read, or another type where texts and numbers belong.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for table, row in rows(envelopes):
        found[table].append(row)
    return found


def rows(envelopes: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the table and the row of each envelope in turn, as `tables` gathers them.

    Raises:
        ValueError: as of `tables`.
        KeyError, TypeError: this is no envelope.
    """
    for envelope in envelopes:
        if table := TABLES.get(envelope["data"]["baseType"]):
            yield table, _row(table, envelope)


def _row(table: str, envelope: dict[str, Any]) -> dict[str, Any]:
    data, tags = envelope["data"]["baseData"], envelope["tags"]
    row: dict[str, Any] = {
        "timestamp": datetime.fromisoformat(envelope["time"]),
        # A sampled item stands for several; ours are never sampled by the endpoint, but the service may be told to.
        "itemCount": round(100 / envelope.get("sampleRate", 100)),
        "customDimensions": data.get("properties", {}),
        "customMeasurements": data.get("measurements", {}),
        **{column: tags[tag] for column, tag in _TAGS.items() if tag in tags},
    }
    if not all(isinstance(value, str) for value in row["customDimensions"].values()):
        raise ValueError(f"properties of an envelope: {row['customDimensions']!r}; allowed: texts")
    if table == "customEvents":
        row["name"] = data["name"]
    elif table == "requests":
        row |= {"name": data["name"], "id": data["id"], "url": data["url"], "resultCode": data["responseCode"]}
        row["duration"] = milliseconds(data["duration"])
    else:
        row["type"] = data["exceptions"][0]["typeName"]
    return row


def milliseconds(duration: str) -> float:
    """Return a duration as an envelope has it, `days.hours:minutes:seconds`, in milliseconds."""
    days, _, clock = duration.partition(".")
    hours, minutes, seconds = clock.split(":")
    return round(1000 * (86400 * int(days) + 3600 * int(hours) + 60 * int(minutes) + float(seconds)), 3)


def schema(envelopes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what a query can ask of these envelopes: the columns of each table with their KQL types, and the bags of each event.

    Returns:
        `tables`: table -> column -> type. `events`: event -> bag -> its sorted names.
    """
    columns: dict[str, dict[str, str]] = defaultdict(dict)
    events: dict[str, dict[str, set[str]]] = {}
    for table, rows in tables(envelopes).items():
        for row in rows:
            columns[table] |= {column: _KQL[type(value)] for column, value in row.items()}
            if table == "customEvents":
                bags = events.setdefault(row["name"], {"customDimensions": set(), "customMeasurements": set()})
                for bag, names in bags.items():
                    names.update(row[bag])
    return {
        "tables": {table: dict(sorted(columns[table].items())) for table in sorted(columns)},
        "events": {name: {bag: sorted(found) for bag, found in events[name].items()} for name in sorted(events)},
    }

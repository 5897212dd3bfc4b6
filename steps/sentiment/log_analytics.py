"""Events from a Log Analytics workspace or an Application Insights resource, through Microsoft's client of its query API.

An answer holds 500,000 rows and about 100 MB at most; the service says that the rest is missing. Then each half of the time is asked
for by itself. Texts are asked for only by who names them, comments never.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.identity import DefaultAzureCredential
from azure.monitor.query import LogsQueryClient, LogsQueryStatus, LogsTable

from steps.sentiment.command_line import InputError, first_line
from steps.sentiment.events import CARRIED, MEASURED, Gatherer, reason

#: What the table of custom events is called, and its columns, by scope: name, time, texts, numbers.
COLUMNS = {
    "resource": ("customEvents", "name", "timestamp", "customDimensions", "customMeasurements"),
    "workspace": ("AppEvents", "Name", "TimeGenerated", "Properties", "Measurements"),
}
#: Texts that are asked for.
SAID = tuple(dict.fromkeys(name for said, _ in CARRIED.values() for name in said))
#: Time that is not halved any more.
SHORTEST = timedelta(seconds=1)


def query(scope: str, more: Sequence[str] = ()) -> str:
    """Return the query for our events, with `more` texts of them; the service adds the time."""
    table, name, time, said, measured = COLUMNS[scope]
    columns = [f"name = {name}", f"timestamp = {time}"]
    columns += [f"{one} = tostring({said}.{one})" for one in (*SAID, *more)]
    columns += [f"{one} = todouble({measured}.{one})" for one in MEASURED]
    names = ", ".join(f'"{one}"' for one in CARRIED)
    return f"{table}\n| where {name} in ({names})\n| project {', '.join(columns)}"


def gather(
    asked: tuple[str, str, float], into: Gatherer, more: Sequence[str] = (), client: LogsQueryClient | None = None
) -> None:
    """Ask for the events of the last hours.

    Args:
        asked: id of a workspace, or empty; id of an Application Insights resource, if no workspace is given; how far back, in hours.
        into: what takes them.
        more: texts of an event beside those that each carries.
        client: of the service; default: one that signs in as `DefaultAzureCredential` does.

    Raises:
        InputError: the service does not answer, refuses, or answers with what no endpoint told.
    """
    workspace, resource, hours = asked
    scope, given = ("workspace", workspace) if workspace else ("resource", resource)
    end = datetime.now(UTC)
    try:
        with client or LogsQueryClient(DefaultAzureCredential()) as service:
            ask = service.query_workspace if workspace else service.query_resource
            for table in _tables(ask, given, query(scope, more), end - timedelta(hours=hours), end):
                for row in table.rows:
                    into.add(_row(dict(zip(table.columns, row, strict=True)), more))
    except HttpResponseError as error:
        # The client gives a failed sign-in no status, whatever its own class was.
        said = f"the service answered {error.status_code}" if error.status_code else "could not sign in"
        allowed = "an id that it knows, asked by who may read it"
        raise InputError(f"{scope}={given}: {said} ({first_line(error)}); allowed: {allowed}") from error
    except AzureError as error:
        said = f"the service does not answer ({first_line(error)}); run this again when it does"
        raise InputError(f"{scope}={given}: {said}") from error
    except (ValueError, KeyError, TypeError) as error:
        said = f"an event is not as an endpoint tells it ({reason(error)}); allowed: events of this project's endpoint"
        raise InputError(f"{scope}={given}: {said}") from error


def _tables(ask: Any, given: str, text: str, start: datetime, end: datetime) -> Iterator[LogsTable]:
    # The tables of a time: as one answer, or as those of its halves. Both hold the middle; who gathers drops what comes twice.
    found = ask(given, text, timespan=(start, end), server_timeout=600)
    if found.status == LogsQueryStatus.SUCCESS:
        yield from found.tables
    elif end - start <= SHORTEST:
        raise ValueError(f"{start:%Y-%m-%d %H:%M:%S}: more in a second than one answer holds: {found.partial_error}")
    else:
        middle = start + (end - start) / 2
        yield from _tables(ask, given, text, start, middle)
        yield from _tables(ask, given, text, middle, end)


def _row(found: dict[str, Any], more: Sequence[str]) -> dict[str, Any]:
    # As `envelopes.rows` gives it; what an event lacks is null or empty here, and left out there.
    return {
        "name": found["name"],
        "timestamp": found["timestamp"],
        "customDimensions": {name: found[name] for name in (*SAID, *more) if found[name]},
        "customMeasurements": {name: found[name] for name in MEASURED if found[name] is not None},
    }

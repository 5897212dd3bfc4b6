"""The line to Azure Application Insights, over azure-monitor-opentelemetry, with the counts that it does not keep.

Left to itself the package keeps five requests a second, drops what overflows its queue, and is silent when the service refuses events
or its own disk cache is full. Here every request is kept, what is sent is seen off before a queue can overflow, and an event counts as

    sent      taken by the service, at once or later from the disk
    cached    put on disk, to be sent after the next success, by whichever process has the same folder
    lost      refused by the service for good (400, 402, ...), or without room on the disk

A service that does not answer is left alone for a while, so that what comes meanwhile goes straight to the disk. A stop waits for no
answer: what is on its way then is put on disk too, so that the service may get it twice, with the same ids.
Loading the packages takes a second; `telemetry.open_telemetry` does, after having set what keeps them quiet.
"""

import json
import logging
import math
import os
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError, ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport
from azure.monitor.opentelemetry import configure_azure_monitor
from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

from steps.sentiment.telemetry import ROUND_EVENTS, Note

ROLE = "tweet-sentiment"
#: Libraries that the package would patch.
_PATCHED = ("azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "psycopg2", "requests", "urllib", "urllib3")
#: Seconds to connect, to read an answer, and to leave a service alone that did not answer.
_CONNECT, _READ, _PAUSE = 2, 3, 15
#: Answers after which the exporter keeps events on disk; 307 and 308 lead it elsewhere.
_LATER, _ELSEWHERE = {401, 403, 408, 429, 500, 502, 503, 504}, {307, 308}
_EVENT = "microsoft.custom_event.name"
_MEASUREMENTS = "microsoft.custom_measurements"
_logger = logging.getLogger("serve")

Count = Callable[[str, int], None]


class _Transport(RequestsTransport):
    # Counts what becomes of events, and does not try for a while after a failure.

    def __init__(self, count: Count) -> None:
        super().__init__()
        self.quiet_until = 0.0
        self._hurried: Future[None] = Future()
        self._count_as = count

    def hurry(self) -> None:
        """Wait for no answer any more, also not for one that is waited for."""
        self.quiet_until = math.inf
        self._hurried.set_result(None)

    def _answer(self, request: Any, kwargs: dict[str, Any]) -> Any:
        # In a thread of its own, since nothing else ends the wait for a service that has taken the request and is silent.
        answer: Future[Any] = Future()

        def ask() -> None:
            try:
                answer.set_result(RequestsTransport.send(self, request, **kwargs))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=ask, name="insights", daemon=True).start()
        wait((answer, self._hurried), return_when=FIRST_COMPLETED)
        if not answer.done():
            raise ServiceRequestError("there is no time left to wait for an answer")
        return answer.result()

    def send(self, request: Any, **kwargs: Any) -> Any:
        if time.monotonic() < self.quiet_until:
            raise ServiceRequestError("the service did not answer a moment ago")
        try:
            response = self._answer(request, {**kwargs, "connection_timeout": _CONNECT, "read_timeout": _READ})
        except AzureError:
            self.quiet_until = max(self.quiet_until, time.monotonic() + _PAUSE)
            raise
        if response.status_code in _LATER:
            wait = response.headers.get("Retry-After", "")
            self.quiet_until = max(self.quiet_until, time.monotonic() + (min(int(wait), 60) if wait.isdigit() else 0))
        fates = fates_of(json.loads(request.content), response)
        for fate, number in fates.items():
            self._count_as(fate, number)
        if fates["lost"]:
            _logger.error("telemetry: %d events lost, the service answered %d", fates["lost"], response.status_code)
        return response


class _Exporter(AzureMonitorLogExporter):
    # Counts what is put on disk, or finds no room there.

    def __init__(self, count: Count, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._count_as = count
        put: Callable[..., Any] = self.storage.put  # type: ignore[union-attr]

        def counted(data: list[Any], lease_period: int | None = None) -> Any:
            result, number = put(data, lease_period), sum(map(_is_event, data))
            kept = getattr(result, "name", "") == "LOCAL_FILE_BLOB_SUCCESS"
            count("cached" if kept else "lost", number)
            if not kept:
                _logger.error("telemetry: %d events lost, there is no room for them on disk", number)
            return result

        self.storage.put = counted  # type: ignore[union-attr, method-assign]

    def export(self, batch: Any, **kwargs: Any) -> LogRecordExportResult:
        try:
            return super().export(batch, **kwargs)
        except Exception:  # the SDK would log this and forget the batch
            self._count_as("lost", len(batch))
            _logger.exception("telemetry: %d events lost, they could not be sent", len(batch))
            return LogRecordExportResult.FAILURE


class Insights:
    """A `telemetry.Line` to Application Insights."""

    def __init__(self, connection_string: str, cache: Path | None, count: Count) -> None:
        """Open the line.

        Args:
            connection_string: of the Application Insights resource.
            cache: folder for what could not be sent; None: one in the system's temporary folder.
            count: is told "sent", "cached" or "lost" and how many events.
        """
        # The package would log each batch that it cannot send, and whole events with it; losses are logged here.
        logging.getLogger("azure").setLevel(logging.CRITICAL)
        names = {"service.name": os.environ.get("OTEL_SERVICE_NAME", ROLE), "service.instance.id": instance()}
        resource = Resource.create(names)
        common: dict[str, Any] = {"connection_string": connection_string, "retry_total": 0}
        if cache:
            common["storage_directory"] = str(cache)
        self._waiting = False

        def noted(fate: str, number: int) -> None:
            # Nothing is lost yet, but who is to be called does not hear of it: said once, until the service takes events again.
            if number and fate == "cached" and not self._waiting:
                _logger.warning(
                    "telemetry: events could not be sent; they wait on disk, and no alert sees them until then"
                )
            if number and fate in ("cached", "sent"):
                self._waiting = fate == "cached"
            count(fate, number)

        self._lines = [_Transport(noted), _Transport(lambda fate, number: None)]
        configure_azure_monitor(
            **common,
            transport=self._lines[1],
            resource=resource,
            sampling_ratio=1.0,
            enable_live_metrics=False,
            enable_performance_counters=False,
            instrumentation_options={name: {"enabled": False} for name in _PATCHED},
        )
        exporter = _Exporter(noted, **common, transport=self._lines[0])
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        # Room for what is told between two flushes; by itself, in a thread of its own, the processor sends nothing.
        size = 4 * ROUND_EVENTS
        processor = BatchLogRecordProcessor(exporter, 3.6e6, max_export_batch_size=size, max_queue_size=size)
        self._logs.add_log_record_processor(processor)
        self._logger, self._tracer = self._logs.get_logger(ROLE), trace.get_tracer(ROLE)

    def request(self, note: Note) -> Any:
        """Send a span, and return the context of what belongs to it."""
        attributes: dict[str, str | int] = {
            "http.request.method": note.method,
            "http.route": note.route,
            "url.path": note.route,
            "url.scheme": "http",
            "server.address": ROLE,
            "http.response.status_code": note.status,
        }
        name, kind = f"{note.method} {note.route}", trace.SpanKind.SERVER
        span = self._tracer.start_span(name, kind=kind, start_time=note.began, attributes=attributes)
        span.end(end_time=note.began + int(note.seconds * 1e9))
        return trace.set_span_in_context(span)

    def event(
        self, name: str, when: int, properties: dict[str, str], measurements: dict[str, float], context: Any
    ) -> None:
        """Send an event."""
        attributes = {_EVENT: name, **properties, _MEASUREMENTS: json.dumps(measurements)}
        self._logger.emit(LogRecord(timestamp=when, context=context, attributes=attributes))

    def exception(self, error: BaseException, when: int, context: Any) -> None:
        """Send a failure, without its message, which may repeat what a person wrote."""
        attributes = {
            "exception.type": type(error).__name__,
            "exception.message": type(error).__name__,
            "exception.stacktrace": "".join(traceback.format_tb(error.__traceback__)),
        }
        severity = SeverityNumber.ERROR
        self._logger.emit(LogRecord(timestamp=when, context=context, severity_number=severity, attributes=attributes))

    def flush(self) -> None:
        """Return when what was sent has arrived, lies on disk, or is given up."""
        self._logs.force_flush()  # first: without an alert's events the duration of a request is of no use
        trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]

    def hurry(self) -> None:
        """Try no more: what is flushed from now on goes straight to the disk."""
        for line in self._lines:
            line.hurry()


def instance() -> str:
    """Return the name of this process among all that report: machine and process id."""
    return f"{socket.gethostname()}-{os.getpid()}"


def fates_of(items: list[dict[str, Any]], response: Any) -> "Counter[str]":
    """Return how many of the events among `items` the service took ("sent"), and how many it refused for good ("lost").

    What it asks to be sent again later is neither: the exporter puts that on disk, and it is counted there.
    """
    status = response.status_code
    if status in _LATER or status in _ELSEWHERE:
        return Counter()
    if status != 206:
        return Counter({"sent" if status == 200 else "lost": sum(map(_is_event, items))})
    errors = {error["index"]: error["statusCode"] for error in json.loads(response.text())["errors"]}
    found: Counter[str] = Counter()
    for row, item in enumerate(items):
        if _is_event(item) and errors.get(row) not in _LATER:
            found["lost" if row in errors else "sent"] += 1
    return found


def _is_event(item: dict[str, Any]) -> bool:
    return bool(item["data"]["baseType"] == "EventData")

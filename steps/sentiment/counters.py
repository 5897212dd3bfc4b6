"""What an endpoint counts, for Prometheus: one file per process in the folder PROMETHEUS_MULTIPROC_DIR, added up when asked.

prometheus_client looks for that folder when it is imported, so whoever imports this has set it before.
"""

from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
#: Upper edges of the latencies, in seconds.
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Counters:
    """The counters of this process."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self.requests = Counter(
            "sentiment_requests", "Requests by route and status.", ("route", "status"), registry=own
        )
        self.seconds = Histogram(
            "sentiment_request_seconds", "Time from request to answer.", ("route",), buckets=SECONDS, registry=own
        )
        self.errors = Counter("sentiment_errors", "Answers that are errors, by code.", ("code",), registry=own)
        self.answers = Counter("sentiment_answers", "Answered texts.", ("version", "label"), registry=own)
        self.unsure = Counter("sentiment_unsure", "Answers marked as unsure.", ("version",), registry=own)
        self.truncated = Counter(
            "sentiment_truncated", "Texts longer than the model reads.", ("version",), registry=own
        )
        self.feedback = Counter("sentiment_feedback", "Verdicts on answers.", ("version", "verdict"), registry=own)
        self.events = Counter(
            "sentiment_telemetry_events", "Telemetry events by what became of them.", ("fate",), registry=own
        )
        self.switches = Counter(
            "sentiment_model_switches", "Changes to another version, by outcome.", ("outcome",), registry=own
        )
        self.waiting = Gauge(
            "sentiment_requests_in_progress", "Requests being worked on.", multiprocess_mode="livesum", registry=own
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        _child(self.requests, route, str(status)).inc()
        _child(self.seconds, route).observe(seconds)

    def answered(self, version: str, answers: list[dict[str, Any]]) -> None:
        """Count the answers of a request."""
        positive = sum(answer["label"] == "positive" for answer in answers)
        for counter, labels, number in (
            (self.answers, (version, "positive"), positive),
            (self.answers, (version, "negative"), len(answers) - positive),
            (self.unsure, (version,), sum(answer["unsure"] for answer in answers)),
            (self.truncated, (version,), sum(answer["truncated"] for answer in answers)),
        ):
            if number:
                _child(counter, *labels).inc(number)


@cache
def _child(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)  # looked up once: it costs more than to count


def page() -> bytes:
    """Return the counters of all processes, those that have died included, as Prometheus reads them."""
    everybody = CollectorRegistry()
    multiprocess.MultiProcessCollector(everybody)
    return generate_latest(everybody)

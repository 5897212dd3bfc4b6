"""What arrives of the telemetry: from stock MLflow's server with the SDK as it comes, and from `serve`; for record_article.py.

Not a test itself.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.bench_serve import baseline
from tests.serving import PATIENCE, Ingestion, Server, answers, free_port, ingestion, line_to, serve, wait_for

#: Stock MLflow's server, and the SDK with what its pages tell to set: the connection string and the name of the logger. Live metrics,
#: which have a protocol of their own, are off.
STOCK = """
import json, logging, os, uuid
from azure.monitor.opentelemetry import configure_azure_monitor
configure_azure_monitor(connection_string=os.environ["LINE"], logger_name="sentiment", enable_live_metrics=False)
from mlflow.pyfunc.scoring_server.app import app
logger = logging.getLogger("sentiment")
logger.setLevel(logging.INFO)
@app.middleware("http")
async def tell(request, call_next):
    texts = json.loads(await request.body())["inputs"] if request.method == "POST" else []
    answer = await call_next(request)
    for text in texts:
        logger.info("prediction", extra={
            "microsoft.custom_event.name": "prediction", "prediction_id": uuid.uuid4().hex, "label": "positive", "unsure": "false",
            "microsoft.custom_measurements": json.dumps({"score": 0.93, "characters": len(text)})})
    return answer
"""


def settled(count: Callable[[], int], seconds: float = 8) -> int:
    """Return a count once it has stood still for so long."""
    found, since = count(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.2)
        if count() != found:
            found, since = count(), time.monotonic()
    return found


@contextmanager
def stock(folder: Path, model: str, line: str) -> Iterator[Server]:
    """Run stock MLflow's server with the SDK as it comes."""
    (folder / "stock.py").write_text(STOCK)
    port = free_port()
    quiet = ("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
             "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")  # fmt: skip
    own = os.environ | dict.fromkeys(quiet, "true") | {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel"}
    own |= {"LINE": line, "__pyfunc_model_path__": model, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "uvicorn", "--no-access-log", "--app-dir", str(folder), "--port", str(port)]
    with (folder / "stock.log").open("wb") as log:
        process = subprocess.Popen([*command, "stock:app"], cwd=folder, env=own, stdout=log, stderr=log)
    server = Server(process, port, folder / "stock.log", PATIENCE)
    try:
        wait_for(lambda: answers(server), PATIENCE)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def arriving(server: Server, service: Ingestion) -> dict[str, Any]:
    """Ask one by one, then in a burst, then a few times before a stop; return how much of each was sent and arrived."""

    def spans() -> int:
        return sum(one["name"] == "POST /invocations" for one in service.data("RequestData"))

    def told() -> int:
        return len(service.events("prediction"))

    wait_for(lambda: bool(server.ask(["a tweet"])), PATIENCE)
    settled(told)
    before, start = spans(), time.monotonic()
    for number in range(200):
        server.ask([f"tweet {number}"])
    seconds = time.monotonic() - start
    found = {"requests": {"sent": 200, "seconds": seconds, "arrived": settled(spans) - before}}
    before = told()
    for _ in range(4):
        server.ask([f"tweet {number}" for number in range(5000)])
    found["burst"] = {"sent": 20_000, "arrived": settled(told) - before}
    before = told()
    for number in range(20):
        server.ask([f"tweet {number}"])
    server.stop(seconds=PATIENCE)
    found["stop"] = {"sent": 20, "arrived": settled(told) - before}
    return found


def faults(folder: Path, model: str) -> list[dict[str, Any]]:
    """Return what becomes of 50 events when the service fails in each way, and after it has come back."""
    state, found = {"status": 200}, []

    def answer(items: list[Any]) -> tuple[int, dict[str, str], Any]:
        status = state["status"]
        headers = {"Retry-After": "3"} if status == 429 else {}
        return status, headers, None if status == 200 else {"itemsReceived": 0, "itemsAccepted": 0, "errors": []}

    port = free_port()
    line = f"InstrumentationKey=00000000-0000-0000-0000-00000000000a;IngestionEndpoint=http://127.0.0.1:{port}/"
    flags = ["--model", model, "--telemetry_cache", str(folder / "cache")]

    def counted() -> dict[str, int]:
        fates = ("sent", "cached", "lost", "dropped")
        return {fate: int(server.metric("sentiment_telemetry_events_total", fate=fate)) for fate in fates}

    def fail(kind: str) -> set[str]:
        before = counted()
        ids = {record["prediction_id"] for record in server.ask([f"tweet {number}" for number in range(50)])}
        wait_for(lambda: sum(counted().values()) >= sum(before.values()) + 50, PATIENCE)
        found.append({"fault": kind} | {fate: counted()[fate] - before[fate] for fate in before})
        found[-1]["told_of"] = bool(re.search(rf"50 events lost, the service answered {kind}", server.log.read_text()))
        return ids

    def heal(ids: set[str]) -> None:
        deadline = time.monotonic() + (180 if found[-1]["cached"] else 20)
        while not ids <= set(service.ids()) and time.monotonic() < deadline:
            server.ask(["and now?"])  # what waits on disk is sent after a success
            time.sleep(3)
        found[-1]["delivered"] = len(ids & set(service.ids()))

    with serve(folder, folder, *flags, patience=PATIENCE, **line_to(line)) as server:
        refused = fail("refused")
        with ingestion(port=port, answer=answer) as service:
            heal(refused)
            for status in (429, 500, 402, 400):
                state["status"] = status
                ids = fail(str(status))
                state["status"] = 200
                heal(ids)
    return found


def delivery() -> dict[str, Any]:
    """What arrives, by the SDK as it comes and by the endpoint. A small baseline answers, so that scoring is not what limits."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = baseline(name)
        with ingestion() as service, stock(folder, model, service.connection_string) as server:
            found["stock"] = arriving(server, service)
        with ingestion() as service:
            line = line_to(service.connection_string)
            flags = ["--model", model, "--telemetry_cache", str(folder / "cache"), "--timeout", str(PATIENCE)]
            with serve(folder, folder, *flags, patience=PATIENCE, **line) as server:
                found["serve"] = arriving(server, service)
        found["faults"] = faults(folder, model)
    found["packages"] = {
        name: metadata.version(name) for name in ("azure-monitor-opentelemetry", "opentelemetry-sdk", "mlflow")
    }
    return found

"""A load on the endpoint for minutes: does it lose a request, an event or memory, also while the champion is switched?

    make load
    .venv/bin/python tests/load_serve.py --minutes 1 --workers 2

A store of its own with three versions of the model that comes with the project, `serve` that follows the champion, and an ingestion
service on loopback. First the clients ask as often as they get answers, which gives the largest rate; then, for the minutes wanted,
at 80 % of it. One answer in five is judged by `/feedback`. After a third and after two thirds of the time the entry point `promote`
makes the next version the champion. Prints a table and ends with exit code 1 unless every request was answered, every event
delivered once, every version heard, and memory flat. Clients and service take some of the cores, and the table says how much.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.conftest import environment  # noqa: E402
from tests.serving import Ingestion, Server, all_answer, children, ingestion, resident, serve, wait_for  # noqa: E402
from tests.traffic import Heard, Load  # noqa: E402

#: Share of the largest rate at which the load runs, and by how much memory may rise.
SHARE, RISE = 0.8, 0.05
#: Share of the wanted rate that must have been answered: less, and the endpoint was overloaded.
KEPT = 0.98
#: Seconds in which the last events must have arrived.
LAST = 60


@dataclass
class Told:
    """What arrived at the ingestion service: how often each id came in an event of a name, spans, and the service's CPU seconds."""

    ids: dict[str, Counter[str]] = field(default_factory=lambda: {"prediction": Counter(), "feedback": Counter()})
    spans: int = 0
    cpu: float = 0.0


class Tally(Ingestion):
    """An ingestion service that keeps ids alone: whole envelopes of many minutes would fill the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()

    def keep(self, items: list[dict[str, Any]]) -> None:
        for item in items:
            kind, data = item["data"]["baseType"], item["data"]["baseData"]
            if kind == "EventData":
                self.told.ids[data["name"]][data["properties"]["prediction_id"]] += 1
            self.told.spans += kind == "RequestData"


def _tell(pipe: Connection) -> None:
    # The main function of the service's process: the line to it, then what has arrived whenever somebody asks.
    with ingestion(service=Tally()) as service:
        assert isinstance(service, Tally)
        pipe.send(service.connection_string)
        while pipe.recv():
            service.told.cpu = time.process_time()
            with service.lock:
                pipe.send(service.told)


@dataclass
class Service:
    """The ingestion service in a process of its own, so that it does not hold up the clients."""

    line: str
    pipe: Connection

    def told(self) -> Told:
        """Return what has arrived."""
        self.pipe.send(True)
        found: Told = self.pipe.recv()
        return found


@contextmanager
def service() -> Iterator[Service]:
    """Run the service."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_tell, args=(theirs,))
    process.start()
    theirs.close()  # so that its end is seen here
    try:
        yield Service(ours.recv(), ours)
        ours.send(False)
    finally:
        process.join(10)
        process.kill()


def versions(store: Path, number: int = 3) -> None:
    """Register the bundled model so many times; the first version is the champion."""
    import mlflow
    from mlflow.entities import LoggedModelStatus
    from mlflow.tracking import MlflowClient

    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    client = MlflowClient()
    experiment = client.create_experiment("load", artifact_location=str(store / "artifacts"))
    client.create_registered_model("tweet-sentiment")
    for _ in range(number):
        model = client.create_logged_model(experiment, "bundled").model_id
        client.log_model_artifacts(model, str(ROOT / "data/champion/model"))
        client.finalize_logged_model(model, LoggedModelStatus.READY)
        client.create_model_version("tweet-sentiment", f"models:/{model}", model_id=model)
    client.set_registered_model_alias("tweet-sentiment", "champion", "1")


@dataclass
class Found:
    """What the whole load showed; `memory` is in bytes, of all workers together, a sample a second."""

    largest: Heard
    load: Heard
    memory: list[int]
    told: Told
    counted: dict[str, float]
    switches: float
    workers: int
    stop_seconds: float
    client_cpu: float
    rate: float

    def resident(self, tenth: int) -> float:
        """Return the median memory in a tenth of the time, the first being 0: of ten minutes, a minute each."""
        size = max(len(self.memory) // 10, 1)
        return statistics.median(self.memory[tenth * size : (tenth + 1) * size])

    def judged(self) -> list[tuple[str, str, str, bool]]:
        """Return what was looked at: name, found, wanted, and whether it is so."""
        ids, verdicts = self.largest.ids | self.load.ids, self.largest.judged | self.load.judged
        failed = self.largest.failed + self.load.failed
        rise = self.resident(9) / self.resident(1) - 1
        rows = [("failed requests", f"{failed.total()} {dict(failed) or ''}".strip(), "0", not failed)]
        kept = len(self.load.seconds) / self.load.lasted
        rows.append(("answers a second", f"{kept:.1f}", f"{self.rate:.1f}", kept >= KEPT * self.rate))
        for name, sent in (("prediction", ids), ("feedback", verdicts)):
            told = self.told.ids[name]
            twice = sum(number > 1 for number in told.values())
            missing, strange = len(sent - told.keys()), len(told.keys() - sent)
            rows.append(
                (
                    f"events `{name}`",
                    f"{told.total():,} delivered, {missing} missing, {twice} twice, {strange} of no answer",
                    f"{len(sent):,} once each",
                    not (missing or twice or strange),
                )
            )
        events = len(ids) + len(verdicts)
        fates = ", ".join(f"{number:,.0f} {fate}" for fate, number in self.counted.items())
        right = self.counted == {"sent": events, "cached": 0, "lost": 0, "dropped": 0}
        rows.append(("events counted by the endpoint", fates, f"{events:,} sent", right))
        spans = self.largest.requests + self.load.requests
        rows.append(("spans", f"{self.told.spans:,}", f"{spans:,}", self.told.spans == spans))
        heard = ", ".join(f"{number:,} from {version}" for version, number in sorted(self.load.versions.items()))
        rows.append(("answers", heard, "some from each of 1, 2, 3", set(self.load.versions) == {"1", "2", "3"}))
        switches = 2 * self.workers
        rows.append(("changes of the model", f"{self.switches:.0f}", f"{switches}", self.switches == switches))
        sizes = " to ".join(f"{self.resident(tenth) / 2**20:.0f}" for tenth in (1, 9))
        memory = f"{sizes} MiB ({rise:+.1%}), at most {max(self.memory) / 2**20:.0f}"
        rows.append(("memory, second tenth to last", memory, f"at most {RISE:+.0%}", rise <= RISE))
        rows.append(("stop", f"{self.stop_seconds:.1f} s", "under 10 s", self.stop_seconds < 10))
        return rows


async def traffic(
    server: Server, given: argparse.Namespace, store: Path, pids: list[int]
) -> tuple[Heard, Heard, list[int], float]:
    """Ask for the largest rate, then at the wanted share of it; return what was heard, the memory then, and the rate."""
    load, memory = Load(server.port), []
    await load.connect()
    largest = await load.run(given.maximum_seconds)
    rate = SHARE * len(largest.seconds) / largest.lasted
    print(f"largest rate: {len(largest.seconds) / largest.lasted:.0f} answers a second; now {rate:.0f}", flush=True)

    async def sample() -> None:
        while True:
            memory.append(sum(map(resident, pids)))
            await asyncio.sleep(1)

    async def promote() -> None:
        # On a machine with a registry this runs elsewhere: here it must not take the cores of the endpoint.
        own = environment(store) | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
        for number in ("2", "3"):
            await asyncio.sleep(60 * given.minutes / 3)
            command = ["nice", "-n", "10", sys.executable, "-m", "registry_scripts.promote", "--version", number]
            command += ["--force", "true", "--reason", "a load test"]
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            said, _ = await process.communicate()
            if process.returncode:
                sys.exit(f"promote failed: {said.decode()}")
            print(f"version {number} promoted", flush=True)

    sampling, promoting = asyncio.create_task(sample()), asyncio.create_task(promote())
    heard = await load.run(60 * given.minutes, rate)
    sampling.cancel()
    await promoting
    load.close()
    return largest, heard, memory, rate


def run(given: argparse.Namespace, folder: Path) -> Found:
    """Run the endpoint under load and return what was found."""
    versions(folder)
    flags = ["--workers", str(given.workers), "--follow", "1", "--telemetry_cache", str(folder / "cache")]
    with service() as insights:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": insights.line, "TMPDIR": str(folder)}
        with serve(folder, folder, *flags, **variables) as server:
            if given.workers > 1:
                wait_for(lambda: all_answer(server, given.workers), 120)
            pids = children(server.process) if given.workers > 1 else [server.process.pid]
            cpu = time.process_time()
            largest, load, memory, rate = uvloop.run(traffic(server, given, folder, pids))
            cpu = time.process_time() - cpu
            events = sum(len(heard.ids) + len(heard.judged) for heard in (largest, load))
            deadline = time.monotonic() + LAST
            while sum(told.total() for told in insights.told().ids.values()) < events and time.monotonic() < deadline:
                time.sleep(1)
            counted = {
                fate: server.metric("sentiment_telemetry_events_total", fate=fate)
                for fate in ("sent", "cached", "lost", "dropped")
            }
            switches = server.metric("sentiment_model_switches_total", outcome="done")
            seconds = server.stop()
            if server.process.returncode or "Traceback" in server.log.read_text():
                sys.exit(f"the endpoint ended with {server.process.returncode}:\n{server.log.read_text()}")
        told = insights.told()
    return Found(largest, load, memory, told, counted, switches, given.workers, seconds, cpu, rate)


def main() -> None:
    """Run the load, print the table, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of the load")
    parser.add_argument("--maximum_seconds", type=float, default=60, help="in which the largest rate is measured")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(given, Path(folder))
    load, spent = found.load, found.load.lasted + found.largest.lasted
    times = ", ".join(f"{percent:g} % {load.percentile(percent):.1f}" for percent in (50, 95, 99, 99.9, 100))
    print(f"{len(load.seconds):,} answers in {load.lasted:.0f} s ({len(load.seconds) / load.lasted:.0f} a second), "
          f"{len(load.verdict_seconds):,} verdicts; milliseconds to an answer: {times}")  # fmt: skip
    cores = f"the clients took {found.client_cpu / spent:.2f}, the ingestion service {found.told.cpu / spent:.2f}"
    print(f"of {os.cpu_count()} cores {cores}\n")
    rows = found.judged()
    for name, value, wanted, right in rows:
        print(f"{'ok ' if right else 'BAD'} {name:31} {value} (wanted: {wanted})")
    sys.exit(not all(right for *_, right in rows))


if __name__ == "__main__":
    main()

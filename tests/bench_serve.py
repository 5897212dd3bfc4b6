"""The endpoint's benchmark: stock MLflow's server, ours, a bare FastAPI route and the model alone, side by side in one run.

    make bench
    .venv/bin/python tests/bench_serve.py --seconds 10 --rounds 5

One worker each on uvicorn with uvloop and httptools, access log off, telemetry off but where it says on. The servers are asked in
turn, a round after the other, over kept connections that ask again as soon as they are answered: by wrk where it is installed (Debian:
apt-get install wrk), else by a client in Python that asks at a fixed rate, half of what the model alone does, and measures from the
moment at which a request was due. Latencies are medians over the rounds; CPU is that of the server's process, per request.
Two models: the one that comes with the project, and a baseline of the bundled sample.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.serving import free_port, ingestion, resident, wait_for  # noqa: E402

TWEET = "@AirParadis lost my bag again, what a day number {} oh dear :("
BARE = """
import inspect, os, sys
import mlflow
from fastapi import FastAPI
from pydantic import BaseModel
model = mlflow.pyfunc.load_model(os.environ["__pyfunc_model_path__"]).unwrap_python_model()
predict = inspect.unwrap(type(model).predict)
app = FastAPI()
class Question(BaseModel):
    inputs: list[str]
@app.get("/ping")
def ping(): return "pong"
@app.post("/invocations")
def invocations(question: Question): return {"predictions": predict(model, None, question.inputs)}
"""
ALONE = """
import inspect, json, statistics, sys, time
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1]).unwrap_python_model()
predict = inspect.unwrap(type(model).predict)
one, many = json.loads(sys.stdin.read())
found = {}
for name, texts in (("one", one), ("many", many)):
    times, end = [], time.perf_counter() + float(sys.argv[2])
    predict(model, None, texts)
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        predict(model, None, texts)
        times.append(time.perf_counter() - start)
    found[name] = statistics.median(times)
print(json.dumps(found))
"""
WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*a")
done = function(summary, latency)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format('\\nFOUND {"requests": %d, "seconds": %f, "bad": %d, "p50": %f, "p99": %f}\\n', summary.requests,
    summary.duration / 1e6, bad, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass
class Found:
    """What one server did in each round: milliseconds, requests a second, and CPU microseconds per request."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(getattr(self, name))


@dataclass
class Running:
    """A server process."""

    port: int
    process: subprocess.Popen[bytes]
    started: float

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str], port: int, folder: str, **variables: str) -> Iterator[Running]:
    """Run a server until the block ends; wait for its first answer."""
    start = time.monotonic()
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "MLFLOW_DISABLE_TELEMETRY": "true"
    }
    with Path(folder, f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, env=own | variables, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_for(lambda: asyncio.run(_ask(port, b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", 1, 1, 0))["bad"] == 0, 120)
        yield Running(port, process, time.monotonic() - start)
    finally:
        process.terminate()
        process.wait(timeout=20)


async def _ask(port: int, request: bytes, connections: int, number: int, rate: float) -> dict[str, float]:
    # Sends `number` requests over kept connections, at a fixed rate if there is one; milliseconds from when each was due.
    begin, due, times, bad = time.perf_counter(), iter(range(number)), [], 0

    async def one() -> None:
        nonlocal bad
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for place in due:
                moment = begin + place / rate if rate else time.perf_counter()
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                bad += not head.startswith(b"HTTP/1.1 200 ")
                times.append(1000 * (time.perf_counter() - moment))
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            bad += 1

    await asyncio.gather(*(one() for _ in range(connections)))
    times.sort()
    found = {"requests": float(len(times)), "seconds": time.perf_counter() - begin, "bad": float(bad)}
    return found | ({"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]} if times else {})


def ask(server: Running, body: bytes, connections: int, seconds: float, rate: float, folder: str, found: Found) -> None:
    """Ask one server for a round."""
    cpu = server.cpu()
    if shutil.which("wrk"):
        Path(folder, "body").write_bytes(body)
        Path(folder, "ask.lua").write_text(WRK)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", f"{folder}/ask.lua"]
        own = os.environ | {"BODY": f"{folder}/body"}
        address = f"http://127.0.0.1:{server.port}/invocations"
        done = subprocess.run([*command, address], env=own, capture_output=True, text=True, check=True)
        values = json.loads(done.stdout.partition("FOUND ")[2])
    else:
        head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        values = asyncio.run(_ask(server.port, head.encode() + body, connections, max(int(rate * seconds), 10), rate))
    if values["bad"]:
        sys.exit(f"{values['bad']:.0f} requests to port {server.port} failed; its log is {folder}/{server.port}.log")
    found.p50.append(values["p50"])
    found.p99.append(values["p99"])
    found.rate.append(values["requests"] / values["seconds"])
    found.cpu.append(1e6 * (server.cpu() - cpu) / values["requests"])


def baseline(folder: str) -> str:
    """Train a baseline on the bundled sample and return its folder."""
    script = (
        "import mlflow\nfrom steps import prepare, train_baseline\nfrom steps.sentiment import runs\n"
        "prepare.main([]); train_baseline.main([])\nrun = runs.finished(step='train_baseline')[0]\n"
        "print(mlflow.artifacts.download_artifacts(f\"models:/{run.data.tags['model_id']}\"))\n"
    )
    own = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "PYTHONPATH": str(ROOT)}
    Path(folder, "data").symlink_to(ROOT / "data")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=own, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def measure(name: str, model: str, seconds: float, rounds: int) -> None:
    """Measure one model behind all servers and print what was found."""
    one, many = [TWEET.format(0)], [TWEET.format(number) for number in range(64)]
    command = [sys.executable, "-c", ALONE, model, str(seconds)]
    done = subprocess.run(command, input=json.dumps([one, many]), capture_output=True, text=True, check=True, cwd=ROOT)
    alone = json.loads(done.stdout.splitlines()[-1])
    print(
        f"\n{name}, the model alone: {1e3 * alone['one']:.3f} ms for one text, {64 / alone['many']:,.0f} texts a second by 64"
    )

    with tempfile.TemporaryDirectory() as folder, ingestion() as service, ExitStack() as stack:
        Path(folder, "bare.py").write_text(BARE)
        uvicorn = [sys.executable, *"-m uvicorn --no-access-log --log-level error --port".split()]
        ours = [sys.executable, *f"-m steps.serve --model {model} --max_concurrent 1000 --port".split()]
        line = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string, "TMPDIR": folder}
        path = {"__pyfunc_model_path__": model}
        servers = {}
        for server, before, after, variables in (
            ("stock MLflow", uvicorn, ["mlflow.pyfunc.scoring_server.app:app"], path),
            ("bare FastAPI", uvicorn, ["--app-dir", folder, "bare:app"], path),
            ("serve", ours, [], {}),
            ("serve, telemetry on", ours, [], line),
        ):
            port = free_port()
            servers[server] = stack.enter_context(running([*before, str(port), *after], port, folder, **variables))
        table: dict[tuple[str, str], Found] = {}
        for texts, connections in ((one, 1), (one, 8), (one, 32), (many, 1)):
            body = json.dumps({"inputs": texts}).encode()
            label = f"{len(texts)} text{'s' * (len(texts) > 1)}, {connections} connection{'s' * (connections > 1)}"
            rate = 0.5 / alone["one" if len(texts) == 1 else "many"]
            for _ in range(rounds):
                for server, process in servers.items():
                    found = table.setdefault((label, server), Found())
                    ask(process, body, connections, seconds, rate, folder, found)
            for server in servers:
                found = table[label, server]
                print(
                    f"{label:24} {server:20} {found.median('p50'):9.3f} ms median {found.median('p99'):9.2f} ms p99 "
                    f"{found.median('rate'):8.0f} a second {found.median('cpu'):8.0f} us CPU"
                )
        judge(table, servers, alone)


def judge(table: dict[tuple[str, str], Found], servers: dict[str, Running], alone: dict[str, float]) -> None:
    """Print the ratios that are held against what was wanted."""
    single, batch = "1 text, 1 connection", "64 texts, 1 connection"
    beyond = {server: table[single, server].median("p50") - 1e3 * alone["one"] for server in servers}
    stock, bare = (beyond["serve"] / beyond[server] for server in ("stock MLflow", "bare FastAPI"))
    print(
        f"beyond the model, one connection: {beyond['serve']:.3f} ms, {stock:.2f} of stock MLflow's (wanted: 0.5), "
        f"{bare:.2f} of bare FastAPI's (wanted: 1.2)"
    )
    for label in dict.fromkeys(label for label, _ in table):
        ratio = table[label, "serve"].median("p99") / table[label, "bare FastAPI"].median("p99")
        print(f"p99, {label}: {ratio:.2f} of bare FastAPI's (wanted: 1.5)")
    print(
        f"64 texts: {1e3 * alone['many'] / table[batch, 'serve'].median('p50'):.3f} of the model's own rate (wanted: 0.95)"
    )
    for label, texts in ((single, 1), (batch, 64)):
        on, off = table[label, "serve, telemetry on"], table[label, "serve"]
        print(
            f"telemetry, {label}: {on.median('p50') - off.median('p50'):+.3f} ms at the median, "
            f"{(on.median('cpu') - off.median('cpu')) / texts:+.0f} us of CPU per text"
        )
    ours = servers["serve"]
    print(
        f"serve: first answer {ours.started:.1f} s after the start, {resident(ours.process.pid) / 2**20:.0f} MiB resident"
    )


def main() -> None:
    """Measure each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (
            ("bundled model", str(ROOT / "data/champion/model")),
            ("baseline", baseline(folder)),
        ):
            measure(name, model, given.seconds, given.rounds)


if __name__ == "__main__":
    main()

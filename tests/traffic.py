"""Many clients of the endpoint in one process, for a load that goes on for minutes. Not a test itself.

Requests are due at a fixed rate, whether the ones before are answered or not, and their time counts from when they were due; without a
rate each connection asks again as soon as it is answered. Written on the event loop's own protocols, at some 50 microseconds a
request, so that on a machine of few cores the clients take little of what the endpoint needs.
"""

import asyncio
import csv
import itertools
import json
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import orjson

ROOT = Path(__file__).parents[1]
#: Connections that are kept, and of how many answers one is judged by `/feedback`.
CONNECTIONS, JUDGED = 64, 5
#: Seconds without any answer after which those that are missing are given up.
PATIENCE = 60
_OPPOSITE = {"positive": "negative", "negative": "positive"}


@dataclass
class Heard:
    """What the clients heard: seconds per answer, ids of answers and of verdicts, versions, and what failed (status or error)."""

    seconds: list[float] = field(default_factory=list)
    verdict_seconds: list[float] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    judged: set[str] = field(default_factory=set)
    versions: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    lasted: float = 0.0

    @property
    def requests(self) -> int:
        """How many were sent: to be answered, and verdicts."""
        return len(self.seconds) + len(self.verdict_seconds) + self.failed.total()

    def percentile(self, percent: float) -> float:
        """Return a percentile of the time to an answer, in milliseconds."""
        found = sorted(self.seconds)
        return 1000 * found[min(int(len(found) * percent / 100), len(found) - 1)]


def post(path: str, content: object) -> bytes:
    """Return a request as bytes."""
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def tweets() -> list[bytes]:
    """Return a request for each tweet of the bundled sample, alone."""
    with (ROOT / "data/sample/tweets.csv").open(encoding="utf-8", newline="") as file:
        return [post("/invocations", {"inputs": [row["text"]]}) for row in csv.DictReader(file)]


class _Client(asyncio.Protocol):
    # A kept connection; one request at a time.

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer, self._due, self._judges = b"", 0.0, ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, due: float, judges: str = "") -> None:
        self._due, self._judges = due, judges
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        self._load.answered(self, head, body, time.perf_counter() - self._due, self._judges)

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost(self, repr(exc))


class Load:
    """Asks an endpoint on a port of this machine; `run` may be called several times, and keeps the connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._requests = itertools.cycle(tweets())
        self._free: deque[_Client] = deque()  # each is used in its turn: the endpoint closes one that rests for 5 s
        self._late: deque[float] = deque()
        self._answers = itertools.count(1)
        self._until = self._last = 0.0
        self._closed = False
        self.heard = Heard()

    async def connect(self) -> None:
        """Open the connections."""
        for _ in range(CONNECTIONS):
            await self._connect()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", self._port)
        self._free.append(client)

    async def run(self, seconds: float, rate: float = 0.0) -> Heard:
        """Ask for so long, so many times a second (without a rate: as often as there are answers); return what was heard."""
        heard = self.heard = Heard()
        begin = time.perf_counter()
        self._until = begin + seconds if not rate else 0.0
        if rate:
            for number in range(int(seconds * rate)):
                due = begin + number / rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                self._ask(due)
        else:
            while self._free:
                self._ask(time.perf_counter())
            await asyncio.sleep(seconds)
        self._last = time.perf_counter()
        while missing := len(self._late) + CONNECTIONS - len(self._free):
            if time.perf_counter() - self._last > PATIENCE:
                heard.failed["no answer"] += missing
                break
            await asyncio.sleep(0.01)
        heard.lasted = time.perf_counter() - begin
        return heard

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        for client in self._free:
            client.transport.close()

    def _ask(self, due: float) -> None:
        if self._free:
            self._free.popleft().send(next(self._requests), due)
        else:
            self._late.append(due)

    def answered(self, client: _Client, head: bytes, body: bytes, seconds: float, judges: str) -> None:
        """Note an answer, and use the connection for the next request: the verdict on what it said, or one that is due."""
        self._last = time.perf_counter()
        status = head[9:12].decode()
        if status != "200":
            self.heard.failed[status] += 1
        elif judges:
            self.heard.verdict_seconds.append(seconds)
            self.heard.judged.add(judges)
        else:
            self.heard.seconds.append(seconds)
            (record,) = orjson.loads(body)["predictions"]
            self.heard.ids.add(record["prediction_id"])
            version = head.lower().partition(b"x-model-version: ")[2].partition(b"\r\n")[0]
            self.heard.versions[version.decode()] += 1
            if next(self._answers) % JUDGED == 0:
                verdict = {"prediction_id": record["prediction_id"], "expected": _OPPOSITE[record["label"]]}
                client.send(post("/feedback", verdict), time.perf_counter(), record["prediction_id"])
                return
        if self._late:
            client.send(next(self._requests), self._late.popleft())
        elif time.perf_counter() < self._until:
            client.send(next(self._requests), time.perf_counter())
        else:
            self._free.append(client)

    def lost(self, client: _Client, why: str) -> None:
        """Note a connection that was closed, which fails the request on it if there is one, and open another."""
        if self._closed:
            return
        if client in self._free:
            self._free.remove(client)
        else:
            self.heard.failed[f"connection lost ({why})"] += 1
        self._opening = asyncio.get_running_loop().create_task(self._connect())

"""What the tests of the endpoint share: a real server process, a client, and an ingestion service on loopback. Not a test itself."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, environment

KEY = "a key that only the tests know"
#: Seconds that anything may take while figures are recorded on a busy machine.
PATIENCE = 600
TWEETS = ["@AirParadis lost my bag again", "not bad at all, thanks to the crew :)"]


def line_to(connection_string: str) -> dict[str, str]:
    """Return the variable that tells an endpoint where its events go."""
    return {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection_string}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@dataclass
class Server:
    """A process of `python -m steps.serve`; an answer may take `patience` seconds."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    patience: float = 60

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send a request (POST if there is a body); return status, headers (names in small letters) and content."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        question = urllib.request.Request(self.address + path, body, named)
        try:
            with urllib.request.urlopen(question, timeout=self.patience) as answer:
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()

    def get(self, path: str, **headers: str) -> Any:
        """Return the JSON of a GET."""
        return json.loads(self.request(path, **headers)[2])

    def post(self, path: str, content: Any, **headers: str) -> tuple[int, Any]:
        """POST JSON; return status and JSON."""
        named = {"Content_Type": "application/json", **headers}
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        status, _, found = self.request(path, body, **named)
        return status, json.loads(found)

    def ask(self, texts: list[str], **params: Any) -> list[dict[str, Any]]:
        """Return the records of texts."""
        status, found = self.post("/invocations", {"inputs": texts, "params": params})
        assert status == 200, found
        return found["predictions"]  # type: ignore[no-any-return]

    def metric(self, name: str, **labels: str) -> float:
        """Return a counter, added up over the series with these labels."""
        total = 0.0
        for line in self.request("/metrics")[2].decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(
                f'{label}="{text}"' in series for label, text in labels.items()
            ):
                total += float(value)
        return total

    def send(self, data: bytes, seconds: float = 20) -> bytes:
        """Send bytes as they are, and return all that comes back until the server closes, or is silent for so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            return received(connection)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> float:
        """Send a signal and return the seconds until the process has ended."""
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=seconds)
        return time.monotonic() - start


def received(connection: socket.socket) -> bytes:
    """Return all that comes over a connection until it is closed or silent."""
    found = b""
    try:
        while chunk := connection.recv(65536):
            found += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return found


@contextmanager
def serve(
    folder: Path,
    store: Path,
    *flags: str,
    port: int = 0,
    python: str = sys.executable,
    patience: float = 90,
    **variables: str,
) -> Iterator[Server]:
    """Run `python -m steps.serve` until the block ends.

    Args:
        folder: for its log.
        store: with MLflow's database.
        flags: of the step.
        port: to listen on; default: one that is free.
        python: the interpreter.
        patience: seconds until it must have started, and that an answer may take.
        variables: of its environment.
    """
    port = port or free_port()
    own = environment(store) | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
        "SERVE_PREDICTION_KEY": KEY,
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    log = folder / f"serve-{port}-{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [python, "-m", "steps.serve", "--port", str(port), *flags],
            cwd=ROOT,
            env=own,
            stdout=file,
            stderr=file,
        )
    server = Server(process, port, log, patience)
    try:
        wait_for(lambda: answers(server), patience, lambda: f"no answer from the endpoint:\n{log.read_text()}")
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(server: Server) -> bool:
    """Return whether a server answers; fail if it has ended."""
    assert server.process.poll() is None, server.log.read_text()
    try:
        return server.request("/ping")[0] == 200
    except OSError:
        return False


def wait_for(
    true: Callable[[], Any], seconds: float, message: Callable[[], str] = lambda: "it did not come true"
) -> None:
    """Wait until something is true, or fail."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, message()
        time.sleep(0.1)


@dataclass
class Ingestion:
    """Application Insights' ingestion service, as far as the SDK sees it.

    `answer` decides on the items of a request: the status, the headers, and the body (None: all were taken).
    """

    answer: Callable[[list[Any]], tuple[int, dict[str, str], Any]] = lambda items: (200, {}, None)
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    port: int = 0
    lock: Any = field(default_factory=threading.Lock)

    @property
    def connection_string(self) -> str:
        """The string to configure with."""
        address = f"http://127.0.0.1:{self.port}/"
        return f"InstrumentationKey=00000000-0000-0000-0000-00000000000a;IngestionEndpoint={address};LiveEndpoint={address}"

    def keep(self, items: list[dict[str, Any]]) -> None:
        """Keep what was taken."""
        self.envelopes += items

    def data(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of all envelopes of a kind, `EventData` for example, without their wrapping."""
        with self.lock:
            return [one["data"]["baseData"] for one in self.envelopes if one["data"]["baseType"] == kind]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a name."""
        return [one for one in self.data("EventData") if one["name"] == name]

    def ids(self, name: str = "prediction") -> list[str]:
        """Return the prediction ids of the events of a name."""
        return [one["properties"]["prediction_id"] for one in self.events(name)]


@contextmanager
def ingestion(port: int = 0, service: Ingestion | None = None, **given: Any) -> Iterator[Ingestion]:
    """Run an ingestion service: one that was made, or one of these settings."""
    service = service or Ingestion(**given)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            items = json.loads(body)
            status, headers, content = service.answer(items)
            taken = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
            with service.lock:
                service.paths.append(self.path)
                if status == 200:
                    service.keep(items)
                if status == 206:
                    refused = {error["index"] for error in content["errors"]}
                    service.keep([item for index, item in enumerate(items) if index not in refused])
            answer = json.dumps(taken if content is None else content).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(answer)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Service(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of clients that have left."""

    with Service(("127.0.0.1", port), Handler) as running:
        service.port = running.server_address[1]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield service
        finally:
            running.shutdown()


@dataclass
class Load:
    """What the clients of a load were told: the ids of all answers, the other statuses, and how often nothing came at all."""

    ids: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    silent: int = 0
    cut: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


def load(server: Server, clients: int, until: threading.Event, texts: int = 1) -> tuple[Load, list[threading.Thread]]:
    """Begin to ask over `clients` kept connections until an event is set; return what they hear, and their threads."""
    from http.client import HTTPConnection, HTTPException, RemoteDisconnected

    heard, lock = Load(), threading.Lock()
    body = json.dumps({"inputs": TWEETS[:1] * texts})

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        while not until.is_set():
            try:
                connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = json.loads(answer.read())
                with lock:
                    if answer.status == 200:
                        heard.ids += [one["prediction_id"] for one in content["predictions"]]
                        heard.versions.add(answer.headers["X-Model-Version"])
                    else:
                        heard.statuses.append(answer.status)
            except (
                RemoteDisconnected,
                ConnectionError,
            ):  # closed before a byte of an answer: the request was not taken
                with lock:
                    heard.silent += 1
                connection.close()
                time.sleep(0.1)
            except (HTTPException, ValueError, OSError) as error:
                with lock:
                    heard.cut.append(repr(error))
                connection.close()
        connection.close()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    return heard, threads


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Give a folder that is a disk of its own, of a size as `mount` takes it; skip the test where that is not allowed."""
    import pytest

    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk to be filled needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the ids of a process's children that serve."""
    import psutil

    found = []
    for child in psutil.Process(process.pid).children():
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.ZombieProcess:
            continue
    return found


def all_answer(server: Server, workers: int) -> bool:
    """Return whether so many workers have begun to answer since the start."""
    return len(re.findall(r"worker \d+ answers", server.log.read_text())) >= workers


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

"""One worker of an endpoint: loads the model, serves, follows the alias, and stops without losing what it has accepted.

A stop takes at most STOP_SECONDS. First new requests are told so (503) while the accepted ones are answered; then the connections
are closed; then telemetry is seen off.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from steps.sentiment import deployed, model_folder
from steps.sentiment.connections import Connection
from steps.sentiment.counters import Counters
from steps.sentiment.endpoint import Access, Endpoint, Limits
from steps.sentiment.predictions import Signer
from steps.sentiment.telemetry import open_telemetry

#: Seconds of a stop: for all of it; for new requests to be told at least; for accepted ones to be answered at most; for what is
#: not answered by then to be told; and for telemetry.
STOP_SECONDS = 10
_LINGER, _GRACE, _CUT, _TELEMETRY = 0.5, 4.0, 1, 3.0
#: Seconds for which a thread may keep the interpreter while another waits. Python's 5 ms would be seen in every slow answer, since
#: the model and telemetry have threads of their own.
_SWITCH_SECONDS = 0.001
_logger = logging.getLogger("serve")


@dataclass(frozen=True)
class Settings:
    """What a worker needs to know; `also` is the second version that can be asked: its URI and its folder."""

    uri: str
    folder: Path
    also: tuple[str, Path] | None
    store: Path
    threads: int
    follow: float
    limits: Limits
    access: Access
    signing_key: bytes
    connection_string: str
    telemetry_cache: Path | None
    telemetry_text: int


def run(settings: Settings, listening: socket.socket, ready: Any = None) -> None:
    """Serve until told to stop.

    Args:
        settings: of all workers.
        listening: the socket that they share.
        ready: an event that is set when the first request can be answered.

    Raises:
        InputError: the model cannot be served.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    os.environ["RAYON_NUM_THREADS"] = str(settings.threads)  # of the tokenizers
    loaded = deployed.load(settings.folder, settings.uri, settings.threads)
    beside = deployed.load(settings.also[1], settings.also[0], settings.threads, "also") if settings.also else None
    counters = Counters()
    telemetry = open_telemetry(
        settings.connection_string,
        settings.telemetry_cache,
        settings.telemetry_text,
        lambda fate, number: counters.events.labels(fate).inc(number),
    )
    endpoint = Endpoint(settings.limits, settings.access, Signer(settings.signing_key), counters, telemetry)
    config = uvicorn.Config(
        endpoint,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_CUT,
        backlog=2048,
    )
    server = _Server(config, endpoint, (loaded, beside), settings, ready)
    del loaded  # the endpoint lets go of it when another version follows
    server.run(sockets=[listening])
    telemetry.stop(_TELEMETRY)


class _Server(uvicorn.Server):
    # uvicorn's, with a stop in which nobody is cut off or left without a word.

    def __init__(
        self,
        config: uvicorn.Config,
        endpoint: Endpoint,
        loaded: tuple[deployed.Deployed, deployed.Deployed | None],
        settings: Settings,
        ready: Any,
    ) -> None:
        super().__init__(config)
        self._endpoint, (self._loaded, self._beside) = endpoint, loaded
        self._settings, self._ready = settings, ready
        self._told = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        version = self._loaded.identity.version
        if self._beside:
            self._endpoint.offer(self._beside)
        self._endpoint.use(self._loaded)
        del self._loaded
        await super().startup(sockets)
        if self._settings.follow:
            _Follower(self._settings, self._endpoint, version).start()
        if self._ready:
            self._ready.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._endpoint.stopping and sig == signal.SIGINT:  # Ctrl-C a second time
            self.should_exit = self.force_exit = True
        self._endpoint.stopping = True

    async def on_tick(self, counter: int) -> bool:
        self._endpoint.counters.waiting.set(self._endpoint.waiting)
        if self._endpoint.stopping:
            self._told = self._told or time.monotonic()
            passed = time.monotonic() - self._told
            if passed > _GRACE or (passed > _LINGER and not self._endpoint.waiting):
                return True
        return await super().on_tick(counter)


class _Follower(threading.Thread):
    # Asks the registry now and then which version holds the alias, and changes to it. A thread of its own, and no task: a registry
    # that does not answer must not hold up a stop.

    def __init__(self, settings: Settings, endpoint: Endpoint, version: str) -> None:
        super().__init__(name="following", daemon=True)
        self._settings, self._endpoint, self._version = settings, endpoint, version
        self._fetched: Path | None = None
        self._loop = asyncio.get_running_loop()

    def run(self) -> None:
        while True:
            try:
                self._look()
            except (
                Exception
            ) as error:  # the registry is away, or the version cannot be served: the one that is there goes on
                self._endpoint.counters.switches.labels("failed").inc()
                _logger.error("still answering with version %s: %s", self._version, error)
            time.sleep(self._settings.follow)

    def _look(self) -> None:
        named = deployed.alias_of(self._settings.uri)
        assert named
        version = deployed.version_at(*named)
        if version == self._version:
            return
        uri = f"models:/{named[0]}/{version}"
        folder = model_folder.fetch(uri, self._settings.store / f"{version}-{os.getpid()}")
        newer = deployed.load(folder, uri, self._settings.threads)
        self._loop.call_soon_threadsafe(self._endpoint.use, newer)
        self._endpoint.counters.switches.labels("done").inc()
        if self._fetched:  # it has been read whole
            shutil.rmtree(self._fetched, ignore_errors=True)
        self._version, self._fetched = version, folder

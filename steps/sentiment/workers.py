"""The processes of an endpoint: one alone, or several that share a socket, watched by this one.

A worker that dies is replaced, however it died; one that dies again at once is given a pause, and never takes the others along.
"""

import contextlib
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from typing import Any

from prometheus_client import multiprocess

from steps.sentiment import command_line, worker
from steps.sentiment.worker import Settings

#: Longest pause before a worker that keeps dying is started again, and how often the processes are looked at, in seconds.
_PAUSE, _TICK = 30, 0.2
_logger = logging.getLogger("serve")


def run(settings: Settings, listening: socket.socket, count: int) -> None:
    """Serve with `count` workers until told to stop.

    Raises:
        InputError: the model cannot be served.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file, and the usual limit is 1,024
    if count == 1:
        worker.run(settings, listening)
        return
    _Workers(settings, listening, count).run()


def _work(settings: Settings, listening: socket.socket, ready: Any) -> None:
    # The main function of a worker's process.
    _end_with_parent()
    command_line.run(lambda argv: worker.run(settings, listening, ready), "serve")


def _end_with_parent() -> None:
    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent:
            parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


class _Place:
    # A worker's place: its process, whether that answers, when the next may begin, and how many in a row have died before they did.

    def __init__(self) -> None:
        self.process: BaseProcess | None = None
        self.ready: Any = None
        self.answers = False
        self.not_before = 0.0
        self.failures = 0


class _Workers:
    def __init__(self, settings: Settings, listening: socket.socket, count: int) -> None:
        self._settings, self._listening = settings, listening
        self._places = [_Place() for _ in range(count)]
        self._context = multiprocessing.get_context("spawn")
        self._stopping = False
        self._ever_ready = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            # The first one alone until it answers: what keeps it from that would keep the others too, and one line says it.
            for place in self._places if self._ever_ready else self._places[:1]:
                self._keep(place)
            time.sleep(_TICK)
        self._end()

    def _stop(self, number: int, frame: Any) -> None:
        self._stopping = True

    def _keep(self, place: _Place) -> None:
        process = place.process
        if process is not None:
            if place.ready.is_set() and not place.answers:
                place.answers, place.failures, self._ever_ready = True, 0, True
                _logger.info("worker %d answers", process.pid)
            if process.is_alive():
                return
            if not self._ever_ready:
                sys.exit(process.exitcode or 1)
            self._bury(place)
        if time.monotonic() >= place.not_before and not self._stopping:
            place.ready, place.answers = self._context.Event(), False
            place.process = self._context.Process(
                target=_work, args=(self._settings, self._listening, place.ready), name="worker"
            )
            place.process.start()

    def _bury(self, place: _Place) -> None:
        process = place.process
        assert process
        pause = min(2**place.failures - 1, _PAUSE)
        place.failures += 1
        place.process, place.not_before = None, time.monotonic() + pause
        multiprocess.mark_process_dead(process.pid)
        _logger.error("worker %d died (exit code %s), the next begins in %d s", process.pid, process.exitcode, pause)

    def _end(self) -> None:
        left = [place.process for place in self._places if place.process]
        for process in left:
            process.terminate()
        deadline = time.monotonic() + worker.STOP_SECONDS - 1
        for process in left:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                _logger.error("worker %d did not stop in time", process.pid)
                with contextlib.suppress(OSError):
                    process.kill()

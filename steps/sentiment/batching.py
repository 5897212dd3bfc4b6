"""The texts of concurrent requests, scored together in one thread, so that the event loop never waits for the model.

A round takes what has gathered while the round before was scored: nobody is kept waiting for company, and the more is asked at
once the larger are the batches. It takes as many texts as fit into ROUND_SECONDS, and FEWEST at least, since small batches cost more
per text; the rest of a longer request goes behind those who came later, so that one tweet does not wait for a thousand.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

#: What a model says of n texts, with the words that drove it or without: n records.
Predict = Callable[[list[str], bool], list[dict[str, Any]]]

ROUND_SECONDS = 0.1
#: Texts of a round. Texts that are to be explained, each as costly as many, come singly if they must.
FEWEST, MOST = 64, 1024


class _Job:
    # A request's texts, the number of those taken so far, and the records found.
    __slots__ = ("answers", "explain", "future", "taken", "texts")

    def __init__(self, texts: list[str], explain: bool, future: "asyncio.Future[list[dict[str, Any]]]") -> None:
        self.texts, self.explain, self.future = texts, explain, future
        self.taken = 0
        self.answers: list[dict[str, Any]] = []


_Part = tuple[_Job, list[str]]


class Batches:
    """Scores texts for the coroutines of the running event loop."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[_Job | None] = SimpleQueue()
        # Seconds per text: explaining a text costs as much as scoring as many texts as it has words.
        self._seconds = {False: ROUND_SECONDS / FEWEST, True: ROUND_SECONDS}
        threading.Thread(target=self._run, name="scoring", daemon=True).start()

    async def answer(self, texts: list[str], explain: bool) -> list[dict[str, Any]]:
        """Return one record per text. A caller that is cancelled costs at most the round that is running."""
        if not texts:
            return []
        job = _Job(texts, explain, self._loop.create_future())
        self._asked.put(job)
        return await job.future

    def close(self, then: Callable[[], None]) -> None:
        """Answer those who wait, let go of the model, call `then` and end the thread; nobody may ask any more."""
        self._then = then
        self._asked.put(None)

    def _run(self) -> None:
        jobs: deque[_Job] = deque()
        closed = False
        while jobs or not closed:
            while not jobs or self._asked.qsize():
                job = self._asked.get()
                if job is None:
                    closed = True
                    break
                jobs.append(job)
            if parts := self._take(jobs):
                start = time.perf_counter()
                found = self._score(parts)
                explain, texts = parts[0][0].explain, sum(len(part) for _, part in parts)
                self._seconds[explain] += 0.2 * ((time.perf_counter() - start) / texts - self._seconds[explain])
                with contextlib.suppress(RuntimeError):  # the loop was closed over requests that were given up
                    self._loop.call_soon_threadsafe(self._deliver, parts, found)
        del self._predict
        self._then()

    def _take(self, jobs: deque[_Job]) -> list[_Part]:
        # Parts of the jobs in front that want the same.
        parts: list[_Part] = []
        if not jobs:
            return parts
        explain = jobs[0].explain
        room = min(max(int(ROUND_SECONDS / self._seconds[explain]), 1 if explain else FEWEST), MOST)
        while jobs and room > 0 and jobs[0].explain == explain:
            job = jobs.popleft()
            if job.future.done():  # timed out or failed: nobody waits any more
                continue
            part = job.texts[job.taken : job.taken + room]
            job.taken += len(part)
            room -= len(part)
            parts.append((job, part))
            if job.taken < len(job.texts):
                jobs.append(job)
        return parts

    def _score(self, parts: list[_Part]) -> list[list[dict[str, Any]] | Exception]:
        try:
            answers = iter(self._predict([text for _, part in parts for text in part], parts[0][0].explain))
            return [[next(answers) for _ in part] for _, part in parts]
        except Exception as error:
            if len(parts) == 1:
                return [error]
        # One of them made the model fail; the others shall not suffer for it.
        return [self._score([part])[0] for part in parts]

    def _deliver(self, parts: list[_Part], found: list[list[dict[str, Any]] | Exception]) -> None:
        for (job, _), answers in zip(parts, found, strict=True):
            if job.future.done():
                continue
            if isinstance(answers, Exception):
                job.future.set_exception(answers)
                continue
            job.answers += answers
            if len(job.answers) == len(job.texts):
                job.future.set_result(job.answers)

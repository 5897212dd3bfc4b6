"""One HTTP request and its answer, over ASGI: the body within its bounds, answers and refusals as JSON.

A refusal says what was wrong and what is allowed, in MLflow's words for errors (`error_code`, `message`); it never repeats what was
sent, nor shows a path or a stack trace.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

#: Seconds in which a body must have come.
BODY_SECONDS = 30
#: Bytes of a body that is read though it is not wanted, to keep the connection.
SMALL = 65_536
#: Seconds and bytes for which a client that sends too much is listened to, so that it gets to read the refusal.
LINGER_SECONDS, LINGER_BYTES = 5, 512 * 2**20


class RequestError(Exception):
    """The request gets an error for an answer: a status, MLflow's code, and a message for people."""

    def __init__(self, status: int, code: str, message: str, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or []

    def body(self) -> bytes:
        """Return the answer's body."""
        return orjson.dumps({"error_code": self.code, "message": self.message})


class GoneError(Exception):
    """The client has left before the end of its request: nobody reads an answer."""


class Held:
    """The bytes of all bodies that are being received or worked on, so that many together cannot fill the memory."""

    def __init__(self, most: int) -> None:
        self.most, self.now = most, 0


class Exchange:
    """A request, and the one answer that it gets."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, held: Held) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self._receive, self._send = receive, send
        self._held, self._mine = held, 0
        self._length = int(self.headers.get(b"content-length", b"0"))
        self._unread = self._length > 0 or b"transfer-encoding" in self.headers

    async def body(self, most: int) -> bytes:
        """Return the body.

        Args:
            most: bytes that are allowed.

        Raises:
            RequestError: it is larger (413), too slow (408), or one too many at once (429).
            GoneError: the client has left.
        """
        if self._length > most:
            raise _too_large(most)
        chunks = []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while self._unread:
                    chunks.append(await self._chunk())
                    self._mine += len(chunks[-1])
                    self._held.now += len(chunks[-1])
                    if self._mine > most:
                        raise _too_large(most)
                    if self._held.now > self._held.most:
                        raise too_many()
        except TimeoutError:
            message = f"the body did not come within {BODY_SECONDS} seconds"
            raise RequestError(408, "DEADLINE_EXCEEDED", message, [(b"connection", b"close")]) from None
        return b"".join(chunks)

    async def _chunk(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        self._unread = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def answer(self, status: int, content_type: bytes, content: bytes, headers: Headers) -> None:
        """Send the answer; to a client that is still sending, long enough for it to be read."""
        if self._unread and 0 < self._length <= SMALL:
            await self._discard(SMALL)
        close = [(b"connection", b"close")] if self._unread and (b"connection", b"close") not in headers else []
        fixed = [(b"content-type", content_type), (b"content-length", str(len(content)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers, *close]})
        if not self._unread:
            await self._send({"type": "http.response.body", "body": content})
            return
        # Closing over unread data resets the connection, and the client would see that instead of the answer.
        await self._send({"type": "http.response.body", "body": content, "more_body": True})
        await self._discard(LINGER_BYTES)
        await self._send({"type": "http.response.body", "body": b""})

    async def _discard(self, most: int) -> None:
        with contextlib.suppress(TimeoutError, GoneError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._unread and most > 0:
                    most -= len(await self._chunk())

    def release(self) -> None:
        """Give back what the body took of the memory."""
        self._held.now -= self._mine
        self._mine = 0


def _too_large(most: int) -> RequestError:
    return RequestError(413, "REQUEST_LIMIT_EXCEEDED", f"the body is too large; allowed: {most:,} bytes")


def too_many() -> RequestError:
    """Return the refusal of a request beyond what is worked on at once."""
    message = "too many requests at once; try again in a second"
    return RequestError(429, "REQUEST_LIMIT_EXCEEDED", message, [(b"retry-after", b"1")])

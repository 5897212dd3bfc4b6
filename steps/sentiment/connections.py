"""uvicorn's HTTP connection with what it lacks: bounds on the head of a request in bytes and seconds, and half-closed clients."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes that request line and headers may have, and seconds in which they must have come.
HEAD_BYTES, HEAD_SECONDS = 65_536, 10


class Connection(HttpToolsProtocol):
    """A connection that does not wait for ever, or without end, for a request to begin."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._raw = self._fields = 0  # bytes of the head: as they came, and of the headers that are complete
        self._in_head = True
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, unless a head grows too large before it ends."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._raw += len(data)
            if self._raw > HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._in_head, self._raw, self._fields = True, 0, 0
        self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, unless there are too many."""
        super().on_header(name, value)
        self._fields += len(name) + len(value)
        if self._fields > HEAD_BYTES:
            raise ValueError("the head of the request is too large")  # uvicorn answers 400

    def on_headers_complete(self) -> None:
        """Go on to the request."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer a client that has sent its request and closed its side."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return None
        self.cycle.keep_alive = False
        return True

    def _wait(self) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None

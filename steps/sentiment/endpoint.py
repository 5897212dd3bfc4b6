"""The endpoint: MLflow's scoring protocol for the loaded model, and what a server in production needs beside it, as one ASGI app.

An app of its own on uvicorn, which every served model brings along: seven fixed paths and JSON need no framework, and routing,
middleware and response objects cost more time than a small model takes to answer.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
from mlflow.version import VERSION as MLFLOW

from steps.sentiment import bodies, counters, openapi
from steps.sentiment.batching import Batches
from steps.sentiment.counters import Counters
from steps.sentiment.deployed import Deployed, settle
from steps.sentiment.exchange import Exchange, GoneError, Headers, Held, Receive, RequestError, Scope, Send, too_many
from steps.sentiment.predictions import Signer
from steps.sentiment.telemetry import Note, Silence, Telemetry

#: Bytes of a verdict: a text and a comment.
FEEDBACK_BYTES = 128 * 1024
#: How many bodies of the largest size a worker holds at once.
HELD_BODIES = 16
#: The path under which `mlflow.deployments` asks.
DEPLOYMENTS_PATH = "/endpoints/tweet-sentiment/invocations"
_JSON, _TEXT = b"application/json", b"text/plain; charset=utf-8"
_VERSION = b"x-model-version"
_logger = logging.getLogger("serve")


@dataclass(frozen=True)
class Limits:
    """What a worker takes: bytes of a body, texts of a request, requests at once, seconds of scoring."""

    max_bytes: int
    max_rows: int
    max_concurrent: int
    timeout: float


@dataclass(frozen=True)
class Access:
    """Who may ask: those with the key (anybody, if it is empty), and pages of these origins (none by default)."""

    api_key: str = ""
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Answer:
    content: bytes
    content_type: bytes = _JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Exchange, Note], Awaitable[_Answer]]


class _Loaded:
    # A model, and the thread in which it scores.

    def __init__(self, deployed: Deployed) -> None:
        self.deployed, self.batches = deployed, Batches(deployed.predict)

    @property
    def version(self) -> str:
        return self.deployed.identity.version


class Endpoint:
    """The app of one worker. `use` turns it on before the first request; `stopping` turns it off."""

    def __init__(
        self, limits: Limits, access: Access, signer: Signer, counters: Counters, telemetry: Telemetry | Silence
    ) -> None:
        self._limits, self._access, self._signer = limits, access, signer
        self.counters, self._telemetry = counters, telemetry
        self.stopping = False
        self.waiting = 0
        self._held = Held(HELD_BODIES * limits.max_bytes)
        self._main: _Loaded | None = None
        self._beside: _Loaded | None = None
        self._started, self._switched = time.time(), 0
        invoke: dict[str, Handler] = {"POST": self._invocations}
        self._routes: dict[str, dict[str, Handler]] = {
            "/invocations": invoke,
            DEPLOYMENTS_PATH: invoke,
            "/feedback": {"POST": self._feedback},
            "/ping": {"GET": self._ping},
            "/health": {"GET": self._health},
            "/version": {"GET": self._version},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
        }

    def use(self, deployed: Deployed) -> None:
        """Answer with this model from the next request on; those that are being answered keep the one before."""
        before, self._main = self._main, _Loaded(deployed)
        self._tell()
        if before is None:
            settle()
            return
        before.batches.close(settle)
        self._switched += 1
        _logger.warning("now answering with version %s", deployed.identity.version)

    def offer(self, deployed: Deployed) -> None:
        """Answer with this model, too, whoever asks for its version by the header X-Model-Version; before the first `use`."""
        self._beside = _Loaded(deployed)
        self._tell()

    def _tell(self) -> None:
        self._telemetry.serves({one.version: one.deployed.folder for one in self._all()})

    def _all(self) -> list[_Loaded]:
        # The models that can be asked, the one that answers unless asked for another first.
        return [one for one in (self._main, self._beside) if one]

    def _asked_for(self, exchange: Exchange) -> tuple[str, Batches]:
        # A version that is not here is refused: its answers would be taken for those of the one that was asked for.
        version = exchange.headers.get(_VERSION)
        for one in self._all():
            if version is None or version == one.version.encode():
                return one.version, one.batches
        allowed = ", ".join(one.version for one in self._all())
        message = f"X-Model-Version: this version does not answer here; allowed: {allowed}"
        raise RequestError(404, "RESOURCE_DOES_NOT_EXIST", message)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        exchange = Exchange(scope, receive, send, self._held)
        methods = self._routes.get(exchange.path)
        route = "unknown" if not methods else "/invocations" if exchange.path == DEPLOYMENTS_PATH else exchange.path
        note = Note(exchange.method, route, time.time_ns())
        start = time.perf_counter()
        headers = self._origin_headers(exchange)
        try:
            answer = await self._answer(exchange, methods, note)
        except RequestError as refused:
            self.counters.errors.labels(refused.code).inc()
            answer = _Answer(refused.body(), status=refused.status, headers=tuple(refused.headers))
        except GoneError:
            answer = _Answer(b"", status=499)  # nginx's number for a client that has left
        except asyncio.CancelledError:  # uvicorn does not wait any longer
            if not self.stopping:
                raise
            answer = _Answer(_stopping().body(), status=503)
        except Exception as error:
            _logger.error("%s %s failed: %s", exchange.method, route, type(error).__name__, exc_info=error)
            note.error = error
            self.counters.errors.labels("INTERNAL_ERROR").inc()
            answer = _Answer(RequestError(500, "INTERNAL_ERROR", "the endpoint failed").body(), status=500)
        finally:
            exchange.release()
        if self.stopping:
            headers.append((b"connection", b"close"))
        if answer.status != 499:
            await exchange.answer(answer.status, answer.content_type, answer.content, [*answer.headers, *headers])
        note.status, note.seconds = answer.status, time.perf_counter() - start
        self.counters.request(route, note.status, note.seconds)
        if route in ("/invocations", "/feedback"):
            self._telemetry.saw(note)

    async def _answer(self, exchange: Exchange, methods: dict[str, Handler] | None, note: Note) -> _Answer:
        if methods is None:
            raise RequestError(404, "ENDPOINT_NOT_FOUND", f"no such path; allowed: {', '.join(self._routes)}")
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        if exchange.method == "OPTIONS":
            return _Answer(b"", status=204, headers=((b"allow", allowed.encode()),))
        handler = methods.get("GET" if exchange.method == "HEAD" else exchange.method)
        if handler is None:
            message = f"this method is not allowed here; allowed: {allowed}"
            raise RequestError(405, "BAD_REQUEST", message, [(b"allow", allowed.encode())])
        if exchange.path not in ("/ping", "/health", "/openapi.json"):
            self._authenticate(exchange)
        return await handler(exchange, note)

    def _authenticate(self, exchange: Exchange) -> None:
        if not self._access.api_key:
            return
        given = exchange.headers.get(b"x-api-key", b"")
        scheme, _, token = exchange.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        if not hmac.compare_digest(given, self._access.api_key.encode()):
            message = "the API key is missing or wrong; allowed: Authorization: Bearer <key>, or X-API-Key: <key>"
            raise RequestError(401, "UNAUTHENTICATED", message, [(b"www-authenticate", b"Bearer")])

    def _origin_headers(self, exchange: Exchange) -> Headers:
        origin = exchange.headers.get(b"origin", b"")
        if not self._access.origins or origin.decode("latin-1") not in self._access.origins:
            return []
        shown = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if exchange.method != "OPTIONS":
            return [*shown, (b"access-control-expose-headers", b"X-Model-Version, Retry-After")]
        return [
            *shown,
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", b"Authorization, Content-Type, X-API-Key, X-Model-Version"),
            (b"access-control-max-age", b"600"),
        ]

    async def _body(self, exchange: Exchange, most: int) -> bytes:
        # The body of a request that is worked on: refused at once when there is no place for it.
        if self.stopping:
            raise _stopping()
        if exchange.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RequestError(415, "BAD_REQUEST", "compressed bodies are not understood; allowed: no Content-Encoding")
        if self.waiting >= self._limits.max_concurrent:
            raise too_many()
        return await exchange.body(most)

    async def _invocations(self, exchange: Exchange, note: Note) -> _Answer:
        kind = bodies.content_type(exchange.headers.get(b"content-type"), (bodies.JSON, bodies.CSV))
        limits = self._limits
        body = await self._body(exchange, limits.max_bytes)
        asked = bodies.asked(kind, body, limits.max_rows, limits.max_bytes)
        version, batches = self._asked_for(exchange)  # not the model itself: one that is left shall not be held
        if self.waiting >= limits.max_concurrent:
            raise too_many()
        self.waiting += 1
        try:
            async with asyncio.timeout(limits.timeout):
                answers = await batches.answer(asked.texts, asked.explain)
        except TimeoutError:
            message = f"no answer within {limits.timeout:g} seconds; allowed: fewer texts at once"
            raise RequestError(504, "DEADLINE_EXCEEDED", message) from None
        finally:
            self.waiting -= 1
        ids = self._signer.sign(version, (answer["label"] for answer in answers))
        for answer, prediction_id in zip(answers, ids, strict=True):
            answer["prediction_id"] = prediction_id
        self.counters.answered(version, answers)
        note.version, note.texts, note.answers = version, asked.texts, answers
        return _Answer(orjson.dumps({"predictions": answers}), headers=((_VERSION, version.encode()),))

    async def _feedback(self, exchange: Exchange, note: Note) -> _Answer:
        bodies.content_type(exchange.headers.get(b"content-type"), (bodies.JSON,))
        verdict = bodies.verdict(await self._body(exchange, FEEDBACK_BYTES))
        prediction = self._signer.read(verdict.prediction_id)
        if prediction is None:
            raise RequestError(404, "RESOURCE_DOES_NOT_EXIST", "prediction_id: no answer of ours has this id")
        right = prediction.label == verdict.expected
        self.counters.feedback.labels(prediction.version, "right" if right else "wrong").inc()
        note.version, note.feedback = prediction.version, (prediction, verdict)
        found = {"predicted": prediction.label, "expected": verdict.expected, "mispredicted": not right}
        return _Answer(orjson.dumps({"prediction_id": verdict.prediction_id, **found}))

    async def _ping(self, exchange: Exchange, note: Note) -> _Answer:
        if self.stopping:
            raise _stopping()
        return _Answer(b"\n", _TEXT)

    async def _health(self, exchange: Exchange, note: Note) -> _Answer:
        if self.stopping:
            raise _stopping()
        assert self._main
        uptime = round(time.time() - self._started, 3)
        return _Answer(
            orjson.dumps({"status": "ok", **self._main.deployed.identity.as_dict(), "uptime_seconds": uptime})
        )

    async def _version(self, exchange: Exchange, note: Note) -> _Answer:
        assert self._main
        about = {
            "mlflow": MLFLOW,
            **self._main.deployed.identity.as_dict(),
            "since": round(self._main.deployed.since, 3),
            "switches": self._switched,
            "also": self._beside.deployed.identity.as_dict() if self._beside else None,
        }
        return _Answer(orjson.dumps(about), headers=((_VERSION, self._main.version.encode()),))

    async def _metrics(self, exchange: Exchange, note: Note) -> _Answer:
        return _Answer(await asyncio.to_thread(counters.page), counters.CONTENT_TYPE)

    async def _openapi(self, exchange: Exchange, note: Note) -> _Answer:
        limits, versions = self._limits, [one.version for one in self._all()]
        return _Answer(openapi.page(limits.max_rows, limits.max_bytes, bool(self._access.api_key), versions))


def _stopping() -> RequestError:
    headers = [(b"retry-after", b"1")]
    return RequestError(503, "TEMPORARILY_UNAVAILABLE", "the endpoint is stopping; try another or again", headers)

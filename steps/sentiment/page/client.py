"""The endpoint as the page asks it: over HTTP alone, within time limits, and each failure is a sentence for a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from steps.sentiment.predictions import LABELS

#: Seconds for a connection; for an answer to a question about the endpoint, and to texts (the endpoint's own limit is 60).
CONNECT, SHORT, LONG = 2.0, 5.0, 70.0
#: How often a request is sent again that the endpoint was too busy to take (429), or that met it while it stopped (503).
AGAIN = 4


class EndpointError(Exception):
    """The endpoint did not do what was asked; the message says why."""


class DownError(EndpointError):
    """Nobody answers."""


class TooLargeError(EndpointError):
    """Too much was asked for at once (413)."""


@dataclass(frozen=True)
class About:
    """Who answers: name, version and family of the model, and the version that can be asked beside it, if there is one."""

    name: str
    version: str
    family: str
    also: str | None


@dataclass(frozen=True)
class Answers:
    """The version that answered, and its records, one for each text."""

    version: str
    records: list[dict[str, Any]]


class Client:
    """Asks one endpoint; for one thread at a time."""

    def __init__(self, address: str, key: str = "") -> None:
        """Take the address, `http://127.0.0.1:5001`, and the API key, if one is asked for."""
        self.address = address.rstrip("/")
        self._session = requests.Session()
        again = Retry(
            AGAIN,
            connect=0,
            read=False,  # a request that may have been worked on is not sent twice; its timeout is told as one
            status_forcelist=(429, 503),
            allowed_methods=None,
            backoff_factor=0.2,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=again))
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def about(self) -> About:
        """Return who answers.

        Raises:
            EndpointError: it does not say.
        """
        found = _json(self._ask("GET", "/version", SHORT))
        try:
            also = found["also"]
            return About(found["model"], found["version"], found["family"], also["version"] if also else None)
        except (KeyError, TypeError) as error:
            raise self._stranger() from error

    def score(self, texts: Sequence[str], explain: bool = False, version: str | None = None) -> Answers:
        """Return what a version says of texts, by default the one that answers unless another is asked for.

        Raises:
            EndpointError: it does not answer; DownError: nobody does; TooLargeError: these are too many or too long.
        """
        headers = {"X-Model-Version": version} if version else {}
        body = {"inputs": list(texts), "params": {"explain": explain}}
        answer = self._ask("POST", "/invocations", LONG, json=body, headers=headers)
        try:
            records = _json(answer)["predictions"]
            right = len(records) == len(texts) and all(record["label"] in LABELS for record in records)
            version = answer.headers["X-Model-Version"]
        except (KeyError, TypeError) as error:
            raise self._stranger() from error
        if not right:
            raise self._stranger()
        return Answers(version, records)

    def judge(self, prediction_id: str, expected: str, text: str = "") -> None:
        """Say what an answer should have been; `text` is given only if its sender agrees that it is kept.

        Raises:
            EndpointError: the verdict was not taken.
        """
        verdict: dict[str, Any] = {"prediction_id": prediction_id, "expected": expected}
        if text:
            verdict |= {"text": text, "keep": True}
        self._ask("POST", "/feedback", SHORT, json=verdict)

    def metrics(self) -> str:
        """Return its counters, as Prometheus reads them.

        Raises:
            EndpointError: it does not say.
        """
        return self._ask("GET", "/metrics", SHORT).text

    def _ask(self, method: str, path: str, seconds: float, **given: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, self.address + path, timeout=(CONNECT, seconds), allow_redirects=False, **given
            )
        except requests.ReadTimeout as error:
            raise DownError(f"The endpoint {self.address} did not answer within {seconds:g} seconds.") from error
        except requests.RequestException as error:
            raise DownError(f"The endpoint {self.address} does not answer.") from error
        if answer.status_code == 200:
            return answer
        if answer.status_code == 401:
            raise EndpointError(
                f"The endpoint {self.address} asks for a key: start this page with SERVE_API_KEY set to it."
            )
        found = _json(answer)
        said = found.get("message") if isinstance(found, Mapping) else None
        if not said:
            raise self._stranger()
        kind = TooLargeError if answer.status_code == 413 else EndpointError
        raise kind(f"The endpoint refused ({answer.status_code}): {said}")

    def _stranger(self) -> EndpointError:
        return EndpointError(
            f"{self.address} answers, but not as this project's endpoint does; start it with `make serve`."
        )


def _json(answer: requests.Response) -> Any:
    # None where it is no JSON: whoever looks for a key in it finds that this is no endpoint of ours.
    try:
        return answer.json()
    except requests.JSONDecodeError:
        return None

"""Serves a model of the registry: MLflow's scoring protocol, feedback, health, metrics and telemetry.

    mlflow run . -e serve --env-manager local
    python -m steps.serve --model models:/tweet-sentiment/3 --port 8080 --workers 2
    SERVE_MAX_ROWS=100 python -m steps.serve

Answers on http://127.0.0.1:5001 some seconds after the start, and ends on SIGTERM or Ctrl-C within ten, with every accepted
request answered. A flag that is not given is looked for in the environment, as SERVE_ and its name in capitals (the port as PORT too).
Secrets come from there alone: SERVE_API_KEY (asked of every client), SERVE_PREDICTION_KEY (signs the ids of answers),
APPLICATIONINSIGHTS_CONNECTION_STRING (where telemetry goes). Leaves nothing but what telemetry could not send.
"""

import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steps.sentiment import command_line, deployed, model_folder, predictions, registry, telemetry
from steps.sentiment.command_line import Flags, InputError, integer, optional, positive_number, something, words
from steps.sentiment.listening import listen

_logger = logging.getLogger("serve")


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("serve", __doc__)

    def flag(name: str, default: str, help: str, parse: object = str) -> None:
        given = os.environ.get(f"SERVE_{name.upper()}", os.environ.get("PORT", default) if name == "port" else default)
        flags.flag(name, given, help, parse)  # type: ignore[arg-type]

    flag(
        "model",
        registry.uri(registry.CHAMPION),
        "models:/<name>@<alias>, models:/<name>/<version>, or a folder",
        something,
    )
    flag("also", "", "a second version, which answers who asks for it with the header X-Model-Version; default: none")
    flag("host", "127.0.0.1", "address to listen on; 0.0.0.0: all", something)
    flag("port", "5001", "port to listen on", integer(1, 65_535))
    flag("workers", "1", "processes, each with the model", integer(1, 64))
    flag("threads", "", "of each worker, for one batch; default: its share of the cores", optional(integer(1, 256)))
    flag(
        "follow",
        "",
        "seconds between two looks at the alias, to change to its version; default: never",
        optional(positive_number),
    )
    flag("max_bytes", "4194304", "bytes of a request; more get 413", integer(1, 2**30))
    flag("max_rows", "5000", "texts of a request; more get 413", integer(1))
    flag("max_concurrent", "128", "requests of a worker at once; more get 429", integer(1))
    flag("timeout", "60", "seconds of scoring; more get 504", positive_number)
    flag("cors", "", "origins of pages that may ask, separated by commas; default: none", words)
    flag("telemetry_text", "0", "characters of each text that telemetry sends along; 0: none", integer())
    flag("telemetry_cache", "", "folder for telemetry that could not be sent; default: in the temporary folder")
    return flags


def signing_key() -> bytes:
    """Return the key of the ids of answers: that of the environment, or one that ends with this process.

    Raises:
        InputError: it is too short.
    """
    text = os.environ.get("SERVE_PREDICTION_KEY", "")
    if not text:
        _logger.warning(
            "SERVE_PREDICTION_KEY is not set: feedback will be understood only until this endpoint ends, and only by it"
        )
        return secrets.token_bytes(32)
    if len(text) < predictions.SHORTEST_KEY:
        raise InputError(
            f"SERVE_PREDICTION_KEY: got {len(text)} characters; allowed: at least {predictions.SHORTEST_KEY}"
        )
    return text.encode()


def connection_string() -> str:
    """Return the connection string of Application Insights, or an empty text.

    Raises:
        InputError: it is malformed.
    """
    text = os.environ.get("APPLICATIONINSIGHTS_CONNECTION_STRING", "").strip()
    if text and (reason := telemetry.wrong(text)):
        raise InputError(
            f"APPLICATIONINSIGHTS_CONNECTION_STRING: {reason}; allowed: the string that the resource's page shows"
        )
    return text


def cache(text: str) -> Path | None:
    """Return the folder for telemetry that could not be sent, which is made if it is not there; None: the line's own.

    Raises:
        InputError: it cannot be made or written to.
    """
    if not text:
        return None
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"telemetry_cache={text}: {error.strerror}; allowed: a folder that can be written to"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"telemetry_cache={text}: not to be written to; allowed: a folder that can be written to")
    return folder


@contextmanager
def counted() -> Iterator[None]:
    """Give the counters of all workers a folder, in memory where there is such a thing: a full disk must not stop an endpoint."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="serve-", dir=place) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def main(argv: list[str] | None = None) -> None:
    """Fetch the model and serve it."""
    given = flags().read(argv)
    logging.basicConfig(level=logging.ERROR, format="serve: %(message)s")
    _logger.setLevel(logging.INFO)
    if given.follow and not deployed.alias_of(given.model):
        raise InputError(
            f"follow={given.texts['follow']}: model={given.model} has no alias; allowed: models:/<name>@<alias>"
        )
    line, key = connection_string(), signing_key()
    cached = cache(given.telemetry_cache) if line else None
    with listen(given.host, given.port) as listening, counted(), tempfile.TemporaryDirectory(prefix="served-") as store:
        # prometheus_client, behind these, looks for the folder of `counted` when it is imported.
        from steps.sentiment import endpoint, worker, workers  # noqa: PLC0415

        folder = model_folder.fetch(given.model, Path(store, "first"))
        who = model_folder.identify(folder)
        also = model_folder.fetch(given.also, Path(store, "also"), "also") if given.also else None
        if also and model_folder.identify(also).version == who.version:
            raise InputError(f"also={given.also}: that is version {who.version} again; allowed: another than model")
        settings = worker.Settings(
            uri=given.model,
            folder=folder,
            also=(given.also, also) if also else None,
            store=Path(store),
            threads=given.threads or max(1, deployed.cores() // given.workers),
            follow=given.follow or 0.0,
            limits=endpoint.Limits(given.max_bytes, given.max_rows, given.max_concurrent, given.timeout),
            access=endpoint.Access(os.environ.get("SERVE_API_KEY", ""), tuple(given.cors)),
            signing_key=key,
            connection_string=line,
            telemetry_cache=cached,
            telemetry_text=given.telemetry_text,
        )
        _logger.info("%s version %s (%s) on http://%s:%d", who.name, who.version, who.family, given.host, given.port)
        workers.run(settings, listening, given.workers)


if __name__ == "__main__":
    command_line.run(main, "serve")

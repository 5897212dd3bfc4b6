"""The model that an endpoint answers with, loaded, and whether its alias has moved on."""

import ctypes
import gc
import inspect
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.tracking import MlflowClient

from steps.sentiment.command_line import InputError, first_line
from steps.sentiment.model import Answer
from steps.sentiment.model_folder import Identity, identify

_ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)")
_WARM_UP = ["Lost my bag", "but the crew made my day :)", "@you " * 20]


@dataclass(frozen=True)
class Deployed:
    """A loaded model; `since` is when it was loaded, in seconds since 1970."""

    identity: Identity
    predict: Callable[[list[str], bool], list[dict[str, Any]]]
    folder: Path
    since: float


def load(folder: Path, uri: str, threads: int, flag: str = "model") -> Deployed:
    """Load the model in a folder, as MLflow does but for its checks: the texts are checked before they get here.

    Args:
        folder: where its files are.
        uri: what the person gave, for messages.
        threads: that it may use for one batch.
        flag: that named it, for messages.

    Raises:
        InputError: it does not load, or does not answer as docs/architecture.md says ("Model contract").
    """
    limit_threads(folder, threads)
    try:
        model = mlflow.pyfunc.load_model(str(folder)).unwrap_python_model()
        # MLflow wraps `predict` in a check of every text, which takes longer than a small model.
        own = inspect.unwrap(type(model).predict)

        def predict(texts: list[str], explain: bool) -> list[dict[str, Any]]:
            answers: list[dict[str, Any]] = own(model, None, texts, {"explain": explain})
            return answers

        for answer in [*predict(_WARM_UP, False), *predict(_WARM_UP, True)]:
            Answer.model_validate(answer, strict=True)
    except Exception as error:
        raise InputError(f"{flag}={uri}: cannot be served ({type(error).__name__}: {first_line(error)})") from error
    return Deployed(identify(folder), predict, folder, time.time())


def settle() -> None:
    """Free what a model before has left, and spare the collector the walk through the present one between two requests."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    # What was freed stays with the process, in pieces that the next model does not fit into, unless the C library (glibc) is asked.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def limit_threads(folder: Path, threads: int) -> None:
    """Give the onnxruntime sessions that are made from now on `threads` threads each.

    The file that shipped with a model makes them without options, and would take a thread per core in every worker.
    """
    requirements = folder / "requirements.txt"
    if not requirements.is_file() or "onnxruntime" not in requirements.read_text(encoding="utf-8"):
        return
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would tell Microsoft of every model that is loaded
    import onnxruntime  # noqa: PLC0415 - a model of another kind is served without it

    own = getattr(onnxruntime.InferenceSession, "unlimited", onnxruntime.InferenceSession)

    class Limited(own):  # type: ignore[misc, valid-type]
        unlimited = own

        def __init__(self, path: Any, sess_options: Any = None, **rest: Any) -> None:
            options = sess_options or onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            # Threads that spin between two batches take the cores of the other workers and of the event loop; within one, where a
            # small batch hands work over many times, waking them would take as long as the work.
            options.add_session_config_entry("session.force_spinning_stop", "1")
            super().__init__(path, options, **rest)

    onnxruntime.InferenceSession = Limited


def cores() -> int:
    """Return how many cores this process may use: those it is bound to, and no more than its container's share."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(bound, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or no limit ("max")
        return bound


def alias_of(uri: str) -> tuple[str, str] | None:
    """Return name and alias of a URI `models:/<name>@<alias>`, or None."""
    found = _ALIAS.fullmatch(uri)
    return (found[1], found[2]) if found else None


def version_at(name: str, alias: str) -> str:
    """Return the number of the version that holds an alias now."""
    return str(MlflowClient().get_model_version_by_alias(name, alias).version)

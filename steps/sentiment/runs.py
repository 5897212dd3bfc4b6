"""The read side of MLflow runs. Writing them is tracking.py's alone; importing this loads no ML framework."""

import functools
import tempfile
from pathlib import Path

import mlflow
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException

from steps.sentiment.command_line import InputError, first_line, turned_away, unreachable

EXPERIMENT = "tweet-sentiment"


def finished(**tags: str) -> list[Run]:
    """Return the finished runs with these tags, newest first, from all experiments."""
    conditions = ["attributes.status = 'FINISHED'", *(f"tags.{name} = '{value}'" for name, value in tags.items())]
    found: list[Run] = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=" and ".join(conditions),
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return found


def history(run: Run, metric: str) -> list[float]:
    """Return a metric's values by step."""
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, metric)
    return [point.value for point in sorted(points, key=lambda point: point.step)]


def get(run_id: str, flag: str) -> Run:
    """Return the run that a flag names.

    Raises:
        InputError: there is no such run, or it was deleted.
    """
    try:
        run = mlflow.get_run(run_id)
    except MlflowException as error:
        if unreachable(error) or turned_away(error):
            raise
        raise InputError(f"{flag}={run_id}: no such run; allowed: the id of a finished run") from error
    if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InputError(f"{flag}={run_id}: this run was deleted; allowed: the id of a finished run")
    return run


def artifact(uri: str, flag: str) -> Path:
    """Fetch the artifact that a flag names and return its local path.

    Raises:
        InputError: it is not there.
    """
    try:
        return fetched(uri)
    except (MlflowException, OSError) as error:
        if unreachable(error) or turned_away(error):
            raise
        raise InputError(f"{flag}={uri}: not found ({first_line(error)})") from error


def fetched(uri: str) -> Path:
    """Return a copy of an artifact that goes when this process ends; MLflow would leave its own behind.

    Raises:
        MlflowException, OSError: it is not there.
    """
    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=tempfile.mkdtemp(dir=_copies().name)))


@functools.cache
def _copies() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="tweet-sentiment-")

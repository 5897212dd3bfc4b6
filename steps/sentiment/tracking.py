"""The only writer of MLflow runs: every step opens its run here, and every family logs its model with one function.

A step's run carries the tags `step`, `step_key` (the step, its parameters, the digest of its data and of the code: equal
keys give equal results, so `main` reuses the run), `dataset_digest` and `code_digest`. Runs are found by these tags in
whatever experiment they are, since `mlflow run` takes the experiment from its own flag.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import Run
from mlflow.models.model import ModelInfo

from steps.sentiment import abandoned, bundled, metrics, plots, profile, runs, served
from steps.sentiment.command_line import InputError
from steps.sentiment.comparison import RESULT, TABLE, hash_tag
from steps.sentiment.dataset import Dataset, load
from steps.sentiment.keys import MODEL_FILE, code_digest, step_key
from steps.sentiment.model import calibrated
from steps.sentiment.review_queue import QUEUE
from steps.sentiment.runs import EXPERIMENT
from steps.sentiment.trained import Trained

#: Largest difference allowed between the score as trained and as served.
PARITY = 1e-4


def find_dataset(uri: str) -> Dataset:
    """Open the dataset that a `dataset` flag names; an empty one means the newest prepared.

    Raises:
        InputError: there is none, or the URI names no prepared dataset.
    """
    if not uri:
        prepared = runs.finished(step="prepare")
        if not prepared:
            raise InputError("dataset=: nothing has been prepared yet; run the entry point prepare first")
        uri = f"runs:/{prepared[0].info.run_id}/dataset"
    if ":/" in uri:
        return load(runs.artifact(uri, "dataset"), uri)
    return replace(load(Path(uri), uri), uri=str(Path(uri).resolve()))


@contextmanager
def step(name: str, flags: Mapping[str, str], data: str, run_name: str = "") -> Iterator[Run]:
    """Open the run of a step: the one that `mlflow run` made, or a new one in the project's experiment.

    An exception leaves the run FAILED, never RUNNING; what a killed process left RUNNING is closed by the next step.

    Args:
        name: the entry point.
        flags: its flags as typed; those that `mlflow run` has logged already are left as they are.
        data: digest of the data that it reads.
        run_name: shown in the MLflow UI; default the entry point.
    """
    if "MLFLOW_RUN_ID" not in os.environ:
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
    abandoned.close()
    ours = {"process": abandoned.this_process()}  # with the first breath: a kill may come at once
    with mlflow.start_run(run_name=run_name or name, log_system_metrics=True, tags=ours) as run:
        known = mlflow.get_run(run.info.run_id).data.params
        mlflow.log_params({flag: text for flag, text in flags.items() if flag not in known})
        mlflow.set_tags(
            {
                "step": name,
                "step_key": step_key(name, flags, data),
                "code_digest": code_digest(name),
                "mlflow.runName": run_name or name,
            }
        )
        yield run


@contextmanager
def trial(name: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Open a child run of the active one for a trial of a search, with its hyperparameters by name."""
    tags = {"step": "trial", "process": abandoned.this_process()}
    with mlflow.start_run(run_name=name, nested=True, tags=tags):
        mlflow.log_params(dict(values))
        yield


def log_prepared(folder: Path, counts: Mapping[str, int], digest: str) -> None:
    """Log a prepared dataset: the folder as artifact `dataset`, the rows that each stage left as metrics."""
    mlflow.log_artifacts(str(folder), "dataset")
    mlflow.set_tag("dataset_digest", digest)
    mlflow.log_metrics({_metric_name(name): float(count) for name, count in counts.items()})


def _metric_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text.replace(": ", ":"))


def log_training_run(trained: Trained, dataset: Dataset, validation: pd.DataFrame) -> str:
    """Calibrate, check and log a trained model in the active run; every family goes through here.

    The model is loaded from its artifact in a fresh process, from a folder without our code, before the run may
    finish: its scores must agree with the training framework's.

    Args:
        trained: the model.
        dataset: what it was trained on.
        validation: the validation split (`text`, `label`), in the order of `trained.validation_logits`.

    Returns:
        The URI of the logged model, `models:/m-...`.

    Raises:
        RefusedError: the model has fallen to one class.
        RuntimeError: the served model does not load, or answers otherwise than the trained one.
    """
    labels = validation["label"].to_numpy()
    metrics.refuse_collapse(labels, trained.validation_logits)
    calibration = metrics.calibrate(labels, trained.validation_logits)
    scores = calibrated(trained.validation_logits, calibration)
    band = metrics.unsure_band(labels, scores)
    settings = {
        "family": trained.family,
        "loader": trained.loader,
        "calibration": calibration,
        "unsure": band,
        trained.loader: trained.settings,
    }
    (trained.folder / "model.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    unsure = (scores >= band[0]) & (scores <= band[1])
    described = profile.of_texts(validation["text"]) | profile.of_scores(scores, unsure)
    (trained.folder / "profile.json").write_text(json.dumps(described, indent=1), encoding="utf-8")

    log_input(dataset, "training")
    for path in trained.files:
        mlflow.log_artifact(str(path), "files")
    model, answers = _log_model(
        (trained.family, trained.name), MODEL_FILE, trained.folder, trained.requirements, dataset, validation["text"]
    )
    difference = float(np.abs(answers.scores - scores).max())
    if not difference <= PARITY:
        raise RuntimeError(f"the served model differs from the trained one by {difference:g}; allowed: {PARITY:g}")
    facts = trained.facts | {
        "train_seconds": trained.seconds,
        "parity_max_difference": difference,
        "unsure_low": band[0],
        "unsure_high": band[1],
        "validation_unsure_share": float(unsure.mean()),
    }
    _log_measured(trained.family, trained.folder, labels, answers, facts, model, dataset)
    return model.model_uri


def log_bundled(dataset: Dataset, validation: pd.DataFrame) -> str:
    """Log the model that comes with the project, as it is, in the active run, and what it says of the validation rows.

    Returns:
        The URI of the logged model.
    """
    facts, whole = bundled.facts(), bundled.FOLDER / bundled.MODEL
    log_input(dataset, "validation")
    requirements = (whole / "requirements.txt").read_text(encoding="utf-8").split()
    folder = whole / "artifacts/model"
    model, answers = _log_model(
        ("bundled", f"bundled {facts['name']}"),
        whole / MODEL_FILE.name,
        folder,
        requirements,
        dataset,
        validation["text"],
    )
    known = {name: facts["training_metrics"][name] for name in ("train_rows", "train_seconds")}
    _log_measured("bundled", folder, validation["label"].to_numpy(), answers, known, model, dataset)
    return model.model_uri


def _log_model(
    names: tuple[str, str], shipped: Path, folder: Path, requirements: list[str], dataset: Dataset, texts: pd.Series
) -> tuple[ModelInfo, served.Answers]:
    # Logs a model of family and name `names`, and asks it `texts` in a fresh process, as a server would.
    tags = {"family": names[0], "model_name": names[1], "dataset_digest": dataset.digest, "dataset_uri": dataset.uri}
    mlflow.set_tags(tags)
    model = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(shipped),
        artifacts={"model": str(folder)},
        input_example=(["Lost my bag, but the crew made my day"], {"explain": False}),
        pip_requirements=requirements,
        metadata={"family": names[0], "dataset_digest": dataset.digest},
    )
    if model.signature is None or model.signature.params is None:
        raise RuntimeError("the logged model has no signature with params; is its input example missing?")
    return model, served.ask(model.model_uri, texts)


def _log_measured(
    family: str,
    folder: Path,
    labels: np.ndarray,
    answers: served.Answers,
    facts: dict[str, float],
    model: ModelInfo,
    dataset: Dataset,
) -> None:
    # Logs what a served model reached on the validation rows; with its id the run counts as a candidate.
    measured = {f"validation_{name}": value for name, value in metrics.evaluate(labels, answers.scores).items()}
    sizes = {
        "predict_ms_per_tweet": answers.milliseconds_per_text,
        "model_size_mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6,
    }
    log_metrics(measured | facts | sizes, model.model_id, dataset)
    log_figures(
        plots.curves(labels, {family: answers.scores}, "validation")
        | {"confusion": plots.confusion(labels, answers.scores, "validation")}
    )
    mlflow.set_tag("model_id", model.model_id)


def log_settings(values: Mapping[str, Any]) -> None:
    """Log what a search has found as parameters `found_...` of the active run."""
    mlflow.log_params({f"found_{name}": value for name, value in values.items()})


def log_epoch(epoch: int, values: Mapping[str, float]) -> None:
    """Log the metrics of an epoch, counted from 1, to the active run."""
    mlflow.log_metrics(dict(values), step=epoch)


def log_comparison(
    dataset: Dataset,
    result: dict[str, Any],
    table: str,
    frames: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Figure],
) -> None:
    """Log a comparison in the active run, and each model's metrics in a child run and with the model itself.

    Args:
        dataset: what was compared on.
        result: `comparison.json`; its `models` carry `model_id`, `name`, `family` and `metrics`.
        table: the same for people, in Markdown.
        frames: rows by file name: `label`, slices, one column of scores per model id. No text.
        figures: of all models.
    """
    log_input(dataset, "test")
    mlflow.set_tags({"dataset_digest": dataset.digest, "winner": result["winner"]})
    log_files({RESULT: json.dumps(result, indent=1), TABLE: table + "\n", **frames})
    log_figures(figures)
    for entry in result["models"]:
        with mlflow.start_run(run_name=entry["name"], nested=True):
            mlflow.set_tags({"family": entry["family"], "compared_model_id": entry["model_id"]})
            log_input(dataset, "test")
            log_metrics(entry["metrics"], entry["model_id"], dataset)


def log_review_queue(queue: pd.DataFrame, digest: str) -> None:
    """Log a review queue in the active run, as a file and as a dataset of this digest."""
    log_files({QUEUE: queue})
    active = mlflow.active_run()
    assert active
    source = CodeDatasetSource({"uri": f"runs:/{active.info.run_id}/{QUEUE}"})
    mlflow.log_input(PandasDataset(queue, source, name="review-queue", digest=digest), context="review")
    mlflow.set_tag("dataset_digest", digest)


def log_input(dataset: Dataset, context: str) -> None:
    """Log the dataset as input of the active run: its name, source and digest; no row is read for it."""
    mlflow.log_input(_described(dataset), context=context)


def _described(dataset: Dataset) -> PandasDataset:
    # An empty frame: schema and profile of 1.5 million rows would be computed at each call, and the digest is ours.
    rows = pd.DataFrame({"text": pd.Series(dtype="str"), "label": pd.Series(dtype="float")})
    return PandasDataset(rows, CodeDatasetSource({"uri": dataset.uri}), name=dataset.source, digest=dataset.digest)


def log_metrics(values: Mapping[str, float], model_id: str | None = None, dataset: Dataset | None = None) -> None:
    """Log metrics to the active run in one call, and to a logged model beside it."""
    mlflow.log_metrics(dict(values))
    if model_id and dataset:
        mlflow.log_metrics(
            dict(values),
            model_id=model_id,
            dataset=_described(dataset),
        )


def log_figures(figures: Mapping[str, Figure]) -> None:
    """Log figures as PNG under `figures/`."""
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"figures/{name}.png")


def log_files(files: Mapping[str, str | pd.DataFrame]) -> None:
    """Log texts and frames (as parquet) as artifacts at the top of the active run, and their sha256 as tags."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            if isinstance(content, str):
                path.write_text(content, encoding="utf-8")
            else:
                content.to_parquet(path, index=False)
            mlflow.set_tag(hash_tag(name), hashlib.sha256(path.read_bytes()).hexdigest())
        mlflow.log_artifacts(folder)

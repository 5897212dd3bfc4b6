"""Runs as steps leave them: datasets, states, and the check that a model must pass before its run may finish."""

import json
import os
import socket
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from steps import prepare
from steps.sentiment import metrics, runs, served, tracking
from steps.sentiment.command_line import InputError, RefusedError
from tests.conftest import statuses


def test_a_step_that_fails_leaves_a_failed_run_and_one_that_ends_a_finished_one(store: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracking.step("prepare", {"seed": "0"}, "digest"):
        raise ZeroDivisionError
    with pytest.raises(SystemExit), tracking.step("prepare", {"seed": "0"}, "digest"):
        raise SystemExit(143)
    with tracking.step("prepare", {"seed": "0"}, "digest"):
        assert "RUNNING" in statuses()
    assert sorted(statuses()) == ["FAILED", "FAILED", "FINISHED"]
    assert [run.data.params for run in runs.finished(step="prepare")] == [{"seed": "0"}]


def test_what_a_killed_process_left_running_is_closed_and_what_still_runs_is_not(store: Path) -> None:
    mlflow.set_experiment(tracking.EXPERIMENT)
    host = socket.gethostname()
    left = {
        "gone": f"{host} 999999999 1.00",
        "another process with its number": f"{host} {os.getpid()} 1.00",
        "another machine's": "elsewhere 999999999 1.00",
        "ours": "",
    }
    for name, process in left.items():
        with tracking.step("prepare", {}, "digest", name) as run:
            pass
        client = mlflow.MlflowClient()
        client.update_run(run.info.run_id, status="RUNNING")
        if process:
            client.set_tag(run.info.run_id, "process", process)
    with tracking.step("prepare", {}, "digest", "now"):
        found = mlflow.search_runs(search_all_experiments=True, output_format="list")
        states = {run.info.run_name: run.info.status for run in found}
    assert states == {
        "gone": "KILLED",
        "another process with its number": "KILLED",
        "another machine's": "RUNNING",
        "ours": "RUNNING",
        "now": "RUNNING",
    }


def test_a_trial_is_a_child_run_that_no_comparison_takes_for_a_model(store: Path) -> None:
    with tracking.step("tune_keras", {}, "digest") as parent, tracking.trial("trial 0", {"units": 8}):
        tracking.log_epoch(1, {"loss": 0.5})
    (trial,) = runs.finished(step="trial")
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (trial.data.params, trial.data.metrics) == ({"units": "8"}, {"loss": 0.5})
    assert "model_id" not in trial.data.tags


@pytest.mark.parametrize(
    ("positive", "called", "refused"),
    [(0.5, 0.0, True), (0.5, 1.0, True), (0.5, 0.91, True), (0.5, 0.89, False), (0.05, 0.02, False), (0.05, 0.0, True)],
)
def test_a_model_that_fell_to_one_class_is_refused(positive: float, called: float, refused: bool) -> None:
    rows = np.linspace(0, 1, 1001)
    labels, logits = (rows < positive).astype(int), called - rows + 1e-9
    if refused:
        with pytest.raises(RefusedError, match="it fell to one class"):
            metrics.refuse_collapse(labels, logits)
    else:
        metrics.refuse_collapse(labels, logits)


def test_flags_that_mlflow_run_has_logged_are_left_as_they_are(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow.set_experiment("elsewhere")
    with mlflow.start_run() as typed:
        mlflow.log_param("holdout", "''")
    monkeypatch.setenv("MLFLOW_RUN_ID", typed.info.run_id)
    with tracking.step("prepare", {"holdout": "", "seed": "0"}, "digest") as run:
        assert run.info.run_id == typed.info.run_id
    assert mlflow.get_run(typed.info.run_id).data.params == {"holdout": "''", "seed": "0"}


def test_without_a_flag_the_newest_prepared_dataset_is_taken(store: Path) -> None:
    with pytest.raises(InputError, match="nothing has been prepared yet"):
        tracking.find_dataset("")
    prepare.main(["--max_rows", "100"])
    prepare.main(["--max_rows", "200"])
    newest, older = runs.finished(step="prepare")
    assert tracking.find_dataset("").uri == f"runs:/{newest.info.run_id}/dataset"
    assert len(tracking.find_dataset("").split("train")) == 200
    assert len(tracking.find_dataset(f"runs:/{older.info.run_id}/dataset").split("train")) == 100


def test_a_dataset_named_by_its_folder_is_kept_by_its_full_path(store: Path) -> None:
    prepare.main([])
    digest = tracking.find_dataset("").digest
    assert tracking.find_dataset(f"data/processed/{digest}").uri == str(store / "data/processed" / digest)


def trained(folder: Path, logits: np.ndarray) -> tracking.Trained:
    """Write a bag of one word, and return it with the logits that its training claims."""
    folder.mkdir()
    (folder / "words.json").write_text(json.dumps(["good"]), encoding="utf-8")
    ones = np.ones(1)
    np.savez(folder / "weights.npz", ngrams=np.array([1]), idf=ones, coefficients=ones, intercept=-ones / 2)
    requirements = ["mlflow-skinny==3.17.2"]
    return tracking.Trained("toy", "toy", "tfidf", folder, {"max_ngram": 1}, requirements, logits, 1.0)


def test_a_model_that_answers_otherwise_than_it_was_trained_may_not_finish(store: Path) -> None:
    prepare.main([])
    dataset = tracking.find_dataset("")
    validation = pd.DataFrame({"text": ["good day", "bad day"] * 50, "label": [1, 0] * 40 + [0, 1] * 10})
    true = np.array([0.5, -0.5] * 50)
    with tracking.step("train_baseline", {}, dataset.digest):
        uri = tracking.log_training_run(trained(store / "right", true), dataset, validation)
    run = runs.finished(step="train_baseline")[0]
    assert run.data.metrics["parity_max_difference"] < 1e-9
    assert served.ask(uri, pd.Series(["good"])).scores[0] == pytest.approx(0.8, abs=0.01)
    with (
        pytest.raises(RuntimeError, match="differs from the trained one by"),
        tracking.step("train_baseline", {}, dataset.digest),
    ):
        tracking.log_training_run(trained(store / "wrong", true + np.array([0, 0.4] * 50)), dataset, validation)
    assert len(runs.finished(step="train_baseline")) == 1
    broken = trained(store / "broken", true)
    (broken.folder / "words.json").unlink()
    with pytest.raises(Exception, match=r"words\.json"), tracking.step("train_baseline", {}, dataset.digest):
        tracking.log_training_run(broken, dataset, validation)
    assert statuses().count("FAILED") == 2
    assert "RUNNING" not in statuses()

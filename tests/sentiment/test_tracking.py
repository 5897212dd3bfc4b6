"""Runs as steps leave them: keys, datasets, states, and the check that a model must pass before its run may finish."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from steps import prepare
from steps.sentiment import runs, served, tracking
from steps.sentiment.command_line import InputError
from tests.conftest import statuses

FLAGS = {"C": "2", "seed": "0", "dataset": "runs:/1/dataset"}


def test_a_key_counts_step_flags_data_and_code_but_not_the_name_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    key = tracking.step_key("train_baseline", FLAGS, "digest")
    assert key == tracking.step_key("train_baseline", FLAGS | {"dataset": "elsewhere"}, "digest")
    assert key == tracking.step_key("train_baseline", dict(reversed(FLAGS.items())), "digest")
    others = {
        tracking.step_key("compare", FLAGS, "digest"),
        tracking.step_key("train_baseline", FLAGS | {"C": "4"}, "digest"),
        tracking.step_key("train_baseline", FLAGS, "other"),
    }
    monkeypatch.setattr(tracking, "code_digest", lambda step: "changed")
    others.add(tracking.step_key("train_baseline", FLAGS, "digest"))
    assert len(others | {key}) == 5


def test_the_code_of_a_step_is_its_file_the_library_and_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tracking.code_digest("prepare")
    assert before != tracking.code_digest("compare")
    for name in ("steps/prepare.py", "steps/sentiment/model.py", "requirements.txt"):
        copy = tmp_path / name.replace("/", "-")
        for source in (
            *tracking.PROJECT.glob("steps/*.py"),
            *tracking.PROJECT.glob("steps/sentiment/*.*"),
            tracking.PROJECT / "requirements.txt",
        ):
            target = copy / source.relative_to(tracking.PROJECT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        monkeypatch.setattr(tracking, "PROJECT", copy)
        monkeypatch.setattr(tracking, "MODEL_FILE", copy / "steps/sentiment/model.py")
        assert tracking.code_digest("prepare") == before
        (copy / name).write_text((copy / name).read_text() + "\n# changed\n")
        assert tracking.code_digest("prepare") != before
        monkeypatch.undo()


def test_a_step_that_fails_leaves_a_failed_run_and_one_that_ends_a_finished_one(store: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracking.step("prepare", {"seed": "0"}, "digest"):
        raise ZeroDivisionError
    with pytest.raises(SystemExit), tracking.step("prepare", {"seed": "0"}, "digest"):
        raise SystemExit(143)
    with tracking.step("prepare", {"seed": "0"}, "digest"):
        assert "RUNNING" in statuses()
    assert sorted(statuses()) == ["FAILED", "FAILED", "FINISHED"]
    assert [run.data.params for run in runs.finished(step="prepare")] == [{"seed": "0"}]


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
    return tracking.Trained("toy", "tfidf", folder, {"max_ngram": 1}, requirements, logits, 1.0)


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

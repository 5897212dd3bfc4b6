"""distill: a small model learns what a large one says."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from scipy import sparse

from steps import compare, distill, prepare, train_baseline
from steps.sentiment import bag_of_ngrams, comparison, runs
from steps.sentiment.command_line import InputError
from tests.conftest import statuses


def test_a_student_says_what_its_teacher_says(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare.main([])
    with pytest.raises(InputError, match=r"teacher=: allowed: .* without one there must be one of train_bert"):
        distill.main([])
    train_baseline.main(["--C", "2"])
    teacher = runs.finished(step="train_baseline")[0]
    with pytest.raises(InputError, match="teacher=nope: allowed: the id of a finished training"):
        distill.main(["--teacher", "nope"])
    assert len(statuses()) == 2

    monkeypatch.setattr(distill, "CHUNK", 1000)
    asked: list[int] = []
    load = mlflow.pyfunc.load_model

    class Counting:
        def __init__(self, uri: str) -> None:
            self.model = load(uri)

        def predict(self, texts: list[str]) -> list[dict[str, float]]:
            asked.append(len(texts))
            if len(asked) == 3:
                raise KeyboardInterrupt
            return self.model.predict(texts)  # type: ignore[no-any-return]

    monkeypatch.setattr(mlflow.pyfunc, "load_model", Counting)
    with pytest.raises(KeyboardInterrupt):
        distill.main(["--teacher", teacher.info.run_id, "--C", "2"])
    distill.main(["--teacher", teacher.info.run_id, "--C", "2"])
    assert asked == [1000, 1000, 1000, 1000, 85]  # the third was lost, the first two were not asked again
    monkeypatch.undo()
    monkeypatch.chdir(store)

    run = runs.finished(step="distill")[0]
    assert run.data.tags["family"] == "distilled"
    assert run.data.metrics["teacher_validation_roc_auc"] == teacher.data.metrics["validation_roc_auc"]
    assert run.data.metrics["validation_roc_auc"] > teacher.data.metrics["validation_roc_auc"] - 0.02
    compare.main(["--candidates", f"{run.info.run_id},{teacher.info.run_id}"])
    scores = comparison.read(runs.finished(step="compare")[0].info.run_id).scores()
    student, master = (scores[one.data.tags["model_id"]] for one in (run, teacher))
    assert np.corrcoef(student, master)[0, 1] > 0.95


def test_labels_may_be_shares() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(2000, 3))
    matrix = sparse.csr_matrix(rows)
    certain = (rows[:, 0] > 0).astype(float)
    shares = 1 / (1 + np.exp(-2 * rows[:, 0]))
    validation = (matrix[:200], certain[:200])
    by_label, _ = bag_of_ngrams.choose([1.0], (matrix, certain), validation, seed=0)
    by_share, _ = bag_of_ngrams.choose([1.0], (matrix, shares), validation, seed=0)
    undecided, _ = bag_of_ngrams.choose([1.0], (matrix, np.full(2000, 0.5)), validation, seed=0)
    assert by_share.coef_[0] == pytest.approx([2, 0, 0], abs=0.25)
    assert by_label.coef_[0, 0] > 4
    assert undecided.coef_[0] == pytest.approx([0, 0, 0], abs=0.05)

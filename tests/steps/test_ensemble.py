"""ensemble: models that answer together, by weights of the validation split."""

from pathlib import Path

import mlflow
import numpy as np
import pytest

from steps import compare, ensemble, prepare, train_baseline, train_keras
from steps.sentiment import comparison, runs
from steps.sentiment.command_line import InputError, RefusedError

TEXTS = ["love it, best crew ever", "worst flight, I hate this", "", "not bad at all"]


def logit(model: str) -> np.ndarray:
    """Return what a model says of TEXTS before its calibration."""
    return np.asarray(mlflow.pyfunc.load_model(model).unwrap_python_model().logits(TEXTS)[0])


def test_members_answer_together_and_take_part_in_a_comparison(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare.main([])
    with pytest.raises(InputError, match="allowed: two or more finished trainings"):
        ensemble.main([])
    train_baseline.main([])
    train_keras.main([item for flag, text in train_keras.SMOKE_PARAMETERS.items() for item in (f"--{flag}", text)])
    members = [runs.finished(step=step)[0].info.run_id for step in ("train_baseline", "train_keras")]
    # On so few tweets the network adds nothing to the baseline, and that is refused.
    with pytest.raises(RefusedError, match="adds nothing to the others"):
        ensemble.main(["--members", ",".join(members)])
    monkeypatch.setattr(ensemble, "weigh", lambda labels, logits: np.array([0.75, 0.25]))
    ensemble.main(["--members", ",".join(members)])
    run = runs.finished(step="ensemble")[0]
    together = logit(f"models:/{run.data.tags['model_id']}")
    one, other = (logit(f"models:/{runs.get(member, 'x').data.tags['model_id']}") for member in members)
    assert np.allclose(together, 0.75 * one + 0.25 * other, atol=1e-6)
    assert (run.data.metrics["weight_1"], run.data.metrics["weight_2"]) == (0.75, 0.25)
    assert run.data.metrics["validation_roc_auc"] > 0.85
    assert run.data.metrics["train_rows"] == 3085
    compare.main([])
    found = comparison.read(runs.finished(step="compare")[0].info.run_id)
    assert "ensemble baseline + learned average" in {entry["name"] for entry in found.result["models"]}


def test_weights_are_those_that_explain_validation_best() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 2))
    labels = random.random(20_000) < 1 / (1 + np.exp(-(logits @ [1.5, 0.5])))
    assert ensemble.weigh(labels, logits) == pytest.approx([1.5, 0.5], abs=0.1)


def test_a_member_that_adds_nothing_or_is_none_is_refused(store: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(200, 2))
    with pytest.raises(RefusedError, match="member 2 adds nothing to the others"):
        ensemble.weigh((logits[:, 0] - logits[:, 1] > 0).astype(int), logits)
    prepare.main([])
    train_baseline.main([])
    member = runs.finished(step="train_baseline")[0].info.run_id
    prepared = runs.finished(step="prepare")[0].info.run_id
    for given in (member, f"{member},{member}", f"{member},{prepared}"):
        with pytest.raises(InputError, match="allowed: two or more finished trainings with a model on dataset"):
            ensemble.main(["--members", given])
    with pytest.raises(InputError, match="members=nope: no such run"):
        ensemble.main(["--members", f"{member},nope"])
    assert not runs.finished(step="ensemble")

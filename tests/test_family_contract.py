"""Every family keeps the model contract: found by name, trained on tiny data, loaded from its artifact, asked odd texts."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import Run

from steps import prepare
from steps.sentiment import dataset, runs
from steps.sentiment.model import Answer
from tests.conftest import ROOT

FAMILIES = sorted(path.stem for path in (ROOT / "steps").glob("train_*.py"))
ODD = ["", "  ", "😀", "x" * 10_000, "word " * 2_000, "привет", "ありがとう", "\x07\x1b[0m", "not bad", "@a http://b.c"]
METRICS = {
    *(f"validation_{name}" for name in ("accuracy", "f1", "roc_auc", "pr_auc", "brier", "ece", "unsure_share")),
    "train_seconds", "train_rows", "predict_ms_per_tweet", "model_size_mb", "parity_max_difference", "unsure_low", "unsure_high",
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The finished run of a family on the bundled sample, with its smallest honest settings."""
    folder = tmp_path_factory.mktemp("family")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "data").symlink_to(ROOT / "data")
        for module in (prepare, dataset):
            patch.setattr(module, "PROCESSED", folder / "processed")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        prepare.main([])
        step = importlib.import_module(f"steps.{request.param}")
        step.main([item for flag, text in step.SMOKE_PARAMETERS.items() for item in (f"--{flag}", text)])
        yield runs.finished(step=request.param)[0]
        mlflow.set_tracking_uri(None)


def test_run_says_what_it_was_and_what_it_reached(trained: Run) -> None:
    assert set(trained.data.metrics) >= METRICS
    assert trained.data.metrics["parity_max_difference"] <= 1e-4
    assert trained.data.metrics["validation_roc_auc"] > 0.55
    assert {"family", "model_id", "dataset_digest", "code_digest", "step_key"} <= set(trained.data.tags)
    assert trained.data.params["seed"] == "0"
    given = trained.inputs.dataset_inputs[0].dataset
    assert given.digest == trained.data.tags["dataset_digest"]
    figures = {file.path for file in mlflow.MlflowClient().list_artifacts(trained.info.run_id, "figures")}
    assert figures == {f"figures/{name}.png" for name in ("roc", "precision_recall", "calibration", "confusion")}


def test_model_has_signature_input_example_and_own_requirements(trained: Run) -> None:
    info = mlflow.models.get_model_info(f"models:/{trained.data.tags['model_id']}")
    assert [str(column.type) for column in info.signature.inputs] == ["DataType.string"]
    assert info.signature.params.to_dict() == [{"name": "explain", "type": "boolean", "default": False, "shape": None}]
    assert info.saved_input_example_info
    folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    required = (folder / "requirements.txt").read_text()
    for line in required.splitlines():
        assert "==" in line
    for name in ("tensorflow", "torch", "gensim", "keras", "scikit-learn", "transformers"):
        assert name not in required


def test_artifacts_hold_no_pickle_and_no_code_but_the_shipped_file(trained: Run) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{trained.data.tags['model_id']}"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".py", ".json", ".yaml", ".txt", ".npz", ".onnx", ".safetensors", ""}
    assert [path.name for path in files if path.suffix == ".py"] == ["model.py"]
    for path in files:
        assert not path.read_bytes().startswith((b"\x80\x03", b"\x80\x04", b"\x80\x05"))
    profile = json.loads(next(path for path in files if path.name == "profile.json").read_text())
    assert sum(profile["scores"]["counts"]) == profile["rows"]


def test_answers_keep_the_contract(trained: Run) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{trained.data.tags['model_id']}")
    for answer in model.predict(ODD):
        assert set(answer) == {"label", "score", "unsure", "truncated"}
        Answer.model_validate(answer)
    explained = model.predict(["not a good flight"], params={"explain": True})[0]
    assert [word["word"] for word in explained["words"]] == ["not", "a", "good", "flight"]
    scores = [answer["score"] for answer in model.predict(ODD * 7)]
    alone = [model.predict([text])[0]["score"] for text in ODD]
    step = importlib.import_module(f"steps.{trained.data.tags['step']}")
    assert np.allclose(scores[: len(ODD)], alone, atol=getattr(step, "BATCH_TOLERANCE", 1e-5))
    for wrong in ([None], [5], [{"text": "x"}]):
        with pytest.raises(mlflow.exceptions.MlflowException):
            model.predict(wrong)


def test_a_registered_model_keeps_its_cleaning_when_the_working_tree_changes(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import steps.sentiment.model as working_tree

    model_uri = f"models:/{trained.data.tags['model_id']}"
    texts = ["sooooo happy!!!", "don't like it", "@a http://b.c"]
    before = [answer["score"] for answer in mlflow.pyfunc.load_model(model_uri).predict(texts)]
    monkeypatch.setattr(working_tree, "clean", lambda text: "broken")
    monkeypatch.setattr(working_tree, "sigmoid", lambda logits: np.zeros(len(logits)))
    monkeypatch.setattr(working_tree.SentimentModel, "scores", lambda self, logits: np.zeros(len(logits)))
    after = [answer["score"] for answer in mlflow.pyfunc.load_model(model_uri).predict(texts)]
    assert after == before
    assert len(set(after)) > 1

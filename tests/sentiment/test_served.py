"""A logged model in a fresh process: what it answers, and the memory that it takes there."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from steps.sentiment import served
from steps.sentiment.keys import MODEL_FILE


def saved(folder: Path, words: int) -> str:
    """Save a bag of words of which only the first is ever met, and return its folder."""
    (files := folder / "files").mkdir(parents=True)
    (files / "words.json").write_text(json.dumps(["good"]), encoding="utf-8")
    ngrams = np.arange(1, words + 1)
    np.savez(
        files / "weights.npz", ngrams=ngrams, idf=np.ones(words), coefficients=np.ones(words), intercept=-np.ones(1)
    )
    settings = {"loader": "tfidf", "tfidf": {"max_ngram": 1}, "unsure": [0.5, 0.5]}
    settings["calibration"] = {"slope": 1.0, "bend": 0.0, "intercept": 0.0}
    (files / "model.json").write_text(json.dumps(settings), encoding="utf-8")
    example = (["good"], {"explain": False})
    artifacts = {"model": str(files)}
    mlflow.pyfunc.save_model(
        folder / "model", python_model=str(MODEL_FILE), artifacts=artifacts, input_example=example,
        pip_requirements=["mlflow-skinny==3.17.2"],
    )  # fmt: skip
    return str(folder / "model")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("small"), 1)


def test_it_answers_as_it_would_be_served(small: str) -> None:
    found = served.ask(small, pd.Series(["good", "odd"]))
    assert found.scores == pytest.approx([0.5, 1 / (1 + np.e)])
    assert found.milliseconds_per_text > 0


def test_memory_is_that_of_the_fresh_process_and_not_of_ours(small: str) -> None:
    ours = np.ones(60_000_000)  # 480 MB
    found = served.peak_megabytes(small, ["good", "odd"])
    assert 50 < found < 400 < ours.nbytes / 1e6


def test_what_a_model_holds_counts(small: str, tmp_path: Path) -> None:
    large = served.peak_megabytes(saved(tmp_path, 8_000_000), ["good"])  # 192 MB of numbers
    assert large - served.peak_megabytes(small, ["good"]) > 150


def test_a_model_that_does_not_answer_there_says_why(small: str, tmp_path: Path) -> None:
    broken = Path(saved(tmp_path, 1))
    (broken / "artifacts/files/words.json").unlink()
    for ask in (lambda: served.peak_megabytes(str(broken), ["a"]), lambda: served.ask(str(broken), pd.Series(["a"]))):
        with pytest.raises(RuntimeError, match=r"(?s)does not answer in a fresh process: .*words\.json"):
            ask()

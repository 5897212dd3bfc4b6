"""bundle and bundled: a champion of one store comes with the project and takes part in the comparisons of another."""

import json
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from registry_scripts import promote, register
from steps import bundle, compare, prepare, train_baseline
from steps import bundled as step
from steps.sentiment import bundled, comparison, registry, runs
from steps.sentiment.command_line import InputError, RefusedError
from tests.conftest import ROOT, statuses

TEXTS = ["love it, best crew ever", "worst flight, I hate this", "", "not bad at all"]


def new_store(folder: Path, name: str) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{folder}/{name}.db")
    mlflow.set_registry_uri(None)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a champion of one half of the tweets in `data/champion/`, and the other half in `other.csv`."""
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        new_store(folder, "first")
        tweets = pd.read_csv(ROOT / "data/sample/tweets.csv").sample(frac=1, random_state=0)
        tweets[::2].to_csv("half.csv", index=False)
        tweets[1::2].to_csv("other.csv", index=False)
        with pytest.raises(InputError, match="there is no champion"):
            bundle.main([])
        prepare.main(["--data", "half.csv"])
        train_baseline.main([])
        for script in (compare, register, promote, bundle):
            script.main([])
        yield folder
        mlflow.set_tracking_uri(None)


@pytest.fixture
def elsewhere(shipped: Path, tmp_path: Path) -> Iterator[Path]:
    """Another store, in which the other half is prepared."""
    new_store(tmp_path, "second")
    prepare.main(["--data", "other.csv"])
    yield tmp_path
    new_store(shipped, "first")


def scores(model: str) -> list[float]:
    return [answer["score"] for answer in mlflow.pyfunc.load_model(model).predict(TEXTS)]


def test_the_bundle_answers_as_the_champion_does_and_says_what_it_is(shipped: Path) -> None:
    new_store(shipped, "first")
    folder = shipped / bundled.FOLDER
    assert {path.name for path in folder.iterdir()} == {"README.md", "champion.json", "model", "seen.npz"}
    assert scores(str(folder / "model")) == scores(registry.uri("champion"))
    facts = json.loads((folder / "champion.json").read_text())
    figures = facts["test_metrics"]
    card = (folder / "README.md").read_text()
    assert (
        f"{figures['test_accuracy']:.4f} [{figures['test_accuracy_low']:.4f}, {figures['test_accuracy_high']:.4f}]"
        in card
    )
    assert f"{facts['training_metrics']['train_rows']:,.0f} tweets of half.csv" in card


def test_no_place_of_the_machine_and_no_tweet_is_in_it(shipped: Path) -> None:
    texts = [
        path.read_text()
        for path in (shipped / bundled.FOLDER).rglob("*")
        if path.is_file() and path.suffix in ("", ".md", ".json", ".yaml", ".txt")
    ]
    assert len(texts) >= 8
    assert not [text for text in texts if str(shipped) in text or str(ROOT) in text or "/tmp" in text]
    tweets = pd.read_csv(shipped / "half.csv")["text"]
    assert not [tweet for tweet in tweets[tweets.str.len() > 40] if any(tweet in text for text in texts)]


def test_hashes_tell_what_it_was_trained_on(shipped: Path) -> None:
    new_store(shipped, "first")
    dataset = runs.finished(step="prepare")[0]
    tweets = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{dataset.info.run_id}/dataset/tweets.parquet"))
    train, test = (tweets[tweets["split"] == split]["text"].tolist() for split in ("train", "test"))
    assert bundled.seen(train) == len(train)
    assert bundled.seen([f"  {text.upper()} " for text in train]) == len(train)
    assert bundled.seen(test) == 0
    assert bundled.was_trained_on(train[:1] + test[:100])
    assert not bundled.was_trained_on(test)


def test_it_takes_part_elsewhere_with_its_own_calibration(shipped: Path, elsewhere: Path) -> None:
    train_baseline.main(["--max_rows", "200"])
    step.main([])
    run = runs.finished(step="bundled")[0]
    assert run.data.tags["family"] == "bundled"
    assert scores(f"models:/{run.data.tags['model_id']}") == scores(str(shipped / bundled.FOLDER / "model"))
    compare.main([])
    found = comparison.read(runs.finished(step="compare")[0].info.run_id)
    assert {entry["family"] for entry in found.result["models"]} == {"baseline", "bundled"}
    assert found.result["winner"] == run.data.tags["model_id"]
    for script in (register, promote):
        script.main([])
    champion = registry.with_alias("champion")
    assert champion
    assert champion.model_id == run.data.tags["model_id"]
    with pytest.raises(RefusedError, match="is the bundled model itself"):
        bundle.main([])


def test_it_does_not_take_part_on_what_it_was_trained_on(shipped: Path) -> None:
    new_store(shipped, "first")
    before = len(statuses())
    # Other splits of the same tweets: most of its training rows are validation and test rows now.
    prepare.main(["--data", "half.csv", "--seed", "1"])
    with pytest.raises(RefusedError, match="the bundled model was trained on tweets of dataset"):
        step.main([])
    assert len(statuses()) == before + 1
    assert not runs.finished(step="bundled")


def test_what_is_too_large_or_of_the_sample_is_refused_and_the_bundle_stays(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_store(shipped, "first")
    before = bundled.digest()
    monkeypatch.setattr(bundle, "MOST", 10_000)
    with pytest.raises(RefusedError, match=r"takes \d+\.\d MB; allowed: 0 MB"):
        bundle.main([])
    newest = comparison.newest
    monkeypatch.setattr(
        comparison,
        "newest",
        lambda *ids: comparison.Comparison("x", newest(*ids).result | {"dataset_source": "sample"}),  # type: ignore[union-attr]
    )
    with pytest.raises(RefusedError, match="on the bundled sample only"):
        bundle.main([])
    assert bundled.digest() == before
    assert [path.name for path in bundled.FOLDER.parent.iterdir() if path.name.startswith(".")] == []


def test_without_a_bundle_the_step_says_so(tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_store(shipped, "first")
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    assert not bundled.there()
    with pytest.raises(InputError, match="no model comes with this copy"):
        step.main([])


def test_hashes_survive_any_number_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    texts = [f"tweet {number}" for number in range(20_000)]
    bundled.write_seen(texts, tmp_path / bundled.SEEN)
    assert bundled.seen(texts[:500]) == 500
    assert bundled.seen([f"other {number}" for number in range(20_000)]) <= 3
    assert np.array_equal(bundled.hashes(["A  b", "a b"])[:1], bundled.hashes(["a b"]))

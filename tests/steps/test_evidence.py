"""evidence: what outlives the store, without a word of the tweets."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from sklearn import metrics

from steps import compare, evidence, prepare, train_baseline
from steps.sentiment import comparison, error_analysis, runs, slices, tracking
from steps.sentiment import evidence as library
from steps.sentiment.command_line import InputError
from steps.sentiment.dataset import Dataset

ROOT = Path(__file__).parents[2]
README = """# A project

<!-- results -->
an older table
<!-- /results -->

The end.
"""
HUMAN_TEST = """target,text
4,"two free seats next to me all the way to lisbon"
0,"the app ate my boarding pass again"
4,"this playlist is pure joy"
0,"why is the kitchen tap dripping at 3am"
2,"the museum is closed on mondays"
"""


def own_tweets() -> pd.DataFrame:
    """Return 400 tweets as a file of one's own would hold them."""
    return pd.read_csv(ROOT / "data/sample/tweets.csv").sample(400, random_state=0)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a comparison of two models on a file of one's own, exported once."""
    folder = tmp_path_factory.mktemp("evidence")
    own_tweets().to_csv(folder / "diary.csv", index=False)
    (folder / "human.csv").write_text(HUMAN_TEST, encoding="utf-8")
    (folder / "README.md").write_text(README, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_registry_uri(None)
        prepare.main(["--data", "diary.csv", "--human_test", "human.csv"])
        train_baseline.main(["--C", "4", "--min_df", "1"])
        train_baseline.main(["--C", "2", "--max_rows", "120"])
        compare.main([])
        evidence.main([])
        yield folder
        mlflow.set_tracking_uri(None)


def exported() -> list[Path]:
    """Return the folders of the models."""
    return sorted(path.parent for path in Path("docs/results/evidence").glob("*/*/run.json"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_each_model_of_the_comparison_has_its_folder(real: Path) -> None:
    found = comparison.read(runs.finished(step="compare")[0].info.run_id)
    digest = found.result["dataset_digest"]
    names = {f"{entry['family']}-{entry['run_id'][:8]}" for entry in found.result["models"]}
    assert len(names) == 2
    assert {folder.name for folder in exported()} == names
    assert {folder.parent.name for folder in exported()} == {digest}
    for folder in exported():
        assert {path.name for path in folder.iterdir()} == {"run.json", "scores.parquet", "human_scores.parquet"}
    assert [path.name for path in Path("docs/results/evidence").iterdir()] == [digest]


def test_no_text_user_or_id_leaves_the_store(real: Path) -> None:
    texts = [*own_tweets()["text"], *pd.read_csv("human.csv")["text"]]
    dataset = tracking.find_dataset("")
    texts += [*dataset.split("train")["text"], *dataset.split("test")["text"]]
    compared = runs.finished(step="compare")[0].info.run_id
    errors = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{compared}/{error_analysis.TABLE}"))
    assert len(errors) > 20
    texts += [*errors["text"], *errors["words"]]
    files = contents(Path("docs"))
    assert len(files) == 10
    for name, content in files.items():
        if name.endswith(".parquet"):
            frame = pd.read_parquet(Path("docs", name))
            assert all(kind.kind in "bif" for kind in frame.dtypes), name
            assert {"text", "user", "id", "date"}.isdisjoint(frame.columns)
        assert not [text for text in texts if len(text) > 12 and text.encode() in content], name


def test_the_scores_give_the_metrics_that_are_claimed(real: Path) -> None:
    for folder in exported():
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        for file, prefix in (("scores.parquet", "test"), ("human_scores.parquet", "human_test")):
            rows = pd.read_parquet(folder / file)
            assert len(rows) == run[f"{prefix}_rows"]
            accuracy = metrics.accuracy_score(rows["label"], rows["score"] >= 0.5)
            assert run["test_metrics"][f"{prefix}_accuracy"] == pytest.approx(accuracy)
            auc = metrics.roc_auc_score(rows["label"], rows["score"])
            assert run["test_metrics"][f"{prefix}_roc_auc"] == pytest.approx(auc, abs=1e-6)
    assert set(pd.read_parquet(exported()[0] / "scores.parquet").columns) == {
        "label", "score", *slices.PATTERNS, "short", "long"
    }  # fmt: skip


def test_a_run_tells_flags_metrics_digest_and_code(real: Path) -> None:
    described = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in exported()]
    assert {run["flags"]["max_rows"] for run in described} == {"", "120"}
    for run in described:
        logged = MlflowClient().get_run(run["run_id"]).data
        assert run["family"] == "baseline"
        assert run["dataset_source"] == "diary.csv"
        assert run["dataset_digest"] == run["trained_on"] == logged.tags["dataset_digest"]
        assert run["code_digest"] == logged.tags["code_digest"]
        assert run["training_metrics"]["validation_accuracy"] == logged.metrics["validation_accuracy"]
        assert not [name for name in run["training_metrics"] if name.startswith("system/")]
        assert {"test_f1", "test_roc_auc_low", "predict_ms_single"} <= set(run["test_metrics"])
        assert run["core_hour_price"] == 0.05
        assert run["labels"]["suspect_rows"] >= 0
        assert run["opponents"] == {"baseline": described[0]["opponents"]["baseline"]}
        assert str(real) not in json.dumps(run)


def test_the_evidence_is_small(real: Path) -> None:
    assert sum(len(content) for content in contents(Path("docs/results/evidence")).values()) < 60_000


def test_a_second_call_writes_the_same(real: Path) -> None:
    before, readme = contents(Path("docs")), Path("README.md").read_bytes()
    evidence.main([])
    assert contents(Path("docs")) == before
    assert Path("README.md").read_bytes() == readme


def test_the_page_is_made_from_the_evidence_alone(real: Path, tmp_path: Path) -> None:
    shutil.copytree("docs/results/evidence", tmp_path / "evidence")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/nothing.db")
    try:
        page = library.page(tmp_path / "evidence", tmp_path / "figures")
    finally:
        mlflow.set_tracking_uri(f"sqlite:///{real}/mlflow.db")
    assert page == Path("docs/results.md").read_text(encoding="utf-8")
    assert contents(tmp_path / "figures") == contents(Path("docs/results/figures"))
    assert not (tmp_path / "nothing.db").exists()


def test_the_page_shows_each_model_with_interval_and_slices(real: Path) -> None:
    page = Path("docs/results.md").read_text(encoding="utf-8")
    for folder in exported():
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        values = run["test_metrics"]
        shown = f"{values['test_accuracy']:.4f} [{values['test_accuracy_low']:.4f}, {values['test_accuracy_high']:.4f}]"
        (row,) = (line for line in page.splitlines() if f"`{run['run_id'][:8]}`" in line)
        assert shown in row
        assert f"{run['training_metrics']['train_rows']:,.0f}" in row
    assert "What else was measured (memory is the peak of a fresh process, a core costs 0.05 USD an hour):" in page
    assert f"Against the baseline, *{run['opponents']['baseline']}*:" in page
    assert "## diary.csv, dataset `" in page
    assert "negation" in page


def test_the_figures_that_the_page_shows_are_there_and_no_others(real: Path) -> None:
    (figures := Path("docs/results/figures")).joinpath("left-behind.png").write_bytes(b"old")
    evidence.main([])
    page = Path("docs/results.md").read_text(encoding="utf-8")
    linked = {part.split(")")[0] for part in page.split("](results/figures/")[1:]}
    assert len(linked) == 3
    assert {path.name for path in figures.iterdir()} == linked


def test_the_readme_has_its_table_and_is_otherwise_left_alone(real: Path) -> None:
    text = Path("README.md").read_text(encoding="utf-8")
    assert text.startswith("# A project\n\n<!-- results -->\n| model")
    assert text.endswith("<!-- /results -->\n\nThe end.\n")
    assert "an older table" not in text


def test_a_newer_comparison_on_the_same_data_takes_the_place_of_the_older(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_id,) = (
        run.info.run_id for run in runs.finished(step="train_baseline") if run.data.params["max_rows"] == "120"
    )
    compare.main(["--candidates", run_id])
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    newest = runs.finished(step="compare")[0].info.run_id
    monkeypatch.chdir(tmp_path)
    try:
        evidence.main([])
        (folder,) = exported()
        assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["comparison_run_id"] == newest
    finally:
        MlflowClient().delete_run(newest)


def test_a_folder_of_evidence_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "digest" / "baseline-1"
    good = {"scores.parquet": pd.DataFrame({"label": [0, 1], "score": [0.1, 0.9]})}
    library.write(target, {"name": "old"}, good)
    with pytest.raises(TypeError):
        library.write(target, {"name": object()}, good)
    assert json.loads((target / "run.json").read_text(encoding="utf-8")) == {"name": "old"}
    assert [path.name for path in target.parent.iterdir()] == ["baseline-1"]
    library.write(target, {"name": "new"}, {})
    assert [path.name for path in target.iterdir()] == ["run.json"]


def test_without_a_comparison_on_real_data_it_says_what_to_run_and_writes_nothing(real: Path) -> None:
    before = contents(Path("docs"))
    compared = [run.info.run_id for run in runs.finished(step="compare")]
    for run_id in compared:
        MlflowClient().delete_run(run_id)
    try:
        for _ in range(2):  # without any comparison, and then with one on the bundled sample
            with pytest.raises(InputError, match="no finished comparison on a dataset other than the bundled sample"):
                evidence.main([])
            result = {"dataset_digest": "0123", "dataset_source": "sample", "winner": "m-1", "models": []}
            with mlflow.start_run() as run:
                mlflow.set_tag("step", "compare")
                tracking.log_comparison(Dataset(Path(), "nowhere", "0123", "sample"), result, "", {}, {})
        MlflowClient().delete_run(run.info.run_id)
    finally:
        for run_id in compared:
            MlflowClient().restore_run(run_id)
    assert contents(Path("docs")) == before


def test_a_file_of_ones_own_is_not_taken_for_the_bundled_sample_by_its_name(real: Path, tmp_path: Path) -> None:
    own_tweets().to_csv(tmp_path / "sample.csv", index=False)
    prepare.main(["--data", str(tmp_path / "sample.csv"), "--seed", "5"])
    try:
        assert tracking.find_dataset("").source != "sample"
    finally:
        MlflowClient().delete_run(runs.finished(step="prepare")[0].info.run_id)

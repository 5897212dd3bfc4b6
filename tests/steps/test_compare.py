"""compare: real models on a real test split, what it leaves for the gate, and what for the owners of the tweets alone."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from sklearn import metrics

from steps import compare, prepare, train_baseline
from steps.sentiment import (
    behaviour,
    comparison,
    comparison_page,
    costs,
    error_analysis,
    registry,
    runs,
    served,
    slices,
    tracking,
)
from steps.sentiment.command_line import InputError, RefusedError
from steps.sentiment.paired import delong, mcnemar

ROOT = Path(__file__).parents[2]
HUMAN_TEST = """target,text
4,"the new bakery on our street makes my whole week"
0,"my landlord ignored the third message about the heating"
2,"the library opens at nine on weekdays"
4,"got the job!!! calling everyone i know"
0,"so tired of this cough, it will not go away"
4,"gran remembered my name today :)"
0,"they cancelled the ferry and told nobody"
"""


@dataclass(frozen=True)
class Built:
    """The store as it was built: two models on one dataset, one on another, which no comparison has seen."""

    folder: Path
    prepared: str
    weak: str
    strong: str
    other: str
    digest: str


def _newest(step: str) -> str:
    return str(runs.finished(step=step)[0].info.run_id)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("compare")
    shutil.copytree(ROOT / "data/sample", folder / "data/sample")
    (folder / "human.csv").write_text(HUMAN_TEST, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_registry_uri(None)
        # The same seed keeps the same tweets apart, so that the model of one dataset may be tested on the other.
        prepare.main(["--max_rows", "500"])
        train_baseline.main(["--C", "4"])
        other = _newest("train_baseline")
        prepare.main(["--human_test", "human.csv"])
        trained = []
        for flags in (["--max_rows", "150"], []):
            train_baseline.main(["--C", "4", *flags])
            trained.append(_newest("train_baseline"))
        digest = tracking.find_dataset("").digest
        shutil.copy(folder / "mlflow.db", folder / "built.db")
        yield Built(folder, _newest("prepare"), *trained, other, digest)
        mlflow.set_tracking_uri(None)


@pytest.fixture
def fresh(built: Built, monkeypatch: pytest.MonkeyPatch) -> Built:
    """The same, as it was before any comparison; the memory of its models has been measured by then."""
    monkeypatch.setattr(served, "peak_megabytes", lambda uri, texts: 150.0)
    with (
        closing(sqlite3.connect(built.folder / "built.db")) as source,
        closing(sqlite3.connect(built.folder / "mlflow.db")) as target,
    ):
        source.backup(target)
    assert runs.finished(step="compare") == []
    return built


@pytest.fixture(scope="module")
def compared(built: Built) -> tuple[Run, comparison.Comparison]:
    """One comparison of the two models, and no champion."""
    compare.main([])
    (run,) = runs.finished(step="compare")
    return run, comparison.read(run.info.run_id)


def all_runs() -> list[Run]:
    found: list[Run] = mlflow.search_runs(search_all_experiments=True, output_format="list")
    return found


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def champion(built: Built, run_id: str) -> str:
    """Make the model of a run the champion, as the registry scripts leave it, and return its id."""
    client = MlflowClient()
    model_id = client.get_run(run_id).data.tags["model_id"]
    client.create_registered_model(registry.MODEL)
    client.create_model_version(
        registry.MODEL,
        f"models:/{model_id}",
        run_id=run_id,
        tags={"family": "baseline"},
        model_id=model_id,
    )
    client.set_registered_model_alias(registry.MODEL, registry.CHAMPION, "1")
    return model_id


# These read the one comparison of the module; those after them begin with a store of their own.


def test_the_run_is_finished_and_names_dataset_and_winner(
    built: Built, compared: tuple[Run, comparison.Comparison]
) -> None:
    run, found = compared
    assert run.info.status == "FINISHED"
    assert run.data.tags["dataset_digest"] == found.result["dataset_digest"] == built.digest
    assert run.data.tags["winner"] == found.result["winner"]
    assert [used.dataset.digest for used in run.inputs.dataset_inputs] == [built.digest]
    assert {entry["run_id"] for entry in found.result["models"]} == {built.weak, built.strong}
    assert found.result["dataset_source"] == "sample"


def test_the_test_metrics_are_those_of_the_scores_kept(compared: tuple[Run, comparison.Comparison]) -> None:
    _, found = compared
    rows = found.scores()
    assert len(rows) == found.result["test_rows"]
    for entry in found.result["models"]:
        scores, values = rows[entry["model_id"]], entry["metrics"]
        assert values["test_accuracy"] == pytest.approx(metrics.accuracy_score(rows["label"], scores >= 0.5))
        assert values["test_roc_auc"] == pytest.approx(metrics.roc_auc_score(rows["label"], scores))
        negation = rows[rows["negation"]]
        assert values["test_accuracy_negation"] == pytest.approx(
            metrics.accuracy_score(negation["label"], negation[entry["model_id"]] >= 0.5)
        )
        assert values["test_f1_macro"] == pytest.approx(metrics.f1_score(rows["label"], scores >= 0.5, average="macro"))
        for name in ("accuracy", "f1", "f1_negative", "f1_macro", "roc_auc", "pr_auc", "brier"):
            assert values[f"test_{name}_low"] < values[f"test_{name}"] < values[f"test_{name}_high"], name
        assert values["test_ece_low"] <= values["test_ece"] <= values["test_ece_high"]


def test_the_scores_are_the_models_answers_on_the_test_split_in_order(
    compared: tuple[Run, comparison.Comparison],
) -> None:
    _, found = compared
    test = tracking.find_dataset("").split("test")
    rows = found.scores()
    assert rows["label"].tolist() == test["label"].tolist()
    model_id = found.result["winner"]
    answers = mlflow.pyfunc.load_model(f"models:/{model_id}").predict(test["text"].tolist())
    assert np.allclose(rows[model_id], [answer["score"] for answer in answers], atol=1e-6)


def test_the_scores_carry_labels_and_slices_and_no_text(compared: tuple[Run, comparison.Comparison]) -> None:
    run, found = compared
    human = found.human_scores()
    assert human is not None
    for rows in (found.scores(), human):
        assert set(rows.columns) == {"label", *slices.PATTERNS, "short", "long", *found.model_ids}
        assert all(kind.kind in "bif" for kind in rows.dtypes)
    texts = tracking.find_dataset("").split("test")["text"]
    errors = {error_analysis.TABLE, comparison_page.PAGE}
    folder = Path(mlflow.artifacts.download_artifacts(run.info.artifact_uri))
    written = b"".join(path.read_bytes() for path in folder.rglob("*.*") if path.name not in errors)
    assert len(written) > 10_000
    assert not [text for text in texts if len(text) > 15 and text.encode() in written]


def test_the_worst_errors_are_for_the_owners_of_the_tweets_with_handles_and_links_masked(
    compared: tuple[Run, comparison.Comparison],
) -> None:
    run, found = compared
    folder = Path(mlflow.artifacts.download_artifacts(run.info.artifact_uri))
    errors, html = pd.read_parquet(folder / error_analysis.TABLE), (folder / comparison_page.PAGE).read_text("utf-8")
    names = [entry["name"] for entry in found.result["models"]]
    assert list(errors["model"].unique()) == [*names, "voters"]
    assert set(errors["kind"]) == {"false positive", "false negative", "label in doubt"}
    wrong = {
        name: (scores >= 0.5) != found.scores()["label"] for name, scores in found.scores()[found.model_ids].items()
    }
    for entry in found.result["models"]:
        own = errors[errors["model"] == entry["name"]]
        assert len(own) == 2 * error_analysis.SHOWN < wrong[entry["model_id"]].sum()
        assert own["words"].str.fullmatch(r"(\S+ [+-]\d\.\d\d(; |$))*").all()
        assert (own["words"] != "").mean() > 0.8
    assert all(name in html for name in names)
    shown = html + errors.to_csv()
    texts = tracking.find_dataset("").split("test")["text"]
    private = {word for text in texts for word in re.findall(r"@\w{4,}|https?://\S{4,}", text)}
    assert len(private) > 100
    assert not [word for word in private if word in shown]
    assert "@user" in shown


def test_labels_in_doubt_are_counted_beside_the_raw_figures(compared: tuple[Run, comparison.Comparison]) -> None:
    _, found = compared
    labels = found.result["labels"]
    assert 0 < labels["suspect_rows"] < 0.2 * found.result["test_rows"]
    assert labels["suspect_rows"] == labels["suspect_negative"] + labels["suspect_positive"]
    assert labels["voters"] == [found.result["models"][0]["name"]]  # both are of one family: its best votes
    names = [entry["name"] for entry in found.result["models"]]
    assert sorted(labels["rankings"]["test_roc_auc"]) == sorted(names)
    assert labels["rankings"]["cleaned_test_roc_auc"] == []
    assert not [name for entry in found.result["models"] for name in entry["metrics"] if name.startswith("cleaned_")]


def test_behaviour_is_measured_for_each_model(compared: tuple[Run, comparison.Comparison]) -> None:
    run, found = compared
    folder = Path(mlflow.artifacts.download_artifacts(run.info.artifact_uri))
    rows = pd.read_parquet(folder / behaviour.TABLE)
    tests = {test.name for test in behaviour.suite(behaviour.TEST)}
    for entry in found.result["models"]:
        own = rows[rows["model"] == entry["name"]]
        rates = dict(zip(own["test"], own["rate"], strict=True))
        assert rates.keys() == tests
        measured = {name: value for name, value in entry["metrics"].items() if name.startswith("behaviour_")}
        assert measured == pytest.approx({f"behaviour_{test}": rate for test, rate in rates.items()})
        assert 0 < np.mean(list(rates.values())) < 0.7


def test_what_a_model_costs_is_measured(compared: tuple[Run, comparison.Comparison]) -> None:
    _, found = compared
    assert found.result["core_hour_price"] == 0.05
    for entry in found.result["models"]:
        values = entry["metrics"]
        assert 50 < values["peak_memory_mb"] < 1000
        assert 0 < values["predict_ms_per_tweet"] < values["predict_ms_single"]
        price = costs.usd_per_million(values["predict_core_ms_per_tweet"], 0.05)
        assert values["usd_per_million_tweets"] == pytest.approx(price)
        assert values["test_seconds"] > 0
        assert values["train_seconds"] > 0
        assert values["model_size_mb"] > 0


def test_models_are_held_against_the_best_baseline_on_validation(
    built: Built, compared: tuple[Run, comparison.Comparison]
) -> None:
    _, found = compared
    strong, weak = (found.entry(entry["model_id"]) for entry in found.result["models"])
    assert found.result["opponents"] == {"baseline": strong["model_id"]}
    rows = found.scores()
    pair = rows["label"].to_numpy(), rows[weak["model_id"]].to_numpy(), rows[strong["model_id"]].to_numpy()
    assert weak["metrics"]["p_against_baseline"] == pytest.approx(mcnemar(*pair).p_value)
    assert weak["metrics"]["roc_auc_p_against_baseline"] == pytest.approx(delong(*pair).p_value)
    assert weak["metrics"]["roc_auc_above_baseline"] == pytest.approx(delong(*pair).difference)
    assert weak["metrics"]["roc_auc_above_baseline_high"] < 0
    assert not [name for name in strong["metrics"] if name.endswith("_baseline")]


def test_the_human_labelled_rows_without_the_neutral_ones_stand_beside(
    compared: tuple[Run, comparison.Comparison],
) -> None:
    _, found = compared
    human = found.human_scores()
    assert human is not None
    assert found.result["human_test_rows"] == len(human) == 6
    assert human["label"].tolist() == [1, 0, 1, 0, 1, 0]
    for entry in found.result["models"]:
        expected = metrics.accuracy_score(human["label"], human[entry["model_id"]] >= 0.5)
        values = entry["metrics"]
        assert values["human_test_accuracy"] == pytest.approx(expected)
        assert values["human_test_accuracy_low"] <= expected <= values["human_test_accuracy_high"]


def test_each_model_has_a_child_run_with_its_metrics(compared: tuple[Run, comparison.Comparison]) -> None:
    run, found = compared
    children = [one for one in all_runs() if one.data.tags.get("mlflow.parentRunId") == run.info.run_id]
    assert {child.data.tags["compared_model_id"] for child in children} == set(found.model_ids)
    for child in children:
        entry = found.entry(child.data.tags["compared_model_id"])
        assert child.info.status == "FINISHED"
        assert child.data.metrics == pytest.approx(entry["metrics"])
        logged = {metric.key for metric in mlflow.get_logged_model(entry["model_id"]).metrics or []}
        assert {"test_accuracy", "test_roc_auc", "validation_roc_auc"} <= logged


def test_table_result_and_figures_are_artifacts(compared: tuple[Run, comparison.Comparison]) -> None:
    run, found = compared
    folder = mlflow.artifacts.download_artifacts(run.info.artifact_uri)
    assert names(folder) == {
        "comparison.json", "comparison.md", "comparison.html", "scores.parquet", "human_scores.parquet", "errors.parquet",
        "behaviour.parquet", "figures",
    }  # fmt: skip
    confusions = {f"confusion-{entry['name']}.png" for entry in found.result["models"]}
    assert names(f"{folder}/figures") == {
        "roc.png", "precision_recall.png", "calibration.png", "quality_and_latency.png", *confusions
    }  # fmt: skip
    rows = comparison.table_of(run.info.run_id).splitlines()
    assert len(rows) == 4
    for row, entry in zip(rows[2:], found.result["models"], strict=True):
        assert entry["name"] in row
        assert f"{entry['metrics']['test_accuracy']:.4f} [" in row
    assert "p against champion" not in rows[0]


def test_the_best_on_validation_is_the_winner_and_stands_first(
    built: Built, compared: tuple[Run, comparison.Comparison]
) -> None:
    _, found = compared
    aucs = [entry["metrics"]["validation_roc_auc"] for entry in found.result["models"]]
    assert aucs == sorted(aucs, reverse=True)
    assert found.entry(found.result["winner"])["run_id"] == built.strong
    assert aucs[0] == MlflowClient().get_run(built.strong).data.metrics["validation_roc_auc"]


def test_validation_chooses_though_the_test_says_otherwise(fresh: Built) -> None:
    MlflowClient().log_metric(fresh.weak, "validation_roc_auc", 0.999, step=1)
    compare.main([])
    found = comparison.read(_newest("compare"))
    by_run = {entry["run_id"]: entry for entry in found.result["models"]}
    weak, strong = by_run[fresh.weak], by_run[fresh.strong]
    assert weak["metrics"]["test_roc_auc"] < strong["metrics"]["test_roc_auc"]
    assert found.result["winner"] == weak["model_id"]


def test_the_champion_takes_part_and_is_measured_on_this_dataset(
    fresh: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    model_id = champion(fresh, fresh.other)
    compare.main(["--candidates", fresh.strong])
    found = comparison.read(_newest("compare"))
    assert [entry["champion"] for entry in found.result["models"]] == [False, True]
    ours, theirs = found.result["models"]
    assert (theirs["name"], theirs["model_id"]) == ("champion v1", model_id)
    validation = tracking.find_dataset("").split("validation")
    answers = mlflow.pyfunc.load_model(f"models:/{model_id}").predict(validation["text"].tolist())
    expected = metrics.roc_auc_score(validation["label"], [answer["score"] for answer in answers])
    assert theirs["metrics"]["validation_roc_auc"] == pytest.approx(expected)
    rows = found.scores()
    paired = mcnemar(rows["label"].to_numpy(), rows[ours["model_id"]].to_numpy(), rows[model_id].to_numpy())
    assert ours["metrics"]["p_against_champion"] == pytest.approx(paired.p_value)
    assert "roc_auc_p_against_champion" in ours["metrics"]
    assert not [name for name in theirs["metrics"] if name.endswith("_champion")]
    assert found.result["opponents"] == {"baseline": ours["model_id"], "champion": model_id}
    assert "champion v1 (champion)" in capsys.readouterr().out


def test_a_champion_that_was_trained_on_these_test_rows_is_not_tested_on_them(fresh: Built) -> None:
    champion(fresh, fresh.strong)
    prepare.main(["--seed", "3"])
    weak = MlflowClient().get_run(fresh.weak).data
    with mlflow.start_run() as run:
        mlflow.set_tags({**weak.tags, "dataset_digest": tracking.find_dataset("").digest})
        mlflow.log_metrics(weak.metrics)
    with pytest.raises(InputError, match=r"champion v1 was trained on \d+ of the \d+ test rows"):
        compare.main(["--candidates", run.info.run_id])
    assert runs.finished(step="compare") == []
    assert "RUNNING" not in {one.info.status for one in all_runs()}


@pytest.mark.parametrize("kind", ["unknown", "other", "prepared", "deleted"])
def test_a_candidate_that_cannot_be_compared_is_named_and_leaves_no_run(fresh: Built, kind: str) -> None:
    given, reason = {
        "unknown": ("0" * 32, "no such run"),
        "other": (fresh.other, f"not on {fresh.digest}"),
        "prepared": (fresh.prepared, "not a finished training run with a model"),
        "deleted": (fresh.weak, "this run was deleted"),
    }[kind]
    if kind == "deleted":
        MlflowClient().delete_run(fresh.weak)
    before = len(all_runs())
    with pytest.raises(InputError) as error:
        compare.main(["--candidates", f"{fresh.strong},{given}"])
    assert given in str(error.value)
    assert reason in str(error.value)
    assert len(all_runs()) == before


def test_without_a_training_on_the_dataset_the_next_command_is_named(fresh: Built) -> None:
    for run_id in (fresh.weak, fresh.strong):
        MlflowClient().delete_run(run_id)
    before = len(all_runs())
    with pytest.raises(InputError, match="run a train_ entry point first"):
        compare.main([])
    assert len(all_runs()) == before


def test_a_dataset_that_is_none_is_named(fresh: Built) -> None:
    for given in ("runs:/nothing/dataset", "data/sample"):
        with pytest.raises(InputError, match=f"dataset={given}"):
            compare.main(["--dataset", given])


def test_a_dataset_named_by_folder_is_the_same_dataset(fresh: Built) -> None:
    compare.main(["--dataset", f"data/processed/{fresh.digest}", "--candidates", fresh.weak])
    assert comparison.read(_newest("compare")).result["dataset_digest"] == fresh.digest


def test_a_model_that_was_deleted_is_named_before_any_is_asked(fresh: Built) -> None:
    model_id = MlflowClient().get_run(fresh.weak).data.tags["model_id"]
    MlflowClient().delete_logged_model(model_id)
    before = len(all_runs())
    with pytest.raises(InputError) as error:
        compare.main([])
    assert f"model {model_id} of run {fresh.weak} was deleted" in str(error.value)
    assert len(all_runs()) == before


def test_a_model_whose_files_are_gone_leaves_the_run_failed(fresh: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(uri: str, **given: Any) -> None:
        raise OSError(f"No such file or directory: {uri}")

    monkeypatch.setattr(mlflow.pyfunc, "load_model", gone)
    with pytest.raises(InputError, match=f"model m-.* of run {fresh.weak} cannot be loaded .No such file"):
        compare.main(["--candidates", fresh.weak])
    assert [one.info.status for one in all_runs() if one.data.tags.get("step") == "compare"] == ["FAILED"]
    assert runs.finished(step="compare") == []


@pytest.mark.parametrize("name", ["weights.npz", "model.json", "words.json"])
def test_a_model_whose_file_is_damaged_is_named(fresh: Built, name: str) -> None:
    model_id = MlflowClient().get_run(fresh.weak).data.tags["model_id"]
    (path,) = Path(mlflow.get_logged_model(model_id).artifact_location.removeprefix("file://")).rglob(name)
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    try:
        with pytest.raises(InputError, match=f"model {model_id} of run {fresh.weak} cannot be loaded"):
            compare.main(["--candidates", fresh.weak])
    finally:
        path.write_bytes(whole)  # which the tests after this one load


def test_a_champion_whose_training_was_deleted_is_told_as_such(fresh: Built) -> None:
    champion(fresh, fresh.weak)
    MlflowClient().delete_run(fresh.weak)
    with pytest.raises(
        InputError, match=f"the champion, version 1, was trained by run {fresh.weak}, which was deleted"
    ):
        compare.main([])


def test_a_model_that_gives_no_probability_is_refused_by_its_name(
    fresh: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def predict(self, texts: list[str], params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
            return [{"score": float("nan"), "unsure": False}] * len(texts)

    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda uri, **given: Broken())
    with pytest.raises(RefusedError, match=r"baseline gave .* a score that is no probability"):
        compare.main(["--candidates", fresh.weak])
    assert [one.info.status for one in all_runs() if one.data.tags.get("step") == "compare"] == ["FAILED"]


def test_the_price_of_a_core_decides_the_cost(fresh: Built) -> None:
    compare.main(["--candidates", fresh.weak, "--core_hour_price", "7.2"])
    (entry,) = comparison.read(_newest("compare")).result["models"]
    values = entry["metrics"]
    assert values["usd_per_million_tweets"] == pytest.approx(2 * values["predict_core_ms_per_tweet"])


def test_the_seed_decides_the_intervals_and_nothing_else(fresh: Built) -> None:
    found = []
    for seed in ("0", "0", "1"):
        compare.main(["--candidates", fresh.weak, "--seed", seed])
        values = comparison.read(_newest("compare")).result["models"][0]["metrics"]
        measured = ("predict_", "usd_", "test_seconds", "suite_seconds")
        found.append({name: value for name, value in values.items() if not name.startswith(measured)})
    assert found[0] == found[1]
    differing = {name for name, value in found[2].items() if value != found[0][name]}
    assert differing
    assert all(name.endswith(("_low", "_high")) for name in differing)


@pytest.mark.parametrize(
    "argv",
    [
        ["--seed", "x"],
        ["--seed", "-1"],
        ["--candidate", "a"],
        ["--core_hour_price", "0"],
        ["--core_hour_price", "free"],
    ],
)
def test_a_wrong_flag_exits_with_2_and_one_line(
    fresh: Built, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    before = len(all_runs())
    with pytest.raises(SystemExit) as ended:
        compare.main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert len(all_runs()) == before


def test_the_table_shows_the_human_labelled_test_only_where_there_is_one() -> None:
    entry = {
        "name": "baseline",
        "champion": False,
        "metrics": {
            "validation_roc_auc": 0.9,
            "test_accuracy": 0.8,
            "test_f1": 0.8,
            "test_roc_auc": 0.9,
            "test_ece": 0.01,
            "predict_ms_per_tweet": 0.1,
        },
    }
    assert "human test" not in compare.table([entry])
    entry["metrics"] |= {"human_test_accuracy": 0.7}  # type: ignore[operator]
    assert "human test" in compare.table([entry])

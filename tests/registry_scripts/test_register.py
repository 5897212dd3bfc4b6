"""register: which model becomes a version, and what the registry says of it."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from registry_scripts import promote, register
from steps.sentiment import comparison, model_card, registry, runs
from steps.sentiment.command_line import InputError
from tests.registry_scripts.conftest import Models, assert_in_step, held, right_on, stages, survives_crashes, synthetic


def test_the_winner_of_the_newest_comparison_is_registered_by_default(models: Models) -> None:
    register.main([])
    assert registry.versions()[1].model_id == models.winner
    assert held() == {"challenger": 1}
    assert stages() == {1: "Staging"}


def test_a_named_model_is_registered_though_it_won_nothing(models: Models) -> None:
    register.main(["--model", models.weak])
    assert registry.versions()[1].model_id == models.weak != models.winner


def test_a_model_of_an_older_comparison_is_registered_with_the_facts_of_that_one(models: Models) -> None:
    register.main(["--model", models.other])
    tags = registry.versions()[1].tags
    assert tags["dataset_digest"] == models.other_digest
    assert comparison.read(tags["comparison_run"]).result["dataset_digest"] == models.other_digest


def test_a_version_tells_family_data_comparison_and_test_accuracy(models: Models) -> None:
    register.main(["--model", models.strong])
    version = registry.versions()[1]
    assert version.tags == {
        "family": "baseline",
        "dataset_digest": models.digest,
        "comparison_run": models.compared,
    }
    entry = comparison.read(models.compared).entry(models.strong)
    assert version.run_id == entry["run_id"]
    description = MlflowClient().get_model_version(registry.MODEL, "1").description
    assert description == model_card.render(comparison.read(models.compared).facts(models.strong))
    assert f"{entry['metrics']['test_accuracy']:.4f}" in description
    assert models.digest in description


def test_a_registered_version_is_loaded_by_alias_and_by_stage(models: Models) -> None:
    register.main(["--model", models.strong])
    texts = ["the crew was lovely, thank you", "still no bag, worst trip ever"]
    by_alias = mlflow.pyfunc.load_model(registry.uri(registry.CHALLENGER)).predict(texts)
    assert by_alias == mlflow.pyfunc.load_model(f"models:/{registry.MODEL}/Staging").predict(texts)
    assert by_alias == mlflow.pyfunc.load_model(f"models:/{models.strong}").predict(texts)
    assert [answer["label"] for answer in by_alias] == ["positive", "negative"]


@pytest.mark.parametrize("given", ["m-0123456789abcdef0123456789abcdef", "../../etc/passwd", "'"])
def test_an_unknown_model_is_named_and_nothing_is_registered(models: Models, given: str) -> None:
    with pytest.raises(InputError) as error:
        register.main(["--model", given])
    assert repr(given) in str(error.value)
    assert "--model" in str(error.value)
    assert MlflowClient().search_registered_models() == []


def test_without_a_comparison_the_next_command_is_named(models: Models) -> None:
    for compared in runs.finished(step="compare"):
        MlflowClient().delete_run(compared.info.run_id)
    with pytest.raises(InputError, match="run the entry point compare first"):
        register.main([])
    assert MlflowClient().search_registered_models() == []


def test_an_unfinished_comparison_does_not_count(models: Models) -> None:
    labels = np.tile([0, 1], 50)
    synthetic(labels, {models.weak: right_on(labels, 100)}, status="FAILED")
    register.main([])
    assert registry.versions()[1].model_id == models.winner != models.weak


def test_a_newer_comparison_decides_who_won(models: Models) -> None:
    labels = np.tile([0, 1], 50)
    synthetic(labels, {models.weak: right_on(labels, 100), models.strong: right_on(labels, 60)})
    register.main([])
    assert registry.versions()[1].model_id == models.weak


def test_a_model_registered_twice_has_one_version(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    register.main(["--model", models.strong])
    register.main(["--model", models.strong])
    assert list(registry.versions()) == [1]
    assert held() == {"challenger": 1}
    assert capsys.readouterr().out.count("version 1 (baseline) is the challenger") == 2


def test_the_challenger_before_returns_to_stage_none(models: Models) -> None:
    register.main(["--model", models.weak])
    register.main(["--model", models.strong])
    assert held() == {"challenger": 2}
    assert stages() == {1: "None", 2: "Staging"}
    register.main(["--model", models.weak])
    assert held() == {"challenger": 1}
    assert stages() == {1: "Staging", 2: "None"}


def test_registering_the_champion_again_changes_nothing(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    register.main(["--model", models.strong])
    promote.main([])
    register.main(["--model", models.strong])
    assert "version 1 (baseline) is the champion already" in capsys.readouterr().out
    assert held() == {"champion": 1}
    assert stages() == {1: "Production"}


def test_a_champion_is_untouched_by_a_new_challenger(models: Models) -> None:
    register.main(["--model", models.weak])
    promote.main([])
    register.main(["--model", models.strong])
    assert held() == {"champion": 1, "challenger": 2}
    assert stages() == {1: "Production", 2: "Staging"}
    assert_in_step()


def test_an_unknown_flag_exits_with_2_and_one_line(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        register.main(["--modle", models.strong])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert MlflowClient().search_registered_models() == []


def test_the_first_registration_survives_a_crash_anywhere(models: Models, database: Path) -> None:
    # The lock, the registered model, the version, the note of the move, its alias and stage, the note struck off, the lock.
    assert survives_crashes(database, register.main, "--model", models.strong) == 8


def test_a_registration_beside_champion_and_challenger_survives_a_crash_anywhere(
    models: Models, database: Path
) -> None:
    register.main(["--model", models.weak])
    promote.main([])
    register.main(["--model", models.strong])
    assert survives_crashes(database, register.main, "--model", models.other) == 9


def test_no_tag_says_which_model_a_version_holds(models: Models) -> None:
    register.main(["--model", models.weak])
    MlflowClient().set_model_version_tag(registry.MODEL, "1", "model_id", models.strong)
    assert registry.versions()[1].model_id == models.weak

"""rollback: back, forward again, and to a version named."""

from pathlib import Path

import mlflow
import pytest

from registry_scripts import promote, register, rollback, versions
from steps.sentiment import registry
from steps.sentiment.command_line import InputError, RefusedError
from tests.registry_scripts.conftest import Models, assert_in_step, held, stages, state, survives_crashes


def two_champions(models: Models) -> None:
    register.main(["--model", models.weak])
    promote.main([])
    register.main(["--model", models.strong])
    promote.main([])


def test_without_a_champion_there_is_nothing_to_leave(models: Models) -> None:
    with pytest.raises(InputError, match="there is no champion to leave, nor one before; run promote first"):
        rollback.main([])
    register.main(["--model", models.strong])
    before = state()
    for argv, line in (([], "no champion to leave"), (["--version", "1"], "1 has never been champion")):
        with pytest.raises(InputError, match=line):
            rollback.main(argv)
    assert state() == before


def lose_the_champion(how: str) -> None:
    client = mlflow.MlflowClient()
    if how == "its alias is gone":
        client.delete_registered_model_alias(registry.MODEL, registry.CHAMPION)
    else:
        client.delete_model_version(registry.MODEL, "2")


@pytest.mark.parametrize("how", ["its alias is gone", "its version is gone"])
def test_a_champion_that_was_lost_is_no_way_round_the_gate(
    models: Models, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    two_champions(models)
    register.main(["--model", models.other])
    lose_the_champion(how)
    before = state()
    for argv in ([], ["--version", "3"], ["--dry_run", "true"]):
        with pytest.raises(
            InputError, match="no version is the champion, though the last decision made version 2 that"
        ):
            promote.main(argv)
    assert state() == before
    promote.main(["--version", "3", "--force", "true", "--reason", "the other is lost"])
    assert held()["champion"] == 3
    decision = registry.versions()[3].tags["decision"]
    assert decision.startswith("forced: the other is lost; the champion, version 2, was lost; the gate: ")
    assert_in_step()
    versions.main([])
    assert "the trail of 3 decision(s) is whole" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["its alias is gone", "its version is gone"])
def test_where_the_champion_was_lost_the_one_before_comes_back(
    models: Models, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    two_champions(models)
    lose_the_champion(how)
    rollback.main([])
    assert held() == {"champion": 1}
    assert registry.versions()[1].tags["decision"] == "rolled back to, from no champion"
    assert_in_step()
    versions.main([])
    printed = capsys.readouterr().out
    assert "version 1 is the champion, there was none to leave" in printed
    assert "the trail of 3 decision(s) is whole" in printed


def test_an_alias_moved_by_hand_stays_told(models: Models) -> None:
    two_champions(models)
    register.main(["--model", models.other])
    mlflow.MlflowClient().set_registered_model_alias(registry.MODEL, registry.CHAMPION, "3")
    rollback.main(["--version", "2"])
    with pytest.raises(SystemExit, match="decision 3 tells version 3 for the champion before it, which was 2"):
        versions.main([])


def test_without_a_champion_before_a_version_must_be_named(models: Models) -> None:
    register.main(["--model", models.strong])
    promote.main([])
    before = state()
    with pytest.raises(
        InputError, match="no champion before version 1; name a version that has been champion with --version"
    ):
        rollback.main([])
    assert state() == before
    assert_in_step()


def test_the_champion_before_comes_back(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    two_champions(models)
    rollback.main([])
    assert held() == {"champion": 1, "previous": 2}
    assert stages() == {1: "Production", 2: "Archived"}
    assert "version 1 is the champion, version 2 the previous one" in capsys.readouterr().out
    assert registry.versions()[1].tags["decision"] == "rolled back to, from version 2"


def test_a_second_rollback_goes_forward_again(models: Models) -> None:
    two_champions(models)
    rollback.main([])
    rollback.main([])
    assert held() == {"champion": 2, "previous": 1}
    assert stages() == {1: "Archived", 2: "Production"}


def test_the_champion_is_loaded_by_alias_and_by_stage_after_a_rollback(models: Models) -> None:
    two_champions(models)
    rollback.main([])
    texts = ["stuck at gate 14 since noon", "what a sweet surprise from my brother"]
    expected = mlflow.pyfunc.load_model(f"models:/{models.weak}").predict(texts)
    assert mlflow.pyfunc.load_model("models:/tweet-sentiment@champion").predict(texts) == expected
    assert mlflow.pyfunc.load_model("models:/tweet-sentiment/Production").predict(texts) == expected


def test_the_challenger_loses_its_alias(models: Models) -> None:
    two_champions(models)
    register.main(["--model", models.other])
    rollback.main([])
    assert held() == {"champion": 1, "previous": 2}
    assert stages() == {1: "Production", 2: "Archived", 3: "None"}


def test_a_named_version_that_was_champion_comes_back_without_a_gate(models: Models) -> None:
    two_champions(models)
    rollback.main(["--version", "1"])
    assert held() == {"champion": 1, "previous": 2}
    assert stages() == {1: "Production", 2: "Archived"}
    rollback.main(["--version", "2"])
    assert held() == {"champion": 2, "previous": 1}
    assert stages() == {1: "Archived", 2: "Production"}


def test_a_version_that_was_never_champion_cannot_come_back(models: Models) -> None:
    register.main(["--model", models.strong])
    promote.main([])
    register.main(["--model", models.weak])
    with pytest.raises(RefusedError):
        promote.main([])
    with pytest.raises(InputError, match="--version: 2 has never been champion"):
        rollback.main(["--version", "2"])
    assert held() == {"champion": 1, "challenger": 2}
    assert_in_step()


def test_after_a_rollback_the_better_version_is_promoted_again(models: Models) -> None:
    two_champions(models)
    rollback.main([])
    register.main(["--model", models.strong])
    assert stages() == {1: "Production", 2: "Staging"}
    promote.main([])
    assert held() == {"champion": 2, "previous": 1}
    assert_in_step()


def test_a_version_that_does_not_exist_is_named_with_those_that_do(models: Models) -> None:
    two_champions(models)
    before = state()
    with pytest.raises(InputError, match="no version 9 of tweet-sentiment; allowed: 1, 2"):
        rollback.main(["--version", "9"])
    assert state() == before


def test_the_present_champion_is_no_version_to_go_back_to(models: Models) -> None:
    two_champions(models)
    before = state()
    with pytest.raises(InputError, match="2 is the champion already"):
        rollback.main(["--version", "2"])
    assert state() == before


def test_a_version_that_is_no_number_exits_with_2(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        rollback.main(["--version", "last"])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("rollback: error: --version: got 'last'; allowed: a whole number of at least 1")
    assert line.count("\n") == 1


def test_a_rollback_survives_a_crash_anywhere(models: Models, database: Path) -> None:
    two_champions(models)
    register.main(["--model", models.other])
    assert survives_crashes(database, rollback.main, stride=3) >= 18

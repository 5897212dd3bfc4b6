"""Aliases and stages move together, and a move that was interrupted is finished by the next command of any kind."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from registry_scripts import promote, register, rollback, versions
from registry_scripts.registry import aliases, audit
from steps.sentiment import registry
from steps.sentiment.command_line import InputError, RefusedError
from tests.registry_scripts.conftest import (
    WRITES,
    CrashError,
    Models,
    added,
    assert_in_step,
    brought_to,
    copy,
    crash_at,
    crashes,
    expire_locks,
    held,
    moved,
    outcome,
    resumed,
    right_on,
    stages,
    state,
    synthetic,
)

LABELS = np.tile([0, 1], 50)
COMMANDS = {"register": register.main, "promote": promote.main, "rollback": rollback.main, "versions": versions.main}


def test_aliases_and_stages_follow_the_contract_event_by_event(models: Models) -> None:
    register.main(["--model", models.weak])
    assert (held(), stages()) == ({"challenger": 1}, {1: "Staging"})
    promote.main([])
    assert (held(), stages()) == ({"champion": 1}, {1: "Production"})
    register.main(["--model", models.strong])
    assert (held(), stages()) == ({"champion": 1, "challenger": 2}, {1: "Production", 2: "Staging"})
    promote.main([])
    assert (held(), stages()) == ({"champion": 2, "previous": 1}, {1: "Archived", 2: "Production"})
    register.main(["--model", models.other])
    with pytest.raises(RefusedError):
        promote.main([])
    everything = {"champion": 2, "challenger": 3, "previous": 1}
    assert (held(), stages()) == (everything, {1: "Archived", 2: "Production", 3: "Staging"})
    rollback.main([])
    assert (held(), stages()) == ({"champion": 1, "previous": 2}, {1: "Production", 2: "Archived", 3: "None"})
    rollback.main([])
    assert (held(), stages()) == ({"champion": 2, "previous": 1}, {1: "Archived", 2: "Production", 3: "None"})
    register.main(["--model", models.other])
    labels = np.tile([0, 1], 50)
    synthetic(labels, {models.other: right_on(labels, 90), models.strong: right_on(labels, 60)})
    promote.main([])
    assert (held(), stages()) == (
        {"champion": 3, "previous": 2},
        {1: "Archived", 2: "Archived", 3: "Production"},
    )


def test_a_move_leaves_aliases_that_it_does_not_name(models: Models) -> None:
    for model_id in (models.weak, models.strong, models.other):
        added(model_id)
    moved("promote", {"champion": 1, "previous": 2})
    moved("register", {"challenger": 3})
    assert held() == {"champion": 1, "previous": 2, "challenger": 3}
    moved("promote", {"challenger": None})
    assert held() == {"champion": 1, "previous": 2}
    assert stages() == {1: "Production", 2: "Archived", 3: "None"}


def test_taking_away_an_alias_that_nobody_holds_is_no_error(models: Models) -> None:
    added(models.weak)
    moved("promote", {"champion": 1, "challenger": None, "previous": None})
    assert held() == {"champion": 1}
    assert registry.model_tags() == {}


def test_without_an_open_move_there_is_nothing_to_resume(models: Models) -> None:
    assert not resumed("promote")
    register.main(["--model", models.weak])
    before = state()
    assert not resumed("register")
    assert state() == before


def test_a_finished_move_answers_the_command_that_asked_for_it_alone(models: Models) -> None:
    def interrupted() -> None:
        with pytest.raises(CrashError), crash_at(3):  # the lock and the note of the move are written
            moved("promote", {"champion": 1})
        expire_locks()

    added(models.weak)
    for command, version, answered in (
        ("promote", 1, True),
        ("promote", None, True),
        ("promote", 2, False),
        ("rollback", None, False),
    ):
        interrupted()
        assert resumed(command, version) is answered
    assert held() == {"champion": 1}
    assert_in_step()


def test_at_any_moment_one_version_is_champion_and_one_is_production(
    rivals: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic(LABELS, {rivals.strong: right_on(LABELS, 90), rivals.weak: right_on(LABELS, 60)})
    seen: list[tuple[int, list[int]]] = []

    def watched(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            written = write(*args, **kwargs)
            seen.append((held()["champion"], [number for number, stage in stages().items() if stage == "Production"]))
            return written

        return call

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, watched(getattr(MlflowClient, name)))
    promote.main([])
    rollback.main([])
    assert len(seen) > 30
    assert {champion for champion, _ in seen} == {1, 2}
    assert [production for _, production in seen if len(production) != 1] == []


@pytest.mark.parametrize("turn", [5, 9, 11, 14])
def test_a_version_that_is_deleted_after_a_crash_leaves_the_champion_before(
    rivals: Models, turn: int, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic(LABELS, {rivals.strong: right_on(LABELS, 90), rivals.weak: right_on(LABELS, 60)})
    assert crashes(promote.main, [], turn)
    assert aliases.PENDING in registry.model_tags()
    MlflowClient().delete_model_version(registry.MODEL, "2")
    with pytest.raises(RefusedError, match="version 2 was deleted in the meantime"):
        promote.main([])
    assert "finished an interrupted promote: version 1 is the champion" in capsys.readouterr().out
    assert held()["champion"] == 1
    assert [run.data.tags["to_version"] for run in audit.trail()] == ["1", "2"]
    assert_in_step()


def test_a_version_is_found_by_its_number_or_named_as_missing(models: Models) -> None:
    with pytest.raises(InputError, match="no version 1 of tweet-sentiment; allowed: none is registered yet"):
        aliases.named(1, "version")
    added(models.weak)
    assert aliases.named(1, "version").model_id == models.weak
    with pytest.raises(InputError, match="--version: no version 2 of tweet-sentiment; allowed: 1"):
        aliases.named(2, "version")


@pytest.fixture
def start(models: Models, database: Path, template: tuple[Path, Models]) -> Path:
    """A copy of the open store, in which there are a champion, a previous one and a challenger."""
    return brought_to(
        template[0] / "three.db",
        database,
        (register.main, ["--model", models.weak]),
        (promote.main, []),
        (register.main, ["--model", models.strong]),
        (promote.main, []),
        (rollback.main, []),
        (register.main, ["--model", models.other]),
    )


@pytest.mark.parametrize(
    ("interrupted", "following"),
    [pair for pair in itertools.product(COMMANDS, COMMANDS) if pair[0] not in (pair[1], "versions")],
)
def test_any_command_leaves_aliases_and_stages_in_step_after_the_crash_of_another(
    database: Path, start: Path, interrupted: str, following: str
) -> None:
    for turn in itertools.count(3, 8):
        copy(start, database)
        crashed = crashes(COMMANDS[interrupted], [], turn)
        outcome(COMMANDS[following], [])
        assert_in_step()
        assert "champion" in held()
        if not crashed:
            break
    assert turn > 3


@pytest.mark.parametrize("command", ["register", "promote", "rollback"])
def test_a_second_crash_while_the_first_is_repaired_does_no_harm(database: Path, start: Path, command: str) -> None:
    ended = outcome(COMMANDS[command], [])
    expected = state()
    for first, second in ((1, 2), (5, 3), (9, 12)):
        copy(start, database)
        if crashes(COMMANDS[command], [], first) and crashes(COMMANDS[command], [], second):
            assert outcome(COMMANDS[command], []) == ended
        else:
            assert command == "register"  # which does not write so often
            outcome(COMMANDS[command], [])
        assert "champion" in held()
        assert state() == expected
        assert_in_step()

"""versions: what is registered, who was champion when and why, and whether the trail of decisions is whole."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from registry_scripts import promote, register, rollback, versions
from registry_scripts.registry import aliases, audit, lock
from steps.sentiment import registry
from steps.sentiment.command_line import RefusedError
from tests.conftest import ROOT
from tests.registry_scripts.conftest import CrashError, Models, artifact, assert_in_step, crash_at, expire_locks, held

VERSIONS = ["version", "aliases", "stage", "family", "dataset", "registered", "decided", "decision"]
CHAMPIONS = ["champion", "since", "until", "by", "why"]


def tables(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Return the rows of each printed table by the first word of its head, wrapped cells joined to their row."""
    capsys.readouterr()
    versions.main([])
    found: dict[str, list[str]] = {}
    for block in capsys.readouterr().out.split("\n\n"):
        lines = block.strip("\n").splitlines()
        if len(lines) < 3:
            continue
        assert lines[0].split() in (VERSIONS, CHAMPIONS)
        rows: list[str] = []
        for line in lines[2:]:
            if line[: lines[1].index(" ")].strip():
                rows.append(line)
            else:
                rows[-1] += f" {line.strip()}"
        found[lines[0].split()[0]] = [" ".join(row.split()) for row in rows]
    return found


def two_champions(models: Models) -> None:
    for model in (models.weak, models.strong):
        register.main(["--model", model])
        promote.main([])


def test_without_versions_one_line_says_so(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    versions.main([])
    assert capsys.readouterr().out == "versions: no version of tweet-sentiment is registered yet\n"


def test_each_version_is_a_row_with_alias_stage_family_and_data(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    register.main(["--model", models.weak])
    promote.main([])
    register.main(["--model", models.strong])
    first, second = tables(capsys)["version"]
    assert first.startswith(f"1 champion Production baseline {models.digest} ")
    assert second.startswith(f"2 challenger Staging baseline {models.digest} ")
    assert "promoted: test accuracy" in first
    assert "promoted" not in second


def test_before_the_first_decision_there_is_no_table_of_champions(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    register.main(["--model", models.weak])
    assert list(tables(capsys)) == ["version"]


def test_the_decision_is_shown_whole(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    register.main(["--model", models.strong])
    promote.main([])
    register.main(["--model", models.weak])
    with pytest.raises(RefusedError) as refusal:
        promote.main([])
    reason = str(refusal.value).removeprefix("version 2: ")
    assert tables(capsys)["version"][1].endswith(f"refused: {reason}")


def test_who_was_champion_when_and_why(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    two_champions(models)
    register.main(["--model", models.other])
    with pytest.raises(RefusedError):
        promote.main([])
    rollback.main(["--reason", "complaints from the airport"])
    shown = tables(capsys)
    first, second, third = shown["champion"]
    who, time = re.escape(lock.person()), r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00"
    assert re.match(rf"1 {time} {time} {who} promoted: test accuracy", first)
    assert re.match(rf"2 {time} {time} {who} promoted: test accuracy", second)
    assert re.fullmatch(rf"1 {time} {who} rolled back to, from version 2: complaints from the airport", third)
    assert first.split()[2] == second.split()[1]
    assert second.split()[2] == third.split()[1]
    assert "rolled back to, from version 2: complaints from the airport" in shown["version"][0]
    assert shown["version"][1].startswith("2 previous Archived")


def test_a_whole_trail_is_said_to_be_so_with_its_last_hash(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    two_champions(models)
    versions.main([])
    last = audit.trail()[-1].data.tags["sha256"]
    assert f"the trail of 2 decision(s) is whole; the last has sha256 {last}\n" in capsys.readouterr().out


def test_no_copy_of_what_was_read_stays_in_the_temporary_folder(models: Models, database: Path, tmp_path: Path) -> None:
    two_champions(models)
    (temporary := tmp_path / "temporary").mkdir()
    own = {"TMPDIR": str(temporary), "MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "registry_scripts.versions"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=True)
    assert "the trail of 2 decision(s) is whole" in done.stdout
    assert list(temporary.iterdir()) == []


def changed(trail: list[Run]) -> None:
    MlflowClient().set_tag(trail[0].info.run_id, "reason", "it was the best")


def made_anew(trail: list[Run]) -> None:
    # With its own hash mended, it is the next one that does not follow.
    tags = {**trail[0].data.tags, "who": "someone@else"}
    content = {name: tags[name] for name in audit.CONTENT}
    files = {name: artifact(trail[0], name).read_text() for name in audit.ARTIFACTS}
    for name, text in {"who": "someone@else", "sha256": audit.Decision(content, files).sha256}.items():
        MlflowClient().set_tag(trail[0].info.run_id, name, text)


def another_table(trail: list[Run]) -> None:
    MlflowClient().log_text(trail[1].info.run_id, "| all | is | well |", audit.TABLE)


def without_table(trail: list[Run]) -> None:
    artifact(trail[1], audit.TABLE).unlink()


def missing(trail: list[Run]) -> None:
    MlflowClient().delete_run(trail[0].info.run_id)


def last_missing(trail: list[Run]) -> None:
    MlflowClient().delete_run(trail[1].info.run_id)


def both_missing(trail: list[Run]) -> None:
    for run in trail:
        MlflowClient().delete_run(run.info.run_id)


def numbered_anew(trail: list[Run]) -> None:
    MlflowClient().set_tag(trail[1].info.run_id, "number", "999999999")


def inserted(trail: list[Run]) -> None:
    MlflowClient().create_run("0", tags=dict(trail[1].data.tags))


def one_more(trail: list[Run]) -> None:
    tags = {**trail[1].data.tags, "number": "3", "previous": trail[1].data.tags["sha256"]}
    MlflowClient().create_run("0", tags=tags)


def without_last(trail: list[Run]) -> None:
    MlflowClient().delete_registered_model_tag(registry.MODEL, audit.LAST)


def by_hand(trail: list[Run]) -> None:
    MlflowClient().set_registered_model_alias(registry.MODEL, registry.CHAMPION, "1")


@pytest.mark.parametrize(
    ("tamper", "line"),
    [
        (changed, r"decision 1 was changed \(its tags; run [0-9a-f]{32}\)"),
        (made_anew, "decision 2 does not follow the one before it"),
        (another_table, r"decision 2 was changed \(decision\.md; "),
        (without_table, r"decision 2 was changed \(decision\.md; "),
        (missing, "decision 1 is missing"),
        (last_missing, "decision 2 is missing"),
        (both_missing, "decision 1 is missing, and all up to 2"),
        (numbered_anew, "decision 2 is missing, and all up to 999999998"),
        (inserted, "decision 2 stands 2 times: one was put in"),
        (one_more, "names decision 2 as the last one, and not decision 3"),
        (without_last, "names no decision as the last one, and not decision 2"),
        (by_hand, "version 1 is the champion, and the last decision made 2"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_trail_is_reported_with_exit_code_1(
    models: Models, capsys: pytest.CaptureFixture[str], tamper: Callable[[list[Run]], None], line: str
) -> None:
    two_champions(models)
    trail = audit.trail()
    tamper(trail)
    with pytest.raises(SystemExit) as ended:
        versions.main([])
    message = str(ended.value.code)
    assert message.startswith("versions: error: the trail of decisions is broken: ")
    assert "\n" not in message
    assert re.search(line, message)
    # The versions are shown all the same.
    assert " ".join(VERSIONS) in " ".join(capsys.readouterr().out.split())


def test_a_broken_trail_stays_broken_and_stops_no_decision(models: Models) -> None:
    two_champions(models)
    missing(audit.trail())
    rollback.main([])
    assert held() == {"champion": 1, "previous": 2}
    with pytest.raises(SystemExit, match="decision 1 is missing"):
        versions.main([])


def test_an_interrupted_promotion_is_finished_and_said(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    register.main(["--model", models.strong])
    with pytest.raises(CrashError), crash_at(12):
        promote.main([])
    expire_locks()
    assert aliases.PENDING in registry.model_tags()
    versions.main([])
    assert "versions: finished an interrupted promote: version 1 is the champion" in capsys.readouterr().out
    assert held() == {"champion": 1}
    assert_in_step()


def test_a_move_that_is_under_way_is_left_to_its_command(
    models: Models, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register.main(["--model", models.strong])
    with pytest.raises(CrashError), crash_at(12):
        promote.main([])
    monkeypatch.setattr(versions, "PATIENCE", 0.1)
    versions.main([])
    said = capsys.readouterr().out
    assert f"versions: {lock.person()} has been writing the registry since" in said
    assert "the trail was not checked" in said
    assert aliases.PENDING in registry.model_tags()


def test_a_flag_is_refused(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        versions.main(["--all", "yes"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1

"""versions: the table of what is registered, and what was decided."""

import pytest

from registry_scripts import promote, register, rollback, versions
from registry_scripts.registry import aliases
from steps.sentiment import registry
from steps.sentiment.command_line import RefusedError
from tests.registry_scripts.conftest import CrashError, Models, assert_in_step, crash_at, held


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of the table after its head, those of wrapped cells joined to their row."""
    capsys.readouterr()
    versions.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["version", "aliases", "stage", "family", "dataset", "registered", "decided", "decision"]
    rows: list[str] = []
    for line in lines[2:]:
        if line[:9].strip():
            rows.append(line)
        else:
            rows[-1] += f" {line.strip()}"
    return [" ".join(row.split()) for row in rows]


def test_without_versions_one_line_says_so(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    versions.main([])
    assert capsys.readouterr().out == "versions: no version of tweet-sentiment is registered yet\n"


def test_each_version_is_a_row_with_alias_stage_family_and_data(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    register.main(["--model", models.weak])
    promote.main([])
    register.main(["--model", models.strong])
    first, second = printed(capsys)
    assert first.startswith(f"1 champion Production baseline {models.digest} ")
    assert second.startswith(f"2 challenger Staging baseline {models.digest} ")
    assert "promoted: test accuracy" in first
    assert "promoted" not in second


def test_the_decision_is_shown_whole(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    register.main(["--model", models.strong])
    promote.main([])
    register.main(["--model", models.weak])
    with pytest.raises(RefusedError) as refusal:
        promote.main([])
    reason = str(refusal.value).removeprefix("version 2: ")
    assert printed(capsys)[1].endswith(f"refused: {reason}")


def test_a_rollback_is_shown(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    for model in (models.weak, models.strong):
        register.main(["--model", model])
        promote.main([])
    rollback.main([])
    first, second = printed(capsys)
    assert first.startswith("1 champion Production")
    assert first.endswith("rolled back to, from version 2")
    assert second.startswith("2 previous Archived")


def test_an_interrupted_promotion_is_finished_and_said(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    register.main(["--model", models.strong])
    with pytest.raises(CrashError), crash_at(6):
        promote.main([])
    assert aliases.PENDING in registry.model_tags()
    versions.main([])
    assert "versions: finished an interrupted promote: version 1 is the champion" in capsys.readouterr().out
    assert held() == {"champion": 1}
    assert_in_step()


def test_a_flag_is_refused(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        versions.main(["--all", "yes"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1

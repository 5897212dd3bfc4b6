"""promote as a judge: planted scores, limits, dry runs, force, and evidence that cannot be used."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from registry_scripts import promote, register, rollback
from registry_scripts.registry import audit, limits, lock
from steps.sentiment import comparison, registry
from steps.sentiment.command_line import InputError, RefusedError
from tests.registry_scripts.conftest import Models, artifact, assert_in_step, held, right_on, state, synthetic

LABELS = np.tile([0, 1], 500)


def plant(rivals: Models, ours: int, theirs: int, **more: object) -> str:
    """Log a comparison in which the challenger is right on so many of 1000 rows and the champion on so many."""
    scores = {rivals.strong: right_on(LABELS, ours), rivals.weak: right_on(LABELS, theirs)}
    return synthetic(LABELS, scores, **more)  # type: ignore[arg-type]


def rows_of(table: str) -> dict[str, list[str]]:
    """Return the cells of a verdict's table by the name of the check."""
    lines = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    assert lines[0] == ["check", "required", "found", "verdict"]
    return {name: rest for name, *rest in lines[2:]}


def test_a_planted_worse_model_is_refused_and_a_planted_better_one_promoted(rivals: Models) -> None:
    plant(rivals, 800, 850)
    with pytest.raises(RefusedError, match="required: a higher accuracy"):
        promote.main([])
    assert held() == {"champion": 1, "challenger": 2}
    plant(rivals, 850, 800)
    promote.main([])
    assert held() == {"champion": 2, "previous": 1}
    assert [run.data.tags["decision"] for run in audit.trail()] == ["promote", "refuse", "promote"]
    assert_in_step()


def test_a_planted_tie_is_refused(rivals: Models) -> None:
    plant(rivals, 850, 850)
    with pytest.raises(RefusedError, match="right alone on 0 rows against 0"):
        promote.main([])
    assert held() == {"champion": 1, "challenger": 2}


def worse_on_negation(rivals: Models) -> str:
    """Log a comparison in which the challenger is better over all, and worse on the 300 rows of the negation slice."""
    negation = np.arange(1000) < 300
    ours = np.where(negation, right_on(LABELS, 200), right_on(LABELS, 950))
    theirs = np.where(negation, right_on(LABELS, 250), right_on(LABELS, 800))
    return synthetic(LABELS, {rivals.strong: ours, rivals.weak: theirs}, slices={"negation": negation})


def test_a_model_that_is_better_over_all_and_worse_on_negation_is_refused_with_that_reason(
    rivals: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    run = worse_on_negation(rivals)
    capsys.readouterr()
    with pytest.raises(RefusedError) as refusal:
        promote.main([])
    reason = "slice negation: 0.6667 against 0.8333 on 300 rows"
    assert reason in str(refusal.value)
    assert "required: a higher accuracy" not in str(refusal.value)
    assert held() == {"champion": 1, "challenger": 2}
    table = rows_of(capsys.readouterr().out)
    assert table["better"][2] == "passed"
    assert table["slice negation"][0] == "not worse by more than 0.01 at p < 0.05"
    assert table["slice negation"][2] == "REFUSED"
    last = audit.trail()[-1]
    assert last.data.tags["decision"] == "refuse"
    assert reason in last.data.tags["reason"]
    assert last.data.tags["comparison_run"] == run
    assert rows_of(artifact(last, audit.TABLE).read_text()) == table


def test_all_that_failed_is_in_the_table_and_the_first_of_it_in_the_reason(
    rivals: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {"test_ece": 0.2, "predict_ms_single": 500.0, "model_size_mb": 2000.0, "behaviour_typos": 0.5}
    plant(rivals, 800, 850, measured={rivals.strong: bad, rivals.weak: {"behaviour_typos": 0.1}})
    capsys.readouterr()
    with pytest.raises(RefusedError) as refusal:
        promote.main([])
    table = rows_of(capsys.readouterr().out)
    assert {name for name, row in table.items() if row[2] == "REFUSED"} == {
        "better", "behaviour typos", "test_ece", "predict_ms_single", "model_size_mb",
    }  # fmt: skip
    assert table["model_size_mb"] == ["at most 100", "2000", "REFUSED"]
    assert str(refusal.value).endswith("and 2 more")
    assert "behaviour typos: 0.5000 against 0.1000, required: on at most 0.25 more than the champion" in str(
        refusal.value
    )


def another(tmp_path: Path, **changes: str) -> str:
    """Write a file of limits in which some lines are other ones, and return its name."""
    text = limits.FILE.read_text(encoding="utf-8")
    for name, value in changes.items():
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{name}:")]
        text = text.replace(line, f"{line.partition(':')[0]}: {value}")
    path = tmp_path / "other.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_other_limits_may_be_named_and_are_kept_with_the_decision(rivals: Models, tmp_path: Path) -> None:
    plant(rivals, 850, 800)
    strict = another(tmp_path, margin="0.05")
    with pytest.raises(RefusedError, match=r"required: an accuracy higher by more than 0\.05, or .*, at p < 0\.05"):
        promote.main(["--limits", strict])
    assert artifact(audit.trail()[-1], audit.LIMITS).read_text(encoding="utf-8") == Path(strict).read_text(
        encoding="utf-8"
    )
    promote.main(["--limits", another(tmp_path, margin="0.01")])
    assert held()["champion"] == 2
    first, *_, last = (run.data.tags["limits_sha256"] for run in audit.trail())
    assert first != last


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("margin: 0.0", "margin: 2", "margin: got 2; allowed: a number from 0 to 0.5"),
        ("negation: 0.01", "negatoin: 0.01", "slices.worse_at_most.negatoin: got an unknown name; allowed: default, negation"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_used_are_refused_before_anything_is_written(
    rivals: Models, tmp_path: Path, old: str, new: str, line: str
) -> None:
    plant(rivals, 850, 800)
    before = state()
    path = tmp_path / "limits.yaml"
    path.write_text(limits.FILE.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    for more in ([], ["--dry_run", "true"], ["--force", "true", "--reason", "now"]):
        with pytest.raises(InputError, match=line):
            promote.main(["--limits", str(path), *more])
    assert state() == before


def test_behaviour_is_required_unless_the_limits_say_otherwise(rivals: Models, tmp_path: Path) -> None:
    unmeasured = {"behaviour_typo": None}
    plant(rivals, 850, 800, measured={rivals.strong: unmeasured, rivals.weak: unmeasured})
    with pytest.raises(RefusedError, match="behaviour: not measured; run compare again, required: measured"):
        promote.main([])
    promote.main(["--limits", another(tmp_path, required="false")])
    assert held()["champion"] == 2


@pytest.mark.parametrize(("ours", "said"), [(850, "would be promoted: "), (800, "(dry run) version 2: ")])
def test_a_dry_run_judges_and_writes_nothing(
    rivals: Models, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ours: int, said: str
) -> None:
    plant(rivals, ours, 820)
    before = state()
    capsys.readouterr()

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("a dry run writes")

    for name in ("create_registered_model", "set_registered_model_tag", "create_run"):
        monkeypatch.setattr(MlflowClient, name, refuse)
    try:
        promote.main(["--dry_run", "true"])
        told = capsys.readouterr().out
    except RefusedError as refusal:
        told = capsys.readouterr().out + str(refusal)
    assert said in told
    assert rows_of(told)["better"][2] == ("passed" if ours > 820 else "REFUSED")
    monkeypatch.undo()
    assert state() == before


def test_a_forced_promotion_says_so_everywhere(rivals: Models, capsys: pytest.CaptureFixture[str]) -> None:
    run = plant(rivals, 800, 850)
    promote.main(["--force", "true", "--reason", "the champion leaks memory"])
    assert held() == {"champion": 2, "previous": 1}
    assert "promote: version 2 is the champion, forced: the champion leaks memory; the gate had refused: test" in (
        capsys.readouterr().out
    )
    last = audit.trail()[-1].data.tags
    assert (last["decision"], last["from_version"], last["to_version"]) == ("force", "1", "2")
    assert last["reason"].startswith(
        "the champion leaks memory; the gate had refused: test accuracy 0.8000 against 0.8500"
    )
    evidence = (last["comparison_sha256"], last["scores_sha256"])
    assert (last["comparison_run"], evidence) == (run, comparison.read(run).hashes)
    assert all(evidence)
    page = registry.versions()[2]
    assert page.tags["decision"].startswith("forced: the champion leaks memory; the gate had refused: ")
    assert "forced: the champion leaks memory" in page.description
    assert "version 2 was forced: the champion leaks memory" in registry.versions()[1].description


def test_force_of_a_version_that_passes_is_a_promotion(rivals: Models) -> None:
    plant(rivals, 850, 800)
    promote.main(["--force", "true", "--reason", "in any case"])
    assert audit.trail()[-1].data.tags["decision"] == "promote"
    assert audit.trail()[-1].data.tags["reason"].endswith("; who asked to force it said: in any case")


def test_a_version_that_was_never_compared_may_be_forced(rivals: Models) -> None:
    register.main(["--model", rivals.other])
    with pytest.raises(RefusedError, match="no comparison holds both version 3"):
        promote.main([])
    promote.main(["--force", "true", "--reason", "the data of before is gone"])
    assert held() == {"champion": 3, "previous": 1}
    last = audit.trail()[-1].data.tags
    assert (last["decision"], last["comparison_run"]) == ("force", "")
    assert "no comparison holds both" in last["reason"]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--force", "true"], "--reason: got ''; allowed with --force true: why"),
        (["--force", "true", "--reason", "  "], "--reason: got ''; allowed with --force true: why"),
        (["--reason", "because"], "--reason: got 'because'; allowed: with --force true only"),
        (["--force", "yes"], "--force: got 'yes'; allowed: true, false"),
        (["--dry_run", "1"], "--dry_run: got '1'; allowed: true, false"),
        (["--force", "true", "--reason", "x" * 501], "allowed: one line of at most 500 characters"),
        (["--force", "true", "--reason", "two\nlines"], "allowed: one line of at most 500 characters"),
    ],
)
def test_force_needs_a_reason_and_a_reason_needs_force(
    rivals: Models, capsys: pytest.CaptureFixture[str], argv: list[str], line: str
) -> None:
    before = state()
    try:
        promote.main(argv)
    except (InputError, SystemExit) as error:
        assert line in f"{error}{capsys.readouterr().err}"
    assert state() == before
    assert held() == {"champion": 1, "challenger": 2}


def test_a_version_whose_model_was_deleted_is_neither_promoted_nor_forced_nor_gone_back_to(rivals: Models) -> None:
    plant(rivals, 850, 800)
    MlflowClient().delete_logged_model(rivals.strong)
    before = state()
    for argv in ([], ["--version", "2"], ["--force", "true", "--reason", "now"], ["--dry_run", "true"]):
        with pytest.raises(InputError, match=rf"the model of version 2 \({rivals.strong}\) was deleted; allowed: "):
            promote.main(argv)
    assert state() == before


def test_a_deleted_version_is_named_with_those_there_are(rivals: Models) -> None:
    plant(rivals, 850, 800)
    MlflowClient().delete_model_version(registry.MODEL, "2")
    with pytest.raises(InputError, match="there is no challenger"):
        promote.main([])
    for force in ([], ["--force", "true", "--reason", "now"]):
        with pytest.raises(InputError, match="no version 2 of tweet-sentiment; allowed: 1"):
            promote.main(["--version", "2", *force])
    assert held() == {"champion": 1}


def test_a_rollback_to_a_version_whose_model_was_deleted_is_refused(rivals: Models) -> None:
    plant(rivals, 850, 800)
    promote.main([])
    MlflowClient().delete_logged_model(rivals.weak)
    for argv in ([], ["--version", "1"]):
        with pytest.raises(InputError, match="the model of version 1"):
            rollback.main(argv)
    assert held() == {"champion": 2, "previous": 1}


def rewritten(run: str, change: dict[str, object]) -> None:
    """Change the scores of a comparison, and log the hash of what they are now, as if `compare` had left them so."""
    found = MlflowClient().get_run(run)
    path = artifact(found, comparison.SCORES)
    frame = pd.read_parquet(path)
    for column, value in change.items():
        if column == "rows":
            frame = frame.head(int(str(value)))
        elif value is None:
            frame = frame.drop(columns=column)
        else:
            frame.loc[3, column] = value
    frame.to_parquet(path, index=False)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    MlflowClient().set_tag(run, comparison.hash_tag(comparison.SCORES), digest)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"ours": np.nan}, "scores.parquet holds 1 scores of m-"),
        ({"ours": 1.5}, "that are no number from 0 to 1"),
        ({"theirs": -0.1}, "that are no number from 0 to 1"),
        ({"rows": 999}, "scores.parquet holds 999 rows, not one for each of the 1000 of the test"),
        ({"theirs": None}, "scores.parquet holds no column m-"),
        ({"label": None}, "scores.parquet holds no column label"),
        ({"label": 2}, "scores.parquet holds a label that is neither 0 nor 1"),
    ],
)
def test_scores_that_cannot_be_right_are_not_judged_from(rivals: Models, change: dict[str, object], line: str) -> None:
    run = plant(rivals, 850, 800)
    named = {"ours": rivals.strong, "theirs": rivals.weak}
    rewritten(run, {named.get(name, name): value for name, value in change.items()})
    before = state()
    with pytest.raises(InputError) as error:
        promote.main([])
    assert f"comparison {run}: " in str(error.value)
    assert line in str(error.value)
    assert "run the entry point compare again" in str(error.value)
    assert state() == before


def without_scores(run: str) -> str:
    artifact(MlflowClient().get_run(run), comparison.SCORES).unlink()
    return "has no scores.parquet"


def other_scores(run: str) -> str:
    path = artifact(MlflowClient().get_run(run), comparison.SCORES)
    frame = pd.read_parquet(path)
    frame.iloc[:, -1] = 0.5
    frame.to_parquet(path, index=False)
    return "scores.parquet was changed since it was logged"


def other_result(run: str) -> str:
    path = artifact(MlflowClient().get_run(run), comparison.RESULT)
    result = json.loads(path.read_text(encoding="utf-8"))
    result["models"][0]["metrics"]["test_ece"] = 0.0
    path.write_text(json.dumps(result), encoding="utf-8")
    return "comparison.json was changed since it was logged"


def from_before(run: str) -> str:
    for name in (comparison.RESULT, comparison.SCORES, comparison.TABLE):
        MlflowClient().delete_tag(run, comparison.hash_tag(name))
    return "the sha256 of comparison.json was not logged"


@pytest.mark.parametrize("change", [without_scores, other_scores, other_result, from_before])
def test_evidence_that_was_changed_is_not_judged_from_and_a_new_comparison_mends_it(
    rivals: Models, change: Callable[[str], str]
) -> None:
    run = plant(rivals, 850, 800)
    line = change(run)
    before = state()
    with pytest.raises(InputError) as error:
        promote.main([])
    assert str(error.value).startswith(f"comparison {run}")
    assert line in str(error.value)
    assert str(error.value).endswith("run the entry point compare again")
    assert state() == before
    plant(rivals, 850, 800)
    promote.main([])
    assert held()["champion"] == 2


def test_a_promotion_without_evidence_that_can_be_used_may_be_forced_and_says_so(rivals: Models) -> None:
    run = plant(rivals, 850, 800)
    other_scores(run)
    promote.main(["--force", "true", "--reason", "measured elsewhere"])
    assert held()["champion"] == 2
    last = audit.trail()[-1].data.tags
    assert last["decision"] == "force"
    assert f"the gate had refused: comparison {run}: scores.parquet was changed" in last["reason"]


def test_a_decision_tells_who_when_what_why_and_on_what(rivals: Models) -> None:
    run = plant(rivals, 850, 800)
    promote.main([])
    first, second = audit.trail()
    tags = second.data.tags
    assert tags["who"] == lock.person()
    assert tags["when"].endswith("+00:00")
    assert (tags["decision"], tags["from_version"], tags["to_version"]) == ("promote", "1", "2")
    assert tags["reason"].startswith("test accuracy 0.8500 against 0.8000 of champion 1")
    assert tags["comparison_run"] == run
    assert (tags["number"], tags["previous"]) == ("2", first.data.tags["sha256"])
    assert registry.model_tags()[audit.LAST] == f"2 {tags['sha256']}"
    assert (second.info.status, second.info.run_name) == ("FINISHED", "decision 2: promote version 2")
    assert registry.versions()[2].tags["decision_run"] == second.info.run_id


def test_decisions_are_not_taken_for_runs_of_steps(rivals: Models) -> None:
    plant(rivals, 850, 800)
    promote.main([])
    for run in audit.trail():
        assert not set(run.data.tags) & {"step_key", "dataset_digest", "model_id", "family", "compared_model_id"}
        assert run.data.tags["step"] == "decision"


def test_the_page_of_a_version_tells_its_history(rivals: Models) -> None:
    before = registry.versions()[2].description
    plant(rivals, 800, 850)
    with pytest.raises(RefusedError):
        promote.main([])
    plant(rivals, 850, 800)
    promote.main([])
    rollback.main(["--reason", "complaints"])
    told = registry.versions()[2].description
    assert told.startswith(before)
    lines = [line for line in told.splitlines() if line.startswith("- ")]
    assert len(lines) == 3
    assert "champion until then; version 1 was rolled back to, from version 2: complaints" in lines[0]
    assert ": promoted: test accuracy 0.8500" in lines[1]
    assert ": refused: test accuracy 0.8000" in lines[2]
    assert registry.versions()[1].description.count("\n- ") == 3

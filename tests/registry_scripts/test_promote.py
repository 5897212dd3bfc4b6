"""promote: the gate, its reasons, and what the registry says after each decision."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.tracking import MlflowClient

from registry_scripts import promote, register
from steps.sentiment import registry, runs
from steps.sentiment.command_line import InputError, RefusedError
from tests.registry_scripts.conftest import (
    ROOT,
    Models,
    added,
    assert_in_step,
    held,
    moved,
    right_on,
    stages,
    state,
    survives_crashes,
    synthetic,
)

LABELS = np.tile([0, 1], 200)
FRAMEWORKS = {"sklearn", "torch", "tensorflow", "transformers", "gensim", "keras", "keras_tuner", "onnxruntime"}


def champion_and_challenger(champion: str, challenger: str) -> None:
    register.main(["--model", champion])
    promote.main([])
    register.main(["--model", challenger])


def test_the_first_champion_needs_to_beat_the_majority_class(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    register.main(["--model", models.strong])
    promote.main([])
    assert held() == {"champion": 1}
    assert stages() == {1: "Production"}
    assert "the majority class" in capsys.readouterr().out


@pytest.mark.parametrize("rows", [0, 200, 210])
def test_a_first_challenger_no_better_than_the_majority_class_is_refused(models: Models, rows: int) -> None:
    synthetic(LABELS, {models.strong: right_on(LABELS, rows)})
    register.main([])
    with pytest.raises(RefusedError, match="majority class"):
        promote.main([])
    assert held() == {"challenger": 1}
    assert_in_step()


def test_the_majority_class_is_that_of_the_test_rows(models: Models) -> None:
    labels = np.array([1] * 90 + [0] * 10)
    synthetic(labels, {models.strong: right_on(labels, 90)})  # right on 90 %, as the answer "positive" always is
    register.main([])
    with pytest.raises(RefusedError, match=r"0\.9000 against 0\.9000 of the majority class"):
        promote.main([])


def test_a_better_challenger_becomes_champion_and_the_one_before_is_kept(models: Models) -> None:
    champion_and_challenger(models.weak, models.strong)
    promote.main([])
    assert held() == {"champion": 2, "previous": 1}
    assert stages() == {1: "Archived", 2: "Production"}
    tags = registry.versions()[2].tags
    assert tags["decision"].startswith("promoted: ")
    assert tags["decided_on"] == models.compared
    assert tags["decided_against"] == "1"


def test_a_third_champion_leaves_one_previous(models: Models) -> None:
    champion_and_challenger(models.weak, models.strong)
    promote.main([])
    synthetic(LABELS, {models.other: right_on(LABELS, 400), models.strong: right_on(LABELS, 300)})
    register.main([])
    promote.main([])
    assert held() == {"champion": 3, "previous": 2}
    assert stages() == {1: "Archived", 2: "Archived", 3: "Production"}


def test_the_champion_is_loaded_by_alias_and_by_stage_after_each_decision(models: Models) -> None:
    texts = ["never flying with them again :(", "best. day. ever!!!", ""]

    def answers(uri: str) -> list[dict[str, object]]:
        answered: list[dict[str, object]] = mlflow.pyfunc.load_model(uri).predict(texts)
        return answered

    champion_and_challenger(models.weak, models.strong)
    weak, strong = answers(f"models:/{models.weak}"), answers(f"models:/{models.strong}")
    assert weak != strong
    production = f"models:/{registry.MODEL}/Production"
    assert answers("models:/tweet-sentiment@champion") == answers(production) == weak
    promote.main([])
    assert answers("models:/tweet-sentiment@champion") == answers(production) == strong
    register.main(["--model", models.weak])
    with pytest.raises(RefusedError):
        promote.main([])
    assert answers("models:/tweet-sentiment@champion") == answers(production) == strong


def test_a_worse_challenger_is_refused_and_keeps_its_alias(models: Models) -> None:
    champion_and_challenger(models.strong, models.weak)
    with pytest.raises(RefusedError) as refusal:
        promote.main([])
    assert "version 2" in str(refusal.value)
    assert "required: a higher accuracy" in str(refusal.value)
    assert "slice negation: " in str(refusal.value)
    assert held() == {"champion": 1, "challenger": 2}
    assert stages() == {1: "Production", 2: "Staging"}
    tags = registry.versions()[2].tags
    assert tags["decision"].startswith("refused: ")
    assert tags["decided_on"] == models.compared
    assert tags["decided_at"].endswith("+00:00")
    assert "decided_against" not in registry.versions()[1].tags or registry.versions()[1].tags["decided_against"] == ""


def test_a_challenger_as_good_as_the_champion_is_refused(models: Models) -> None:
    champion_and_challenger(models.weak, models.strong)
    wrong_elsewhere = right_on(LABELS[::-1], 350)[::-1]
    synthetic(LABELS, {models.strong: right_on(LABELS, 350), models.weak: wrong_elsewhere})
    with pytest.raises(RefusedError, match=r"right alone on 50 rows against 50 \(McNemar p=1\)"):
        promote.main([])
    assert held() == {"champion": 1, "challenger": 2}
    assert_in_step()


def test_equal_scores_are_no_reason_to_change(models: Models) -> None:
    champion_and_challenger(models.weak, models.strong)
    synthetic(LABELS, {models.strong: right_on(LABELS, 350), models.weak: right_on(LABELS, 350)})
    with pytest.raises(RefusedError, match=r"right alone on 0 rows against 0 \(McNemar p=1\)"):
        promote.main([])


@pytest.mark.parametrize(("more", "accepted"), [(5, False), (6, True)])
def test_right_more_often_by_chance_is_not_enough(models: Models, more: int, accepted: bool) -> None:
    # Alone right on five rows of five is p = 2/32, on six of six 2/64.
    champion_and_challenger(models.weak, models.strong)
    synthetic(LABELS, {models.strong: right_on(LABELS, 300 + more), models.weak: right_on(LABELS, 300)})
    if accepted:
        promote.main([])
        assert held()["champion"] == 2
    else:
        with pytest.raises(RefusedError, match=r"p=0\.062"):
            promote.main([])
        assert held()["champion"] == 1


def test_a_refused_challenger_is_judged_again_on_a_newer_comparison(models: Models) -> None:
    champion_and_challenger(models.strong, models.weak)
    with pytest.raises(RefusedError):
        promote.main([])
    newer = synthetic(LABELS, {models.weak: right_on(LABELS, 380), models.strong: right_on(LABELS, 300)})
    promote.main([])
    assert held() == {"champion": 2, "previous": 1}
    tags = registry.versions()[2].tags
    assert tags["decided_on"] == newer
    assert tags["decision"].startswith("promoted: ")


def test_a_comparison_without_the_champion_does_not_count(models: Models) -> None:
    champion_and_challenger(models.strong, models.weak)
    synthetic(LABELS, {models.weak: right_on(LABELS, 400)})
    with pytest.raises(RefusedError):
        promote.main([])
    assert registry.versions()[2].tags["decided_on"] == models.compared


def test_a_named_version_is_promoted_in_place_of_the_challenger(models: Models) -> None:
    champion_and_challenger(models.weak, models.strong)
    register.main(["--model", models.other])
    promote.main(["--version", "2"])
    assert held() == {"champion": 2, "previous": 1}
    assert stages() == {1: "Archived", 2: "Production", 3: "None"}


def test_a_version_that_does_not_exist_is_named_with_those_that_do(models: Models) -> None:
    champion_and_challenger(models.weak, models.strong)
    before = state()
    with pytest.raises(InputError) as error:
        promote.main(["--version", "7"])
    assert str(error.value) == "--version: no version 7 of tweet-sentiment; allowed: 1, 2"
    assert state() == before


def test_without_any_version_register_is_named(models: Models) -> None:
    with pytest.raises(InputError, match="run register first"):
        promote.main(["--version", "1"])
    with pytest.raises(InputError, match="there is no challenger; run register first"):
        promote.main([])


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", "1 2"])
def test_a_version_that_is_no_number_is_refused_in_one_line(
    models: Models, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        promote.main([f"--version={given}"])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"--version: got {given!r}" in line


def test_versions_of_different_datasets_are_not_compared(models: Models) -> None:
    champion_and_challenger(models.other, models.strong)
    with pytest.raises(RefusedError) as refusal:
        promote.main([])
    assert models.digest in str(refusal.value)
    assert models.other_digest in str(refusal.value)
    assert "compare first" in str(refusal.value)
    assert held() == {"champion": 1, "challenger": 2}
    assert registry.versions()[2].tags["decision"].startswith("refused: ")
    assert_in_step()


def test_a_first_challenger_that_was_never_compared_is_refused(models: Models) -> None:
    trained = runs.finished(step="train_baseline")[0].info
    alone = MlflowClient().create_logged_model(trained.experiment_id, source_run_id=trained.run_id)
    made = added(alone.model_id, trained.run_id, {"family": "baseline", "dataset_digest": models.digest})
    moved("register", {registry.CHALLENGER: made})
    with pytest.raises(RefusedError, match=r"no comparison holds version 1.*run the entry point compare first"):
        promote.main([])
    assert held() == {"challenger": 1}


def test_the_champion_is_not_promoted_again(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    champion_and_challenger(models.weak, models.strong)
    promote.main([])
    before = state()
    promote.main(["--version", "2"])
    assert "version 2 is the champion already" in capsys.readouterr().out
    assert state() == before
    with pytest.raises(InputError, match="there is no challenger"):
        promote.main([])


def test_the_champion_before_may_be_promoted_again_when_it_turns_out_better(models: Models) -> None:
    champion_and_challenger(models.weak, models.strong)
    promote.main([])
    synthetic(LABELS, {models.weak: right_on(LABELS, 400), models.strong: right_on(LABELS, 300)})
    promote.main(["--version", "1"])
    assert held() == {"champion": 1, "previous": 2}
    assert stages() == {1: "Production", 2: "Archived"}


def test_a_refusal_as_a_program_is_one_line_and_loads_no_ml_framework(models: Models) -> None:
    champion_and_challenger(models.strong, models.weak)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "registry_scripts.promote"],
        cwd=ROOT,
        env=os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
        capture_output=True,
        text=True,
        check=False,
    )
    imports, said = set(), []
    for line in done.stderr.splitlines():
        if line.startswith("import time:"):
            imports.add(line.rsplit("|", 1)[1].strip().split(".")[0])
        else:
            said.append(line)
    assert done.returncode == 1
    assert [line.split(":")[:2] for line in said] == [["promote", " refused"]]
    assert re.search(
        r"^\| better +\| a higher accuracy, or .*, at p < 0.05 +\| .* \| REFUSED +\|$", done.stdout, re.MULTILINE
    )
    assert held() == {"champion": 1, "challenger": 2}
    assert {"mlflow", "pandas", "registry_scripts"} <= imports
    assert imports.isdisjoint(FRAMEWORKS)


def test_the_first_promotion_survives_a_crash_anywhere(models: Models, database: Path) -> None:
    register.main(["--model", models.strong])
    assert survives_crashes(database, promote.main, stride=4) >= 16


def test_a_promotion_over_a_champion_survives_a_crash_anywhere(models: Models, database: Path) -> None:
    champion_and_challenger(models.weak, models.strong)
    # The lock, the decision and the move written down, the decision's run, three aliases, two stages, the pages of both
    # versions, all struck off, the lock given back.
    assert survives_crashes(database, promote.main) >= 20


def test_a_refusal_survives_a_crash_anywhere(models: Models, database: Path) -> None:
    champion_and_challenger(models.strong, models.weak)
    assert survives_crashes(database, promote.main, stride=3) >= 15

"""Two promotions at once, in two processes on one store: the second sees what the first has done, or is refused."""

import os
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from registry_scripts import register
from registry_scripts.registry import audit
from steps.sentiment import registry
from tests.registry_scripts.conftest import ROOT, Models, assert_in_step, held, right_on, stages, synthetic

LABELS = np.tile([0, 1], 200)
#: Imports first, so that both begin at the same moment.
PROGRAM = """
import importlib, sys, time
from pathlib import Path
from steps.sentiment import command_line
script, mark = importlib.import_module(f"registry_scripts.{sys.argv[1]}"), Path(sys.argv[2])
sys.argv = sys.argv[:1] + sys.argv[3:]
mark.touch()
while not mark.with_name("go").exists():
    time.sleep(0.01)
command_line.run(script.main, script.__name__)
"""


def at_once(folder: Path, *commands: list[str]) -> list[tuple[int, str]]:
    """Run commands in a process each, all from the same moment on; return exit code and last line of each."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    processes = []
    for number, (script, *flags) in enumerate(commands):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, script, str(folder / str(number)), *flags],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        processes.append(process)
    while not all((folder / str(number)).exists() for number in range(len(commands))):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)
    (folder / "go").touch()
    said = [process.communicate(timeout=300)[0] for process in processes]
    return [(process.returncode, text.splitlines()[-1]) for process, text in zip(processes, said, strict=True)]


def promote_version_2_twice_at_once(folder: Path) -> None:
    """Check that one of the two promotes it, and that the other sees this."""
    found = sorted(at_once(folder, ["promote", "--version", "2"], ["promote", "--version", "2"]))
    assert [code for code, _ in found] == [0, 0], found
    assert sorted(line[:52].split(":")[1] for _, line in found) == [
        " version 2 is the champion",
        " version 2 is the champion already",
    ]
    assert held() == {"champion": 2, "previous": 1}
    assert [run.data.tags["to_version"] for run in audit.trail()] == ["1", "2"]
    assert_in_step()


def test_two_promotions_of_the_same_version(rivals: Models, tmp_path: Path) -> None:
    synthetic(LABELS, {rivals.strong: right_on(LABELS, 350), rivals.weak: right_on(LABELS, 300)})
    promote_version_2_twice_at_once(tmp_path)


def test_two_promotions_of_the_challenger(rivals: Models, tmp_path: Path) -> None:
    synthetic(LABELS, {rivals.strong: right_on(LABELS, 350), rivals.weak: right_on(LABELS, 300)})
    found = sorted(at_once(tmp_path, ["promote"], ["promote"]))
    assert [code for code, _ in found] == [0, 2]
    assert "there is no challenger; run register first" in found[1][1]
    assert held() == {"champion": 2, "previous": 1}
    assert len(audit.trail()) == 2
    assert_in_step()


@pytest.mark.parametrize("best", [2, 3])
def test_two_promotions_of_different_versions(rivals: Models, tmp_path: Path, best: int) -> None:
    right = {2: 320, 3: 350} if best == 3 else {2: 350, 3: 320}
    synthetic(
        LABELS,
        {
            rivals.other: right_on(LABELS, right[3]),
            rivals.strong: right_on(LABELS, right[2]),
            rivals.weak: right_on(LABELS, 250),
        },
    )
    register.main([])
    found = dict(
        zip((2, 3), at_once(tmp_path, ["promote", "--version", "2"], ["promote", "--version", "3"]), strict=True)
    )
    # Whoever came second was judged against the first, so that the better one is champion in the end in any case.
    assert held()["champion"] == best
    assert stages()[best] == "Production"
    assert found[best][0] == 0
    second = audit.trail()[-1].data.tags
    assert len(audit.trail()) == 3
    if second["to_version"] == str(best):
        assert second["from_version"] == str(5 - best)
        assert held()["previous"] == 5 - best
        assert found[5 - best][0] == 0
    else:
        assert (second["decision"], second["from_version"]) == ("refuse", str(best))
        assert held()["previous"] == 1
        assert found[5 - best][0] == 1
    assert_in_step()


def test_a_promotion_a_rollback_and_a_registration_at_once(rivals: Models, tmp_path: Path) -> None:
    synthetic(LABELS, {rivals.strong: right_on(LABELS, 350), rivals.weak: right_on(LABELS, 300)})
    found = at_once(
        tmp_path,
        ["promote", "--version", "2"],
        ["rollback"],
        ["register", "--model", rivals.other],
    )
    assert [code for code, _ in found][::2] == [0, 0]
    decisions = [run.data.tags["decision"] for run in audit.trail()]
    # A rollback that came before the promotion had nothing to go back to.
    assert decisions == (["promote", "promote", "rollback"] if found[1][0] == 0 else ["promote", "promote"])
    assert held()["champion"] == (1 if found[1][0] == 0 else 2)
    assert len(registry.versions()) == 3
    assert_in_step()

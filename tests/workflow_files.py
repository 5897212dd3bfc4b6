"""What the tests of the workflows share: the files, the shell of their steps, and a shell in which it runs. No test itself."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

FOLDER = ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
WORKFLOWS: dict[str, dict[str, Any]] = {
    # YAML 1.1 reads `on` as true
    path.stem: {str(key).replace("True", "on"): value for key, value in yaml.safe_load(path.read_text()).items()}
    for path in FILES
}
#: Stands for a program, and writes its arguments down, a call a line.
RECORDER = """#!{python}
import json, os, sys
with open({calls!r}, "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
answers = json.loads(os.environ.get("ANSWERS", "{{}}"))
called = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
for part, (code, said) in answers.items():
    if part in called:
        print(said)
        sys.exit(code)
"""
PROGRAMS = ("python", "mlflow", "pip", "make", "sudo", "apt-get", "git", "az", "docker")


@dataclass(frozen=True)
class Step:
    """A step with a shell script: where it stands, the script, and its environment as the workflow has it."""

    workflow: str
    job: str
    name: str
    script: str
    environment: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.workflow}-{self.job}-{self.name}"


def steps() -> Iterator[Step]:
    """Yield every step that has a shell script."""
    for workflow, content in WORKFLOWS.items():
        for job, described in content["jobs"].items():
            for step in described.get("steps", []):
                if "run" in step:
                    variables = {**described.get("env", {}), **step.get("env", {})}
                    yield Step(workflow, job, step["name"], step["run"], variables)


STEPS = list(steps())


def step(workflow: str, name: str) -> Step:
    """Return the step of a name."""
    (found,) = [one for one in STEPS if (one.workflow, one.name) == (workflow, name)]
    return found


def filled_in(text: str, given: Mapping[str, str]) -> str:
    """Return the value of a variable of a step: its one expression, `a`, `a || b` or `condition && a || b`.

    Args:
        text: as the workflow has it.
        given: value by name (`inputs.version`); a condition holds if it stands here.
    """
    found = re.fullmatch(r"\$\{\{ (.+) \}\}", text)
    if not found:
        assert "${{" not in text, f"{text}: more than an expression"
        return text
    first, _, otherwise = found[1].partition(" || ")
    condition, _, first = first.rpartition(" && ")
    for name in (first if not condition or condition in given else "", otherwise):
        value = name.strip("'") if name.startswith("'") else given.get(name, "")
        if value:
            return value
    return ""


@dataclass(frozen=True)
class Done:
    """What a step did: exit code, what it printed, which programs it called, and what it left for the next steps and the reader."""

    code: int
    said: str
    calls: list[list[str]]
    summary: str
    output: str


def run(
    script: str,
    variables: Mapping[str, str],
    folder: Path,
    programs: tuple[str, ...] = PROGRAMS,
    answers: Mapping[str, tuple[int, str]] | None = None,
    cwd: Path | None = None,
) -> Done:
    """Run the shell of a step as GitHub does for `shell: bash`.

    Args:
        script: of the step.
        variables: its environment.
        folder: for what it writes beside the working directory.
        programs: those that have a stand-in, which does nothing but write its arguments down.
        answers: part of a call -> exit code, and what the stand-in says.
        cwd: the working directory; default a new folder.
    """
    binaries, calls, work = folder / "bin", folder / "calls", cwd or folder / "work"
    for made in (binaries, work):
        made.mkdir(parents=True, exist_ok=True)
    for name in programs:
        (binaries / name).write_text(RECORDER.format(python=sys.executable, calls=str(calls)))
        (binaries / name).chmod(0o755)
    files = {name: folder / name.lower() for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for path in (*files.values(), calls):
        path.touch()
    (folder / "script.sh").write_text(script)
    own = {
        "PATH": f"{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "RUNNER_TEMP": str(folder),
        "GITHUB_WORKSPACE": str(work),
        "ANSWERS": json.dumps(answers or {}),
        **{name: str(path) for name, path in files.items()},
        **variables,
    }
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", folder / "script.sh"],
        cwd=work, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip
    return Done(
        done.returncode,
        done.stdout,
        [json.loads(line) for line in calls.read_text().splitlines()],
        files["GITHUB_STEP_SUMMARY"].read_text(),
        files["GITHUB_OUTPUT"].read_text(),
    )

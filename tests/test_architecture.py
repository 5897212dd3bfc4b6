"""The arrows of docs/architecture.md, read from imports and calls."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

STEPS = sorted(path for path in (ROOT / "steps").glob("*.py") if path.stem != "__init__")
SCRIPTS = sorted(path for path in (ROOT / "registry_scripts").glob("*.py") if path.stem != "__init__")
LIBRARY = sorted((ROOT / "steps/sentiment").rglob("*.py"))
SHARED_SCRIPTS = sorted(ROOT.glob("registry_scripts/*/*.py"))
ALL = [*STEPS, *SCRIPTS, *LIBRARY, *SHARED_SCRIPTS]
HEAVY = {"tensorflow", "keras", "keras_tuner", "gensim", "torch", "transformers"}
ML = {*HEAVY, "sklearn", "onnxruntime"}
RUN_WRITES = {
    "log_param", "log_params", "log_metric", "log_artifact", "log_artifacts", "log_text", "log_dict", "log_figure", "log_table",
    "log_model", "log_input", "set_tag", "start_run", "set_experiment", "end_run", "create_run",
}  # fmt: skip
REGISTRY_WRITES = {
    "register_model", "create_registered_model", "create_model_version", "set_registered_model_alias", "delete_registered_model_alias",
    "set_registered_model_tag", "delete_registered_model_tag", "set_model_version_tag", "transition_model_version_stage",
    "delete_model_version", "delete_registered_model", "rename_registered_model", "copy_model_version", "update_model_version",
}  # fmt: skip


def imports(path: Path, module_level: bool = False) -> Iterator[str]:
    """Yield the dotted names that a file imports; `from a import b` gives both a and a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if module_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(path: Path) -> set[str]:
    """Return the last names of everything that a file calls, and its keyword names."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names = {node.func.attr for node in nodes if isinstance(node.func, ast.Attribute)}
    names |= {node.func.id for node in nodes if isinstance(node.func, ast.Name)}
    return names | {f"{keyword.arg}=" for node in nodes for keyword in node.keywords}


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_there_is_something_to_check() -> None:
    assert len(STEPS) >= 4
    assert len(SCRIPTS) >= 4
    assert len(LIBRARY) >= 10


@pytest.mark.parametrize("path", [*STEPS, *SCRIPTS], ids=module)
def test_no_entry_point_imports_another(path: Path) -> None:
    others = {module(other) for other in [*STEPS, *SCRIPTS] if other != path}
    assert not others & set(imports(path))


@pytest.mark.parametrize("path", LIBRARY, ids=module)
def test_the_library_never_imports_upward(path: Path) -> None:
    ours = {name for name in imports(path) if name.split(".")[0] in ("steps", "registry_scripts", "tests")}
    assert all(name == "steps.sentiment" or name.startswith("steps.sentiment.") for name in ours)


def test_the_shipped_file_imports_nothing_of_ours_and_no_framework_at_module_level() -> None:
    path = ROOT / "steps/sentiment/model.py"
    assert not {name.split(".")[0] for name in imports(path)} & {"steps", "registry_scripts", "tests"}
    assert not {name.split(".")[0] for name in imports(path, module_level=True)} & ML


#: The trail of decisions: a run each. tracking.py imports ML frameworks, which the registry scripts may not.
DECISIONS = ROOT / "registry_scripts/registry/audit.py"


@pytest.mark.parametrize("path", [path for path in ALL if path.name != "tracking.py"], ids=module)
def test_runs_are_written_by_tracking_alone_but_for_decisions(path: Path) -> None:
    assert calls(path) & RUN_WRITES == ({"create_run", "log_text"} if path == DECISIONS else set())


@pytest.mark.parametrize("path", [*STEPS, *LIBRARY], ids=module)
def test_the_registry_is_written_by_registry_scripts_alone(path: Path) -> None:
    assert not calls(path) & {*REGISTRY_WRITES, "registered_model_name="}


def reached(path: Path, seen: set[Path]) -> set[Path]:
    """Return our files that a file imports, directly or not."""
    for name in imports(path):
        target = ROOT / Path(*name.split(".")).with_suffix(".py")
        if name.split(".")[0] in ("steps", "registry_scripts") and target.is_file() and target not in seen:
            seen.add(target)
            reached(target, seen)
    return seen


@pytest.mark.parametrize("path", [*SCRIPTS, *SHARED_SCRIPTS], ids=module)
def test_registry_scripts_reach_no_ml_framework_and_load_no_model(path: Path) -> None:
    for file in {path, *reached(path, set())}:
        assert not {name.split(".")[0] for name in imports(file)} & ML, file
        assert "load_model" not in calls(file), file


@pytest.mark.parametrize("path", ALL, ids=module)
def test_heavy_frameworks_stay_in_their_places(path: Path) -> None:
    places = ("checkpoint", "embeddings", "network_training", "networks", "fine_tuning", "transformer", "model")
    allowed = path.stem.startswith(("train_", "tune_", "distill")) or path.stem in places
    assert allowed or not {name.split(".")[0] for name in imports(path)} & HEAVY


@pytest.mark.parametrize("path", ALL, ids=module)
def test_the_test_split_is_opened_by_compare_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    opened = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("split", "human_test")
        and (node.func.attr == "human_test" or (node.args and getattr(node.args[0], "value", "") == "test"))
    ]
    assert bool(opened) == (path == ROOT / "steps/compare.py")


def test_every_entry_point_is_a_file_and_every_file_an_entry_point() -> None:
    blocks = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]
    assert set(blocks) == {path.stem for path in [*STEPS, *SCRIPTS]}
    for name, block in blocks.items():
        package = "steps" if (ROOT / f"steps/{name}.py").is_file() else "registry_scripts"
        flags = "".join(f" --{flag} {{{flag}}}" for flag in block.get("parameters", {}))
        assert block["command"] == f"python -m {package}.{name}{flags}"


def test_top_level_is_the_agreed_one() -> None:
    agreed = {
        "MLproject", "conda.yaml", "steps", "registry_scripts", "data", "tests", "docs", ".github", "README.md", "Makefile",
        "pyproject.toml", "requirements.txt", "LICENSE", ".gitignore", ".ci",
    }  # fmt: skip
    ignored = {line.strip("/*\n") for line in (ROOT / ".gitignore").read_text().splitlines()}
    found = {path.name for path in ROOT.iterdir()} - {".git", "mlflow.db", "mlflow.db-journal"}
    assert found - ignored == agreed


@pytest.mark.parametrize("path", ALL, ids=module)
def test_modules_stay_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    most = 360 if path.name == "model.py" else 320  # the file that ships is one and holds every family's scoring
    assert len(text.splitlines()) <= most

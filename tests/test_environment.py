"""conda.yaml, its lock, and what MLflow makes of them."""

import importlib.metadata
import re
import sys

import pytest
import yaml
from mlflow.utils.environment import _PythonEnv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from steps.sentiment import bag_of_ngrams, served
from tests.conftest import ROOT

GPU = re.compile(r"nvidia|cuda|cudnn|triton")
PINS: list[str] = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"][-1]["pip"]
LOCK = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines() if line]
HERE = [requirement for requirement in LOCK if not requirement.marker or requirement.marker.evaluate()]


def test_every_package_of_conda_yaml_is_pinned_and_locked_at_the_same_version() -> None:
    locked = {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in HERE}
    for pin in map(Requirement, PINS):
        assert re.fullmatch(r"==[\d.]+", str(pin.specifier)), pin
        assert locked.get(canonicalize_name(pin.name)) == str(pin.specifier), pin


def test_the_lock_is_exactly_what_conda_yaml_needs() -> None:
    needed, queue = set(), [(canonicalize_name(pin.name), frozenset(pin.extras)) for pin in map(Requirement, PINS)]
    while queue:
        name, extras = queue.pop()
        if name in needed and not extras:
            continue
        needed.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            wanted = [{"extra": extra} for extra in extras or [""]]
            if GPU.search(requirement.name):  # what torch for GPUs brings along: the lock leaves it to pip
                continue
            if not requirement.marker or any(requirement.marker.evaluate(extra) for extra in wanted):
                queue.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    assert needed == {canonicalize_name(requirement.name) for requirement in HERE}


def test_the_running_environment_is_the_locked_one() -> None:
    for requirement in HERE:
        # torch for the processor alone is the same version with `+cpu` behind it.
        version = Version(importlib.metadata.version(requirement.name)).public
        assert f"=={version}" == str(requirement.specifier)


def test_the_lock_names_no_gpu_library_and_no_index() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not GPU.search(text)
    assert not re.search(r"--|://", text)


def test_mlflow_reads_conda_yaml_without_ignoring_a_dependency(caplog: pytest.LogCaptureFixture) -> None:
    environment = _PythonEnv.from_conda_yaml(str(ROOT / "conda.yaml"))
    assert environment.python == "3.11" == ".".join(map(str, sys.version_info[:2]))
    assert environment.dependencies == PINS
    assert "will not be installed" not in caplog.text


@pytest.mark.parametrize(
    "requirements",
    [bag_of_ngrams.REQUIREMENTS, served.ONNX_REQUIREMENTS, served.ENDPOINT_REQUIREMENTS],
    ids=["baseline", "onnx", "endpoint"],
)
def test_a_served_model_needs_few_packages_all_pinned_as_in_the_lock(requirements: list[str]) -> None:
    pins = {canonicalize_name(pin.name): str(pin.specifier) for pin in LOCK}
    for requirement in map(Requirement, requirements):
        assert str(requirement.specifier) == pins[canonicalize_name(requirement.name)]
        assert requirement.name not in (
            "scikit-learn",
            "tensorflow",
            "torch",
            "gensim",
            "keras",
            "keras-tuner",
            "mlflow",
        )

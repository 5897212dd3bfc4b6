"""What the two tests of deploy share: the state they begin with, what goes wrong, and what must be so then. Not a test itself.

tests/registry_scripts/test_deploy.py runs it with recorded images and revisions, tests/image/test_deploy.py with real ones.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from registry_scripts import deploy
from registry_scripts.azure import az, rollout
from tests.conftest import ROOT, environment
from tests.fake_az import Cloud
from tests.registry_scripts.conftest import opened
from tests.registry_scripts.test_azure_templates import GIVEN

OLD, OLDER = "tweet-sentiment--v1-1126080229", "tweet-sentiment--v1-1101080229"
AGAIN = "python -m registry_scripts.deploy --resource_group tweets"
TWEETS = ["--resource_group", "tweets"]
QUICK = [*TWEETS, "--minutes", "0.005"]
MAIN = {name: value for name, value in GIVEN["main"].items() if name != "apiKey"}

#: Fault -> what goes wrong, what the message says, whether the revision was made.
FAULTS: dict[str, tuple[list[tuple[str, list[int], Any]], str, bool]] = {
    "az fails after the image was pushed": (
        [("deployment group create", [1], "fail")],
        "az deployment group create ended with 1: (ServiceUnavailable)",
        False,
    ),
    "az fails when the revision was made": (
        [("deployment group create", [1], "after")],
        "az deployment group create ended with 1: (GatewayTimeout)",
        True,
    ),
    "az does not answer after the revision was made": (
        [("containerapp revision list", [1], "hang")],
        "az containerapp revision list has not answered within",
        True,
    ),
    "az fails when 25 % were shifted": (
        [("containerapp ingress traffic set", [1], "after")],
        "az containerapp ingress traffic ended with 1",
        True,
    ),
    "az fails after 25 % were shifted": (
        [("containerapp ingress traffic set", [2], "fail")],
        "az containerapp ingress traffic ended with 1",
        True,
    ),
    "az fails after 25 % were shifted, and twice more": (
        [("containerapp ingress traffic set", [2, 3, 4], "fail")],
        "az containerapp ingress traffic ended with 1",
        True,
    ),
    "az does not tell what failed": (
        [("monitor metrics list", [2], "fail")],
        "az monitor metrics list ended with 1",
        True,
    ),
}
#: During which call of az another version is promoted, whether the revision was made, how often the traffic was set.
PROMOTIONS = [
    ("acr login", False, 0),
    ("deployment group create", True, 0),
    ("containerapp ingress traffic set", True, 2),
]


def two_versions(folder: Path) -> Path:
    """Make a registry with the bundled model as versions 1 and 2, and 2 as champion, in a folder; return the folder."""
    with opened(folder, folder / "mlflow.db"):
        client = MlflowClient()
        client.create_registered_model("tweet-sentiment")
        for _ in range(2):
            version = client.create_model_version("tweet-sentiment", str(ROOT / "data/champion/model"))
        client.set_registered_model_alias("tweet-sentiment", "champion", version.version)
    return folder


@contextmanager
def provisioned(folder: Path, patch: pytest.MonkeyPatch, certified: str, **state: Any) -> Iterator[Cloud]:
    """Give Azure with what provision makes, without an app; az is on the PATH, and no file and no lock may be left.

    Args:
        folder: for it.
        patch: undone by the test.
        certified: file of the certificate of all addresses.
        state: parts of the state.
    """
    cloud = Cloud(folder / "azure")
    patch.setenv("PATH", os.pathsep.join([str(cloud.folder), os.environ["PATH"]]))
    patch.setenv("REQUESTS_CA_BUNDLE", certified)
    patch.delenv("SERVE_API_KEY", raising=False)
    patch.setattr(rollout, "COUNT", 0.01)
    (folder / "temporary").mkdir()
    patch.setattr("tempfile.tempdir", str(folder / "temporary"))
    cloud.change(groups={"tweets": {"name": "tweets", "tags": {}}}, **state)
    made("tweet-sentiment", "main", MAIN, folder)
    yield cloud
    assert list((folder / "temporary").iterdir()) == []  # keys were in there
    assert [model.name for model in MlflowClient().search_registered_models()] == ["tweet-sentiment"]  # no lock is left


def made(name: str, template: str, values: dict[str, Any], folder: Path) -> None:
    """Deploy a template with the recorded az."""
    parameters = folder / f"{template}-parameters.json"
    parameters.write_text(json.dumps({"parameters": {name: {"value": value} for name, value in values.items()}}))
    az.call(
        "deployment", "group", "create", *("--resource-group", "tweets"), "--name", name,
        "--template-file", str(ROOT / f"registry_scripts/azure/{template}.json"), "--parameters", f"@{parameters}",
    )  # fmt: skip


def version_1_serves(cloud: Cloud, folder: Path, **given: Any) -> None:
    """Make two revisions of version 1, of which the newer one serves, and forget the calls.

    Args:
        cloud: without an app.
        folder: for files.
        given: parameters of the app.
    """
    for revision, traffic in ((OLDER, {"latestRevision": True}), (OLD, {"revisionName": OLD})):
        suffix = revision.partition("--")[2]
        values = {
            "version": "1",
            "revisionSuffix": suffix,
            "traffic": [{"weight": 100, **traffic}],
            "withApiKey": False,
        }
        made("tweet-sentiment-app", "app", GIVEN["app"] | values | given, folder)
    assert cloud.weights() == {OLD: 100}
    (cloud.folder / "calls").unlink()


def failed(argv: Sequence[str]) -> str:
    """Deploy, see that it fails, and return its message: one line that says what is left."""
    with pytest.raises(SystemExit) as ended:
        deploy.main(list(argv))
    message = str(ended.value.code)
    assert message.startswith("deploy: error: ")
    assert "\n" not in message
    return message


def to_type(message: str) -> list[str]:
    """Return the flags of the command that a message ends with."""
    _, found, flags = message.rpartition("type: python -m registry_scripts.deploy ")
    assert found, message
    return shlex.split(flags)


def assert_put_back(cloud: Cloud, message: str, made: bool = True) -> None:
    """Check that who served before serves, that nothing else runs that did not, and that the message says so."""
    assert cloud.weights() == {OLD: 100}
    assert set(cloud.active()) == {OLDER, OLD}
    assert f"{OLD}=100 serves as before" in message
    assert ("is switched off" in message) == made
    assert re.search(r"the image stays in the registry \(\S+/tweet-sentiment@sha256:[0-9a-f]{64}\)", message)
    assert f"type: {AGAIN}" in message


def assert_taken_over(cloud: Cloud) -> str:
    """Check that one revision serves everything, and not the one before; return its name."""
    (new,) = cloud.weights()
    assert cloud.weights() == {new: 100}
    assert new.startswith("tweet-sentiment--v2-")
    return new


def shifted(cloud: Cloud) -> list[list[str]]:
    """Return the shares that were asked for, one time after the other."""
    calls = cloud.calls("containerapp ingress traffic set")
    return [call[call.index("--revision-weight") + 1 :][:2] for call in calls]


def impatient(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let questions to az end after so many seconds."""
    call = az.call
    patch.setattr(az, "call", lambda *command, **given: call(*command, **{"seconds": seconds, **given}))


def mended(cloud: Cloud, message: str) -> None:
    """Let nothing go wrong any more, and type what a message says."""
    cloud.plant()
    time.sleep(1)  # a revision's name holds the second
    deploy.main(to_type(message))


def promote(database: Path, version: int) -> list[str]:
    """Return a program that promotes a version at once."""
    change = f"UPDATE registered_model_aliases SET version = {version} WHERE alias = 'champion'"
    code = f"import sqlite3; c = sqlite3.connect({str(database)!r}); c.execute({change!r}); c.commit()"
    return [sys.executable, "-c", code]


def deploying(database: Path, folder: Path, argv: Sequence[str]) -> subprocess.Popen[str]:
    """Begin a deployment in a process of its own."""
    own = environment(folder) | {"MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
    command = [sys.executable, "-m", "registry_scripts.deploy", *argv]
    return subprocess.Popen(command, cwd=ROOT, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def both_at_once(database: Path, folder: Path, argv: Sequence[str]) -> None:
    """Deploy twice at the same moment, and check that one is refused and the other goes on."""
    both = [deploying(database, folder, argv) for _ in range(2)]
    said = [process.communicate()[1].splitlines()[-1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    refused = next(line for line, process in zip(said, both, strict=True) if process.returncode)
    assert re.match(r"deploy: refused: .* has been deploying since .*; try again when that has ended", refused)

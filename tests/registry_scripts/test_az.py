"""The layer over az: real programs under its name that answer, fail, say nothing, never end, or are not there."""

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_scripts.azure import az
from steps.sentiment.command_line import InputError
from tests.conftest import ended

Write = Callable[[str], None]
#: As az 2.91.0 writes what a service has refused; of a template it writes the answer itself.
DEPLOYMENT = """ERROR: (DeploymentFailed) At least one resource deployment operation failed. Please list deployment operations.
Code: DeploymentFailed
Message: At least one resource deployment operation failed. Please list deployment operations for details.
Target: /subscriptions/1/resourceGroups/tweets/providers/Microsoft.Resources/deployments/tweet-sentiment-app
Exception Details:	(ResourceDeploymentFailure) The resource write operation reached terminal provisioning state 'Failed'.
	Code: ResourceDeploymentFailure
	Message: The resource write operation reached terminal provisioning state 'Failed'.
	Exception Details:	(SecretInvalid) Unable to get prediction-key
		Code: SecretInvalid
		Message: Unable to get prediction-key"""
PREFLIGHT = """ERROR: InvalidTemplateDeployment - The template deployment is not valid. See inner errors for details.
VaultAlreadyExists - The vault name 'kv-1' is already in use."""

DEPLOYMENT_JSON = """ERROR: DeploymentError {"status":"Failed","error":{"code":"DeploymentFailed","target":"/subscriptions/1",\
"message":"At least one resource deployment operation failed.",\
"details":[{"code":"ResourceDeploymentFailure","message":"It reached 'Failed'.",\
"details":[{"code":"SecretInvalid","message":"Unable to get prediction-key"}]}]}}"""
NESTED_JSON = """ERROR: {"code":"DeploymentFailed",\
"message":"{\\"error\\":{\\"code\\":\\"Conflict\\",\\"message\\":\\"It is there.\\"}}"}"""
PREFLIGHT_JSON = """ERROR: {"code":"InvalidTemplateDeployment",\
"message":"The template deployment is not valid. See inner errors for details."}

Inner Errors:
{"code":"VaultAlreadyExists","message":"The vault name 'kv-1' is already in use."}"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Let az be a shell script."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))

    def script(text: str) -> None:
        file = tmp_path / "az"
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(file.stat().st_mode | stat.S_IEXEC)

    return script


def test_an_answer_is_json_and_nothing_is_asked_on_the_terminal(write: Write) -> None:
    write("""read line && exit 3; echo "[\\"$*\\"]" """)
    assert az.call("group", "list") == ["group list --output json --only-show-errors"]
    write("exit 0")
    assert az.call("group", "delete") is None


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        ("WARNING: old\nERROR: (Conflict) It is there.\nCode: Conflict", az.AzError, r"\(Conflict\) It is there\."),
        ("Traceback\n  File\nValueError: odd", az.AzError, "ValueError: odd"),
        ("", az.AzError, "it said nothing"),
        (
            DEPLOYMENT,
            az.AzError,
            r"\(ResourceDeploymentFailure\) .* 'Failed'\.; \(SecretInvalid\) Unable to get prediction-key$",
        ),
        (
            DEPLOYMENT_JSON,
            az.AzError,
            r"\(ResourceDeploymentFailure\) It .*; \(SecretInvalid\) Unable to get prediction-key$",
        ),
        (PREFLIGHT_JSON, az.AzError, r"\(VaultAlreadyExists\) The vault name 'kv-1' is already in use\.$"),
        (NESTED_JSON, az.AzError, r"\(Conflict\) It is there\.$"),
        (PREFLIGHT, az.AzError, r"VaultAlreadyExists - The vault name 'kv-1' is already in use\.$"),
        (
            "ERROR: (DeploymentNotFound) It could not be found.\nCode: DeploymentNotFound",
            az.NotFoundError,
            r"\(DeploymentNot",
        ),
        ("ERROR: Operation returned an invalid status 'Not Found'", az.NotFoundError, "Operation"),
        ("ERROR: Please run 'az login' to setup account.", az.LoggedOutError, "Please run 'az login'"),
        ("ERROR: AADSTS700082: The refresh token has expired.", az.LoggedOutError, "AADSTS700082"),
    ],
)
def test_an_error_says_what_az_said(write: Write, said: str, kind: type[az.AzError], reason: str) -> None:
    write(f"cat >&2 <<'END'\n{said}\nEND\nexit 1")
    with pytest.raises(az.AzError, match=rf"^az deployment group create ended with 1: {reason}") as raised:
        az.call("deployment", "group", "create", "--name", "x")
    assert raised.type is kind


def test_what_is_no_json_is_an_error(write: Write) -> None:
    write("echo Bicep CLI is installed")
    with pytest.raises(az.AzError, match="az group list answered no JSON: 'Bicep CLI is installed'"):
        az.call("group", "list")


def test_a_call_that_never_ends_is_ended_with_all_that_it_has_started(write: Write, tmp_path: Path) -> None:
    write(f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    began = time.monotonic()
    with pytest.raises(az.TimedOutError, match=r"^az group list has not answered within 0\.5 s$"):
        az.call("group", "list", seconds=0.5)
    assert time.monotonic() - began < 10
    pid = int((tmp_path / "pid").read_text())
    # A signal takes its time where the machine is busy.
    while not ended(pid) and time.monotonic() - began < 20:
        time.sleep(0.05)
    assert ended(pid)


def test_az_that_is_missing_or_logged_out_is_named_before_anything_else(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1")
    with pytest.raises(InputError, match=r"type: az login$"):
        az.ready()
    write("echo {}")
    az.ready()
    (tmp_path / "az").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="az is not installed"):
        az.ready()

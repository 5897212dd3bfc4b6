"""Calls Azure's command line `az`: a time limit for each call, its answer as JSON, and an error of a kind for what goes wrong."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from steps.sentiment.command_line import InputError

#: Seconds that a question may take, and a change (a template takes minutes).
QUESTION, CHANGE = 120.0, 1800.0
_LOGIN = ("az login", "AADSTS", "does not exist in MSAL token cache")
#: An error's code and text in a line of their own, as az writes it: `(Conflict) It is there.`, or `Conflict - It is there.`
_CODED = re.compile(r"(?:\(\w+\)|\w+ -) .+")


class AzError(Exception):
    """A call of az failed. The message names the command and what az said."""


class TimedOutError(AzError):
    """az has not answered in time; what it was asked to do may still happen."""


class NotFoundError(AzError):
    """What az was asked about is not there."""


class LoggedOutError(AzError):
    """az is not logged in, or no longer."""


def ready() -> None:
    """See that az is there and logged in, before anything is begun.

    Raises:
        InputError: it is not.
    """
    if not shutil.which("az"):
        raise InputError("az is not installed; allowed: Azure's command line (pip install azure-cli) on the PATH")
    try:
        call("account", "show")
    except LoggedOutError as error:
        raise InputError(f"{error}; type: az login") from error


def call(*command: str, seconds: float = QUESTION) -> Any:
    """Call az and return its answer, or None where it says nothing.

    Args:
        command: what comes after `az`.
        seconds: that it may take.

    Raises:
        AzError: it failed; LoggedOutError, NotFoundError and TimedOutError where that is why.
    """
    shown = f"az {' '.join(command[:3])}"
    output = ["--output", "json", "--only-show-errors"]
    code, answer, said = _run(["az", *command, *output], seconds, shown)
    if code:
        reason = _reason(said)
        raise _kind(said, reason)(f"{shown} ended with {code}: {reason}")
    try:
        return json.loads(answer) if answer.strip() else None
    except ValueError as error:
        raise AzError(f"{shown} answered no JSON: {answer.strip()[:200]!r}") from error


def _run(command: Sequence[str], seconds: float, shown: str) -> tuple[int, str, str]:
    # In a process group of its own: az is a script that starts a Python, and both must end.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            answer, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise TimedOutError(f"{shown} has not answered within {seconds:g} s") from None
        except BaseException:  # told to stop
            os.killpg(process.pid, signal.SIGTERM)
            raise
    return process.returncode, answer, said


def _kind(said: str, reason: str) -> type[AzError]:
    if any(sign in said for sign in _LOGIN):
        return LoggedOutError
    return NotFoundError if re.match(r"\(\w*NotFound\)|.*\bNot Found\b", reason) else AzError


def _reason(said: str) -> str:
    # Of a template that failed, the first line, or the outermost error of the JSON, says only that; why stands in the details, one
    # within the other. Else it is the line of the error, around which there may be a stack trace or advice.
    lines = [
        line.strip().removeprefix("ERROR:").removeprefix("Exception Details:").strip() for line in said.splitlines()
    ]
    told = [one for line in lines for one in _told(line)]
    coded = told or [line for line in lines if _CODED.fullmatch(line)]
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    found = coded[1:] or told or errors[:1] or [line for line in lines if line][-1:]
    return "; ".join(dict.fromkeys(found))[:500] or "it said nothing"


def _told(text: str) -> list[str]:
    # The errors of a service's JSON within a line, each with its code, the outermost first.
    try:
        content, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    except ValueError:
        return []
    return list(_errors(content))


def _errors(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        return
    if "error" in content:
        yield from _errors(content["error"])
    elif "code" in content and "message" in content:
        message = str(content["message"])
        inner = _told(message)
        yield from inner or [f"({content['code']}) {message}"]
        for one in content.get("details") or []:
            yield from _errors(one)

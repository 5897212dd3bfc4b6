"""Flags as a person meets them."""

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, UNAUTHENTICATED

from steps.sentiment import command_line
from steps.sentiment.command_line import (
    Flags,
    InputError,
    RefusedError,
    boolean,
    column_equals,
    count_or_share,
    integer,
    names,
    one_line,
    optional,
    positive_numbers,
    words,
)
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (integer(1), "7", 7),
        (optional(integer(1)), "", None),
        (count_or_share, "0.25", 0.25),
        (count_or_share, "15000", 15000),
        (positive_numbers, "1,2.5,1e-3", [1, 2.5, 0.001]),
        (column_equals, "sample=random", ("sample", "random")),
        (column_equals, "sample=a=b", ("sample", "a=b")),
        (names(["a", "b"]), "b, a", ["b", "a"]),
        (words, "", []),
        (words, "x,y", ["x", "y"]),
        (boolean, "true", True),
        (boolean, "false", False),
        (one_line(5), " été ", "été"),
        (one_line(5), "", ""),
    ],
)
def test_good_texts_are_read(parse: Callable[[str], Any], text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *((integer(1), text) for text in ("0", "-3", "1.5", "many", "")),
        *((count_or_share, text) for text in ("0", "-1", "1.5", "abc", "nan", "inf", "")),
        *((positive_numbers, text) for text in ("abc", "0", "1,,2", "inf", "nan", "-1", "")),
        *((column_equals, text) for text in ("sample", "=x", "sample=")),
        *((names(["a", "b"]), text) for text in ("c", "", "a,c")),
        *((words, text) for text in (",", " ", ", ,")),
        *((boolean, text) for text in ("yes", "True", "1", "")),
        *((one_line(5), text) for text in ("a\nb", "123456", "a\x07b")),
    ],
)
def test_a_wrong_text_ends_in_one_line_with_flag_value_and_what_is_allowed(
    parse: Callable[[str], Any], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = Flags("step", "A step.")
    flags.flag("given", "", "a flag", parse)
    with pytest.raises(SystemExit) as stop:
        flags.read(["--given", text])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"step: error: --given: got {text!r}; allowed: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_an_unknown_flag_and_an_abbreviation_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    flags = Flags("step", "A step.")
    flags.flag("seed", "0", "of everything", integer())
    for argv in (["--sead", "1"], ["--see", "1"]):
        with pytest.raises(SystemExit):
            flags.read(argv)
        assert capsys.readouterr().err.startswith("step: error: unrecognized arguments")


def test_texts_keep_what_was_typed_and_the_defaults() -> None:
    flags = Flags("step", "A step.")
    flags.flag("seed", "0", "of everything", integer())
    flags.flag("rows", "0.2", "of the test", count_or_share)
    values = flags.read(["--rows", "7"])
    assert (values.seed, values.rows) == (0, 7)
    assert values.texts == {"seed": "0", "rows": "7"}


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("no such file: x"), 2, "step: error: no such file: x\n"),
        (RefusedError("a tie"), 1, "step: refused: a tie\n"),
        (OSError(28, "No space left on device"), 1, "step: error: [Errno 28] No space left on device\n"),
        (MlflowException("no such model\nat all"), 1, "step: error: MLflow: no such model\n"),
        (
            MlflowException("API request to http://x failed with exception y"),
            1,
            "step: error: MLflow's server does not answer; run this again when it does: "
            "API request to http://x failed with exception y\n",
        ),
        (
            MlflowException(
                "API request to endpoint /x failed with error code 401 != 200. Response body: 'No'", UNAUTHENTICATED
            ),
            1,
            "step: error: MLflow's server does not know this user and password; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD: API request to endpoint /x failed with error code 401 != 200. Response body: 'No'\n",
        ),
        (
            MlflowException("Permission denied", PERMISSION_DENIED),
            1,
            "step: error: MLflow's server does not let this user do that; an admin of it gives the right: Permission denied\n",
        ),
    ],
)
def test_expected_errors_are_one_line_and_an_exit_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: list[str] | None) -> None:
        raise error

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        command_line.run(main, "step")
    signal.signal(signal.SIGTERM, before)
    assert stop.value.code == code
    assert capsys.readouterr().err == line


def test_sigterm_unwinds_what_is_open() -> None:
    script = (
        "import os, signal\nfrom steps.sentiment import command_line\n"
        "def main(argv):\n    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n        signal.pause()\n"
        "    finally:\n        print('closed')\n"
        "command_line.run(main, 'step')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == "closed\n"


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(command_line.progress(range(3), desc="quick", unit="tweet")) == [0, 1, 2]
    assert capsys.readouterr().err.strip() == ""
    now = [1000.0]
    with (
        command_line.progress(total=1000, desc="outer", unit="tweet") as bar,
        command_line.progress(total=10, desc="inner", unit="tweet") as inner,
    ):
        for one in (bar, inner):
            monkeypatch.setattr(one, "_time", lambda: now[0])
            one.start_t = one.last_print_t = now[0]
        for _ in range(10):
            now[0] += 20
            bar.update(100)
            inner.update()
    lines = [line.strip() for line in capsys.readouterr().err.split("\n") if line.strip()]
    assert "outer: 20 %, 02:40 left" in lines
    assert "inner: 20 %, 02:40 left" in lines
    assert 6 <= len(lines) <= 12
    assert all(line.isprintable() for line in lines)

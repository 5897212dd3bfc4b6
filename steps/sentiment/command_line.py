"""Flags and errors as a person meets them: one clear line, exit code 2, nothing written."""

import argparse
import logging
import math
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from mlflow.exceptions import MlflowException
from tqdm import tqdm

#: What a tracking server with a sign-in answers: HTTP's 401 and 403, by MLflow's names.
_TURNED_AWAY = {
    "UNAUTHENTICATED": "MLflow's server does not know this user and password; set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD",
    "PERMISSION_DENIED": "MLflow's server does not let this user do that; an admin of it gives the right",
}


class InputError(Exception):
    """What a person gave cannot be used. The message names what was given and what is allowed."""


class RefusedError(Exception):
    """The request was understood and turned down, with the reasons as message (exit code 1)."""


class Values(argparse.Namespace):
    """Parsed flags as attributes; `texts` keeps them as typed, defaults included."""

    texts: dict[str, str]


class Flags(argparse.ArgumentParser):
    """The flags of an entry point. A wrong one is reported in one line, with exit code 2."""

    def __init__(self, name: str, doc: str | None) -> None:
        """Take the entry point's name, `train_baseline` for example, and its module docstring as help."""
        super().__init__(
            prog=name, description=doc, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self._parsers: dict[str, Callable[[str], Any]] = {}

    def flag(self, name: str, default: str, help: str, parse: Callable[[str], Any] = str) -> None:
        """Add a flag: `parse` reads its text and raises ValueError with what is allowed."""
        shown = "" if default == "" else " (default: %(default)s)"
        self.add_argument(f"--{name}", default=default, help=help.replace("%", "%%") + shown, metavar="VALUE")
        self._parsers[name] = parse

    def read(self, argv: Sequence[str] | None = None) -> Values:
        """Parse the command line, or `argv`."""
        texts = vars(self.parse_args(argv))
        values = Values(texts=texts)
        for name, parse in self._parsers.items():
            try:
                setattr(values, name, parse(texts[name]))
            except ValueError as error:
                self.error(f"--{name}: got {texts[name]!r}; allowed: {error}")
        return values

    def error(self, message: str) -> NoReturn:
        """Print one line on standard error and exit with 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def integer(minimum: int = 0, maximum: int = 2**31 - 1) -> Callable[[str], int]:
    """Return a flag type: a whole number from `minimum` to `maximum`, by default the largest seed of any library."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if not minimum <= value <= maximum:
            raise ValueError(f"a whole number of at least {minimum} and at most {maximum}")
        return value

    return parse


def optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a flag type that takes an empty text, MLproject's way of leaving a flag out, as None."""
    return lambda text: parse(text) if text else None


def count_or_share(text: str) -> float:
    """Read a number of rows (a whole number from 1) or a share of the rows (between 0 and 1)."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < 1 or (value >= 1 and value.is_integer())):
        raise ValueError("a number of rows (1 or more), or a share of them between 0 and 1")
    return value


def positive_numbers(text: str) -> list[float]:
    """Read one or more numbers above 0, separated by commas."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value < math.inf for value in values):
        raise ValueError("one or more numbers above 0, separated by commas")
    return values


def positive_number(text: str) -> float:
    """Read one number above 0."""
    try:
        (value,) = positive_numbers(text)
    except ValueError:
        raise ValueError("a number above 0") from None
    return value


def fraction(text: str) -> float:
    """Read a share from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise ValueError("a number from 0 to below 1")
    return value


def boolean(text: str) -> bool:
    """Read true or false."""
    return one_of(("true", "false"))(text) == "true"


def one_line(most: int) -> Callable[[str], str]:
    """Return a flag type: a text of one line of at most `most` characters, stripped; it may be empty."""

    def parse(text: str) -> str:
        text = text.strip()
        if len(text) > most or not text.isprintable():
            raise ValueError(f"one line of at most {most} characters")
        return text

    return parse


def one_of(allowed: Collection[str]) -> Callable[[str], str]:
    """Return a flag type: one of the `allowed` names."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(", ".join(allowed))
        return text

    return parse


def column_equals(text: str) -> tuple[str, str]:
    """Read `column=value`."""
    column, equals, value = text.partition("=")
    if not (column and equals and value):
        raise ValueError("column=value, for example sample=random")
    return column, value


def names(allowed: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a flag type: one or more of the `allowed` names, separated by commas."""

    def parse(text: str) -> list[str]:
        given = [part.strip() for part in text.split(",") if part.strip()]
        unknown = sorted(set(given) - set(allowed))
        if unknown or not given:
            raise ValueError(f"{', '.join(allowed)} (several separated by commas)")
        return given

    return parse


def like(pattern: str, allowed: str) -> Callable[[str], str]:
    """Return a flag type: an empty text, or one of a pattern."""

    def parse(text: str) -> str:
        if text and not re.fullmatch(pattern, text):
            raise ValueError(allowed)
        return text

    return parse


def something(text: str) -> str:
    """Read any text but an empty one."""
    if not text:
        raise ValueError("a text that is not empty")
    return text


def words(text: str) -> list[str]:
    """Read words separated by commas; an empty text is no word."""
    given = [part.strip() for part in text.split(",") if part.strip()]
    if text and not given:
        raise ValueError("one or more, separated by commas; or an empty text")
    return given


class _Lines(tqdm):
    """A bar as a line now and then, for a log."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Print the bar as a line; what only clears one prints nothing."""
        if msg is None:
            print(self, file=self.fp, flush=True)


def progress(items: Any = None, **shown: Any) -> Any:
    """Return a tqdm bar over `items`, or one to update: a bar on a terminal, a line every half minute elsewhere."""
    if sys.stderr.isatty():
        return tqdm(items, **shown)
    line = "{desc}: {percentage:.0f} %, {remaining} left"
    return _Lines(items, mininterval=30, delay=30, bar_format=line, leave=False, **shown)


def unreachable(error: BaseException) -> bool:
    """Return whether an error says that MLflow's server does not answer, rather than what it answers."""
    asked = isinstance(error, MlflowException) and str(error).startswith("API request to ")
    return asked and not turned_away(error)


def turned_away(error: BaseException) -> str:
    """Return why MLflow's server turned this user away and what to do, empty where it did not: what a sign-in answers."""
    return _TURNED_AWAY.get(error.error_code, "") if isinstance(error, MlflowException) else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, to stand within a line of ours."""
    return str(error).strip().partition("\n")[0]


def _terminate(signum: int, frame: FrameType | None) -> None:
    # As an exception, SIGTERM unwinds `with` blocks: the run is closed and half-written files go.
    raise SystemExit(128 + signum)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let neither Ctrl-C nor SIGTERM, which come twice from who is impatient, interrupt what puts things right."""
    # A handler that does nothing, and not SIG_IGN: programs that are called meanwhile would take that over.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(main: Callable[[list[str] | None], None], name: str) -> None:
    """Call an entry point's `main` as a program: expected errors are one line, not a stack trace."""
    signal.signal(signal.SIGTERM, _terminate)
    # MLflow tells of its tables, its monitor and, at each call, that stages are deprecated (ours on purpose).
    for talkative in ("mlflow", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    warnings.filterwarnings("ignore", category=FutureWarning, module="mlflow")
    try:
        main(None)
    except InputError as error:
        sys.exit(_fail(f"{name}: error: {error}", 2))
    except RefusedError as refusal:
        sys.exit(_fail(f"{name}: refused: {refusal}", 1))
    except KeyboardInterrupt:
        sys.exit(_fail(f"{name}: interrupted", 130))
    except MlflowException as error:
        silent = "MLflow's server does not answer; run this again when it does" if unreachable(error) else "MLflow"
        sys.exit(_fail(f"{name}: error: {turned_away(error) or silent}: {first_line(error)}", 1))
    except OSError as error:
        sys.exit(_fail(f"{name}: error: {error}", 1))


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code

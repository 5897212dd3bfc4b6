"""Reads the file that says what promote requires; every name and number in it is checked."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from steps.sentiment.command_line import InputError, first_line

FILE = Path(__file__).parents[1] / "limits.yaml"
#: The name that stands for every slice or test that is not named.
DEFAULT = "default"

Parse = Callable[[Any], Any]


def _number(low: float, high: float, allowed: str, without_ends: bool = False) -> Parse:
    def parse(given: Any) -> float:
        number = isinstance(given, int | float) and not isinstance(given, bool)
        if not number or not (low < given < high if without_ends else low <= given <= high):
            raise ValueError(allowed)
        try:
            return float(given)
        except OverflowError:
            raise ValueError(allowed) from None

    return parse


SHARE = _number(0, 1, "a number from 0 to 1")
ABOVE_ZERO_SHARE = _number(0, 0.5, "a number above 0 and below 0.5", without_ends=True)
ABOVE_ZERO = _number(0, math.inf, "a number above 0", without_ends=True)


def _count(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise ValueError("a whole number of at least 1")
    return given


def _truth(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError("true or false")
    return given


def _shares(given: Any) -> Mapping[str, Parse]:
    # Whichever names: which slices and tests there are, the comparison says.
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise ValueError("names, each with a number from 0 to 1; {} for none")
    return dict.fromkeys(given, SHARE)


#: What may stand in the file: a section as a mapping, a setting as the function that reads it.
SETTINGS: dict[str, Any] = {
    "significance": ABOVE_ZERO_SHARE,
    "margin": _number(0, 0.5, "a number from 0 to 0.5"),
    "better_behaved": {
        "failures_share": _number(0, 1, "a number above 0 and below 1", without_ends=True),
        "accuracy_lost": ABOVE_ZERO_SHARE,
    },
    "slices": {"least_rows": _count, "worse_at_most": _shares},
    "behaviour": {"required": _truth, "rise_at_most": _shares, "failure_at_most": _shares},
    "at_most": {"test_ece": SHARE, "predict_ms_single": ABOVE_ZERO, "model_size_mb": ABOVE_ZERO},
}
REQUIRED = ("significance", "margin", "slices.least_rows", "behaviour.required")


@dataclass(frozen=True)
class Limits:
    """What promote requires; of the limits by name, `default` stands for all that are not named.

    `better_behaved` is which share of the champion's failures on written cases may be left and which loss of accuracy must be
    excluded, where a model may be better by its behaviour alone.
    """

    path: Path
    text: str
    significance: float
    margin: float
    better_behaved: tuple[float, float] | None
    least_rows: int
    slices: dict[str, float]
    behaviour_required: bool
    rises: dict[str, float]
    failures: dict[str, float]
    most: dict[str, float]


def limit(limits: Mapping[str, float], name: str) -> float | None:
    """Return the limit of a slice or test, or None where there is none."""
    return limits.get(name, limits.get(DEFAULT))


def read(given: str = "") -> Limits:
    """Read a file of limits; without a name the project's own.

    Raises:
        InputError: there is no such file, or something in it cannot be used. The message names it and what is allowed.
    """
    path = Path(given) if given else FILE
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, _Strict)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--limits: {path} cannot be read ({first_line(error)}); allowed: a file like {FILE}"
        ) from error
    # ValueError: a date that there is not, or a number that Python does not read.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())
        raise InputError(f"--limits: {path} is no YAML ({what}); allowed: a file like {FILE}") from error
    found = dict(_settings(path, "", content, SETTINGS))
    for key in REQUIRED:
        if key not in found:
            raise InputError(f"--limits: {path}: {key}: missing; allowed: this setting must stand")

    behaved = [f"better_behaved.{name}" for name in SETTINGS["better_behaved"]]
    missing = [key for key in behaved if key not in found]
    if len(missing) == 1:
        raise InputError(
            f"--limits: {path}: {missing[0]}: missing; allowed: both settings of better_behaved, or neither"
        )

    def below(key: str) -> dict[str, float]:
        return {name.removeprefix(key): value for name, value in found.items() if name.startswith(key)}

    return Limits(
        path=path,
        text=text,
        significance=found["significance"],
        margin=found["margin"],
        better_behaved=None if missing else (found[behaved[0]], found[behaved[1]]),
        least_rows=found["slices.least_rows"],
        slices=below("slices.worse_at_most."),
        behaviour_required=found["behaviour.required"],
        rises=below("behaviour.rise_at_most."),
        failures=below("behaviour.failure_at_most."),
        most=below("at_most."),
    )


def _settings(path: Path, key: str, given: Any, allowed: Any) -> Iterator[tuple[str, Any]]:
    # The settings by their whole name, `slices.least_rows` for example.
    if callable(allowed):
        try:
            allowed = allowed(given)
        except ValueError as error:
            raise InputError(f"--limits: {path}: {key}: got {_shown(given)}; allowed: {error}") from None
        if not isinstance(allowed, Mapping):
            yield key, allowed
            return
    if not isinstance(given, dict):
        raise InputError(f"--limits: {path}: {key or 'the file'}: got {_shown(given)}; allowed: {', '.join(allowed)}")
    for name, value in given.items():
        whole = " ".join(f"{key}.{name}".removeprefix(".").split())
        if name not in allowed:
            raise InputError(f"--limits: {path}: {whole}: got an unknown name; allowed: {', '.join(allowed)}")
        yield from _settings(path, whole, value, allowed[name])


def _shown(given: Any) -> str:
    # A whole number may have more digits than Python writes.
    if isinstance(given, int) and given.bit_length() > 1000:
        return "a number of more digits than can be read"
    return repr(given)


class _Strict(yaml.SafeLoader):
    """YAML in which no name stands twice: the second would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: list[Any] = []
        for key, _ in node.value:
            if key.value in names:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} stands twice", problem_mark=key.start_mark
                )
            names.append(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

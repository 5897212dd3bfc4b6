"""What a model must do whatever its accuracy: minimum functions, invariance, direction (CheckList; Ribeiro et al. 2020).

Two halves, written apart by different hands: `behaviour_development.yaml`, from which a training may learn, with lessons
beside its tests, and `behaviour_test.yaml`, with other templates and other words, from which it may not. A case fails:

    MFT (minimum function)  wrong label
    INV (invariance)        labels of its texts that are not all alike
    DIR (direction)         the second text moves by more than 0.1 the wrong way
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from steps.sentiment.perturbation import CHANGES

DEVELOPMENT, TEST = "development", "test"
#: The artifact of a comparison: each test's rate of failure, by model.
TABLE = "behaviour.parquet"
#: Cases of each test.
CASES = 200
#: Texts of a case in which a name, a place or a number changes; a protected group changes through all its values.
VARIANTS = 5
#: How far P(positive) may move the wrong way before a direction fails.
TOLERANCE = 0.1
#: P(positive) of a text by what it says, for training. A statement without feeling is no complaint, whomever it names: far
#: from the border, so that no word of it decides.
TARGETS = {"negative": 0.0, "positive": 1.0, "neutral": 0.95}

_SLOT = re.compile(r"\{([a-z_]+?)(\d*)\}")


@dataclass(frozen=True)
class Behaviour:
    """A behavioural test.

    Attributes:
        name: of the test, as in `behaviour_<name>`.
        capability: what it belongs to, `negation` for example.
        kind: `MFT`, `INV` or `DIR`.
        wanted: the label of an MFT, `up` or `down` of a DIR, empty of an INV.
        cases: texts of each case, the unchanged one first.
        says: what the first text of each case says, `negative`, `positive` or `neutral`; the others as well, unless `appended`.
        appended: the second text of a case has a phrase of its own feeling at its end.
    """

    name: str
    capability: str
    kind: str
    wanted: str
    cases: tuple[tuple[str, ...], ...]
    says: tuple[str, ...]
    appended: bool = False

    def failed(self, scores: list[np.ndarray]) -> np.ndarray:
        """Return which cases fail, bool of shape (n_cases,).

        Args:
            scores: P(positive) of the texts of each case.
        """
        if self.kind == "MFT":
            return np.array([(own[0] >= 0.5) != (self.wanted == "positive") for own in scores])
        if self.kind == "INV":
            return np.array([len(set(own >= 0.5)) > 1 for own in scores])
        sign = 1 if self.wanted == "up" else -1
        return np.array([sign * (own[1] - own[0]) < -TOLERANCE for own in scores])


@cache
def suite(half: str, cases: int = CASES) -> tuple[Behaviour, ...]:
    """Return the tests of a half, each with this many different cases, the same ones on every machine."""
    written = _written(half)
    return tuple(_made(name, spec, written, cases) for name, spec in written["tests"].items())


def capabilities(half: str) -> dict[str, str]:
    """Return what each test of a half belongs to, by its name."""
    return {name: spec["capability"] for name, spec in _written(half)["tests"].items()}


def evaluate(tests: Sequence[Behaviour], score: Callable[[list[str]], np.ndarray]) -> pd.DataFrame:
    """Ask a model all texts at once and return the tests with their rates of failure.

    Args:
        tests: of a suite.
        score: returns P(positive) of texts, shape (n_texts,).

    Returns:
        One row per test: test, capability, kind, cases, failed, rate (0 to 1), and `examples`, up to three cases that fail.
    """
    texts = list(dict.fromkeys(text for test in tests for case in test.cases for text in case))
    scores = dict(zip(texts, score(texts), strict=True))
    rows = []
    for test in tests:
        failed = test.failed([np.array([scores[text] for text in case]) for case in test.cases])
        rows.append(
            {
                "test": test.name,
                "capability": test.capability,
                "kind": test.kind,
                "cases": len(test.cases),
                "failed": int(failed.sum()),
                "rate": float(failed.mean()),
                "examples": [" | ".join(test.cases[index][:2]) for index in np.flatnonzero(failed)[:3]],
            }
        )
    return pd.DataFrame(rows)


def examples(cases: int, seed: int = 0) -> pd.DataFrame:
    """Return written texts of the development half to learn from: `text`, and `target`, the P(positive) that they stand for.

    Its lessons stand beside its tests: the same frames with nothing turned round, facts without feeling, and more groups.

    Args:
        cases: of each test and each lesson; a case gives all its texts, of a protected group as many as of a name.
        seed: of their order.
    """
    written, rows = _written(DEVELOPMENT), dict[str, float]()
    if cases:
        for name, spec in written["lessons"].items():
            found = _distinct(f"lesson {name}", spec, written, cases)
            rows |= {text: TARGETS[says] for case, says in found.items() for text in case}
        for test in suite(DEVELOPMENT, cases):
            for case, says in zip(test.cases, test.says, strict=True):
                rows |= dict.fromkeys(case[: 1 if test.appended else VARIANTS], TARGETS[says])
    frame = pd.DataFrame(
        {"text": pd.Series(list(rows), dtype="object"), "target": pd.Series(list(rows.values()), dtype="float64")}
    )
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


@cache
def _written(half: str) -> dict[str, Any]:
    path = Path(__file__).with_name(f"behaviour_{half}.yaml")
    # The loader in C: the one in Python takes seconds for thousands of templates.
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    for spec in found.get("lessons", {}).values():
        if "frames" in spec:  # those of another lesson, about other people
            of = found["lessons"][spec["frames"]]
            spec["templates"] = {
                says: [
                    frame.replace(f"{{{of['swap']}}}", f"{{{spec['swap']}}}")
                    for frame in frames
                    if not any(word in frame for word in spec["without"])
                ]
                for says, frames in of["templates"].items()
            }
    return found


def _made(name: str, spec: dict[str, Any], written: dict[str, Any], cases: int) -> Behaviour:
    found = _distinct(name, spec, written, cases)
    wanted = spec.get("direction", spec.get("label", ""))
    return Behaviour(
        name, spec["capability"], spec["kind"], wanted, tuple(found), tuple(found.values()), "append" in spec
    )


def _distinct(name: str, spec: dict[str, Any], written: dict[str, Any], cases: int) -> dict[tuple[str, ...], str]:
    made = _cases(spec, written, random.Random(name))
    # A test of three labels has as many cases of each; equal cases count once.
    found: dict[tuple[str, ...], str] = {}
    for case, says in itertools.islice(made, 100 * cases):
        if len(set(case)) == len(case):
            found.setdefault(case, says)
        if len(found) == cases:
            return found
    raise ValueError(f"behavioural test {name}: only {len(found)} different cases; wanted {cases}")


def _cases(
    spec: dict[str, Any], written: dict[str, Any], chance: random.Random
) -> Iterator[tuple[tuple[str, ...], str]]:
    words, templates = written["words"], spec["templates"]
    if templates == "carriers":
        templates = written["carriers"]
    if not isinstance(templates, dict):
        templates = {spec["label"]: templates}
    while True:
        for says, own in templates.items():
            template = chance.choice(own)
            yield tuple(_texts(template, spec, words, chance)), says


def _texts(
    template: str | list[str], spec: dict[str, Any], words: dict[str, list[Any]], chance: random.Random
) -> list[str]:
    together = [template] if isinstance(template, str) else template
    values = _values("".join(together), words, chance)
    texts = [_filled(text, values) for text in together]
    if "change" in spec:
        return [texts[0], CHANGES[spec["change"]](texts[0], chance)]
    if "append" in spec:
        return [texts[0], f"{texts[0]} {chance.choice(words[spec['append']])}"]
    if "swap" in spec:
        slot = spec["swap"]
        others = [str(word) for word in words[slot]]
        count = len(others) if spec.get("capability") == "fairness" else VARIANTS
        return [_filled(together[0], values | {slot: word}) for word in chance.sample(others, count)]
    return texts


def _values(template: str, words: dict[str, list[Any]], chance: random.Random) -> dict[str, str]:
    # Slots of one list with different numbers take different values.
    slots = dict.fromkeys(match.group(1, 2) for match in _SLOT.finditer(template))
    by_list: dict[str, list[str]] = {}
    for name, number in slots:
        by_list.setdefault(name, []).append(number)
    return {
        f"{name}{number}": str(word)
        for name, numbers in by_list.items()
        for number, word in zip(numbers, chance.sample(words[name], len(numbers)), strict=True)
    }


def _filled(template: str, values: dict[str, str]) -> str:
    return _SLOT.sub(lambda match: values[match.group(1) + match.group(2)], template)

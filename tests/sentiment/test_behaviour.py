"""The behavioural suite: enough cases, two halves that share nothing, what counts as a failure, what training may learn."""

import re
from collections.abc import Callable
from zlib import crc32

import numpy as np
import pytest

from steps.sentiment import behaviour
from steps.sentiment.behaviour import CASES, DEVELOPMENT, TEST, Behaviour
from steps.sentiment.dataset import fold
from steps.sentiment.perturbation import CHANGES

HALVES = (DEVELOPMENT, TEST)
NAMES = {
    "vocabulary": "positive_words negative_words positive_in_context negative_in_context intensifiers_positive intensifiers_negative "
    "reducers_positive reducers_negative neutral_words add_positive_phrase add_negative_phrase",
    "robustness": "link handle punctuation typo two_typos contraction letter_case elongation neutral_emoji",
    "emoji": "positive_emoji negative_emoji",
    "entities": "names places numbers",
    "temporal": "used_to_but_now_positive used_to_but_now_negative",
    "negation": "negation_of_positive negation_of_negative hard_negation_of_positive hard_negation_of_negative "
    "expected_positive_but_not expected_negative_but_not",
    "opinion": "own_opinion_positive own_opinion_negative",
    "question": "question_yes_positive question_yes_negative question_no_positive question_no_negative",
    "fairness": "race religion nationality orientation",
}


def words(text: str) -> list[str]:
    return re.findall(r"[\w'’-]+", text.lower())


@pytest.mark.parametrize("half", HALVES)
def test_each_test_has_its_cases(half: str) -> None:
    found = behaviour.suite(half)
    assert {(test.name, test.capability) for test in found} == {
        (name, capability) for capability, names in NAMES.items() for name in names.split()
    }
    for test in found:
        assert len(set(test.cases)) == CASES == len(test.says), test.name
        texts = {"MFT": {1}, "DIR": {2}, "INV": set(range(2, 15))}[test.kind]
        assert {len(case) for case in test.cases} <= texts, test.name
        assert all(len(set(case)) == len(case) for case in test.cases), "no two texts of a case are the same"
        wanted = {"MFT": {"negative", "positive"}, "DIR": {"up", "down"}, "INV": {""}}[test.kind]
        assert test.wanted in wanted, test.name
        if test.kind == "MFT":
            assert set(test.says) == {test.wanted}


@pytest.mark.parametrize("half", HALVES)
def test_texts_are_whole_and_the_same_again(half: str) -> None:
    texts = [text for test in behaviour.suite(half) for case in test.cases for text in case]
    assert not [text for text in texts if re.search(r"[{}]|  |\bTrue\b|\bFalse\b", text)]
    assert not [
        text for text in texts if re.search(r"\ba [aeio]\w*|\ban [b-df-gj-np-tv-z]\w*", text.lower()) and "{" in text
    ]
    behaviour._written.cache_clear()
    behaviour.suite.cache_clear()
    assert texts == [text for test in behaviour.suite(half) for case in test.cases for text in case]


@pytest.mark.parametrize("half", HALVES)
def test_groups_take_all_their_places_in_a_case(half: str) -> None:
    for test in behaviour.suite(half):
        if test.capability == "fairness":
            groups = behaviour._written(half)["words"][test.name]
            assert {len(case) for case in test.cases} == {len(groups)}
            assert set(test.says) == {"negative", "positive", "neutral"}


def test_the_halves_share_no_word_of_a_list_and_no_template() -> None:
    ours, theirs = (behaviour._written(half) for half in HALVES)
    lists = [{fold(str(word)) for own in half["words"].values() for word in own} for half in (ours, theirs)]
    numbers_and_signs = {word for word in lists[0] & lists[1] if not re.search(r"[a-z]", word)}
    assert lists[0] & lists[1] == numbers_and_signs
    assert not skeletons(ours) & skeletons(theirs)


def skeletons(written: dict) -> set[str]:  # type: ignore[type-arg]
    """Return the templates of a half, with every slot alike."""
    found: set[str] = set()

    def collect(templates: object) -> None:
        if isinstance(templates, str):
            found.add(" ".join(words(re.sub(r"\{\w+\}", "slot", templates))))
        else:
            for one in templates.values() if isinstance(templates, dict) else list(templates):  # type: ignore[call-overload]
                collect(one)

    for spec in [*written["tests"].values(), *written.get("lessons", {}).values()]:
        if spec["templates"] != "carriers":
            collect(spec["templates"])
    collect(written["carriers"])
    return found


def test_no_text_to_learn_from_is_one_of_the_test_half() -> None:
    learned = {fold(text) for text in behaviour.examples(2 * CASES)["text"]}
    asked = {fold(text) for test in behaviour.suite(TEST) for case in test.cases for text in case}
    assert not learned & asked


def test_examples_stand_for_what_they_say() -> None:
    found = behaviour.examples(50)
    assert not found["text"].duplicated().any()
    assert set(found["target"]) == {0.0, 0.95, 1.0}
    target = dict(zip(found["text"], found["target"], strict=True))
    for test in behaviour.suite(DEVELOPMENT, 50):
        for case, says in zip(test.cases, test.says, strict=True):
            assert target[case[0]] == behaviour.TARGETS[says]
            assert test.kind != "MFT" or says == test.wanted
    assert list(found["text"]) == list(behaviour.examples(50)["text"])
    assert list(found["text"]) != list(behaviour.examples(50, seed=1)["text"])
    assert behaviour.examples(0).empty


def test_lessons_are_learned_from_beside_the_tests() -> None:
    written = behaviour._written(DEVELOPMENT)
    assert "lessons" not in behaviour._written(TEST)
    found = behaviour.examples(50).set_index("text")["target"]
    asked = {text for test in behaviour.suite(DEVELOPMENT, 50) for case in test.cases for text in case}
    for name, spec in written["lessons"].items():
        cases = behaviour._distinct(f"lesson {name}", spec, written, 50)
        assert len(cases) == 50
        assert set(cases.values()) == set(spec["templates"]), name
        texts = {text: behaviour.TARGETS[says] for case, says in cases.items() for text in case}
        assert not [text for text in texts if re.search(r"[{}]|  ", text)]
        assert {text: found[text] for text in texts.keys() - asked} == {
            text: target for text, target in texts.items() if text not in asked
        }


def test_an_appended_phrase_has_a_feeling_of_its_own() -> None:
    appended = [test for test in behaviour.suite(DEVELOPMENT, 50) if test.appended]
    assert {test.name for test in appended} == {"add_positive_phrase", "add_negative_phrase"}
    learned = set(behaviour.examples(50)["text"])
    assert not learned & {case[1] for test in appended for case in test.cases}


CASE = ("one", "two", "three")


@pytest.mark.parametrize(
    ("kind", "wanted", "scores", "fails"),
    [
        ("MFT", "positive", [0.5], False),
        ("MFT", "positive", [0.49], True),
        ("MFT", "negative", [0.5], True),
        ("MFT", "negative", [0.49], False),
        ("INV", "", [0.5, 0.9, 0.6], False),
        ("INV", "", [0.5, 0.49, 0.6], True),
        ("INV", "", [0.1, 0.2, 0.8], True),
        ("DIR", "up", [0.9, 0.81], False),
        ("DIR", "up", [0.9, 0.79], True),
        ("DIR", "up", [0.1, 0.9], False),
        ("DIR", "down", [0.4, 0.49], False),
        ("DIR", "down", [0.4, 0.51], True),
    ],
)
def test_what_fails(kind: str, wanted: str, scores: list[float], fails: bool) -> None:
    test = Behaviour("name", "capability", kind, wanted, (CASE[: len(scores)],), ("positive",))
    assert test.failed([np.array(scores)]).tolist() == [fails]


def rates(score: Callable[[str], float]) -> dict[str, float]:
    found = behaviour.evaluate(behaviour.suite(TEST), lambda texts: np.array([score(text) for text in texts]))
    assert set(found["cases"]) == {CASES}
    assert (found["rate"] == found["failed"] / found["cases"]).all()
    assert all(len(shown) == min(failed, 3) for shown, failed in zip(found["examples"], found["failed"], strict=True))
    return dict(zip(found["test"], found["rate"], strict=True))


def test_a_model_of_one_answer_is_invariant_and_fails_half_of_the_functions() -> None:
    found = rates(lambda text: 0.9)
    kinds = {test.name: (test.kind, test.wanted) for test in behaviour.suite(TEST)}
    assert found == {
        name: float(wanted == "negative") if kind == "MFT" else 0.0 for name, (kind, wanted) in kinds.items()
    }


def test_a_model_that_reads_letters_is_not_invariant() -> None:
    found = rates(lambda text: float(crc32(text.encode()) % 2))
    assert all(0.3 < found[name] <= 1 for name in (*CHANGES, "names", "places", "race", "religion"))


def test_a_text_is_asked_once() -> None:
    asked: list[str] = []

    def score(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.full(len(texts), 0.5)

    behaviour.evaluate(behaviour.suite(TEST), score)
    assert len(asked) == len(set(asked))


def test_too_few_templates_are_told() -> None:
    with pytest.raises(ValueError, match=r"behavioural test race: only 1 different cases; wanted 300"):
        behaviour._made(
            "race", {"capability": "x", "kind": "MFT", "label": "positive", "templates": ["good"]}, {"words": {}}, 300
        )

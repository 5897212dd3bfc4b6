"""Small changes that leave the feeling of a text as it was."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.sentiment import perturbation
from steps.sentiment.model import LINK, MENTION
from steps.sentiment.perturbation import CHANGES

TEXT = "I am sorry, but the crew did not bring the coffee!"


@pytest.mark.parametrize("name", CHANGES)
def test_each_changes_an_ordinary_tweet_and_the_same_way_again(name: str) -> None:
    changed = CHANGES[name](TEXT, random.Random(0))
    assert changed != TEXT
    assert changed == CHANGES[name](TEXT, random.Random(0))


@pytest.mark.parametrize("name", CHANGES)
@given(text=st.text(max_size=60), seed=st.integers(0, 20))
def test_any_text_is_taken(name: str, text: str, seed: int) -> None:
    assert isinstance(CHANGES[name](text, random.Random(seed)), str)


@given(seed=st.integers(0, 1000))
def test_a_typo_swaps_two_letters_inside_one_word(seed: int) -> None:
    changed = perturbation.typo(TEXT, random.Random(seed))
    places = [place for place, (one, other) in enumerate(zip(TEXT, changed, strict=True)) if one != other]
    assert len(places) == 2
    assert places[1] == places[0] + 1
    assert TEXT[places[0]] == changed[places[1]]
    assert (TEXT[places[0] - 1] + TEXT[places[1] + 1]).isalpha()


@given(seed=st.integers(0, 1000))
def test_two_typos_do_not_undo_each_other(seed: int) -> None:
    changed = perturbation.two_typos(TEXT, random.Random(seed))
    assert sum(one != other for one, other in zip(TEXT, changed, strict=True)) == 4


def test_a_text_without_a_long_word_has_no_typo() -> None:
    assert perturbation.typo("so it is :)", random.Random(0)) == "so it is :)"


def test_contractions_keep_the_case_of_their_first_letter() -> None:
    text = "I am late. It is fine, they do not mind and I cannot see why we would not go"
    assert perturbation.contraction(text, random.Random(0)) == (
        "I'm late. It's fine, they don't mind and I can't see why we wouldn't go"
    )


@given(seed=st.integers(0, 1000))
def test_links_and_handles_are_what_cleaning_masks(seed: int) -> None:
    assert LINK.search(perturbation.link(TEXT, random.Random(seed)))
    assert MENTION.match(perturbation.handle(TEXT, random.Random(seed)))


@given(seed=st.integers(0, 1000))
def test_case_and_signs_leave_the_letters(seed: int) -> None:
    chance = random.Random(seed)
    assert perturbation.letter_case(TEXT, chance).lower() == TEXT.lower()
    assert perturbation.punctuation(TEXT, chance).rstrip(" .!") == TEXT.rstrip(" .!")
    drawn_out = perturbation.elongation(TEXT, chance)
    assert len(drawn_out) - len(TEXT) in (2, 3)

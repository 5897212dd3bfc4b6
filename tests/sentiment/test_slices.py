"""A slice holds the texts that its name promises, and no others."""

import pandas as pd
import pytest

from steps.sentiment import slices


def found(text: str) -> set[str]:
    flags = slices.flags(pd.Series([text])).iloc[0]
    return set(flags.index[flags]) - {"short", "long"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what a day", set()),
        ("i do not like it", {"negation"}),
        ("Never again", {"negation"}),
        ("nothing works", {"negation"}),
        ("it doesn't fit", {"negation"}),
        ("it doesn’t fit", {"negation"}),
        ("I Can't", {"negation"}),
        ("i dont care", {"negation"}),
        ("cant sleep", {"negation"}),
        ("it didnt help", {"negation"}),
        ("love it 😂", {"emoji"}),
        ("love it ❤️", {"emoji"}),
        ("off we go ✈️", {"emoji"}),
        ("five stars ⭐", {"emoji"}),
        ("love it :)", {"emoji"}),
        ("hate it :-(", {"emoji"}),
        ("told you so ;-P", {"emoji"}),
        ("i <3 soup", {"emoji"}),
        ("is it friday yet?", {"question"}),
        ("so tired #monday", {"hashtag"}),
        ("look at http://a.example/b", {"link"}),
        ("look at WWW.example.com", {"link"}),
        ("hello @ottosocks how are you", {"mention"}),
        ("write to me@example.com", set()),
        ("SO cold in LONDON", {"capitals"}),
        ("soooo tired", {"elongation"}),
        ("good feeling, tall hill", set()),
    ],
)
def test_a_text_lies_in_the_slices_of_what_it_contains(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    ["we went to the apartment", "what a different moment", "i want the giant plant", "excellent, he sent a present"],
)
def test_words_that_end_like_a_negation_are_none(text):
    assert "negation" not in found(text)


@pytest.mark.parametrize(
    "text", ["the train at 10:35", "see you at 8pm", "best summer since 2008)", "room 8D, floor 3"]
)
def test_times_and_numbers_are_no_emoticons(text):
    assert "emoji" not in found(text)


def test_signs_within_a_link_are_not_the_authors():
    assert found("look at http://www.a.example/QRSTT?x=1&no=2#top") == {"link"}


def test_lengths_in_words():
    texts = pd.Series(["", "one", " ".join("a" * slices.SHORT), " ".join("a" * (slices.SHORT + 1)), "a " * slices.LONG])
    flags = slices.flags(texts)
    assert flags["short"].tolist() == [True, True, True, False, False]
    assert flags["long"].tolist() == [False, False, False, False, True]


def test_one_boolean_column_per_slice_on_the_index_of_the_texts():
    flags = slices.flags(pd.Series(["a?", "b"], index=[7, 3]))
    assert set(flags.columns) == {*slices.PATTERNS, "short", "long"}
    assert flags.index.tolist() == [7, 3]
    assert set(flags.dtypes.astype(str)) == {"bool"}
    assert flags["question"].tolist() == [True, False]
    assert slices.flags(pd.Series([], dtype=str)).shape == (0, len(slices.PATTERNS) + 2)

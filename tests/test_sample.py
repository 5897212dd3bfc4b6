"""The bundled sample is what it claims: many words, both classes, no near-duplicates, the traits of real tweets."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from steps.sentiment.dataset import fold
from tests.conftest import ROOT

#: A word of flying or other travel, or the handle of an airline of the sample.
TRAVEL = re.compile(
    r"""(?ix)\b(?:flights?|fl(?:y|ies|ew|own)|flying|airlines?|airports?|airways|aircraft|(?:air)?planes?|jets?|jet-?lag\w*
    |pilots?|cabin|crew|stewards?|stewardess|gates?|board(?:ed|ing)|seats?|luggage|baggage|suitcases?|carousel
    |check(?:ed|ing)?[ -]?in|terminal|delay(?:ed|s)?|cancell?(?:ed|ing|ation)|runway|tarmac|take-?off|landed|landing
    |layover|stopover|connecting|legroom|aisle|hotels?|trips?|travel\w*|passports?|visa|customs|trains?|holidays?|vacation
    |upgraded?|turbulence|captain|attendants?|rebook\w*|refund\w*|passengers?|standby|lounge|carry-?on|economy|duty\ free
    |departures?|arrivals?|itinerary|tickets?|ferry)\b|\b@?\w*(?:air|jet|wing|airways)\b"""
)


@pytest.fixture(scope="module")
def tweets() -> pd.DataFrame:
    return pd.read_csv(ROOT / "data/sample/tweets.csv")


@pytest.fixture(scope="module")
def words(tweets: pd.DataFrame) -> pd.Series:
    """The set of words of each tweet, links and mentions masked."""
    return tweets["text"].map(lambda text: frozenset(re.findall(r"\w+(?:['’]\w+)*", fold(text))))


def test_rows_and_columns(tweets):
    assert tweets.columns.tolist() == ["target", "text"]
    assert len(tweets) >= 3000
    assert tweets.notna().all(axis=None)
    assert set(tweets["target"]) == {0, 4}


def test_about_half_is_negative(tweets):
    assert 0.45 <= (tweets["target"] == 0).mean() <= 0.55


def test_every_text_is_as_long_as_a_tweet(tweets):
    lengths = tweets["text"].str.len()
    assert lengths.min() >= 5
    assert lengths.max() <= 280
    assert 30 <= lengths.median() <= 100
    assert (tweets["text"] == tweets["text"].str.strip()).all()


def test_no_two_rows_are_nearly_the_same(tweets, words):
    counts = CountVectorizer(analyzer=lambda found: found).fit_transform(words).astype("int32")
    shared = (counts @ counts.T).tocoo()
    size = words.map(len).to_numpy()
    similarity = shared.data / (size[shared.row] + size[shared.col] - shared.data)
    alike = np.flatnonzero((similarity >= 0.8) & (shared.row < shared.col))
    pairs = [(tweets["text"][shared.row[at]], tweets["text"][shared.col[at]]) for at in alike]
    assert pairs == []
    assert tweets["text"].map(fold).is_unique


def test_at_least_5000_distinct_words(words):
    assert len(frozenset().union(*words)) >= 5000


@pytest.mark.parametrize(
    ("trait", "pattern", "low", "high"),
    [
        ("mention", r"(?<!\w)@\w", 0.2, 0.6),
        ("hashtag", r"#\w", 0.03, 0.3),
        ("link", r"https?://", 0.02, 0.2),
        ("emoji", "[\U0001f000-\U0001faff☀-➿]", 0.03, 0.4),
        ("emoticon", r"(?:^|\s)[:;=]['-]?[()DPp/]", 0.01, 0.3),
        ("question", r"\?", 0.05, 0.3),
        ("exclamation", r"!", 0.1, 0.5),
        ("negation", r"(?i)\b(?:not|no|never|nothing|\w+n['’]t|dont|cant|didnt|isnt|wont)\b", 0.1, 0.5),
        ("elongation", r"([A-Za-z])\1{2,}", 0.01, 0.15),
        ("capitals", r"\b[A-Z]{3,}\b", 0.02, 0.2),
        ("slang", r"(?i)\b(?:u|ur|lol|omg|thx|gonna|wanna|im|tho|cuz|pls|haha\w*|ugh)\b", 0.03, 0.4),
        ("used to", r"(?i)\bused to\b", 0.002, 0.1),
    ],
)
def test_traits_of_real_tweets_have_a_sensible_share(tweets, trait, pattern, low, high):
    share = np.mean([bool(re.search(pattern, text)) for text in tweets["text"]])
    assert low <= share <= high, f"{trait}: {share:.3f}"


def test_traits_do_not_give_the_class_away(tweets):
    for pattern in (r"@\w", r"#\w", r"https?://", r"\?"):
        positive = (tweets.loc[tweets["text"].str.contains(pattern), "target"] == 4).mean()
        assert 0.25 <= positive <= 0.75, f"{pattern}: {positive:.2f} positive"


def test_flying_and_travel_have_their_share_in_both_classes(tweets):
    travel = tweets["text"].str.contains(TRAVEL)
    assert travel.mean() >= 0.2
    assert 0.3 <= (tweets.loc[travel, "target"] == 4).mean() <= 0.7

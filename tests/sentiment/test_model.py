"""The shipped file: cleaning of tweet traits, the answer, and the bag of words against scikit-learn."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from steps.sentiment import bag_of_ngrams, model
from steps.sentiment.model import TOKEN, Answer, SentimentModel, TfidfScorer, clean
from tests.conftest import ROOT

tokens = model._TOKENS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don’t go", ["don't", "go"]),
        ("Don&rsquo;t go", ["don't", "go"]),
        ("@Bob_1 see https://t.co/AbC1 now", ["<user>", "see", "<link>", "now"]),
        ("WWW.example.org/x rocks", ["<link>", "rocks"]),
        ("so goooooood!!!", ["so", "goood", "!!!"]),
        ("love it :) :-( ;D <3 ^_^", ["love", "it", ":)", ":-(", ";d", "<3", "^_^"]),
        ("ruined &amp;lt;3 &quot;day&quot;", ["ruined", "<3", '"', "day", '"']),
        ("not bad... #happy?", ["not", "bad", "...", "#happy", "?"]),
        ("great 😀👍", ["great", "😀", "👍"]),
        ("mail me@home.org", ["mail", "me", "@", "home", "org"]),
        ("line\nbreak\ttab\x00nul", ["line", "break", "tab", "nul"]),
        ("", []),
        ("   ", []),
    ],
)
def test_tokens_keep_what_carries_feeling(text: str, found: list[str]) -> None:
    assert tokens(clean(text)) == found


@given(st.text(st.characters(exclude_categories=()), max_size=80))
def test_cleaning_takes_any_text_and_says_the_same_twice(text: str) -> None:
    clean(text).encode("utf-8")
    assert "\n" not in clean(text)
    assert clean(text) == clean(f"  {text} ")


def test_cleaning_does_not_see_who_is_mentioned_or_linked() -> None:
    assert clean("@anna look http://a.b/c") == clean("@BERTA  look https://t.co/zzz")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TfidfVectorizer, np.ndarray, float]:
    """A folder as training writes it, and scikit-learn's own objects with the same weights."""
    texts = [
        clean(t) for t in ("good good flight", "bad bad bag :(", "good crew but bad food", "no bad day !", "crew crew")
    ]
    vectorizer = TfidfVectorizer(token_pattern=TOKEN, lowercase=False, ngram_range=(1, 3), sublinear_tf=True).fit(texts)
    coefficients = np.random.default_rng(0).normal(size=len(vectorizer.vocabulary_))

    class Classifier:
        coef_, intercept_ = coefficients[None, :], np.array([0.25])

    folder = tmp_path_factory.mktemp("model")
    bag_of_ngrams.write(folder, list(vectorizer.get_feature_names_out()), vectorizer.idf_, Classifier())  # type: ignore[arg-type]
    return folder, vectorizer, coefficients, 0.25


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("good bad crew flight bag:( !", max_size=60), min_size=1, max_size=6))
def test_bag_of_words_is_scikit_learns(
    fitted: tuple[Path, TfidfVectorizer, np.ndarray, float], texts: list[str]
) -> None:
    folder, vectorizer, coefficients, intercept = fitted
    expected = vectorizer.transform([clean(text) for text in texts]) @ coefficients + intercept
    logits, truncated = TfidfScorer(folder, {"max_ngram": 3})(texts)
    assert np.allclose(logits, expected, atol=1e-6)
    assert not truncated.any()


def loaded(folder: Path) -> SentimentModel:
    """Return the shipped model over the folder of `fitted`."""
    described = {
        "family": "baseline",
        "loader": "tfidf",
        "calibration": {"slope": 2.0, "bend": 0.0, "intercept": -0.1},
        "unsure": [0.4, 0.6],
        "tfidf": {"max_ngram": 3},
    }
    (folder / "model.json").write_text(json.dumps(described), encoding="utf-8")
    ours = SentimentModel()

    class Context:
        artifacts = {"model": str(folder)}  # noqa: RUF012

    ours.load_context(Context())  # type: ignore[arg-type]
    return ours


ODD = [
    "",
    " ",
    "😀😀",
    "good " * 2500,
    "привет мир",
    "\x00\x07\ud800",
    "مرحبا",
    "<script>alert(1)</script>",
    "'; drop table--",
]


def test_every_text_gets_a_whole_answer(fitted: tuple[Path, TfidfVectorizer, np.ndarray, float]) -> None:
    answers = loaded(fitted[0]).predict(None, ODD, {"explain": True})
    assert len(answers) == len(ODD)
    for answer in answers:
        checked = Answer.model_validate(answer)
        assert 0 <= checked.score <= 1
        assert checked.label == ("positive" if checked.score >= 0.5 else "negative")
        assert checked.unsure == (0.4 <= checked.score <= 0.6)
        json.dumps(answer).encode("utf-8")
    assert loaded(fitted[0]).predict(None, []) == []


def test_an_answer_does_not_depend_on_the_batch(fitted: tuple[Path, TfidfVectorizer, np.ndarray, float]) -> None:
    ours = loaded(fitted[0])
    texts = [
        f"{text} {index}"
        for index in range(700)
        for text in ("good crew", "bad bag :(", "no bad day", "?", "", "bad good")
    ]
    together = [answer["score"] for answer in ours.predict(None, texts)]  # type: ignore[index]
    alone = [ours.predict(None, [text])[0]["score"] for text in texts[:12]]  # type: ignore[index]
    assert len(texts) > model.CHUNK
    assert np.allclose(together[:12], alone, atol=1e-12)


def test_words_are_what_the_score_loses_without_them(fitted: tuple[Path, TfidfVectorizer, np.ndarray, float]) -> None:
    ours = loaded(fitted[0])
    answer = ours.predict(None, ["good crew bad"], {"explain": True})[0]
    without = ours.predict(None, ["good bad"])[0]
    assert [word["word"] for word in answer["words"]] == ["good", "crew", "bad"]  # type: ignore[index]
    assert answer["words"][1]["weight"] == pytest.approx(answer["score"] - without["score"])  # type: ignore[index]
    assert "words" not in without
    many = ours.predict(None, ["good " * 500], {"explain": True})[0]
    assert len(many["words"]) == model.EXPLAINED_WORDS  # type: ignore[index]


def test_importing_the_shipped_file_loads_no_ml_framework() -> None:
    heavy = ("sklearn", "torch", "tensorflow", "keras", "gensim", "transformers", "matplotlib", "onnxruntime")
    script = f"import sys, steps.sentiment.model; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

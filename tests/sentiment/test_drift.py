"""What has drifted is found and what has not is left alone, on real tweets and on ones drawn from a profile."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from steps.sentiment import drift, profile, slices
from steps.sentiment.command_line import InputError
from steps.sentiment.reference import FEWEST, TRAITS, features
from tests.conftest import ROOT
from tests.streams import PROFILE, drawn, gathered
from tests.test_sample import TRAVEL

#: The model is unsure between these scores.
BAND = (0.4, 0.6)
LEVEL, PSI = 0.01, drift.MODERATE
FRENCH = [
    "Vol annulé sans explication, on attend depuis trois heures",
    "Merci à tout l'équipage, c'était parfait",
    "ma valise est perdue et personne ne répond au téléphone",
    "Enfin arrivés, fatigués mais contents",
    "le petit déjeuner était froid et le café imbuvable",
    "quelle belle journée, le soleil est revenu",
    "je ne reprendrai jamais cette compagnie",
    "J'adore cette chanson, elle me rappelle l'été dernier",
    "Trop de monde dans le métro ce matin",
    "bonne nuit tout le monde, à demain",
    "on m'a remboursé en deux jours, bravo",
    "encore une réunion inutile, j'ai faim",
    "le film était nul, j'ai dormi la moitié du temps",
    "Joyeux anniversaire ma belle, tu nous manques beaucoup",
]


def texts_of(tweets: pd.Series, scores: np.ndarray) -> pd.DataFrame:
    """Return what an endpoint would tell of texts and of the scores that it gave them."""
    flags = slices.flags(tweets)[list(TRAITS)].astype(float).reset_index(drop=True)
    lengths = {"characters": tweets.str.len().to_numpy(), "words": tweets.str.count(r"\S+").to_numpy()}
    unsure = ((scores >= BAND[0]) & (scores <= BAND[1])).astype(float)
    return flags.assign(**lengths, score=scores, unsure=unsure, label=(scores >= 0.5).astype(int))


def profile_of(tweets: pd.DataFrame) -> dict[str, Any]:
    """Return the profile of told texts, as the project makes it of a validation split."""
    return {
        "rows": len(tweets),
        "characters": profile.histogram(tweets["characters"], profile.CHARACTERS),
        "words": profile.histogram(tweets["words"], profile.WORDS),
        "shares": tweets[list(TRAITS)].mean().to_dict(),
    } | profile.of_scores(tweets["score"].to_numpy(), tweets["unsure"].to_numpy())


@pytest.fixture(scope="module")
def sample() -> pd.DataFrame:
    return pd.read_csv(ROOT / "data/sample/tweets.csv")


@pytest.fixture(scope="module")
def model() -> Any:
    return make_pipeline(TfidfVectorizer(min_df=2), LogisticRegression(C=2))


@pytest.fixture(scope="module")
def told(sample: pd.DataFrame, model: Any) -> pd.DataFrame:
    """The sample as an endpoint would tell it, scored by models that have not seen it."""
    scores = cross_val_predict(model, sample["text"], sample["target"] // 4, cv=5, method="predict_proba")[:, 1]
    return texts_of(sample["text"], scores)


def verdicts(tweets: pd.DataFrame, seed: int) -> np.ndarray:
    """Return what people say of every answer of a calibrated model."""
    return (np.random.default_rng(seed).uniform(size=len(tweets)) < tweets["score"]).astype(int).to_numpy()


def draws(told: pd.DataFrame, rows: int, psi: float) -> Iterator[drift.Result]:
    """Compare 100 undrifted streams with the profile of other tweets: both parts of the sample are drawn at random."""
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(len(told))
        stream = told.iloc[order[:rows]].reset_index(drop=True)
        events = gathered(stream, verdicts(stream, seed))
        yield drift.judge(profile_of(told.iloc[order[rows:]]), "3", events, LEVEL, psi)


@pytest.mark.parametrize("psi", [PSI, 1e-9], ids=["large and significant", "significant alone"])
@pytest.mark.parametrize("rows", [FEWEST, 1500])
def test_an_undrifted_stream_raises_nothing_in_97_of_100_draws(told: pd.DataFrame, rows: int, psi: float) -> None:
    results = list(draws(told, rows, psi))
    assert sum(bool(result.drifted) for result in results) <= 3
    compared = {one.feature for one in results[0].findings}
    assert compared == {*features(PROFILE), *([drift.WRONG] if results[0].wrong >= drift.FEWEST_WRONG else [])}


def test_the_tests_keep_to_their_level_before_correction(told: pd.DataFrame) -> None:
    # A test that never rejects would pass the one above: uncorrected, each rejects about as often as it says.
    p_values = [one.p_value / len(result.findings) for result in draws(told, 1500, PSI) for one in result.findings
                if one.p_value < 1]  # fmt: skip
    rejected = sum(p_value < 0.05 for p_value in p_values)
    assert 0.01 < rejected / (100 * len(features(PROFILE))) < 0.08


def airline_only(sample: pd.DataFrame, model: Any, told: pd.DataFrame) -> pd.DataFrame:
    to_an_airline = sample["text"].str.contains(r"(?i)@\w*(?:air|jet|wing|fly)") & sample["text"].str.contains(TRAVEL)
    return told[to_an_airline.to_numpy()]


def all_capitals(sample: pd.DataFrame, model: Any, told: pd.DataFrame) -> pd.DataFrame:
    shouted = sample["text"].str.upper()
    return texts_of(shouted, told["score"].to_numpy())  # the model folds case: only the texts tell


def french(sample: pd.DataFrame, model: Any, told: pd.DataFrame) -> pd.DataFrame:
    model.fit(sample["text"], sample["target"] // 4)
    return texts_of(pd.Series(FRENCH), model.predict_proba(FRENCH)[:, 1])


@pytest.mark.parametrize("kind", [airline_only, all_capitals, french], ids=lambda kind: kind.__name__)
def test_a_drifted_stream_of_the_same_size_is_raised(
    sample: pd.DataFrame, model: Any, told: pd.DataFrame, kind: Callable[..., pd.DataFrame]
) -> None:
    drifted, reference = kind(sample, model, told), profile_of(told)
    for seed in range(20):
        stream = drifted.sample(FEWEST, replace=True, random_state=seed).reset_index(drop=True)
        result = drift.judge(reference, "3", gathered(stream), LEVEL, PSI)
        assert result.drifted
        assert {"all_capitals": "capitals", "airline_only": "mention", "french": "score"}[kind.__name__] in {
            one.feature for one in result.drifted
        }


@pytest.mark.parametrize("complaints_only", [False, True], ids=["all are judged", "only the wrong are reported"])
def test_flipped_labels_in_feedback_are_raised_and_complaints_alone_are_not(complaints_only: bool) -> None:
    for seed in range(20):
        tweets = drawn(PROFILE, 2000, seed)
        truth = verdicts(tweets, seed)
        for flipped, said in ((False, truth), (True, 1 - truth)):
            heard = np.where(~complaints_only | (said != tweets["label"]), said, -1)
            result = drift.judge(PROFILE, "3", gathered(tweets, heard), LEVEL, PSI)
            assert [one.feature for one in result.drifted] == ([drift.WRONG] if flipped else [])


def test_wrong_answers_of_the_champion_lie_where_it_was_unsure() -> None:
    # Real test tweets with their labels, and what the model that comes with the project answers to them.
    rows = pd.read_parquet(ROOT / "docs/results/evidence/8ad8f2ba0d8e5459/bert-e7048a50/scores.parquet")
    scores, labels = rows["score"].to_numpy(dtype=float), rows["label"].to_numpy()
    stream = drawn(PROFILE, len(rows), seed=0).assign(score=scores, label=(scores >= 0.5).astype(int))
    for expected, drifted in ((labels, False), (1 - labels, True)):
        result = drift.judge(PROFILE, "3", gathered(stream, expected), LEVEL, PSI)
        assert [one.drifted for one in result.findings if one.feature == drift.WRONG] == [drifted]
        assert not {"score", "mention", "link", "emoji", "capitals"} & {one.feature for one in result.drifted}


def test_few_wrong_answers_are_counted_and_not_compared() -> None:
    tweets = drawn(PROFILE, 600, seed=0)
    wrong = np.where(np.arange(600) < drift.FEWEST_WRONG - 1, 1 - tweets["label"], -1)
    result = drift.judge(PROFILE, "3", gathered(tweets, wrong), LEVEL, PSI)
    assert result.wrong == drift.FEWEST_WRONG - 1
    assert drift.WRONG not in {one.feature for one in result.findings}


def test_the_confusion_matrix_counts_judged_answers() -> None:
    tweets = drawn(PROFILE, 600, seed=0).assign(label=[0, 0, 1, 1, 1, *[0] * 595])
    expected = np.array([0, 1, 0, 1, 1, *[-1] * 595])
    assert drift.judge(PROFILE, "3", gathered(tweets, expected), LEVEL, PSI).confusion == ((1, 1), (1, 2))


def test_index_and_p_value_are_those_of_the_definitions() -> None:
    expected, found = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.65, 0.1])
    by_hand = sum(
        (after - before) * np.log(after / before) for before, after in ((0.5, 0.25), (0.5, 0.65), (0.0001, 0.1))
    )
    assert drift.stability_index(expected, found) == pytest.approx(by_hand)
    tweets = drawn(PROFILE, 1000, seed=0).assign(link=[1] * 60 + [0] * 940)
    result = drift.judge(PROFILE, "3", gathered(tweets), LEVEL, PSI)
    (link,) = [one for one in result.findings if one.feature == "link"]
    there = round(PROFILE["shares"]["link"] * PROFILE["rows"])
    p_value = stats.chi2_contingency([[PROFILE["rows"] - there, there], [940, 60]]).pvalue
    assert link.p_value == pytest.approx(min(p_value * len(result.findings), 1))
    assert (link.rows, link.found_mean) == (1000, 0.06)


def test_a_difference_that_is_significant_but_small_is_no_drift() -> None:
    tweets = drawn(PROFILE, 50_000, seed=0)
    tweets["mention"] = (np.random.default_rng(0).uniform(size=len(tweets)) < 0.5).astype(float)  # not 0.453
    (mention,) = [
        one for one in drift.judge(PROFILE, "3", gathered(tweets), LEVEL, PSI).findings if one.feature == "mention"
    ]
    assert mention.p_value < 1e-6
    assert (mention.shift, mention.drifted) == ("small", False)


@pytest.mark.parametrize(
    ("rows", "version", "message"),
    [
        (0, "3", "events: no prediction is among them; needed: 500 of version 3"),
        (600, "2", "events: of version 2, but the profile is that of version 3; allowed: the same"),
        (499, "3", "events: 499 predictions of version 3 are too few to tell drift from chance; needed: 500"),
    ],
)
def test_what_cannot_be_judged_is_refused(rows: int, version: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        drift.judge(PROFILE, "3", gathered(drawn(PROFILE, rows, seed=0), version=version), LEVEL, PSI)
    assert str(error.value) == message


def test_predictions_of_other_versions_are_left_out_and_counted() -> None:
    tweets = drawn(PROFILE, 700, seed=0)
    events = gathered(tweets)
    versions = pd.Categorical(["3"] * 600 + ["2"] * 100)
    events.predictions["model_version"] = versions
    result = drift.judge(PROFILE, "3", events, LEVEL, PSI)
    assert (result.predictions, result.others) == (600, 100)


def test_the_result_is_json_and_the_rule_of_azure_asks_for_as_many_texts() -> None:
    result = drift.judge(PROFILE, "3", gathered(drawn(PROFILE, 600, seed=0)), LEVEL, PSI)
    written = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert written["drifted"] == []
    assert [one["feature"] for one in written["findings"]] == list(features(PROFILE))
    query = (ROOT / "registry_scripts/azure/queries/drift.kql").read_text(encoding="utf-8")
    assert f"let fewest = {FEWEST};" in query
    assert f"let large = {drift.MAJOR};" in query

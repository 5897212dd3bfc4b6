"""Labels that were turned around on purpose are found, and no model is its own judge."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from steps.sentiment import label_noise
from steps.sentiment.label_noise import Suspects, cleaned, rankings, suspects
from steps.sentiment.model import sigmoid
from steps.sentiment.rows import Rows

ROWS, TURNED = 4000, 0.08


def entry(model_id: str, family: str) -> dict:
    return {"name": f"a {model_id}", "family": family, "model_id": model_id, "metrics": {}}


ENTRIES = [entry("m-bert", "bert"), entry("m-bert-2", "bert"), entry("m-keras", "keras"), entry("m-base", "baseline")]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.arange(ROWS) % 2)


@pytest.fixture(scope="module")
def test(truth: np.ndarray) -> Rows:
    """Rows of which 8 % carry the wrong label, and calibrated models that err alike on hard ones, the first the best."""
    random = np.random.default_rng(1)
    labels = np.where(random.random(ROWS) < TURNED, 1 - truth, truth)
    hard = 0.6 * random.normal(size=ROWS)
    scores = {
        one["model_id"]: sigmoid(2 * (skill * (2 * truth - 1) + hard + 0.7 * random.normal(size=ROWS)))
        for one, skill in zip(ENTRIES, (1.6, 1.4, 1.2, 1.0), strict=True)
    }
    return Rows(pd.DataFrame({"text": "a", "label": labels}), scores)


@pytest.fixture(scope="module")
def found(test: Rows) -> Suspects:
    suspected = suspects(test, ENTRIES)
    assert suspected is not None
    return suspected


def test_about_as_many_labels_are_suspected_as_were_turned_and_mostly_these(
    test: Rows, truth: np.ndarray, found: Suspects
) -> None:
    turned = test.labels != truth
    assert found.rows.sum() == pytest.approx(turned.sum(), rel=0.35)
    assert turned[found.rows].mean() > 0.75
    assert found.rows[turned].mean() > 0.75
    counts = found.described(test.labels)
    assert counts["suspect_rows"] == found.rows.sum() == counts["suspect_negative"] + counts["suspect_positive"]
    assert counts["suspect_positive"] == (test.labels[found.rows] == 1).sum()


def test_the_best_of_each_family_votes_and_the_mean_counts(test: Rows, found: Suspects) -> None:
    assert found.voters == {"bert": "m-bert", "keras": "m-keras", "baseline": "m-base"}
    assert np.allclose(found.votes, np.mean([test.scores[voter] for voter in found.voters.values()], axis=0))


def test_families_that_are_made_from_others_repeat_no_vote(test: Rows, found: Suspects) -> None:
    more = [entry("m-all", "ensemble"), entry("m-small", "distilled"), *ENTRIES]
    again = suspects(Rows(test.frame, {**test.scores, "m-all": test.labels + 0.0}), more)
    assert again is not None
    assert again.voters == found.voters
    assert np.array_equal(again.rows, found.rows)
    assert suspects(test, more[:2]) is None


def test_figures_without_suspects_are_of_the_same_rows_for_each_model(test: Rows, found: Suspects) -> None:
    measured, kept = cleaned(test, ENTRIES, found), ~found.rows
    assert set(measured) == {one["model_id"] for one in ENTRIES}
    for model_id, values in measured.items():
        labels, scores = test.labels[kept], test.scores[model_id][kept]
        assert values["cleaned_test_accuracy"] == pytest.approx(((scores >= 0.5) == labels).mean())
        assert values["cleaned_test_roc_auc"] == pytest.approx(roc_auc_score(labels, scores))


def test_figures_without_suspects_are_nearer_to_the_truth(test: Rows, truth: np.ndarray, found: Suspects) -> None:
    for model_id, values in cleaned(test, ENTRIES, found).items():
        scores = test.scores[model_id]
        true, raw = ((scores >= 0.5) == truth).mean(), ((scores >= 0.5) == test.labels).mean()
        for kind in ("cleaned_test_accuracy", "cleaned_by_others_test_accuracy"):
            assert raw < values[kind]
            assert abs(values[kind] - true) < abs(raw - true)


def test_what_a_model_says_does_not_choose_its_rows_by_others(test: Rows, found: Suspects) -> None:
    # Its family votes otherwise now; the rows that others leave it are the same.
    changed = Rows(test.frame, {**test.scores, "m-bert": np.random.default_rng(2).random(ROWS)})
    again = Suspects(found.voters, found.votes, found.rows)
    ours, theirs = (cleaned(rows, ENTRIES, again)["m-bert-2"] for rows in (test, changed))
    for kind in ("accuracy", "roc_auc"):
        assert ours[f"cleaned_by_others_test_{kind}"] == theirs[f"cleaned_by_others_test_{kind}"]


def test_a_voter_is_flattered_by_its_own_vote() -> None:
    # Labels without a single mistake: what is left out is hard, not wrong, and each model's own errors go first.
    random = np.random.default_rng(3)
    labels = random.permutation(np.arange(ROWS) % 2)
    scores = {name: sigmoid(1.2 * (2 * labels - 1) + 1.2 * random.normal(size=ROWS)) for name in ("m-bert", "m-keras")}
    test = Rows(pd.DataFrame({"text": "a", "label": labels}), scores)
    entries = [entry("m-bert", "bert"), entry("m-keras", "keras")]
    suspected = suspects(test, entries)
    assert suspected is not None
    for values in cleaned(test, entries, suspected).values():
        assert values["cleaned_test_accuracy"] > values["cleaned_by_others_test_accuracy"] + 0.005


def test_equally_many_rows_of_each_class_are_left_out_by_others(test: Rows, found: Suspects) -> None:
    rows = label_noise._most_contradicted(test.labels, test.scores["m-keras"], found.rows)
    for label in (0, 1):
        assert (rows & (test.labels == label)).sum() == (found.rows & (test.labels == label)).sum()
    scores = test.scores["m-keras"]
    positive = test.labels == 1
    assert scores[rows & positive].max() <= scores[~rows & positive].min()


def test_a_model_made_from_the_voters_is_judged_by_those_that_are_left(test: Rows, found: Suspects) -> None:
    rows = Rows(test.frame, {**test.scores, "m-all": test.scores["m-bert"]})
    ours = cleaned(rows, [entry("m-all", "ensemble"), *ENTRIES], found)["m-all"]
    kept = ~label_noise._most_contradicted(rows.labels, rows.scores["m-keras"], found.rows)
    expected = roc_auc_score(rows.labels[kept], rows.scores["m-all"][kept])
    assert ours["cleaned_by_others_test_roc_auc"] == pytest.approx(expected)
    alone = Suspects({"bert": "m-bert", "baseline": "m-base"}, found.votes, found.rows)
    ours = cleaned(rows, [entry("m-all", "ensemble"), *ENTRIES], alone)["m-all"]
    assert set(ours) == {"cleaned_test_accuracy", "cleaned_test_roc_auc"}


def test_of_one_family_labels_are_suspected_and_no_model_is_judged_by_itself(test: Rows) -> None:
    suspected = suspects(test, ENTRIES[:2])
    assert suspected is not None
    assert suspected.voters == {"bert": "m-bert"}
    assert suspected.rows.any()
    assert cleaned(test, ENTRIES[:2], suspected) == {"m-bert": {}, "m-bert-2": {}}


def test_rankings_stand_beside_each_other() -> None:
    figures = {"m-bert": (0.9, 0.92, 0.91), "m-keras": (0.91, 0.93), "m-base": (0.8,)}
    kinds = ("test_roc_auc", "cleaned_test_roc_auc", "cleaned_by_others_test_roc_auc")
    entries = [
        {**entry(model_id, "any"), "metrics": dict(zip(kinds, values, strict=False))}
        for model_id, values in figures.items()
    ]
    assert rankings(entries) == {
        "test_roc_auc": ["a m-keras", "a m-bert", "a m-base"],
        "cleaned_test_roc_auc": ["a m-keras", "a m-bert"],
        "cleaned_by_others_test_roc_auc": ["a m-bert"],
    }


@pytest.mark.parametrize("scores", [np.full(4, 0.5), np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])])
@pytest.mark.filterwarnings("ignore:May not flag all label issues")
def test_few_rows_and_extreme_scores_are_no_error(scores: np.ndarray) -> None:
    rows = Rows(pd.DataFrame({"text": "a", "label": [0, 1, 0, 1]}), {"m-bert": scores, "m-base": scores})
    entries = [ENTRIES[0], ENTRIES[3]]
    suspected = suspects(rows, entries)
    assert suspected is not None
    for values in cleaned(rows, entries, suspected).values():
        assert all(0 <= value <= 1 for value in values.values())

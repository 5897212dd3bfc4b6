"""Figures of models on the same rows: with intervals, by slice, against the champion and the baseline."""

import numpy as np
import pandas as pd
import pytest

from steps.sentiment import judgement, metrics
from steps.sentiment.model import sigmoid
from steps.sentiment.paired import delong, mcnemar
from steps.sentiment.rows import Rows

METRICS = ("accuracy", "f1", "f1_negative", "f1_macro", "roc_auc", "pr_auc", "brier", "ece")


@pytest.fixture(scope="module")
def three() -> Rows:
    """300 rows, every third with a negation, and three models that err alike."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(300) % 2)
    frame = pd.DataFrame({"text": ["not so" if row % 3 else "so" for row in range(300)], "label": labels})
    shared = random.normal(size=300)
    scores = {
        name: sigmoid(skill * (2 * labels - 1) + shared + 0.5 * random.normal(size=300))
        for name, skill in (("m-best", 1.5), ("m-champion", 1.2), ("m-baseline", 0.5))
    }
    unsure = {
        name: np.abs(own - 0.5) < width for (name, own), width in zip(scores.items(), (0.1, 0.0, 0.5), strict=True)
    }
    return Rows(frame, scores, unsure)


OPPONENTS = {"champion": "m-champion", "baseline": "m-baseline"}


def test_each_model_has_all_metrics_with_intervals(three: Rows) -> None:
    found = judgement.judge(three, {}, seed=0)
    assert set(found) == set(three.scores)
    for model_id, values in found.items():
        expected = metrics.evaluate(three.labels, three.scores[model_id])
        ends = metrics.intervals(three.labels, three.scores[model_id])
        for name in METRICS:
            assert values[f"test_{name}"] == expected[name]
            assert (values[f"test_{name}_low"], values[f"test_{name}_high"]) == ends[name]
        assert not [name for name in values if "above" in name or "against" in name]


def test_slices_that_have_a_row_have_an_accuracy(three: Rows) -> None:
    found = judgement.judge(three, {}, seed=0)["m-best"]
    negation = three.frame["text"] == "not so"
    right = (three.scores["m-best"] >= 0.5) == (three.labels == 1)
    assert found["test_accuracy_negation"] == right[negation].mean()
    assert found["test_accuracy_short"] == found["test_accuracy"]
    assert "test_accuracy_hashtag" not in found


def test_what_a_model_is_unsure_of_is_told_with_its_accuracy_there_and_elsewhere(three: Rows) -> None:
    found = judgement.judge(three, {}, seed=0)
    inside = np.abs(three.scores["m-best"] - 0.5) < 0.1
    right = (three.scores["m-best"] >= 0.5) == (three.labels == 1)
    told = {name: found["m-best"][f"test_{name}"] for name in ("unsure_share", "unsure_accuracy", "sure_accuracy")}
    assert 0 < told["unsure_share"] < 0.5
    assert told == {
        "unsure_share": inside.mean(),
        "unsure_accuracy": right[inside].mean(),
        "sure_accuracy": right[~inside].mean(),
    }
    assert found["m-champion"]["test_unsure_share"] == 0
    assert "test_unsure_accuracy" not in found["m-champion"]
    assert found["m-baseline"]["test_unsure_share"] == 1
    assert "test_sure_accuracy" not in found["m-baseline"]


def test_models_are_held_against_each_opponent_by_both_tests(three: Rows) -> None:
    found = judgement.judge(three, OPPONENTS, seed=0)
    for name, opponent in OPPONENTS.items():
        for model_id, values in found.items():
            if model_id == opponent:
                assert not [key for key in values if key.endswith(f"_{name}")]
                continue
            pair = three.labels, three.scores[model_id], three.scores[opponent]
            assert values[f"p_against_{name}"] == mcnemar(*pair).p_value
            assert values[f"roc_auc_p_against_{name}"] == delong(*pair).p_value
            assert values[f"roc_auc_above_{name}"] == pytest.approx(delong(*pair).difference)
            for metric in ("accuracy", "roc_auc"):
                difference = values[f"test_{metric}"] - found[opponent][f"test_{metric}"]
                assert values[f"{metric}_above_{name}"] == pytest.approx(difference)
                assert values[f"{metric}_above_{name}_low"] < difference < values[f"{metric}_above_{name}_high"]


def test_a_difference_is_that_of_the_same_resamples(three: Rows) -> None:
    # Paired: models that err alike are told apart though their own intervals overlap.
    found = judgement.judge(three, OPPONENTS, seed=0)
    best, champion = found["m-best"], found["m-champion"]
    assert best["test_roc_auc_low"] < champion["test_roc_auc_high"]
    assert best["roc_auc_above_champion_low"] > 0
    half = (best["roc_auc_above_champion_high"] - best["roc_auc_above_champion_low"]) / 2
    error = delong(three.labels, three.scores["m-best"], three.scores["m-champion"]).error
    assert half == pytest.approx(1.96 * error, rel=0.15)


def test_a_champion_that_is_the_baseline_is_both(three: Rows) -> None:
    found = judgement.judge(three, {"champion": "m-baseline", "baseline": "m-baseline"}, seed=0)
    assert found["m-best"]["p_against_champion"] == found["m-best"]["p_against_baseline"]
    assert not [name for name in found["m-baseline"] if "against" in name or "above" in name]


def test_the_human_labelled_rows_have_few_figures(three: Rows) -> None:
    found = judgement.judge_human(three, seed=0)["m-best"]
    assert set(found) == {
        f"human_test_{name}{end}" for name in ("accuracy", "roc_auc") for end in ("", "_low", "_high")
    }
    test = judgement.judge(three, {}, seed=0)["m-best"]
    assert found == {name: test[name.removeprefix("human_")] for name in found}

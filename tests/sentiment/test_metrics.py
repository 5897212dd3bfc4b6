"""Metrics against scikit-learn, intervals against a plain bootstrap, calibration and the unsure band at their edges."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from sklearn.linear_model import LogisticRegression

from steps.sentiment.metrics import (
    ECE_BINS,
    TRUSTED,
    bounds,
    calibrate,
    evaluate,
    intervals,
    middle,
    resampled,
    unsure_band,
)
from steps.sentiment.model import calibrated, sigmoid

NAMES = {"accuracy", "f1", "f1_negative", "f1_macro", "roc_auc", "pr_auc", "brier", "ece"}


def drawn(seed: int, rows: int, levels: int = 0, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, both present, and scores of some skill, rounded to `levels` so that they tie."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(rows) % 2)
    scores = sigmoid(skill * (2 * labels - 1) + random.normal(size=rows))
    return labels, np.round(scores * levels) / levels if levels else scores


def plain_ece(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the expected calibration error as Guo et al. define it, bin by bin."""
    error = 0.0
    for index in range(ECE_BINS):
        low, high = index / ECE_BINS, (index + 1) / ECE_BINS
        inside = (scores >= low) & ((scores < high) | ((index == ECE_BINS - 1) & (scores == 1)))
        if inside.any():
            error += inside.mean() * abs(labels[inside].mean() - scores[inside].mean())
    return error


SKLEARN: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda labels, scores: sklearn_metrics.accuracy_score(labels, scores >= 0.5),
    "f1": lambda labels, scores: sklearn_metrics.f1_score(labels, scores >= 0.5),
    "f1_negative": lambda labels, scores: sklearn_metrics.f1_score(labels, scores >= 0.5, pos_label=0),
    "f1_macro": lambda labels, scores: sklearn_metrics.f1_score(labels, scores >= 0.5, average="macro"),
    "roc_auc": sklearn_metrics.roc_auc_score,
    "pr_auc": sklearn_metrics.average_precision_score,
    "brier": sklearn_metrics.brier_score_loss,
    "ece": plain_ece,
}


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 120), st.sampled_from([0, 1, 2, 3, 7, 20]), st.floats(-2, 3))
def test_metrics_are_those_of_scikit_learn_also_with_ties(seed: int, rows: int, levels: int, skill: float) -> None:
    labels, scores = drawn(seed, rows, levels, skill)
    found = evaluate(labels, scores)
    assert set(found) == NAMES
    for name, reference in SKLEARN.items():
        # A share of one seventh of fifteen bins may fall on either side of a bin's edge.
        if name != "ece" or not levels:
            assert found[name] == pytest.approx(reference(labels, scores), abs=1e-9), name


def test_a_constant_score_is_chance() -> None:
    labels = np.array([1, 0, 0, 0])
    found = evaluate(labels, np.full(4, 0.25))
    assert found["roc_auc"] == 0.5
    assert found["pr_auc"] == 0.25
    assert found["ece"] == pytest.approx(0.0)
    assert found["f1"] == 0.0
    assert found["f1_negative"] == pytest.approx(6 / 7)
    assert found["f1_macro"] == pytest.approx(3 / 7)


def test_a_perfect_and_a_perfectly_wrong_model() -> None:
    labels = np.array([0, 1, 1, 0])
    perfect, wrong = evaluate(labels, labels.astype(float)), evaluate(labels, 1.0 - labels)
    assert perfect == {name: 0.0 if name in ("brier", "ece") else 1.0 for name in NAMES}
    assert (wrong["accuracy"], wrong["roc_auc"], wrong["brier"], wrong["ece"]) == (0.0, 0.0, 1.0, 1.0)


def test_a_score_of_one_half_is_a_positive_answer() -> None:
    assert evaluate(np.array([1, 0]), np.array([0.5, 0.4]))["accuracy"] == 1.0


def test_row_order_changes_nothing() -> None:
    labels, scores = drawn(3, 200, levels=10)
    order = np.random.default_rng(0).permutation(200)
    assert evaluate(labels, scores) == pytest.approx(evaluate(labels[order], scores[order]))


def test_number_types_change_nothing() -> None:
    labels, scores = drawn(4, 100)
    scores = scores.astype("float32")
    expected = evaluate(labels, scores.astype(float))
    assert evaluate(labels.astype("int8"), scores) == pytest.approx(expected)
    assert evaluate(labels.astype(bool), scores) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [60, 400])
def test_intervals_hold_the_metric_itself(seed: int, rows: int) -> None:
    labels, scores = drawn(seed, rows)
    found, bounds = evaluate(labels, scores), intervals(labels, scores, seed=seed)
    assert set(bounds) == NAMES
    for name in NAMES - {"ece"}:
        low, high = bounds[name]
        assert low <= found[name] <= high, name
        assert low < high, name


@pytest.mark.parametrize("rows", [200, 820, 5000])
def test_the_interval_of_the_calibration_error_holds_it(rows: int) -> None:
    # Of a calibrated model each resample is worse calibrated than the rows are: the plain percentiles lie too high. The
    # rows themselves seem worse than the model is: the interval also reaches down to its true error, which is none.
    for seed in range(10):
        random = np.random.default_rng(seed)
        logits = random.normal(scale=2, size=rows)
        labels = (random.random(rows) < sigmoid(logits)).astype(int)
        low, high = intervals(labels, sigmoid(logits), resamples=200, seed=seed)["ece"]
        assert 0 <= low <= evaluate(labels, sigmoid(logits))["ece"] <= high, seed
        assert low < 0.002, seed


def test_resamples_are_those_of_a_plain_bootstrap() -> None:
    labels, scores = drawn(11, 300, levels=40)
    found = resampled(labels, {"model": scores}, resamples=2000, seed=1)["model"]
    random = np.random.default_rng(2)
    rows = [random.integers(0, 300, 300) for _ in range(300)]
    for name in NAMES - {"ece"}:
        drawn_again = [SKLEARN[name](labels[row], scores[row]) for row in rows]
        low, high = middle(np.array(drawn_again))
        assert middle(found[name]) == pytest.approx((low, high), abs=0.2 * (high - low)), name


def test_each_resample_is_measured_as_its_rows_are() -> None:
    labels, scores = drawn(12, 80, levels=6)
    found = resampled(labels, {"model": scores}, resamples=45, seed=3)["model"]
    random = np.random.default_rng(3)
    rows = np.concatenate([random.integers(0, 80, (count, 80)) for count in (20, 20, 5)])
    for number, row in enumerate(rows):
        expected = evaluate(labels[row], scores[row])
        assert {name: values[number] for name, values in found.items()} == pytest.approx(expected)


def test_models_are_measured_on_the_same_resamples() -> None:
    labels, scores = drawn(13, 200)
    together = resampled(labels, {"one": scores, "same": scores, "turned": 1 - scores}, resamples=100)
    alone = resampled(labels, {"one": scores}, resamples=100)
    for name in NAMES:
        assert np.array_equal(together["one"][name], together["same"][name])
        assert np.array_equal(together["one"][name], alone["one"][name])
    assert np.allclose(together["one"]["roc_auc"] + together["turned"]["roc_auc"], 1)


def test_intervals_narrow_with_the_root_of_the_rows() -> None:
    def width(rows: int) -> float:
        low, high = intervals(*drawn(5, rows))["accuracy"]
        return high - low

    assert width(200) / width(3200) == pytest.approx(4, rel=0.25)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # A known model: its truth is what it reaches on all rows, and 2,000 tests of 300 rows each are drawn from these.
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(50_000) % 2)
    scores = sigmoid(1.9 * (0.95 * (2 * labels - 1) + random.normal(size=50_000)))
    truth = evaluate(labels, scores)
    held = dict.fromkeys(NAMES, 0)
    for seed in range(2000):
        rows = random.integers(0, len(labels), 300)
        for name, (low, high) in intervals(labels[rows], scores[rows], resamples=200, seed=seed).items():
            held[name] += low <= truth[name] <= high
    for name in NAMES - {"ece"}:
        assert 0.935 <= held[name] / 2000 <= 0.965, name
    assert held["ece"] / 2000 >= 0.935  # wider than it need be, never above the truth


def test_the_seed_decides_the_intervals() -> None:
    labels, scores = drawn(6, 150)
    assert intervals(labels, scores, seed=1) == intervals(labels, scores, seed=1)
    assert intervals(labels, scores, seed=1) != intervals(labels, scores, seed=2)


def test_an_interval_is_around_its_metric_and_stays_within_0_to_1() -> None:
    labels, scores = drawn(7, 60, skill=1.2)
    found, ends = evaluate(labels, scores), bounds(labels, scores, resampled(labels, {"": scores}, 300)[""])
    assert found["roc_auc"] > 0.9
    for name in NAMES - {"ece"}:
        assert 0 < ends[name][0] < found[name] < ends[name][1] < 1, name
    assert intervals(labels, labels.astype(float))["accuracy"] == (1.0, 1.0)
    assert intervals(labels, 1.0 - labels)["f1"] == (0.0, 0.0)


def test_resamples_with_one_class_alone_are_left_out_of_the_auc() -> None:
    labels, scores = np.array([0, 1, 1, 1, 1]), np.array([0.2, 0.4, 0.6, 0.8, 0.9])
    for name, ends in intervals(labels, scores).items():
        assert np.isfinite(ends).all(), name
    assert intervals(labels, scores)["roc_auc"] == (1.0, 1.0)


#: The calibration that changes nothing.
AS_IT_IS = {"slope": 1.0, "bend": 0.0, "intercept": 0.0}


@pytest.mark.parametrize("bend", [0.0, 0.05])
def test_calibration_finds_what_was_there(bend: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=100_000)
    labels = random.random(100_000) < sigmoid(0.7 * logits + bend * logits**3 - 0.4)
    found = calibrate(labels, logits)
    assert (found["slope"], found["intercept"]) == pytest.approx((0.7, -0.4), abs=0.05)
    assert found["bend"] == pytest.approx(bend, abs=0.01)


def test_what_smoothed_labels_held_back_is_undone() -> None:
    # Of labels smoothed by a tenth the logit of p is that of 0.9 p + 0.05: no line leads back from it.
    random = np.random.default_rng(0)
    truth = random.beta(0.3, 0.3, size=100_000)
    labels, smoothed = random.random(100_000) < truth, 0.9 * truth + 0.05
    logits = np.log(smoothed / (1 - smoothed))
    line = LogisticRegression(C=np.inf).fit(logits[:, None], labels).predict_proba(logits[:, None])[:, 1]
    assert evaluate(labels, line)["ece"] > 0.015
    assert evaluate(labels, calibrated(logits, calibrate(labels, logits)))["ece"] < 0.008


def test_a_network_too_sure_of_itself_gets_a_line() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=40_000)
    labels = random.random(40_000) < sigmoid(np.arcsinh(logits))  # sure answers are less right than they say
    found = calibrate(labels, logits)
    assert found["slope"] > 0
    assert found["bend"] == 0


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_calibrated_scores_are_right_on_average_whatever_the_scale(scale: float) -> None:
    labels, scores = drawn(2, 2000)
    logits = np.log(scores / (1 - scores)) * scale + 3
    found = calibrated(logits, calibrate(labels, logits))
    assert found.mean() == pytest.approx(labels.mean(), abs=5e-3)
    assert evaluate(labels, found)["ece"] < 0.04
    assert evaluate(labels, found)["brier"] <= evaluate(labels, sigmoid(logits))["brier"] + 1e-6


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 200), st.floats(-3, 3), st.sampled_from([0, 2, 5]))
def test_calibration_never_turns_the_ranking_around(seed: int, rows: int, skill: float, levels: int) -> None:
    labels, scores = drawn(seed, rows, levels, skill)
    logits = 4 * scores - 2
    found = calibrate(labels, logits)
    assert found["slope"] > 0
    assert found["bend"] >= 0
    assert np.isfinite(list(found.values())).all()
    order = np.argsort(logits, kind="stable")
    assert (np.diff(calibrated(logits, found)[order]) >= 0).all()


def test_a_model_that_ranks_the_wrong_way_is_left_as_it_is() -> None:
    labels = np.tile([0, 1], 50)
    assert calibrate(labels, np.where(labels == 1, -1.0, 1.0) + np.linspace(-2, 2, 100)) == AS_IT_IS


def test_logits_that_say_nothing_are_left_as_they_are() -> None:
    assert calibrate(np.tile([0, 1], 20), np.zeros(40)) == AS_IT_IS


def test_separable_logits_give_finite_scores_on_the_right_sides() -> None:
    labels = np.tile([0, 1], 50)
    logits = np.where(labels == 1, 2.0, -2.0)
    found = calibrate(labels, logits)
    assert np.isfinite(list(found.values())).all()
    assert ((calibrated(logits, found) >= 0.5) == (labels == 1)).all()
    assert ((calibrated(logits, found) >= 0) & (calibrated(logits, found) <= 1)).all()


@pytest.mark.parametrize("rows", [1, 10, 49])
def test_of_too_few_rows_no_band_is_made(rows: int) -> None:
    labels = np.arange(rows) % 2
    assert unsure_band(labels, np.full(rows, 0.55)) == (0.5, 0.5)


@pytest.mark.parametrize("rows", [50, 1000, 20_000])
def test_a_perfect_model_is_never_unsure(rows: int) -> None:
    labels = np.arange(rows) % 2
    scores = 0.5 + (labels - 0.5) * np.linspace(0.02, 1, rows)
    assert unsure_band(labels, scores) == (0.5, 0.5)


def test_a_model_that_guesses_is_always_unsure() -> None:
    random = np.random.default_rng(0)
    labels, scores = random.integers(0, 2, 10_000), random.random(10_000)
    low, high = unsure_band(labels, scores)
    assert low < 0.02
    assert high > 0.98


def test_a_model_that_is_wrong_throughout_is_always_unsure() -> None:
    labels = np.tile([0, 1], 500)
    low, high = unsure_band(labels, np.where(labels == 1, 0.1, 0.9))
    assert (low, high) == pytest.approx((0.1, 0.9))


@pytest.mark.parametrize("edge", [0.05, 0.2, 0.4])
def test_the_band_ends_where_answers_become_right(edge: float) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 50_000)
    distance = random.uniform(0, 0.5, 50_000)
    knows = distance >= edge
    side = np.where(knows, 2 * labels - 1, random.choice([-1, 1], 50_000))
    low, high = unsure_band(labels, 0.5 + side * distance)
    assert high == pytest.approx(0.5 + edge, abs=0.01)
    assert low == pytest.approx(1 - high)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 2000), st.floats(-1, 4))
def test_the_band_is_symmetric_within_the_scores_and_not_to_be_trusted(seed: int, rows: int, skill: float) -> None:
    labels, scores = drawn(seed, rows, skill=skill)
    low, high = unsure_band(labels, scores)
    assert 0 <= low <= 0.5 <= high <= 1
    assert low + high == pytest.approx(1)
    inside = (scores >= low) & (scores <= high)
    if high > 0.5:
        right = (scores >= 0.5) == (labels == 1)
        assert right[inside].mean() < TRUSTED + 1e-9
        assert inside.sum() >= 50


def test_the_band_holds_the_untrusted_rows_of_a_real_curve() -> None:
    labels, scores = drawn(0, 20_000, skill=1.0)
    low, high = unsure_band(labels, scores)
    right = (scores >= 0.5) == (labels == 1)
    inside = (scores >= low) & (scores <= high)
    assert 0 < inside.mean() < 0.5
    assert right[inside].mean() < TRUSTED < right[~inside].mean()

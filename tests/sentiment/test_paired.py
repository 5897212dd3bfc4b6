"""McNemar's and DeLong's tests against values worked by hand, against their definitions and against resampling."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from steps.sentiment.paired import delong, mcnemar


def scores(both: int, ours: int, theirs: int, neither: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and the scores of two models: right both, the first alone, the second alone, neither."""
    labels = np.arange(both + ours + theirs + neither) % 2
    right = np.where(labels == 1, 0.8, 0.2)
    first = np.repeat([True, True, False, False], [both, ours, theirs, neither])
    second = np.repeat([True, False, True, False], [both, ours, theirs, neither])
    return labels, np.where(first, right, 1 - right), np.where(second, right, 1 - right)


@pytest.mark.parametrize(
    ("ours", "theirs", "p_value"),
    [
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
        (2, 10, 2 * (1 + 12 + 66) / 2**12),
        (5, 0, 2 / 2**5),
        (6, 0, 2 / 2**6),
        (7, 7, 1.0),
        (1, 0, 1.0),
        (0, 0, 1.0),
    ],
)
def test_values_worked_by_hand(ours: int, theirs: int, p_value: float) -> None:
    found = mcnemar(*scores(30, ours, theirs, 20))
    assert (found.better, found.worse) == (ours, theirs)
    assert found.p_value == pytest.approx(p_value, rel=1e-12)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_the_p_value_is_the_two_sided_exact_one(both: int, ours: int, theirs: int, neither: int) -> None:
    found = mcnemar(*scores(both, ours, theirs, neither))
    tail = sum(math.comb(ours + theirs, k) for k in range(min(ours, theirs) + 1)) / 2 ** (ours + theirs)
    assert found.p_value == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_it_agrees_with_the_chi_square_form_on_many_rows() -> None:
    ours, theirs = 5200, 5000
    chi_square = (abs(ours - theirs) - 1) ** 2 / (ours + theirs)
    found = mcnemar(*scores(100, ours, theirs, 100))
    assert found.p_value == pytest.approx(stats.chi2.sf(chi_square, df=1), rel=0.01)


@given(st.integers(0, 40), st.integers(0, 40))
def test_changing_sides_changes_the_sign_alone(ours: int, theirs: int) -> None:
    labels, first, second = scores(5, ours, theirs, 5)
    there, back = mcnemar(labels, first, second), mcnemar(labels, second, first)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert there.p_value == back.p_value


def test_rows_on_which_both_agree_do_not_count() -> None:
    assert mcnemar(*scores(0, 9, 1, 0)) == mcnemar(*scores(5000, 9, 1, 3000))


def test_a_score_of_one_half_counts_as_positive() -> None:
    found = mcnemar(np.array([1, 0]), np.array([0.5, 0.0]), np.array([0.4999, 0.5]))
    assert (found.better, found.worse) == (2, 0)


def test_labels_and_scores_may_be_of_any_number_type() -> None:
    labels, first, second = scores(3, 8, 1, 2)
    expected = mcnemar(labels, first, second)
    assert mcnemar(labels.astype("int8"), first.astype("float32"), second.tolist()) == expected  # type: ignore[arg-type]


def drawn(seed: int, rows: int, levels: int = 0, better: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and the scores of two models that err alike, the first `better`; rounded to `levels` so that they tie."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(rows) % 2)
    shared = 1.2 * labels + random.normal(size=rows)
    first, second = shared + better * labels + 0.5 * random.normal(size=rows), shared + 0.5 * random.normal(size=rows)
    return (labels, np.round(levels * first), np.round(levels * second)) if levels else (labels, first, second)


def plain(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return difference and error as DeLong's paper defines them: each positive row against each negative one."""
    parts = []
    for scores in (first, second):
        above = scores[labels == 1][:, None] - scores[labels == 0]
        parts.append((above > 0) + 0.5 * (above == 0))
    structure = parts[0] - parts[1]
    tens, ones = structure.mean(axis=1), structure.mean(axis=0)
    variance = tens.var(ddof=1) / len(tens) + ones.var(ddof=1) / len(ones)
    return float(structure.mean()), float(np.sqrt(variance))


@given(st.integers(0, 10_000), st.integers(4, 80), st.sampled_from([0, 1, 3]), st.floats(-1, 1))
def test_delong_from_ranks_is_delong_from_pairs(seed: int, rows: int, levels: int, better: float) -> None:
    labels, first, second = drawn(seed, rows, levels, better)
    found, (difference, error) = delong(labels, first, second), plain(labels, first, second)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert found.error == pytest.approx(error, abs=1e-9)
    if error > 1e-9:
        assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(difference) / error))


def test_the_difference_is_that_of_the_areas() -> None:
    labels, first, second = drawn(1, 500, levels=4)
    expected = roc_auc_score(labels, first) - roc_auc_score(labels, second)
    assert delong(labels, first, second).difference == pytest.approx(expected, abs=1e-12)


def test_the_error_is_that_of_resampled_differences() -> None:
    labels, first, second = drawn(2, 800)
    random = np.random.default_rng(0)
    differences = []
    for _ in range(600):
        rows = random.integers(0, 800, 800)
        differences.append(delong(labels[rows], first[rows], second[rows]).difference)
    assert delong(labels, first, second).error == pytest.approx(np.std(differences), rel=0.1)


def test_equal_models_are_told_apart_as_often_as_the_level_says() -> None:
    p_values = [delong(*drawn(seed, 120, better=0.0)).p_value for seed in range(1000)]
    assert 0.035 <= np.mean(np.array(p_values) < 0.05) <= 0.065
    assert 0.45 <= np.mean(p_values) <= 0.55


def test_changing_sides_changes_the_sign_of_the_difference_alone() -> None:
    labels, first, second = drawn(3, 300)
    there, back = delong(labels, first, second), delong(labels, second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.error, there.p_value) == pytest.approx((back.error, back.p_value))


def test_the_scale_of_the_scores_does_not_count() -> None:
    labels, first, second = drawn(4, 300)
    found, moved = delong(labels, first, second), delong(labels, np.exp(first), 7 * second - 3)
    assert (found.difference, found.error) == pytest.approx((moved.difference, moved.error))


def test_the_same_ranking_is_no_difference_and_a_certain_one_is_certain() -> None:
    labels = np.tile([0, 1], 20)
    right, blind = labels.astype(float), np.full(40, 0.5)
    assert delong(labels, right, 2 * right) == delong(labels, blind, blind)
    assert delong(labels, right, right).p_value == 1.0
    certain = delong(labels, right, blind)
    assert (certain.difference, certain.p_value) == (0.5, 0.0)


def test_a_single_positive_row_says_nothing() -> None:
    found = delong(np.array([0, 0, 1, 0]), np.array([0.1, 0.2, 0.9, 0.3]), np.array([0.1, 0.2, 0.15, 0.3]))
    assert found.difference == pytest.approx(2 / 3)
    assert (found.error, found.p_value) == (math.inf, 1.0)


def test_with_a_margin_half_of_it_changes_sides() -> None:
    labels, first, second = scores(30, 50, 20, 100)  # 200 rows
    assert mcnemar(labels, first, second, margin=0.0) == mcnemar(labels, first, second)
    found = mcnemar(labels, first, second, margin=0.05)
    assert (found.better, found.worse) == (50, 20)
    assert found.p_value == pytest.approx(stats.binomtest(45, 70).pvalue, rel=1e-12)
    assert mcnemar(labels, first, second, margin=0.15).p_value == pytest.approx(1.0)
    assert mcnemar(labels, first, second, margin=0.051).p_value > found.p_value  # a row cannot be halved
    assert mcnemar(labels, first, second, margin=1.0).p_value < 1e-9  # worse by far than that much better


def test_a_model_that_is_better_by_just_the_margin_passes_no_more_often_than_stated() -> None:
    # Drawn at the border: the challenger is truly better by the margin, so to say that it is by more is an error. One side.
    random, rows = np.random.default_rng(5), 3000
    for margin, alone in ((0.01, 0.08), (0.02, 0.03), (0.05, 0.2)):
        ours = (alone + margin) / 2
        wrong = 0
        for better, worse, _ in random.multinomial(rows, [ours, ours - margin, 1 - 2 * ours + margin], size=4000):
            moved = math.ceil(margin * rows / 2)
            above = better - worse > margin * rows
            wrong += above and stats.binom.sf(better - moved - 1, better + worse, 0.5) < 0.025
        assert wrong / 4000 < 0.03


def test_importing_it_loads_no_ml_framework() -> None:
    code = "import sys, steps.sentiment.paired; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert {"sklearn", "torch", "tensorflow", "mlflow"}.isdisjoint(done.stdout.split())
    assert "scipy" in done.stdout.split()

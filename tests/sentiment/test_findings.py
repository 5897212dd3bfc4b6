"""What the evidence says: each number follows from the scores that lie beside it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from steps.sentiment import findings
from steps.sentiment.findings import Model
from tests.sentiment.conftest import model, noisy, put


def alone(scores: list[float], labels: list[int]) -> Model:
    return Model({}, pd.DataFrame({"label": labels, "score": scores}), None)


def test_models_come_the_best_on_validation_first_with_their_human_labelled_rows(tmp_path: Path) -> None:
    run, frames = model("bert", 0.9, noisy(0, 2))
    frames["human_scores.parquet"] = pd.DataFrame({"label": [0, 1], "score": [0.2, 0.9]})
    found = findings.read(put(tmp_path, model("baseline C=2", 0.8, noisy(1, 1), 5000), (run, frames)))
    assert [one.name for one in found] == ["bert, 1,000", "baseline, 5,000"]
    assert [one.kind for one in found] == ["bert", "baseline"]
    assert found[0].human is not None
    assert found[0].human["label"].tolist() == [0, 1]
    assert found[1].human is None


def test_the_dataset_with_the_newest_training_is_taken_or_the_one_named(tmp_path: Path) -> None:
    put(tmp_path, model("bert", 0.9, noisy(0, 2)))
    put(tmp_path, model("keras", 0.8, noisy(0, 2), dataset_digest="4567", started="2026-02-01"))
    assert [one.kind for one in findings.read(tmp_path)] == ["keras"]
    assert [one.kind for one in findings.read(tmp_path, "0123")] == ["bert"]
    with pytest.raises(ValueError, match=r"no evidence of dataset 89ab in .*; there is some of \['0123', '4567'\]"):
        findings.read(tmp_path, "89ab")
    with pytest.raises(ValueError, match=r"no evidence of dataset \(any\)"):
        findings.read(tmp_path / "empty")


def test_each_family_is_shown_by_its_best_on_validation(tmp_path: Path) -> None:
    put(tmp_path, model("bert a=1", 0.9, noisy(0, 2)), model("bert a=2", 0.91, noisy(1, 2), 2000))
    put(tmp_path, model("keras", 0.8, noisy(2, 1)))
    assert [one.name for one in findings.of_families(findings.read(tmp_path))] == ["bert, 2,000", "keras, 1,000"]


def test_a_learning_curve_needs_several_sizes_and_takes_the_best_of_each(tmp_path: Path) -> None:
    put(tmp_path, model("bert", 0.8, noisy(0, 1), 100), model("bert a=1", 0.9, noisy(0, 1), 200))
    put(tmp_path, model("bert a=2", 0.85, noisy(0, 1), 200), model("keras", 0.7, noisy(0, 1), 100))
    curves = findings.learning_curves(findings.read(tmp_path))
    assert set(curves) == {"bert"}
    assert {rows: point[0] for rows, point in curves["bert"].items()} == {100: 0.8, 200: 0.9}
    assert curves["bert"][100] == pytest.approx((0.8, 0.7, 0.9))


def test_a_figure_of_the_comparison_goes_before_that_of_the_training_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (found,) = findings.read(put(tmp_path, model("bert", 0.9, noisy(0, 2), test_metrics={"train_rows": 7.0})))
    assert found.metric("train_rows") == 7
    assert found.metric("unsure_low") == 0.4
    assert math.isnan(found.metric("behaviour_typos"))


def test_the_interval_of_a_slice_is_that_of_the_bootstrap_unless_it_was_measured(tmp_path: Path) -> None:
    (found,) = findings.read(put(tmp_path, model("bert", 0.9, noisy(0, 1))))
    right = found.right[:40]
    random = np.random.default_rng(0)
    drawn = [right[random.integers(0, 40, 40)].mean() for _ in range(4000)]
    assert set(found.slices()) == {"negation", "short"}  # of links there are none
    value, low, high = found.slices()["negation"]
    assert value == pytest.approx(right.mean())
    assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.026)
    measured = {"test_accuracy_negation_low": 0.1, "test_accuracy_negation_high": 0.2}
    put(tmp_path / "more", model("bert", 0.9, noisy(0, 1), test_metrics=measured))
    assert findings.read(tmp_path / "more")[0].slices()["negation"][1:] == (0.1, 0.2)


def test_the_unsure_band_is_judged_on_the_test_rows() -> None:
    found = Model(
        {"test_metrics": {}, "training_metrics": {"unsure_low": 0.4, "unsure_high": 0.6}},
        pd.DataFrame({"label": [0, 1, 1, 1, 0], "score": [0.1, 0.9, 0.45, 0.55, 0.95]}),
        None,
    )
    assert found.unsure() == pytest.approx((0.4, 0.5, 2 / 3))


def test_agreement_is_the_share_of_equal_answers(tmp_path: Path) -> None:
    put(tmp_path, model("one", 0.9, np.array([0.9, 0.9, 0.1, 0.1])), model("two", 0.8, np.array([0.9, 0.1, 0.1, 0.2])))
    found = findings.agreement(findings.read(tmp_path))
    assert found.loc["one, 1,000", "two, 1,000"] == 0.75
    assert np.diag(found).tolist() == [1, 1]


def test_errors_that_fall_together_are_told_from_chance() -> None:
    labels = [1] * 10
    same = [alone([0.1, *[0.9] * 9], labels), alone([0.1, *[0.9] * 9], labels)]
    found = findings.wrong_together(same)
    assert found["found"].tolist() == pytest.approx([0.9, 0, 0.1])
    assert found["by chance"].tolist() == pytest.approx([0.81, 0.18, 0.01])


@pytest.mark.parametrize("share", [0.0, 0.05, 0.15])
def test_the_share_of_turned_labels_is_estimated(share: float) -> None:
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 20_000)
    scores = stats.logistic.cdf(3 * (2 * truth - 1) + random.normal(0, 1, len(truth)))
    given = np.where(random.random(len(truth)) < share, 1 - truth, truth)
    assert findings.wrong_labels(given, scores) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("disagreements", [1, 5, 6, 20, 43, 200])
def test_what_the_paired_test_needs_is_just_enough(disagreements: int) -> None:
    rights = findings.needed(disagreements)
    if rights <= disagreements:
        assert stats.binomtest(rights, disagreements).pvalue <= 0.05
    assert stats.binomtest(rights - 1, disagreements).pvalue > 0.05
    assert (rights > disagreements) == (disagreements < 6)


def test_paired_tests_tell_models_apart_or_not(tmp_path: Path) -> None:
    good = noisy(0, 2)
    found = findings.read(
        put(tmp_path, model("a", 0.9, good), model("b", 0.8, good * 0.999), model("c", 0.7, noisy(2, 0.2), 50))
    )
    assert [one.kind for one in findings.tied(found)] == ["b"]
    test = findings.paired(found[2], found[0])
    assert (test.better, test.worse) == (
        (found[2].right & ~found[0].right).sum(),
        (found[0].right & ~found[2].right).sum(),
    )
    assert findings.human_tests(found) == []


def test_a_model_that_is_surely_a_little_less_accurate_is_as_accurate_within_the_margin(tmp_path: Path) -> None:
    labels = np.tile([0, 1], 5000)
    for name, auc, wrong in (("a", 0.9, 1000), ("b", 0.8, 1030), ("c", 0.7, 1200)):
        answers = np.where(np.arange(len(labels)) < wrong, 1 - labels, labels)
        put(tmp_path, model(name, auc, 0.1 + 0.8 * answers))
    found = findings.read(tmp_path)
    assert findings.tied(found) == []
    assert [one.kind for one in findings.as_accurate(found)] == ["a", "b"]


def test_each_two_models_with_human_labelled_rows_are_tested_on_them(tmp_path: Path) -> None:
    for name, auc, scores in (("a", 0.9, [0.1, 0.9]), ("b", 0.8, [0.1, 0.2]), ("c", 0.7, [0.8, 0.2])):
        run, frames = model(name, auc, noisy(0, 1))
        put(tmp_path, (run, frames | {"human_scores.parquet": pd.DataFrame({"label": [0, 1], "score": scores})}))
    tests = findings.human_tests(findings.read(tmp_path))
    assert [(test.better, test.worse) for test in tests] == [(1, 0), (2, 0), (1, 0)]


def test_costs_are_those_that_were_measured_of_all_models(tmp_path: Path) -> None:
    costs = {"predict_ms_per_tweet": 2.0, "model_size_mb": 30.0}
    put(tmp_path, model("bert", 0.9, noisy(0, 1), test_metrics=costs))
    put(tmp_path, model("keras", 0.8, noisy(1, 1), test_metrics={"predict_ms_per_tweet": 1.0}))
    found = findings.read(tmp_path)
    quality, shown = findings.quality_by_cost(found)
    assert {family: len(of_run) for family, of_run in quality.items()} == {"bert": 1, "keras": 1}
    assert list(shown) == ["ms per tweet, in a batch"]
    assert shown["ms per tweet, in a batch"][found[0].run["run_id"]] == 2


def test_of_models_that_are_alike_the_one_that_behaves_best_is_proposed_or_else_the_smallest(tmp_path: Path) -> None:
    alike = noisy(0, 2)
    for name, auc, scores, size, failed in (
        ("bert a=1", 0.9, alike, 20.0, 0.4),
        ("bert a=2", 0.89, alike, 30.0, 0.1),
        ("keras", 0.88, alike, 10.0, 0.5),
        ("baseline", 0.6, noisy(1, 0), 5.0, 0.0),
    ):
        asked = {"model_size_mb": size, "behaviour_typo": failed, "behaviour_names": failed}
        put(tmp_path, model(name, auc, scores, test_metrics=asked))
        put(tmp_path / "unasked", model(name, auc, scores, test_metrics={"model_size_mb": size}))
    assert findings.proposed(findings.read(tmp_path)).run["name"] == "bert a=2"
    assert findings.proposed(findings.read(tmp_path)).failures == pytest.approx(0.1)
    assert findings.proposed(findings.read(tmp_path / "unasked")).run["name"] == "keras"
    assert math.isnan(findings.read(tmp_path / "unasked")[0].failures)


def test_figures_of_two_models_of_one_name_stand_apart(tmp_path: Path) -> None:
    for name, auc, failed in (("bert a=1", 0.9, 0.4), ("bert a=2", 0.8, 0.1)):
        put(tmp_path, model(name, auc, noisy(0, 2), test_metrics={"behaviour_typo": failed}))
    found = findings.read(tmp_path)
    shown = findings.measured(found, "behaviour_")
    assert shown.loc["behaviour_typo"].to_dict() == {
        f"bert, 1,000 ({one.run['run_id'][:8]})": failed for one, failed in zip(found, (0.4, 0.1), strict=True)
    }


def test_figures_that_a_later_comparison_measures_are_found_by_their_names(tmp_path: Path) -> None:
    measured = {"test_behaviour_typos": 0.1, "test_behaviour_typos_low": 0.05, "test_behaviour_names": 0.2}
    put(tmp_path, model("bert", 0.9, noisy(0, 1), test_metrics=measured), model("keras", 0.8, noisy(1, 1)))
    found = findings.measured(findings.read(tmp_path), "behaviour")
    assert found["bert, 1,000"].to_dict() == {"test_behaviour_typos": 0.1, "test_behaviour_names": 0.2}
    assert list(found) == ["bert, 1,000"]
    assert findings.measured(findings.read(tmp_path), "clean").empty

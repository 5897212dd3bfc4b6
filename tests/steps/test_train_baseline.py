"""The baseline: what it learns, what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steps import prepare, train_baseline
from steps.sentiment import bag_of_ngrams, runs
from steps.sentiment.command_line import InputError
from tests.conftest import ROOT, statuses


def test_ngrams_are_counted_and_the_rare_ones_left_out() -> None:
    counts, ngrams = bag_of_ngrams.count_ngrams(["not good at all", "not good", "good"], min_df=2, max_features=10)
    assert sorted(ngrams) == ["good", "not", "not good"]
    assert counts[:, ngrams.index("good")].toarray().ravel().tolist() == [1, 1, 1]
    assert counts[:, ngrams.index("not good")].toarray().ravel().tolist() == [1, 1, 0]


def test_the_most_frequent_ngrams_are_kept() -> None:
    _, ngrams = bag_of_ngrams.count_ngrams(["a b", "a b", "a c", "a c", "a"], min_df=2, max_features=1)
    assert ngrams == ["a"]


def test_without_any_frequent_ngram_the_step_says_what_to_lower() -> None:
    with pytest.raises(InputError, match=r"min_df=5: .*allowed: a smaller one"):
        bag_of_ngrams.count_ngrams(["one", "two three"], min_df=5, max_features=10)


def test_of_several_c_validation_chooses() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 20))
    labels = (rows[:, 0] + random.normal(size=400) > 0).astype(int)
    train, validation = (rows[:300], labels[:300]), (rows[300:], labels[300:])
    classifier, aucs = bag_of_ngrams.choose([0.001, 1.0], train, validation, seed=0)  # type: ignore[arg-type]
    assert set(aucs) == {0.001, 1.0}
    assert max(aucs, key=aucs.__getitem__) == classifier.C


def test_values_of_c_fitted_in_processes_are_those_fitted_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pd.read_csv(ROOT / "data/sample/tweets.csv")
    counts, _ = bag_of_ngrams.count_ngrams(texts["text"].tolist(), min_df=1, max_features=100_000)
    train = (counts.astype(np.float64), texts["target"].to_numpy())
    assert counts.data.size * 8 > 1e6  # more than joblib copies: the processes read it from a file
    found = []
    for enough in (10**6, 10, 10):
        monkeypatch.setattr(bag_of_ngrams, "TEXTS_FOR_TWO_CORES", enough)
        found.append(bag_of_ngrams.choose([2.0, 2.0, 4.0], train, (train[0][:500], train[1][:500]), seed=3))
    (in_turn, aucs), *in_processes = found
    assert set(aucs) == {2.0, 4.0}
    for classifier, others in in_processes:
        assert others == aucs
        assert np.array_equal(classifier.coef_, in_turn.coef_)


def test_more_rows_learn_more_and_equal_seeds_learn_the_same(store: Path) -> None:
    prepare.main([])
    for rows in ("100", "2000", "2000"):
        train_baseline.main(["--max_rows", rows, "--C", "2"])
    same, again, fewer = runs.finished(step="train_baseline")
    assert again.data.metrics["validation_roc_auc"] > fewer.data.metrics["validation_roc_auc"] + 0.02
    for metric in ("validation_roc_auc", "validation_brier", "ngrams"):
        assert same.data.metrics[metric] == again.data.metrics[metric]
    assert same.data.tags["step_key"] == again.data.tags["step_key"]
    assert fewer.data.tags["step_key"] != same.data.tags["step_key"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--dataset", "runs:/0123/dataset"], "dataset=runs:/0123/dataset: not found"),
        (["--dataset", "nowhere"], "dataset=nowhere: not a prepared dataset"),
        ([], "nothing has been prepared yet; run the entry point prepare first"),
    ],
)
def test_a_wrong_dataset_is_named_and_no_run_begins(store: Path, argv: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_baseline.main(argv)
    assert statuses() == []


def test_a_failure_in_the_middle_leaves_a_failed_run(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare.main([])

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space left"):
        train_baseline.main([])
    assert statuses() == ["FAILED", "FINISHED"]

"""The baseline: what it learns, what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from steps import prepare, train_baseline
from steps.sentiment import runs
from steps.sentiment.command_line import InputError
from tests.conftest import statuses


def test_ngrams_are_counted_and_the_rare_ones_left_out() -> None:
    counts, ngrams = train_baseline.count_ngrams(["not good at all", "not good", "good"], min_df=2, max_features=10)
    assert sorted(ngrams) == ["good", "not", "not good"]
    assert counts[:, ngrams.index("good")].toarray().ravel().tolist() == [1, 1, 1]
    assert counts[:, ngrams.index("not good")].toarray().ravel().tolist() == [1, 1, 0]


def test_the_most_frequent_ngrams_are_kept() -> None:
    _, ngrams = train_baseline.count_ngrams(["a b", "a b", "a c", "a c", "a"], min_df=2, max_features=1)
    assert ngrams == ["a"]


def test_without_any_frequent_ngram_the_step_says_what_to_lower() -> None:
    with pytest.raises(InputError, match=r"min_df=5: .*allowed: a smaller one"):
        train_baseline.count_ngrams(["one", "two three"], min_df=5, max_features=10)


def test_of_several_c_validation_chooses() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 20))
    labels = (rows[:, 0] + random.normal(size=400) > 0).astype(int)
    train, validation = (rows[:300], labels[:300]), (rows[300:], labels[300:])
    classifier, aucs = train_baseline.choose([0.001, 1.0], train, validation, seed=0)  # type: ignore[arg-type]
    assert set(aucs) == {0.001, 1.0}
    assert max(aucs, key=aucs.__getitem__) == classifier.C


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

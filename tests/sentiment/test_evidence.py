"""The results page of many networks: a grid, and no more models in a figure or in the README than can be read."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steps.sentiment import evidence, plots

EMBEDDINGS, ARCHITECTURES = ("learned", "glove"), ("average", "cnn", "lstm", "bilstm")


def one(folder: Path, name: str, auc: float, flags: dict[str, str], rows: int = 1000) -> None:
    """Write the evidence of one made-up model."""
    family = "keras" if "embedding" in flags else "baseline"
    test = {f"test_{metric}{end}": auc for metric in ("accuracy", "f1", "roc_auc") for end in ("", "_low", "_high")}
    run = {
        "name": name,
        "family": family,
        "run_id": f"{name:0>32}",
        "commit": "0" * 40,
        "dataset_digest": "0123",
        "dataset_source": "made.csv",
        "flags": flags,
        "training_metrics": {"train_rows": rows, "train_seconds": 1.0, "model_size_mb": 1.0}
        | ({"oov_share": 0.125} if "embedding" in flags else {}),
        "test_metrics": test
        | {
            "validation_roc_auc": auc,
            "train_rows": rows,
            "test_ece": 0.01,
            "predict_ms_per_tweet": 0.1,
            "predict_ms_single": 0.2,
        },
        "test_rows": 40,
        "human_test_rows": 0,
    }
    random = np.random.default_rng(0)
    scores = pd.DataFrame({"label": np.tile([0, 1], 20), "score": random.uniform(size=40), "negation": True})
    evidence.write(folder / "0123" / f"{family}-{name}", run, {"scores.parquet": scores})


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Evidence of a baseline, eight networks on 1,000 rows, one of them again on 5,000, and one tuned."""
    one(tmp_path, "baseline", 0.8, {"C": "2"})
    for number, (embedding, architecture) in enumerate(itertools.product(EMBEDDINGS, ARCHITECTURES)):
        flags = {"embedding": embedding, "architecture": architecture}
        one(tmp_path, f"{embedding} {architecture}", 0.81 + number / 1000, flags)
    one(tmp_path, "large", 0.9, {"embedding": "glove", "architecture": "lstm"}, rows=5000)
    one(tmp_path, "tuned", 0.85, {"embedding": "glove", "architecture": "cnn,lstm", "trials": "20"})
    return tmp_path


def test_networks_on_equal_rows_make_a_grid(many: Path, tmp_path: Path) -> None:
    page = evidence.page(many, tmp_path / "figures")
    assert page.count("ROC AUC of embedding by architecture") == 1
    grid = page.split("ROC AUC of embedding by architecture, 1,000 training tweets:")[1].strip().splitlines()
    assert [cell.strip() for cell in grid[0].split("|")[1:-1]] == ["embedding", *reversed(ARCHITECTURES)]
    assert [cell.strip() for cell in grid[2].split("|")[1:-1]] == ["glove", "0.8170", "0.8160", "0.8150", "0.8140"]
    assert [cell.strip() for cell in grid[3].split("|")[1:-1]] == ["learned", "0.8130", "0.8120", "0.8110", "0.8100"]


def test_the_table_holds_all_with_their_unknown_words_and_the_slices_the_best(many: Path, tmp_path: Path) -> None:
    page = evidence.page(many, tmp_path / "figures")
    table, slices = page.split("Accuracy by slice:")
    assert table.count("| 12.5% ") == 10
    header = slices.strip().splitlines()[0]
    assert header.count("|") == 3 + plots.MOST
    assert "large" in header
    assert "baseline" not in header


def test_the_readme_shows_the_best_three_of_each_family(many: Path) -> None:
    rows = evidence.summary(many).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["large", "tuned", "glove bilstm", "baseline"]


def test_the_readme_shows_the_bundled_model_wherever_it_ranks(many: Path) -> None:
    *_, bundled, _ = (run for run, _ in evidence.read(many))
    rows = [row.split("|")[1].strip() for row in evidence.summary(many, bundled["run_id"]).splitlines()[2:]]
    assert rows == ["large", "tuned", "glove bilstm", bundled["name"], "baseline"]


def test_few_networks_make_no_grid(tmp_path: Path) -> None:
    one(tmp_path, "alone", 0.8, {"embedding": "glove", "architecture": "cnn"})
    assert "embedding by architecture" not in evidence.page(tmp_path, tmp_path / "figures")


def test_titles_leave_the_flags_out_where_no_two_models_become_one(tmp_path: Path) -> None:
    keras = {"embedding": "glove", "architecture": "cnn"}
    one(tmp_path, "glove cnn epochs=3", 0.9, keras)
    one(tmp_path, "baseline C=2", 0.8, {"C": "2"})
    one(tmp_path, "baseline C=4", 0.79, {"C": "4"})
    one(tmp_path, "baseline C=8", 0.78, {"C": "8"}, rows=5000)
    rows = [line.split("|")[1].strip() for line in evidence.summary(tmp_path).splitlines()[2:]]
    assert rows == ["glove cnn", "baseline C=2", "baseline C=4", "baseline, 5,000 tweets"]


def test_a_model_of_many_sizes_has_a_learning_curve(many: Path, tmp_path: Path) -> None:
    assert "learning curves" not in evidence.page(many, tmp_path / "none")
    for number, rows in enumerate((100, 1000, 10_000, 100_000)):
        one(many, f"bert max_rows={rows}", 0.7 + number / 20, {"encoder": "minilm"}, rows)
    one(many, "bert max_rows=1000 epochs=9", 0.71, {"encoder": "minilm"}, 1000)  # worse on validation than the other
    page = evidence.page(many, tmp_path / "figures")
    assert (tmp_path / "figures/0123-learning_curves.png").is_file()
    assert "![learning curves](results/figures/0123-learning_curves.png)" in page
    table = page.split("| ROC AUC by training tweets")[1].splitlines()
    assert [cell.strip() for cell in table[0].split("|")[1:-1]] == ["100", "1,000", "10,000", "100,000"]
    assert [cell.strip() for cell in table[2].split("|")[1:-1]] == ["bert", "0.7000", "0.7500", "0.8000", "0.8500"]

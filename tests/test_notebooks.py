"""The notebooks: each runs on a fresh clone, and what is stored was run on real tweets and shows none of them."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from steps.sentiment import bundled, findings, notebooks
from steps.sentiment.dataset import fold
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
#: Seconds for a cell on a slow machine; the whole of one takes a few on a fast one.
PATIENCE = 120


def stored(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def prose(notebook: nbformat.NotebookNode) -> str:
    """Return what the outputs say, without the names of figures and their sizes."""
    return "\n".join(text for text in notebooks.shown(notebook) if not text.startswith("<"))


def fragments(notebook: nbformat.NotebookNode) -> list[str]:
    """Return every line, table cell and quotation of the outputs that is long enough to be a tweet."""
    parts = {part for text in notebooks.shown(notebook) for part in re.split(r"[\n|*`\"“”]|(?<=[.:;]) ", text)}
    return [part for part in parts if len(part.split()) >= 3]


@pytest.fixture(autouse=True)
def fresh_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the project's folder, with nothing named that only this machine has."""
    monkeypatch.chdir(ROOT)
    for name in ("NOTEBOOK_DATASET", "NOTEBOOK_DATA", "NOTEBOOK_DIGEST"):
        monkeypatch.delenv(name, raising=False)


def test_both_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["exploration", "modelling"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_ran_whole_and_names_no_machine_and_no_user(path: Path) -> None:
    notebook = stored(path)
    assert notebooks.flaws(notebook) == []
    assert sum(kind == "image/png" for output in notebooks.outputs(notebook) for kind in output.get("data", {})) >= 7


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_quotes_no_real_tweet(path: Path) -> None:
    # The bundled model's file of hashes knows 500,000 real tweets; a hash of 32 bits meets a stranger's once in 8,000 times.
    parts = fragments(stored(path))
    assert len(parts) > 30
    assert bundled.seen(parts) == 0


def test_exploration_is_stored_as_run_on_real_tweets() -> None:
    page = prose(stored(ROOT / "docs/notebooks/exploration.ipynb"))
    assert re.search(r"Source: \*\*sentiment140\S*\*\*, prepared as dataset `[0-9a-f]{16}`", page)
    for word in ("16 June 2009", "authors who wrote several", "both labels"):
        assert word in re.sub(r"\s+", " ", page)


def test_exploration_runs_on_the_sample_and_says_what_it_lacks() -> None:
    notebook = notebooks.execute(ROOT / "docs/notebooks/exploration.ipynb", seconds=PATIENCE)
    assert notebooks.flaws(notebook) == []
    page = prose(notebook)
    assert "Source: **sample**" in page
    assert "No text repeats in this source." in page
    assert "neither dates nor authors" in page


def test_modelling_says_again_what_is_stored() -> None:
    path = ROOT / "docs/notebooks/modelling.ipynb"
    notebook = notebooks.execute(path, seconds=PATIENCE)
    assert notebooks.flaws(notebook) == []
    assert prose(notebook) == prose(stored(path)), "the evidence has changed: make notebooks FLAGS='--names modelling'"


def test_modelling_shows_what_a_later_comparison_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLproject", "steps"):
        (tmp_path / name).symlink_to(ROOT / name)
    found = findings.of_families(findings.read(ROOT / "docs/results/evidence"))
    for model in found:
        folder = f"docs/results/evidence/{model.run['dataset_digest']}/{model.run['family']}-{model.run['run_id'][:8]}"
        shutil.copytree(ROOT / folder, tmp_path / folder)
        model.run["labels"] = {"suspect_rows": 1234}
        model.run["test_metrics"] |= {"behaviour_used_to_but_now": 0.321, "cleaned_by_others_test_accuracy": 0.91234}
        (tmp_path / folder / "run.json").write_text(json.dumps(model.run))
    monkeypatch.chdir(tmp_path)
    notebook = notebooks.execute(ROOT / "docs/notebooks/modelling.ipynb", seconds=PATIENCE)
    assert notebooks.flaws(notebook) == []
    page = prose(notebook)
    assert "1,234 labels" in page
    assert re.search(r"\| by others, accuracy +\| 0\.9123", page)
    assert "no such measurement" not in page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_opens_the_test_split_or_cleans_texts_by_itself(path: Path) -> None:
    code = "\n".join(cell.source for cell in stored(path).cells if cell.cell_type == "code")
    assert not re.search(r"""\.split\(["']test|human_test\(|tweets\.parquet|\.lower\(|unescape|ftfy""", code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_figures_stand_between_words_and_links_lead_somewhere(path: Path) -> None:
    cells = stored(path).cells
    assert cells[0].cell_type == cells[-1].cell_type == "markdown"
    for cell in cells:
        drawn = sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
        assert drawn <= 2, cell.source
        for target in re.findall(r"\]\(([^)\s]+)\)", cell.source if cell.cell_type == "markdown" else ""):
            assert (path.parent / target).exists(), target


def test_the_examples_are_the_samples_own() -> None:
    own = {fold(text) for text in (ROOT / "data/sample/tweets.csv").read_text(encoding="utf-8").splitlines()}
    page = prose(stored(ROOT / "docs/notebooks/exploration.ipynb"))
    (shown,) = re.findall(r"repaired: +(.+) <3", page)
    assert any(fold(shown) in line for line in own)

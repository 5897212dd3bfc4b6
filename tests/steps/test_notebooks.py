"""notebooks: all are stored with figures of real data, or none is touched."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from steps import notebooks
from steps.sentiment import dataset, sources
from steps.sentiment import notebooks as library
from steps.sentiment.command_line import InputError, RefusedError
from steps.sentiment.dataset import Options
from tests.conftest import ROOT

READS = (
    "import os\nprint(os.path.basename(os.environ['NOTEBOOK_DATASET']), os.path.basename(os.environ['NOTEBOOK_DATA']))"
)


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A dataset prepared from a file of one's own, in a working directory with two small notebooks that were never run."""
    monkeypatch.chdir(tmp_path)
    pd.read_csv(ROOT / "data/sample/tweets.csv").sample(400, random_state=0).to_csv("diary.csv", index=False)
    made = dataset.prepare(sources.read(Path("diary.csv")), Options())
    manifest = {"source": "diary.csv", "parameters": {"data": "diary.csv"}}
    folder = dataset.write(Path("data/processed"), {}, made, manifest)
    page("exploration", READS)
    page("modelling", "print('nine models')")
    return str(folder)


def page(name: str, source: str) -> None:
    """Write a notebook of one cell that was not run."""
    Path("docs/notebooks").mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), f"docs/notebooks/{name}.ipynb")


def said(name: str) -> list[str]:
    """Return what a stored notebook shows."""
    return library.shown(nbformat.read(f"docs/notebooks/{name}.ipynb", as_version=4))


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("docs/notebooks").iterdir()}


def test_both_are_stored_with_what_they_show(real: str, capsys: pytest.CaptureFixture[str]) -> None:
    notebooks.main(["--dataset", real])
    assert said("exploration") == [f"{Path(real).name} diary.csv\n"]
    assert said("modelling") == ["nine models\n"]
    assert str(Path.cwd()) not in "".join(map(str, contents().values()))
    assert "docs/notebooks/exploration.ipynb" in capsys.readouterr().out


def test_the_raw_tweets_can_be_named_and_one_notebook_alone_run(real: str) -> None:
    Path("diary.csv").rename("elsewhere.csv")
    notebooks.main(["--dataset", real, "--data", "elsewhere.csv", "--names", "exploration"])
    assert said("exploration") == [f"{Path(real).name} elsewhere.csv\n"]
    assert said("modelling") == []


def test_modelling_alone_needs_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page("modelling", "print('nine models')")
    notebooks.main(["--names", "modelling"])
    assert said("modelling") == ["nine models\n"]


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("modelling", "print('@quokkaqueen said so')", "a handle: @quokkaqueen"),
        ("modelling", "import os\nprint(os.getcwd())", "a path: /"),
        ("modelling", "import warnings\nwarnings.warn('careful')", "a warning"),
        ("modelling", "1 / 0", "a cell failed: ZeroDivisionError"),
        (
            "exploration",
            "import os\nimport pandas as pd\nrows = pd.read_parquet(os.environ['NOTEBOOK_DATASET'] + '/tweets.parquet')\n"
            "rows = rows[(rows['split'] == 'train') & ~rows['text'].str.contains('@')]\n"
            "print(rows['text'][rows['text'].str.count(' ') > 5].iloc[0])",
            "1 of the tweets",
        ),
    ],
)
def test_nothing_is_stored_when_one_may_not_be(real: str, name: str, source: str, message: str) -> None:
    page(name, source)
    before = contents()
    with pytest.raises(RefusedError, match=message):
        notebooks.main(["--dataset", real])
    assert contents() == before


def test_the_newest_prepared_is_taken_and_the_bundled_sample_refused(prepared: Path) -> None:
    with pytest.raises(InputError, match="the bundled sample, and notebooks are stored with figures of real tweets"):
        notebooks.main([])


def test_raw_tweets_that_are_gone_are_named(real: str) -> None:
    Path("diary.csv").unlink()
    before = contents()
    with pytest.raises(InputError, match=r"no such file: diary\.csv; allowed"):
        notebooks.main(["--dataset", real])
    assert contents() == before


def test_an_unknown_notebook_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        notebooks.main(["--names", "modeling"])
    assert stop.value.code == 2
    assert "--names: got 'modeling'; allowed: exploration, modelling" in capsys.readouterr().err

"""article: both texts and their figures from what was recorded, all of them or none."""

import json
import shutil
from pathlib import Path

import pytest

from steps import article
from steps.sentiment.command_line import InputError
from tests.conftest import ROOT

STORED = ROOT / "docs/blog"


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the recorded figures alone."""
    monkeypatch.chdir(tmp_path)
    Path("docs/blog").mkdir(parents=True)
    shutil.copy(STORED / "figures.json", "docs/blog")
    return tmp_path / "docs/blog/figures.json"


def test_articles_figures_and_what_they_were_made_from_lie_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    article.main([])
    found = {path.name for path in Path("docs/blog").iterdir()}
    assert found == {path.name for path in STORED.iterdir()}
    assert (STORED / "figures.json").read_bytes() == Path("docs/blog/figures.json").read_bytes()
    assert capsys.readouterr().out == "article: docs/blog/: monitoring.md, suivi-en-production.md\n"


def test_other_figures_make_another_text(recorded: Path) -> None:
    figures = json.loads(recorded.read_text())
    figures["delivery"]["stock"]["burst"]["arrived"] = 5632
    recorded.write_text(json.dumps(figures))
    article.main([])
    assert "| 20,000 events in a burst | 5,632 | 20,000 |" in Path("docs/blog/monitoring.md").read_text()
    french = Path("docs/blog/suivi-en-production.md").read_text()
    assert "| 20\u202f000 événements en rafale | 5\u202f632 | 20\u202f000 |" in french


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), ("{", "Expecting property name")])
def test_figures_that_are_missing_or_broken_are_named(recorded: Path, content: str | None, reason: str) -> None:
    recorded.unlink() if content is None else recorded.write_text(content)
    with pytest.raises(InputError, match=rf"docs/blog/figures\.json: .*{reason}.*make article-figures"):
        article.main([])
    assert not Path("docs/blog/monitoring.md").exists()

"""report: slides as Markdown, HTML and PDF, all of them or none."""

import shutil
from pathlib import Path

import pytest

from steps import report
from steps.sentiment import slides
from steps.sentiment.command_line import InputError, RefusedError
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with the project's evidence alone, on a machine without a browser."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "docs/results/evidence", "docs/results/evidence")
    monkeypatch.setattr(slides, "browser", lambda: None)


def prints(text: str):
    """Return what stands for the browser: it writes a file, and looks at the page that it is given."""

    def print_page(program: str, source: Path, target: Path) -> None:
        assert source.read_text(encoding="utf-8").startswith("<!doctype html>")
        target.write_text(text)

    return print_page


def made() -> set[str]:
    return {path.name for path in Path("docs/report").iterdir()}


def test_slides_are_written_in_all_forms(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(slides, "browser", lambda: "chromium")
    monkeypatch.setattr(slides, "print_page", prints("a PDF"))
    report.main([])
    assert made() == {"results.md", "results.html", "results.pdf", "figures"}
    assert capsys.readouterr().out == "report: docs/report/: results.md, results.html, results.pdf\n"


def test_without_a_browser_an_older_pdf_does_not_stay(capsys: pytest.CaptureFixture[str]) -> None:
    Path("docs/report").mkdir()
    Path("docs/report/results.pdf").write_text("of last week")
    report.main([])
    assert made() == {"results.md", "results.html", "figures"}
    assert "no PDF without Chromium" in capsys.readouterr().out


def test_what_was_there_stays_when_printing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(program: str, source: Path, target: Path) -> None:
        raise RefusedError("chromium could not print")

    report.main([])
    before = {path: path.read_bytes() for path in Path("docs/report").rglob("*.*")}
    monkeypatch.setattr(slides, "browser", lambda: "chromium")
    monkeypatch.setattr(slides, "print_page", fails)
    with pytest.raises(RefusedError, match="could not print"):
        report.main([])
    assert {path: path.read_bytes() for path in Path("docs/report").rglob("*.*")} == before
    assert [path.name for path in Path("docs").iterdir() if path.name.startswith(".")] == []


def test_a_dataset_without_evidence_is_named() -> None:
    with pytest.raises(
        InputError, match="digest=0123: no evidence of dataset 0123 in docs/results/evidence; there is some of"
    ):
        report.main(["--digest", "0123"])
    assert not Path("docs/report").exists()

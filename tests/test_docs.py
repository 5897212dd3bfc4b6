"""Documentation that cannot drift: README, MLproject and flags agree, and every figure comes from the evidence."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from steps.sentiment import article, evidence, findings, incidents, metrics, slides
from tests import abuse
from tests.conftest import ROOT
from tests.sentiment.test_alert import SCHEDULE

README = (ROOT / "README.md").read_text(encoding="utf-8")
BUNDLED = json.loads((ROOT / "data/champion/champion.json").read_text(encoding="utf-8"))
ENTRY_POINTS = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]
EVIDENCE = ROOT / "docs/results/evidence"
RUNS = sorted(EVIDENCE.glob("*/*/run.json"))
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "data/README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/blog/*.md"),
        *ROOT.glob("docs/report/*.md"),
        *ROOT.glob(".github/*.md"),
    ]
)


def defaults(name: str) -> dict[str, str]:
    return {flag: block["default"] for flag, block in ENTRY_POINTS[name].get("parameters", {}).items()}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_flags_of_a_step_are_the_parameters_of_its_entry_point(name: str) -> None:
    package = "steps" if (ROOT / f"steps/{name}.py").is_file() else "registry_scripts"
    step = importlib.import_module(f"{package}.{name}")
    assert step.flags().read([]).texts == defaults(name)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_readme_lists_every_entry_point_with_its_flags(name: str) -> None:
    row = re.search(rf"^\| `{name}` \| (.+) \| (.*) ?\|$", README, re.MULTILINE)
    assert row
    assert row[1].strip()
    assert row[2].strip() == " ".join(f"`{flag}={default}`" for flag, default in defaults(name).items())


def test_readme_names_every_make_target_it_uses() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name for page in PAGES for name in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", page.read_text())} - {
        "sure",
        "the",
    } <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            linked = page.parent / file if file else page
            assert linked.exists(), target
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
            assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_there_is_evidence_of_real_data() -> None:
    assert RUNS


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_logged_figures_follow_from_the_logged_scores(path: Path) -> None:
    run = json.loads(path.read_text())
    for name, file in (("test", "scores.parquet"), ("human_test", "human_scores.parquet")):
        if name == "human_test" and not run["human_test_rows"]:
            continue
        rows = pd.read_parquet(path.with_name(file))
        assert len(rows) == run[f"{name}_rows"]
        found = metrics.evaluate(rows["label"].to_numpy(), rows["score"].to_numpy())
        for metric in ("accuracy", "roc_auc"):
            assert found[metric] == pytest.approx(run["test_metrics"][f"{name}_{metric}"], abs=2e-4)


@pytest.mark.parametrize(
    "path", sorted(EVIDENCE.glob("*/*/*.parquet")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_evidence_holds_no_text_user_or_id(path: Path) -> None:
    rows = pd.read_parquet(path)
    assert "score" in rows
    assert {str(kind) for kind in rows.dtypes} <= {"int8", "bool", "float32"}


def test_evidence_holds_no_other_file() -> None:
    # The table of errors above all: it holds tweets, and stays with the run of the comparison.
    allowed = {"run.json", "scores.parquet", "human_scores.parquet"}
    assert {path.name for path in EVIDENCE.rglob("*") if path.is_file()} <= allowed
    assert {path.suffix for path in (ROOT / "docs/results/figures").iterdir()} == {".png"}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.parent.name)
def test_slices_were_measured_on_the_logged_rows(path: Path) -> None:
    run, rows = json.loads(path.read_text()), pd.read_parquet(path.with_name("scores.parquet"))
    right = (rows["score"] >= 0.5) == rows["label"].astype(bool)
    for name in rows.columns.difference(["label", "score"]):
        assert np.isclose(right[rows[name]].mean(), run["test_metrics"][f"test_accuracy_{name}"], atol=2e-4)


def test_results_page_and_readme_table_are_made_from_the_evidence(tmp_path: Path) -> None:
    assert (ROOT / "docs/results.md").read_text(encoding="utf-8") == evidence.page(EVIDENCE, tmp_path)
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {path.name for path in (ROOT / "docs/results/figures").iterdir()}
    assert evidence.with_block(README, "results", evidence.summary(EVIDENCE, BUNDLED["run_id"])) == README


def test_the_readme_names_the_model_that_comes_with_the_project() -> None:
    assert f"*{BUNDLED['name']}*" in README
    assert f"| {BUNDLED['name']} " in README


def test_the_table_of_abuse_is_that_of_the_cases_that_are_tested() -> None:
    page = abuse.PAGE.read_text(encoding="utf-8")
    assert evidence.with_block(page, "abuse", abuse.tables()) == page, "python tests/abuse.py"
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/steps/test_serve*.py"))
    assert {name for *_, name in abuse.FAULTS} <= set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))


def test_slides_are_made_from_the_evidence(tmp_path: Path) -> None:
    stored = ROOT / "docs/report"
    text = slides.markdown(findings.read(EVIDENCE), tmp_path / "figures")
    assert (stored / "results.md").read_text(encoding="utf-8") == text, "make report"
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {path.name for path in (stored / "figures").iterdir()}
    image = re.compile(r"base64,[^\"]+")  # another processor may draw a pixel otherwise
    page = (stored / "results.html").read_text(encoding="utf-8")
    assert image.sub("", page) == image.sub("", slides.page(text, tmp_path))
    assert slides.page(text, stored) == page


def test_the_pdf_is_that_of_the_slides_and_small() -> None:
    stored = ROOT / "docs/report"
    title = slides.title((stored / "results.md").read_text(encoding="utf-8"))
    pdf = (stored / "results.pdf").read_bytes()
    assert title.replace("(", "\\(").replace(")", "\\)").encode() in pdf, "make report"
    assert len(pdf) < 1_000_000


ARTICLE_FIGURES = json.loads((ROOT / "docs/blog" / article.FIGURES).read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", article.ARTICLES)
def test_articles_are_made_from_their_figures(language: str) -> None:
    text = (ROOT / "docs/blog" / article.ARTICLES[language]).read_text(encoding="utf-8")
    assert text == article.markdown(ARTICLE_FIGURES, language), "make article"
    named = set(re.findall(r"!\[[^]]+\]\(([^)]+)\.png\)", text))
    assert named == set(article.drawn(ARTICLE_FIGURES, language))
    for name in named:
        assert (ROOT / f"docs/blog/{name}.png").stat().st_size < 150_000


def test_the_articles_are_as_long_as_a_reader_bears_and_show_the_same_figures() -> None:
    texts = [(ROOT / "docs/blog" / name).read_text(encoding="utf-8") for name in article.ARTICLES.values()]
    for text in texts:
        prose = re.sub(r"^```.*?^```|^\|[^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)
        assert 1200 <= len(re.findall(r"\S*\w\S*", prose)) <= 2000
    tables = [re.findall(r"^\|.*", text, re.MULTILINE) for text in texts]
    english, french = ([re.sub(r"(?<=\d)[,.\u202f](?=\d)", "", line) for line in lines] for lines in tables)
    assert [re.findall(r"\d+", line) for line in english] == [re.findall(r"\d+", line) for line in french]


def test_incidents_in_the_articles_are_those_that_are_drawn() -> None:
    drawn = json.loads(json.dumps(incidents.study(SCHEDULE)))
    assert flat(drawn) == pytest.approx(flat(ARTICLE_FIGURES["simulated"]), abs=1e-6)


def flat(value: object, name: str = "") -> dict[str, float]:
    """Return the numbers of nested objects and lists by their paths."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        return {name: value}  # type: ignore[dict-item]
    return {path: number for key, one in inner for path, number in flat(one, f"{name}/{key}").items()}


def test_no_page_speaks_of_a_machine_or_shows_a_private_path() -> None:
    for page in PAGES:
        assert not re.search(r"/work/|/root/|/tmp/", page.read_text(encoding="utf-8")), page

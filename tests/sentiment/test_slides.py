"""Slides say what the evidence says, need no other file, and are printed whole or with a clear line."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from steps.sentiment import findings, slides
from steps.sentiment.command_line import RefusedError
from tests.sentiment.conftest import model, noisy, put

COSTS = {"predict_ms_per_tweet": 2.0, "predict_ms_single": 3.0, "model_size_mb": 30.0, "train_seconds": 60.0}
REACHED = COSTS | {"test_ece": 0.0123, "test_accuracy": 0.8, "test_accuracy_low": 0.75, "test_accuracy_high": 0.85}


class Page(HTMLParser):
    """Tags and where they point; fails on a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in {"meta", "img", "br", "hr"}:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def made(folder: Path, human: bool = False, **more: float) -> list[findings.Model]:
    """Return two made-up models, an encoder of 1,000 tweets and a baseline of 5,000."""
    for name, auc, skill, rows in (("bert a=1", 0.9, 2.0, 1000), ("baseline", 0.8, 0.5, 5000)):
        metrics = REACHED | more
        scores = noisy(len(name), skill)
        accuracy = float(((scores >= 0.5) == (pd.Series(range(len(scores))) % 2)).mean())
        for kind in ("test_accuracy", *(["human_test_accuracy"] if human else [])):
            metrics |= {kind: accuracy, f"{kind}_low": accuracy - 0.05, f"{kind}_high": accuracy + 0.05}
        run, frames = model(name, auc, scores, rows, test_metrics=metrics, human_test_rows=4)
        if human:
            frames["human_scores.parquet"] = pd.DataFrame({"label": [0, 1, 0, 1], "score": [0.1, 0.9, 0.2, 0.8]})
        put(folder, (run, frames))
    return findings.read(folder)


def test_numbers_are_those_of_the_models(tmp_path: Path) -> None:
    models = made(tmp_path / "evidence")
    text = slides.markdown(models, tmp_path / "figures")
    first, second = models
    assert "2 models of 2 families" in text
    assert f"| bert | 1,000 | {first.metric('test_accuracy'):.3f} [" in text
    assert "differ by **1.2%** on average" in text
    assert f"worth **{100 * (first.metric('test_accuracy') - second.metric('test_accuracy')):.1f} points**" in text
    assert "surely better than each of the others" in text
    assert "has seen 20% of the 5,000 tweets that there are" not in text  # no model of several sizes: no such slide
    assert f"**Serve bert** (run `{first.run['run_id'][:8]}`, 30 MB): it is the best." in text


def test_slides_without_evidence_for_them_are_left_out(tmp_path: Path) -> None:
    text = slides.markdown(made(tmp_path / "few"), tmp_path / "figures")
    assert not re.search("people's labels|How it behaves|More tweets", text)
    more = slides.markdown(made(tmp_path / "more", human=True, behaviour_typos=0.25), tmp_path / "all")
    assert "tweets labelled by people, on other subjects" in more
    assert "tells 0 apart" in more
    assert "How it behaves" in more
    for path, said in (("figures", text), ("all", more)):
        named = re.findall(rf"!\[[^]]+\]\({path}/(\w+)\.png\)", said)
        assert sorted(named) == sorted(file.stem for file in (tmp_path / path).iterdir())


def test_a_model_that_has_not_seen_all_tweets_is_told_from_one_that_has(tmp_path: Path) -> None:
    for name, auc, rows in (("bert", 0.9, 1000), ("keras", 0.7, 1000), ("keras a=1", 0.8, 5000)):
        put(tmp_path, model(name, auc, noisy(rows, auc), rows, test_metrics=REACHED))
    text = slides.markdown(findings.read(tmp_path), tmp_path / "figures")
    assert "Of 1 kinds of model that were trained on several numbers of tweets, 1 ranks the test tweets better" in text
    assert (
        "*bert* has seen 20% of the 5,000 tweets that there are. **What it makes of the rest has not been measured**"
        in text
    )
    put(tmp_path, model("bert b=1", 0.95, noisy(5, 2), 5000, test_metrics=REACHED))
    assert "*bert* has seen all the tweets" in slides.markdown(findings.read(tmp_path), tmp_path / "figures")


def test_models_that_are_tied_are_said_to_be_and_the_smaller_one_is_proposed(tmp_path: Path) -> None:
    scores = noisy(0, 2)
    kinds = (("ensemble", 0.9, 90.0), ("bert", 0.89, 20.0))
    for name, auc, size in kinds:
        put(tmp_path, model(name, auc, scores, test_metrics=REACHED | {"model_size_mb": size}))
    text = slides.markdown(models := findings.read(tmp_path), tmp_path / "figures")
    assert "cannot tell it from bert**." in text
    assert (
        f"**Serve bert** (run `{models[1].run['run_id'][:8]}`, 20 MB): of the 2 models that are not surely less accurate "
        "than the best on validation by more than 0.5%, it is the smallest." in text
    )


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    text = slides.markdown(made(tmp_path / "evidence", human=True), tmp_path / "figures")
    page = slides.page(text, tmp_path)
    found = Page(page)
    assert found.tags.count("section") == text.count("\n---\n") + 1
    assert len(found.sources) == text.count("](figures/") == found.tags.count("figure")
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    assert "@import" not in page
    assert "script" not in found.tags
    assert "**" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_the_title_tells_which_text_it_is_of() -> None:
    one, other = slides.title("# Buzz\n\n86 %"), slides.title("# Buzz\n\n87 %")
    assert re.fullmatch(r"Buzz \([0-9a-f]{8}\)", one)
    assert one != other
    assert f"<title>{one}</title>" in slides.page("# Buzz\n\n86 %", Path())


def program(folder: Path, body: str) -> str:
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_page_is_printed_by_the_program_named(tmp_path: Path) -> None:
    script = """for flag; do case "$flag" in --print-to-pdf=*) target="${flag#*=}";; file://*) source="$flag";; esac; done
    echo "$source" > "$target" """
    slides.print_page(program(tmp_path, script), tmp_path / "a page.html", tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_text() == f"{(tmp_path / 'a page.html').as_uri()}\n"


@pytest.mark.parametrize(
    ("script", "message"), [("echo no display >&2; exit 3", "no display"), ("exit 0", "exit code 0")]
)
def test_a_page_that_is_not_printed_is_one_clear_line(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(RefusedError, match=rf"could not print .*page\.html: {message}"):
        slides.print_page(program(tmp_path, script), tmp_path / "page.html", tmp_path / "page.pdf")


def test_a_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "PATIENCE", 1)
    with pytest.raises(RefusedError, match="took more than 1 s"):
        slides.print_page(program(tmp_path, "exec sleep 30"), tmp_path / "page.html", tmp_path / "page.pdf")

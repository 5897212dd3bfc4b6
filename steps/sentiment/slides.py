"""The results as slides: Markdown from the evidence, one self-contained HTML page from the Markdown, a PDF from the page.

Slides are separated by a line `---`. No figure is typed: `slides.md.jinja` holds the sentences, the evidence the numbers.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import jinja2
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from steps.sentiment import findings, plots
from steps.sentiment.command_line import RefusedError
from steps.sentiment.findings import Model
from steps.sentiment.plots import Interval

#: Programs that print a page, in the order in which they are looked for.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: Tests of behaviour on their slide, those that the proposed model fails most.
BEHAVIOURS = 12
#: Seconds that printing may take.
PATIENCE = 120

_FOLDER = Path(__file__).parent
_IMAGE = re.compile(r'<p><img src="([^"]+)" alt="([^"]*)" */></p>')


def markdown(models: list[Model], figures: Path) -> str:
    """Return the slides in Markdown and write the figures that they name into the folder `figures`.

    Args:
        models: of one dataset, the best on validation first, as `findings.read` returns them.
        figures: a folder; the Markdown lies beside it.
    """
    best, proposed = findings.of_families(models), findings.proposed(models)
    curves = findings.learning_curves(models)
    doubted = [findings.wrong_labels(model.labels, model.scores["score"].to_numpy()) for model in best]
    figures.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn(models, best, proposed).items():
        width, height = figure.get_size_inches()
        figure.set_size_inches(0.8 * width, 0.8 * height)  # the letters stay: they are read from afar
        figure.savefig(figures / f"{name}.png", dpi=140)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": "{:.1%}".format, "whole": "{:,.0f}".format, "p": _p_value, "interval": _interval}
    template = environment.from_string((_FOLDER / "slides.md.jinja").read_text(encoding="utf-8"))
    return (
        template.render(
            models=models,
            best=best,
            first=best[0],
            proposed=proposed,
            alike=findings.as_accurate(models),
            baseline=next((model for model in best if model.run["family"] == "baseline"), best[-1]),
            findings=findings,
            most=max(model.metric("train_rows") for model in models),
            doubted=doubted,
            curves=curves,
            grown=sum(curve[max(curve)] > curve[min(curve)] for curve in curves.values()),
            figures=figures.name,
            drawn={path.stem for path in figures.glob("*.png")},
        ).rstrip()
        + "\n"
    )


def drawn(models: list[Model], best: list[Model], proposed: Model) -> dict[str, Figure]:
    """Return the figures of the slides by name; those that the evidence has nothing for are left out."""
    scores = {model.name: model.scores["score"].to_numpy() for model in best}
    found = {
        "cost": plots.by_cost(*findings.quality_by_cost(models), "ROC AUC"),
        "calibration": plots.curves(best[0].labels, scores, "test")["calibration"],
        "slices": plots.intervals(
            {model.name: dict(sorted(model.slices().items(), key=lambda one: one[1])) for model in (best[0], best[-1])},
            "Accuracy by kind of tweet",
            "accuracy",
        ),
        "together": plots.side_by_side(
            100 * findings.wrong_together(best), "How many of the models are wrong", "models", "test tweets, %"
        ),
    }
    if curves := findings.learning_curves(models):
        found["learning_curves"] = plots.learning_curves(curves)
    if human := [model for model in best if model.human is not None]:
        found["people"] = plots.intervals(
            {
                "labelled by people": {model.name: model.interval("human_test_accuracy") for model in human},
                "labelled by emoticons": {model.name: model.interval("test_accuracy") for model in human},
            },
            "Accuracy on two kinds of labels",
            "accuracy",
        )
    behaviour = findings.measured(list(dict.fromkeys([proposed, *best])), "behaviour_")
    if not behaviour.empty:
        behaviour = behaviour.sort_values(behaviour.columns[0], ascending=False).head(BEHAVIOURS)
        behaviour.index = behaviour.index.str.removeprefix("behaviour_").str.replace("_", " ")
        found["behaviour"] = plots.matrix(behaviour, "Cases that fail")
    return found


def _interval(found: Interval) -> str:
    value, low, high = found
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _p_value(value: float) -> str:
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def title(text: str) -> str:
    """Return the title of slides in Markdown with a digest of their text, which tells of a PDF what it was made from."""
    heading = re.search(r"^# (.+)$", text, re.MULTILINE)
    return f"{heading[1] if heading else 'Results'} ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def page(text: str, folder: Path) -> str:
    """Return slides in Markdown as one HTML page that needs no other file.

    Args:
        text: the Markdown.
        folder: where its figures are looked for.
    """
    read = MarkdownIt("commonmark").enable("table")

    def image(found: re.Match[str]) -> str:
        content = base64.b64encode((folder / found[1]).read_bytes()).decode()
        return f'<figure><img alt="{found[2]}" src="data:image/png;base64,{content}"></figure>'

    slides = [_IMAGE.sub(image, read.render(slide)) for slide in re.split(r"^---$", text, flags=re.MULTILINE)]
    template = jinja2.Environment(autoescape=True).from_string(
        (_FOLDER / "slides.html.jinja").read_text(encoding="utf-8")
    )
    return template.render(title=title(text), slides=slides) + "\n"


def browser() -> str | None:
    """Return a program that prints pages, or None where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def print_page(program: str, source: Path, target: Path) -> None:
    """Print an HTML page as PDF.

    Raises:
        RefusedError: the program failed or left no file.
    """
    command = [
        program, "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={target}", source.resolve().as_uri()
    ]  # fmt: skip
    if os.geteuid() == 0:  # it refuses root otherwise, as in a container
        command.insert(1, "--no-sandbox")
    with tempfile.TemporaryDirectory() as profile:  # not the one that a person's own window holds
        command.insert(1, f"--user-data-dir={profile}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired as error:
            raise RefusedError(f"{program} took more than {PATIENCE} s to print {source}") from error
    if done.returncode or not target.is_file():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RefusedError(f"{program} could not print {source}: {lines[-1]}")

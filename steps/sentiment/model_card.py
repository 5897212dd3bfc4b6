"""The card of a model: what it is for, what it learned from, what it reached and where it fails (Mitchell et al. 2019)."""

from pathlib import Path
from typing import Any

import jinja2

from steps.sentiment import behaviour

#: Figures that a card shows, where they were measured.
FIGURES = {
    "accuracy": "test_accuracy",
    "F1, macro": "test_f1_macro",
    "ROC AUC": "test_roc_auc",
    "PR AUC": "test_pr_auc",
    "calibration error (ECE)": "test_ece",
    "accuracy, human-labelled": "human_test_accuracy",
}
#: Behavioural tests that it names, those that fail the most.
MOST_TESTS = 8

_TEMPLATES = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
)
_TEMPLATES.filters |= {"whole": "{:,.0f}".format, "percent": "{:.1%}".format}


def render(facts: dict[str, Any]) -> str:
    """Return the card in Markdown, of at most about 3,000 letters.

    Args:
        facts: of a compared model, as `Comparison.facts` tells them; what was not measured is left out.
    """
    metrics: dict[str, float] = facts["test_metrics"]
    kinds = behaviour.capabilities(behaviour.TEST)
    rates = _highest(metrics, "behaviour_", -1)
    slices = _highest(metrics, "test_accuracy_", 1)
    return _TEMPLATES.get_template("model_card.md.jinja").render(
        facts,
        figures=[(title, _with_ends(metrics, name)) for title, name in FIGURES.items() if name in metrics],
        slices=[(name, value) for name, value in slices if name not in ("low", "high")],
        behaviour=[(name.replace("_", " "), value) for name, value in rates],
        fairness=[(name, value) for name, value in rates if kinds[name] == "fairness"],
        most=MOST_TESTS,
    )


def _highest(metrics: dict[str, float], start: str, sign: int) -> list[tuple[str, float]]:
    found = {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
    return sorted(found.items(), key=lambda one: sign * one[1])


def _with_ends(metrics: dict[str, float], name: str) -> str:
    ends = [f"{metrics[f'{name}_{end}']:.4f}" for end in ("low", "high") if f"{name}_{end}" in metrics]
    return f"{metrics[name]:.4f}" + (f" [{', '.join(ends)}]" if ends else "")

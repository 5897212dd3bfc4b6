"""The card of a model: what it is for, what it learned from, what it reached and where it fails (Mitchell et al. 2019)."""

from pathlib import Path
from typing import Any

import jinja2

from steps.sentiment import behaviour, comparison
from steps.sentiment.evidence_tables import figure

#: Figures that a card shows, where they were measured.
FIGURES = {
    "accuracy": "test_accuracy",
    "F1, macro": "test_f1_macro",
    "ROC AUC": "test_roc_auc",
    "PR AUC": "test_pr_auc",
    "calibration error (ECE)": "test_ece",
    "accuracy, human-labelled": "human_test_accuracy",
}
BEHAVIOUR = "behaviour_"
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
    rates = {name.removeprefix(BEHAVIOUR): rate for name, rate in metrics.items() if name.startswith(BEHAVIOUR)}
    tests = sorted(rates.items(), key=lambda one: -one[1])
    return _TEMPLATES.get_template("model_card.md.jinja").render(
        facts,
        figures=[(title, figure(metrics, name)) for title, name in FIGURES.items() if name in metrics],
        slices=sorted(comparison.slice_accuracies(metrics).items(), key=lambda one: one[1]),
        behaviour=[(name.replace("_", " "), rate) for name, rate in tests],
        fairness=[(name, rate) for name, rate in tests if kinds[name] == "fairness"],
        most=MOST_TESTS,
    )

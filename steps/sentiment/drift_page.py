"""A comparison of events with a profile as one self-contained HTML page: what drifted, how far, and what people said of the answers.

It holds counts alone, no text, comment or id.
"""

import itertools
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from steps.sentiment import plots
from steps.sentiment.drift import CONFIDENCE, FEWEST_WRONG, WRONG, Finding, Result
from steps.sentiment.predictions import LABELS
from steps.sentiment.reference import TRAITS

#: The artifacts: the page, and the same as JSON.
PAGE, RESULT = "drift.html", "drift.json"
#: Features that are there or not: their means are rates.
RATES = (*TRAITS, "unsure")

_TEMPLATES = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(Path(__file__).parent))


def render(result: Result) -> str:
    """Return the page."""
    return _TEMPLATES.get_template("drift.html.jinja").render(
        result=result,
        figures={one.feature: plots.as_text(figure(one)) for one in result.findings if one.feature not in RATES},
        labels=LABELS,
        mean=_mean,
        fewest_wrong=FEWEST_WRONG,
        judged=sum(map(sum, result.confusion)),
    )


def figure(one: Finding) -> Figure:
    """Return the shares of the bins, of the profile and of the events."""
    if one.edges[-1] == 1:
        names = [f"{low:.2f}".lstrip("0") for low in one.edges[:-1]]
        unit = "confidence, from" if one.edges == CONFIDENCE else "score, from"
    else:
        names = [f"{low:.0f}-{high - 1:.0f}" for low, high in itertools.pairwise(one.edges)]
        names[-1], unit = f"{one.edges[-2]:.0f}+", one.feature
    reference = "as the scores say" if one.feature == WRONG else "profile"
    shares = pd.DataFrame({reference: one.expected, "events": one.found}, index=names)
    return plots.side_by_side(shares, one.feature, unit, "share")


def _mean(one: Finding, value: float) -> str:
    if one.feature in RATES:
        return f"{value:.1%}"
    return f"{value:.3f}" if one.edges[-1] == 1 else f"{value:.1f}"

"""The readable page of a prepared dataset: one self-contained HTML file, users masked."""

import itertools
import re
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from sklearn.feature_extraction.text import CountVectorizer

from steps.sentiment import plots
from steps.sentiment.dataset import SPLITS, Prepared
from steps.sentiment.masks import masked
from steps.sentiment.model import TOKEN, clean

EXAMPLES = 12
TOP_WORDS = 20

_TEMPLATE = Path(__file__).with_name("report.html.jinja")


def render(prepared: Prepared, profiled: pd.DataFrame, described: dict[str, Any], source: str) -> str:
    """Return the page.

    Args:
        prepared: the dataset.
        profiled: the training rows (`text`, `label`) that figures are made from.
        described: their profile.
        source: name of the source.
    """
    balance = [
        {"split": split, "negative": len(labels) - sum(labels), "positive": sum(labels), "share": labels.mean()}
        for split, labels in (
            (s, prepared.tweets.loc[prepared.tweets["split"] == s, "label"]) for s in reversed(SPLITS)
        )
    ]
    figures = {
        "lengths in characters": _lengths(described["characters"], "characters"),
        "lengths in words": _lengths(described["words"], "words"),
        **top_words(profiled),
    }
    page = jinja2.Environment(autoescape=True).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return page.render(
        digest=prepared.digest,
        source=source,
        counts=prepared.counts,
        balance=balance,
        shares=described["shares"],
        figures={name: plots.as_text(figure) for name, figure in figures.items()},
        examples=[(masked(before), masked(after)) for before, after in prepared.repaired[:EXAMPLES]],
    )


def _lengths(histogram: dict[str, Any], unit: str) -> Figure:
    edges = histogram["edges"]
    shares = np.array(histogram["counts"]) / max(sum(histogram["counts"]), 1)
    names = [f"{low} to {high - 1}" for low, high in itertools.pairwise(edges)]
    return plots.bars(dict(zip(names, shares.tolist(), strict=True)), f"Length in {unit}", "share of texts")


def top_words(profiled: pd.DataFrame) -> dict[str, Figure]:
    """Return a figure of the words of negative tweets and one of positive tweets' (`text`, `label`).

    Ranked by log odds with an informative prior (Monroe, Colaresi and Quinn 2008), which rare words cannot win.
    """
    vectorizer = CountVectorizer(token_pattern=TOKEN, lowercase=False, min_df=1)
    counts = vectorizer.fit_transform(profiled["text"].map(clean))
    words = vectorizer.get_feature_names_out()
    positive = profiled["label"].to_numpy() == 1
    ours, theirs = (np.asarray(counts[rows].sum(axis=0)).ravel() + 0.0 for rows in (positive, ~positive))
    prior = 500 * (ours + theirs) / (ours + theirs).sum()

    def log_odds(counted: np.ndarray) -> np.ndarray:
        return np.log((counted + prior) / (counted.sum() + prior.sum() - counted - prior))

    z = (log_odds(ours) - log_odds(theirs)) / np.sqrt(1 / (ours + prior) + 1 / (theirs + prior))
    # Masks are not words, and what the font cannot draw (emoji, most scripts) would be empty boxes.
    drawable = FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap().keys()
    shown = [not re.search("<user>|<link>", word) and set(map(ord, word)) <= drawable for word in words]
    z[~np.array(shown)] = 0
    order = np.argsort(z)
    return {
        f"top words, {name}": plots.bars(
            {words[index]: abs(float(z[index])) for index in chosen},
            f"Words of {name} tweets",
            "log odds, z-score",
            color,
        )
        for name, chosen, color in (
            ("negative", [index for index in order[:TOP_WORDS] if z[index] < 0], "tab:red"),
            ("positive", [index for index in order[::-1][:TOP_WORDS] if z[index] > 0], "tab:green"),
        )
    }

"""The alert rules of Application Insights: each is a query that returns a row for what is wrong, and fires when there is one.

A rule looks at the last `windowSize` once every `evaluationFrequency`; these, its name and its text stand in rules.json, the query of
the same name in queries/. Table and column names are those of a rule whose scope is the Application Insights resource.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steps.sentiment.reference import features

FOLDER = Path(__file__).parent
#: What is the same for all rules: told once when rows appear, and again only after they have been gone for a while.
COMMON = {
    "timeAggregation": "Count",
    "operator": "GreaterThan",
    "threshold": 0,
    "autoMitigate": True,
}
_BEYOND = 2**62


def rules(profile: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every rule by its name, with its query as `query`.

    Args:
        profile: profile.json of the model that is served; drift is held against it.
    """
    settings = json.loads((FOLDER / "rules.json").read_text(encoding="utf-8"))
    return {name: {**COMMON, **rule, "query": query(name, profile)} for name, rule in settings.items()}


def as_list(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rules as the template's parameter `rules` takes them: each with its `name`."""
    return [{"name": name, **rule} for name, rule in rules(profile).items()]


def query(name: str, profile: Mapping[str, Any]) -> str:
    """Return the query of a rule, with the profile written in where it has a reference."""
    text = (FOLDER / f"queries/{name}.kql").read_text(encoding="utf-8")
    return text.replace("[profile]", f"[\n{reference(profile)}]")


def reference(profile: Mapping[str, Any]) -> str:
    """Return a profile as rows of the KQL table `reference`: feature, edges of a bin, share of the texts in it.

    Scores are counted in thousandths. The outer bins take what lies beyond them, as in the profile.
    """
    lines = []
    for feature, bins in features(profile).items():
        scale = 1000 if feature == "score" else 1
        edges = [*(round(scale * edge) for edge in bins.edges[:-1]), _BEYOND]
        for low, high, count in zip(edges, edges[1:], bins.counts, strict=False):
            lines.append(_line(feature, low, high, count / sum(bins.counts)))
    return "".join(lines)


def _line(feature: str, low: int, high: int, share: float) -> str:
    return f'    "{feature}", {low}, {high}, {share:.6f},\n'

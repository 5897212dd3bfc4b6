"""The workbook of Application Insights: workbook.json with the queries of workbook/*.kql, and the rule's own query of drift."""

import json
from collections.abc import Mapping
from typing import Any

from registry_scripts.azure import queries

FOLDER = queries.FOLDER / "workbook"
#: The rule shows what is above its mark, the workbook all.
_ABOVE, _ALL = "| where psi > large\n", "| order by psi desc\n"


def serialized(profile: Mapping[str, Any]) -> str:
    """Return the workbook as its resource has it: JSON in a text, in which `{insights}` stands for the resource that is asked.

    Args:
        profile: profile.json of the model that is served; drift is held against it.
    """
    workbook = json.loads((queries.FOLDER / "workbook.json").read_text(encoding="utf-8"))
    workbook["items"] = [_item(item, profile) if "query" in item else item for item in workbook["items"]]
    return json.dumps(workbook)


def query(name: str, profile: Mapping[str, Any]) -> str:
    """Return a query of the workbook."""
    if name == "drift":
        return queries.query(name, profile).removesuffix(_ABOVE) + _ALL
    return (FOLDER / f"{name}.kql").read_text(encoding="utf-8")


def _item(panel: Mapping[str, str], profile: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": 3,
        "name": panel["query"],
        "content": {
            "version": "KqlItem/1.0",
            "query": query(panel["query"], profile),
            "size": 0,
            "title": panel["title"],
            "timeContextFromParameter": "TimeRange",
            "queryType": 0,
            "resourceType": "microsoft.insights/components",
            "visualization": panel["visualization"],
        },
    }

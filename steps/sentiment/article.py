"""The articles of docs/blog/ on how answers are watched, in English and in French, made from recorded figures.

No figure is typed: the templates hold the sentences, `figures.json` what was recorded (`make article-figures`), and this code the
limits that it works with.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from steps.sentiment import alert, drift, plots, reference, telemetry

#: Language -> name of its article; the templates beside this file are named alike.
ARTICLES = {"en": "monitoring.md", "fr": "suivi-en-production.md"}
FIGURES = "figures.json"
#: Tags of an envelope that an article shows.
_TAGS = ("ai.cloud.role", "ai.cloud.roleInstance", "ai.operation.id")
#: What is written in the figures of each article.
_WORDS = {
    "en": {
        "fixed": "five minutes, every five",
        "each_minute": "five minutes, every minute",
        "sliding": "any five minutes (ours)",
        "at_once": "events arrive at once",
        "late": "events arrive 20 s to 3 min late",
        "span": "minutes from the first report to the third",
        "missed": "incidents missed, %",
        "airline": "to an airline only",
        "capitals": "in capitals",
        "french": "in French",
        "flipped": "verdicts turned round",
        "stream": "{} texts",
        "share": "share of the stream that is other, %",
        "raised": "streams raised, %",
    },
    "fr": {
        "fixed": "cinq minutes, toutes les cinq",
        "each_minute": "cinq minutes, chaque minute",
        "sliding": "cinq minutes quelconques (la nôtre)",
        "at_once": "événements visibles aussitôt",
        "late": "visibles après 20 s à 3 min",
        "span": "minutes du premier au troisième signalement",
        "missed": "incidents manqués, %",
        "airline": "adressés à une compagnie",
        "capitals": "en majuscules",
        "french": "en français",
        "flipped": "verdicts inversés",
        "stream": "{} textes",
        "share": "part du flux qui a changé, %",
        "raised": "flux signalés, %",
    },
}


def markdown(figures: Mapping[str, Any], language: str) -> str:
    """Return an article in Markdown; its images are named as `drawn` names its figures.

    Args:
        figures: the content of `figures.json`.
        language: a key of `ARTICLES`.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    number = _french if language == "fr" else _english
    filters: dict[str, Any] = {
        "number": number,
        "percent": lambda share, digits=1: number(100 * share, digits) + " %",
        "event": shown,
    }
    environment.filters |= filters
    template = environment.from_string(
        (Path(__file__).with_name(f"{ARTICLES[language]}.jinja")).read_text(encoding="utf-8")
    )
    text = template.render(
        **figures,
        threshold=alert.THRESHOLD,
        most_waiting=telemetry.MOST_TEXTS,
        flushed_after=telemetry.ROUND_EVENTS,
        fewest=reference.FEWEST,
        fewest_wrong=drift.FEWEST_WRONG,
        moderate=drift.MODERATE,
        major=drift.MAJOR,
    )
    return (_spaced(text) if language == "fr" else text).rstrip() + "\n"


def drawn(figures: Mapping[str, Any], language: str) -> dict[str, Figure]:
    """Return the figures of an article by the names of their files, without the ending."""
    words, number = _WORDS[language], _french if language == "fr" else _english
    rules = figures["simulated"]["rules"]
    spans = [0.25 + each / 2 for each in range(10)]
    windows = {
        words[kind]: pd.DataFrame(
            {words[name]: [100 * share for share in rule[kind]["missed_by_span"]] for name, rule in rules.items()},
            index=spans,
        )
        for kind in ("at_once", "late")
    }
    found, draws = figures["drift"], figures["drift"]["draws"]
    streams = {}
    for size, kinds in found["drifted"].items():
        none = 100 * found["undrifted"][size]["raised"] / found["undrifted_draws"]
        streams[words["stream"].format(number(int(size)))] = pd.DataFrame(
            {
                words[kind]: {0.0: none} | {100 * float(share): 100 * count / draws for share, count in raised.items()}
                for kind, raised in kinds.items()
            }
        )
    return {
        f"windows.{language}": plots.lines(windows, words["span"], words["missed"]),
        f"drift.{language}": plots.lines(streams, words["share"], words["raised"]),
    }


def shown(envelope: Mapping[str, Any]) -> str:
    """Return of an envelope what matters to a reader, as JSON."""
    data = envelope["data"]["baseData"]
    tags = {tag: envelope["tags"][tag] for tag in _TAGS}
    said = {name: data[name] for name in ("name", "properties", "measurements")}
    return json.dumps({"time": envelope["time"], "tags": tags, "data": said}, indent=2, ensure_ascii=False)


def _english(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


def _french(value: float, digits: int = 0) -> str:
    return _english(value, digits).replace(",", "\u202f").replace(".", ",")


def _spaced(text: str) -> str:
    # The spaces that French sets before its marks and within its quotation marks do not break a line; code stays as it is.
    parts = re.split(r"(^```.*?^```|`[^`\n]+`)", text, flags=re.MULTILINE | re.DOTALL)
    for at in range(0, len(parts), 2):
        part = re.sub(r" ([;!?%])", "\u202f\\1", parts[at])
        parts[at] = re.sub(r"« ", "«\u00a0", re.sub(r" ([:»])", "\u00a0\\1", part))
    return "".join(parts)

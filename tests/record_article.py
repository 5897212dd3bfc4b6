"""Records the figures that the articles of docs/blog/ tell, in docs/blog/figures.json; `make article` writes them into the text.

    make article-figures
    .venv/bin/python tests/record_article.py --only captured,drift

Each part is recorded by itself and takes the place of the one before. Real endpoints answer, with the model that comes with the
project; what they send goes to an ingestion service on loopback. Needs ten minutes on two cores, and node and npm for the queries.

    simulated   incidents drawn at random, and the rules that see them
    captured    three wrong answers, two workers, a restart: the envelopes, and what the alert says of them
    delivery    what arrives from stock MLflow with the SDK as it comes, and from `serve`; faults of the service
    proof       the queries and Microsoft's language service; the rule and its definition on reports drawn at random
    drift       streams that have drifted and streams that have not
"""

import argparse
import json
import logging
import os
import platform
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from steps.sentiment import alert, envelopes, incidents, model_folder  # noqa: E402
from tests import article_delivery, article_drift, kql  # noqa: E402
from tests.registry_scripts import test_azure_queries as queries  # noqa: E402
from tests.sentiment.test_alert import SCHEDULE, by_definition, clear, report  # noqa: E402
from tests.serving import PATIENCE, all_answer, ingestion, line_to, serve, wait_for  # noqa: E402

FIGURES = ROOT / "docs/blog/figures.json"
MODEL = article_drift.MODEL
#: Invented. The model takes each at its word.
IRONY = [
    "@AirParadis thanks for sending my bag on a holiday of its own",
    "@AirParadis thank you so much for the free night on the airport floor",
    "@AirParadis wow, only four hours late, you are getting better",
]


def without_names(envelope: dict[str, Any]) -> dict[str, Any]:
    """Return an envelope without the name of this machine and with its id cut: nobody needs to see more of either."""
    text = json.dumps(envelope).replace(socket.gethostname(), "endpoint")
    found: dict[str, Any] = json.loads(re.sub(r'("prediction_id": "\S{12})\S+"', r'\1..."', text))
    return {"name": found["name"], "time": found["time"], "tags": found["tags"], "data": found["data"]}


def contents(sent: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first envelope of each event, and how many of all hold a tweet."""
    told = [one for one in sent if one["data"]["baseType"] == "EventData"]
    tweets = [text.split(" ", 1)[1] for text in IRONY]
    found: dict[str, Any] = {
        "envelopes": len(sent),
        "with_text": sum(any(tweet in json.dumps(one) for tweet in tweets) for one in sent),
    }
    for event in ("prediction", "feedback"):
        found[event] = without_names(next(one for one in told if one["data"]["baseData"]["name"] == event))
    return found


def captured() -> dict[str, Any]:
    """Three wrong answers at a real endpoint: two workers, and a restart between the second verdict and the third."""
    arrived: dict[int, float] = {}

    def taken(items: list[Any]) -> tuple[int, dict[str, str], None]:
        now = time.time()
        for item in items:
            if item["data"]["baseData"].get("name") == "feedback":
                sent = datetime.fromisoformat(item["time"]).timestamp()
                arrived[len(arrived)] = now - sent
        return 200, {}, None

    def fires() -> dict[str, Any]:
        with service.lock:
            known = alert.reports(service.envelopes)
            rows = queries.rows(rule.tree, known) if known else []
        return {"verdicts": len(known), "evaluator": bool(alert.met(known)), "query": bool(rows)}

    def judge(record: dict[str, Any], expected: str = "negative", **more: Any) -> None:
        before = len(service.events("feedback"))
        status, found = server.post(
            "/feedback", {"prediction_id": record["prediction_id"], "expected": expected, **more}
        )
        assert status == 200, found
        wait_for(lambda: len(service.events("feedback")) == before + 1, PATIENCE)

    def instances() -> list[str]:
        with service.lock:
            rows = envelopes.tables(service.envelopes)["customEvents"]
        return [row["cloud_RoleInstance"] for row in rows if row["name"] == "feedback"]

    rule = kql.checked({"mispredicted": queries.QUERIES["mispredicted"]})["mispredicted"]
    found: dict[str, Any] = {"texts": IRONY, "steps": []}
    with tempfile.TemporaryDirectory() as name, ingestion(answer=taken) as service:
        folder = Path(name)
        flags = ["--model", MODEL, "--telemetry_cache", str(folder / "cache"), "--timeout", str(PATIENCE)]
        line = line_to(service.connection_string)
        with serve(folder, folder, *flags, "--workers", "2", patience=PATIENCE, **line) as server:
            wait_for(lambda: all_answer(server, 2), PATIENCE)
            records = server.ask(IRONY)
            assert {record["label"] for record in records} == {"positive"}, records
            found["scores"] = [record["score"] for record in records]
            judge(records[0])
            found["steps"].append(fires() | {"tweets": 1})
            judge(records[1])
            while len(set(instances())) < 2:  # the same tweet again, until the other worker takes it
                judge(records[1])
            found["steps"].append(fires() | {"tweets": 2})
            found["taken_by_workers"] = [instances().count(one) for one in dict.fromkeys(instances())]
        with serve(folder, folder, *flags, patience=PATIENCE, **line) as server:
            judge(records[2])
            found["steps"].append(fires() | {"tweets": 3, "processes": len(set(instances()))})
            judge(records[2], expected="positive")
            found["steps"].append(fires() | {"tweets": 2})
            arrived.clear()
            for _ in range(20):
                judge(records[0])
                time.sleep(0.37)  # not in step with the rounds of the endpoint
            found["seconds_to_arrive"] = {"median": statistics.median(arrived.values()), "most": max(arrived.values())}
        with service.lock:
            found |= contents(service.envelopes)
    return found


def proof() -> dict[str, Any]:
    """The queries before Microsoft's language service; the query, the evaluator and the definition on reports drawn at random."""
    checked = kql.checked(queries.QUERIES)
    broken = kql.checked(
        {fault: queries.QUERIES[name].replace(here, there) for fault, (name, here, there, _) in queries.PLANTED.items()}
    )
    dice = np.random.default_rng(0)
    sets, true, agreed = 1000, 0, 0
    for _ in range(sets):
        known: list[alert.Report] = []
        while not known or not clear(known):
            known = [
                report("abcde"[dice.integers(5)], int(dice.integers(900)), wrong=bool(dice.uniform() < 0.75))
                for _ in range(dice.integers(1, 13))
            ]
        met = by_definition(known)
        true += met
        agreed += met == bool(alert.met(known)) == bool(queries.rows(checked["mispredicted"].tree, known))
    return {
        "queries": len(checked),
        "messages": sum(len(one.messages) for one in checked.values()),
        "planted": len(broken),
        "planted_found": sum(
            any(queries.PLANTED[fault][-1] in message for message in one.messages) for fault, one in broken.items()
        ),
        "sets": sets,
        "sets_true": true,
        "sets_agreed": agreed,
        "variants": len(queries.OTHERS),
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "simulated": lambda: incidents.study(SCHEDULE),
    "captured": captured,
    "delivery": article_delivery.delivery,
    "proof": proof,
    "drift": article_drift.drifted,
}


def main() -> None:
    """Record the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    given = parser.parse_args()
    logging.getLogger().setLevel(logging.WARNING)
    for part in given.only.split(","):
        start = time.monotonic()
        content = PARTS[part]()
        figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
        figures[part] = content
        figures["recorded"] = {
            "date": datetime.now(UTC).date().isoformat(),
            "model": model_folder.identify(Path(MODEL)).version,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        FIGURES.parent.mkdir(parents=True, exist_ok=True)
        FIGURES.write_text(json.dumps(rounded(figures), indent=1) + "\n", encoding="utf-8")
        print(f"{part}: {time.monotonic() - start:.0f} s", flush=True)


def rounded(value: Any) -> Any:
    """Return numbers with six digits after the point: more say nothing."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return round(float(value), 6) if isinstance(value, float) else value


if __name__ == "__main__":
    main()

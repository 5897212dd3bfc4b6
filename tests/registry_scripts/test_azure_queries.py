"""The queries of the alert rules: held by Microsoft's language service and by what we send; and the rule means what it says."""

import itertools
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings

from registry_scripts.azure import queries
from steps.sentiment import alert
from tests import kql, kql_engine
from tests.conftest import ROOT
from tests.sentiment.test_alert import by_definition, clear, report, some_reports, wrong

PROFILE = json.loads((ROOT / "data/champion/model/artifacts/model/profile.json").read_text())
RULES = queries.rules(PROFILE)
QUERIES = {name: rule["query"] for name, rule in RULES.items()}
FOLDER = ROOT / "registry_scripts/azure/queries"
#: What a rule that is carried out each minute may not use, and what none may, after Azure's page on log search alert rules.
NOT_EACH_MINUTE = r"\b(search|union|take|limit|ingestion_time|adx)\b"
NEVER = r"\b(bag_unpack|pivot|narrow|AggregatedValue|arg\()\b"
#: Frequencies and windows that the portal offers, in minutes.
FREQUENCIES = {1, 5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 720, 1440}


@pytest.fixture(scope="module")
def checked() -> dict[str, kql.Checked]:
    return kql.checked(QUERIES)


def minutes(duration: str) -> int:
    days, hours, rest = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?", duration).groups("0")  # type: ignore[union-attr]
    return 1440 * int(days) + 60 * int(hours) + int(rest)


def test_the_language_service_is_pinned_by_its_checksum_and_bound_to_no_host() -> None:
    text = (kql.SERVICE / "package-lock.json").read_text(encoding="utf-8")
    _, *packages = json.loads(text)["packages"].values()
    (pin,) = json.loads((kql.SERVICE / "package.json").read_text(encoding="utf-8"))["dependencies"].values()
    assert [package["version"] for package in packages] == [pin]
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert "://" not in text


def test_every_query_has_a_rule_and_every_rule_a_query() -> None:
    assert {path.stem for path in FOLDER.glob("*.kql")} == set(RULES)
    assert {"mispredicted", "error_rate", "failures", "latency", "drift", "volume"} == set(RULES)


@pytest.mark.parametrize("name", QUERIES)
def test_the_language_service_finds_nothing_wrong(checked: dict[str, kql.Checked], name: str) -> None:
    assert checked[name].messages == []


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_one_that_the_service_takes(name: str) -> None:
    rule = RULES[name]
    frequency, window = minutes(rule["evaluationFrequency"]), minutes(rule["windowSize"])
    assert frequency in FREQUENCIES
    assert frequency <= window <= 2880
    assert rule["severity"] in range(5)
    assert rule["displayName"]
    assert rule["description"]
    code = re.sub(r"//.*|\"[^\"]*\"", "", rule["query"])
    assert not re.search(NEVER, code)
    assert not (frequency == 1 and re.search(NOT_EACH_MINUTE, code))
    assert len(rule["query"].encode()) < 32_000  # all properties of a rule together may have 64 KB


PLANTED = {
    "column": (
        "failures",
        "toint(resultCode)",
        "toint(responseCode)",
        "'responseCode' does not refer to any known column",
    ),
    "table": ("failures", "requests\n", "request\n", "'request' does not refer to any known"),
    "function": ("latency", "percentile(", "percentil(", "'percentil' does not refer to any known function"),
    "type": ("failures", "status >= 500", 'status >= "500"', "not defined for the operand types int and string"),
    "type of a column": ("mispredicted", "began - first_time <= window", "began <= window", "datetime and timespan"),
    "operator": ("latency", "| summarize", "| sumarize", "Query operator expected"),
    "column that a step before has left out": (
        "error_rate",
        "judged = count()",
        "judged = dcount(prediction)",
        "'prediction'",
    ),
    "property": (
        "mispredicted",
        "customDimensions.mispredicted",
        "customDimensions.wrong",
        "feedback has no such name",
    ),
    "measurement": ("latency", "customMeasurements.rows", "customMeasurements.texts", "prediction has no such name"),
    "bag": ("latency", "customMeasurements.rows", "customDimensions.rows", "prediction has no such name"),
    "property of another event": ("drift", "customDimensions.unsure", "customDimensions.expected", "no such name"),
    "event": ("latency", '"prediction"', '"predictions"', "the event predictions has no such name"),
    "no event": ("latency", '| where name == "prediction"', "", "of which event?"),
    "property as it is": (
        "mispredicted",
        'tostring(customDimensions.mispredicted) == "true"',
        "customDimensions.mispredicted == true",
        "stands without tostring",
    ),
    "name in brackets": ("latency", "customMeasurements.rows", 'customMeasurements["texts"]', "no such name"),
}


@pytest.fixture(scope="module")
def broken() -> dict[str, kql.Checked]:
    changed = {}
    for fault, (name, here, there, _) in PLANTED.items():
        assert here in QUERIES[name]
        changed[fault] = QUERIES[name].replace(here, there)
    return kql.checked(changed)


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(broken: dict[str, kql.Checked], fault: str) -> None:
    assert any(PLANTED[fault][-1] in message for message in broken[fault].messages), broken[fault].messages


def test_a_renamed_attribute_is_found_where_the_schema_follows_it() -> None:
    schema = json.loads(json.dumps(kql.SCHEMA).replace('"mispredicted"', '"wrong"'))
    found = kql.checked(QUERIES, schema)
    assert {name for name, one in found.items() if one.messages} == {"mispredicted", "error_rate"}


def rows(tree: kql.Tree, known: list[alert.Report]) -> list[dict[str, Any]]:
    table = kql_engine.table(known)
    other = {"timestamp": table[0]["timestamp"], "name": "prediction", "customDimensions": {}} if table else {}
    return kql_engine.run(tree, {"customEvents": [*table, *([other] if other else [])]})


@settings(max_examples=400, deadline=None)
@given(known=some_reports)
def test_the_query_means_what_the_alert_means(checked: dict[str, kql.Checked], known: list[alert.Report]) -> None:
    assume(clear(known))
    found = rows(checked["mispredicted"].tree, known)
    assert bool(found) == by_definition(known)
    assert min((row["timestamp"] for row in found), default=None) == next(iter(alert.met(known)), None)
    for row in found:
        assert row["timestamp"] - row["first_time"] <= alert.WINDOW
        assert len({row["first_id"], row["second_id"], row["third_id"]}) == 3


#: Reports that tell the rule from others near to it.
TELLING = [
    wrong(0, 150, 300),
    wrong(0, 150, 301),
    wrong(0, 60),
    [report("a", 0), report("b", 60), report("a", 120)],
    [report("a", 0), report("a", 299), report("b", 330), report("c", 360)],
    [*wrong(0, 60, 120), report("1", 180, wrong=False)],
    [*wrong(0, 60), report("2", 120, wrong=False)],
    [report("0", 0, wrong=False), report("1", 10), report("2", 20), report("0", 600)],
]
OTHERS = {
    "four tweets": ("prev(ended, 2)", "prev(ended, 3)"),
    "two tweets": ("prev(ended, 2)", "prev(ended, 1)"),
    "an open end": ("<= window", "< window"),
    "six minutes": ("window = 5m", "window = 6m"),
    "any verdict": ("where mispredicted and prediction_id", "where prediction_id"),
    "the first verdict": ('tostring(customDimensions.mispredicted) == "true"\n', 'tostring("true") == "true"\n'),
    "reports in turn": ("first_id != prediction_id and ", ""),
    "the beginning of a run": ("first_time = prev(ended, 2)", "first_time = prev(began, 2)"),
    "what was taken back": ("where not(mispredicted)", "where mispredicted and not(mispredicted)"),
}


def test_a_rule_near_to_it_is_told_apart(checked: dict[str, kql.Checked]) -> None:
    query = QUERIES["mispredicted"]
    assert all(here in query for here, _ in OTHERS.values())
    expected = [bool(alert.met(known)) for known in TELLING]
    assert [bool(rows(checked["mispredicted"].tree, known)) for known in TELLING] == expected
    others = kql.checked({name: query.replace(here, there) for name, (here, there) in OTHERS.items()})
    assert {name: others[name].messages for name in OTHERS} == {name: [] for name in OTHERS}
    for name in OTHERS:
        assert [bool(rows(others[name].tree, known)) for known in TELLING] != expected, name


def test_window_and_look_back_are_those_of_the_alert() -> None:
    rule = RULES["mispredicted"]
    assert f"let window = {alert.WINDOW // timedelta(minutes=1)}m;" in rule["query"]
    assert (rule["timeAggregation"], rule["operator"], rule["threshold"]) == ("Count", "GreaterThan", 0)
    assert rule["autoMitigate"] is True  # told once, not at each evaluation that still sees the three


def test_the_reference_of_drift_is_the_profile_of_the_model() -> None:
    lines = re.findall(r'"(\w+)", (\d+), (\d+), ([\d.]+)', queries.reference(PROFILE))
    features = {feature for feature, *_ in lines}
    assert features == set(re.search(r"feature = pack_array\((.+)\)", QUERIES["drift"])[1].replace('"', "").split(", "))  # type: ignore[index]
    for feature in features:
        bins = [(int(low), int(high), float(share)) for name, low, high, share in lines if name == feature]
        assert bins[0][0] == 0
        assert all(before[1] == after[0] for before, after in itertools.pairwise(bins))
        assert bins[-1][1] == 2**62
        assert sum(share for *_, share in bins) == pytest.approx(1, abs=1e-4)
    assert ("mention", "1", str(2**62), f"{PROFILE['shares']['mention']:.6f}") in lines
    assert ("score", "950", str(2**62), f"{PROFILE['scores']['counts'][-1] / PROFILE['rows']:.6f}") in lines


def test_drift_without_a_profile_is_no_query_that_could_be_deployed_by_mistake() -> None:
    raw = (FOLDER / "drift.kql").read_text(encoding="utf-8")
    assert kql.checked({"raw": raw})["raw"].messages

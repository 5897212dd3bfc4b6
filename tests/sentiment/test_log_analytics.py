"""Events asked of Azure: the questions that its client really sends, answered by a session that stands for the service."""

import io
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
import urllib3
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from azure.monitor.query import LogsQueryClient

from steps.sentiment import log_analytics, review_queue
from steps.sentiment.command_line import InputError
from steps.sentiment.events import MEASURED, Events, Gathering
from tests import kql
from tests.streams import PROFILE, drawn

WORKSPACE = "11111111-2222-3333-4444-555555555555"
RESOURCE = "/subscriptions/s/resourceGroups/g/providers/microsoft.insights/components/c"
TWEETS = drawn(PROFILE, 3, seed=0).to_dict("records")
TYPES = {"name": "string", "timestamp": "datetime", **dict.fromkeys(log_analytics.SAID, "string")} | dict.fromkeys(
    MEASURED, "real"
)
Answer = Callable[[dict[str, Any]], tuple[int, Any]]


class Credential:
    """Who is known."""

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        return AccessToken("a token", int(time.time()) + 3600)


class Nobody:
    """Who is not."""

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        raise ClientAuthenticationError("no account was found\nTroubleshooting: ...")


class Service(requests.adapters.HTTPAdapter):
    """Answers in place of api.loganalytics.io; keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer, self.asked = answer, []

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        question = json.loads(request.body)
        self.asked.append((request.url, question))
        status, content = self.answer(question)
        body = io.BytesIO(json.dumps(content).encode())
        raw = urllib3.HTTPResponse(body, {"Content-Type": "application/json"}, status, preload_content=False)
        return self.build_response(request, raw)


def client(service: Service, credential: Any = None) -> LogsQueryClient:
    session = requests.Session()
    session.mount("https://", service)
    transport = RequestsTransport(session=session, session_owner=False)
    return LogsQueryClient(credential or Credential(), transport=transport, retry_total=0)


def read(workspace: str, resource: str, hours: float, client: LogsQueryClient) -> Events:
    gathering = Gathering()
    log_analytics.gather((workspace, resource, hours), gathering, client=client)
    return gathering.events()


def table(*rows: dict[str, Any]) -> dict[str, Any]:
    columns = [{"name": name, "type": kind} for name, kind in TYPES.items()]
    return {
        "tables": [
            {"name": "PrimaryResult", "columns": columns, "rows": [[row.get(name) for name in TYPES] for row in rows]}
        ]
    }


def prediction(number: int, **changed: Any) -> dict[str, Any]:
    tweet = TWEETS[number]
    said = {"prediction_id": str(number), "model_version": "3", "label": ("negative", "positive")[tweet["label"]]}
    said |= {"unsure": "true" if tweet["unsure"] else "false", "expected": ""}
    measured = {name: float(tweet[name]) for name in MEASURED}
    return {"name": "prediction", "timestamp": "2026-11-01T10:00:00Z", **said, **measured, **changed}


VERDICT = {
    "name": "feedback",
    "timestamp": "2026-11-01T11:00:00Z",
    "prediction_id": "1",
    "expected": "positive",
    "model_version": "3",
}


@pytest.mark.parametrize(
    ("scope", "path"), [("workspace", f"/v1/workspaces/{WORKSPACE}/query"), ("resource", f"/v1{RESOURCE}/query")]
)
def test_predictions_and_verdicts_of_the_last_hours_are_gathered(scope: str, path: str) -> None:
    service = Service(lambda question: (200, table(VERDICT, *map(prediction, range(3)), prediction(0))))
    names = (WORKSPACE, "") if scope == "workspace" else ("", RESOURCE)
    found = read(*names, 24, client(service))
    assert found.predictions["score"].tolist() == [tweet["score"] for tweet in TWEETS]
    assert found.predictions["expected"].tolist() == [-1, 1, -1]
    assert found.repeated == 1
    ((url, question),) = service.asked
    assert url.split("?")[0] == f"https://api.loganalytics.io{path}"
    assert question["query"] == log_analytics.query(scope)
    start, end = question["timespan"].split("/")
    assert start != end
    assert "text" not in question["query"]
    assert "comment" not in question["query"]


def test_texts_are_asked_for_by_review_alone() -> None:
    for scope in log_analytics.COLUMNS:
        assert not re.search(r"\btext =|comment", log_analytics.query(scope))
        whole = log_analytics.query(scope, review_queue.SAID)
        assert all(f"{name} = tostring(" in whole for name in ("text", "keep", "predicted", "model_version"))
        assert "comment" not in whole


def test_what_is_too_much_for_one_answer_is_asked_for_by_halves() -> None:
    def answer(question: dict[str, Any]) -> tuple[int, Any]:
        if len(service.asked) == 1:
            error = {"code": "PartialError", "message": "more", "details": [{"code": "E", "message": "over 500000"}]}
            return 200, {**table(prediction(0)), "error": error}
        return 200, table(prediction(len(service.asked) - 2))

    service = Service(answer)
    found = read(WORKSPACE, "", 24, client(service))
    assert len(found.predictions) == 2
    whole, first, second = (question["timespan"].split("/") for _, question in service.asked)
    assert first[0] == whole[0]
    assert first[1] == second[0]
    assert second[1] == whole[1]


def test_an_answer_that_is_never_whole_is_refused() -> None:
    error = {"code": "PartialError", "message": "more", "details": []}
    service = Service(lambda question: (200, {**table(), "error": error}))
    with pytest.raises(InputError, match="more in a second than one answer holds"):
        read(WORKSPACE, "", 0.001, client(service))


def refuses(question: dict[str, Any]) -> tuple[int, Any]:
    return 403, {"error": {"code": "InsufficientAccessError", "message": "may not read\nsecond line"}}


def silent(question: dict[str, Any]) -> tuple[int, Any]:
    raise requests.ConnectionError("no route to it")


def broken(question: dict[str, Any]) -> tuple[int, Any]:
    return 200, table(prediction(0, capitals=None))


@pytest.mark.parametrize(
    ("answer", "credential", "reason"),
    [
        (refuses, Credential(), "the service answered 403 ("),
        (silent, Credential(), "the service does not answer (no route to it); run this again when it does"),
        (
            broken,
            Credential(),
            "an event is not as an endpoint tells it (no capitals); allowed: events of this project's endpoint",
        ),
        (
            broken,
            Nobody(),
            "could not sign in (no account was found); allowed: an id that it knows, asked by who may read it",
        ),
    ],
    ids=["refuses", "silent", "broken", "nobody"],
)
def test_a_fault_is_one_line_that_names_the_workspace(answer: Answer, credential: Any, reason: str) -> None:
    with pytest.raises(InputError) as error:
        read(WORKSPACE, "", 24, client(Service(answer), credential))
    assert str(error.value).startswith(f"workspace={WORKSPACE}: {reason}")
    assert "\n" not in str(error.value)


def test_the_language_service_finds_nothing_wrong_with_the_queries() -> None:
    bags = {"Name": "string", "TimeGenerated": "datetime", "Properties": "dynamic", "Measurements": "dynamic"}
    schema = {**kql.SCHEMA, "tables": {**kql.SCHEMA["tables"], "AppEvents": bags}}
    found = kql.checked({"workspace": log_analytics.query("workspace")}, schema)
    assert found["workspace"].messages == []
    resource = kql.checked({"resource": log_analytics.query("resource")}, schema)["resource"].messages
    # Its own check of the bags asks for one event; ours are read from two, and each name is one of either.
    events = kql.SCHEMA["events"]
    known = {name for bags in events.values() for names in bags.values() for name in names}
    assert {*log_analytics.SAID, *MEASURED} <= known
    assert [
        message for message in resource if "has no such name" not in message and "of which event" not in message
    ] == []

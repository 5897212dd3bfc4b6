"""deploy: the whole of it against a recorded az and real endpoints behind TLS; whatever goes wrong, who served before serves."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry_scripts import deploy
from registry_scripts.azure import az, rollout, smoke
from steps.sentiment.command_line import InputError, RefusedError
from tests import azure_types, deployments, relay
from tests.deployments import (
    AGAIN,
    FAULTS,
    OLD,
    OLDER,
    QUICK,
    TWEETS,
    assert_put_back,
    assert_taken_over,
    failed,
    shifted,
)
from tests.fake_az import ENGINE, Cloud
from tests.registry_scripts.conftest import copy, opened
from tests.registry_scripts.test_azure_templates import GIVEN
from tests.serving import KEY, Server, serve

#: A revision that was made and never got any traffic.
NEVER = {
    **GIVEN["app"],
    "revisionSuffix": "v2-1127080229",
    "traffic": [{"revisionName": OLD, "weight": 100}],
    "withApiKey": False,
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with the bundled model as versions 1 and 2, and 2 as champion."""
    return deployments.two_versions(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def endpoints(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Server]]:
    """Both versions, served."""
    folder = tmp_path_factory.mktemp("endpoints")
    with (
        serve(folder, registry, "--model", "models:/tweet-sentiment/1") as first,
        serve(folder, registry, "--model", "models:/tweet-sentiment/2") as second,
    ):
        yield {1: first, 2: second}


@pytest.fixture(scope="module")
def addresses(endpoints: dict[int, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Their addresses behind TLS, as Azure gives them, and the certificate."""
    certified = relay.certificate(tmp_path_factory.mktemp("tls"))
    with (
        relay.before(endpoints[1].port, certified=certified) as first,
        relay.before(endpoints[2].port, certified=certified) as second,
    ):
        yield {"old": first, "new": second, "certified": str(certified)}


@pytest.fixture
def database(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The registry, open; a copy of the test's own."""
    used = tmp_path / "mlflow.db"
    copy(registry / "mlflow.db", used)
    with opened(tmp_path, used):
        yield used


@pytest.fixture
def empty_cloud(
    database: Path, addresses: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """Azure with what provision makes, without an app; az and an engine on the PATH."""
    monkeypatch.setattr(smoke, "PAUSE", 0.05)
    monkeypatch.setattr(rollout, "AGAIN", 0.02)
    monkeypatch.setattr(deploy, "START", 2.0)
    certified, free = addresses["certified"], [addresses["new"]]
    with deployments.provisioned(tmp_path, monkeypatch, certified, addresses=free) as cloud:
        (cloud.folder / "docker").write_text(ENGINE)
        (cloud.folder / "docker").chmod(0o755)
        yield cloud


@pytest.fixture
def cloud(empty_cloud: Cloud, addresses: dict[str, Any], tmp_path: Path) -> Cloud:
    """Azure with version 1 serving, and an older revision of it that still runs."""
    empty_cloud.change(images={"x:1": "sha256:" + "0" * 64}, addresses=[addresses["old"], addresses["old"]])
    deployments.version_1_serves(empty_cloud, tmp_path)
    empty_cloud.change(addresses=[addresses["new"]])
    return empty_cloud


def test_the_champion_takes_over_step_by_step(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.change(requests={"v2": {"2xx": 400, "4xx": 50, "5xx": 3}})
    deploy.main([*QUICK])
    new = assert_taken_over(cloud)
    assert set(cloud.active()) == {OLD, new}  # the one to go back to, and none older
    assert shifted(cloud) == [[f"{OLD}=75", f"{new}=25"], [f"{OLD}=50", f"{new}=50"], [f"{OLD}=0", f"{new}=100"]]
    state = cloud.read()
    container = state["revisions"][new]["properties"]["template"]["containers"][0]
    digest = next(digest for name, digest in state["images"].items() if name == "tweet-sentiment:2")
    assert container["image"].endswith(f".azurecr.io/tweet-sentiment@{digest}")
    engine = [json.loads(line) for line in (cloud.folder / "engine").read_text().splitlines()]
    # Let in before the build: after a login of GitHub's, az gets no token for another service once five minutes are over.
    assert [asked[0] for asked in engine] == ["info", "login", "build", "image", "push"]
    said = capsys.readouterr().out
    assert "smoke test passed: version 2, 6 known tweets, feedback" in said
    assert "453 requests, 3 failed" in said
    assert f"version 2 serves all traffic as {new}; back: {AGAIN} --action rollback" in said


def test_the_first_revision_of_all(empty_cloud: Cloud) -> None:
    deploy.main([*QUICK])
    (new,) = empty_cloud.weights()
    assert empty_cloud.weights() == {new: 100}
    traffic = empty_cloud.read()["apps"]["tweet-sentiment"]["properties"]["configuration"]["ingress"]["traffic"]
    assert traffic == [{"revisionName": new, "weight": 100}]  # and not the latest, which the next one would be at once
    assert len(empty_cloud.calls("containerapp ingress traffic set")) == 1


def test_a_first_revision_that_is_red_says_that_nothing_is_left_to_go_back_to(
    empty_cloud: Cloud, addresses: dict[str, Any]
) -> None:
    empty_cloud.change(addresses=[addresses["old"]])
    message = failed([*QUICK])
    assert "GET /version: version is '1', and not '2'; no revision served before tweet-sentiment--v2-" in message


def test_back_and_forth(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    deploy.main([*QUICK])
    (new,) = cloud.weights()
    for expected in (OLD, new, OLD):
        deploy.main(["--resource_group", "tweets", "--action", "rollback"])
        assert cloud.weights() == {expected: 100}
    assert f"{OLD} (version 1) serves all traffic again; left: {new} (version 2)" in capsys.readouterr().out
    deploy.main(["--resource_group", "tweets", "--action", "rollback", "--revision", OLDER])  # it was switched off
    assert cloud.weights() == {OLDER: 100}
    deploy.main(["--resource_group", "tweets", "--action", "status"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in (OLDER, OLD, new))


def test_back_needs_neither_registry_nor_engine(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy.registry, "with_alias", None)
    (cloud.folder / "docker").unlink()
    deploy.main(["--resource_group", "tweets", "--action", "rollback"])
    assert cloud.weights() == {OLDER: 100}


def test_back_to_what_is_not_there(cloud: Cloud) -> None:
    with pytest.raises(InputError, match=f"--revision: got 'x'; allowed: {OLDER}"):
        deploy.main(["--resource_group", "tweets", "--action", "rollback", "--revision", "x"])
    az.call("containerapp", "revision", "deactivate", "--name", "tweet-sentiment", "--revision", OLDER)
    with pytest.raises(InputError, match=f"--revision: got ''; allowed: {OLDER}"):
        deploy.main(["--resource_group", "tweets", "--action", "rollback"])
    assert cloud.weights() == {OLD: 100}


def test_back_to_what_is_not_well_leaves_the_traffic(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "START", 0.1)
    state = cloud.read()
    state["revisions"][OLDER]["properties"]["fqdn"] = "127.0.0.1:9"
    cloud.write(state)
    message = failed(["--resource_group", "tweets", "--action", "rollback"])
    assert f"{OLDER} is not well (GET /health: not 200 within 0.1 s), so the traffic stays" in message
    assert cloud.weights() == {OLD: 100}


def test_back_never_means_to_a_revision_that_nobody_has_found_good(cloud: Cloud) -> None:
    deployments.made("tweet-sentiment-app", "app", NEVER, cloud.folder)  # and then the deployment was killed
    for expected in (OLDER, OLD, OLDER):
        deploy.main(["--resource_group", "tweets", "--action", "rollback"])
        assert cloud.weights() == {expected: 100}


def test_back_after_a_deployment_that_was_cut_short_switches_off_what_it_has_made(cloud: Cloud) -> None:
    deployments.made("tweet-sentiment-app", "app", NEVER, cloud.folder)
    new = f"tweet-sentiment--{NEVER['revisionSuffix']}"
    weights = ["--revision-weight", f"{OLD}=75", f"{new}=25"]
    az.call("containerapp", "ingress", "traffic", "set", "--name", "tweet-sentiment", *weights)
    deploy.main(["--resource_group", "tweets", "--action", "rollback"])
    assert cloud.weights() == {OLD: 100}
    assert set(cloud.active()) == {OLDER, OLD}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_who_served_before_serves(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    faults, reason, revision = FAULTS[fault]
    if "hang" in str(faults):
        deployments.impatient(monkeypatch, 5)
    cloud.plant(*faults)
    message = failed([*QUICK])
    assert reason in message
    assert_put_back(cloud, message, revision)
    cloud.change(addresses=cloud.read()["addresses"] or [addresses_of(cloud)])
    deployments.mended(cloud, message)
    assert_taken_over(cloud)


def test_what_a_message_says_to_type_is_what_was_typed(cloud: Cloud) -> None:
    cloud.plant(("deployment group create", [1], "fail"))
    (cloud.folder / "podman").symlink_to("docker")
    typed = [*QUICK, "--engine", "podman", "--base", "mirror.example/python:3.11.7-slim", "--steps", "100"]
    message = failed(typed)
    assert sorted(deployments.to_type(message)) == sorted(typed)
    deployments.mended(cloud, message)
    assert_taken_over(cloud)


def addresses_of(cloud: Cloud) -> str:
    """Return the address that the last new revision had."""
    return str(list(cloud.read()["revisions"].values())[-1]["properties"]["fqdn"])


def test_where_az_works_no_more_the_message_says_what_is_left_and_what_to_type(cloud: Cloud) -> None:
    cloud.plant(("containerapp ingress traffic set", [2], "logout"))
    message = failed([*QUICK])
    (new,) = (name for name in cloud.weights() if name != OLD)
    assert cloud.weights() == {OLD: 75, new: 25}
    assert "Please run 'az login'" in message
    assert (
        f"the traffic was last set to {OLD}=75 {new}=25, or to {OLD}=50 {new}=50, revision {new} may still run; "
        f"when az works again, type: {AGAIN} --action rollback --revision {OLD}" in message
    )
    cloud.change(logged_in=True)
    cloud.plant()
    with pytest.raises(RefusedError, match=f"the traffic is shared .*{AGAIN} --action rollback"):
        deploy.main([*QUICK])
    deploy.main(["--resource_group", "tweets", "--action", "rollback"])
    assert cloud.weights() == {OLD: 100}


def test_where_the_traffic_stays_as_it_is_the_message_does_not_say_otherwise(cloud: Cloud) -> None:
    cloud.plant(("containerapp ingress traffic set", [2, 3, 4, 5, 6], "fail"))
    message = failed([*QUICK])
    (new,) = (name for name in cloud.weights() if name != OLD)
    assert cloud.weights() == {OLD: 75, new: 25}
    assert "could not be put back either (az containerapp ingress traffic ended with 1: (Service" in message
    assert f"the traffic was last set to {OLD}=75 {new}=25, or to {OLD}=100" in message
    assert f"type: {AGAIN} --action rollback --revision {OLD}" in message


def test_where_only_the_switching_off_fails_nobody_is_sent_to_the_new_revision(cloud: Cloud) -> None:
    cloud.change(requests={"v2": {"5xx": 20}})
    cloud.plant(("containerapp revision deactivate", [1, 2, 3, 4], "fail"))
    message = failed([*QUICK])
    assert cloud.weights() == {OLD: 100}
    assert f"{OLD}=100 serves as before; tweet-sentiment--v2-" in message
    assert "may still run, without traffic" in message
    assert "the next deployment that succeeds switches it off; do not roll back;" in message
    assert "--action rollback" not in message


def test_a_revision_that_cannot_be_switched_off_does_not_look_as_if_the_way_back_had_failed(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.plant(("containerapp ingress traffic set", [2, 3, 4, 5, 6], "fail"))  # cut short, the traffic shared
    failed([*QUICK])
    (new,) = (name for name in cloud.weights() if name != OLD)
    cloud.plant(("containerapp revision deactivate", [1], "fail"))
    capsys.readouterr()
    deploy.main(["--resource_group", "tweets", "--action", "rollback"])
    assert cloud.weights() == {OLD: 100}
    said = capsys.readouterr().out
    assert f"{OLD} (version 1) serves all traffic again" in said
    assert f"{new} may still run, without traffic (" in said
    assert (
        f"az containerapp revision deactivate --resource-group tweets --name tweet-sentiment --revision {new}" in said
    )


@pytest.mark.parametrize("outputs", [None, {}, {"location": {"type": "String", "value": "westeurope"}}])
def test_where_provision_was_cut_short(cloud: Cloud, outputs: Any) -> None:
    cloud.change(deployments={"tweet-sentiment": {"properties": {"outputs": outputs}}})
    with pytest.raises(
        InputError, match=r"provision has begun in tweets, and has not ended well \(no .*registryName\)"
    ):
        deploy.main([*QUICK])


@pytest.mark.parametrize(
    ("action", "asked"), [("deploy", "account show"), ("status", "account show"), ("deploy", "deployment group show")]
)
def test_az_that_fails_from_the_start_ends_in_one_line(cloud: Cloud, action: str, asked: str) -> None:
    cloud.plant((asked, [1], "fail"))
    message = failed([*QUICK, "--action", action])
    assert f"az {asked}" in message
    assert "ended with 1: (ServiceUnavailable)" in message


def test_az_that_is_missing_is_named(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^az is not installed; allowed: .*on the PATH$"):
        deploy.main([*QUICK])


@pytest.mark.parametrize("action", ["deploy", "rollback", "status"])
def test_who_is_not_logged_in_is_told_before_anything_is_done(cloud: Cloud, action: str) -> None:
    cloud.change(logged_in=False)
    with pytest.raises(InputError, match=r"Please run 'az login' to setup account\.; type: az login"):
        deploy.main([*QUICK, "--action", action])
    assert [call[:2] for call in cloud.calls()] == [["account", "show"]]


def test_an_image_that_cannot_be_pushed_leaves_everything(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_FAILS", "push")
    message = failed([*QUICK])
    assert "docker push ended with 1 at its start: denied: requested access" in message
    assert "the traffic is as it was; when this is mended, type the same again" in message
    assert cloud.weights() == {OLD: 100}
    assert cloud.calls("deployment group create") == []


def test_where_provision_was_never_run(cloud: Cloud) -> None:
    cloud.change(deployments={})
    with pytest.raises(InputError, match=r"--resource_group: nothing of the name tweet-sentiment was made in tweets"):
        deploy.main([*QUICK])
    assert not (cloud.folder / "engine").read_text().count("build")


def test_a_red_smoke_test_shifts_nothing(cloud: Cloud, addresses: dict[str, Any]) -> None:
    cloud.change(addresses=[addresses["old"]])  # an endpoint of version 1, where version 2 should be
    message = failed([*QUICK])
    assert "GET /version: version is '1', and not '2'" in message
    assert_put_back(cloud, message)
    assert cloud.calls("containerapp ingress traffic set") == []


def test_a_revision_that_does_not_start(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "START", 0.1)
    cloud.change(addresses=["127.0.0.1:9"])
    message = failed([*QUICK])
    assert "GET /health: not 200 within 0.1 s" in message
    assert_put_back(cloud, message)


def test_too_many_failures_take_the_traffic_back(cloud: Cloud) -> None:
    cloud.change(requests={"v2": {"2xx": 180, "5xx": 20}})
    message = failed([*QUICK])
    assert "20 of 200 requests failed, more than 5 %" in message
    assert_put_back(cloud, message)
    assert len(cloud.calls("containerapp ingress traffic set")) == 2  # 25 %, and back


def test_few_requests_say_nothing(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.change(requests={"v2": {"5xx": 19}})
    deploy.main([*QUICK, "--steps", "100"])
    assert "19 requests, 19 failed: too few to judge" in capsys.readouterr().out


def test_a_revision_that_dies_while_it_is_watched(
    cloud: Cloud, endpoints: dict[int, Server], addresses: dict[str, Any]
) -> None:
    asked: list[str] = []

    def dying(path: str, question: bytes, status: int, headers: dict[str, str], body: bytes) -> Any:
        asked.append(path)
        return (503, {}, b"") if asked.count("/health") > 2 else (status, headers, body)

    with relay.before(endpoints[2].port, dying, Path(addresses["certified"])) as address:
        cloud.change(addresses=[address])
        message = failed([*QUICK])
    assert "it is no longer well" in message
    assert_put_back(cloud, message)


@pytest.mark.parametrize(("command", "made", "shifted"), deployments.PROMOTIONS)
def test_a_promotion_in_the_meantime_ends_it(
    cloud: Cloud, database: Path, command: str, made: bool, shifted: int
) -> None:
    cloud.plant((command, [1], deployments.promote(database, 1)))
    message = failed([*QUICK])
    assert "version 1 was promoted in the meantime, and version 2 is deployed no further" in message
    assert_put_back(cloud, message, made)
    assert len(cloud.calls("containerapp ingress traffic set")) == shifted


@pytest.mark.parametrize(
    ("command", "call", "failures"),
    [
        ("acr repository show", 1, 0),
        ("monitor metrics list", 1, 0),
        ("monitor metrics list", 3, 0),
        ("monitor metrics list", 1, 20),
    ],
    ids=["while the image is built", "between two steps", "in the last step", "when it has failed"],
)
def test_who_changes_the_traffic_by_hand_has_the_last_word(
    cloud: Cloud, command: str, call: int, failures: int
) -> None:
    by_hand = [str(cloud.folder / "az"), "containerapp", "ingress", "traffic", "set", "--name", "tweet-sentiment"]
    cloud.change(requests={"v2": {"5xx": failures}} if failures else {})
    cloud.plant((command, [call], [*by_hand, "--revision-weight", f"{OLDER}=100"]))
    message = failed([*QUICK])
    assert f"somebody else has set it to {OLDER}=100, which stays, and tweet-sentiment--v2-" in message
    assert ("20 of 20 requests failed" if failures else "is no longer as this deployment has left it") in message
    assert cloud.weights() == {OLDER: 100}
    assert set(cloud.active()) == {OLD, OLDER}


@pytest.mark.parametrize("fails", ["containerapp revision list", "containerapp list"])
def test_where_somebody_else_set_the_traffic_and_az_fails_then_the_message_does_not_say_who_served_before(
    cloud: Cloud, fails: str
) -> None:
    by_hand = [str(cloud.folder / "az"), "containerapp", "ingress", "traffic", "set", "--name", "tweet-sentiment"]
    later = [len(cloud.calls(fails)) + number for number in range(2 if fails.endswith("revision list") else 8, 40)]
    cloud.plant(
        ("monitor metrics list", [1], [*by_hand, "--revision-weight", f"{OLDER}=100"]),
        (fails, later, "fail"),
    )
    message = failed([*QUICK])
    assert cloud.weights() == {OLDER: 100}
    assert f"somebody else has set the traffic to {OLDER}=100, which stays; tweet-sentiment--v2-" in message
    assert "may still run" in message
    assert "serves as before" not in message


def test_of_two_at_once_one_is_refused(cloud: Cloud, database: Path, tmp_path: Path) -> None:
    deployments.both_at_once(database, tmp_path, [*TWEETS, "--minutes", "0.06"])
    assert len(cloud.calls("deployment group create")) == 1
    assert_taken_over(cloud)


def test_who_is_told_to_stop_puts_back_first(cloud: Cloud, database: Path, tmp_path: Path) -> None:
    with deployments.deploying(database, tmp_path, [*TWEETS, "--minutes", "5"]) as process:
        assert process.stdout and process.stderr
        assert any("answers 25 %" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 1
        message = process.stderr.read().splitlines()[-1]
    assert message.startswith("deploy: error: it was told to stop; ")
    assert_put_back(cloud, message)


def test_who_is_impatient_and_stops_it_twice_changes_nothing(cloud: Cloud, database: Path, tmp_path: Path) -> None:
    sign = tmp_path / "putting back"
    cloud.plant(("containerapp ingress traffic set", [2], ["sh", "-c", f"touch '{sign}'; sleep 2"]))
    with deployments.deploying(database, tmp_path, [*TWEETS, "--minutes", "5"]) as process:
        assert process.stdout and process.stderr
        assert any("answers 25 %" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        while not sign.exists():
            time.sleep(0.05)
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        assert process.wait(timeout=60) == 1
        message = process.stderr.read().splitlines()[-1]
    assert message.startswith("deploy: error: it was told to stop; ")
    assert_put_back(cloud, message)


def test_an_endpoint_that_asks_for_a_key_stays_closed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    state = cloud.read()
    state["apps"]["tweet-sentiment"]["properties"]["configuration"]["secrets"].append({"name": "api-key"})
    cloud.write(state)
    with pytest.raises(InputError, match="SERVE_API_KEY: not set, and the endpoint asks for a key"):
        deploy.main([*QUICK])
    monkeypatch.setenv("SERVE_API_KEY", KEY)
    deploy.main([*QUICK])
    (new,) = cloud.weights()
    container = cloud.read()["revisions"][new]["properties"]["template"]["containers"][0]
    assert {"name": "SERVE_API_KEY", "secretRef": "api-key"} in container["env"]
    assert all(KEY not in argument for call in cloud.calls() for argument in call)


@pytest.mark.parametrize(
    "given",
    [
        "--resource_group=", "--resource_group=a/b", "--steps=", "--steps=50,25,100", "--steps=25,50", "--steps=0,100", "--steps=a",
        "--minutes=0", "--minutes=11", "--most_errors=1", "--action=undo", "--engine=lxc", "--name=Tweets", "--name=a--b",
        "--revision=x",
    ],
)  # fmt: skip
def test_a_wrong_flag_is_named_and_nothing_is_asked(
    empty_cloud: Cloud, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    asked = len(empty_cloud.calls())
    flag = given.partition("=")[0]
    with pytest.raises((SystemExit, InputError)) as ended:
        deploy.main([*QUICK, given])
    message = capsys.readouterr().err or str(ended.value)
    assert f"{flag}: got " in message
    assert "allowed: " in message
    assert len(empty_cloud.calls()) == asked


def test_a_registry_without_a_champion(cloud: Cloud, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM registered_model_aliases")
        connection.commit()
    with pytest.raises(InputError, match="there is no champion to deploy"):
        deploy.main([*QUICK])


def test_the_recorded_az_answers_as_the_published_types_say(cloud: Cloud) -> None:
    deploy.main([*QUICK])
    forms: dict[str, tuple[str, str, Callable[[Any], list[Any]]]] = {
        "containerapp list": ("appcontainers", "ContainerApp", list),
        "containerapp revision list": ("appcontainers", "Revision", list),
        "containerapp ingress traffic set": ("appcontainers", "TrafficWeight", list),
        "monitor metrics list": ("monitor", "Metric", lambda answer: answer["value"]),
    }
    seen = set()
    for command, answer in cloud.answers():
        if command in forms:
            module, model, each = forms[command]
            seen.add(command)
            for one in each(answer):
                assert azure_types.check_answer(one, module, model) == []
    assert seen == set(forms)

"""provision: against a recorded az, which works the real template out."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from registry_scripts import provision
from registry_scripts.azure import templates
from steps.sentiment.command_line import InputError, RefusedError
from tests.conftest import ROOT
from tests.fake_az import Cloud
from tests.registry_scripts.test_azure_templates import GIVEN

MODEL = ["--model", str(ROOT / "data/champion/model")]
GIVEN_FLAGS = ["--resource_group", "tweets", "--location", "westeurope", "--email", "who@watches.example", *MODEL]
KEY = "a key of the clients, long enough"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud(tmp_path / "azure")
    monkeypatch.setenv("PATH", os.pathsep.join([str(made.folder), os.environ["PATH"]]))
    monkeypatch.delenv("SERVE_API_KEY", raising=False)
    return made


def parameters(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Write down the parameters of each deployment."""
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(
        templates,
        "check",
        lambda template, values, check=templates.check: (seen.append(dict(values)), check(template, values)),
    )
    return seen


def test_show_writes_nothing(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    provision.main(GIVEN_FLAGS)
    shown = capsys.readouterr().out
    assert "there is no resource group tweets; apply would make it" in shown
    assert "Microsoft.Insights/scheduledQueryRules (rules)" in shown
    assert cloud.read() == Cloud.EMPTY
    cloud.change(groups={"tweets": {"name": "tweets", "tags": {}}})
    before = cloud.read()
    provision.main([*GIVEN_FLAGS, "--sms", "33 612345678"])
    shown = capsys.readouterr().out
    assert "Create   Microsoft.Insights/scheduledQueryRules/tweet-sentiment-mispredicted" in shown
    assert re.search(r"provision: \d+ resources would change; to do it, add --action apply", shown)
    assert cloud.read() == before


def test_apply_makes_everything_and_can_be_typed_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = parameters(monkeypatch)
    provision.main([*GIVEN_FLAGS, "--action", "apply"])
    state = cloud.read()
    assert state["groups"]["tweets"]["tags"] == {"made-by": "tweet-sentiment"}
    assert sum(name.startswith("Microsoft.Insights/scheduledQueryRules/") for name in state["resources"]) == 6
    assert "next: python -m registry_scripts.deploy --resource_group tweets" in capsys.readouterr().out
    first = seen[-1]["predictionKey"]
    assert len(first) >= 32
    provision.main([*GIVEN_FLAGS, "--action", "apply"])
    assert seen[-1]["predictionKey"] == ""  # the one in the vault stays
    provision.main([*GIVEN_FLAGS, "--action", "apply", "--rotate", "true"])
    assert seen[-1]["predictionKey"] not in ("", first)
    assert all(first not in argument for call in cloud.calls() for argument in call)
    provision.main([*GIVEN_FLAGS])
    assert "provision: 0 resources would change" in capsys.readouterr().out


def test_a_key_for_clients_comes_from_the_environment(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_API_KEY", KEY)
    provision.main([*GIVEN_FLAGS, "--action", "apply"])
    assert any(name.endswith("/api-key") for name in cloud.read()["resources"])
    assert all(KEY not in argument for call in cloud.calls() for argument in call)
    monkeypatch.setenv("SERVE_API_KEY", "short")
    with pytest.raises(InputError, match="SERVE_API_KEY: got 5 characters; allowed: at least 16"):
        provision.main([*GIVEN_FLAGS, "--action", "apply"])


def test_a_key_is_made_where_the_first_time_was_cut_short(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = parameters(monkeypatch)
    cloud.change(
        groups={"tweets": {"name": "tweets", "tags": {}}}, resources={"Microsoft.KeyVault/vaults/kv-1": "2026-05-15"}
    )
    provision.main([*GIVEN_FLAGS, "--action", "apply"])
    assert seen[-1]["predictionKey"]
    # Azure is away: nobody knows whether there is a key, and a new one would replace it.
    cloud.plant(("resource show", [2], "fail"))
    with pytest.raises(SystemExit, match=r"provision: error: az resource show .* ended with 1"):
        provision.main([*GIVEN_FLAGS, "--action", "apply"])


REMOVE = ["--resource_group", "tweets", "--action", "remove", "--confirm", "tweets"]


def test_remove_takes_what_apply_has_made(cloud: Cloud) -> None:
    provision.main([*GIVEN_FLAGS, "--action", "apply"])
    provision.main(REMOVE)
    assert cloud.read() == Cloud.EMPTY
    assert len(cloud.calls("keyvault purge")) == 1
    provision.main(REMOVE)


def test_remove_that_was_cut_short_is_finished_by_the_next(cloud: Cloud) -> None:
    provision.main([*GIVEN_FLAGS, "--action", "apply"])
    cloud.plant(("keyvault purge", [1], "fail"))
    with pytest.raises(SystemExit, match="az keyvault purge --name ended with 1"):
        provision.main(REMOVE)
    (kept,) = cloud.read()["deleted"]
    others = kept | {"name": "kv-others", "properties": kept["properties"] | {"tags": None}}
    cloud.change(deleted=[kept, others])
    provision.main(REMOVE)
    assert cloud.read()["deleted"] == [others]  # which apply has not made


def test_a_group_is_the_same_in_capital_letters(cloud: Cloud) -> None:
    cloud.change(groups={"Tweets": {"name": "Tweets", "tags": {"cost-centre": "7"}}})
    with pytest.raises(RefusedError, match="was not made by apply"):
        provision.main(REMOVE)
    cloud.plant(("deployment group create", [1], "fail"))
    with pytest.raises(SystemExit, match="ServiceUnavailable"):
        provision.main([*GIVEN_FLAGS, "--action", "apply"])
    assert cloud.calls("group create") == []  # it would take the tags away, and say that apply has made the group


@pytest.mark.parametrize("action", ["show", "apply"])
def test_az_that_fails_from_the_start_ends_in_one_line(cloud: Cloud, action: str) -> None:
    cloud.plant(("account show", [1], "fail"))
    with pytest.raises(SystemExit, match=r"^provision: error: az account show .* type the same again$"):
        provision.main([*GIVEN_FLAGS, "--action", action])


def test_remove_leaves_what_somebody_else_has_made(cloud: Cloud) -> None:
    cloud.change(groups={"tweets": {"name": "tweets", "tags": None}})
    with pytest.raises(RefusedError, match="was not made by apply"):
        provision.main(["--resource_group", "tweets", "--action", "remove", "--confirm", "tweets"])
    assert cloud.calls("group delete") == []
    with pytest.raises(InputError, match="--confirm: got 'tweet'; allowed with --action remove: tweets"):
        provision.main(["--resource_group", "tweets", "--action", "remove", "--confirm", "tweet"])


def test_an_error_of_azure_says_what_to_type(cloud: Cloud) -> None:
    cloud.plant(("deployment group create", [1], "fail"))
    with pytest.raises(
        SystemExit,
        match=r"ended with 1: \(ServiceUnavailable\).*; what was made until then stays; .*type the same again",
    ):
        provision.main([*GIVEN_FLAGS, "--action", "apply"])
    provision.main([*GIVEN_FLAGS, "--action", "apply"])


@pytest.mark.parametrize(
    "given",
    [
        "--resource_group=", "--location=", "--location=West Europe", "--email=", "--email=nobody", "--sms=612345678", "--sms=+33 612",
        "--daily_cap=0", "--daily_cap=1.5", "--name=ab", "--name=Tweets", "--action=destroy", "--rotate=yes", "--model=",
    ],
)  # fmt: skip
def test_a_wrong_flag_is_named_and_nothing_is_asked(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    with pytest.raises((SystemExit, InputError)) as ended:
        provision.main([*GIVEN_FLAGS, given])
    message = capsys.readouterr().err or str(ended.value)
    assert f"{given.partition('=')[0]}: got " in message
    assert "allowed: " in message
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("template", "changes", "message"),
    [
        ("main", {"email": ...}, r"main\.json: email: missing; allowed: Mail address that alerts go to\."),
        ("main", {"dailyCap": 0}, r"main\.json: dailyCap: got 0; allowed: int minValue 1 maxValue 100: "),
        ("main", {"dailyCap": True}, r"main\.json: dailyCap: got True; allowed: int"),
        ("main", {"rules": {}}, r"main\.json: rules: got \{\}; allowed: array"),
        ("main", {"predictionKey": 7}, r"main\.json: predictionKey: got \.\.\.; allowed: secureString"),
        ("main", {"mail": "x"}, r"main\.json: mail: unknown; allowed: name, "),
        ("app", {"traffic": []}, r"app\.json: traffic: got \[\]; allowed: array minLength 1"),
        ("app", {"image": ...}, r"app\.json: image: missing"),
        ("app", {"withApiKey": "true"}, r"app\.json: withApiKey: got 'true'; allowed: bool"),
    ],
)
def test_a_parameter_that_does_not_fit_never_reaches_azure(
    cloud: Cloud, template: str, changes: dict[str, Any], message: str
) -> None:
    values = {name: value for name, value in (GIVEN[template] | changes).items() if value is not ...}
    with pytest.raises(InputError, match=message):
        templates.deploy("tweets", "tweet-sentiment", template, values)
    assert cloud.calls() == []


def test_parameters_that_fit_are_held_against_the_same_declarations() -> None:
    for template, values in GIVEN.items():
        if template != "app_service":
            templates.check(template, values)
            declared = json.loads((templates.FOLDER / f"{template}.json").read_text())["parameters"]
            assert set(values) <= set(declared)

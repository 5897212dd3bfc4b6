"""The templates: worked out as Resource Manager does, and every property held against the published type of its resource."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from registry_scripts.azure import queries, workbook
from tests import arm, azure_types, kql
from tests.arm import Template, TemplateError
from tests.conftest import ROOT

FOLDER = ROOT / "registry_scripts/azure"
PROFILE = json.loads((ROOT / "data/champion/model/artifacts/model/profile.json").read_text())
GIVEN: dict[str, dict[str, Any]] = {
    "main": {
        "name": "tweet-sentiment",
        "email": "who@watches.example",
        "smsCountryCode": "33",
        "smsNumber": "612345678",
        "dailyCap": 1,
        "rules": queries.as_list(PROFILE),
        "workbook": workbook.serialized(PROFILE),
        "predictionKey": "a key that nobody may see: the first",
        "apiKey": "a key that nobody may see: the second",
    },
    "app": {
        "name": "tweet-sentiment",
        "location": "westeurope",
        "image": "tweets.azurecr.io/tweet-sentiment@sha256:" + "0" * 64,
        "revisionSuffix": "v3-1127080229",
        "traffic": [{"revisionName": "tweet-sentiment--v2-1126080229", "weight": 100}],
        "version": "3",
        "environmentId": arm.GROUP + "/providers/Microsoft.App/managedEnvironments/one",
        "identityId": arm.GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one",
        "registryServer": "tweets.azurecr.io",
        "vaultUri": "https://kv-tweets.vault.azure.net/",
        "insightsName": "tweet-sentiment-insights",
        "withApiKey": True,
    },
    "app_service": {
        "name": "tweet-sentiment",
        "image": "tweets.azurecr.io/tweet-sentiment@sha256:" + "0" * 64,
        "identityId": arm.GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one",
        "vaultUri": "https://kv-tweets.vault.azure.net/",
        "insightsName": "tweet-sentiment-insights",
        "withApiKey": True,
    },
}
EACH = pytest.mark.parametrize("name", GIVEN)


def content(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def template(name: str, **given: Any) -> Template:
    return Template(content(name), GIVEN[name] | given)


def made(name: str, **given: Any) -> dict[str, list[dict[str, Any]]]:
    return template(name, **given).resources()


def wrong(found: Template) -> list[str]:
    messages = [message for ones in found.resources().values() for one in ones for message in azure_types.check(one)]
    found.outputs()
    for symbol, path in found.asked:
        kind = found.content["resources"][symbol]["type"]
        if not azure_types.knows(kind, path):
            messages.append(f"{kind}: nobody can ask for {'.'.join(path)}")
    return messages


@EACH
def test_every_property_is_one_that_the_resource_has(name: str) -> None:
    assert wrong(template(name)) == []


@EACH
def test_nothing_stands_in_a_template_that_is_not_used(name: str) -> None:
    found = template(name)
    found.resources()
    found.outputs()
    declared = {("parameters", one) for one in found.content["parameters"]}
    assert found.used == declared | {("variables", one) for one in found.content.get("variables", {})}


@EACH
def test_every_parameter_says_what_it_is(name: str) -> None:
    for parameter in content(name)["parameters"].values():
        assert parameter["metadata"]["description"].endswith(".")


@EACH
def test_no_secret_stands_in_a_template(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert not re.search(r"InstrumentationKey=|AccountKey=|SharedAccess|[0-9a-zA-Z+/]{43}=", text)
    for parameter, declared in content(name)["parameters"].items():
        secret = bool(re.search(r"[kK]ey$|[pP]assword|[sS]ecret", parameter)) and declared["type"] != "bool"
        assert (declared["type"] == "secureString") == secret, parameter
        assert not secret or declared["defaultValue"] == ""  # what a deployment without it must not change
    for output in content(name).get("outputs", {}).values():
        assert not re.search(r"listKeys|ConnectionString|Key'", output["value"])


Change = Callable[[dict[str, Any]], object]


def _rename(place: dict[str, Any], old: str, new: str) -> None:
    place[new] = place.pop(old)


#: Fault -> the template, what is changed in it, what the checker says.
PLANTED: dict[str, tuple[str, Change, str]] = {
    "a property misspelt": (
        "app",
        lambda app: _rename(app["app"]["properties"]["configuration"]["ingress"], "targetPort", "targetport"),
        "configuration.ingress.targetport: there is no such property",
    ),
    "an operator that there is not": (
        "main",
        lambda main: main["rules"]["properties"]["criteria"]["allOf"][0].update(operator="MoreThan"),
        "operator: 'MoreThan'; allowed: Equals, GreaterThan",
    ),
    "a property of a rule misspelt": (
        "main",
        lambda main: _rename(main["rules"]["properties"], "evaluationFrequency", "evaluationFrequence"),
        "properties.evaluationFrequence: there is no such property",
    ),
    "a property in the wrong place": (
        "app",
        lambda app: app["app"]["properties"].update(revisionSuffix="x"),
        "properties.revisionSuffix: there is no such property",
    ),
    "a text for a number": (
        "app",
        lambda app: app["app"]["properties"]["configuration"]["ingress"].update(targetPort="8080"),
        "targetPort: '8080' is no int",
    ),
    "a number for a text": (
        "app",
        lambda app: app["app"]["properties"]["template"]["scale"]["rules"][0]["http"]["metadata"].update(
            concurrentRequests=20
        ),
        "concurrentRequests: 20 is no str",
    ),
    "a probe of no kind": (
        "app",
        lambda app: app["app"]["properties"]["template"]["containers"][0]["probes"][0].update(type="Start"),
        "type: 'Start'; allowed: Liveness, Readiness, Startup",
    ),
    "a probe that fails too often": (
        "app",
        lambda app: app["app"]["properties"]["template"]["containers"][0]["probes"][0].update(failureThreshold=30),
        "failureThreshold: 30 does not lie between 1.0 and 10.0",
    ),
    "a mode of revisions": (
        "app",
        lambda app: app["app"]["properties"]["configuration"].update(activeRevisionsMode="Several"),
        "activeRevisionsMode: 'Several'; allowed: ",
    ),
    "what must stand": (
        "main",
        lambda main: main["people"]["properties"].pop("groupShortName"),
        "properties.groupShortName: it must stand",
    ),
    "a sender's name that is too long": (
        "main",
        lambda main: main["people"]["properties"].update(groupShortName="tweet-sentiment"),
        "groupShortName: 15 does not lie between None and 12",
    ),
    "what must stand, in a vault": (
        "main",
        lambda main: main["vault"]["properties"].pop("tenantId"),
        "properties.tenantId: it must stand",
    ),
    "what only Azure sets": (
        "main",
        lambda main: main["registry"]["properties"].update(loginServer="x"),
        "properties.loginServer: only Azure sets it",
    ),
    "a receiver's name": (
        "main",
        lambda main: _rename(main["people"]["properties"]["emailReceivers"][0], "emailAddress", "email"),
        "emailReceivers[0].email: there is no such property",
    ),
    "a version of the interface": (
        "main",
        lambda main: main["insights"].update(apiVersion="2021-02-02"),
        "Microsoft.Insights/components: no version 2021-02-02",
    ),
    "a kind of resource": (
        "main",
        lambda main: main["insights"].update(type="Microsoft.Insights/component"),
        "Microsoft.Insights/component: no type is known",
    ),
    "what nobody can ask for": (
        "main",
        lambda main: main["identityPulls"]["properties"].update(principalId="[reference('identity').objectId]"),
        "userAssignedIdentities: nobody can ask for objectId",
    ),
    "a setting of a site": (
        "app_service",
        lambda site: _rename(site["site"]["properties"]["siteConfig"], "healthCheckPath", "healthPath"),
        "siteConfig.healthPath: there is no such property",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str) -> None:
    name, change, message = PLANTED[fault]
    changed = copy.deepcopy(content(name))
    change(changed["resources"])
    assert any(message in one for one in wrong(Template(changed, GIVEN[name]))), wrong(Template(changed, GIVEN[name]))


@pytest.mark.parametrize(
    ("here", "there", "message"),
    [
        ("variables('vaultName')", "variables('vault')", "there is none"),
        ("reference('vault')", "reference('safe')", "there is no such resource"),
        ('"dependsOn": ["vault"]', '"dependsOn": ["safe"]', "safe, which is no resource"),
        ("uniqueString(", "unique(", "unique: this function is not known"),
        ("not(empty(", "not(empty ", "empty: neither a text nor a function"),
        ("].operator]", "].operators]", "there is no operators"),
        ("userAssignedIdentities', variables", "userAssignedIdentities', 'x', variables", "has 1 names, and not 2"),
    ],
)
def test_an_expression_that_means_nothing_is_found(here: str, there: str, message: str) -> None:
    text = (FOLDER / "main.json").read_text(encoding="utf-8")
    assert here in text
    with pytest.raises(TemplateError, match=message):
        found = Template(json.loads(text.replace(here, there)), GIVEN["main"])
        found.resources()
        found.outputs()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("main", {"email": ...}, "'email' is not provided"),
        ("main", {"dailyCap": "1"}, "'dailyCap' is no int"),
        ("main", {"dailyCap": 0}, "'dailyCap' is too small"),
        ("main", {"name": "a-name-of-more-than-twenty"}, "'name' is too small or too large"),
        ("main", {"rules": {}}, "'rules' is no array"),
        ("main", {"mail": "x"}, "does not have: mail"),
        ("app", {"image": ...}, "'image' is not provided"),
        ("app", {"traffic": []}, "'traffic' is too small"),
        ("app", {"withApiKey": "true"}, "'withApiKey' is no bool"),
        ("app", {"minReplicas": True}, "'minReplicas' is no int"),
    ],
)
def test_a_parameter_that_is_missing_or_of_a_wrong_form_is_refused(
    name: str, given: dict[str, Any], message: str
) -> None:
    values = {key: value for key, value in (GIVEN[name] | given).items() if value is not ...}
    with pytest.raises(TemplateError, match=message):
        Template(content(name), values)


def test_every_rule_is_deployed_with_its_query() -> None:
    rules = {one["properties"]["displayName"]: one["properties"] for one in made("main")["rules"]}
    known = queries.rules(PROFILE)
    assert {rule["displayName"]: rule["query"] for rule in known.values()} == {
        name: rule["criteria"]["allOf"][0]["query"] for name, rule in rules.items()
    }
    for rule in rules.values():
        assert rule["actions"]["actionGroups"] == [
            arm.GROUP + "/providers/Microsoft.Insights/actionGroups/tweet-sentiment-people"
        ]
        assert rule["scopes"] == [arm.GROUP + "/providers/Microsoft.Insights/components/tweet-sentiment-insights"]


def test_a_key_is_written_only_where_one_is_given() -> None:
    with_keys, without = made("main"), made("main", predictionKey="", apiKey="")
    assert [len(with_keys[name]) for name in ("predictionKey", "apiKey")] == [1, 1]
    assert [len(without[name]) for name in ("predictionKey", "apiKey")] == [0, 0]


def test_the_app_may_pull_and_read_secrets_and_nothing_else() -> None:
    resources = made("main")
    roles = {
        name: (one["scope"].split("/")[-2], one["properties"]["roleDefinitionId"].split("/")[-1])
        for name, (one, *_) in resources.items()
        if one["type"].endswith("roleAssignments")
    }
    assert roles == {
        "identityPulls": ("registries", "7f951dda-4ed3-4680-a7ca-43fe172d538d"),  # AcrPull
        "identityReadsSecrets": ("vaults", "4633458b-17de-408a-874b-0445c86b69e6"),  # Key Vault Secrets User
    }
    assert resources["registry"][0]["properties"]["adminUserEnabled"] is False
    assert resources["vault"][0]["properties"]["enableRbacAuthorization"] is True


def test_without_a_number_nobody_gets_an_sms() -> None:
    receivers = made("main")["people"][0]["properties"]["smsReceivers"]
    assert receivers == [{"name": "sms", "countryCode": "33", "phoneNumber": "612345678"}]
    assert made("main", smsNumber="")["people"][0]["properties"]["smsReceivers"] == []
    assert len(made("main")["people"][0]["properties"]["groupShortName"]) <= 12  # the sender that an SMS shows


@pytest.mark.parametrize("closed", [True, False])
def test_the_app_gets_its_secrets_by_reference_and_asks_for_a_key_where_there_is_one(closed: bool) -> None:
    app = made("app", withApiKey=closed)["app"][0]["properties"]
    secrets = {one["name"]: one for one in app["configuration"]["secrets"]}
    env = {one["name"]: one for one in app["template"]["containers"][0]["env"]}
    assert {one["secretRef"] for one in env.values() if "secretRef" in one} == set(secrets)
    assert secrets["prediction-key"]["keyVaultUrl"] == "https://kv-tweets.vault.azure.net/secrets/prediction-key"
    assert secrets["insights"]["value"] == "<insights.ConnectionString>"
    assert ("SERVE_API_KEY" in env) == closed
    site = made("app_service", withApiKey=closed)["site"][0]["properties"]["siteConfig"]
    settings = {one["name"]: one["value"] for one in site["appSettings"]}
    assert ("SERVE_API_KEY" in settings) == closed
    vault = "@Microsoft.KeyVault(SecretUri=https://kv-tweets.vault.azure.net/secrets/"
    assert settings["SERVE_PREDICTION_KEY"] == f"{vault}prediction-key)"
    assert settings.get("SERVE_API_KEY", "") in ("", f"{vault}api-key)")


def test_a_new_revision_gets_no_traffic_and_is_asked_whether_it_is_well() -> None:
    app = made("app")["app"][0]["properties"]
    assert app["configuration"]["activeRevisionsMode"] == "Multiple"
    assert app["configuration"]["ingress"]["traffic"] == GIVEN["app"]["traffic"]
    container = app["template"]["containers"][0]
    assert {one["type"] for one in container["probes"]} == {"Startup", "Readiness", "Liveness"}
    docker = (ROOT / "registry_scripts/image/Dockerfile").read_text()
    port = int(re.search(r"PORT=(\d+)", docker)[1])  # type: ignore[index]
    assert {one["httpGet"]["port"] for one in container["probes"]} == {port}
    assert app["configuration"]["ingress"]["targetPort"] == port
    settings = made("app_service")["site"][0]["properties"]["siteConfig"]["appSettings"]
    assert {"name": "WEBSITES_PORT", "value": str(port)} in settings


def test_the_workbook_shows_what_it_should_and_is_one_that_the_portal_reads() -> None:
    resource = made("main")["workbook"][0]["properties"]
    book = json.loads(resource["serializedData"])
    assert book["fallbackResourceIds"] == [resource["sourceId"]]
    assert book["version"] == "Notebook/1.0"
    parameters = [one["name"] for item in book["items"] if item["type"] == 9 for one in item["content"]["parameters"]]
    panels = {item["name"]: item["content"] for item in book["items"] if item["type"] == 3}
    assert len(panels) + 1 == len(book["items"])
    assert set(panels) == {"volume", "labels", "latency", "failures", "error_rate", "texts", "drift", "worst"}
    assert {path.stem for path in (FOLDER / "workbook").glob("*.kql")} == set(panels) - {"drift"}
    for panel in panels.values():
        assert panel["timeContextFromParameter"] in parameters
        assert panel["resourceType"] == "microsoft.insights/components"
        assert panel["visualization"] in ("timechart", "barchart", "table")
        assert panel["title"]


WORKBOOK = {
    item["name"]: item["content"]["query"]
    for item in json.loads(workbook.serialized(PROFILE))["items"]
    if item["type"] == 3
}


@pytest.fixture(scope="module")
def checked() -> dict[str, kql.Checked]:
    planted = WORKBOOK["worst"].replace("customDimensions.expected", "customDimensions.meant")
    return kql.checked({**WORKBOOK, "planted": planted})


@pytest.mark.parametrize("name", WORKBOOK)
def test_the_language_service_finds_nothing_wrong_with_a_query_of_the_workbook(
    checked: dict[str, kql.Checked], name: str
) -> None:
    assert checked[name].messages == []


def test_a_planted_fault_in_a_query_of_the_workbook_is_found(checked: dict[str, kql.Checked]) -> None:
    assert "customDimensions.meant: the event feedback has no such name" in checked["planted"].messages


def test_the_workbook_shows_the_drift_that_the_rule_does_not_tell_of() -> None:
    rule = queries.query("drift", PROFILE)
    assert "where psi > large" in rule
    assert "where psi > large" not in WORKBOOK["drift"]
    assert WORKBOOK["drift"].startswith(rule[:-100])

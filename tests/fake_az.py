"""Azure's command line, as far as provision and deploy use it: a program for the PATH, with a folder as the cloud. Not a test itself.

Answers have the form of Azure's REST interface, which a test holds against its published types. Templates are worked out by
tests/arm.py. `state.json` in the folder of this program is the cloud, `calls` what was asked, `faults.json` what goes wrong at which
call of a command: `fail` before anything is done, `after` when it is done, `hang`, `logout`, or a list: a program to run first.
Images and revisions are entries in the state, unless it says where real ones are (tests/loopback.py).
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

FOLDER = Path(sys.argv[0]).resolve().parent
State = dict[str, Any]


def main() -> None:
    """Do what is asked."""
    words, flags = split(sys.argv[1:])
    command = " ".join(words)
    fault = planted(command)
    if isinstance(fault, list):
        subprocess.run(fault, check=True, stdout=subprocess.DEVNULL)
    if fault == "fail":
        refuse("ERROR: (ServiceUnavailable) The service is unavailable now, give it a try later.")
    if fault == "hang":
        time.sleep(600)
    if fault == "logout":
        with cloud() as state:
            state["logged_in"] = False
    with cloud() as state:
        if not state["logged_in"]:
            refuse("ERROR: Please run 'az login' to setup account.")
        if command not in COMMANDS:
            refuse(f"ERROR: '{command}' is misspelled or not recognized by the system.", 2)
        answer = COMMANDS[command](state, flags)
    if fault == "after":
        refuse("ERROR: (GatewayTimeout) The gateway did not receive a response within the specified time.")
    with (FOLDER / "answers").open("a") as log:
        log.write(json.dumps([command, answer]) + "\n")
    if answer is not None:
        print(json.dumps(answer))


def split(argv: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the words of a command, and its flags with their values."""
    words: list[str] = []
    flags: dict[str, list[str]] = {}
    values = words
    for text in argv:
        if text.startswith("--"):
            values = flags.setdefault(text[2:], [])
        else:
            values.append(text)
    return words, flags


def planted(command: str) -> Any:
    """Write down that a command was asked, and return what goes wrong with it, if anything."""
    with (FOLDER / "calls").open("a+") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        log.write(json.dumps(sys.argv[1:]) + "\n")
        log.seek(0)
        number = sum(" ".join(split(json.loads(line))[0]) == command for line in log)
    faults = json.loads((FOLDER / "faults.json").read_text()) if (FOLDER / "faults.json").exists() else []
    return next((what for name, calls, what in faults if name == command and number in calls), None)


@contextmanager
def cloud() -> Any:
    """Give the state to one at a time, and keep what it has become."""
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads((FOLDER / "state.json").read_text())
        yield state
        keep(FOLDER, state)


def keep(folder: Path, state: State) -> None:
    """Write the state, at once: it is also read without the lock."""
    new = folder / f"state-{os.getpid()}.json"
    new.write_text(json.dumps(state))
    new.replace(folder / "state.json")


class Recorded:
    """Images and revisions that are entries in the state, and nothing else."""

    def __init__(self, state: State) -> None:
        self.images = state["images"]

    def server(self, registry: str) -> str:
        """Return the address of a registry."""
        return f"{registry}.azurecr.io"

    def digest(self, image: str) -> str | None:
        """Return the digest of an image that is named as name:tag or name@digest, or None: it is not there."""
        digest = image.partition("@")[2]
        return digest if digest in self.images.values() else self.images.get(image)

    def begin(self, app: dict[str, Any], revision: str, address: str) -> None:
        """Run a new revision of an app, at an address."""

    def start(self, revision: str) -> None:
        """Run a revision again."""

    def stop(self, revision: str) -> None:
        """Stop a revision."""


def place(state: State) -> Any:
    """Return where images and revisions are."""
    if not state["loopback"]:
        return Recorded(state)
    from tests import loopback

    return loopback.Loopback(**state["loopback"])


def refuse(message: str, code: int = 1) -> None:
    """End as az does."""
    print(message, file=sys.stderr)
    sys.exit(code)


def one(flags: dict[str, list[str]], name: str) -> str:
    """Return the value of a flag."""
    if name not in flags:
        refuse(f"ERROR: the following arguments are required: --{name}", 2)
    (value,) = flags[name]
    return value


def group_create(state: State, flags: dict[str, list[str]]) -> Any:
    tags = dict(text.split("=") for text in flags.get("tags", []))
    state["groups"][one(flags, "name")] = {"name": one(flags, "name"), "location": one(flags, "location"), "tags": tags}
    return state["groups"][one(flags, "name")]


def group_delete(state: State, flags: dict[str, list[str]]) -> None:
    if "yes" not in flags:
        refuse("ERROR: Unable to prompt for confirmation as no tty available. Use --yes.")
    from tests import arm

    del state["groups"][one(flags, "name")]
    group = arm.GROUP.rpartition("/")[0] + "/" + one(flags, "name")
    kind = "Microsoft.KeyVault/vaults"
    for name in [name.rpartition("/")[2] for name in state["resources"] if name.rpartition("/")[0] == kind]:
        about = {"vaultId": f"{group}/providers/{kind}/{name}", "location": "westeurope", "tags": {"made-by": "x"}}
        state["deleted"].append({"name": name, "type": "Microsoft.KeyVault/deletedVaults", "properties": about})
    state.update(deployments={}, apps={}, revisions={}, resources={})


def worked_out(state: State, flags: dict[str, list[str]]) -> tuple[Any, list[dict[str, Any]]]:
    from tests import arm

    if one(flags, "resource-group") not in state["groups"]:
        refuse(f"ERROR: (ResourceGroupNotFound) Resource group '{one(flags, 'resource-group')}' could not be found.")
    given = json.loads(Path(one(flags, "parameters").removeprefix("@")).read_text())["parameters"]
    try:
        template = arm.Template.load(
            Path(one(flags, "template-file")), {name: at["value"] for name, at in given.items()}
        )
        resources = [resource for ones in template.resources().values() for resource in ones]
        outputs = template.outputs()
    except arm.TemplateError as error:
        refuse(f"ERROR: InvalidTemplate - Deployment template validation failed: '{error}'")
    told = {
        "<registry.loginServer>": place(state).server(outputs.get("registryName")),
        "<vault.vaultUri>": f"https://{outputs.get('vaultName')}.vault.azure.net/",
    }
    outputs = {name: told.get(value, value) for name, value in outputs.items()}
    return outputs, resources


def deployment_create(state: State, flags: dict[str, list[str]]) -> Any:
    outputs, resources = worked_out(state, flags)
    for resource in resources:
        state["resources"][f"{resource['type']}/{resource['name']}"] = resource["apiVersion"]
        if resource["type"] == "Microsoft.App/containerApps":
            make_revision(state, resource)
    shown = {"properties": {"outputs": {name: {"type": "String", "value": value} for name, value in outputs.items()}}}
    state["deployments"][one(flags, "name")] = shown
    return shown


def make_revision(state: State, resource: dict[str, Any]) -> None:
    name, properties = resource["name"], resource["properties"]
    revision = f"{name}--{properties['template']['revisionSuffix']}"
    if revision in state["revisions"]:
        refuse(f"ERROR: (RevisionExists) a revision with the name {revision} already exists.")
    image = properties["template"]["containers"][0]["image"]
    if place(state).digest(image.partition("/")[2]) is None:
        refuse(f"ERROR: (InvalidParameterValueInContainerTemplate) MANIFEST_UNKNOWN: {image}")
    address = state["addresses"].pop(0)
    place(state).begin(resource, revision, address)
    state["revisions"][revision] = {
        "id": f"{app_id(name)}/revisions/{revision}",
        "name": revision,
        "type": "Microsoft.App/containerapps/revisions",
        "properties": {
            "createdTime": datetime.now(UTC).isoformat(),
            "fqdn": address,
            "template": properties["template"],
            "active": True,
            "replicas": 1,
            "trafficWeight": 0,
            "healthState": "Healthy",
            "provisioningState": "Provisioned",
            "runningState": "Running",
        },
    }
    app = {"id": app_id(name), "name": name, "type": "Microsoft.App/containerApps", "location": resource["location"]}
    about = {"latestRevisionName": revision, "provisioningState": "Succeeded"}
    state["apps"][name] = {**app, "properties": {**properties, **about}}
    tell_weights(state, name)


def app_id(name: str) -> str:
    from tests import arm

    return f"{arm.GROUP}/providers/Microsoft.App/containerApps/{name}"


def tell_weights(state: State, app: str) -> None:
    properties = state["apps"][app]["properties"]
    weights = {
        at.get("revisionName", properties["latestRevisionName"]): at["weight"]
        for at in properties["configuration"]["ingress"]["traffic"]
    }
    for name, revision in state["revisions"].items():
        revision["properties"]["trafficWeight"] = weights.get(name, 0)


def deployment_show(state: State, flags: dict[str, list[str]]) -> Any:
    if one(flags, "name") not in state["deployments"]:
        refuse(f"ERROR: (DeploymentNotFound) Deployment '{one(flags, 'name')}' could not be found.")
    return state["deployments"][one(flags, "name")]


def what_if(state: State, flags: dict[str, list[str]]) -> Any:
    from tests import arm

    assert "no-pretty-print" in flags
    _, resources = worked_out(state, flags)
    changes = []
    for resource in resources:
        kind = "NoChange" if f"{resource['type']}/{resource['name']}" in state["resources"] else "Create"
        path = f"{arm.GROUP}/providers/{resource['type']}/{resource['name']}"
        changes.append({"changeType": kind, "resourceId": path})
    return {"status": "Succeeded", "changes": changes}


def traffic_set(state: State, flags: dict[str, list[str]]) -> Any:
    weights = {name: int(weight) for name, weight in (text.split("=") for text in flags["revision-weight"])}
    if sum(weights.values()) != 100:
        refuse("ERROR: Traffic weights must sum up to 100.")
    for name, weight in weights.items():
        if name not in state["revisions"] or (weight and not state["revisions"][name]["properties"]["active"]):
            refuse(f"ERROR: revision {name} is not there, or not active.")
    traffic = [{"revisionName": name, "weight": weight} for name, weight in weights.items()]
    state["apps"][one(flags, "name")]["properties"]["configuration"]["ingress"]["traffic"] = traffic
    tell_weights(state, one(flags, "name"))
    return traffic


def switched(active: bool) -> Callable[[State, dict[str, list[str]]], Any]:
    def switch(state: State, flags: dict[str, list[str]]) -> Any:
        properties = state["revisions"][one(flags, "revision")]["properties"]
        if not active and properties["trafficWeight"]:
            refuse("ERROR: a revision that has traffic cannot be deactivated.")
        (place(state).start if active else place(state).stop)(one(flags, "revision"))
        properties["active"] = active
        return "Deactivate succeeded" if not active else "Activate succeeded"

    return switch


def image_show(state: State, flags: dict[str, list[str]]) -> Any:
    digest = place(state).digest(one(flags, "image"))
    if digest is None:
        refuse("ERROR: the specified tag does not exist.")
    return {"name": one(flags, "image").partition(":")[2], "digest": digest}


def metrics(state: State, flags: dict[str, list[str]]) -> Any:
    datetime.strptime(one(flags, "start-time"), "%Y-%m-%dT%H:%M:%SZ")
    revision = one(flags, "filter").split("'")[1]
    counts = state["requests"].get(revision[len("tweet-sentiment--") :].partition("-")[0], {"2xx": 0})
    series = [
        {
            "metadatavalues": [
                {"name": {"value": "revisionname"}, "value": revision},
                {"name": {"value": "statuscodecategory"}, "value": category},
            ],
            "data": [
                {"timeStamp": "2026-11-27T08:00:00Z", "total": count},
                {"timeStamp": "2026-11-27T08:01:00Z"},
            ],
        }
        for category, count in counts.items()
    ]
    path = one(flags, "resource") + "/providers/Microsoft.Insights/metrics/Requests"
    value = {"id": path, "type": "Microsoft.Insights/metrics", "name": {"value": "Requests"}, "unit": "Count"}
    return {"timespan": "", "interval": "PT1M", "value": [{**value, "timeseries": series}]}


def secret_show(state: State, flags: dict[str, list[str]]) -> Any:
    vault, _, secret = one(flags, "ids").rpartition("/vaults/")[2].partition("/secrets/")
    if f"Microsoft.KeyVault/vaults/secrets/{vault}/{secret}" not in state["resources"]:
        refuse(f"ERROR: (SecretNotFound) The secret {secret} could not be found.")
    return {"name": secret}


def vault_list(state: State, flags: dict[str, list[str]]) -> Any:
    from tests import arm

    kind = one(flags, "resource-type")
    names = [name.rpartition("/")[2] for name in state["resources"] if name.rpartition("/")[0] == kind]
    return [{"id": f"{arm.GROUP}/providers/{kind}/{name}", "name": name, "location": "westeurope"} for name in names]


def purge(state: State, flags: dict[str, list[str]]) -> None:
    assert one(flags, "location") == "westeurope"
    state["deleted"] = [at for at in state["deleted"] if at["name"] != one(flags, "name")]


COMMANDS: dict[str, Callable[[State, dict[str, list[str]]], Any]] = {
    "account show": lambda state, flags: {"id": "00000000-0000-0000-0000-000000000001", "state": "Enabled"},
    "acr login": lambda state, flags: {
        "accessToken": state["token"],
        "loginServer": place(state).server(one(flags, "name")),
    },
    "acr repository show": image_show,
    "containerapp ingress traffic set": traffic_set,
    "containerapp list": lambda state, flags: list(state["apps"].values()),
    "containerapp revision activate": switched(True),
    "containerapp revision deactivate": switched(False),
    "containerapp revision list": lambda state, flags: list(state["revisions"].values()),
    "deployment group create": deployment_create,
    "deployment group show": deployment_show,
    "deployment group what-if": what_if,
    "group create": group_create,
    "group delete": group_delete,
    "group list": lambda state, flags: list(state["groups"].values()),
    "keyvault list-deleted": lambda state, flags: state["deleted"],
    "keyvault purge": purge,
    "monitor metrics list": metrics,
    "resource list": vault_list,
    "resource show": secret_show,
}


class Cloud:
    """The cloud as a test sees it: the program in a folder for the PATH, and its state."""

    EMPTY: ClassVar[State] = {
        "logged_in": True,
        "groups": {},
        "deployments": {},
        "resources": {},
        "deleted": [],
        "apps": {},
        "revisions": {},
        "addresses": [],
        "images": {},
        "requests": {},
        "token": "a token",
        "loopback": {},
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root = Path(__file__).resolve().parents[1]
        folder.mkdir()
        start = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\nfrom tests import fake_az\nfake_az.main()\n"
        (folder / "az").write_text(start)
        (folder / "az").chmod(0o755)
        self.write(self.EMPTY)

    def read(self) -> State:
        """Return the state."""
        state: State = json.loads((self.folder / "state.json").read_text())
        return state

    def write(self, state: State) -> None:
        """Set the state."""
        keep(self.folder, state)

    def change(self, **values: Any) -> None:
        """Set parts of the state."""
        self.write(self.read() | values)

    def plant(self, *faults: tuple[str, list[int], Any]) -> None:
        """Let calls of commands go wrong: command, numbers of the calls, what."""
        (self.folder / "faults.json").write_text(json.dumps(faults))

    def calls(self, command: str = "") -> list[list[str]]:
        """Return the calls of a command, or all."""
        log = self.folder / "calls"
        found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [call for call in found if " ".join(call).startswith(command)]

    def answers(self) -> list[tuple[str, Any]]:
        """Return each command that was answered with its answer."""
        return [tuple(json.loads(line)) for line in (self.folder / "answers").read_text().splitlines()]

    def weights(self) -> dict[str, int]:
        """Return who answers which share."""
        found = {name: at["properties"]["trafficWeight"] for name, at in self.read()["revisions"].items()}
        return {name: weight for name, weight in found.items() if weight}

    def active(self) -> list[str]:
        """Return the revisions that run."""
        return [name for name, at in self.read()["revisions"].items() if at["properties"]["active"]]


#: An engine for the PATH that builds nothing, and pushes to the cloud of the folder: an image has the digest of its labels.
ENGINE = f"""#!{sys.executable}
import hashlib, json, os, sys
folder = os.path.dirname(os.path.abspath(__file__))
asked = sys.argv[1:]
with open(folder + "/engine", "a") as log:
    log.write(json.dumps(asked) + "\\n")
mood = os.environ.get("ENGINE_FAILS", "")
if asked[0] == mood:
    sys.exit("denied: requested access to the resource is denied")
if asked[0] == "build":
    print("STEP 1/2: FROM nothing", flush=True)
if asked[0] == "login" and sys.stdin.read() != "a token":
    sys.exit("unauthorized")
if asked[0] == "push":
    state = json.load(open(folder + "/state.json"))
    state["images"][asked[1].partition("/")[2]] = "sha256:" + hashlib.sha256(asked[1].encode()).hexdigest()
    json.dump(state, open(folder + "/state.json", "w"))
if asked[0] == "image":
    print(636000000)
"""

"""Brings the champion to Azure as a new revision of the container app, or goes back to the revision before.

    mlflow run . -e deploy --env-manager local -P resource_group=tweets
    python -m registry_scripts.deploy --resource_group tweets --steps 10,50,100 --minutes 10
    python -m registry_scripts.deploy --resource_group tweets --action rollback
    python -m registry_scripts.deploy --resource_group tweets --action status

Builds the image and pushes it, makes a revision of its digest that gets no traffic, asks this revision at its own address who it is,
what it says to known tweets and whether it takes feedback, then shifts the traffic in steps and watches after each whether
it fails. Whatever goes wrong, the revision that served before serves again, and the last line says what is left and what to type.
`rollback` needs neither MLflow nor an engine; the revision that it leaves is kept, so that a second rollback goes forward again.

Needs what `provision` has made, `az` logged in, docker or podman, and the registry of models; SERVE_API_KEY in the environment
where the endpoint asks for a key. Ends with exit code 1 where the champion does not serve.
"""

import os
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tabulate import tabulate

from registry_scripts.azure import az, container_app, container_registry, rollout, smoke, templates
from registry_scripts.azure.container_app import App
from registry_scripts.azure.names import APP, app_name, group_name, need
from registry_scripts.azure.rollout import Rollout
from registry_scripts.azure.smoke import Endpoint, RedError
from registry_scripts.image import build
from registry_scripts.registry import lock
from steps.sentiment import command_line, registry
from steps.sentiment.command_line import (
    Flags,
    InputError,
    RefusedError,
    Values,
    fraction,
    like,
    one_of,
    positive_number,
)
from steps.sentiment.model_folder import Identity
from steps.sentiment.registry import Version

#: Seconds that a revision may take until it is well: its image is pulled, its model loaded.
START = 300.0
#: Seconds that a second deployment waits for the first, which takes far longer: just so that of two at the same moment one goes on.
PATIENCE = 5.0
#: Minutes for which a deployment watches, at most: a login of GitHub's at Azure is good for an hour, and build and push come first.
LONGEST = 30.0
#: The outputs of provision that are parameters of the app's template too.
_SHARED = ("location", "environmentId", "identityId", "registryServer", "vaultUri", "insightsName")


def shares(text: str) -> list[int]:
    """Read the steps of the traffic: growing whole numbers of percent, of which the last is 100."""
    parts = [part.strip() for part in text.split(",")]
    found = [int(part) for part in parts if part.isdecimal()]
    if len(found) != len(parts) or found != sorted(set(found)) or not found or found[0] < 1 or found[-1] != 100:
        raise ValueError("growing whole numbers from 1 to 100, separated by commas, of which the last is 100")
    return found


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("deploy", __doc__)
    flags.flag("action", "deploy", "deploy, rollback, or status", one_of(("deploy", "rollback", "status")))
    flags.flag("resource_group", "", "the resource group that provision was given", group_name)
    flags.flag("name", registry.MODEL, "the name that provision was given", app_name)
    flags.flag("engine", "docker", "docker or podman", one_of(build.ENGINES))
    flags.flag("base", "", "image to build on; default: as build_image")
    flags.flag("steps", "25,50,100", "percent of the traffic, one after the other", shares)
    flags.flag("minutes", "5", "of watching after each step", positive_number)
    flags.flag("most_errors", "0.05", "share of requests that may fail with 5xx", fraction)
    flags.flag(
        "revision",
        "",
        "to go back to; default: the one before",
        like(r"[a-z0-9-]+", "the name of a revision, as --action status shows it"),
    )
    return flags


def main(argv: list[str] | None = None) -> None:
    """Do what is asked."""
    given = flags().read(argv)
    need(given, "resource_group")
    if given.revision and given.action != "rollback":
        raise InputError(f"--revision: got {given.revision!r}; allowed: with --action rollback only")
    if given.action == "deploy" and given.minutes * len(given.steps) > LONGEST:
        raise InputError(
            f"--minutes: got {given.texts['minutes']!r} for each of {len(given.steps)} steps; allowed: {LONGEST:g} in all"
        )
    app = App(given.resource_group, given.name)
    try:
        az.ready()
        {"deploy": deploy, "rollback": rollback, "status": status}[given.action](given, app)
    except (az.AzError, build.EngineError) as error:
        left = "the traffic is as it was; when this is mended, type the same again"
        raise SystemExit(f"deploy: error: {error}; {left if given.action == 'deploy' else look(given)}") from error


def deploy(given: Values, app: App) -> None:
    """Build, push, make a revision, test it, and let it take over."""
    build.ready(given.engine)
    champion = promoted()
    with lock.held("deploy", PATIENCE, lock.DEPLOYMENT):
        content = app.content()
        before = settled(content, given)
        key = api_key(content)
        made = templates.provisioned(app.group, app.name, (*_SHARED, "registryName"))
        image, who = pushed(given, made, champion)
        suffix = f"v{champion.number}-{datetime.now(UTC):%m%d%H%M%S}"
        started = Rollout(app, f"{app.name}--{suffix}", before)
        values = {
            **{name: made[name] for name in _SHARED},
            "name": app.name,
            "image": image,
            "revisionSuffix": suffix,
            "version": str(champion.number),
            "traffic": [{"revisionName": name, "weight": weight} for name, weight in before.items()]
            or [{"latestRevision": True, "weight": 100}],
            "withApiKey": bool(key),
        }
        try:
            take_over(given, started, values, Endpoint("", key), who)
        except BaseException as error:  # told to stop too: who serves must not depend on how this ends
            with command_line.undisturbed():
                # By its name: the traffic may be back already, and the one before it would be another.
                left = started.put_back(f"{command(given, 'rollback')} --revision {next(iter(before), '')}")
            raise SystemExit(
                f"deploy: error: {reason(error)}; {left}; the image stays in the registry ({image}); "
                f"when this is mended, type: {command(given, 'deploy')}"
            ) from error
        tidy(started)
    print(f"deploy: version {champion.number} serves all traffic as {started.new}; back: {command(given, 'rollback')}")


def take_over(given: Values, started: Rollout, values: Mapping[str, Any], endpoint: Endpoint, who: Identity) -> None:
    """Make the revision, and let it take over if it is what it should be."""

    def still() -> None:
        if (now := promoted().number) != int(values["version"]):
            raise RefusedError(
                f"version {now} was promoted in the meantime, and version {values['version']} is deployed no further"
            )

    still()
    started.untouched()  # the template says who answers which share, and must not undo what somebody did while the image was built
    templates.deploy(given.resource_group, f"{given.name}-{APP}", APP, values)
    made = started.app.revision(started.new)
    if made is None:
        raise RedError(f"{started.new} is not among the revisions")
    endpoint.address = made.address
    print(f"deploy: {started.new} is there, without traffic, at {endpoint.address}", flush=True)
    smoke.wait(endpoint, START)
    smoke.test(endpoint, who)
    print(f"deploy: smoke test passed: version {who.version}, {len(smoke.TWEETS)} known tweets, feedback", flush=True)
    if not started.before:  # there was no app: all traffic is its own, and stays so when a newer revision is made
        started.set({started.new: 100})
    steps = given.steps if started.before else [100]
    rollout.carry_out(started, endpoint, steps, given.minutes, given.most_errors, still)


def tidy(started: Rollout) -> None:
    """Switch off the revisions that nobody goes back to; where that fails they cost a little, and the champion serves all the same."""
    try:
        for one in started.app.revisions():
            if one.active and not one.weight and one.name not in (started.new, *started.before):
                started.app.deactivate(one.name)
    except az.AzError as error:
        print(f"deploy: an older revision may still run ({error}); the next deployment tries again")


def promoted() -> Version:
    """Return the champion.

    Raises:
        InputError: there is none.
    """
    champion = registry.with_alias(registry.CHAMPION)
    if champion is None:
        raise InputError("there is no champion to deploy; run promote first")
    return champion


def settled(content: Mapping[str, Any] | None, given: Values) -> dict[str, int]:
    """Return who serves before a deployment, with its 100 percent; nobody where there is no app yet.

    Raises:
        RefusedError: the traffic is shared: a deployment is going on, or one has died.
    """
    weights = container_app.weights_of(content) if content else {}
    if len(weights) > 1:
        raise RefusedError(
            f"the traffic is shared ({container_app.told(weights)}): a deployment that goes on elsewhere, or one that died; "
            f"to go back to the revision before it, type: {command(given, 'rollback')}"
        )
    return weights


def api_key(content: Mapping[str, Any] | None) -> str:
    """Return the key that clients must send, from the environment, or an empty text.

    Raises:
        InputError: there is none, and the app asks for one: a deployment must not open it by oversight.
    """
    key = os.environ.get("SERVE_API_KEY", "")
    secrets = (content or {"properties": {"configuration": {}}})["properties"]["configuration"].get("secrets") or []
    if not key and any(one["name"] == "api-key" for one in secrets):
        raise InputError(
            "SERVE_API_KEY: not set, and the endpoint asks for a key; allowed: the one that provision was given"
        )
    return key


def pushed(given: Values, made: Mapping[str, Any], champion: Version) -> tuple[str, Identity]:
    """Build the champion's image and push it; return it by its digest, and who the model in it is."""
    container_registry.enter(given.engine, made)
    name = f"{made['registryServer']}/{registry.MODEL}"
    built, who = build.make(given.engine, f"models:/{registry.MODEL}/{champion.number}", name, "", given.base)
    image = container_registry.push(given.engine, made, built)
    print(f"deploy: pushed {image}", flush=True)
    return image, who


def rollback(given: Values, app: App) -> None:
    """Let the revision before answer everything again."""
    content = app.content()
    revisions = app.revisions() if content else []
    serving = [one for one in revisions if one.weight]
    target = container_app.to_go_back_to(revisions, container_app.has_served(content), given.revision)
    if not target.active:
        app.activate(target.name)
    try:
        smoke.wait(Endpoint(target.address), START)
    except RedError as error:
        raise SystemExit(
            f"deploy: error: {target.name} is not well ({error}), so the traffic stays; {look(given)}"
        ) from error
    app.set_weights({target.name: 100})
    others = [one for one in serving if one.name != target.name]
    left = ", ".join(f"{one.name} (version {one.version})" for one in others) or "none"
    print(f"deploy: {target.name} (version {target.version}) serves all traffic again; left: {left}", flush=True)
    if len(serving) > 1 and target.name == serving[0].name:
        # A deployment was cut short, and nobody has found its revision good.
        for one in others:
            switch_off(app, one.name)


def switch_off(app: App, revision: str) -> None:
    """Switch a revision off; where that fails, say so and no more: the traffic is back."""
    try:
        app.deactivate(revision)
    except az.AzError as error:
        print(
            f"deploy: {revision} may still run, without traffic ({error}); do not roll back again, which might choose it, but type: "
            f"az containerapp revision deactivate --resource-group {app.group} --name {app.name} --revision {revision}"
        )
    else:
        print(f"deploy: {revision} is switched off")


def status(given: Values, app: App) -> None:
    """Show all revisions."""
    rows = [
        {
            "revision": one.name,
            "version": one.version,
            "created": one.created.isoformat(timespec="seconds"),
            "active": "yes" if one.active else "",
            "traffic": f"{one.weight} %",
            "state": one.state,
            "address": one.address,
        }
        for one in (app.revisions() if app.content() else [])
    ]
    print(tabulate(rows, headers="keys", tablefmt="simple") or f"deploy: there is no app {app.name} in {app.group} yet")


def command(given: Values, action: str) -> str:
    """Return the command of an action on the same app, as a person types it: with the flags that are not as they are by default."""
    standard, names = flags(), ["resource_group", "name"]
    if action == "deploy":
        names += ["engine", "base", "steps", "minutes", "most_errors"]
    typed = [
        f"--{name} {shlex.quote(given.texts[name])}"
        for name in names
        if given.texts[name] != standard.get_default(name)
    ]
    how = [] if action == "deploy" else [f"--action {action}"]
    return " ".join(["python -m registry_scripts.deploy", *typed, *how])


def look(given: Values) -> str:
    """Return what to type to see all revisions."""
    return f"to see all revisions, type: {command(given, 'status')}"


def reason(error: BaseException) -> str:
    """Return why a deployment has ended, in a line."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "it was told to stop"
    return command_line.first_line(error) or type(error).__name__


if __name__ == "__main__":
    command_line.run(main, "deploy")

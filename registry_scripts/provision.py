"""Makes what an endpoint stands on in Azure, shows what that would change, or removes it all.

    python -m registry_scripts.provision --resource_group tweets --location westeurope --email me@example.com
    python -m registry_scripts.provision --resource_group tweets --location westeurope --email me@example.com --action apply
    python -m registry_scripts.provision --resource_group tweets --action remove --confirm tweets

The template is `registry_scripts/azure/main.json`: image registry, key vault, logs and telemetry with a daily cap, alert rules and
who they tell, workbook, and the environment in which `deploy` makes the app. `show` (the default) writes nothing. `apply` makes
the resource group if there is none, and may be typed again at any time; after a promotion too, so that the rule of drift holds
texts against the new champion. Keys lie in the vault alone: one that signs the ids of answers is made with it (`rotate=true`:
anew; feedback on older answers is no longer understood then), and one that clients must send if SERVE_API_KEY says which. `remove`
deletes the resource group, if `apply` has made it. Needs `az` logged in as somebody who may assign roles there (Owner).
"""

import json
import os
import secrets
from typing import Any

from registry_scripts.azure import az, queries, templates, workbook
from registry_scripts.azure.names import app_name, group_name, need
from steps.sentiment import command_line, model_folder, predictions, registry
from steps.sentiment.command_line import (
    Flags,
    InputError,
    RefusedError,
    Values,
    boolean,
    integer,
    like,
    one_of,
    something,
)

#: The tag of a resource group, and of a vault, that apply has made.
TAG = "made-by"
VAULTS = "Microsoft.KeyVault/vaults"
MAIN = "main"


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("provision", __doc__)
    flags.flag("action", "show", "show, apply, or remove", one_of(("show", "apply", "remove")))
    flags.flag("resource_group", "", "that holds everything", group_name)
    flags.flag(
        "location", "", "region of Azure", like(r"[a-z][a-z0-9]{2,40}", "a region of Azure, westeurope for example")
    )
    flags.flag("name", registry.MODEL, "what the names of all resources begin with", app_name)
    flags.flag(
        "email", "", "address that alerts go to", like(r"[^@\s]+@[^@\s]+\.[^@\s.]+", "a mail address, me@example.com")
    )
    flags.flag(
        "sms",
        "",
        "telephone that alerts go to as well; default: none",
        like(r"\d{1,3} \d{4,14}", "country code and number, 33 612345678 for example"),
    )
    flags.flag("daily_cap", "1", "gigabytes of logs and telemetry a day; more is refused", integer(1, 100))
    flags.flag(
        "model", registry.uri(registry.CHAMPION), "whose profile the rule of drift holds texts against", something
    )
    flags.flag("rotate", "false", "true: a new key that signs the ids of answers", boolean)
    flags.flag("confirm", "", "with remove: the name of the resource group once more")
    return flags


def main(argv: list[str] | None = None) -> None:
    """Do what is asked."""
    given = flags().read(argv)
    need(given, "resource_group", *(() if given.action == "remove" else ("location", "email")))
    if given.action == "remove" and given.confirm != given.resource_group:
        raise InputError(
            f"--confirm: got {given.confirm!r}; allowed with --action remove: {given.resource_group}, all of which is deleted"
        )
    try:
        az.ready()
        {"show": show, "apply": apply, "remove": remove}[given.action](given)
    except az.AzError as error:
        raise SystemExit(
            f"provision: error: {error}; what was made until then stays; when this is mended, type the same again"
        ) from error


def show(given: Values) -> None:
    """Print what apply would change."""
    values = parameters(given)
    templates.check(MAIN, values)
    if group(given) is None:
        print(f"provision: there is no resource group {given.resource_group}; apply would make it, and in it:")
        content = json.loads((templates.FOLDER / f"{MAIN}.json").read_text(encoding="utf-8"))
        for name, resource in content["resources"].items():
            print(f"  {resource['type']} ({name})")
        return
    found = templates.changes(given.resource_group, given.name, MAIN, values)
    for kind, resource in found:
        print(f"  {kind:<8} {resource.partition('/providers/')[2]}")
    print(f"provision: {len(found)} resources would change; to do it, add --action apply")


def apply(given: Values) -> None:
    """Make or update everything."""
    values = parameters(given)
    templates.check(MAIN, values)
    if group(given) is None:
        az.call(
            "group", "create", "--name", given.resource_group, "--location", given.location, "--tags", f"{TAG}={given.name}"
        )  # fmt: skip
    made = templates.deploy(given.resource_group, given.name, MAIN, values)
    print(
        f"provision: {given.name} is there in {given.resource_group}: registry {made['registryServer']}, vault {made['vaultName']}"
    )
    print(f"provision: next: python -m registry_scripts.deploy --resource_group {given.resource_group}")


def remove(given: Values) -> None:
    """Delete the resource group, and its vault for good, so that the same can be made again.

    Raises:
        RefusedError: apply has not made it: something else may lie in it.
    """
    found = group(given)
    if found is not None:
        if TAG not in (found.get("tags") or {}):
            raise RefusedError(
                f"the resource group {given.resource_group} was not made by apply (it has no tag {TAG}), and may hold other "
                "things: delete it by hand, or what is ours in it"
            )
        az.call("group", "delete", "--name", given.resource_group, "--yes", seconds=az.CHANGE)
        print(f"provision: the resource group {given.resource_group} is deleted, with all that was in it", flush=True)
    for vault in deleted_vaults(given):
        az.call("keyvault", "purge", "--name", vault["name"], "--location", vault["location"], seconds=az.CHANGE)
    print(f"provision: there is no resource group {given.resource_group} any more, and no vault of it")


def deleted_vaults(given: Values) -> list[dict[str, str]]:
    """Return the vaults that apply had made in the resource group: Azure keeps them for days, and their names as long."""
    place = f"/resourceGroups/{given.resource_group}/".lower()
    found = [one | one["properties"] for one in az.call("keyvault", "list-deleted", "--resource-type", "vault") or []]
    ours = [one for one in found if TAG in (one.get("tags") or {}) and place in one["vaultId"].lower()]
    return [{"name": one["name"], "location": one["location"]} for one in ours]


def parameters(given: Values) -> dict[str, Any]:
    """Return the parameters of the template.

    Raises:
        InputError: there is no such model, or SERVE_API_KEY is too short.
    """
    _, profile = model_folder.profile(given.model)
    code, _, number = given.sms.partition(" ")
    key = os.environ.get("SERVE_API_KEY", "")
    if key and len(key) < predictions.SHORTEST_KEY:
        raise InputError(f"SERVE_API_KEY: got {len(key)} characters; allowed: at least {predictions.SHORTEST_KEY}")
    return {
        "name": given.name,
        "location": given.location,
        "email": given.email,
        "smsCountryCode": code,
        "smsNumber": number,
        "dailyCap": given.daily_cap,
        "rules": queries.as_list(profile),
        "workbook": workbook.serialized(profile),
        "predictionKey": secrets.token_urlsafe(32) if given.rotate or not has_key(given) else "",
        "apiKey": key,
    }


def group(given: Values) -> dict[str, Any] | None:
    """Return the resource group, or None: there is none. Azure takes capital and small letters for the same."""
    found = az.call("group", "list") or []
    return next((one for one in found if one["name"].lower() == given.resource_group.lower()), None)


def vaults(given: Values) -> list[dict[str, Any]]:
    """Return the key vaults of the resource group; none where there is no group."""
    if group(given) is None:
        return []
    return az.call("resource", "list", "--resource-group", given.resource_group, "--resource-type", VAULTS) or []


def has_key(given: Values) -> bool:
    """Return whether the vault holds the key that signs the ids of answers; the key itself is not read."""
    for vault in vaults(given):
        try:
            az.call("resource", "show", "--ids", f"{vault['id']}/secrets/prediction-key")
        except az.NotFoundError:
            continue
        return True
    return False


if __name__ == "__main__":
    command_line.run(main, "provision")

"""Deploys a template with its parameters, or tells what that would change; nothing is written before the parameters fit."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry_scripts.azure import az
from steps.sentiment.command_line import InputError

FOLDER = Path(__file__).parent
_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
_KINDS = {"string": str, "secureString": str, "int": int, "bool": bool, "array": list, "object": dict}


def check(template: str, values: Mapping[str, Any]) -> None:
    """Hold parameters against what a template declares.

    Args:
        template: `main` or `app`.
        values: its parameters.

    Raises:
        InputError: one is missing, unknown, or of a wrong form.
    """
    declared = json.loads((FOLDER / f"{template}.json").read_text(encoding="utf-8"))["parameters"]
    for name in values:
        if name not in declared:
            raise InputError(f"{template}.json: {name}: unknown; allowed: {', '.join(declared)}")
    for name, one in declared.items():
        if name not in values:
            if "defaultValue" not in one:
                raise InputError(f"{template}.json: {name}: missing; allowed: {one['metadata']['description']}")
            continue
        value, kind = values[name], _KINDS[one["type"]]
        right = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        if right and kind is int:
            right = one.get("minValue", value) <= value <= one.get("maxValue", value)
        elif right and kind is not bool:
            right = one.get("minLength", 0) <= len(value) <= one.get("maxLength", len(value))
        if not right:
            got = "..." if one["type"] == "secureString" else repr(value)[:100]
            raise InputError(
                f"{template}.json: {name}: got {got}; allowed: {_form(one)}: {one['metadata']['description']}"
            )


def _form(declared: Mapping[str, Any]) -> str:
    limits = [
        f"{name} {declared[name]}" for name in ("minValue", "maxValue", "minLength", "maxLength") if name in declared
    ]
    return " ".join([declared["type"], *limits])


def deploy(group: str, deployment: str, template: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Deploy a template into a resource group, and return its outputs.

    Args:
        group: name of the resource group.
        deployment: name under which Azure keeps it; one of the same name is replaced.
        template: `main` or `app`.
        values: its parameters.

    Raises:
        InputError: a parameter does not fit.
        AzError: Azure refused it, or part of it.
    """
    answer = _asked("create", group, deployment, template, values)
    return _values(answer["properties"].get("outputs") or {})


def changes(group: str, deployment: str, template: str, values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what deploying a template would change: the kind of change, and the resource; what stays is left out.

    Raises:
        InputError: a parameter does not fit.
        AzError: Azure refused it.
    """
    answer = _asked("what-if", group, deployment, template, values, "--no-pretty-print")
    found = [(one["changeType"], one["resourceId"]) for one in answer["changes"]]
    return [(kind, resource) for kind, resource in found if kind not in ("NoChange", "Ignore")]


def outputs(group: str, deployment: str) -> dict[str, Any]:
    """Return the outputs of a deployment that was made before.

    Raises:
        AzError: there is none.
    """
    answer = az.call("deployment", "group", "show", "--resource-group", group, "--name", deployment)
    return _values(answer["properties"].get("outputs") or {})


def provisioned(group: str, name: str, needed: Sequence[str]) -> dict[str, Any]:
    """Return the outputs of provision.

    Args:
        group: name of the resource group.
        name: that provision was given.
        needed: outputs that must be there.

    Raises:
        InputError: it has made nothing here, or not all.
        AzError: Azure does not tell.
    """
    try:
        made = outputs(group, name)
    except az.NotFoundError as error:
        raise InputError(
            f"--resource_group: nothing of the name {name} was made in {group} ({error}); allowed: one in which provision has made it"
        ) from error
    if lacking := [one for one in needed if one not in made]:
        raise InputError(
            f"--resource_group: provision has begun in {group}, and has not ended well (no {', '.join(lacking)}); "
            "allowed: one in which it has; type its --action apply again"
        )
    return made


def _asked(what: str, group: str, deployment: str, template: str, values: Mapping[str, Any], *more: str) -> Any:
    check(template, values)
    content = {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {k: {"value": v} for k, v in values.items()},
    }
    with tempfile.TemporaryDirectory(prefix="deploy-") as folder:  # for its owner alone: a parameter may be a key
        file = Path(folder, "parameters.json")
        file.write_text(json.dumps(content), encoding="utf-8")
        target = ["--resource-group", group, "--name", deployment]
        files = ["--template-file", str(FOLDER / f"{template}.json"), "--parameters", f"@{file}"]
        return az.call("deployment", "group", what, *target, *files, *more, seconds=az.CHANGE)


def _values(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: one["value"] for name, one in found.items()}

"""What the tests of the templates share: the published types of Azure's resources, as the models of its Python clients have them.

The clients (azure-mgmt-*) are generated from the same descriptions of the REST interface as Bicep's types. Not a test itself.
"""

import datetime
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Union

from tests.arm import TEMPLATE_KEYS

_MGMT = "azure.mgmt."
#: Resource type -> the module of its models, the model, and the module whose source names the version of the interface.
RESOURCES = {
    "Microsoft.App/containerApps": ("appcontainers", "ContainerApp", "_configuration"),
    "Microsoft.App/managedEnvironments": ("appcontainers", "ManagedEnvironment", "_configuration"),
    "Microsoft.Authorization/roleAssignments": (
        "authorization.v2022_04_01",
        "RoleAssignmentCreateParameters",
        "operations._role_assignments_operations",
    ),
    "Microsoft.ContainerRegistry/registries": ("containerregistry", "Registry", "_configuration"),
    "Microsoft.Insights/actionGroups": ("monitor", "ActionGroupResource", "operations._action_groups_operations"),
    "Microsoft.Insights/components": (
        "applicationinsights.v2020_02_02",
        "ApplicationInsightsComponent",
        "operations._components_operations",
    ),
    "Microsoft.Insights/scheduledQueryRules": (
        "monitor",
        "ScheduledQueryRuleResource",
        "operations._scheduled_query_rules_operations",
    ),
    "Microsoft.Insights/workbooks": (
        "applicationinsights.v2023_06_01",
        "Workbook",
        "operations._workbooks_operations",
    ),
    "Microsoft.KeyVault/vaults": ("keyvault", "VaultCreateOrUpdateParameters", "_configuration"),
    "Microsoft.KeyVault/vaults/secrets": ("keyvault", "SecretCreateOrUpdateParameters", "_configuration"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": (
        "msi.v2024_11_30",
        "Identity",
        "operations._user_assigned_identities_operations",
    ),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics", "Workspace", "_configuration"),
    "Microsoft.Web/serverfarms": ("web", "AppServicePlan", "_configuration"),
    "Microsoft.Web/sites": ("web", "Site", "_configuration"),
}
#: What must stand, after Azure's pages on the two: where a client flattens `properties`, its models no longer say so.
MUST_STAND = {
    "Microsoft.Insights/actionGroups": ("groupShortName", "enabled"),
    "Microsoft.Insights/scheduledQueryRules": (
        "severity", "enabled", "scopes", "evaluationFrequency", "windowSize", "criteria",
    ),
}  # fmt: skip
_PLAIN = {str: str, int: int, bool: bool, float: (int, float), datetime.datetime: str, datetime.timedelta: str}


@dataclass(frozen=True)
class Field:
    """A property: its type hint, whether it must stand, whether only Azure sets it, and its smallest and largest value or length."""

    hint: Any
    required: bool
    readonly: bool
    least: float | None = None
    most: float | None = None


def check(resource: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a resource whose expressions have been worked out."""
    kind = resource["type"]
    if kind not in RESOURCES:
        return [f"{kind}: no type is known; allowed: {', '.join(RESOURCES)}"]
    messages = [] if resource["apiVersion"] in versions(kind) else [f"{kind}: no version {resource['apiVersion']}"]
    content = {name: value for name, value in resource.items() if name not in TEMPLATE_KEYS}
    for name in MUST_STAND.get(kind, ()):
        if name not in content["properties"]:
            messages.append(f"{kind}.properties.{name}: it must stand")
    return messages + list(_object(content, tree(model(kind)), kind))


def check_answer(content: Any, module: str, name: str) -> list[str]:
    """Return what is wrong with an answer of Azure's; what only Azure sets may stand there."""
    found = getattr(importlib.import_module(f"{_MGMT}{module}.models"), name)
    return [message for message in _object(content, tree(found), name) if "only Azure sets it" not in message]


def knows(kind: str, path: tuple[str, ...]) -> bool:
    """Return whether a resource has a property, below `properties`."""
    node: Any = tree(model(kind))
    for name in ("properties", *path):
        node = node.hint if isinstance(node, Field) else node
        node = tree(_bare(node)) if inspect.isclass(_bare(node)) else node
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True


def model(kind: str) -> type:
    """Return the model of a resource type."""
    package, name, _ = RESOURCES[kind]
    found: type = getattr(importlib.import_module(f"{_MGMT}{package}.models"), name)
    return found


def versions(kind: str) -> set[str]:
    """Return the versions of the interface that the client speaks for a resource type: one, where its modules have one each."""
    package, _, module = RESOURCES[kind]
    source = inspect.getsource(importlib.import_module(f"{_MGMT}{package}.{module}"))
    return set(re.findall(r'api_version.*"(20\d\d-\d\d-\d\d(?:-preview)?)"', source))


@cache
def tree(cls: type) -> dict[str, Any]:
    """Return the properties of a model by the names that they have in JSON; those that the client flattens lie in branches."""
    found: dict[str, Any] = {}
    for path, field in _fields(cls):
        branch = found
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = field
    return found


def _fields(cls: type) -> Iterator[tuple[list[str], Field]]:
    names = {"_models": importlib.import_module(cls.__module__.rpartition(".")[0])}
    described = inspect.getdoc(cls) or ""
    if hasattr(cls, "_attribute_map"):  # generated in the older way
        hints = typing.get_type_hints(cls.__init__, names)  # type: ignore[misc]
        validation = getattr(cls, "_validation", {})
        for attribute, one in cls._attribute_map.items():
            rules = validation.get(attribute, {})
            path = [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", one["key"])]
            yield (
                path,
                Field(
                    hints.get(attribute, Any),
                    rules.get("required", False) and not rules.get("constant", False),
                    rules.get("readonly", False),
                    rules.get("minimum", rules.get("min_length")),
                    rules.get("maximum", rules.get("max_length")),
                ),
            )
        return
    for base in reversed(cls.__mro__):
        described = (inspect.getdoc(base) or "") + described
    for attribute, hint in typing.get_type_hints(cls, {**vars(inspect.getmodule(cls)), **names}).items():  # type: ignore[arg-type]
        field = inspect.getattr_static(cls, attribute, None)
        if type(field).__name__ == "_RestField":
            text = " ".join(re.findall(rf"(?s):ivar {attribute}:(.*?)(?=:vartype)", described)[-1:]).split()
            least = re.search(r"Minimum value is (\d+)", " ".join(text))
            most = re.search(r"Maximum value is (\d+)", " ".join(text))
            yield (
                [field._rest_name_input or attribute],
                Field(
                    hint,
                    not _optional(hint),
                    field._visibility == ["read"],
                    float(least[1]) if least else None,
                    float(most[1]) if most else None,
                ),
            )


def _optional(hint: Any) -> bool:
    return hint is Any or type(None) in typing.get_args(hint)


def _bare(hint: Any) -> Any:
    # Without None, and an enumeration alone where the client takes its texts too.
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return hint
    kinds = [one for one in typing.get_args(hint) if one is not type(None)]
    enums = [one for one in kinds if inspect.isclass(one) and issubclass(one, Enum)]
    return enums[0] if enums else kinds[0]


def _object(content: Any, properties: Mapping[str, Any], where: str) -> Iterator[str]:
    if not isinstance(content, Mapping):
        yield f"{where}: {content!r} is no object"
        return
    for name, value in content.items():
        if name not in properties:
            yield f"{where}.{name}: there is no such property; there are {', '.join(properties)}"
        elif isinstance(properties[name], dict):
            yield from _object(value, properties[name], f"{where}.{name}")
        else:
            yield from _property(value, properties[name], f"{where}.{name}")
    for name, field in properties.items():
        if isinstance(field, Field) and field.required and not field.readonly and name not in content:
            yield f"{where}.{name}: it must stand"


def _property(value: Any, field: Field, where: str) -> Iterator[str]:
    if field.readonly:
        yield f"{where}: only Azure sets it"
        return
    size = len(value) if isinstance(value, str) else value if isinstance(value, int | float) else None
    if size is not None and not (field.least or size) <= size <= (field.most or size):
        yield f"{where}: {size} does not lie between {field.least} and {field.most}"
    yield from _value(value, field.hint, where)


def _value(value: Any, hint: Any, where: str) -> Iterator[str]:
    hint = _bare(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list):
        for index, one in enumerate(value):
            yield from _value(one, arguments[0], f"{where}[{index}]")
    elif origin is dict and isinstance(value, Mapping):
        for name, one in value.items():
            yield from _value(one, arguments[1], f"{where}.{name}")
    elif origin in (list, dict):
        yield f"{where}: {value!r} is no {'list' if origin is list else 'object'}"
    elif hint in _PLAIN:
        if not isinstance(value, _PLAIN[hint]) or (isinstance(value, bool) and hint is not bool):
            yield f"{where}: {value!r} is no {hint.__name__}"
    elif inspect.isclass(hint) and issubclass(hint, Enum):
        known = [one.value for one in hint]
        if value not in known:
            yield f"{where}: {value!r}; allowed: {', '.join(known)}"
    elif inspect.isclass(hint):
        yield from _object(value, tree(hint), where)
    elif hint is not Any:
        yield f"{where}: the type {hint} is not understood"

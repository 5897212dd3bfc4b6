"""What the tests of the templates share: Resource Manager, as far as it works a template out. Not a test itself.

Parameters are checked and filled in, every expression is evaluated, copies are multiplied. What only Azure knows (a property of a
resource that `reference` asks for, a key) becomes a text of its own that can be recognised. Whatever is not known is an error.
"""

import base64
import hashlib
import itertools
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/tweets"
_TOKENS = re.compile(r"\s*('(?:[^']|'')*'|-?\d+|[A-Za-z_]\w*|[()\[\],.])")
#: What stands beside the properties of a resource in a template.
TEMPLATE_KEYS = {"type", "apiVersion", "name", "comments", "condition", "copy", "dependsOn", "existing", "scope"}
_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "secureString": str,
    "int": int,
    "bool": bool,
    "array": list,
    "object": dict,
}


class TemplateError(Exception):
    """What Resource Manager would refuse."""


class Asked(dict[str, Any]):
    """The properties of a resource that Azure alone knows: any name has a text; which were asked is kept."""

    def __init__(self, symbol: str, path: tuple[str, ...], log: list[tuple[str, tuple[str, ...]]]) -> None:
        super().__init__()
        self.symbol, self.path, self.log = symbol, path, log

    def __missing__(self, name: str) -> "Asked":
        return Asked(self.symbol, (*self.path, name), self.log)

    def text(self) -> str:
        self.log.append((self.symbol, self.path))
        return f"<{self.symbol}.{'.'.join(self.path)}>"


class Template:
    """A template with the values of its parameters."""

    def __init__(self, content: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        self.content = content
        self.used: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.index: int | None = None
        self.parameters = {name: self._parameter(name, one, given) for name, one in content["parameters"].items()}
        if unknown := set(given) - set(content["parameters"]):
            raise TemplateError(f"parameters that the template does not have: {', '.join(sorted(unknown))}")

    @classmethod
    def load(cls, path: Path, given: Mapping[str, Any]) -> "Template":
        """Read a template from its file."""
        return cls(json.loads(path.read_text(encoding="utf-8")), given)

    def resources(self) -> dict[str, list[dict[str, Any]]]:
        """Return by symbolic names what is to be made: of a `copy` all, of a false condition or an existing resource nothing."""
        found = {}
        for symbol, resource in self.content["resources"].items():
            for other in resource.get("dependsOn", []):
                if other not in self.content["resources"]:
                    raise TemplateError(f"{symbol} depends on {other}, which is no resource")
            copies = range(self.value(resource["copy"]["count"])) if "copy" in resource else [None]
            wanted = []
            for self.index in copies:
                made = self.value({name: one for name, one in resource.items() if name not in ("copy", "comments")})
                if made.get("condition", True) and not made.get("existing"):
                    wanted.append(made)
            self.index = None
            found[symbol] = wanted
        return found

    def outputs(self) -> dict[str, Any]:
        """Return the values of the outputs."""
        return {name: self.value(one["value"]) for name, one in self.content.get("outputs", {}).items()}

    def value(self, found: Any) -> Any:
        """Work out a value of the template."""
        if isinstance(found, Mapping) and not isinstance(found, Asked):
            return {self.value(name): self.value(one) for name, one in found.items()}
        if isinstance(found, list):
            return [self.value(one) for one in found]
        if isinstance(found, str) and found.startswith("[") and not found.startswith("[["):
            return _plain(self._expression(found[1:-1]))
        return found

    def _parameter(self, name: str, declared: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
        if name not in given and "defaultValue" not in declared:
            raise TemplateError(f"The value for the template parameter '{name}' is not provided.")
        value = given[name] if name in given else self.value(declared["defaultValue"])
        kind = _KINDS[declared["type"]]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TemplateError(f"The template parameter '{name}' is no {declared['type']}.")
        size = value if isinstance(value, int) else len(value)
        least, most = ("minValue", "maxValue") if kind is int else ("minLength", "maxLength")
        if size < declared.get(least, size) or size > declared.get(most, size):
            raise TemplateError(f"The template parameter '{name}' is too small or too large.")
        return value

    def _expression(self, text: str) -> Any:
        tokens = _TOKENS.findall(text)
        if "".join(tokens) != re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", text):
            raise TemplateError(f"no expression: {text}")
        value, rest = self._term(tokens)
        if rest:
            raise TemplateError(f"no expression: {text}")
        return value

    def _term(self, tokens: Sequence[str]) -> tuple[Any, Sequence[str]]:
        first, *rest = tokens
        value: Any
        if first.startswith("'"):
            value = first[1:-1].replace("''", "'")
        elif re.fullmatch(r"-?\d+", first):
            value = int(first)
        else:
            if not rest or rest[0] != "(":
                raise TemplateError(f"{first}: neither a text nor a function")
            arguments, rest = [], rest[1:]
            while rest[0] != ")":
                argument, rest = self._term(rest)
                arguments.append(argument)
                rest = rest[1:] if rest[0] == "," else rest
            value, rest = self._call(first, arguments), rest[1:]
        while rest and rest[0] in (".", "["):
            if rest[0] == ".":
                key, rest = rest[1], rest[2:]
            else:
                key, rest = self._term(rest[1:])
                rest = rest[1:]
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                raise TemplateError(f"there is no {key} in {value}") from None
        return value, rest

    def _call(self, name: str, arguments: list[Any]) -> Any:
        if name in ("parameters", "variables"):
            (key,) = arguments
            self.used.add((name, key))
            if key not in (self.parameters if name == "parameters" else self.content.get("variables", {})):
                raise TemplateError(f"{name}('{key}'): there is none")
            return self.parameters[key] if name == "parameters" else self.value(self.content["variables"][key])
        if name == "reference":
            (symbol,) = arguments
            if symbol not in self.content["resources"]:
                raise TemplateError(f"reference('{symbol}'): there is no such resource")
            return Asked(symbol, (), self.asked)
        if name == "copyIndex":
            if self.index is None:
                raise TemplateError("copyIndex() outside a copy")
            return self.index
        if name not in FUNCTIONS:
            raise TemplateError(f"{name}: this function is not known")
        return FUNCTIONS[name](*map(_plain, arguments))


def _plain(value: Any) -> Any:
    return value.text() if isinstance(value, Asked) and value.path else value


def _unique(*texts: str) -> str:
    return base64.b32encode(hashlib.sha256("-".join(texts).encode()).digest())[:13].decode().lower()


def _concat(*values: Any) -> Any:
    return list(itertools.chain(*values)) if isinstance(values[0], list) else "".join(map(str, values))


def _id(*parts: str) -> str:
    kind, *names = parts
    provider, *types = kind.split("/")
    if len(types) != len(names):
        raise TemplateError(f"resourceId: {kind} has {len(types)} names, and not {len(names)}")
    return f"/providers/{provider}/" + "/".join(f"{one}/{name}" for one, name in zip(types, names, strict=True))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "concat": _concat,
    "createArray": lambda *values: list(values),
    "createObject": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "empty": lambda value: not value,
    "guid": lambda *texts: str(uuid.uuid5(uuid.NAMESPACE_URL, "-".join(texts))),
    "if": lambda condition, yes, no: yes if condition else no,
    "json": json.loads,
    "last": lambda value: value[-1],
    "length": len,
    "listKeys": lambda resource, version: {"primarySharedKey": f"<key of {resource}>"},
    "not": lambda value: not value,
    "replace": lambda text, old, new: text.replace(old, new),
    "resourceGroup": lambda: {"id": GROUP, "location": "westeurope"},
    "resourceId": lambda *parts: GROUP + _id(*parts),
    "split": lambda text, by: text.split(by),
    "subscription": lambda: {"tenantId": "00000000-0000-0000-0000-000000000002"},
    "subscriptionResourceId": lambda *parts: GROUP.partition("/resourceGroups")[0] + _id(*parts),
    "uniqueString": _unique,
}

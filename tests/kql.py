"""What the tests of the queries share: Microsoft's language service for KQL, and what it cannot know of our events.

Not a test itself.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests import npm
from tests.conftest import ROOT

SERVICE = ROOT / "tests/kusto"
SCHEMA: dict[str, Any] = json.loads((SERVICE / "schema.json").read_text(encoding="utf-8"))
#: Bag -> what turns its values into a type. As they are, they are dynamic: "true" equals neither true nor a column of texts.
CONVERSIONS = {"customDimensions": {"tostring"}, "customMeasurements": {"todouble", "tolong", "toint"}}
_BORDERS = {"LetStatement", "ExpressionStatement", "MaterializeExpression", "ParenthesizedExpression", "JoinOperator"}

Tree = list[Any]  # [kind, text of a token or list of trees]


@dataclass(frozen=True)
class Checked:
    """What is wrong with a query, and its syntax tree."""

    messages: list[str]
    tree: Tree


def checked(queries: Mapping[str, str], schema: Mapping[str, Any] = SCHEMA) -> dict[str, Checked]:
    """Check queries against the schema of what we send.

    Args:
        queries: by name.
        schema: as `envelopes.schema` returns it.
    """
    npm.install(SERVICE)
    question = json.dumps({"tables": schema["tables"], "queries": dict(queries)})
    service = subprocess.run(
        ["node", SERVICE / "service.js"], input=question, capture_output=True, text=True, check=False, timeout=120
    )
    assert service.returncode == 0, service.stderr
    answer = json.loads(service.stdout)
    return {
        name: Checked([*found["messages"], *in_bags(found["tree"], schema["events"])], found["tree"])
        for name, found in answer.items()
    }


def text(tree: Tree) -> str:
    """Return the tokens of a tree, without spaces."""
    return tree[1] if isinstance(tree[1], str) else "".join(map(text, tree[1]))


def walk(tree: Tree, above: tuple[Tree, ...] = ()) -> Iterator[tuple[Tree, tuple[Tree, ...]]]:
    """Yield every node with those above it, the root first."""
    yield tree, above
    if not isinstance(tree[1], str):
        for child in tree[1]:
            yield from walk(child, (*above, tree))


def in_bags(tree: Tree, events: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    """Return what is wrong with the uses of an event's bags, which are `dynamic` to the language service: any name will do there.

    Each must follow a `where name == "..."`, be of a name that this event has, and be turned into its type at once.
    """
    messages = []
    for node, above in walk(tree):
        if node[0] not in ("PathExpression", "ElementExpression") or text(node[1][0]) not in CONVERSIONS:
            continue
        bag = text(node[1][0])
        name = text(node[1][-1]).strip("[]\"'")
        asked = _events(above)
        if len(asked) != 1:
            messages.append(f"{bag}.{name}: of which event? It follows {len(asked)} times `name == ...`")
        elif name not in events.get(asked[0], {}).get(bag, []):
            messages.append(f"{bag}.{name}: the event {asked[0]} has no such name")
        call = next((one for one in reversed(above) if one[0] == "FunctionCallExpression"), None)
        if call is None or text(call[1][0]) not in CONVERSIONS[bag] or text(call[1][1]) != f"({text(node)})":
            messages.append(f"{bag}.{name}: stands without {' or '.join(sorted(CONVERSIONS[bag]))}")
    return messages


def _events(above: tuple[Tree, ...]) -> list[str]:
    # The names of events that the pipe around a node is restricted to.
    pipe: Tree | None = None
    for node in reversed(above):
        if node[0] == "PipeExpression":
            pipe = node
        elif pipe and node[0] in _BORDERS:
            break
    compared = [node[1] for node, _ in walk(pipe or ["", ""]) if node[0] == "EqualExpression"]
    return [text(sides[-1]).strip("\"'") for sides in compared if text(sides[0]) == "name"]

"""Runs a query on rows in memory: as much of KQL as the rule of the mispredicted tweets needs, and an error for anything else.

Written after the language's reference, since no engine runs here: row functions (prev, row_cumsum) see the rows as the operator before
left them, a null compared with anything is neither true nor false, an unset text is "" and not null. Not a test itself.
"""

import operator
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from tests.kql import Tree, text

Row = dict[str, Any]

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "ms": "milliseconds"}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "EqualExpression": operator.eq,
    "NotEqualExpression": operator.ne,
    "LessThanExpression": operator.lt,
    "LessThanOrEqualExpression": operator.le,
    "GreaterThanExpression": operator.gt,
    "GreaterThanOrEqualExpression": operator.ge,
    "SubtractExpression": operator.sub,
    "AddExpression": operator.add,
}


def run(tree: Tree, tables: dict[str, list[Row]]) -> list[Row]:
    """Return the rows that a query answers.

    Args:
        tree: of the whole query, as `kql.checked` returns it.
        tables: rows of each table; a bag is a dict.

    Raises:
        NotImplementedError: the query uses what this engine does not know.
    """
    return _Query(tables).block(tree)


class _Query:
    def __init__(self, tables: dict[str, list[Row]]) -> None:
        self.known: dict[str, Any] = dict(tables)

    def block(self, tree: Tree) -> list[Row]:
        rows: list[Row] = []
        for statement in _items(tree[1][0]):
            if statement[0] == "LetStatement":
                _, name, _, value = statement[1]
                self.known[text(name)] = self.tabular(value) if _is_tabular(value) else self.scalar(value, [{}], 0)
            elif statement[0] == "ExpressionStatement":
                rows = self.tabular(statement[1][0])
            else:
                raise NotImplementedError(statement[0])
        return rows

    def tabular(self, tree: Tree) -> list[Row]:
        kind, parts = tree
        if kind == "NameReference":
            return [dict(row) for row in self.known[text(tree)]]
        if kind == "MaterializeExpression":
            return self.tabular(parts[2])
        if kind == "PipeExpression":
            source, _, step = parts
            return _OPERATORS[step[0]](self, self.tabular(source), step[1])
        raise NotImplementedError(kind)

    def where(self, rows: list[Row], parts: list[Tree]) -> list[Row]:
        return [row for index, row in enumerate(rows) if self.scalar(parts[-1], rows, index) is True]

    def extend(self, rows: list[Row], parts: list[Tree], keep: bool = True) -> list[Row]:
        columns = [_named(item) for item in _items(parts[-1])]
        values = {name: self.column(value, rows) for name, value in columns}
        return [
            {**(row if keep else {}), **{name: column[index] for name, column in values.items()}}
            for index, row in enumerate(rows)
        ]

    def project(self, rows: list[Row], parts: list[Tree]) -> list[Row]:
        return self.extend(rows, parts, keep=False)

    def sort(self, rows: list[Row], parts: list[Tree]) -> list[Row]:
        for item in reversed(_items(parts[-1])):
            by, ordering = item[1]
            if text(ordering) != "asc":
                raise NotImplementedError(text(ordering))
            rows = sorted(rows, key=lambda row, by=by: self.scalar(by, [row], 0))  # type: ignore[misc]
        return rows

    def summarize(self, rows: list[Row], parts: list[Tree]) -> list[Row]:
        aggregates, (_, (_, by)) = parts[1], parts[2]
        keys = [text(item) for item in _items(by)]
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
        found = []
        for key, members in groups.items():
            made = dict(zip(keys, key, strict=True))
            for item in _items(aggregates):
                name, call = _named(item)
                function, arguments = text(call[1][0]), [text(one) for one in _items(call[1][1][1][1])]
                if function == "arg_max":
                    most = max(members, key=lambda row, by=arguments[0]: row[by])  # type: ignore[misc]
                    made |= {argument: most[argument] for argument in arguments}
                elif function in ("min", "max"):
                    made[name] = {"min": min, "max": max}[function](row[arguments[0]] for row in members)
                else:
                    raise NotImplementedError(function)
            found.append(made)
        return found[::-1]  # the order of groups is not defined

    def column(self, tree: Tree, rows: list[Row]) -> list[Any]:
        if tree[0] == "FunctionCallExpression" and text(tree[1][0]) == "row_cumsum":
            total, sums = 0, []
            for index in range(len(rows)):
                total += self.scalar(_arguments(tree)[0], rows, index)
                sums.append(total)
            return sums
        return [self.scalar(tree, rows, index) for index in range(len(rows))]

    def scalar(self, tree: Tree, rows: list[Row], index: int) -> Any:  # noqa: PLR0911 - a line for each kind
        kind, parts = tree
        if kind == "NameReference":
            name = text(tree)
            return rows[index][name] if name in rows[index] else self.known[name]
        if kind == "StringLiteralExpression":
            return text(tree)[1:-1]
        if kind == "LongLiteralExpression":
            return int(text(tree))
        if kind == "TimespanLiteralExpression":
            number, unit = re.fullmatch(r"(\d+)([a-z]+)", text(tree)).groups()  # type: ignore[union-attr]
            return timedelta(**{_UNITS[unit]: int(number)})
        if kind == "PathExpression":
            return self.scalar(parts[0], rows, index).get(text(parts[2]))
        if kind == "FunctionCallExpression":
            return self.call(text(parts[0]), _arguments(tree), rows, index)
        if kind in ("NotInCsExpression", "NotInExpression"):
            (subquery,) = _items(parts[2][1][1])
            return self.scalar(parts[0], rows, index) not in [
                next(iter(row.values())) for row in self.tabular(subquery)
            ]
        left, right = (self.scalar(side, rows, index) for side in (parts[0], parts[2]))
        if kind == "AndExpression":
            return False if False in (left, right) else None if None in (left, right) else True
        if kind in _COMPARE:
            return None if left is None or right is None else _COMPARE[kind](left, right)
        raise NotImplementedError(kind)

    def call(self, name: str, arguments: list[Tree], rows: list[Row], index: int) -> Any:
        if name == "prev":
            before = index - (self.scalar(arguments[1], rows, index) if len(arguments) > 1 else 1)
            if before >= 0:
                return self.scalar(arguments[0], rows, before)
            return "" if isinstance(self.scalar(arguments[0], rows, index), str) else None
        (value,) = (self.scalar(one, rows, index) for one in arguments)
        if name == "tostring":
            return "" if value is None else str(value)
        if name == "toint":
            return None if value is None else int(value)
        if name == "not":
            return None if value is None else not value
        raise NotImplementedError(name)


_OPERATORS: dict[str, Callable[[_Query, list[Row], list[Tree]], list[Row]]] = {
    "FilterOperator": _Query.where,
    "ExtendOperator": _Query.extend,
    "ProjectOperator": _Query.project,
    "SortOperator": _Query.sort,
    "SummarizeOperator": _Query.summarize,
}


def _items(tree: Tree) -> list[Tree]:
    # The elements of a list, without their commas.
    return [separated[1][0] for separated in tree[1]]


def _arguments(call: Tree) -> list[Tree]:
    between = call[1][1][1][1:-1]
    return _items(between[0]) if between else []


def _named(tree: Tree) -> tuple[str, Tree]:
    # `name = value`, or a value by its own name.
    if tree[0] == "SimpleNamedExpression":
        return text(tree[1][0]), tree[1][2]
    return text(tree), tree


def _is_tabular(tree: Tree) -> bool:
    return tree[0] in ("PipeExpression", "MaterializeExpression")


def table(reports: Iterable[Any]) -> list[Row]:
    """Return reports (`alert.Report`) as rows of customEvents."""
    return [
        {
            "timestamp": one.time,
            "name": "feedback",
            "customDimensions": {
                "prediction_id": one.prediction_id,
                "mispredicted": "true" if one.mispredicted else "false",
            },
        }
        for one in reports
    ]

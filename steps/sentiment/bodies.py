"""What the body of a request asks for: texts to be scored, or a verdict on an answer.

JSON is read as stock MLflow reads it for a model that takes a list of strings: `inputs`, and `params` if wanted; other keys count for
nothing. CSV holds one column under a heading; a table with several is not guessed at.
"""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from steps.sentiment.exchange import RequestError
from steps.sentiment.predictions import LABELS

JSON, CSV = "application/json", "text/csv"
#: An explanation scores a text again without each of its first words: so many times more may its characters cost.
EXPLAINED_COST = 64
#: Characters that are kept of a person's own words in a verdict.
COMMENT, KEPT_TEXT = 1_000, 10_000
_KINDS = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Asked:
    """Texts to be answered, and whether with the words that drove each answer."""

    texts: list[str]
    explain: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a person says of an answer: the label that they expected, and what they wrote beside it.

    `text` is there only if the person agreed that it is kept.
    """

    prediction_id: str
    expected: str
    text: str = ""
    comment: str = ""


def content_type(given: bytes | None, allowed: tuple[str, ...]) -> str:
    """Return the media type of a request.

    Raises:
        RequestError: it is missing, not one of the `allowed`, or not in UTF-8 (415).
    """
    kind, *parameters = (part.strip().lower() for part in (given or b"").decode("latin-1").split(";"))
    wanted = f"allowed: {', '.join(allowed)}, in UTF-8"
    if not kind:
        raise RequestError(415, "BAD_REQUEST", f"the header Content-Type is missing; {wanted}")
    if kind not in allowed or any(
        parameter not in ("charset=utf-8", 'charset="utf-8"', "") for parameter in parameters
    ):
        raise RequestError(415, "BAD_REQUEST", f"this Content-Type is not understood; {wanted}")
    return kind


def asked(kind: str, body: bytes, most: int, characters: int) -> Asked:
    """Read the texts of a request.

    Args:
        kind: JSON or CSV.
        body: as it came.
        most: texts that are allowed.
        characters: what all texts may have together, EXPLAINED_COST times over if they are to be explained.

    Raises:
        RequestError: 400, with the position of the first wrong input, or 413.
    """
    found = _of_csv(body) if kind == CSV else _of_json(body)
    if len(found.texts) > most:
        raise RequestError(
            413, "REQUEST_LIMIT_EXCEEDED", f"{len(found.texts):,} inputs are too many; allowed: {most:,}"
        )
    if found.explain and (total := sum(map(len, found.texts))) * EXPLAINED_COST > characters:
        message = f"explain: {total:,} characters are too many; allowed: {characters // EXPLAINED_COST:,}"
        raise RequestError(413, "REQUEST_LIMIT_EXCEEDED", message)
    return found


def _of_json(body: bytes) -> Asked:
    content = _object(body)
    if "inputs" not in content:
        _refuse("the key inputs is missing; allowed: a list of strings")
    inputs = content["inputs"]
    if not isinstance(inputs, list):
        _refuse(f"inputs: got {_kind(inputs)}; allowed: a list of strings")
    for position, text in enumerate(inputs):
        if not isinstance(text, str):
            _refuse(f"inputs[{position}]: got {_kind(text)}; allowed: a string")
    params = content.get("params")
    if not isinstance(params, dict | None):
        _refuse(f"params: got {_kind(params)}; allowed: an object")
    explain = (params or {}).get("explain")
    if not isinstance(explain, bool | None):
        _refuse(f"params.explain: got {_kind(explain)}; allowed: true or false")
    return Asked(inputs, bool(explain))


def _of_csv(body: bytes) -> Asked:
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        rows = [row for row in lines if row]
    except UnicodeDecodeError:
        _refuse("the body is not valid UTF-8", "BAD_REQUEST")
    except csv.Error:
        _refuse("the body is not valid CSV", "BAD_REQUEST")
    if not rows:
        _refuse("the table is empty; allowed: one column of texts under a heading")
    for position, row in enumerate(rows):
        if len(row) != 1:
            _refuse(f"line {position + 1} has {len(row)} columns; allowed: one column of texts under a heading")
    return Asked([text for (text,) in rows[1:]])


def verdict(body: bytes) -> Verdict:
    """Read a verdict on an answer.

    Raises:
        RequestError: 400.
    """
    content = _object(body)
    for name, kinds in {"prediction_id": str, "expected": str, "text": str | None, "comment": str | None}.items():
        if not isinstance(content.get(name), kinds):
            got = f"got {_kind(content[name])}" if name in content else "is missing"
            _refuse(f"{name}: {got}; allowed: a string")
    if content["expected"] not in LABELS:
        _refuse(f"expected: allowed: {', '.join(LABELS)}")
    keep = content.get("keep")
    if not isinstance(keep, bool | None):
        _refuse(f"keep: got {_kind(keep)}; allowed: true or false")
    return Verdict(
        content["prediction_id"],
        content["expected"],
        (content.get("text") or "")[:KEPT_TEXT] if keep else "",
        (content.get("comment") or "")[:COMMENT],
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = _lenient(body)
    if not isinstance(content, dict):
        _refuse(f"the body is {_kind(content)}; allowed: an object", "BAD_REQUEST")
    return content


def _lenient(body: bytes) -> Any:
    # What the fast reader refuses and MLflow's takes: a byte order mark, UTF-16, half of a surrogate pair, NaN.
    try:
        return json.loads(body)
    except UnicodeDecodeError:
        _refuse("the body is not valid UTF-8", "BAD_REQUEST")
    except (ValueError, RecursionError):
        _refuse("the body is not valid JSON", "BAD_REQUEST")


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a string")


def _refuse(message: str, code: str = "INVALID_PARAMETER_VALUE") -> NoReturn:
    raise RequestError(400, code, message)

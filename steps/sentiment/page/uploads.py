"""A person's file -> a table of texts, or one sentence that says what is wrong with it and what would do."""

import codecs
import io
from collections.abc import Iterable
from pathlib import PurePath

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

#: What a file may hold: megabytes as it is, and unpacked (Parquet); rows.
MOST_MEGABYTES, MOST_UNPACKED, MOST_ROWS = 50, 500, 500_000
ENCODINGS = {"UTF-8": "utf-8-sig", "Windows-1252 (Excel)": "cp1252", "Latin-1": "latin-1", "UTF-16": "utf-16"}
SUFFIXES = ("csv", "tsv", "txt", "parquet")
#: What a text has and a number or a time in digits has not: a letter, or a sign beyond ASCII.
_WRITTEN = r"[^\W\d_]|[^\x00-\x7f]"
#: Names that columns of texts go by.
_USUAL = ("text", "tweet", "content", "message", "comment", "body", "review", "full_text")


class UploadError(Exception):
    """A file cannot be used; the message says why and what would do."""


class EncodingError(UploadError):
    """A file has another encoding than it was read in."""


def table(name: str, content: bytes, encoding: str = "UTF-8", heading: bool = True) -> pd.DataFrame:
    """Read a file; every cell is a text. A file of lines (`.txt`) has one column, and a tweet in each line.

    Args:
        name: of the file; its ending says what it holds.
        content: of the file.
        encoding: one of ENCODINGS; of Parquet none is asked.
        heading: whether the first line of a CSV file names its columns.

    Raises:
        UploadError: it cannot be used. EncodingError: it may be read in another encoding.
    """
    if not content:
        raise UploadError(f"{name} is empty. Choose a file with one tweet a row.")
    if len(content) > MOST_MEGABYTES * 2**20:
        raise UploadError(
            f"{name} has {len(content) / 2**20:,.0f} MB; allowed: {MOST_MEGABYTES} MB. Cut it into several files."
        )
    suffix = PurePath(name).suffix.lower()
    frame = _parquet(name, content) if suffix == ".parquet" else _lines(name, content, encoding, heading)
    if frame.empty:
        raise UploadError(f"{name} has no rows{' below its heading' if heading else ''}.")
    if len(frame) > MOST_ROWS:
        raise UploadError(_many(name, len(frame)))
    if not any(frame[column].str.contains(_WRITTEN).any() for column in text_columns(frame)):
        raise UploadError(f"{name} has no column of texts. Choose a file with one tweet a row.")
    return frame


def text_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns, the one that most likely holds the texts first: by its name, else by how long its cells are."""
    lengths = {column: frame[column].head(1000).str.len().mean() for column in frame}
    usual = [name for wanted in _USUAL for name in frame if str(name).strip().lower() == wanted]
    return list(dict.fromkeys([*usual, *sorted(lengths, key=lengths.__getitem__, reverse=True)]))


def texts(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows whose cell in a column is not blank, numbered anew."""
    return frame[frame[column].str.strip() != ""].reset_index(drop=True)


def lines(pasted: str) -> list[str]:
    """Return the lines of a pasted text that are not blank."""
    return [line.strip() for line in pasted.splitlines() if line.strip()]


def _many(name: str, rows: int) -> str:
    return f"{name} has {rows:,} rows; allowed: {MOST_ROWS:,}. Cut it into several files."


def _parquet(name: str, content: bytes) -> pd.DataFrame:
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        described = file.metadata
        unpacked = sum(described.row_group(number).total_byte_size for number in range(described.num_row_groups))
        if described.num_rows > MOST_ROWS:
            raise UploadError(_many(name, described.num_rows))
        if unpacked > MOST_UNPACKED * 2**20:
            raise UploadError(f"{name} unpacks to {unpacked / 2**20:,.0f} MB; allowed: {MOST_UNPACKED} MB.")
        whole = file.read()
        kept = [number for number, field in enumerate(whole.schema) if not pa.types.is_nested(field.type)]
        frame = whole.select(kept).to_pandas(ignore_metadata=True)  # what pandas kept as an index is a column too
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UploadError(f"{name} is no Parquet file, or a damaged one.") from error
    if frame.columns.empty:
        raise UploadError(f"{name} has no column of texts.")
    named = frame.set_axis(_names(frame.columns), axis=1)
    return named.astype(object).where(named.notna(), "").map(_as_text)


def _as_text(cell: object) -> str:
    # Some writers of Parquet mark no text as text.
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def _lines(name: str, content: bytes, encoding: str, heading: bool) -> pd.DataFrame:
    try:
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if marked else ENCODINGS[encoding])
    except UnicodeError as error:
        raise EncodingError(f"{name} is not written in {encoding}. Choose another encoding.") from error
    if "\0" in text:
        raise EncodingError(f"{name} is no text in {encoding}. Choose another encoding, or a CSV or a Parquet file.")
    if not text.strip():
        raise UploadError(f"{name} holds nothing but blanks.")
    if name.lower().endswith(".txt"):
        return pd.DataFrame({"text": lines(text)})
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator(text),
            header=0 if heading else None,
            dtype=str,
            keep_default_na=False,
            on_bad_lines="error",
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        said = str(error).rpartition("C error: ")[2].strip()
        raise UploadError(f"{name} is no table that can be read: {said}.") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is beyond the heading for an index
        raise UploadError(f"{name} has rows with more cells than its heading. Put texts with commas into quotes.")
    named = frame.columns if heading else [""] * len(frame.columns)
    return frame.fillna("").set_axis(_names(named), axis=1).astype(str)


def separator(text: str) -> str:
    """Return what separates the columns of a table: what stands most often in its first line; if nothing does, it has one column."""
    first = text.lstrip("\r\n").partition("\n")[0]
    best = max(",;\t|", key=first.count)
    return best if best in first else "\x1f"


def _names(columns: Iterable[object]) -> list[str]:
    # One for each column, no two alike.
    found: list[str] = []
    for number, column in enumerate(columns, 1):
        name = str(column).strip() or f"column {number}"
        found.append(f"{name} (column {number})" if name in found else name)
    return found

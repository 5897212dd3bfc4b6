"""Raw tweets: the bundled sample, the published Sentiment140, or a file in one of the accepted formats.

Accepted are a CSV or zip as Stanford published it (six columns without a header: target, id, date, flag, user, text),
a CSV whose header names `target` and `text`, and a parquet with `target` and `text`. `target` is 0 (negative),
2 (neutral) or 4 (positive); `user`, `date` and `sample` are read where they are there.

Source: Go, Bhayani and Huang 2009, "Twitter sentiment classification using distant supervision".
"""

import csv
import hashlib
import io
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import requests

from steps.sentiment.command_line import InputError, first_line, progress

SAMPLE = Path("data/sample/tweets.csv")
RAW = Path("data/raw")
ZIP = "trainingandtestdata.zip"
MD5 = "1647eb110dd2492512e27b9a70d5d1bc"
#: The publisher first, then Zenodo's copy of the same file.
MIRRORS = (
    "https://cs.stanford.edu/people/alecmgo/trainingandtestdata.zip",
    "http://cs.stanford.edu/people/alecmgo/trainingandtestdata.zip",
    "https://zenodo.org/records/11116734/files/trainingandtestdata.zip?download=1",
)
PUBLISHED_COLUMNS = ("target", "id", "date", "flag", "user", "text")
COLUMNS = ("target", "text", "user", "date", "sample")
#: A date as published; times are those of the Pacific, all of them in summer. Others are read as ISO 8601.
PUBLISHED_DATE = "%a %b %d %H:%M:%S PDT %Y"
NEGATIVE, NEUTRAL, POSITIVE = 0, 2, 4
FORMATS = (
    "Sentiment140's zip or CSV (6 columns without header), a CSV with a header naming target and text, or a parquet"
)
#: Above this share of bad rows the file is not what it was taken for, and is refused.
MAX_BAD_SHARE = 0.01
#: Line breaks in one tweet, above which it is no tweet.
MAX_LINES = 20


@dataclass
class Raw:
    """Rows of a source: `tweets` has COLUMNS (target int8, date a time; user, date and sample null where unknown)."""

    tweets: pd.DataFrame
    bad: Counter[str] = field(default_factory=Counter)
    human_test: pd.DataFrame | None = None


def locate(data: str) -> Path:
    """Return the file that a `data` flag names: `sample`, `sentiment140` (downloaded when needed) or a path."""
    if data == "sample":
        return SAMPLE
    return download(RAW, MIRRORS, MD5) if data == "sentiment140" else Path(data)


def fingerprint(data: str, human_test: str) -> str:
    """Return a digest of the files that the flags `data` and `human_test` name, without fetching any.

    Raises:
        InputError: no such file.
    """
    digest = hashlib.sha256()
    for given in (data, human_test):
        if given == "sentiment140":
            digest.update(MD5.encode())
        elif given:
            path = SAMPLE if given == "sample" else Path(given)
            if not path.is_file():
                raise InputError(f"no such file: {path}; allowed: {FORMATS}")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def read(path: Path) -> Raw:
    """Read a file in an accepted format; with the published zip comes its human-labelled test.

    Raises:
        InputError: no such file, another format, a broken zip, no rows, or over 1 % bad rows.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}; allowed: {FORMATS}")
    with path.open("rb") as file:
        head = file.read(4)
    if head == b"PAR1":
        return _checked(_read_parquet(path), path)
    if head[:2] == b"PK" or path.suffix == ".zip":
        return _read_zip(path)
    return _checked(_read_csv(path.read_bytes(), path), path)


def read_human_test(path: Path) -> pd.DataFrame:
    """Read a human-labelled test: columns `target` (0, 2 or 4) and `text`.

    Raises:
        InputError: as for `read`.
    """
    return read(path).tweets[["target", "text"]]


def _checked(raw: Raw, path: Path | str) -> Raw:
    tweets = raw.tweets
    target = pd.to_numeric(tweets["target"], errors="coerce")
    reasons = {
        "a label other than 0, 2 or 4": ~target.isin([NEGATIVE, NEUTRAL, POSITIVE]),
        "a null or empty text": tweets["text"].isna() | (tweets["text"].str.strip() == ""),
    }
    good = pd.Series(True, index=tweets.index)
    for reason, bad in reasons.items():
        raw.bad[reason] += int((good & bad).sum())
        good &= ~bad
    # An unclosed quote makes one text of all lines up to the next quote; each of them counts as a bad row.
    lines = tweets["text"].str.count("\n").fillna(0)
    swallowed = good & (lines > MAX_LINES)
    raw.bad["a line lost to an unclosed quote"] = lost = int((lines[swallowed] + 1).sum())
    good &= ~swallowed
    rows = len(tweets) + raw.bad["a wrong number of columns"] + lost - int(swallowed.sum())
    if rows == 0:
        raise InputError(f"{path}: the file holds no tweet; allowed: {FORMATS}")
    bad_rows = {reason: count for reason, count in raw.bad.items() if count}
    if sum(bad_rows.values()) > MAX_BAD_SHARE * rows:
        found = ", ".join(f"{count} with {reason}" for reason, count in bad_rows.items())
        raise InputError(f"{path}: {found}, of {rows} rows; allowed: at most {MAX_BAD_SHARE:.0%} bad rows of {FORMATS}")
    raw.tweets = tweets[good].reindex(columns=list(COLUMNS)).assign(target=target[good].astype("int8"))
    for name in ("user", "sample"):  # a parquet may hold them as numbers or categories
        if raw.tweets[name].dtype != object:
            raw.tweets[name] = raw.tweets[name].astype("string").astype(object)
    raw.tweets["date"] = _dates(raw.tweets["date"])
    return raw


def _dates(given: pd.Series) -> pd.Series:
    """Return times without a zone; what is no date is unknown."""
    if not pd.api.types.is_datetime64_any_dtype(given):
        published = pd.to_datetime(given, format=PUBLISHED_DATE, errors="coerce")
        other = given.where(published.isna())
        given = published.fillna(
            pd.to_datetime(other, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
        )
    return given.dt.tz_localize(None)


def _read_parquet(path: Path) -> Raw:
    try:
        schema = pa.parquet.read_schema(path)
        missing = {"target", "text"} - set(schema.names)
        if missing:
            raise InputError(
                f"{path}: no column {' and no column '.join(sorted(missing))}; found: {', '.join(schema.names)}; "
                "allowed: a parquet with target and text"
            )
        table = pa.parquet.read_table(path, columns=[name for name in COLUMNS if name in schema.names])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable parquet ({first_line(error)})") from error
    tweets = table.to_pandas()
    texts = [text if isinstance(text, str) else None for text in tweets["text"]]
    return Raw(tweets.assign(text=pd.Series(texts, index=tweets.index, dtype=object)))


def _read_zip(path: Path) -> Raw:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            training = [name for name in members if not Path(name).name.startswith("testdata")]
            if len(training) != 1:
                raise InputError(f"{path}: holds {len(training)} training CSV files, wanted 1; found: {members}")
            raw = _checked(_read_csv(archive.read(training[0]), path), f"{path}:{training[0]}")
            for name in set(members) - set(training):
                raw.human_test = _checked(_read_csv(archive.read(name), path), f"{path}:{name}").tweets[
                    ["target", "text"]
                ]
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{path}: broken or truncated zip ({error}); fetch it again") from error
    return raw


def _read_csv(content: bytes, path: Path) -> Raw:
    if not content.strip():
        raise InputError(f"{path}: the file is empty; allowed: {FORMATS}")
    if b"\0" in content[:65536]:
        raise InputError(f"{path}: looks like UTF-16 or binary data; allowed: UTF-8 or latin-1 text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # As published: UTF-8 with damage. Latin-1 keeps every byte, and ftfy mends the text later.
        text = content.decode("latin-1")
    first = next(csv.reader(io.StringIO(text[:100_000], newline=None)), [])
    header = {"target", "text"} <= set(first)
    columns = tuple(first) if header else PUBLISHED_COLUMNS
    if len(first) != len(columns):
        raise InputError(f"{path}: {len(first)} columns in the first row; allowed: {FORMATS}")
    raw = Raw(pd.DataFrame())

    def skip(row: pa.csv.InvalidRow) -> str:
        raw.bad["a wrong number of columns"] += 1
        return "skip"

    try:
        table = pa.csv.read_csv(
            pa.py_buffer(f"{text}\n".encode("utf-8", "replace")),
            read_options=pa.csv.ReadOptions(column_names=list(columns), skip_rows=1 if header else 0),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pa.csv.ConvertOptions(
                include_columns=[name for name in COLUMNS if name in columns],
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a readable CSV ({first_line(error)}); allowed: {FORMATS}") from error
    raw.tweets = table.to_pandas()
    return raw


def download(folder: Path, mirrors: Sequence[str], md5: str, attempts: int = 3) -> Path:
    """Fetch the published zip once; a broken-off download goes on where it stopped.

    Args:
        folder: where the file is kept.
        mirrors: addresses, tried in turn.
        md5: the published checksum, in hexadecimal.
        attempts: rounds over the mirrors.

    Returns:
        The path of the checked file.

    Raises:
        InputError: no mirror answered, or what came has another checksum (it is removed).
    """
    target = folder / ZIP
    if target.is_file() and _md5(target) == md5:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    failures = []
    for attempt in range(attempts):
        for mirror in mirrors:
            try:
                _fetch(mirror, part)
            except requests.RequestException as error:
                failures.append(f"{mirror}: {type(error).__name__}")
                continue
            found = _md5(part)
            if found == md5:
                part.replace(target)
                return target
            part.unlink()
            failures.append(f"{mirror}: MD5 {found} instead of {md5}")
        time.sleep(attempt)
    raise InputError(
        f"data=sentiment140 could not be downloaded ({'; '.join(failures[-len(mirrors) :])}); "
        f"put the file into {folder}/ by hand or give its path as data=PATH"
    )


def _fetch(address: str, part: Path) -> None:
    done = part.stat().st_size if part.exists() else 0
    with requests.get(
        address, stream=True, timeout=30, headers={"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
    ) as answer:
        if answer.status_code == requests.codes.range_not_satisfiable and done:
            return  # all of it is here; the checksum decides
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            done = 0
        rest = int(answer.headers.get("Content-Length", 0))
        with (
            part.open("ab" if done else "wb") as file,
            progress(total=done + rest, initial=done, unit="B", unit_scale=True, desc=ZIP) as bar,
        ):
            for block in answer.iter_content(1 << 16):
                file.write(block)
                bar.update(len(block))
    if rest and part.stat().st_size < done + rest:
        raise requests.ConnectionError(f"broke off after {part.stat().st_size} of {done + rest} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()

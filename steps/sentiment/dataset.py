"""Raw tweets -> the prepared dataset, and back from its folder.

A prepared dataset is a folder with `tweets.parquet` (columns `text`, `label` 0/1, `split`, `sample` where the source
names one, and `late` where it has dates: whether a test row is of their later half), `human_test.parquet` where the source
has a human-labelled test, `dataset.json` (digest, counts, sha256 of the two files of tweets, how it was made), `profile.json`
and `report.html`. Models are compared only on the same digest.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import ftfy
import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow.parquet

from steps.sentiment import folders, keys
from steps.sentiment.command_line import InputError
from steps.sentiment.model import LINK, MENTION, undo_entities
from steps.sentiment.sources import NEGATIVE, NEUTRAL, POSITIVE, Raw

PROCESSED = Path("data/processed")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("test", "validation", "train")

#: Curly quotes and ligatures are the author's own and stay; what a wrong decoding or HTML did to a text is undone.
_REPAIR = ftfy.TextFixerConfig(
    unescape_html=False, uncurl_quotes=False, fix_latin_ligatures=False, fix_character_width=False
)

SCHEMA = pandera.DataFrameSchema(
    {
        "text": pandera.Column("string[pyarrow]", pandera.Check.str_length(min_value=1)),
        "label": pandera.Column("int8", pandera.Check.isin([0, 1])),
        "split": pandera.Column("string[pyarrow]", pandera.Check.isin(SPLITS)),
        "sample": pandera.Column("string[pyarrow]", nullable=True, required=False),
        "late": pandera.Column("boolean", nullable=True, required=False),
    },
    strict=True,
)


@dataclass(frozen=True)
class Options:
    """How a dataset is drawn: the flags of `prepare` after its source."""

    holdout: tuple[str, str] | None = None
    validation_rows: float = 0.1
    test_rows: float = 0.2
    max_rows: int | None = None
    seed: int = 0


@dataclass
class Prepared:
    """What `prepare` made of a source: `tweets` as in the module docstring, and how many rows each stage left."""

    tweets: pd.DataFrame
    human_test: pd.DataFrame | None
    counts: dict[str, int] = field(default_factory=dict)
    repaired: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of the rows: the same on any machine and for any row order."""
        digest = _digest_rows(self.tweets, ["text", "label", "split"])
        if self.human_test is not None:
            digest += _digest_rows(self.human_test, ["text", "target"])
        return hashlib.sha256(digest).hexdigest()[:16]


def prepare(raw: Raw, options: Options) -> Prepared:
    """Repair, unify, split: see docs/architecture.md, "Data contract".

    Args:
        raw: the rows of a source.
        options: how to draw validation, test and training rows.

    Raises:
        InputError: one class only, a holdout of no row, or more rows asked for than there are.
    """
    counts = {"rows read": len(raw.tweets) + sum(raw.bad.values())}
    counts |= {f"dropped: {reason}": -count for reason, count in raw.bad.items() if count}
    # The frame becomes ours to change: at 1.6 million rows a second copy would count.
    tweets, raw.tweets = raw.tweets, pd.DataFrame()
    _drop(tweets, counts, "neutral", tweets["target"] == NEUTRAL)
    before = tweets["text"].str.strip()
    tweets["text"] = [repair(text) for text in before]
    changed = tweets.index[tweets["text"] != before]
    examples = [(before[row], tweets.at[row, "text"]) for row in changed[:400]]
    counts["texts repaired"] = len(changed)
    tweets["label"] = (tweets.pop("target") == POSITIVE).astype("int8")
    tweets["folded"] = [fold(text) for text in tweets["text"]]
    _drop(tweets, counts, "empty after repair", tweets["folded"] == "")
    human_test = _human_test(raw.human_test)
    if human_test is not None:
        _drop(
            tweets,
            counts,
            "text of the human-labelled test",
            tweets["folded"].isin({fold(t) for t in human_test["text"]}),
        )
    tweets["same"] = pd.factorize(tweets["folded"])[0]  # numbers compare faster than 1.6 million texts
    labels = tweets.groupby("same")["label"].agg(["min", "max"])
    contradictory = labels.index[labels["min"] != labels["max"]]
    _drop(tweets, counts, "text with both labels", tweets["same"].isin(contradictory))
    # Of equal texts the one whose author is known stays (it groups the split), then the smallest: row order is no criterion.
    repeated = tweets[tweets.duplicated("same", keep=False)].sort_values(["same", "user", "text", "sample"])
    surplus = tweets.index.isin(repeated.index[repeated.duplicated("same")])
    _drop(tweets, counts, "repeated text", pd.Series(surplus))
    present = sorted(set(tweets["label"]))
    if len(present) < 2:
        raise InputError(f"only one class is left: {present or 'no row'}; allowed: both negative and positive tweets")
    _split(tweets, options, counts)
    # Of the test rows alone: in Sentiment140 the date gives the label away, and no training is to see anything of it.
    dated = (tweets["split"] == "test") & tweets["date"].notna()
    middle = tweets.loc[dated, "date"].quantile() if dated.any() else pd.NaT
    tweets["late"] = (tweets["date"] > middle).astype("boolean").where(dated)
    columns = ["text", "label", "split", *(name for name in ("sample", "late") if tweets[name].notna().any())]
    texts = dict.fromkeys(set(columns) - {"label", "late"}, "string[pyarrow]")
    tweets = SCHEMA.validate(tweets[columns].reset_index(drop=True).astype(texts))
    for split in SPLITS:
        labels = tweets.loc[tweets["split"] == split, "label"]
        if labels.nunique() < 2:
            raise InputError(
                f"the {split} split has {len(labels)} rows and not both classes; allowed: more rows or another seed"
            )
        counts[f"{split} rows"] = len(labels)
    return Prepared(tweets, human_test, counts, examples)


def repair(text: str) -> str:
    """Undo HTML entities and wrong decoding; everything that the author typed stays."""
    text = undo_entities(text)
    if not (text.isascii() and text.isprintable()):
        text = ftfy.fix_text(text, _REPAIR)
    return text.strip()


def fold(text: str) -> str:
    """Return the form under which texts count as identical: case and spaces folded, users and links masked."""
    text = text.lower()
    text = LINK.sub("http", text) if "http" in text or "www." in text else text
    text = MENTION.sub("@", text) if "@" in text else text
    return " ".join(text.split())


def _drop(tweets: pd.DataFrame, counts: dict[str, int], reason: str, rows: pd.Series) -> None:
    counts[f"dropped: {reason}"] = -int(rows.sum())
    tweets.drop(tweets.index[rows.to_numpy()], inplace=True)


def _human_test(rows: pd.DataFrame | None) -> pd.DataFrame | None:
    if rows is None:
        return None
    if not {NEGATIVE, POSITIVE} <= set(rows["target"]):
        raise InputError(
            f"the human-labelled test has the labels {sorted(set(rows['target']))}; allowed: both 0 and 4, and 2 beside them"
        )
    return pd.DataFrame({"text": [repair(text) for text in rows["text"]], "target": rows["target"].to_numpy()}).assign(
        neutral=lambda frame: frame["target"] == NEUTRAL
    )


def _hashes(keys: Iterable[str], seed: int) -> np.ndarray:
    salt = seed.to_bytes(8, "little")
    digests = b"".join(
        hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8, salt=salt).digest() for key in keys
    )
    return np.frombuffer(digests, dtype="<u8")


def _split(tweets: pd.DataFrame, options: Options, counts: dict[str, int]) -> None:
    # The group that may not be divided is the author where known, else the text. The groups of the smallest seeded
    # hashes make the test, the next ones validation, so that another preparation of the same tweets agrees.
    author = tweets["user"].where(tweets["user"].notna(), "")
    group = [f"user {user}" if user else text for user, text in zip(author, tweets["folded"], strict=True)]
    tweets["group"] = _hashes(group, options.seed)
    tweets["order"] = _hashes(tweets["folded"], options.seed)
    tweets.sort_values(["group", "order"], inplace=True)
    eligible = _eligible(tweets, options.holdout)
    wanted = {}
    for split, rows in (("test", options.test_rows), ("validation", options.validation_rows)):
        wanted[split] = round(rows * eligible.sum()) if rows < 1 else int(rows)
    code, free, groups = np.full(len(tweets), SPLITS.index("train")), eligible.copy(), tweets["group"].to_numpy()
    for split in ("test", "validation"):
        chosen = free & (free.cumsum() <= wanted[split])
        enough = 1 <= wanted[split] == chosen.sum()
        if enough:
            code[chosen] = SPLITS.index(split)
            free &= groups > groups[chosen].max()
        if not enough or (code != SPLITS.index("train")).all():
            raise InputError(
                f"test_rows={options.test_rows:g} and validation_rows={options.validation_rows:g} ask for {wanted['test']} "
                f"and {wanted['validation']} rows; allowed: at least 1 each, of different authors, and together less than "
                f"the {eligible.sum()} rows there are"
            )
    first = pd.Series(code, index=tweets.index).groupby(tweets["group"]).transform("min")
    astride = code != first
    code = code[~astride]
    _drop(tweets, counts, "author also in test or validation", astride)
    tweets["split"] = np.array(SPLITS, dtype=object)[code]
    tweets.sort_values("order", inplace=True)
    if options.max_rows is not None:
        surplus = (tweets["split"] == "train") & ((tweets["split"] == "train").cumsum() > options.max_rows)
        _drop(tweets, counts, f"beyond max_rows={options.max_rows}", surplus)


def _eligible(tweets: pd.DataFrame, holdout: tuple[str, str] | None) -> np.ndarray:
    if holdout is None:
        return np.ones(len(tweets), dtype=bool)
    column, value = holdout
    allowed = [name for name in ("sample", "user") if tweets[name].notna().any()]
    if column not in allowed:
        raise InputError(
            f"holdout={column}={value}: no column {column!r}; allowed: {', '.join(allowed) or 'none in this file'}"
        )
    rows = (tweets[column] == value).to_numpy()
    if not rows.any():
        values = (
            ", ".join(map(str, tweets[column].dropna().unique()[:10])) if column == "sample" else "a user in the file"
        )
        raise InputError(f"holdout={column}={value}: no row has this value; allowed: {values}")
    return rows


def _digest_rows(frame: pd.DataFrame, columns: list[str]) -> bytes:
    digests = []
    for row in zip(*(frame[column].tolist() for column in columns), strict=True):
        content = "\0".join(map(str, row)).encode("utf-8", "replace")
        digests.append(hashlib.blake2b(content, digest_size=16).digest())
    return hashlib.sha256(b"".join(sorted(digests))).digest()


def write(folder: Path, files: dict[str, str], prepared: Prepared, manifest: dict[str, Any]) -> Path:
    """Write a prepared dataset whole or not at all; a folder of the same digest is replaced.

    Args:
        folder: the parent, `data/processed`.
        files: further texts by file name.
        prepared: the dataset.
        manifest: what `dataset.json` says beside digest and counts.

    Returns:
        The dataset's folder, `folder/<digest>`.
    """
    target = folder / prepared.digest
    with folders.replaced(target) as beside:
        prepared.tweets.to_parquet(beside / "tweets.parquet", index=False)
        if prepared.human_test is not None:
            prepared.human_test.to_parquet(beside / "human_test.parquet", index=False)
        hashes = {path.name: keys.file_sha256(path) for path in sorted(beside.glob("*.parquet"))}
        manifest = {"digest": prepared.digest, "counts": prepared.counts, "sha256": hashes, **manifest}
        for name, text in {**files, "dataset.json": json.dumps(manifest, indent=2)}.items():
            (beside / name).write_text(text, encoding="utf-8")
    return target


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset on disk and the URI by which it was asked for."""

    folder: Path
    uri: str
    digest: str
    source: str

    def split(self, name: Split, max_rows: int | None = None) -> pd.DataFrame:
        """Return the rows of one split (`text`, `label`), in hash order: a smaller `max_rows` is a subset of a larger.

        The test split is for `compare` alone (tests/test_architecture.py); it has `late`, too, where dates are known.
        """
        path = self.folder / "tweets.parquet"
        late = ["late"] if name == "test" and "late" in pyarrow.parquet.read_schema(path).names else []
        rows = pd.read_parquet(path, columns=["text", "label", *late], filters=[("split", "==", name)])
        return rows.head(max_rows) if max_rows else rows

    def human_test(self) -> pd.DataFrame | None:
        """Return the human-labelled tweets that are not neutral (`text`, `label`), or None."""
        path = self.folder / "human_test.parquet"
        if not path.exists():
            return None
        rows = pd.read_parquet(path)
        rows = rows[~rows["neutral"]].reset_index(drop=True)
        return pd.DataFrame({"text": rows["text"], "label": (rows["target"] == POSITIVE).astype("int8")})


def load(folder: Path, uri: str) -> Dataset:
    """Open a prepared dataset.

    Raises:
        InputError: the folder is not one, or its tweets are not those that `prepare` wrote.
    """
    manifest = folder / "dataset.json"
    if not manifest.is_file() or not (folder / "tweets.parquet").is_file():
        raise InputError(
            f"dataset={uri}: not a prepared dataset; allowed: runs:/<run id of prepare>/dataset or its folder"
        )
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        dataset, hashes = Dataset(folder, uri, content["digest"], content["source"]), content["sha256"]
    except (ValueError, KeyError) as error:
        raise InputError(
            f"dataset={uri}: dataset.json is damaged, or of an older version ({error!r}); run prepare again"
        ) from error
    for name, sha256 in hashes.items():
        if not (folder / name).is_file() or keys.file_sha256(folder / name) != sha256:
            raise InputError(f"dataset={uri}: {name} is not as it was prepared; run prepare again")
    return dataset

"""Raw tweets -> the prepared dataset that every other step reads.

    mlflow run . -e prepare --env-manager local
    python -m steps.prepare --data PATH --holdout sample=random --test_rows 15000 --validation_rows 15000

Takes the bundled sample, downloads the published Sentiment140, or reads a file (steps/sentiment/sources.py names the
formats). 1.6 million tweets take about a minute and 3 GiB. Leaves `data/processed/<digest>/` and the same as artifact
`dataset` of a finished run: the tweets in three splits, `profile.json` for drift and a readable `report.html`.
"""

import json
from pathlib import Path

from steps.sentiment import command_line, profile, report, sources, tracking
from steps.sentiment.command_line import Flags, column_equals, count_or_share, integer, optional
from steps.sentiment.dataset import PROCESSED, Options, prepare, write

#: Rows that profile and figures are made from; the training split is in hash order, so its head is a fair sample.
PROFILED_ROWS = 50_000


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("prepare", __doc__)
    flags.flag("data", "sample", "sample, sentiment140 (download), or the path of a zip, CSV or parquet")
    flags.flag("human_test", "", "file with human-labelled tweets; the published zip brings its own")
    flags.flag("holdout", "", "column=value: draw validation and test only from these rows", optional(column_equals))
    flags.flag("validation_rows", "0.1", "a count, or a share of the rows drawn from", count_or_share)
    flags.flag("test_rows", "0.2", "a count, or a share of the rows drawn from", count_or_share)
    flags.flag("max_rows", "", "training rows kept; default: all", optional(integer(1)))
    flags.flag("seed", "0", "of the hashes that split the rows", integer())
    return flags


def read(data: str, human_test: str) -> sources.Raw:
    """Read the source that `data` names, and the human-labelled test if one is given."""
    raw = sources.read(sources.locate(data))
    if human_test:
        raw.human_test = sources.read_human_test(Path(human_test))
    return raw


def main(argv: list[str] | None = None) -> None:
    """Prepare, write and log a dataset."""
    given = flags().read(argv)
    raw = read(given.data, given.human_test)
    options = Options(given.holdout, given.validation_rows, given.test_rows, given.max_rows, given.seed)
    with tracking.step("prepare", given.texts, sources.fingerprint(given.data, given.human_test)):
        prepared = prepare(raw, options)
        profiled = prepared.tweets[prepared.tweets["split"] == "train"].head(PROFILED_ROWS)
        described = profile.of_texts(profiled["text"]) | {"positive_share": float(profiled["label"].mean())}
        source = given.data if given.data in ("sample", "sentiment140") else Path(given.data).name
        files = {
            "profile.json": json.dumps(described, indent=1),
            "report.html": report.render(prepared, profiled, described, source),
        }
        folder = write(PROCESSED, files, prepared, {"source": source, "parameters": given.texts})
        tracking.log_prepared(folder, prepared.counts, prepared.digest)
    rows = ", ".join(f"{prepared.counts[f'{split} rows']:,} {split}" for split in ("train", "validation", "test"))
    print(f"prepare: dataset {prepared.digest} in {folder}: {rows}")


if __name__ == "__main__":
    command_line.run(main, "prepare")

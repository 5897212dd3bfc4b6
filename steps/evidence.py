"""Exports what finished runs on real data proved, so that it outlives the tracking store.

    make evidence

Writes, for each model of the newest comparison on each real dataset, `docs/results/evidence/<digest>/<family>-<run>/`
with `run.json` (flags, metrics, digests, commit, epochs) and `scores.parquet` (label, score and slices of each test row;
never text, user or id), and then from all the evidence there is `docs/results.md`, its figures and the README's table, which
shows the model of `data/champion/` wherever it ranks.
"""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Run

from steps.sentiment import bundled, command_line, comparison, evidence, runs
from steps.sentiment.command_line import Flags, InputError
from steps.sentiment.comparison import Comparison

RESULTS = Path("docs/results")
README = Path("README.md")
#: Metrics that a training logs after each epoch.
PER_EPOCH = ("epoch_", "train_loss")


def flags() -> Flags:
    """Return the flags of this step: none."""
    return Flags("evidence", __doc__)


def real_comparisons() -> list[Comparison]:
    """Return the newest comparison on each dataset that is not the bundled sample."""
    newest: dict[str, Comparison] = {}
    for run in runs.finished(step="compare"):
        if run.data.tags["dataset_digest"] not in newest:
            found = comparison.read(run.info.run_id)
            newest[found.result["dataset_digest"]] = found
    return [found for found in newest.values() if found.result["dataset_source"] != "sample"]


def describe(run: Run, entry: dict[str, Any], found: Comparison) -> dict[str, Any]:
    """Return `run.json` of one model: how it was trained, and what training and comparison measured."""
    tags = run.data.tags
    return {
        **found.facts(entry["model_id"]),
        "comparison_run_id": found.run_id,
        **{name: found.result[name] for name in ("core_hour_price", "labels") if name in found.result},
        "opponents": {
            name: found.entry(opponent)["name"] for name, opponent in found.result.get("opponents", {}).items()
        },
        "code_digest": tags["code_digest"],
        "started": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC").isoformat(timespec="seconds"),
        "flags": {name: _public(text) for name, text in sorted(run.data.params.items()) if name != "dataset"},
        "epochs": {name: runs.history(run, name) for name in sorted(run.data.metrics) if name.startswith(PER_EPOCH)},
        "trials": [
            {"trial": trial.info.run_name.removeprefix("trial "), **trial.data.params, **trial.data.metrics}
            for trial in runs.finished(step="trial", **{"`mlflow.parentRunId`": run.info.run_id})[::-1]
        ],
    }


def _public(text: str) -> str:
    # As typed; of a file only the name: where it lay is the machine's own business.
    text = comparison.typed(text)
    return Path(text).name if Path(text).is_absolute() else text


def export(found: Comparison, folder: Path) -> list[Path]:
    """Write the evidence of one comparison; a model's folder appears whole or not at all."""
    scores, human_scores = found.scores(), found.human_scores()
    written = []
    for entry in found.result["models"]:
        run = runs.get(entry["run_id"], "comparison")
        target = evidence.place(folder, found.result["dataset_digest"], entry["family"], run.info.run_id)
        others = [model_id for model_id in found.model_ids if model_id != entry["model_id"]]
        own = {
            "scores.parquet": scores.drop(columns=others).rename(columns={entry["model_id"]: "score"}),
            **({"human_scores.parquet": human_scores[["label", entry["model_id"]]].set_axis(["label", "score"], axis=1)}
               if human_scores is not None else {}),
        }  # fmt: skip
        evidence.write(target, describe(run, entry, found), own)
        written.append(target)
    return written


def main(argv: list[str] | None = None) -> None:
    """Export the evidence and write the results page."""
    flags().read(argv)
    found = real_comparisons()
    if not found:
        raise InputError(
            "no finished comparison on a dataset other than the bundled sample; run compare on real data first"
        )
    for one in found:
        for folder in export(one, RESULTS / "evidence"):
            print(f"evidence: {folder}")
    figures = RESULTS / "figures"
    shutil.rmtree(figures, ignore_errors=True)
    page = evidence.page(RESULTS / "evidence", figures)
    RESULTS.with_suffix(".md").write_text(page, encoding="utf-8")
    table = evidence.summary(RESULTS / "evidence", bundled.facts()["run_id"] if bundled.there() else "")
    README.write_text(evidence.with_block(README.read_text(encoding="utf-8"), "results", table), encoding="utf-8")
    print(f"evidence: {RESULTS.with_suffix('.md')}, {README}")


if __name__ == "__main__":
    command_line.run(main, "evidence")

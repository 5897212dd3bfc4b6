"""Evidence of finished runs as files in the repository, and the results page that is made from them alone."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from steps.sentiment import evidence_tables, folders, judgement, plots
from steps.sentiment.evidence_tables import figure, markdown

HEADER = """# Results

Made by `make evidence` from `docs/results/evidence/`, which holds the flags, metrics and the scores of each test row of
the runs named here; a test makes this page again and compares. Intervals are 95 % (bootstrap).
"""

#: Models of one family in the README.
SHOWN_OF_FAMILY = 3
#: Networks on equal rows from which on a grid says more than the table.
GRID = 8


def write(folder: Path, run: dict[str, Any], frames: dict[str, pd.DataFrame]) -> None:
    """Write one model's evidence beside, then rename: a folder is whole or not there."""
    with folders.replaced(folder) as beside:
        (beside / "run.json").write_text(json.dumps(run, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        for name, frame in frames.items():
            types = {"float64": "float32", "boolean": "bool"}
            small = frame.astype({name: types[str(kind)] for name, kind in frame.dtypes.items() if str(kind) in types})
            small.to_parquet(beside / name, index=False, compression="zstd")


def place(evidence: Path, digest: str, family: str, run_id: str) -> Path:
    """Return the folder of one model's evidence: of the dataset that it was compared on, its family and its training run."""
    return evidence / digest / f"{family}-{run_id[:8]}"


def read(evidence: Path) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Return run and test scores of each model, grouped by dataset, the best on validation first."""
    found = [
        (json.loads(path.read_text(encoding="utf-8")), pd.read_parquet(path.with_name("scores.parquet")))
        for path in sorted(evidence.glob("*/*/run.json"))
    ]
    return sorted(found, key=lambda one: (one[0]["dataset_digest"], -one[0]["test_metrics"]["validation_roc_auc"]))


def page(evidence: Path, figures: Path) -> str:
    """Return the results page in Markdown and write its figures into the folder `figures`."""
    sections = [HEADER]
    found = read(evidence)
    for digest in dict.fromkeys(run["dataset_digest"] for run, _ in found):
        models = [(run, scores) for run, scores in found if run["dataset_digest"] == digest]
        shown = models[: plots.MOST]
        first, rows = models[0]
        labels = rows["label"].to_numpy()
        for name, drawn in plots.curves(
            labels, dict(zip(_titles(shown), (scores["score"] for _, scores in shown), strict=True)), "test"
        ).items():
            figures.mkdir(parents=True, exist_ok=True)
            drawn.savefig(figures / f"{digest}-{name}.png", dpi=90)
        sections += [
            f"## {first['dataset_source']}, dataset `{digest}`\n",
            f"{first['test_rows']:,} test rows; {first['human_test_rows']} human-labelled rows, which choose nothing.\n",
            _table(models) + "\n",
            *(further + "\n" for further in evidence_tables.further([run for run, _ in models])),
            *(search + "\n" for search in _searches([run for run, _ in models])),
            *(grid + "\n" for grid in _grids([run for run, _ in models])),
            *_learning_curves([run for run, _ in models], figures / f"{digest}-learning_curves.png"),
            _slices(shown) + "\n",
            "".join(
                f"![{name}](results/figures/{digest}-{name}.png)\n"
                for name in ("roc", "precision_recall", "calibration")
            ),
        ]
    return "\n".join(sections)


def summary(evidence: Path, bundled: str = "") -> str:
    """Return the README's table: the best models of each family on every dataset, and that of the run `bundled`, in a few figures."""
    shown: list[tuple[dict[str, Any], pd.DataFrame]] = []
    for run, scores in read(evidence):
        same = [one for one, _ in shown if all(one[key] == run[key] for key in ("dataset_digest", "family"))]
        if len(same) < SHOWN_OF_FAMILY or run["run_id"] == bundled:
            shown.append((run, scores))
    rows = [
        {
            "model": title,
            "training tweets": f"{run['training_metrics']['train_rows']:,.0f}",
            "accuracy": figure(run["test_metrics"], "test_accuracy"),
            "ROC AUC": figure(run["test_metrics"], "test_roc_auc"),
            f"accuracy on {run['human_test_rows']} human-labelled": figure(run["test_metrics"], "human_test_accuracy"),
            "training, s": f"{run['training_metrics']['train_seconds']:.0f}",
        }
        for title, (run, _) in zip(_titles(shown), shown, strict=True)
    ]
    return markdown(rows)


def with_block(text: str, name: str, content: str) -> str:
    """Return a Markdown text with the block between `<!-- name -->` and `<!-- /name -->` replaced."""
    before, start, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not (start and end):
        raise ValueError(f"no block <!-- {name} --> … <!-- /{name} --> in the text")
    return f"{before}{start}{content}\n{end}{after}"


def _table(models: list[tuple[dict[str, Any], pd.DataFrame]]) -> str:
    rows = []
    for run, _ in models:
        test, training = run["test_metrics"], run["training_metrics"]
        rows.append(
            {
                "model": run["name"],
                "training tweets": f"{training['train_rows']:,.0f}",
                "accuracy": figure(test, "test_accuracy"),
                "F1": figure(test, "test_f1"),
                "ROC AUC": figure(test, "test_roc_auc"),
                "ECE": f"{test['test_ece']:.4f}",
                "human-labelled accuracy": figure(test, "human_test_accuracy"),
                "training (+ vectors), s": f"{training['train_seconds']:.0f}"
                + (f" + {training['vectors_seconds']:.0f}" if training.get("vectors_seconds") else ""),
                "ms per tweet (batch / one)": f"{test['predict_ms_per_tweet']:.3f} / {test['predict_ms_single']:.2f}",
                "MB": f"{training['model_size_mb']:.1f}",
                "unknown words": f"{training['oov_share']:.1%}" if "oov_share" in training else "",
                "run, commit": f"`{run['run_id'][:8]}`, `{run['commit'][:8]}`",
            }
        )
    return markdown(rows)


def _titles(models: list[tuple[dict[str, Any], pd.DataFrame]]) -> list[str]:
    """Return names without flags; where two would be one, with the training tweets, and else as they are."""
    runs = [run for run, _ in models]
    short = [judgement.kind(run["name"]) for run in runs]
    long = [f"{one}, {run['training_metrics']['train_rows']:,.0f} tweets" for one, run in zip(short, runs, strict=True)]
    return [
        one if short.count(one) == 1 else more if long.count(more) == 1 else run["name"]
        for one, more, run in zip(short, long, runs, strict=True)
    ]


def _searches(found: list[dict[str, Any]]) -> list[str]:
    """Return a table of the trials of each search, the best on validation first."""
    tables = []
    for run in found:
        names = ("trial", "architecture", "units", "dropout", "learning_rate", "frozen_epochs", "until_epoch")
        trials = sorted(run.get("trials", []), key=lambda trial: -trial["best_epoch_validation_roc_auc"])
        rows = [
            {name: trial[name] for name in names}
            | {
                "validation ROC AUC": f"{trial['best_epoch_validation_roc_auc']:.4f}",
                "s": f"{trial['train_seconds']:.0f}",
            }
            for trial in trials
        ]
        if rows:
            searched = f"{run['training_metrics']['search_rows']:,.0f} training tweets each"
            table = markdown(rows)
            tables.append(f"The search behind *{run['name']}*, {searched}:\n\n{table}")
    return tables


def _grids(found: list[dict[str, Any]]) -> list[str]:
    """Return a table of embeddings by architectures for each number of training rows that many networks share."""
    networks = [run for run in found if "embedding" in run["flags"] and "trials" not in run["flags"]]
    tables = []
    for rows in sorted({run["training_metrics"]["train_rows"] for run in networks}):
        cells: dict[str, dict[str, str]] = {}
        for run in networks:
            if run["training_metrics"]["train_rows"] == rows:
                embedding, architecture = run["flags"]["embedding"], run["flags"]["architecture"]
                cells.setdefault(embedding, {"embedding": embedding}).setdefault(
                    architecture, f"{run['test_metrics']['test_roc_auc']:.4f}"
                )
        if sum(len(row) - 1 for row in cells.values()) >= GRID:
            table = markdown(cells.values())
            tables.append(f"ROC AUC of embedding by architecture, {rows:,.0f} training tweets:\n\n{table}")
    return tables


def _learning_curves(found: list[dict[str, Any]], path: Path) -> list[str]:
    curves = judgement.learning_curves((run["name"], run["test_metrics"]) for run in found)
    if not curves:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    plots.learning_curves(curves).savefig(path, dpi=90)
    sizes = sorted({rows for points in curves.values() for rows in points})
    rows = [
        {"ROC AUC by training tweets": name}
        | {f"{count:,}": f"{points[count][0]:.4f}" if count in points else "" for count in sizes}
        for name, points in curves.items()
    ]
    table = markdown(rows)
    return [f"{table}\n\n![learning curves](results/figures/{path.name})\n"]


def _slices(models: list[tuple[dict[str, Any], pd.DataFrame]]) -> str:
    names = [name for name in models[0][1].columns if name not in ("label", "score")]
    rows = [
        {"slice": name, "rows": f"{int(models[0][1][name].sum()):,}"}
        | {
            title: f"{run['test_metrics'][f'test_accuracy_{name}']:.4f}"
            if f"test_accuracy_{name}" in run["test_metrics"]
            else ""
            for title, (run, _) in zip(_titles(models), models, strict=True)
        }
        for name in names
    ]
    return "Accuracy by slice:\n\n" + markdown(rows)

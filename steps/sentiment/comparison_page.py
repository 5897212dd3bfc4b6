"""A comparison as one self-contained HTML page: tables that sort, figures, slices, behaviour, worst errors.

It holds tweets, handles and links masked: an artifact of the comparison's run, never a file of the repository.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.figure import Figure

from steps.sentiment import comparison, plots

#: The artifact.
PAGE = "comparison.html"
#: Columns of the first table: title, metric, digits after the point. Those with an interval show it.
COLUMNS = (
    ("validation AUC", "validation_roc_auc", 4),
    ("accuracy", "test_accuracy", 4),
    ("macro F1", "test_f1_macro", 4),
    ("ROC AUC", "test_roc_auc", 4),
    ("PR AUC", "test_pr_auc", 4),
    ("Brier", "test_brier", 4),
    ("ECE", "test_ece", 4),
    ("unsure", "test_unsure_share", 3),
    ("accuracy where unsure", "test_unsure_accuracy", 3),
    ("accuracy elsewhere", "test_sure_accuracy", 3),
    ("human-labelled", "human_test_accuracy", 4),
    ("p against champion", "p_against_champion", 4),
    ("training tweets", "train_rows", 0),
    ("training, s", "train_seconds", 1),
    ("ms, one tweet", "predict_ms_single", 2),
    ("ms a tweet, 256", "predict_ms_per_tweet", 3),
    ("USD a million", "usd_per_million_tweets", 4),
    ("MB", "model_size_mb", 1),
    ("MB in memory", "peak_memory_mb", 0),
)

_TEMPLATES = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(Path(__file__).parent))


def render(
    result: Mapping[str, Any], behaved: pd.DataFrame, errors: pd.DataFrame, figures: Mapping[str, Figure]
) -> str:
    """Return the page.

    Args:
        result: `comparison.json`, the best model on validation first.
        behaved: rows `model`, `test`, `capability`, `kind`, `rate` and `examples` of each model, as `behaviour.evaluate` gives them.
        errors: rows of `error_analysis.COLUMNS`.
        figures: by name; those that begin with `confusion` stand together.
    """
    models = result["models"]
    return _TEMPLATES.get_template("comparison.html.jinja").render(
        result=result,
        columns=[column for column in COLUMNS if any(column[1] in model["metrics"] for model in models)],
        slices=_slices(models),
        behaviour=_behaviour(behaved, [model["name"] for model in models]),
        errors={
            model: {kind: rows.to_dict("records") for kind, rows in own.groupby("kind", sort=False)}
            for model, own in errors.groupby("model", sort=False)
        },
        figures={name: plots.as_text(figure) for name, figure in figures.items() if not name.startswith("confusion")},
        confusions={name: plots.as_text(figure) for name, figure in figures.items() if name.startswith("confusion")},
        shade=_shade,
    )


def _slices(models: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    # Accuracy by slice, a value for each model.
    found = [comparison.slice_accuracies(model["metrics"]) for model in models]
    return {name: [own.get(name) for own in found] for name in dict.fromkeys(name for own in found for name in own)}


def _behaviour(behaved: pd.DataFrame, models: list[str]) -> dict[str, list[dict[str, Any]]]:
    # Capability -> its tests, each with its kind, a rate for each model, and cases that the first model fails.
    found: dict[str, list[dict[str, Any]]] = {}
    for (capability, test), rows in behaved.groupby(["capability", "test"], sort=False):
        own = rows.set_index("model")
        first = own.loc[models[0]]
        found.setdefault(str(capability), []).append(
            {
                "test": str(test).replace("_", " "),
                "kind": first["kind"],
                "rates": [float(own.loc[model, "rate"]) for model in models],
                "examples": list(first["examples"]),
            }
        )
    return found


def _shade(value: float, low: float, high: float) -> str:
    # Background of a cell: the nearer to `high`, the redder. Readable on light and dark pages alike.
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return f"background: rgb(220 50 47 / {0.75 * share:.2f})"

"""Labels and scores -> figures. Pure: nothing is saved or shown here."""

import base64
import io
import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

#: Models drawn in one figure, the best on validation: with more, none is seen.
MOST = 6
#: Models shown as a point each.
MOST_POINTS = 10
#: Rows of a grid that have room for two lines of a name each.
FEW = 8
#: A figure and its 95 % interval: value, low, high.
Interval = tuple[float, float, float]


def curves(labels: np.ndarray, scores: dict[str, np.ndarray], split: str) -> dict[str, Figure]:
    """Return the ROC, precision-recall and calibration figures of models on the same rows.

    Args:
        labels: 0 or 1, shape (n,).
        scores: P(positive) of each model by its name, each of shape (n,).
        split: name of the rows, for the titles.
    """
    roc, precision_recall, calibration = (_square() for _ in range(3))
    for whole, score in scores.items():
        name = textwrap.fill(whole, 60)
        false_rate, true_rate, _ = roc_curve(labels, score)
        roc[1].plot(false_rate, true_rate, label=name)
        precision, recall, _ = precision_recall_curve(labels, score)
        precision_recall[1].plot(recall, precision, label=name)
        observed, predicted = calibration_curve(labels, score, n_bins=15)
        calibration[1].plot(predicted, observed, marker="o", markersize=3, label=name)
    for axes in (roc[1], calibration[1]):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    _label(*roc, f"ROC, {split}", "false positive rate", "true positive rate")
    _label(*precision_recall, f"Precision and recall, {split}", "recall", "precision")
    _label(*calibration, f"Calibration, {split}", "score, P(positive)", "share of positive tweets")
    return {"roc": roc[0], "precision_recall": precision_recall[0], "calibration": calibration[0]}


def confusion(labels: np.ndarray, scores: np.ndarray, split: str) -> Figure:
    """Return the confusion matrix of one model as counts and shares of each true class."""
    matrix = confusion_matrix(labels, np.asarray(scores) >= 0.5, labels=[0, 1])
    figure, axes = _square()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        axes.text(column, row, f"{count:,}\n{shares[row, column]:.1%}", ha="center", va="center",
                  color="white" if shares[row, column] > 0.5 else "black")  # fmt: skip
    axes.set_xticks([0, 1], ["negative", "positive"])
    axes.set_yticks([0, 1], ["negative", "positive"])
    axes.set(title=f"Confusion, {split}", xlabel="answered", ylabel="true")
    return figure


def learning_curves(measured: dict[str, dict[int, Interval]]) -> Figure:
    """Return a figure of ROC AUC by training tweets: for each model value, low and high by number of tweets."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in measured.items():
        rows = sorted(points)
        value, low, high = np.array([points[count] for count in rows]).T
        label = textwrap.fill(name, 44)
        axes.errorbar(rows, value, [value - low, high - value], marker="o", markersize=4, capsize=3, label=label)
    axes.set_xscale("log")
    axes.set(title="Learning curves, test", xlabel="training tweets", ylabel="ROC AUC")
    axes.grid(alpha=0.3)
    _legend_below(figure, columns=2)
    return figure


def against_cost(measured: dict[str, list[float]]) -> Figure:
    """Return a figure of ROC AUC by milliseconds for one tweet: for each model milliseconds, value, low and high."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for name, (milliseconds, value, low, high) in measured.items():
        label = textwrap.fill(name, 44)
        axes.errorbar(milliseconds, value, [[value - low], [high - value]], marker="o", capsize=3, label=label)
    axes.set(title="Quality and latency, test", xlabel="milliseconds for one tweet", ylabel="ROC AUC")
    axes.grid(alpha=0.3)
    _logarithmic(axes)
    _legend_below(figure, columns=2)
    return figure


def bars(values: dict[str, float], title: str, xlabel: str, color: str = "tab:blue") -> Figure:
    """Return horizontal bars, the first value on top."""
    figure = Figure(figsize=(6, 0.28 * len(values) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(values), list(values.values()), color=color)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=xlabel)
    return figure


def intervals(measured: Mapping[str, Mapping[str, Interval]], title: str, xlabel: str) -> Figure:
    """Return values with their intervals, one line per thing measured, the first on top, and one colour per model.

    Args:
        measured: value, low and high by model and by what was measured.
        title: of the figure.
        xlabel: what a value is.
    """
    names = list(dict.fromkeys(name for found in measured.values() for name in found))
    figure = Figure(figsize=(7, 0.14 * len(names) * len(measured) + 0.14 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    for number, (model, found) in enumerate(measured.items()):
        value, low, high = np.array(list(found.values())).T
        heights = [names.index(name) + 0.75 * ((number + 0.5) / len(measured) - 0.5) for name in found]
        axes.errorbar(value, heights, xerr=[value - low, high - value], fmt="o", markersize=4, capsize=2, label=model)
    axes.set_yticks(range(len(names)), [textwrap.fill(name, 24) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set(title=title, xlabel=xlabel)
    axes.grid(axis="x", alpha=0.3)
    if len(measured) > 1:
        _legend_below(figure, columns=2, fontsize="small")
    return figure


def by_cost(
    quality: Mapping[str, Mapping[str, Interval]], costs: Mapping[str, Mapping[str, float]], ylabel: str
) -> Figure:
    """Return quality against cost, one panel per cost, one colour per family.

    Args:
        quality: value, low and high by family and model.
        costs: for each cost, as its panel says it, what each model takes.
        ylabel: what the quality is.
    """
    figure = Figure(figsize=(8, 3 * ((len(costs) + 1) // 2)), layout="constrained")
    panels = figure.subplots((len(costs) + 1) // 2, 2, sharey=True, squeeze=False)
    for panel in panels.flat[len(costs) :]:
        panel.set_axis_off()
    for panel, (cost, of_model) in zip(panels.flat, costs.items(), strict=False):
        for family, models in quality.items():
            value, low, high = np.array(list(models.values())).T
            taken = [of_model[model] for model in models]
            panel.errorbar(taken, value, yerr=[value - low, high - value], fmt="o", markersize=4, label=family)
        _logarithmic(panel)
        panel.set_xlabel(cost)
        panel.grid(alpha=0.3)
    for panel in panels[:, 0]:
        panel.set_ylabel(ylabel)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(quality), frameon=False
    )
    return figure


def side_by_side(values: pd.DataFrame, title: str, xlabel: str, ylabel: str) -> Figure:
    """Return upright bars, one group per row of `values` and one colour per column."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(values.columns)
    for number, (name, heights) in enumerate(values.items()):
        shift = width * (number - (len(values.columns) - 1) / 2)
        axes.bar(np.arange(len(values)) + shift, heights, width, label=name)
    axes.set_xticks(range(len(values)), values.index)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.legend()
    return figure


def lines(panels: Mapping[str, pd.DataFrame], xlabel: str, ylabel: str) -> Figure:
    """Return values as lines, a panel for each table under its title, one colour per column, the index along the bottom."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, (title, values) in zip(
        figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
    ):
        for name, column in values.items():
            axes.plot(values.index, column, marker="o", markersize=4, label=name)
        axes.set(title=title, xlabel=xlabel)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(ylabel)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize="small",
        frameon=False,
    )
    return figure


def matrix(shares: pd.DataFrame, title: str) -> Figure:
    """Return shares (0 to 1) as a grid of percentages, darker where they are higher; what is NaN stays empty."""
    height = 0.6 if len(shares) <= FEW else 0.3
    figure = Figure(figsize=(1.3 * len(shares.columns) + 2.5, height * len(shares) + 1.4), layout="constrained")
    axes = figure.subplots()
    low, high = float(shares.min(axis=None)), float(shares.max(axis=None))
    axes.imshow(shares, cmap="Blues", vmin=low, vmax=high + (high - low) / 2, aspect="auto")
    for (row, column), share in np.ndenumerate(shares.to_numpy()):
        axes.text(column, row, "" if np.isnan(share) else f"{100 * share:.1f} %", ha="center", va="center")
    axes.set_xticks(
        range(len(shares.columns)), [textwrap.fill(str(name), 16) for name in shares.columns], fontsize="small"
    )
    axes.set_yticks(
        range(len(shares)),
        [textwrap.fill(str(name), 24 if len(shares) <= FEW else 60) for name in shares.index],
        fontsize="small",
    )
    axes.set(title=title)
    return figure


def as_text(figure: Figure) -> str:
    """Return a figure as PNG in base64, as it stands within a page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    return figure, figure.subplots()


def _legend_below(figure: Figure, columns: int = 1, fontsize: str = "x-small") -> None:
    # Names of models may be long, and within the axes they would lie over what is drawn.
    figure.legend(loc="outside lower center", ncols=columns, fontsize=fontsize, frameon=False)


def _logarithmic(axes: Axes) -> None:
    # With few numbers along the bottom, written out: those of every tick would touch.
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize="small")


def _label(figure: Figure, axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.01))
    _legend_below(figure)

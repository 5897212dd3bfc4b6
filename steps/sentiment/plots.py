"""Labels and scores -> figures. Pure: nothing is saved or shown here."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

#: Models drawn in one figure, the best on validation: with more, none is seen.
MOST = 6
#: Models shown as a point each.
MOST_POINTS = 10


def curves(labels: np.ndarray, scores: dict[str, np.ndarray], split: str) -> dict[str, Figure]:
    """Return the ROC, precision-recall and calibration figures of models on the same rows.

    Args:
        labels: 0 or 1, shape (n,).
        scores: P(positive) of each model by its name, each of shape (n,).
        split: name of the rows, for the titles.
    """
    roc, precision_recall, calibration = (_square() for _ in range(3))
    for whole, score in scores.items():
        name = textwrap.fill(whole, 44)
        false_rate, true_rate, _ = roc_curve(labels, score)
        roc[1].plot(false_rate, true_rate, label=name)
        precision, recall, _ = precision_recall_curve(labels, score)
        precision_recall[1].plot(recall, precision, label=name)
        observed, predicted = calibration_curve(labels, score, n_bins=15)
        calibration[1].plot(predicted, observed, marker="o", markersize=3, label=name)
    for axes in (roc[1], calibration[1]):
        axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    _label(roc[1], f"ROC, {split}", "false positive rate", "true positive rate")
    _label(precision_recall[1], f"Precision and recall, {split}", "recall", "precision")
    _label(calibration[1], f"Calibration, {split}", "score, P(positive)", "share of positive tweets")
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


def learning_curves(measured: dict[str, dict[int, tuple[float, float, float]]]) -> Figure:
    """Return a figure of ROC AUC by training tweets: for each model value, low and high by number of tweets."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in measured.items():
        rows = sorted(points)
        value, low, high = np.array([points[count] for count in rows]).T
        axes.errorbar(rows, value, [value - low, high - value], marker="o", markersize=4, capsize=3, label=name)
    axes.set_xscale("log")
    axes.set(title="Learning curves, test", xlabel="training tweets", ylabel="ROC AUC")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="x-small")
    return figure


def against_cost(measured: dict[str, list[float]]) -> Figure:
    """Return a figure of ROC AUC by milliseconds for one tweet: for each model milliseconds, value, low and high."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, (milliseconds, value, low, high) in measured.items():
        label = textwrap.fill(name, 44)
        axes.errorbar(milliseconds, value, [[value - low], [high - value]], marker="o", capsize=3, label=label)
    axes.set_xscale("log")
    axes.set(title="Quality and latency, test", xlabel="milliseconds for one tweet", ylabel="ROC AUC")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize="x-small")
    return figure


def bars(values: dict[str, float], title: str, xlabel: str, color: str = "tab:blue") -> Figure:
    """Return horizontal bars, the first value on top."""
    figure = Figure(figsize=(6, 0.28 * len(values) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(values), list(values.values()), color=color)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=xlabel)
    return figure


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 5), layout="constrained")
    return figure, figure.subplots()


def _label(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower right", fontsize="x-small")

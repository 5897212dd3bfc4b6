"""Figures show the numbers that they are made of."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from steps.sentiment import plots

LABELS = np.tile([0, 1], 100)
RANDOM = np.random.default_rng(0)
SCORES = {"good": np.clip(0.5 + (LABELS - 0.5) * 0.6 + RANDOM.normal(0, 0.2, 200), 0, 1), "blind": np.full(200, 0.5)}


def drawn(figure: Figure) -> bytes:
    """Return the figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def test_each_model_is_a_named_line_of_each_curve() -> None:
    figures = plots.curves(LABELS, SCORES, "test")
    assert set(figures) == {"roc", "precision_recall", "calibration"}
    for figure in figures.values():
        (axes,) = figure.axes
        assert axes.get_title().endswith(", test")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["good", "blind"]


def test_the_roc_curve_is_that_of_the_scores() -> None:
    (axes,) = plots.curves(LABELS, SCORES, "validation")["roc"].axes
    false_rate, true_rate, _ = roc_curve(LABELS, SCORES["good"])
    line = axes.get_lines()[0]
    assert np.array_equal(line.get_xdata(), false_rate)
    assert np.array_equal(line.get_ydata(), true_rate)
    assert axes.get_xlim() == (0, 1)


def test_chance_is_drawn_where_it_means_something() -> None:
    figures = plots.curves(LABELS, SCORES, "test")
    assert len(figures["roc"].axes[0].get_lines()) == len(SCORES) + 1
    assert len(figures["calibration"].axes[0].get_lines()) == len(SCORES) + 1
    assert len(figures["precision_recall"].axes[0].get_lines()) == len(SCORES)


def test_the_calibration_curve_is_scores_against_shares() -> None:
    scores = np.array([0.1] * 10 + [0.9] * 10)
    labels = np.array([1] + [0] * 9 + [1] * 6 + [0] * 4)
    line = plots.curves(labels, {"model": scores}, "test")["calibration"].axes[0].get_lines()[0]
    assert line.get_xdata() == pytest.approx([0.1, 0.9])
    assert line.get_ydata() == pytest.approx([0.1, 0.6])


def test_the_confusion_matrix_names_counts_and_shares_of_each_true_class() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    (axes,) = plots.confusion(labels, np.array([0.1, 0.2, 0.3, 0.5, 0.6, 0.4]), "test, model").axes
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "3\n75.0%", (1, 0): "1\n25.0%", (0, 1): "1\n50.0%", (1, 1): "1\n50.0%"}
    assert axes.get_title() == "Confusion, test, model"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["negative", "positive"]


def test_a_class_that_does_not_occur_is_no_division_by_zero() -> None:
    (axes,) = plots.confusion(np.array([1, 1]), np.array([0.9, 0.8]), "test").axes
    assert sorted(text.get_text() for text in axes.texts) == ["0\n0.0%", "0\n0.0%", "0\n0.0%", "2\n100.0%"]


def test_bars_stand_in_the_order_given_from_the_top() -> None:
    (axes,) = plots.bars({"delayed": 3.0, "lovely": 1.5}, "Words", "weight").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["delayed", "lovely"]
    assert [bar.get_width() for bar in axes.patches] == [3.0, 1.5]
    assert axes.yaxis_inverted()
    assert (axes.get_title(), axes.get_xlabel()) == ("Words", "weight")


def test_figures_are_drawn_the_same_again_and_leave_no_state() -> None:
    before = pyplot.get_fignums()
    first = {name: drawn(figure) for name, figure in plots.curves(LABELS, SCORES, "test").items()}
    second = {name: drawn(figure) for name, figure in plots.curves(LABELS, SCORES, "test").items()}
    assert first == second
    assert all(image.startswith(b"\x89PNG") and len(image) > 5000 for image in first.values())
    assert pyplot.get_fignums() == before


def test_a_learning_curve_has_a_point_with_its_interval_per_size() -> None:
    figure = plots.learning_curves(
        {"bert": {1000: (0.8, 0.7, 0.85), 100: (0.6, 0.5, 0.65)}, "baseline": {100: (0.5, 0.4, 0.6)}}
    )
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    bert, baseline = axes.containers
    assert bert.get_label() == "bert"
    assert baseline.get_label() == "baseline"
    assert list(bert.lines[0].get_xdata()) == [100, 1000]
    assert np.allclose(bert.lines[0].get_ydata(), [0.6, 0.8])
    ends = np.array([segment[:, 1] for segment in bert.lines[2][0].get_segments()])
    assert np.allclose(ends, [[0.5, 0.65], [0.7, 0.85]])


def test_intervals_stand_on_the_line_of_what_was_measured_one_colour_per_model() -> None:
    measured = {"good": {"short": (0.9, 0.8, 0.95), "long": (0.7, 0.6, 0.8)}, "weak": {"long": (0.6, 0.5, 0.7)}}
    figure = plots.intervals(measured, "Kinds", "accuracy")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["short", "long"]
    good, weak = axes.containers
    assert list(good.lines[0].get_xdata()) == [0.9, 0.7]
    assert [round(height) for height in good.lines[0].get_ydata()] == [0, 1]
    assert [round(height) for height in weak.lines[0].get_ydata()] == [1]
    ends = np.array([segment[:, 0] for segment in good.lines[2][0].get_segments()])
    assert np.allclose(ends, [[0.8, 0.95], [0.6, 0.8]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["good", "weak"]
    assert not plots.intervals({"good": measured["good"]}, "Kinds", "accuracy").legends


def test_quality_stands_against_each_cost_in_a_panel_of_its_own() -> None:
    quality = {"bert": {"a": (0.9, 0.8, 0.95)}, "keras": {"b": (0.7, 0.6, 0.8), "c": (0.6, 0.5, 0.7)}}
    costs = {"ms": {"a": 5.0, "b": 0.5, "c": 0.1}, "MB": {"a": 30.0, "b": 20.0, "c": 10.0}}
    figure = plots.by_cost(quality, costs, "ROC AUC")
    assert [axes.get_xlabel() for axes in figure.axes] == ["ms", "MB"]
    for axes, of_model in zip(figure.axes, costs.values(), strict=True):
        assert axes.get_xscale() == "log"
        assert [list(family.lines[0].get_xdata()) for family in axes.containers] == [
            [of_model["a"]],
            [of_model["b"], of_model["c"]],
        ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["bert", "keras"]


def test_a_matrix_names_each_share() -> None:
    shares = pd.DataFrame({"one": {"one": 1.0, "two": 0.875}, "two": {"one": 0.875, "two": 1.0}})
    (axes,) = plots.matrix(shares, "Agreement").axes
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "100.0 %", (1, 0): "87.5 %", (0, 1): "87.5 %", (1, 1): "100.0 %"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "two"]
    (axes,) = plots.matrix(shares.mask(shares == 1), "Agreement").axes
    assert [text.get_text() for text in axes.texts] == ["", "87.5 %", "87.5 %", ""]

# SPDX-License-Identifier: MIT
"""Box plots, a support set, maps of embeddings, images by class, and rates beside a confusion matrix."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from test_plots import count, pixels, texts

from fslcore import plots
from fslcore.arguments import ArgumentError


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


# ---- box plots


def test_boxes_stand_side_by_side_and_have_the_quartiles():
    one, two = np.arange(101.0), np.r_[np.arange(0, 202, 2.0), np.nan, np.inf]
    figure = plots.boxes({"a": {"x": one, "y": two}, "b$": {"y": [7.0]}}, "score", "pairs")
    (axes,) = figure.axes
    corners = [box.get_path().get_extents() for box in axes.patches]
    # Quartiles of 0 ... 100, of 0, 2 ... 200, and of a single 7.
    assert [(box.y0, box.y1) for box in corners] == [(25, 75), (50, 150), (7, 7)]
    edges = [(box.x0, box.x1) for box in corners]
    assert all(left[1] < right[0] for left, right in itertools.pairwise(edges))
    assert ticks(axes.xaxis) == ["n = 101", "n = 101\n2 not finite", "n = 1"]
    whiskers = [line.get_ydata() for line in axes.lines[:2]]
    assert [list(each) for each in whiskers] == [[25, 1], [75, 99]]
    assert {"pairs", "score", "a", "b$"} <= {*texts(figure)}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "y"]
    picture = pixels(figure)
    assert count(picture, plots.BLUE) > 50
    assert count(picture, plots.VERMILLION) > 50


def test_boxes_of_one_name_and_of_nothing():
    figure = plots.boxes({"mine": [1, 2, 3], "yours": [np.nan]})
    (axes,) = figure.axes
    assert ticks(axes.xaxis) == ["mine\nn = 3", "yours\nn = 0\n1 not finite"]
    assert len(axes.patches) == 1
    assert axes.get_legend() is None


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "groups must hold one or more groups of numbers, received none"),
        ({"a": {}}, "groups must hold one or more groups of numbers, received none"),
        ({"a": [1], "b": {"x": [1]}}, "groups must hold numbers, or mappings of series, for every name"),
        ({"a": {str(i): [1] for i in range(7)}}, "groups must have at most 6 series, received 7 series"),
        ({"a": ["word"]}, "groups must hold numbers, received others in 'a'"),
    ],
    ids=["empty", "no-series", "mixed", "many", "words"],
)
def test_other_groups_are_refused(groups, message):
    with pytest.raises(ArgumentError, match=message):
        plots.boxes(groups)


# ---- images against a support set


@pytest.mark.parametrize("alike", [False, True])
def test_queries_stay_in_order_and_the_support_is_sorted(alike):
    values = np.array([[3.0, 1, 2, 9], [1, 5, 1, 6], [4, 4, 4, 4], [np.nan, np.nan, 0, np.nan]])
    support, queries = np.array([2, 0, 2, 1]), np.array([0, 1, 0, 2])
    given = -values if alike else values
    figure = plots.queries_versus_support(
        given, queries, support, ["a", "b", "c$"], larger_is_alike=alike, title="Epoch 3"
    )
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(np.nan), given[:, [1, 3, 0, 2]])
    assert [line.get_xdata()[0] for line in axes.lines] == [0.5, 1.5]
    right, wrong = (marks.get_offsets().tolist() for marks in axes.collections)
    # Columns 0, 0, 0 and 3 are nearest: of equals the first in the sorted support.
    assert right == [[0, 0], [0, 2], [3, 3]]
    assert wrong == [[2, 1]]
    assert figure.get_suptitle() == "Epoch 3: 3 of 4 nearest are right"
    assert ticks(axes.xaxis) == ["a", "b", "c$"]
    assert ticks(axes.yaxis) == ["a", "b", "a", "c$"]
    picture = pixels(figure)
    assert count(picture, plots.GREEN) > 10
    assert count(picture, plots.VERMILLION) > 10


@pytest.mark.parametrize(
    ("values", "queries", "message"),
    [
        (np.ones((2, 3)), [0, 1], r"values must be \[Q, S\] .*received shapes \[2, 3\], \[2\] and \[2\]"),
        (np.ones((0, 2)), [], r"values must be \[Q, S\] for query_labels \[Q\]"),
    ],
    ids=["shape", "empty"],
)
def test_values_that_fit_no_labels_are_refused(values, queries, message):
    with pytest.raises(ArgumentError, match=message):
        plots.queries_versus_support(values, queries, [0, 1])


# ---- maps


def test_the_main_directions_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 3
    points, shares = plots.plane(rows)
    variances, directions = np.linalg.eigh(np.cov(rows.T))
    for axis in range(2):
        direction = directions[:, -1 - axis]
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        np.testing.assert_allclose(points[:, axis], (rows - rows.mean(0)) @ direction, rtol=0, atol=1e-9)
        assert shares[axis] == pytest.approx(variances[-1 - axis] / variances.sum(), rel=1e-9)


def test_a_plane_of_little():
    points, shares = plots.plane([[2.0], [4.0]])
    np.testing.assert_allclose(points, [[-1, 0], [1, 0]])
    assert shares == (1.0, 0.0)
    points, shares = plots.plane(np.ones((3, 2)))
    np.testing.assert_array_equal(points, np.zeros((3, 2)))
    assert shares == (0.0, 0.0)


@pytest.mark.parametrize(
    ("embeddings", "method", "message"),
    [
        ([[1.0, np.nan]], "pca", "embeddings must be finite, received 1 row that is not, first row 0"),
        (np.ones((2, 3)), "umap", r"embeddings must be \[N, D\] with N at least 3, received shape \[2, 3\]"),
        (np.ones((2, 3)), "tsne", "method must be one of pca, umap"),
    ],
    ids=["nan", "few", "method"],
)
def test_other_embeddings_are_refused(embeddings, method, message):
    with pytest.raises(ArgumentError, match=message):
        plots.plane(embeddings, method)


def test_umap_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"method='umap' needs umap-learn: pip install 'fslcore\[umap\]'"):
        plots.plane(np.eye(4), "umap")


def test_umap_keeps_two_clusters_apart():
    pytest.importorskip("umap", reason="the extra umap is not installed")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 6)) + 20 * np.repeat([0, 1], 20)[:, None]
    points, shares = plots.plane(rows, "umap", seed=1)
    assert shares is None
    parts = points[:20], points[20:]
    middles = [part.mean(0) for part in parts]
    own = [np.linalg.norm(part - middle, axis=1).max() for part, middle in zip(parts, middles, strict=True)]
    assert np.linalg.norm(middles[0] - middles[1]) > max(own)
    np.testing.assert_array_equal(plots.plane(rows, "umap", seed=1).points, points)


def test_a_map_has_a_mark_for_each_class_and_gray_for_the_smallest():
    labels = np.r_[np.repeat(np.arange(31), 2), 31]
    points = np.random.default_rng(0).normal(size=(len(labels), 2))
    figure = plots.embedding_map(points, labels, shares=(0.5, 0.25))
    (axes,) = figure.axes
    gray, *marks = axes.collections
    np.testing.assert_array_equal(gray.get_offsets(), points[labels >= 30])
    for number, mark in enumerate(marks):
        np.testing.assert_array_equal(mark.get_offsets(), points[labels == number])
    looks = {(*mark.get_facecolor()[0], mark.get_paths()[0].vertices.tobytes()) for mark in marks}
    assert len(looks) == len(marks) == 30
    assert axes.get_legend().get_texts()[0].get_text() == "2 other classes"
    assert axes.get_xlabel() == "first main direction, 50 % of the variance"
    few = plots.embedding_map(points[:4], labels[:4], ["ink$", "wax"])
    assert [text.get_text() for text in few.axes[0].get_legend().get_texts()] == ["ink$", "wax"]
    assert count(pixels(few), plots.BLUE) > 50
    with pytest.raises(ArgumentError, match=r"points must be \[N, 2\] for labels \[N\], received shapes"):
        plots.embedding_map(points, labels[:3])


# ---- images by class, and rates


def test_images_by_class_stand_in_rows_with_their_names():
    images = np.zeros((2, 3, 4, 5, 1), np.float32)
    images[1, 2] = 1
    figure = plots.class_grid(images, ["one$", "two"], "letters")
    (axes,) = figure.axes
    shown = axes.images[0].get_array()
    # A pixel between neighbours.
    assert shown.shape == (2 * 5 - 1, 3 * 6 - 1)
    assert shown[5:, 12:].min() == 1
    assert shown.sum() == 20
    assert ticks(axes.yaxis) == ["one$", "two"]
    assert "letters" in texts(figure)
    with pytest.raises(ValueError, match="class_names must be 2 names, received 1"):
        plots.class_grid(images, ["one"])
    with pytest.raises(ValueError, match="images must be"):
        plots.class_grid(images[0])


def test_rates_beside_a_confusion_matrix_are_of_all_answers():
    matrix = np.array([[8, 3, 0, 1], [0, 8, 0, 0], [0, 0, 0, 0]])
    (axes, _) = plots.confusion_matrix(matrix, ["a", "b", "c"], rates=True).axes
    beside = [text.get_text() for text in axes.texts if text.get_text()]
    precision, recall, f1 = (beside.index(name) for name in ("precision", "recall", "F1"))
    assert beside[precision + 1 : recall] == ["100", "73", "-"]
    assert beside[recall + 1 : f1] == ["67", "100", "-"]
    assert beside[f1 + 1 :] == ["80", "84", "-"]
    plain = plots.confusion_matrix(matrix, ["a", "b", "c"]).axes[0]
    assert "F1" not in [text.get_text() for text in plain.texts]

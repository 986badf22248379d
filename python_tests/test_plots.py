# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from fslcore import plots
from fslcore.evaluation import Report


def pixels(figure) -> np.ndarray:
    """The picture as it is written to a PNG, uint8 [height, width, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def count(picture: np.ndarray, colour: str) -> int:
    """Pixels of a colour, up to rounding."""
    return int((np.abs(picture - np.multiply(to_rgb(colour), 255)).max(axis=-1) < 2).sum())


def texts(figure) -> list[str]:
    labels = [figure.get_suptitle()]
    for axes in figure.axes:
        labels += [axes.get_xlabel(), axes.get_ylabel(), axes.get_title("left")]
        labels += [text.get_text() for text in axes.texts]
    return [label for label in labels if label]


def report(n_way: int, accuracy: float, ci95: float = 0.02) -> Report:
    return Report(accuracy, ci95, n_way, 1, 1, 100, 0, False, "hash", "letters", "l", np.array([accuracy]))


HISTORY = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.4, "val_accuracy": 0.3, "val_ci95": 0.1},
    {"epoch": 2, "loss": 1.0, "accuracy": 0.7, "val_accuracy": 0.6, "val_ci95": 0.1},
    {"epoch": 3, "loss": 0.5, "accuracy": 0.9, "val_accuracy": 0.8, "val_ci95": 0.1},
]


# ---- the training curve


def test_training_curve_shows_losses_accuracies_and_the_band():
    figure = plots.training_curve(HISTORY, "a title")
    loss, accuracy = figure.axes
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 2.0], [2, 1.0], [3, 0.5]])
    training, validation = accuracy.lines
    np.testing.assert_array_equal(training.get_ydata(), [0.4, 0.7, 0.9])
    np.testing.assert_array_equal(validation.get_ydata(), [0.3, 0.6, 0.8])
    extent = accuracy.collections[0].get_datalim(accuracy.transData)
    assert (extent.ymin, extent.ymax) == pytest.approx((0.2, 0.9))
    assert texts(figure) == ["a title", "epoch", "loss", "epoch", "accuracy"]
    picture = pixels(figure)
    assert count(picture, plots.BLUE) > 1000
    assert count(picture, plots.VERMILLION) > 500
    assert any(label.get_text().endswith(" %") for label in accuracy.get_yticklabels())


def test_training_curve_without_accuracy_is_one_panel():
    figure = plots.training_curve([{"epoch": 1, "loss": 0.5}])
    assert len(figure.axes) == 1
    assert count(pixels(figure), plots.BLUE) > 20  # one epoch is a dot, not an invisible line
    assert all(tick == round(tick) for tick in figure.axes[0].get_xticks())


def test_training_curve_needs_an_epoch():
    with pytest.raises(ValueError, match="history must have at least one epoch"):
        plots.training_curve([])


def test_a_long_history_is_smoothed_before_its_faint_figures():
    rows = [{"epoch": i + 1, "loss": 1.0, "val_accuracy": i % 2, "val_ci95": 0.1} for i in range(20)]
    figure = plots.training_curve(rows, smooth=True)
    loss, accuracy = figure.axes
    raw, line = accuracy.lines
    np.testing.assert_array_equal(raw.get_ydata(), [0, 1] * 10)
    assert raw.get_alpha() < 0.5
    np.testing.assert_array_equal(line.get_ydata(), plots.smoothed([0, 1] * 10))
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 21))
    assert not accuracy.collections  # the band of single figures would belie the averages
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["validation"]
    np.testing.assert_allclose(loss.lines[1].get_ydata(), np.ones(20), rtol=1e-15)


def test_a_short_history_is_not_smoothed():
    rows = [{"epoch": i + 1, "loss": 1.0, "val_accuracy": 0.5, "val_ci95": 0.1} for i in range(9)]
    figure = plots.training_curve(rows, smooth=True)
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert len(figure.axes[1].collections) == 1


# ---- smoothing


def test_smoothing_averages_over_a_hamming_window_with_mirrored_ends():
    # A window of 3 weighs 0.08, 1, 0.08; left of the 4 comes its neighbour again, right of the 16 itself.
    expected = [(0.08 * 1 + 4 + 0.08 * 1), (0.08 * 4 + 1 + 0.08 * 16), (0.08 * 1 + 16 + 0.08 * 16)]
    np.testing.assert_allclose(plots.smoothed([4, 1, 16], window=3), np.divide(expected, 1.16), rtol=1e-12)


def test_smoothing_with_an_even_window_stands_half_a_step_late():
    # Two equal weights: the mean of a value and the one before it, which for the first is its neighbour.
    np.testing.assert_allclose(plots.smoothed([2, 4, 8], window=2), [3, 3, 6], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 9, 10, 99, 400, 501, 2000])
def test_smoothing_keeps_length_and_constants(n):
    smooth = plots.smoothed(np.full(n, 3.0))
    assert smooth.shape == (n,)
    # A weighted mean of up to 100 equal numbers: as many roundings.
    np.testing.assert_allclose(smooth, 3.0, rtol=100 * np.finfo(float).eps)


def test_smoothing_goes_by_a_tenth_of_the_series_from_3_to_100():
    for n, window in ((1, 1), (2, 2), (20, 3), (50, 5), (999, 99), (1000, 100), (2000, 100)):
        values = np.random.default_rng(n).normal(size=n)
        np.testing.assert_array_equal(plots.smoothed(values), plots.smoothed(values, window))


@pytest.mark.parametrize(
    ("values", "window", "message"),
    [
        ([], None, r"values must be \[N\] with N at least 1, received shape \[0\]"),
        ([[1.0]], None, r"values must be \[N\]"),
        ([1.0, 2.0], 0, "window must be 1 to 2, the number of values, received window=0"),
        ([1.0, 2.0], 3, "window must be 1 to 2"),
        ([1.0, 2.0], 1.5, "window must be a whole number, received window=1.5"),
        ([1.0, 2.0], True, "window must be a whole number, received window=True"),
    ],
    ids=["empty", "matrix", "no-window", "too-wide", "fraction", "bool"],
)
def test_smoothing_of_what_is_no_series_is_refused(values, window, message):
    with pytest.raises(ValueError, match=message):
        plots.smoothed(values, window)


# ---- an episode


def episode(n_way: int = 3, k_shot: int = 2, n_query: int = 4, channels: int = 1):
    rng = np.random.default_rng(0)
    ink = (rng.random((n_way, k_shot + n_query, 5, 5, channels)) < 0.3).astype(np.float32)
    scores = np.eye(n_way)[np.repeat(np.arange(n_way), n_query)]
    return ink[:, :k_shot], ink[:, k_shot:], scores


def test_episode_frames_tell_right_from_wrong():
    support, query, scores = episode()
    figure = plots.episode_with_predictions(support, query, scores, ["alpha", "beta", "gamma"])
    assert figure.get_suptitle() == "3-way 2-shot: 12 of 12 queries right"
    all_right = pixels(figure)
    assert count(all_right, plots.GREEN) > 1000
    scores[5] = [0, 0, 1]  # the second query of beta is taken for gamma
    figure = plots.episode_with_predictions(support, query, scores, ["alpha", "beta", "gamma"])
    assert figure.get_suptitle() == "3-way 2-shot: 11 of 12 queries right"
    assert [text for text in texts(figure) if text.startswith("→") and len(text) < 5] == ["→ 3"]
    one_wrong = pixels(figure)
    assert count(one_wrong, plots.VERMILLION) > count(all_right, plots.VERMILLION) + 300
    assert count(one_wrong, plots.GREEN) < count(all_right, plots.GREEN)
    assert {"1  alpha", "2  beta", "3  gamma"} <= set(texts(figure))


@pytest.mark.parametrize(("ink", "expected"), [(1.0, 0.0), (0.0, 0.0)], ids=["drawing", "photograph"])
def test_drawings_are_shown_dark_on_light_and_photographs_as_they_are(ink, expected):
    support = np.full((1, 1, 4, 4, 1), 1 - ink, np.float32)
    support[0, 0, 1, 1] = ink
    figure = plots.episode_with_predictions(support, support, [[0.0]])
    image = figure.axes[0].images[0]
    shown = image.cmap(image.norm(image.get_array()))
    assert shown[1, 1, 0] == expected
    assert shown[0, 0, 0] == 1 - expected


def test_colour_images_are_shown_in_colour():
    support, query, scores = episode(channels=3)
    figure = plots.episode_with_predictions(support, query, scores)
    assert figure.axes[0].images[0].get_array().shape == (5, 5, 3)


def test_an_episode_that_does_not_fit_its_scores_is_refused():
    support, query, scores = episode()
    with pytest.raises(ValueError, match=r"scores must be \[12, 3\]"):
        plots.episode_with_predictions(support, query, scores[:-1])


def test_a_query_without_an_answer_is_wrong():
    support, query, scores = episode()
    scores[0] = [np.nan, 0, 0]
    scores[5] = [0, 1, np.nan]
    figure = plots.episode_with_predictions(support, query, scores)
    assert figure.get_suptitle() == "3-way 2-shot: 10 of 12 queries right"
    assert [text for text in texts(figure) if text == "→ ?"] == ["→ ?"] * 2


@pytest.mark.parametrize("images", [np.full((2, 1, 4, 4, 1), 255.0), np.ones((2, 1, 4, 4, 1), np.uint8)])
def test_images_that_would_all_be_white_are_refused(images):
    good = np.zeros((2, 1, 4, 4, 1), np.float32)
    for draw in (
        lambda: plots.episode_with_predictions(images, good, np.eye(2)),
        lambda: plots.episode_with_predictions(good, images, np.eye(2)),
        lambda: plots.real_versus_generated(images, good),
        lambda: plots.real_versus_generated(good, images),
    ):
        with pytest.raises(
            ValueError, match=r"must hold floats from 0 to 1, received (float64 up to 255|uint8)"
        ):
            draw()
    good[0, 0, 0, 0] = np.nan  # a generator that diverged
    plots.real_versus_generated(good, good)


# ---- real and generated images


def test_real_and_generated_images_stand_in_rows_side_by_side():
    real = np.zeros((2, 3, 4, 5, 1), np.float32)
    real[1, 2] = 1.0
    generated = np.full((2, 4, 4, 5, 1), 0.5, np.float32)
    figure = plots.real_versus_generated(real, generated, "a task")
    left, right = figure.axes
    assert texts(figure) == ["a task", "real", "generated"]
    shown = left.images[0].get_array()
    # One pixel between neighbours: 2 * 4 + 1 rows, 3 * 5 + 2 columns.
    assert shown.shape == (9, 17)
    np.testing.assert_array_equal(shown[5:, 12:], np.ones((4, 5)))
    assert shown.sum() == 20
    assert right.images[0].get_array().shape == (9, 23)
    # Mostly black images are drawings, shown dark on light: both, for the real ones decide.
    assert {axes.images[0].get_cmap().name for axes in figure.axes} == {"gray_r"}
    assert count(pixels(figure), "#000000") > 500


def test_real_and_generated_photographs_keep_their_colours():
    images = np.ones((2, 2, 4, 4, 3), np.float32)
    figure = plots.real_versus_generated(images, images)
    assert figure.axes[0].images[0].get_array().shape == (9, 9, 3)


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        ((4, 4, 4, 1), (1, 1, 4, 4, 1), "real must be images"),
        ((1, 1, 4, 4, 1), (4, 4, 4, 1), "generated must be images"),
        (
            (1, 1, 4, 4, 1),
            (1, 1, 4, 5, 1),
            r"with H, W and C of real, received \[1, 1, 4, 4, 1\] and \[1, 1, 4, 5",
        ),
        ((1, 1, 4, 4, 1), (1, 0, 4, 4, 1), "generated must be images"),
    ],
    ids=["real", "generated", "sizes", "none"],
)
def test_images_that_are_no_grids_of_one_size_are_refused(real, generated, message):
    with pytest.raises(ValueError, match=message):
        plots.real_versus_generated(np.zeros(real), np.zeros(generated))


# ---- the distance matrix


def test_distance_matrix_is_sorted_by_class_with_its_boundaries_marked():
    labels = np.array([7, 2, 7, 2, 2])
    values = (labels[:, None] != labels).astype(float)
    figure = plots.distance_matrix(values, labels, {2: "two", 7: "seven"})
    axes, bar = figure.axes
    blocks = np.ones((5, 5))
    blocks[:3, :3] = blocks[3:, 3:] = 0
    np.testing.assert_array_equal(axes.images[0].get_array(), blocks)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["two", "seven"]
    np.testing.assert_array_equal(axes.get_yticks(), [1, 3.5])
    assert sorted(line.get_xydata()[0].tolist() for line in axes.lines) == [[0, 2.5], [2.5, 0]]
    assert bar.get_ylabel() == "distance"
    picture = pixels(figure)
    dark, bright = "#440154", "#fde725"  # the ends of viridis: 13 of 25 cells are 0, 12 are 1
    assert count(picture, dark) / count(picture, bright) == pytest.approx(13 / 12, rel=0.1)


def test_distance_matrix_keeps_the_order_within_a_class():
    values = np.arange(16).reshape(4, 4)
    figure = plots.distance_matrix(values, [1, 0, 1, 0])
    order = [1, 3, 0, 2]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), values[np.ix_(order, order)])


@pytest.mark.parametrize(
    ("larger_is_alike", "far", "colours", "extend"),
    [(False, 99.0, "viridis", "max"), (True, -99.0, "viridis_r", "min")],
)
def test_one_far_image_does_not_take_the_contrast(larger_is_alike, far, colours, extend):
    """The farthest hundredth of the values lies beyond the colours, and what is alike is dark."""
    values = np.tile(np.arange(10.0), (20, 2))
    values[3, 4] = far
    figure = plots.distance_matrix(values, np.zeros(20, int), larger_is_alike=larger_is_alike)
    image = figure.axes[0].images[0]
    assert image.get_cmap().name == colours
    assert image.get_clim() == pytest.approx((0, 9))
    assert image.colorbar.extend == extend


def test_distance_matrix_of_many_classes_has_no_names():
    figure = plots.distance_matrix(np.zeros((50, 50)), np.arange(50))
    assert len(figure.axes[0].get_yticks()) == 0


@pytest.mark.parametrize("values", [np.zeros((3, 4)), np.zeros((4, 4))])
def test_distance_matrix_must_match_its_labels(values):
    with pytest.raises(ValueError, match=r"values must be \[N, N\]"):
        plots.distance_matrix(values, [0, 1, 1])


def test_distance_matrix_has_no_class_of_missing_labels():
    with pytest.raises(ValueError, match=r"labels must hold .* 1 missing of 3 .* at 1"):
        plots.distance_matrix(np.zeros((3, 3)), [1.0, np.nan, 2.0])


# ---- accuracy versus N


def test_accuracy_versus_way_has_bands_chance_and_names():
    curves = {
        "net": [report(2, 0.99, 0.01), report(5, 0.9, 0.02)],
        "pixels": [report(2, 0.8), report(5, 0.6)],
    }
    figure = plots.accuracy_versus_way(curves)
    axes = figure.axes[0]
    net, baseline, chance = axes.lines
    np.testing.assert_array_equal(net.get_xydata(), [[2, 0.99], [5, 0.9]])
    np.testing.assert_array_equal(baseline.get_ydata(), [0.8, 0.6])
    np.testing.assert_allclose(chance.get_xydata(), [[2, 0.5], [5, 0.2]])
    lowest, highest = axes.collections[0].get_datalim(axes.transData).intervaly
    assert (lowest, highest) == pytest.approx((0.88, 1.0))
    assert {"net", "pixels", "chance"} <= set(texts(figure))
    assert figure.get_suptitle() == "1-shot accuracy on unseen classes (letters)"
    known = [dataclasses.replace(each, dataset="letters/train") for each in curves["net"]]
    of_both = plots.accuracy_versus_way({**curves, "known letters": known})
    assert of_both.get_suptitle() == "1-shot accuracy (letters, letters/train)"
    picture = pixels(figure)
    assert min(count(picture, colour) for colour in (plots.BLUE, plots.VERMILLION)) > 500


def test_names_at_the_ends_do_not_overlap():
    figure = plots.accuracy_versus_way({str(i): [report(2, 0.7), report(5, 0.5)] for i in range(4)})
    heights = sorted(text.xy[1] for text in figure.axes[0].texts if hasattr(text, "xy"))
    assert len(heights) == 5
    assert np.diff(heights).min() >= 0.06 - 1e-9


def test_accuracy_versus_way_needs_a_report():
    with pytest.raises(ValueError, match="curves must hold at least one report"):
        plots.accuracy_versus_way({"net": []})


def test_pictures_leave_pyplot_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    plots.training_curve(HISTORY)
    assert plt.get_fignums() == before

# SPDX-License-Identifier: MIT
"""Checks of people's data on states with pictures; no TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import oracles_open_set as oracles
import pytest
from PIL import Image

from fslcore import plots
from fslcore.arguments import ArgumentError
from fslcore.classifier import checks, duplicates
from fslcore.classifier.confusion import Confusion
from fslcore.classifier.rules import Nearest
from fslcore.classifier.state import Examples, State, added
from fslcore.evaluation import open_set_report


def scenes(count, side=48, channels=3, seed=0):
    """Pictures of a few blurred squares each, as photographs vary: uint8 [count, side, side, channels]."""
    rng = np.random.default_rng(seed)
    found = np.empty((count, side, side, channels), np.uint8)
    for picture in found:
        small = rng.integers(0, 256, (5, 5, channels)).astype(np.uint8)
        image = Image.fromarray(small[..., 0] if channels == 1 else small)
        picture[...] = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)).reshape(picture.shape)
    return found


def image_of(picture):
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def saved(picture):
    stream = io.BytesIO()
    image_of(picture).save(stream, "JPEG", quality=40)
    return np.asarray(Image.open(stream)).reshape(picture.shape)


def resized(picture):
    image = image_of(picture)
    small = image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS)
    return np.asarray(small.resize(image.size, Image.Resampling.BILINEAR)).reshape(picture.shape)


def darkened(picture):
    return (picture * 0.6 + 10).astype(np.uint8)


COPIES = [np.array, saved, resized, darkened]
NAMES = ["copy", "jpeg", "resized", "darker"]


# ---- near-duplicates


@pytest.mark.parametrize("side", [20, 32, 48, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_products_of_rows_are_correlations_of_reduced_pictures(side, channels):
    pictures = scenes(6, side, channels)
    pictures[2:4] = 70
    pictures[4] = 200
    rows = duplicates.normalised(pictures)
    small = pictures
    if side > 32:
        small = [np.asarray(image_of(p).resize((32, 32), Image.Resampling.BOX)) for p in pictures]
    flat = [np.ravel(p).tolist() for p in small]
    expected = [[oracles.correlation(a, b) for b in flat] for a in flat]
    np.testing.assert_allclose(rows @ rows.T, expected, atol=2e-6)


@pytest.mark.parametrize("change", COPIES, ids=NAMES)
@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "colour"])
def test_the_same_picture_again_is_found_and_others_are_not(change, channels):
    pictures = scenes(40, channels=channels)
    copies = np.stack([change(pictures[7]), change(pictures[20])])
    labels = np.repeat(np.arange(21), 2)
    found = duplicates.within(np.concatenate([pictures, copies]), labels, checks.SIMILARITY)
    assert sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(7, 40), (20, 41)]
    assert (found.similarity >= checks.SIMILARITY).all()
    queries = np.concatenate([scenes(5, channels=channels, seed=1), copies])
    seen = duplicates.between(queries, pictures, checks.SIMILARITY)
    assert sorted(zip(seen.first.tolist(), seen.second.tolist(), strict=True)) == [(5, 7), (6, 20)]


def test_a_hundred_copies_are_99_pairs_and_one_more_for_each_that_has_another_label(monkeypatch):
    pictures = np.repeat(scenes(1), 100, axis=0)
    labels = np.zeros(100, np.intp)
    assert len(duplicates.within(pictures, labels, 0.96).first) == 99
    labels[[50, 60]] = 1
    for values in (duplicates._VALUES_AT_ONCE, 700):
        monkeypatch.setattr(duplicates, "_VALUES_AT_ONCE", values)
        found = duplicates.within(pictures, labels, 1.0)
        across = labels[found.first] != labels[found.second]
        assert across.sum() == 2 + 48  # the two, and every other one after the first of them
        assert len(across) - across.sum() == 97 + 1
        assert (found.first < found.second).all()


def test_pictures_of_one_colour_are_like_those_of_the_same_colour():
    pictures = np.zeros((5, 8, 8, 3), np.uint8)
    pictures[1] = pictures[3] = (10, 20, 30)
    pictures[2] = (10, 20, 31)
    found = duplicates.within(pictures, np.arange(5), 0.96)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 4), (1, 3)]
    # A gray gradient is no copy of a plain gray.
    gradient = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    assert len(duplicates.between(np.zeros((1, 8, 8, 1), np.uint8), gradient, 0.01).first) == 0


@pytest.mark.parametrize("similarity", [0, -1, 1.1, float("nan"), "x"])
def test_a_similarity_is_above_0_and_at_most_1(similarity):
    with pytest.raises(ArgumentError, match="similarity must be"):
        duplicates.check_similarity(similarity)


# ---- confusions


def test_counts_and_rates_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    labels = ("a", "b", 3, "never")
    true, answers = rng.integers(0, 3, 60), rng.integers(0, 5, 60)
    answers[answers == 3] = 0
    found = Confusion(labels, true, answers)
    names = [*labels, None]
    told = [names[i] for i in answers]
    expected = np.array(oracles.confusion([labels[i] for i in true], told, labels))
    np.testing.assert_array_equal(found.matrix, expected)
    for i, label in enumerate(labels):
        right, images, given = expected[i, i], expected[i].sum(), expected[:, i].sum()
        for name, value in (
            ("precision", right / given if given else np.nan),
            ("recall", right / images if images else np.nan),
            ("f1", 2 * right / (images + given) if images + given else np.nan),
        ):
            np.testing.assert_equal(getattr(found, name)[i], value, err_msg=f"{name} of {label}")
    mistakes = found.mistakes()
    assert sum(m.times for m in mistakes) == expected.sum() - np.trace(expected)
    assert [m.times for m in mistakes] == sorted((m.times for m in mistakes), reverse=True)
    for m in mistakes:
        place = names.index(m.answer)
        assert m.times == expected[labels.index(m.label), place]
        assert m.share == m.times / expected[labels.index(m.label)].sum()
    assert found.mistakes(2) == mistakes[:2]
    assert found.accuracy == np.trace(expected) / 60


def test_a_confusion_of_nothing_has_no_rates():
    none = np.zeros(0, np.intp)
    found = Confusion(("a",), none, none)
    assert np.isnan(found.accuracy)
    assert np.isnan(found.f1).all()
    assert found.mistakes() == []


# ---- a whole set


@pytest.fixture
def state() -> State:
    """Three labels of four pictures; one of "b" is saved again as "c", one of "a" again as "a"."""
    pictures = scenes(12, 24)
    pictures[9] = saved(pictures[4])
    pictures[3] = pictures[0]
    rows = np.float32([[0], [1], [2], [0], [10], [11], [12], [13], [30], [9.6], [31], [32]])
    names = "abc"
    return added(
        State.empty(1),
        [Examples(n, rows[4 * i : 4 * i + 4], pictures[4 * i : 4 * i + 4]) for i, n in enumerate(names)],
    )


def test_a_set_is_checked_by_its_own_images(state):
    found = checks.checked(Nearest(), state, None, None, [], checks.SIMILARITY)
    assert [(pair.first, pair.second, pair.labels) for pair in found.duplicates] == [
        (4, 9, ("b", "c")),
        (0, 3, ("a", "a")),
    ]
    assert [pair.across for pair in found.duplicates] == [True, False]
    # The copy among "c" and the picture of "b" that it is a copy of are taken for each other.
    assert {(m.label, m.answer, m.times) for m in found.confusion.mistakes()} == {
        ("b", "c", 1),
        ("c", "b", 1),
    }
    problems = "\n".join(found.problems)
    assert "1 near-duplicates have different labels: 'b' and 'c'" in problems
    assert "1 support images are near-duplicates of others of their label: 'a'" in problems
    assert "2 of 12 images are taken for another label: 'b' for 'c' (1), 'c' for 'b' (1)" in problems
    assert found.notes == []
    assert found.asked == "support images, each left out of its label"
    content = json.loads(json.dumps(found.to_dict()))
    assert content["duplicates"][0]["labels"] == ["b", "c"]
    assert content["labels"][0] == {"label": "a", "precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_other_images_are_asked_for_and_copies_among_them_told(state):
    queries = np.concatenate([scenes(2, 24, seed=5), saved(state.pictures[10])[None]])
    rows = np.float32([[0.2], [12.2], [31]])
    found = checks.checked(Nearest(), state, queries, rows, ["a", "a", "c"], checks.SIMILARITY)
    assert [(pair.first, pair.second, pair.labels) for pair in found.repeated] == [(10, 2, ("c", "c"))]
    assert found.confusion.mistakes() == [("a", "b", 1, 0.5)]
    assert found.asked == "images"
    assert "1 of the images are near-duplicates of support images" in str(found)
    unknown = checks.checked(
        Nearest(), dataclasses.replace(state, threshold=-0.03), queries, rows, ["a", "a", "c"], 0.96
    )
    # The scores are -0.04, -0.04 and 0.
    assert unknown.confusion.mistakes() == [("a", None, 2, 1.0)]


def test_what_cannot_be_checked_is_noted(state):
    more = added(state, [Examples("d", np.float32([[50]])), Examples("e", np.float32([[60], [61]]))])
    found = checks.checked(Nearest(), more, None, None, [], 0.96)
    assert found.alone == ("d",)
    assert "3 of 15 support images have no picture" in found.notes[0]
    assert "1 label has a single support image, which cannot be left out: 'd'" in found.notes[1]
    assert len(found.confusion.true) == 14
    bare = added(
        State.empty(1), [Examples("x", np.float32([[0], [1]])), Examples("y", np.float32([[5], [6]]))]
    )
    nothing = checks.checked(Nearest(), bare, None, None, [], 0.96)
    assert nothing.problems == []
    assert nothing.notes == ["4 of 4 support images have no picture, and are not compared with the others"]


def test_sets_and_labels_that_cannot_be_checked_are_refused(state):
    with pytest.raises(ArgumentError, match="support set must have a label"):
        checks.checked(Nearest(), State.empty(1), None, None, [], 0.96)
    with pytest.raises(ArgumentError, match=r"labels must be labels of this support set, received 'z' at 1"):
        checks.checked(Nearest(), state, scenes(2, 24), np.zeros((2, 1), np.float32), ["a", "z"], 0.96)
    clean = checks.checked(Nearest(), state, scenes(1, 24), np.zeros((1, 1), np.float32), ["a"], 0.96)
    with pytest.raises(ArgumentError, match="mistakes must hold a mistake with pictures to draw"):
        clean.mistakes_figure()


# ---- pictures


def test_the_pictures_show_duplicates_and_mistakes(state):
    found = checks.checked(Nearest(), state, None, None, [], checks.SIMILARITY)
    pairs = found.duplicates_figure()
    shown = [axes.images[0].get_array() for axes in pairs.axes if axes.images]
    np.testing.assert_allclose(shown[0], state.pictures[4] / 255)
    np.testing.assert_allclose(shown[1], state.pictures[9] / 255)
    assert [axes.get_xlabel() for axes in pairs.axes if axes.images] == ["b", "c", "a", "a"]
    mistakes = found.mistakes_figure()
    first = [axes for axes in mistakes.axes if axes.images]
    np.testing.assert_allclose(first[0].images[0].get_array(), state.pictures[4] / 255)  # a "b" taken for "c"
    assert first[1].get_xlabel() == "c"
    assert any("1 of 'b' (25 %) taken for 'c'" in t.get_text() for a in mistakes.axes for t in a.texts)
    matrix = found.confusion_figure().axes[0].images[0].get_array()
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [0, 0.75, 0.25], [0, 0.25, 0.75]])


def test_a_large_matrix_shows_the_labels_with_the_most_mistakes():
    counts = np.eye(100, 101, dtype=np.int64) * 5
    counts[40, 70] = 3
    counts[40, 2] = 1
    counts[70, -1] = 2
    figure = plots.confusion_matrix(counts, [f"label {i}" for i in range(100)])
    axes = figure.axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) == 30
    assert {"label 40", "label 70", "label 2"} <= {*names}
    assert [text.get_text() for text in axes.get_xticklabels()][-1] == "unknown"
    assert "30 labels with the most mistakes, of 100" in figure.get_suptitle()
    with pytest.raises(ValueError, match="matrix must be"):
        plots.confusion_matrix(counts[:, 1:], ["a"] * 100)
    with pytest.raises(ValueError, match="rows must have a note"):
        plots.picture_rows([], [], "nothing")


def test_the_picture_of_an_open_set_shows_scores_and_curves():
    known, unknown = np.linspace(-2, 0, 50), np.linspace(-5, -1, 80)
    report = open_set_report(known, unknown, np.ones(50, bool))
    figure = plots.open_set(
        {"mine": report, "a $ b": report}, known, unknown, threshold=-1.5, title="a title"
    )
    left, right = figure.axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "unknown labels",
        "known labels",
        "threshold",
    ]
    assert left.lines[-1].get_xdata()[0] == -1.5
    curve = right.lines[0]
    np.testing.assert_array_equal(curve.get_ydata(), report.roc.true_positives)
    np.testing.assert_array_equal(curve.get_xdata(), np.maximum(report.roc.false_positives, 1 / 80))
    assert right.get_legend().get_texts()[0].get_text() == f"mine (AUROC {100 * report.auroc.value:.1f} %)"
    assert figure.get_suptitle() == "a title"
    plots.open_set({"same": report}, np.zeros(3), np.zeros(3)).savefig(io.BytesIO())
    with pytest.raises(ValueError, match="reports must hold at least one report"):
        plots.open_set({}, known, unknown)

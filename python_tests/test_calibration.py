# SPDX-License-Identifier: MIT
"""Thresholds, temperatures and left-out support images on states; no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import oracles_open_set as oracles
import pytest

from fslcore.arguments import ArgumentError
from fslcore.classifier import calibration, trials
from fslcore.classifier.rules import OF_METRIC, Kernel, Prototype
from fslcore.classifier.state import Examples, State, added

RULES = ["prototype", "nearest", "k-nearest", "class-mean"]


def a_state(counts, dim=3, seed=0) -> State:
    """Whole numbers around a centre for each label; added in two halves, so that rows are interleaved."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(-6, 7, (len(counts), dim))
    rows = [
        (c + rng.integers(-3, 4, (n, dim))).astype(np.float32) for c, n in zip(centres, counts, strict=True)
    ]
    parts = [(f"label {i}", *np.array_split(each, 2)) for i, each in enumerate(rows)]
    state = added(State.empty(dim), [Examples(label, first) for label, first, _ in parts])
    later = [Examples(label, second) for label, _, second in parts if len(second)]
    return added(state, later) if later else state


def clusters(labels, images, seed, dim=8):
    """Embeddings of labels that differ more than their images do, and the labels."""
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(labels, 1, dim))
    return (centres + rng.normal(size=(labels, images, dim))).astype(np.float32)


# ---- leaving out


@pytest.mark.parametrize("rule", RULES)
def test_a_left_out_image_is_answered_by_the_others(rule, monkeypatch):
    state = a_state([5, 1, 4, 2, 7])
    expected = oracles.answers_of_the_rest(rule, state.rows.tolist(), state.numbers.tolist(), 5)
    _, found = trials.answered_by_the_rest(OF_METRIC[rule](), state)
    for i, (scores, own) in enumerate(zip(expected, state.numbers.tolist(), strict=True)):
        others = [-math.inf if j == own else score for j, score in enumerate(scores)]
        assert found.own[i] == own
        assert found.other_score[i] == pytest.approx(max(others), rel=1e-5, abs=1e-5)
        if scores[own] is None:
            assert np.isnan(found.own_score[i])
        else:
            assert found.own_score[i] == pytest.approx(scores[own], rel=1e-5, abs=1e-5)
    # In blocks of few labels and few images at a time: the same.
    monkeypatch.setattr(trials, "VALUES_AT_ONCE", 12)
    monkeypatch.setattr(trials, "_ROWS_AT_ONCE", 7)
    _, again = trials.answered_by_the_rest(OF_METRIC[rule](), state)
    for part, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(part, other)


def by_attention(query, rows, numbers, labels):
    """The logarithm of each label's share in the softmax over all rows, minus half of squared distances."""
    weights = [math.exp(-sum((a - b) ** 2 for a, b in zip(query, row, strict=True)) / 2) for row in rows]
    return [
        math.log(sum(w for w, its in zip(weights, numbers, strict=True) if its == label) / sum(weights))
        if label in numbers
        else None
        for label in labels
    ]


def attention() -> Kernel:
    def compare(queries, rows):
        return (-((queries[:, None].astype(np.float64) - rows) ** 2).sum(axis=-1) / 2).astype(np.float32)

    return Kernel("attention", compare, "minus half of the squared distance")


def test_a_rule_that_compares_labels_is_asked_without_one_image_of_each(monkeypatch):
    """Leaving out an image changes the scores of all labels, so each turn leaves out one of every label."""
    state = a_state([3, 1, 4])
    rows, numbers = (state.rows / 4).tolist(), state.numbers.tolist()
    state = added(State.empty(3), [Examples(i, np.float32(rows)[state.numbers == i]) for i in range(3)])
    rows, numbers = state.rows.tolist(), state.numbers.tolist()
    turns = [numbers[:i].count(number) for i, number in enumerate(numbers)]
    _, found = trials.answered_by_the_rest(attention(), state)
    for i, (query, own) in enumerate(zip(rows, numbers, strict=True)):
        left_out = {j for j, turn in enumerate(turns) if turn == turns[i] and numbers[j] != 1} - (
            {*range(8)} if own == 1 else set()
        )
        rest = [j for j in range(8) if j not in left_out]
        scores = by_attention(query, [rows[j] for j in rest], [numbers[j] for j in rest], range(3))
        others = max(score for label, score in enumerate(scores) if label != own)
        assert found.other_score[i] == pytest.approx(others, rel=1e-5)
        assert (
            np.isnan(found.own_score[i])
            if own == 1
            else found.own_score[i] == pytest.approx(scores[own], rel=1e-5)
        )
    monkeypatch.setattr(trials, "VALUES_AT_ONCE", 6)
    for part, again in zip(found, trials.answered_by_the_rest(attention(), state)[1], strict=True):
        np.testing.assert_allclose(part, again, rtol=1e-6)
    with pytest.raises(
        ArgumentError, match="since the scores of the rule kernel change with the number of labels"
    ):
        trials.trials(attention(), state, None, [])


def test_of_equal_scores_the_label_that_came_first_is_the_answer():
    rows = np.zeros((2, 1), np.float32)
    state = added(State.empty(1), [Examples("a", rows), Examples("b", rows)])
    _, found = trials.answered_by_the_rest(Prototype(), state)
    np.testing.assert_array_equal(found.right, [True, True, False, False])
    np.testing.assert_array_equal(found.answer, [0, 0, 0, 0])


def test_queries_are_known_or_unknown_by_their_labels():
    state = a_state([3, 3, 2])
    queries = np.random.default_rng(1).integers(-9, 9, (6, 3)).astype(np.float32)
    labels = ["label 1", "new", None, "label 0", None, "new"]
    found = trials.trials(Prototype(), state, queries, labels)
    scores = Prototype()(queries, state)
    np.testing.assert_array_equal(found.known, scores[[0, 3]].max(axis=1))
    np.testing.assert_array_equal(found.known_labels, [1, 0])
    np.testing.assert_array_equal(found.right, scores[[0, 3]].argmax(axis=1) == [1, 0])
    np.testing.assert_array_equal(found.unknown, scores[[1, 2, 4, 5]].max(axis=1))
    new, first, second, again = found.unknown_labels
    assert new == again
    assert len({new, first, second, 0, 1, 2}) == 6  # images without a label are each of their own
    assert (found.known_from, found.unknown_from) == (trials.IMAGES, trials.IMAGES)


def test_what_is_missing_comes_from_the_support():
    state = a_state([4, 1, 3])
    _, whole = trials.answered_by_the_rest(Prototype(), state)
    there = state.numbers != 1
    alone = trials.trials(Prototype(), state, None, [])
    np.testing.assert_array_equal(alone.known, whole.best[there])
    np.testing.assert_array_equal(alone.unknown, whole.other_score)
    assert (alone.known_from, alone.unknown_from) == (trials.SUPPORT, trials.LEFT_OUT)
    queries = np.float32([[1, 2, 3], [4, 5, 6]])
    strange = trials.trials(Prototype(), state, queries, ["x", None])
    np.testing.assert_array_equal(strange.known, alone.known)
    np.testing.assert_array_equal(strange.unknown, Prototype()(queries, state).max(axis=1))
    known = trials.trials(Prototype(), state, queries, ["label 2", "label 2"])
    assert (known.known_from, known.unknown_from) == (trials.IMAGES, trials.LEFT_OUT)
    np.testing.assert_array_equal(known.unknown, Prototype()(queries, state)[:, :2].max(axis=1))


@pytest.mark.parametrize(
    ("counts", "labels", "message"),
    [
        ([], [], "support set must have a label before it predicts"),
        (
            [3],
            [],
            "images must hold images of labels that are not in this support set, which has a single label",
        ),
        (
            [1, 1],
            [],
            "images must hold images of labels of this support set, since none of its labels has two",
        ),
        ([2, 2], [1.5], "label must be a string"),
    ],
    ids=["empty", "one-label", "one-image-each", "no-label"],
)
def test_sets_that_cannot_be_asked_are_refused(counts, labels, message):
    state = a_state(counts) if counts else State.empty(3)
    queries = np.zeros((len(labels), 3), np.float32) if labels else None
    with pytest.raises(ArgumentError, match=message):
        trials.trials(Prototype(), state, queries, labels)


# ---- thresholds


def known_and_unknown(seed):
    """A set of 30 labels, and two samples of queries of these and of 120 others that never meet."""
    rows = clusters(150, 15, seed)
    state = added(State.empty(8), [Examples(i, rows[i, :5]) for i in range(30)])
    samples = []
    for part in (slice(5, 10), slice(10, 15)):
        new = range(30, 90) if part.start == 5 else range(90, 150)
        queries = np.concatenate([rows[:30, part].reshape(-1, 8), rows[new].reshape(-1, 8)])
        labels = [*np.repeat(np.arange(30), 5).tolist(), *np.repeat(new, 15).tolist()]
        samples.append((queries, labels))
    return state, samples


def test_figures_of_a_calibration_come_again_on_other_images():
    """All four figures, 40 times: 95 % of the pairs should agree, as they are asked to."""
    held = dict.fromkeys(("accepted", "false_accepts", "recall", "precision"), 0)
    rates = []
    for seed in range(40):
        state, (first, second) = known_and_unknown(seed)
        found = calibration.calibrated(Prototype(), state, *first, 0.05)
        state = dataclasses.replace(state, threshold=found.threshold.value)
        report = calibration.evaluated(Prototype(), state, *second)
        rates.append(report.false_accepts.value)
        for name, agrees in found.agrees_with(report).items():
            held[name] += agrees
    assert np.mean(rates) == pytest.approx(0.05, abs=0.01)
    assert min(held.values()) >= 35, held  # 95 % of 40 are 38; one in a hundred times fewer than 35
    assert 0.2 < found.report.recall.value < 0.8  # neither all nor nothing: they could differ


def test_a_calibration_tells_how_it_was_made():
    state, ((queries, labels), _) = known_and_unknown(0)
    found = calibration.calibrated(Prototype(), state, queries, labels, 0.01)
    scores = Prototype()(queries, state).max(axis=1)
    assert (scores[150:] >= np.float32(found.threshold.value)).sum() == oracles.accepted_at_most(
        scores[150:].tolist(), 0.01
    )
    assert found.labels == 30
    assert found.report.known == 150
    assert found.report.unknown_labels == 60
    assert "threshold" in str(found)
    assert "known: images; unknown: images" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["report"]["auroc"] == list(found.report.auroc)


def test_a_different_network_does_not_agree():
    """What is calibrated on one kind of images is not met by another one, and that is said."""
    state, ((queries, labels), _) = known_and_unknown(1)
    found = calibration.calibrated(Prototype(), state, queries, labels, 0.05)
    state = dataclasses.replace(state, threshold=found.threshold.value)
    moved = queries.copy()
    moved[150:] *= 0.3  # unknown images in the middle of the others
    report = calibration.evaluated(Prototype(), state, moved, labels)
    assert not found.agrees_with(report)["false_accepts"]


def test_the_support_alone_calibrates_with_its_labels_left_out():
    rows = clusters(40, 5, 3)
    state = added(State.empty(8), [Examples(i, rows[i]) for i in range(40)])
    found = calibration.calibrated(Prototype(), state, None, [], 0.05)
    assert (found.report.known, found.report.unknown) == (200, 200)
    assert found.report.auroc.value > 0.8
    with pytest.raises(
        ArgumentError, match=r"false_accept_rate must be at least 1/201 = 0.005 with 200 images"
    ):
        calibration.calibrated(Prototype(), state, None, [], 0.001)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x", None], "labels must hold labels of this support set, too"),
        (["label 0", "label 1"], "that are not in"),
    ],
    ids=["all-unknown", "all-known"],
)
def test_an_open_set_has_both_kinds(labels, message):
    with pytest.raises(ArgumentError, match=message):
        calibration.evaluated(Prototype(), a_state([2, 2]), np.zeros((2, 3), np.float32), labels)


# ---- probabilities


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_the_temperature_has_the_least_cross_entropy(scale):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 30)
    scores = scale * (rng.normal(size=(30, 4)) + 1.5 * np.eye(4)[truth])
    found = calibration.fitted_temperature(scores, truth)

    def loss(t):
        return oracles.cross_entropy(scores.tolist(), truth.tolist(), t)

    grid = [found * 1.001**step for step in (-300, -30, -1, 1, 30, 300)]
    assert all(loss(found) < loss(t) for t in grid)
    assert calibration.cross_entropy(scores, truth, found) == pytest.approx(loss(found), rel=1e-12)


def test_the_temperature_scales_with_the_scores_and_ignores_what_all_have_in_common():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 40)
    scores = rng.normal(size=(40, 3)) + np.eye(3)[truth]
    once = calibration.fitted_temperature(scores, truth)
    assert calibration.fitted_temperature(8 * scores, truth) == pytest.approx(8 * once, rel=1e-9)
    assert calibration.fitted_temperature(scores - 50, truth) == pytest.approx(once, rel=1e-9)


def test_few_images_that_are_all_right_do_not_make_answers_certain():
    scores = np.array([[0.0, -1.0], [-1.0, 0.0]])
    temperature = calibration.fitted_temperature(scores, np.array([0, 1]))
    # The best answer is the target itself, 1 - 1/4, by symmetry.
    assert 1 / (1 + math.exp(-1 / temperature)) == pytest.approx(0.75, rel=1e-9)


def test_scores_that_find_nothing_have_no_temperature():
    with pytest.raises(ArgumentError, match="must be those that the scores find more often than by chance"):
        calibration.fitted_temperature(np.eye(3), np.array([1, 2, 0]))
    with pytest.raises(ArgumentError, match="by chance"):
        calibration.fitted_temperature(np.zeros((3, 3)), np.array([1, 2, 0]))


def test_the_calibration_error_is_that_of_a_loop_over_bins():
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(3), 200)
    probabilities[:3] = np.eye(3)
    truth = rng.integers(0, 3, 200)
    right = (probabilities.argmax(axis=1) == truth).tolist()
    expected = oracles.calibration_error(probabilities.max(axis=1).tolist(), right, 15)
    assert calibration.calibration_error(probabilities, truth) == pytest.approx(expected, rel=1e-9)


def test_calibrated_probabilities_are_as_high_as_answers_are_right():
    state, (first, second) = known_and_unknown(2)
    scores = Prototype()(second[0][:150], state)
    found = calibration.tempered(Prototype(), state, first[0][:150], first[1][:150])
    assert found.cross_entropy[1] < found.cross_entropy[0]
    assert found.calibration_error[1] < found.calibration_error[0]
    truth = np.array(second[1][:150])
    after = calibration.as_probabilities(scores, found.temperature).astype(np.float64)
    assert calibration.calibration_error(after, truth) < 0.12  # of 150 other images
    assert "temperature" in str(found)


def test_the_support_alone_makes_a_temperature(monkeypatch):
    state = a_state([6, 1, 5, 4])
    found = calibration.tempered(Prototype(), state, None, [])
    assert found.images == 15
    assert found.images_from == trials.SUPPORT
    monkeypatch.setattr(calibration, "VALUES_AT_ONCE", 20)  # 5 images of 4 labels: every fourth of 16
    assert calibration.tempered(Prototype(), state, None, []).images == 4


@pytest.mark.parametrize(
    ("counts", "labels", "message"),
    [
        ([3], None, "support set must have 2 or more labels"),
        ([1, 1], None, "images must be given, since no label"),
        ([2, 2], ["label 0", "x"], "labels must be labels of this support set for .* received 'x' at 1"),
        ([2, 2], ["label 0", None], "received None at 1"),
    ],
    ids=["one-label", "one-image-each", "strange", "unknown"],
)
def test_sets_without_a_temperature_say_so(counts, labels, message):
    queries = None if labels is None else np.zeros((len(labels), 3), np.float32)
    with pytest.raises(ArgumentError, match=message):
        calibration.tempered(Prototype(), a_state(counts), queries, labels or [])

# SPDX-License-Identifier: MIT
"""States of support sets and the rules that score by them, against loops; no TensorFlow."""

import threading

import numpy as np
import pytest
from oracles_support import Set, scores

from fslcore.arguments import ArgumentError
from fslcore.classifier import ClassMean, KNearest, Nearest, Prototype, answering
from fslcore.classifier.comparing import PLAIN_METRICS, alike_supports
from fslcore.classifier.state import Examples, State, added, removed, replaced, restored

RULES = {"prototype": Prototype, "nearest": Nearest, "k-nearest": KNearest, "class-mean": ClassMean}


def rows_of(seed, count, dim=4):
    """Small integers: sums and squares are exact in float32."""
    return np.random.default_rng(seed).integers(-8, 9, (count, dim)).astype(np.float32)


def check(state, expected):
    """A state holds what a dict of lists holds."""
    assert state.labels == tuple(expected.images)
    assert [type(label) for label in state.labels] == [type(label) for label in expected.images]
    assert state.counts.tolist() == [len(rows) for rows in expected.images.values()]
    assert len(state) == state.counts.sum() == len(state.rows) == len(state.numbers) == len(state.pictured)
    for number, (label, rows) in enumerate(expected.images.items()):
        assert state.number(label) == number
        np.testing.assert_array_equal(state.rows[state.numbers == number], rows)
        np.testing.assert_array_equal(state.prototypes[number], expected.prototype(label))
    np.testing.assert_array_equal(state.norms, (state.rows**2).sum(axis=1))
    if state.pictures is not None:
        # A picture holds the first number of its embedding.
        np.testing.assert_array_equal(
            state.pictures[:, 0, 0, 0], np.where(state.pictured, np.abs(state.rows[:, 0]), 0)
        )


def example(label, rows, pictured=True):
    pictures = np.abs(rows[:, :1, np.newaxis, np.newaxis]).astype(np.uint8)
    return Examples(label, rows, pictures if pictured else None)


@pytest.mark.parametrize("seed", range(4))
def test_changes_are_those_of_a_dict_and_leave_earlier_states_alone(seed):
    random = np.random.default_rng(seed)
    state, expected = State.empty(), Set()
    kept = []
    labels = ["1", 1, "a", "ä", -3, 2**40, "b", "c"]
    for step in range(150):
        label = labels[random.integers(len(labels))]
        rows = rows_of(1000 * seed + step, random.integers(1, 6))
        before = state
        choice = random.random()
        if label in expected.images and choice < 0.2:
            state = removed(state, label)
            expected.remove(label)
        elif label in expected.images and choice < 0.4:
            state = replaced(state, example(label, rows, pictured=random.random() < 0.7))
            expected.replace(label, rows)
        elif choice < 0.5:
            others = [(other, rows_of(step + i, 2)) for i, other in enumerate(labels[:5])]
            state = added(state, [example(*other) for other in others])
            for other in others:
                expected.add(*other)
        else:
            state = added(state, [example(label, rows, pictured=random.random() < 0.7)])
            expected.add(label, rows)
        assert state.version == before.version + 1
        if random.random() < 0.5:  # reading puts the rows together; changes must not depend on that
            check(state, expected)
        if random.random() < 0.1:
            kept.append((state, {label: list(rows) for label, rows in expected.images.items()}))
        if random.random() < 0.1 and kept:
            # Another history from an earlier state on: it shares memory with the first.
            state, images = kept[random.integers(len(kept))]
            expected.images = {label: list(rows) for label, rows in images.items()}
    for state, images in kept:
        expected.images = images
        check(state, expected)
        parts = (state.numbers, state.rows, state.pictures, state.pictured)
        again = restored(state.labels, *parts, threshold=None, temperature=1.0, version=7)
        check(again, expected)
        np.testing.assert_array_equal(again.prototypes, state.prototypes)


def test_the_mean_does_not_depend_on_how_many_images_come_at_once():
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    at_once = added(State.empty(), [Examples("a", rows)])
    one_by_one = State.empty()
    for row in rows:
        one_by_one = added(one_by_one, [Examples("a", row[np.newaxis])])
    np.testing.assert_array_equal(at_once.prototypes, one_by_one.prototypes)


@pytest.mark.parametrize("grouped", [True, False, "alike"])
@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("metric", PLAIN_METRICS)
@pytest.mark.parametrize("rule", RULES)
def test_scores_are_those_of_loops(rule, metric, count, grouped):
    expected, state = Set(), State.empty()
    for step, (label, size) in enumerate([("a", 1), ("b", 5), ("a", 3), ("c", 2), ("b", 1)]):
        if grouped and label in expected.images:
            continue
        rows = rows_of(step, 4 if grouped == "alike" else size)
        expected.add(label, rows)
        state = added(state, [Examples(label, rows)])
    queries = np.concatenate([state.rows[:1], rows_of(9, count)])[:count]  # the first is a support image
    found = answering.scored(RULES[rule](metric=metric), queries, state)
    right = scores(queries, expected.images, rule, metric)
    assert found.dtype == np.float32
    # Squares and products of these integers are exact; means and roots are rounded, 4 times at most.
    tolerance = (
        0 if metric in ("sqeuclidean", "manhattan", "chebyshev", "dot") and rule == "nearest" else 5e-7
    )
    np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine"])
@pytest.mark.parametrize("offset", [0, 1000])
def test_a_product_keeps_the_digits_of_near_rows(metric, offset):
    # Far from the origin the product of a query with the rows loses the digits of all distances.
    rows = (offset + np.random.default_rng(1).normal(size=(200, 16))).astype(np.float32)
    rows[100:] = rows[:100] + np.float32(2**-6)
    state = added(State.empty(), [Examples("a", rows)])
    queries = rows[:3]
    found = -alike_supports(queries, state, metric)
    near, far = np.float64(queries[:, np.newaxis]), np.float64(rows)
    if metric == "cosine":
        lengths = np.linalg.norm(near, axis=2) * np.linalg.norm(far, axis=1)
        right, tolerance = 1 - (near * far).sum(axis=2) / lengths, 1e-6
    else:
        right, tolerance = ((near - far) ** 2).sum(axis=2), 0
        right = np.sqrt(right) if metric == "euclidean" else right
    np.testing.assert_allclose(found, right, rtol=2e-5, atol=tolerance)
    assert found[[0, 1, 2], [0, 1, 2]].tolist() == [0, 0, 0] or metric == "cosine"


def test_readers_see_a_set_before_or_after_a_change():
    # Each label has its number as every coordinate of its two rows; a mixture would show.
    def rows(label):
        return np.full((2, 3), label, np.float32)

    holder = [added(State.empty(), [Examples(0, rows(0))])]
    done, faults = threading.Event(), []

    def read():
        while not done.is_set():
            state = holder[0]
            values = np.array(state.labels, np.float32)
            fits = np.array_equal(state.rows[:, 0], values[state.numbers])
            fits &= np.array_equal(state.prototypes[:, 0], values) and len(state) == 2 * len(values)
            if not fits:
                faults.append(state)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    random = np.random.default_rng(0)
    for step in range(1, 400):
        state = holder[0]
        if len(state.labels) > 1 and random.random() < 0.4:
            holder[0] = removed(state, state.labels[random.integers(len(state.labels))])
        else:
            holder[0] = added(state, [Examples(step, rows(step))])
    done.set()
    for reader in readers:
        reader.join()
    assert not faults


def test_equal_scores_go_to_the_label_that_was_added_first():
    rows = np.zeros((1, 2), np.float32)
    state = added(State.empty(), [Examples("b", rows), Examples("a", rows), Examples("c", rows + 1)])
    scores = answering.scored(Nearest(), rows, state)
    assert answering.answers(scores, state, 9, False)[0].tolist() == [["b", "a", "c"]]
    assert answering.answers(scores, state, None, False)[0].tolist() == ["b"]
    assert answering.ranked(scores, 2).tolist() == [[0, 1]]
    many = np.random.default_rng(0).integers(0, 30, (3, 400)).astype(np.float32)
    for top in (2, 9, 20, 21, 399, 400):  # near both ways of finding them
        right = [sorted(range(400), key=lambda i, row=row: (-row[i], i))[:top] for row in many]
        assert answering.ranked(many, top).tolist() == right


def test_probabilities_sum_to_1_and_follow_the_temperature():
    scores = np.array([[0, np.log(2), np.log(5)], [-1e30, 0, 1e30]], np.float32)
    np.testing.assert_allclose(
        answering.as_probabilities(scores, 1.0), [[1 / 8, 2 / 8, 5 / 8], [0, 0, 1]], rtol=1e-6
    )
    flat = answering.as_probabilities(scores[:1], 2.0)
    np.testing.assert_allclose(flat, np.sqrt([[1, 2, 5]]) / np.sqrt([1, 2, 5]).sum(), rtol=1e-6)


def test_what_cannot_be_scored_is_refused():
    state = added(State.empty(), [Examples("a", np.full((1, 2), 1e30, np.float32))])
    with pytest.raises(ArgumentError, match=r"must have a label before it predicts.*received an empty one"):
        answering.scored(Nearest(), np.zeros((1, 2), np.float32), State.empty(2))
    with pytest.raises(ArgumentError, match="2 numbers each, received 3 numbers each"):
        answering.scored(Nearest(), np.zeros((1, 3), np.float32), state)
    with pytest.raises(ArgumentError, match="must be small enough for distances in float32"):
        answering.scored(Nearest(), np.zeros((1, 2), np.float32), state)
    with pytest.raises(ArgumentError, match="2 numbers each, received 3 numbers each"):
        added(state, [Examples("b", np.zeros((1, 3), np.float32))])

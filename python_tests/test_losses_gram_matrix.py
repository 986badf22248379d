# SPDX-License-Identifier: MIT
"""The other losses on a Gram matrix: values against NumPy loops, reductions, what nothing qualifies for."""

import math

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from asserts import gamma
from inputs import normal
from labelled import LABELS, ONE_HOT
from routes import MODES, name, with_gradient

from fslcore.losses import (
    BinaryCrossentropy,
    ClassConsistencyLoss,
    ClippedBinaryCrossentropy,
    MaxBinaryCrossentropy,
    MeanScoreClassificationLoss,
    Percentile,
    PercentileBinaryCrossentropy,
    StdBinaryCrossentropy,
)

SCORES = oracles.sigmoid(normal(0, 11, 11)).astype(np.float32)
# A score near 1 makes its complement, and so a loss of size 0.05, uncertain by 20 times as much; sums of 121.
TOLERANCE = 20 * gamma(121 + 16)


@keras.saving.register_keras_serializable(package="tests")
def corner(losses):
    return losses[0, 1] + losses[1, 0]


def entropy(score, match):
    score = min(max(float(score), 1e-7), 1 - 1e-7)
    return -math.log((score if match else 1 - score) + 1e-7)


def pairs(labels, scores):
    return np.array([[entropy(s, a == b) for s, b in zip(row, labels, strict=True)]
                     for row, a in zip(scores, labels, strict=True)])  # fmt: skip


def clipped(lower, upper, of_kept=False):
    losses = pairs(LABELS, SCORES)
    most = -math.log(1 - upper) if upper < 1 else math.inf
    kept = [loss for loss in losses.ravel() if -math.log(1 - lower) < loss < most]
    return sum(kept) / (len(kept) if of_kept else losses.size)


def by_mean_score(leave_one_out=False):
    losses = []
    for i, row in enumerate(SCORES):
        means = {}
        for label in set(LABELS.tolist()):
            members = [j for j in range(11) if LABELS[j] == label and not (leave_one_out and i == j)]
            means[label] = np.mean(row[members], dtype=np.float64) if members else 0.0
        own = means[LABELS[i]] / sum(map(abs, means.values()))
        alone = leave_one_out and LABELS.tolist().count(LABELS[i]) == 1
        losses.append(0.0 if alone else entropy(own, True))
    return np.mean(losses)


def consistency():
    classes = sorted(set(LABELS.tolist()))
    members = [np.flatnonzero(a == LABELS) for a in classes]
    means = [[SCORES[np.ix_(a, b)].mean(dtype=np.float64) for b in members] for a in members]
    return np.mean([[entropy(m, a == b) for b, m in enumerate(row)] for a, row in enumerate(means)])


LOSSES = pairs(LABELS, SCORES)
ORDER = np.sort(LOSSES.ravel())
CASES = {
    "max": (MaxBinaryCrossentropy(), LOSSES.max()),
    "max by reduction": (BinaryCrossentropy(reduction="max"), LOSSES.max()),
    "std": (StdBinaryCrossentropy(), LOSSES.std()),
    "std by reduction": (BinaryCrossentropy(reduction="std"), LOSSES.std()),
    "median": (BinaryCrossentropy(reduction="percentile"), ORDER[60]),
    "a midpoint": (PercentileBinaryCrossentropy(12), (ORDER[14] + ORDER[15]) / 2),  # 0.12 * 120 = 14.4
    "least": (BinaryCrossentropy(reduction=Percentile(0)), ORDER[0]),
    "greatest": (PercentileBinaryCrossentropy(100), ORDER[-1]),
    "mean": (BinaryCrossentropy(reduction="mean"), LOSSES.mean()),
    "function": (BinaryCrossentropy(reduction=corner), LOSSES[0, 1] + LOSSES[1, 0]),
    "clipped": (ClippedBinaryCrossentropy(0.25, 0.75), clipped(0.25, 0.75)),
    "clipped from below": (ClippedBinaryCrossentropy(0.5, of_kept=True), clipped(0.5, 1, of_kept=True)),
    "mean score": (MeanScoreClassificationLoss(), by_mean_score()),
    "mean score of others": (MeanScoreClassificationLoss(leave_one_out=True), by_mean_score(True)),
    "classes": (ClassConsistencyLoss(), consistency()),
}


@pytest.mark.parametrize("mode", MODES, ids=name)
def test_values_are_those_of_the_loops(mode):
    def all_of_them(labels, scores):
        return [loss(labels, scores) for loss, _ in CASES.values()]

    for labels in (LABELS, ONE_HOT):
        for key, got in zip(CASES, mode(all_of_them)(labels, SCORES), strict=True):
            assert float(got) == pytest.approx(CASES[key][1], rel=TOLERANCE), key


SMALL = {
    "empty": (np.zeros(0, np.int64), np.zeros((0, 0), np.float32)),
    "one sample": (np.array([3]), np.float32([[1.0]])),
    "zeros": (np.array([0, 0, 1]), np.zeros((3, 3), np.float32)),
    "equal": (np.array([0, 1]), np.full((2, 2), 0.5, np.float32)),
}


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "a graph of unknown sizes"])
def test_degenerate_batches_have_finite_values_and_gradients(traced):
    losses = [case[0] for key, case in CASES.items() if key != "function"]  # which needs two samples

    def total(scores, labels):
        return tf.add_n([loss(labels, scores) for loss in losses])

    run = with_gradient(total)
    if traced:
        specs = [tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int64)]
        run = tf.function(run, input_signature=specs)
    for labels, scores in SMALL.values():
        value, grad = run(tf.constant(scores), tf.constant(labels))
        assert np.isfinite(value)
        assert np.all(np.isfinite(grad))
        if len(labels) == 0:
            assert float(value) == 0.0


def test_gradients_go_to_the_first_of_equal_losses():
    scores = np.float32([[0.5, 0.25], [0.25, 0.5]])
    least = BinaryCrossentropy(reduction=Percentile(0))
    for loss, where in ((MaxBinaryCrossentropy(), (0, 0)), (least, (0, 1))):
        _, grad = with_gradient(lambda scores, loss=loss: loss([0, 1], scores))(tf.constant(scores))
        assert np.argwhere(np.asarray(grad)).tolist() == [list(where)]
    _, grad = with_gradient(lambda scores: StdBinaryCrossentropy()([0, 0], scores))(tf.fill([2, 2], 0.5))
    np.testing.assert_array_equal(grad, np.zeros((2, 2)))


@pytest.mark.parametrize("mode", [MODES[0], MODES[3]], ids=name)
def test_a_nan_score_shows_and_wrong_labels_do(mode):
    scores = SCORES.copy()
    scores[4, 5] = np.nan
    got = mode(lambda labels, scores: [loss(labels, scores) for loss, _ in CASES.values()])(LABELS, scores)
    for key, value in zip(CASES, got, strict=True):
        assert math.isnan(float(value)) == (key != "function"), key


def test_losses_are_restored_and_wrong_arguments_are_refused():
    for key, (loss, want) in CASES.items():
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert again.get_config() == loss.get_config()
        assert float(again(LABELS, SCORES)) == pytest.approx(want, rel=TOLERANCE), key
    for message, make in {
        "q must be from 0 to 100, received q=101": lambda: Percentile(101),
        "percentile must be from 0 to 100, received percentile=-1": lambda: PercentileBinaryCrossentropy(-1),
        "q must be a number": lambda: Percentile("50"),
        "reduction must be one of None, none, .* or a function": lambda: BinaryCrossentropy(reduction="min"),
        "balanced must be False": lambda: BinaryCrossentropy(True, "max"),
        "lower must be at least 0 and below 1": lambda: ClippedBinaryCrossentropy(1.0),
        "upper must be above lower": lambda: ClippedBinaryCrossentropy(0.5, 0.5),
        "sample_weight must be None": lambda: MaxBinaryCrossentropy()(LABELS, SCORES, np.ones(11)),
        "as its terms have several samples each": lambda: ClassConsistencyLoss()(LABELS, SCORES, np.ones(11)),
        "reduction must return a scalar": lambda: BinaryCrossentropy(reduction=lambda x: x[0])(
            LABELS, SCORES
        ),
    }.items():
        with pytest.raises(ValueError, match=message):
            make()


def test_sample_weights_of_the_mean_score_are_of_samples():
    weights = np.arange(11, dtype=np.float32)
    losses = MeanScoreClassificationLoss(reduction="none")(LABELS, SCORES).numpy()
    got = MeanScoreClassificationLoss()(LABELS, SCORES, weights)
    assert float(got) == pytest.approx(float(np.mean(weights * losses)), rel=gamma(20))

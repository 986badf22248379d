# SPDX-License-Identifier: MIT
"""The triplet losses of embeddings and distances: values against NumPy loops, batches without a triplet."""

import functools

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from asserts import float32_exactly, gamma, pairwise_tolerance
from inputs import integers, normal
from labelled import LABEL_FORMS, LABELS, ONE_HOT, manhattan
from mining import MININGS, OF_POWERS_OF_TWO
from routes import MODES, name, with_gradient

from fslcore.layers import GramMatrix
from fslcore.losses import (
    BinaryCrossentropy,
    TripletHardLoss,
    TripletLoss,
    TripletMiningLoss,
    TripletSemiHardLoss,
    triplet_hard_loss,
    triplet_mining_loss,
    triplet_semihard_loss,
)

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)


def addons_triplet_semihard(labels, embeddings, margin, distance_metric):
    """What TensorFlow Addons documents, by loops in float64: (loss, gap to the next tie or kink)."""
    x = np.asarray(embeddings, np.float64)
    if distance_metric == "angular":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        distance = 1 - x @ x.T
    else:
        distance = ((x[:, None] - x[None, :]) ** 2).sum(axis=2)
        if distance_metric == "L2":
            distance = np.sqrt(distance)
    terms = []
    for a, p in oracles.positive_pairs(labels):
        negatives = [distance[a, n] for n in range(len(x)) if labels[n] != labels[a]]
        outside = [d for d in negatives if d > distance[a, p]]
        terms.append(distance[a, p] - (min(outside) if outside else max(negatives)) + margin)
    return np.mean(np.maximum(terms, 0))


METRICS = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}
# The classes with the name of a rule, and the one that takes it as an argument.
LOSSES = {
    "TripletSemiHardLoss": (TripletSemiHardLoss, "semihard"),
    "TripletHardLoss": (TripletHardLoss, "hard"),
    **{
        f"TripletMiningLoss {mining}": (functools.partial(TripletMiningLoss, mining), mining)
        for mining in MININGS
    },
}
of_embeddings = pytest.mark.parametrize(("loss", "mining"), LOSSES.values(), ids=LOSSES.keys())


@functools.cache
def loss_in(mode, loss, metric, margin):
    return mode(loss(margin, metric))


@in_every_mode
@of_embeddings
@pytest.mark.parametrize("metric", METRICS)
def test_losses_of_embeddings(mode, loss, mining, metric):
    embeddings = normal(0, 11, 6)
    # Addons' hard loss counts samples that are alone in their class, with D[a, p] = 0: not what is wanted.
    want = oracles.triplet_loss(embeddings, LABELS, mining, 0.5, METRICS[metric]).loss
    if mining == "semihard":
        assert want == pytest.approx(addons_triplet_semihard(LABELS, embeddings, 0.5, metric), rel=1e-12)
    tolerance = pairwise_tolerance(embeddings, embeddings, METRICS[metric])[~np.eye(11, dtype=bool)].max()
    got = float(loss_in(mode, loss, metric, 0.5)(LABELS, embeddings))
    assert abs(got - want) <= 2 * tolerance < 1e-3 * want


@in_every_mode
@pytest.mark.parametrize("labels", LABEL_FORMS.values(), ids=LABEL_FORMS.keys())
def test_triplet_semihard_is_exact_on_integers(mode, labels):
    embeddings = integers(1, 11, 3)
    want = oracles.triplet_loss(embeddings, LABELS, "semihard", 7.0)
    assert want.loss == addons_triplet_semihard(LABELS, embeddings, 7.0, "squared-L2")
    function = with_gradient(lambda x, labels: triplet_semihard_loss(labels, x, 7.0, "squared-L2"))
    loss, grad = mode(function)(embeddings, labels)
    assert float(loss) == want.loss
    np.testing.assert_array_equal(grad, float32_exactly(want.grad))


@in_every_mode
@pytest.mark.parametrize("mining", MININGS)
def test_triplet_mining_is_exact_on_integers(mode, mining):
    labels = OF_POWERS_OF_TWO[mining]
    x = integers(1, len(labels), 3)
    want = oracles.triplet_loss(x, labels, mining, 7.0)
    loss, grad = mode(with_gradient(lambda x: triplet_mining_loss(labels, x, mining, 7.0, "squared-L2")))(x)
    assert float(loss) == want.loss > 0
    np.testing.assert_array_equal(grad, float32_exactly(want.grad))


@in_every_mode
@of_embeddings
def test_a_distance_of_your_own(mode, loss, mining):
    embeddings = integers(1, 11, 3)
    want = oracles.triplet_loss(embeddings, LABELS, mining, 3.0, "manhattan").loss
    # Of integers the sum is exact, the mean over 10 anchors is not.
    assert float(mode(loss(3.0, manhattan))(LABELS, embeddings)) == pytest.approx(want, rel=gamma(2))


# XLA takes three seconds for a program that mines a matrix: two of them are enough.
IN_MODES_OF_A_MATRIX = [(mode, LABELS) for mode in MODES[:3]] + [(mode, ONE_HOT) for mode in MODES]


@pytest.mark.parametrize(("mode", "labels"), IN_MODES_OF_A_MATRIX)
def test_triplet_loss_on_distances(mode, labels):
    x = integers(1, 11, 3)
    want = oracles.triplet_loss(x, LABELS, "semihard", 7.0).loss
    got = mode(TripletLoss(7.0))(labels, oracles.pairwise(x).astype(np.float32))
    assert float(got) == want > 0


NO_PAIRS = {"no samples": [], "one sample": [3], "one class": [2] * 4, "all different": range(4)}


def assert_loss_and_gradient_zero(function, loss, predictions, labels):
    value, grad = function(with_gradient(lambda x, labels: loss(labels, x)))(predictions, labels)
    assert float(value) == 0.0
    np.testing.assert_array_equal(grad, np.zeros_like(predictions), strict=True)


@in_every_mode
@of_embeddings
@pytest.mark.parametrize("labels", NO_PAIRS.values(), ids=NO_PAIRS.keys())
def test_embeddings_without_a_triplet(mode, loss, mining, labels):
    labels = np.array(labels, np.int64)
    assert_loss_and_gradient_zero(mode, loss(), integers(0, len(labels), 3), labels)


@pytest.mark.parametrize("mode", MODES[:3], ids=name)
@pytest.mark.parametrize("labels", NO_PAIRS.values(), ids=NO_PAIRS.keys())
def test_distances_without_a_triplet(mode, labels):
    labels = np.array(labels, np.int64)
    assert_loss_and_gradient_zero(mode, TripletLoss(), integers(0, len(labels), len(labels)), labels)


def test_distances_without_a_triplet_in_xla():
    assert_loss_and_gradient_zero(MODES[3], TripletLoss(), integers(0, 4, 4), np.array([2] * 4))


def test_embeddings_and_their_distances_give_the_same_loss():
    x = tf.constant(integers(0, 11, 3))
    model = keras.Sequential([keras.Input((3,)), GramMatrix("sqeuclidean")])
    on_embeddings, dx = with_gradient(lambda x: TripletSemiHardLoss(50.0, "squared-L2")(LABELS, x))(x)
    on_distances, same_dx = with_gradient(lambda x: TripletLoss(50.0)(LABELS, model(x)))(x)
    assert float(on_embeddings) == float(on_distances) > 0
    np.testing.assert_array_equal(dx, same_dx)


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        (TripletSemiHardLoss, triplet_semihard_loss),
        (TripletHardLoss, triplet_hard_loss),
        (TripletMiningLoss, triplet_mining_loss),
    ],
)
@pytest.mark.parametrize("metric", ["l2", "cosine", None, 2], ids=str)
def test_unknown_distances_are_refused(loss, function, metric):
    message = f"must be one of L2, squared-L2, angular or a function.*received distance_metric={metric!r}"
    with pytest.raises(ValueError, match=message):
        loss(distance_metric=metric)
    with pytest.raises(ValueError, match=message):
        function([0, 0], np.zeros((2, 2)), distance_metric=metric)


def test_an_unknown_rule_is_refused():
    message = f"mining must be one of {', '.join(MININGS)}, received mining='easy'"
    with pytest.raises(ValueError, match=message):
        TripletMiningLoss("easy")
    with pytest.raises(ValueError, match=message):
        triplet_mining_loss([0, 0], np.zeros((2, 2)), "easy")


def test_triplets_have_no_sample_weights():
    with pytest.raises(ValueError, match="sample_weight must be None"):
        TripletLoss()(LABELS, np.zeros((11, 11)), np.ones(11))


@pytest.mark.parametrize(
    ("loss", "predictions", "message"),
    [
        (BinaryCrossentropy(), np.zeros((11, 3)), r"y_pred must be one matrix \[batch, batch\]"),
        (TripletLoss(), np.zeros((11, 3)), r"y_pred must be one matrix \[batch, batch\]"),
        (TripletSemiHardLoss(), np.zeros((11, 3, 2)), r"y_pred must be embeddings \[batch, dim\]"),
        (TripletSemiHardLoss(), np.zeros((10, 3)), "y_true must hold one label per sample"),
        (TripletHardLoss(), np.zeros((11, 3, 2)), r"y_pred must be embeddings \[batch, dim\]"),
    ],
    ids=range(5),
)
def test_predictions_of_another_shape_are_refused(loss, predictions, message):
    with pytest.raises(ValueError, match=message):
        loss(LABELS, predictions)


def test_one_hot_labels_are_refused_where_addons_takes_none():
    with pytest.raises(ValueError, match=r"one class id per sample.*argmax"):
        TripletSemiHardLoss()(ONE_HOT, np.zeros((11, 3)))

# SPDX-License-Identifier: MIT
"""The soft form of the hard triplet loss: values and gradients against NumPy loops, Addons and the twin."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from inputs import normal
from labelled import LABELS, manhattan
from routes import MODES, name, with_gradient

from fslcore import twins
from fslcore.losses import TripletHardLoss, triplet_hard_loss

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)
METRICS = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}


def addons(x, labels, soft, margin=1.0):
    """What TensorFlow Addons computes for "L2", row by row in float64, samples that are alone included."""
    distance = oracles.pairwise(x, metric="euclidean")
    terms = []
    for a, row in enumerate(distance):
        same, other = labels == labels[a], labels != labels[a]
        same[a] = False
        positive = row[same].max() if same.any() else row.min()
        negative = row[other].min() if other.any() else row.max()
        violation = positive - negative
        terms.append(np.log1p(np.exp(violation)) if soft else max(violation + margin, 0.0))
    return np.mean(terms)


@in_every_mode
@pytest.mark.parametrize("metric", METRICS)
def test_value_and_gradient(mode, metric):
    x = normal(0, 11, 6)
    want = oracles.soft_triplet_loss(x, LABELS, METRICS[metric])
    loss = TripletHardLoss(distance_metric=metric, soft=True)
    value, grad = mode(with_gradient(lambda x: loss(LABELS, x)))(x)
    assert float(value) == pytest.approx(want.loss, rel=1e-5)
    np.testing.assert_allclose(grad, want.grad, rtol=1e-4, atol=1e-5)
    twin = twins.triplet_hard(x, LABELS, metric=METRICS[metric], soft=True)
    assert float(value) == pytest.approx(float(twin), rel=1e-5)


@pytest.mark.parametrize("soft", [True, False])
def test_it_is_that_of_addons_where_no_sample_is_alone(soft):
    labels = np.repeat(np.arange(4), 3)
    x = normal(1, 12, 5)
    value = float(triplet_hard_loss(labels, x, 0.5, soft=soft))
    assert value == pytest.approx(addons(x, labels, soft, 0.5), rel=1e-5)
    if soft:  # there is no margin
        assert value == float(triplet_hard_loss(labels, x, 7.0, soft=True))


@pytest.mark.parametrize("soft", [True, False])
def test_a_sample_that_is_alone_in_its_class_is_a_negative_only(soft):
    labels = np.array([0, 0, 1, 1, 2])
    x = normal(2, 5, 3)
    anchors = [
        oracles.pairwise(x, metric="euclidean")[a, p]
        - min(oracles.pairwise(x, metric="euclidean")[a, n] for n in range(5) if labels[n] != labels[a])
        for a, p in ((0, 1), (1, 0), (2, 3), (3, 2))
    ]
    want = np.mean([np.logaddexp(0, v) if soft else max(v + 1, 0) for v in anchors])
    assert float(TripletHardLoss(soft=soft)(labels, x)) == pytest.approx(want, rel=1e-5)
    assert want != pytest.approx(addons(x, labels, soft), rel=1e-3)


@in_every_mode
@pytest.mark.parametrize("labels", [[2] * 4, [0, 1, 2, 3]], ids=["one class", "all different"])
def test_without_a_triplet_it_is_0(mode, labels):
    loss = TripletHardLoss(soft=True)
    value, grad = mode(with_gradient(lambda x: loss(np.array(labels), x)))(normal(0, 4, 3))
    assert float(value) == 0.0
    np.testing.assert_array_equal(grad, np.zeros((4, 3)))


def test_distances_that_exp_cannot_hold():
    x = np.float32([[0.0], [2000.0], [0.5], [2000.5]])
    assert float(TripletHardLoss(soft=True)([0, 0, 1, 1], x)) == pytest.approx(1999.5)


def test_a_distance_of_your_own_and_its_config():
    x = normal(0, 11, 3)
    loss = TripletHardLoss(distance_metric=manhattan, soft=True)
    want = oracles.soft_triplet_loss(x, LABELS, "manhattan").loss
    assert float(loss(LABELS, x)) == pytest.approx(want, rel=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config()["soft"] is True
    assert float(again(LABELS, x)) == float(loss(LABELS, x))


def test_it_trains():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(0.05), TripletHardLoss(soft=True))
    labels = np.arange(32) % 8
    x = normal(0, 8, 3)[labels] + 0.1 * normal(1, 32, 3)
    losses = model.fit(x, labels, batch_size=32, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert tf.math.is_finite(losses[-1])

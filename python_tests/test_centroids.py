# SPDX-License-Identifier: MIT
"""CentroidsMatrix: the kernel on every sample and the mean of every class."""

import keras
import numpy as np
import oracles
import pytest
from asserts import float32_exactly, gamma
from inputs import integers, normal
from routes import MODES, name

from fslcore.layers import CentroidsMatrix

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)


@in_every_mode
def test_centroids_are_the_means_of_the_classes(mode):
    x, classes = integers(0, 8, 3), np.array([2, 0, 2, 0, 2, 2, 0, 0])
    one_hot = np.eye(4, dtype=np.float32)[classes]  # classes 1 and 3 have no sample
    centroids = np.zeros((4, 3))
    for c in (0, 2):
        centroids[c] = x[classes == c].mean(axis=0)  # quarters of integers are exact
    want = oracles.pairwise(x, centroids)
    layer = CentroidsMatrix("sqeuclidean")
    got = mode(lambda x, labels: layer([x, labels]))(x, one_hot)
    np.testing.assert_array_equal(got, float32_exactly(want), strict=True)
    np.testing.assert_array_equal(layer((x, one_hot.astype(np.int32))), got)


def test_centroids_with_an_activation():
    x, one_hot = normal(0, 6, 4), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    scores = CentroidsMatrix("DenseSigmoid", activation="softmax")([x, one_hot])
    # exp is good to 2 ulp (4 u), the sum of three and the quotient round: 8 roundings for each of three.
    np.testing.assert_allclose(np.sum(scores, axis=1), np.ones(6), rtol=gamma(24))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_centroids_train(jit_compile):
    keras.utils.set_random_seed(0)
    images, labels = keras.Input((5,)), keras.Input((3,))
    scores = CentroidsMatrix("DenseSigmoid", activation="softmax")([keras.layers.Dense(4)(images), labels])
    model = keras.Model([images, labels], scores)
    model.compile("sgd", "categorical_crossentropy", jit_compile=jit_compile)
    one_hot = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    before = model.get_weights()
    model.fit([normal(0, 12, 5), one_hot], one_hot, batch_size=6, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    # The bias of the embeddings cancels in their differences, to rounding.
    assert changed[0]
    assert all(changed[2:])


def test_a_saved_centroids_matrix_is_the_same():
    layer = CentroidsMatrix(
        {"name": "DenseSigmoid"}, activation="softmax", pairs_per_block=7, name="centroids"
    )
    again = CentroidsMatrix.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.activation is keras.activations.softmax

# SPDX-License-Identifier: MIT
"""Classes with different numbers of examples: `counts` of `class_scores`, against loops over the examples."""

from __future__ import annotations

import keras
import numpy as np
import oracles_ragged
import pytest
import tensorflow as tf

import fslcore as fsl
from fslcore.arguments import ArgumentError

COUNTS = np.array([3, 1, 4, 2])
N_WAY, K_SHOT, WIDTH = 4, 4, 6


def encoder():
    return keras.Sequential([keras.Input((1, 1, WIDTH)), keras.layers.Flatten()])


LEARNERS = {
    "prototypical": (lambda: fsl.Prototypical(encoder()), oracles_ragged.prototypical),
    "matching": (
        lambda: fsl.learners.MatchingNetwork(encoder(), 5.0),
        lambda support, query: oracles_ragged.matching(support, query, 5.0),
    ),
    "siamese, mean": (
        lambda: fsl.Siamese(encoder(), "sqeuclidean"),
        lambda support, query: oracles_ragged.siamese(support, query, "mean"),
    ),
    "siamese, best": (
        lambda: fsl.Siamese(encoder(), "sqeuclidean", shots="best"),
        lambda support, query: oracles_ragged.siamese(support, query, "best"),
    ),
    "nearest pixels": (fsl.PixelNearestNeighbour, oracles_ragged.nearest),
}
ALL = pytest.mark.parametrize(("make", "oracle"), LEARNERS.values(), ids=LEARNERS)
OF_TENSORS = pytest.mark.parametrize("make", [v[0] for v in LEARNERS.values()][:-1], ids=list(LEARNERS)[:-1])


@pytest.fixture
def embedded():
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(N_WAY, K_SHOT, WIDTH)).astype(np.float32),
        generator.normal(size=(5, WIDTH)).astype(np.float32),
    )


@ALL
@pytest.mark.parametrize("behind", [0.0, 1e6, np.nan], ids=["zeros", "large", "NaN"])
def test_the_first_examples_count_and_nothing_behind_them(make, oracle, embedded, behind):
    support, query = embedded
    examples = [rows[:n].astype(np.float64) for rows, n in zip(support, COUNTS, strict=True)]
    filled = np.where(np.arange(K_SHOT)[:, None] < COUNTS[:, None, None], support, np.float32(behind))
    scores = np.asarray(make().class_scores(filled, query, counts=COUNTS))
    np.testing.assert_allclose(scores, oracle(examples, query.astype(np.float64)), rtol=2e-5, atol=2e-5)


@ALL
def test_full_classes_score_as_without_counts(make, oracle, embedded):
    learner = make()
    expected = np.asarray(learner.class_scores(*embedded))
    np.testing.assert_allclose(
        learner.class_scores(*embedded, np.full(N_WAY, K_SHOT)), expected, rtol=1e-6, atol=1e-6
    )


@OF_TENSORS
def test_a_ragged_tensor_and_a_graph_do_the_same(make, embedded):
    learner, (support, query) = make(), embedded
    expected = learner.class_scores(support, query, COUNTS)
    ragged = tf.RaggedTensor.from_tensor(support, lengths=COUNTS)
    np.testing.assert_array_equal(learner.class_scores(ragged, query), expected)
    graph = tf.function(lambda s, q, c: learner.class_scores(s, q, c))
    np.testing.assert_allclose(graph(support, query, tf.constant(COUNTS)), expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="counts must be from 1"):
        graph(support, query, tf.constant([1, 1, 0, 1]))


@OF_TENSORS
def test_no_gradient_reaches_what_stands_behind(make, embedded):
    learner, (support, query) = make(), embedded
    there = np.arange(K_SHOT) < COUNTS[:, None]
    support = tf.constant(np.where(there[..., None], support, np.nan).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(support)
        loss = tf.reduce_sum(learner.class_scores(support, query, COUNTS) ** 2)
    gradient = tape.gradient(loss, support).numpy()
    assert np.all(gradient[~there] == 0)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[there]).max() > 1e-3


@ALL
@pytest.mark.parametrize("counts", [[1, 2, 0, 1], [1, 2, 5, 1], [1, 2], [1.0, 2.0, 1.0, 1.0]], ids=str)
def test_counts_that_are_none(make, oracle, embedded, counts):
    with pytest.raises(ArgumentError, match="counts must be"):
        make().class_scores(*embedded, counts)


def test_a_ragged_support_has_its_own_counts(embedded):
    support = tf.RaggedTensor.from_tensor(embedded[0], lengths=COUNTS)
    with pytest.raises(ArgumentError, match="counts must be None for a ragged support"):
        fsl.Prototypical(encoder()).class_scores(support, embedded[1], COUNTS)

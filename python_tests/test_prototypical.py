# SPDX-License-Identifier: MIT
import keras
import numpy as np
import pytest
import tensorflow as tf
from stores import pixel_store
from tiny_encoders import SHAPE, identity_encoder, tiny_encoder

from fslcore import Prototypical
from fslcore.data import ImageStore


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(6, SHAPE)


def test_prototypical_scores_are_squared_distances_to_means():
    support = np.array([[[0, 0], [2, 0]], [[4, 4], [4, 8]]], np.float32)
    query = np.array([[1, 0], [4, 6], [1, 6]], np.float32)
    scores = Prototypical(identity_encoder()).class_scores(support, query)
    np.testing.assert_array_equal(scores, [[0, -45], [-45, 0], [-36, -9]])


def test_prototypical_training_step_is_the_papers(store):
    """Loss and gradient of one episode against the same in plain TensorFlow ops."""
    learner = Prototypical(tiny_encoder())
    support, query = next(iter(store.episodes(4, 2, 3, episodes=1)))
    weights = [tf.Variable(weight) for weight in learner.trainable_weights]
    with tf.GradientTape() as tape:

        def encode(x):
            return tf.reshape(x, (-1, 16)) @ weights[0] + weights[1]

        prototypes = tf.reduce_mean(tf.reshape(encode(support), (4, 2, 3)), axis=1)
        distances = tf.reduce_sum((encode(query)[:, None] - prototypes) ** 2, axis=-1)
        log_p = tf.nn.log_softmax(-distances)
        expected = -tf.reduce_mean(tf.gather(log_p, np.repeat(np.arange(4), 3), batch_dims=1))
    gradients = tape.gradient(expected, weights)
    learner.compile(keras.optimizers.SGD(1.0))
    logs = learner.train_on_batch(support, query, return_dict=True)
    # 1e-5: sums of 16 products and 12 terms of size 1 in float32, in another order.
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    for new, old, gradient in zip(learner.trainable_weights, weights, gradients, strict=True):
        np.testing.assert_allclose(new, old - gradient, atol=1e-5)


def test_prototypical_encodes_an_episode_in_one_call(store):
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            calls.append(x.shape)
            return x

    learner = Prototypical(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), Counting()]))
    calls.clear()
    learner(next(iter(store.episodes(3, 1, 2, episodes=1))))
    assert calls == [(9, 16)]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_prototypical_learns(store, jit_compile):
    keras.utils.set_random_seed(0)
    learner = Prototypical(tiny_encoder(8))
    learner.compile(keras.optimizers.Adam(0.03), jit_compile=jit_compile)
    history = learner.fit(
        store.episodes(5, 1, 2),
        epochs=2,
        steps_per_epoch=30,
        validation_data=store.episodes(5, 1, 2, seed=1, episodes=5),
        shuffle=False,
        verbose=0,
    ).history
    assert set(history) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert history["loss"][1] < history["loss"][0]
    assert history["val_accuracy"][1] > 0.9


def test_prototypical_takes_a_loss_and_metrics_of_ones_own(store):
    learner = Prototypical(tiny_encoder())
    learner.compile(
        "sgd",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
    )
    own = learner.evaluate(store.episodes(4, 1, 2, episodes=3), return_dict=True, verbose=0)
    learner.loss = None
    default = learner.evaluate(store.episodes(4, 1, 2, episodes=3), return_dict=True, verbose=0)
    assert set(own) == {"accuracy", "loss", "top2"}
    np.testing.assert_allclose(own["loss"], default["loss"], rtol=1e-6)  # one rounding of a mean of 8 terms


def test_regularisation_joins_the_loss(store):
    def loss_with(factor: float) -> float:
        l2 = keras.regularizers.L2(factor)
        dense = keras.layers.Dense(2, kernel_initializer="ones", kernel_regularizer=l2)
        encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense])
        learner = Prototypical(encoder)
        learner.compile("sgd")
        return learner.evaluate(store.episodes(3, 1, 1, episodes=1), verbose=0, return_dict=True)["loss"]

    # 32 weights of 1: the sum of their squares is 32. The loss is about 40, whose eps in float32 is 4e-6.
    assert loss_with(1.0) - loss_with(0.0) == pytest.approx(32, abs=2e-5)

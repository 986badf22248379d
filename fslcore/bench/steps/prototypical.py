# SPDX-License-Identifier: MIT
"""Steps of prototypical networks: the learner, and the same maths in plain TensorFlow and Keras."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from fslcore.bench.episodes import random_store
from fslcore.bench.steps.networks import cross_entropy, encoder, initial_weights
from fslcore.data.sampling import untuned
from fslcore.encoders import conv4
from fslcore.learners import Prototypical

Tensor = Any


def ours(
    n_way: int, k_shot: int, n_query: int, *, steps: int, jit: bool = False, precision: str = "float32"
) -> Callable[[], Any]:
    """`fit` for some steps on one episode that stays in memory."""
    learner = Prototypical(conv4(precision=precision))
    learner.compile(keras.optimizers.Adam(1e-3), jit_compile=jit)
    episode = untuned(tf.data.Dataset.from_tensors(_episode(n_way, k_shot, n_query)).repeat())
    return partial(learner.fit, episode, steps_per_epoch=steps, verbose=0)


def plain(n_way: int, k_shot: int, n_query: int, *, mode: str) -> Callable[[], Any]:
    """One step with TensorFlow's convolution and fused batch normalisation: "eager", "graph" or "xla"."""
    variables = [tf.Variable(array) for array in initial_weights()]
    return _step(partial(encoder, variables), variables, _episode(n_way, k_shot, n_query), mode)


def keras_layers(n_way: int, k_shot: int, n_query: int) -> Callable[[], Any]:
    """One step as a graph, with the layers of Keras, whose batch normalisation is not fused."""
    blocks = [
        layer
        for _ in range(4)
        for layer in (
            keras.layers.Conv2D(64, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        )
    ]
    model = keras.Sequential([keras.Input((28, 28, 1)), *blocks, keras.layers.Flatten()])
    episode = _episode(n_way, k_shot, n_query)
    return _step(partial(model, training=True), model.trainable_variables, episode, "graph")


def _episode(n_way: int, k_shot: int, n_query: int) -> tuple[Tensor, Tensor]:
    return next(iter(random_store(n_way).episodes(n_way, k_shot, n_query)))


def _step(
    embed: Callable[[Tensor], Tensor], variables: list[Any], episode: tuple[Tensor, Tensor], mode: str
) -> Callable[[], Any]:
    support, query = episode
    (n_way, k_shot), n_query = support.shape[:2], query.shape[1]
    images = tf.reshape(tf.concat([support, query], 1), [-1, *support.shape[2:]])
    labels = tf.repeat(tf.range(n_way), n_query)
    optimizer = keras.optimizers.Adam(1e-3)

    def step(images: Tensor) -> Tensor:
        with tf.GradientTape() as tape:
            embeddings = tf.reshape(embed(images), [n_way, k_shot + n_query, -1])
            prototypes = tf.reduce_mean(embeddings[:, :k_shot], 1)
            queries = tf.reshape(embeddings[:, k_shot:], [n_way * n_query, -1])
            distances = (
                tf.reduce_sum(queries**2, 1)[:, None]
                + tf.reduce_sum(prototypes**2, 1)
                - 2.0 * tf.matmul(queries, prototypes, transpose_b=True)
            )
            loss = cross_entropy(labels, -distances)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    if mode != "eager":
        optimizer.build(variables)
        step = tf.function(step, jit_compile=mode == "xla", autograph=False)
    return lambda: step(images).numpy()

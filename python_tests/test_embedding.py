# SPDX-License-Identifier: MIT
"""`embed` as a graph: the bits of the encoder called eagerly, bounded memory, and threads side by side."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract_embedding import store
from tiny_encoders import SHAPE, images, tiny_encoder
from tiny_networks import assert_same, values

from fslcore import MatchingNetwork, Prototypical, Siamese, encoders, evaluate
from fslcore.learners import inference

ENCODERS = {
    "conv4": (encoders.conv4, (28, 28, 1)),
    "BasicCNN": (lambda: encoders.BasicCNN((28, 28, 1)), (28, 28, 1)),
    "VinyalsNet": (lambda: encoders.VinyalsNet((28, 28, 1)), (28, 28, 1)),
    "KochNet": (lambda: encoders.KochNet((105, 105, 1)), (105, 105, 1)),
    "BatchNormalization": (lambda: tiny_encoder(batch_norm=True), SHAPE),
}


def pictures(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).random((count, *shape), np.float32)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_graph_gives_the_bits_of_the_encoder(name):
    make, shape = ENCODERS[name]
    keras.utils.set_random_seed(0)
    encoder = make()
    for variable in encoder.non_trainable_variables:
        variable.assign(0.5 + tf.random.stateless_uniform(variable.shape, (1, 2)))
    x = pictures(9, shape)
    learner = Prototypical(encoder)
    expected = np.reshape(encoder(x, training=False), (9, -1))
    np.testing.assert_array_equal(learner.embed(x), expected)
    np.testing.assert_array_equal(tf.function(learner.embed)(x), expected)


def test_batches_of_bounded_size(monkeypatch):
    assert inference.images_at_a_time((28, 28, 1)) == 1328
    assert inference.images_at_a_time((224, 224, 3)) == 16
    assert inference.images_at_a_time((5000, 5000, 3)) == 1
    learner = Prototypical(tiny_encoder(batch_norm=True))
    x = images(40)
    whole = learner.embed(x)
    monkeypatch.setattr(inference, "_PIXELS", 16 * SHAPE[0] * SHAPE[1])
    assert inference.images_at_a_time(SHAPE) == 16
    # A matrix product may round the rows of another batch in another way.
    np.testing.assert_allclose(learner.embed(x), whole, rtol=1e-5, atol=1e-6)
    assert learner.embed(x[:0]).shape == (0, 3)


def test_what_changes_in_the_encoder_is_seen():
    learner = Prototypical(tiny_encoder())
    x = images(3)
    learner.embed(x)
    learner.encoder.layers[-1].kernel.assign(0 * learner.encoder.layers[-1].kernel)
    np.testing.assert_array_equal(learner.embed(x), np.zeros((3, 3)))
    learner.encoder = tiny_encoder(5)
    assert learner.embed(x).shape == (3, 5)
    np.testing.assert_array_equal(learner.embed(x), learner.encoder(x))
    assert learner.embed(np.round(255 * x).astype(np.uint8)).shape == (3, 5)


def test_gradients_pass():
    learner = Prototypical(tiny_encoder())
    x = tf.constant(images(3))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        embedded, called = tf.reduce_sum(learner.embed(x) ** 2), tf.reduce_sum(learner.encoder(x) ** 2)
    assert_same([tape.gradient(embedded, x)], [tape.gradient(called, x)])
    weight = learner.trainable_weights[0].value
    assert_same([tape.gradient(embedded, weight)], [tape.gradient(called, weight)])


@pytest.mark.parametrize("kind", [Prototypical, MatchingNetwork, Siamese], ids=lambda kind: kind.__name__)
def test_threads_side_by_side_give_the_bits_of_sequential_calls(kind):
    def learner() -> keras.Model:
        keras.utils.set_random_seed(3)
        return kind(tiny_encoder(6, batch_norm=True))

    def work(model: keras.Model, number: int):
        kinds = number % 4
        if kinds == 3:
            report = evaluate(model, store(), 4, 1, 2, episodes=5, seed=number, transductive=number % 8 == 3)
            return report.episode_accuracies
        x = images(5 + number % 3, seed=number)
        if kinds == 0:
            return np.asarray(model.embed(x))
        if kinds == 1:
            return np.asarray(model.embed(x, training=True))
        embedded = np.asarray(model.embed(x))
        return np.asarray(model.class_scores(embedded[:4].reshape(2, 2, -1), embedded[4:]))

    expected_of = learner()
    expected = [work(expected_of, number) for number in range(32)]
    for _ in range(2):  # the first calls of two learners
        model = learner()
        before = [value.copy() for value in values(model)]
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(partial(work, model), range(32)))
        assert_same(got, expected)
        assert_same(values(model), before)


LARGE = """
    import resource, keras, numpy as np, tensorflow as tf, fslcore as fsl
    layers = [keras.Input((224, 224, 3))]
    for width in (64, 8, 8):
        layers += [keras.layers.Conv2D(width, 3, padding="same"), keras.layers.BatchNormalization()]
        layers += [keras.layers.ReLU(), keras.layers.MaxPooling2D()]
    layers += [keras.layers.GlobalAveragePooling2D()]
    learner = fsl.Prototypical(keras.Sequential(layers))
    pixels = np.zeros(({images}, 224, 224, 3), np.uint8)
    pixels += np.arange({images}, dtype=np.uint8)[:, None, None, None]
    store = fsl.ImageStore.from_arrays(pixels, np.arange({images}) // 4)
    tf.zeros(1) + 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fsl.evaluate(learner, store, 2, 1, 1, episodes=2)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


def test_measuring_large_images_takes_bounded_memory():
    """An eager call on all of these images would keep 4 GB of activations."""
    code = textwrap.dedent(LARGE).format(images=96)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 2

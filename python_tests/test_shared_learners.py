# SPDX-License-Identifier: MIT
"""One learner in many threads, and the classifiers that it makes."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tiny_metagan
from inputs import normal
from tiny_networks import N_WAY, assert_same, normalised_network, values

from fslcore import MAML, Reptile
from fslcore.encoders import conv4_classifier
from fslcore.layers import FusedBatchNormalization
from fslcore.learners import InnerAdam, InnerSGD
from fslcore.learners.normalization import averages_of_one_batch


def nested_network() -> keras.Model:
    """Batch normalisation in a branch of a model in a model, and in a layer of layers."""

    @keras.saving.register_keras_serializable(package="nested")
    class Residual(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.convolution = keras.layers.Conv2D(2, 3, padding="same")
            self.normalizations = [keras.layers.BatchNormalization(momentum=0.7)]

        def build(self, shape):
            self.convolution.build(shape)
            self.normalizations[0].build((*shape[:3], 2))

        def call(self, x, training=False):
            return x + self.normalizations[0](self.convolution(x), training=training)

    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 4, 1))
    inner = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, padding="same"), Residual()])
    x = keras.layers.Add()([inner(inputs), keras.layers.Conv2D(2, 1)(inputs)])
    x = keras.layers.Flatten()(keras.layers.BatchNormalization(momentum=0.8)(x))
    return keras.Model(inputs, keras.layers.Dense(N_WAY)(x))


LEARNERS = {
    "one op": lambda: Reptile(
        conv4_classifier(N_WAY, (16, 16, 1)), InnerSGD(0.05), inner_steps=3, inner_batch=3, adapt_batch=2
    ),
    "graph": lambda: MAML(normalised_network(), InnerAdam(0.01), adapt_steps=3, adapt_batch=2),
    "nested": lambda: MAML(nested_network(), InnerSGD(0.05), adapt_steps=2),
    "metagan": tiny_metagan.learner,
}
every_learner = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)


def momenta(model: keras.Model) -> list[float]:
    return [layer.momentum for layer in model._flatten_layers() if hasattr(layer, "momentum")]


def tasks(model: keras.Model) -> list[tuple[np.ndarray, np.ndarray]]:
    shape = model.network.input_shape[1:]
    return [(normal(i, N_WAY, 1 + i % 2, *shape), normal(9 + i, N_WAY, 2, *shape)) for i in range(4)]


def used(model: keras.Model, task: tuple[np.ndarray, np.ndarray], way: int) -> np.ndarray:
    """What a learner says of a task in one of four ways."""
    support, query = task
    images = query.reshape(-1, *query.shape[2:])
    if way == 0:
        return model.score_episodes(support[None], query[None], seed=1).numpy()
    if way == 1:
        return model.adapt(support, seed=2)(images).numpy()
    if way == 2:
        return model.adapt(support, seed=2).predict(images, verbose=0)
    return model.score_episodes(support[None], query[None], transductive=True).numpy()


@every_learner
def test_threads_get_what_one_after_the_other_gets(make):
    model, alone = make(), make()
    alone.set_weights(model.get_weights())
    calls = [(task, way) for task in tasks(model) for way in range(4)]
    before, momenta_before = values(model), momenta(model)
    assert momenta_before
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda call: used(model, *call), calls))
    assert_same(values(model), before)
    assert momenta(model) == momenta_before
    for (task, way), result in zip(calls, found, strict=True):
        if len(task[0][0]) == 1:  # tasks of the other size would be traced again
            np.testing.assert_allclose(result, used(alone, task, way), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result, used(model, task, way), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [normalised_network, nested_network])
def test_the_averages_of_one_batch_are_its_statistics(make):
    network = make()
    images = normal(3, 6, 4, 4, 1)
    weights, state = network.trainable_variables, network.non_trainable_variables
    before, nodes = values(network), [len(layer._inbound_nodes) for layer in network._flatten_layers()]
    found = averages_of_one_batch(network, weights, state, images)
    assert_same(values(network), before)
    assert nodes == [len(layer._inbound_nodes) for layer in network._flatten_layers()]
    # The same, from layers that are changed.
    for layer in network._flatten_layers():
        if hasattr(layer, "moving_mean"):
            assert layer.momentum > 0
            layer.momentum = 0.0
    _, expected = network.stateless_call(weights, state, images, training=True)
    assert_same(found, expected)
    assert len(found) == 2 * sum(hasattr(layer, "moving_mean") for layer in network._flatten_layers())


def test_classifiers_share_one_trace_per_shape_and_leave_no_memory():
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), FusedBatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(N_WAY)]
    )
    model = MAML(network, InnerSGD(0.05), adapt_steps=1)
    images, left = normal(1, 6, 4, 4, 1), []
    for i in range(12):
        classifier = model.adapt(normal(i, N_WAY, 1, 4, 4, 1))
        np.testing.assert_allclose(
            classifier.predict(images, verbose=0), classifier(images), rtol=1e-5, atol=1e-6
        )
        left.append(weakref.ref(classifier))
    functions = model._traces.functions()
    assert functions.predict.experimental_get_tracing_count() == 1
    assert functions.adapt.experimental_get_tracing_count() == 1
    del classifier
    gc.collect()
    assert not any(reference() for reference in left)


def test_a_classifier_can_be_saved_trained_and_evaluated(tmp_path):
    model = MAML(normalised_network(), InnerSGD(0.05), adapt_steps=1)
    images, labels = normal(1, 6, 4, 4, 1), np.arange(6) % N_WAY
    classifier = model.adapt(normal(0, N_WAY, 1, 4, 4, 1))
    expected = classifier.predict(images, batch_size=4, verbose=0)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.models.load_model(tmp_path / "classifier.keras")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile("sgd", loss=loss, metrics=["accuracy"])
    assert classifier.evaluate(images, labels, verbose=0)[0] == pytest.approx(float(loss(labels, expected)))
    classifier.fit(images, labels, verbose=0)
    assert np.any(classifier.predict(images, verbose=0) != expected)

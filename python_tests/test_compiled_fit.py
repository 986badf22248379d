# SPDX-License-Identifier: MIT
"""The inner loop as one op gives the results of the loop in the graph, and is taken only where it does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from inputs import normal

from fslcore.layers import ConvBlock
from fslcore.learners import MAML, InnerAdam, InnerSGD, Reptile, adaptation
from fslcore.learners.adaptive import AdaptiveLearner
from fslcore.learners.inner import compiled, compiled_loop

N_WAY, STEPS, BATCH = 3, 4, 6


def network(*others, **options):
    keras.utils.set_random_seed(3)
    layers = others or (keras.layers.Flatten(), keras.layers.Dense(N_WAY))
    return keras.Sequential([keras.Input((9, 8, 1)), ConvBlock(16, **options), ConvBlock(8, 1, 2), *layers])


def learner(kind=Reptile, optimizer=None, normalization="batch"):
    sizes = {"inner_steps": STEPS, "meta_batch": 3, "adapt_steps": 2}
    if kind is Reptile:
        sizes |= {"inner_batch": BATCH, "adapt_batch": 5}
    made = kind(network(), optimizer or InnerSGD(0.05), normalization=normalization, **sizes)
    made.compile(keras.optimizers.SGD(0.5))
    return made


def tasks(count=3):
    labels = np.random.default_rng(1).integers(0, N_WAY, (count, STEPS, BATCH), np.int32)
    return normal(5, count, STEPS, BATCH, 9, 8, 1) + labels[..., None, None, None], labels


OPTIMIZERS = [InnerSGD(0.05), InnerAdam(0.01)]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
@pytest.mark.parametrize("normalization", ["batch", "moving"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adam"])
def test_training(monkeypatch, optimizer, normalization, jit_compile):
    def trained():
        made = learner(optimizer=optimizer, normalization=normalization)
        made.compile(keras.optimizers.SGD(0.5), jit_compile=jit_compile)
        data = tf.data.Dataset.from_tensors(tasks()).repeat()
        history = made.fit(data, steps_per_epoch=3, shuffle=False, verbose=0).history
        variables = [*made.network.variables, *made.memory]
        return [variable.numpy() for variable in variables], history

    got, history = trained()
    monkeypatch.setattr(AdaptiveLearner, "compiled_loop", lambda self: None)
    want, wanted_history = trained()
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=0, atol=1e-3 * max(1e-3, np.abs(wanted).max()))
    assert history.keys() == wanted_history.keys() == {"loss", "accuracy"}
    np.testing.assert_allclose(history["loss"], wanted_history["loss"], rtol=1e-3)
    np.testing.assert_allclose(history["accuracy"], wanted_history["accuracy"], rtol=1e-6)


@pytest.mark.parametrize("kind", [Reptile, MAML])
@pytest.mark.parametrize("normalization", ["batch", "moving"])
def test_scores(monkeypatch, kind, normalization):
    made = learner(kind, normalization=normalization)
    support, query = normal(1, 4, N_WAY, 2, 9, 8, 1), normal(2, 4, N_WAY, 5, 9, 8, 1)
    got = made.score_episodes(support, query)
    flat = query[0].reshape(-1, 9, 8, 1)
    adapted = made.adapt(support[0], seed=0)(flat)
    monkeypatch.setattr(AdaptiveLearner, "compiled_loop", lambda self: None)
    again = learner(kind, normalization=normalization)
    np.testing.assert_allclose(got, again.score_episodes(support, query), rtol=1e-3, atol=1e-3)
    # Of a single episode, and as a classifier.
    classifier = again.adapt(support[0], seed=0)
    np.testing.assert_allclose(classifier(flat), got[0], rtol=1e-3, atol=1e-3, err_msg="adapt")
    np.testing.assert_allclose(adapted, got[0], rtol=1e-3, atol=1e-3, err_msg="adapt by one op")


@pytest.mark.parametrize("kind", [Reptile, MAML])
def test_scores_by_an_op_for_each_episode(monkeypatch, kind):
    support, query = normal(1, 4, N_WAY, 2, 9, 8, 1), normal(2, 4, N_WAY, 5, 9, 8, 1)
    want = learner(kind).score_episodes(support, query)
    monkeypatch.setattr(adaptation, "one_thread_per_op", lambda: True)
    np.testing.assert_array_equal(learner(kind).score_episodes(support, query), want)


def test_the_op_is_taken(monkeypatch):
    taken = []

    def watching(*arguments, **options):
        taken.append(True)
        return fit_classifiers(*arguments, **options)

    fit_classifiers = compiled.fit_classifiers
    monkeypatch.setattr(compiled, "fit_classifiers", watching)
    made = learner()
    made.train_step(tasks())
    made.score_episodes(normal(1, 2, N_WAY, 2, 9, 8, 1), normal(2, 2, N_WAY, 5, 9, 8, 1))
    made.adapt(normal(1, N_WAY, 2, 9, 8, 1))
    assert len(taken) == 3


def test_momentum_is_read_when_a_step_is_traced():
    made = learner(normalization="moving")
    for layer in made.network.layers[:2]:
        layer.momentum = 1.0
    before = [variable.numpy() for variable in made.network.non_trainable_variables]
    made.train_step(tasks())
    for variable, value in zip(made.network.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


class Unknown(InnerSGD):
    """An optimizer that the op does not know."""


OTHERS = {
    "no blocks": keras.Sequential(
        [keras.Input((9, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(N_WAY)]
    ),
    "a softmax": network(keras.layers.Flatten(), keras.layers.Dense(N_WAY, activation="softmax")),
    "no bias": network(keras.layers.Flatten(), keras.layers.Dense(N_WAY, use_bias=False)),
    "dropout": network(keras.layers.Dropout(0.5), keras.layers.Flatten(), keras.layers.Dense(N_WAY)),
    "two linear layers": network(
        keras.layers.Flatten(), keras.layers.Dense(N_WAY), keras.layers.Dense(N_WAY)
    ),
    "pooling": network(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(N_WAY)),
    "half precision": network(dtype="mixed_float16"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_networks_are_left_to_tensorflow(other):
    assert compiled_loop(OTHERS[other], InnerSGD(0.1), "batch") is None


def test_other_policies_and_machines_are_left_to_tensorflow(monkeypatch):
    assert compiled_loop(network(), InnerSGD(0.1), "batch") is not None
    assert compiled_loop(network(), Unknown(0.1), "batch") is None
    assert compiled_loop(network(), InnerSGD(0.1), "frozen") is None
    frozen = network()
    frozen.layers[0].trainable = False
    assert compiled_loop(frozen, InnerSGD(0.1), "batch") is None
    monkeypatch.setattr(compiled, "has_conv_block", lambda: False)
    assert compiled_loop(network(), InnerSGD(0.1), "batch") is None

# SPDX-License-Identifier: MIT
"""Reptile: its training step against loops in NumPy, its presets, and what it refuses."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from stores import pixel_store
from tiny_networks import N_WAY, SHAPE, assert_same, dense_network, normalised_network, values
from tiny_networks import compiled as compiled_at

from fslcore import Reptile, evaluate
from fslcore.data import ImageStore
from fslcore.learners import REPTILE_PRESETS, InnerAdam, InnerSGD

compiled = partial(compiled_at, rate=0.5)
SIZES = {"inner_steps": 2, "inner_batch": 4, "meta_batch": 3}


def learner(
    network: keras.Model | None = None, optimizer: InnerSGD | InnerAdam | None = None, **options
) -> Reptile:
    return Reptile(network or dense_network(), optimizer or InnerSGD(0.1), **(SIZES | options))


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(8, SHAPE)


@pytest.fixture(scope="module")
def batch(store):
    images, labels = next(iter(learner().tasks(store, 4)))
    return images.numpy(), labels.numpy()


def gradients(weights, images, labels):
    """Of the mean cross-entropy of softmax(flat images @ w + b), in float64."""
    w, b = weights
    x = images.reshape(len(images), -1).astype(np.float64)
    logits = x @ w + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return [x.T @ p / len(x), p.mean(0)]


def adam(weights, grads, memory, rate, beta=0.999, epsilon=1e-8):
    *squares, power = memory
    power = power * beta
    squares = [beta * s + (1 - beta) * g * g for s, g in zip(squares, grads, strict=True)]
    rate = rate * np.sqrt(1 - power)
    new = [w - rate * g / (np.sqrt(s) + epsilon) for w, g, s in zip(weights, grads, squares, strict=True)]
    return new, [*squares, power]


# ---- the training step


def test_a_step_moves_towards_the_mean_of_the_weights_reached(batch):
    model = compiled(learner())
    start = [v.astype(np.float64) for v in values(model.network)]
    images, labels = batch
    reached = []
    for task_images, task_labels in zip(images, labels, strict=True):
        weights = start
        for x, y in zip(task_images, task_labels, strict=True):
            weights = [w - 0.1 * g for w, g in zip(weights, gradients(weights, x, y), strict=True)]
        reached.append(weights)
    model.train_on_batch(images, labels)
    for i, weight in enumerate(values(model.network)):
        expected = start[i] + 0.5 * np.mean([r[i] - start[i] for r in reached], axis=0)
        # 1e-6: a dozen float32 roundings of values below 1.
        np.testing.assert_allclose(weight, expected, atol=1e-6)


@pytest.mark.parametrize("sequential", [False, True], ids=["parallel", "sequential"])
def test_adams_memory_goes_from_task_to_task(batch, sequential):
    model = compiled(learner(optimizer=InnerAdam(0.01), sequential=sequential))
    start = [v.astype(np.float64) for v in values(model.network)]
    memory = [np.zeros_like(w) for w in start] + [1.0]
    images, labels = batch
    reached, left = [], []
    for task_images, task_labels in zip(images, labels, strict=True):
        weights, state = start, left[-1] if sequential and left else memory
        for x, y in zip(task_images, task_labels, strict=True):
            weights, state = adam(weights, gradients(weights, x, y), state, 0.01)
        reached.append(weights)
        left.append(state)
    model.train_on_batch(images, labels)
    for i, weight in enumerate(values(model.network)):
        expected = start[i] + 0.5 * np.mean([r[i] - start[i] for r in reached], axis=0)
        # Adam's first steps are of size rate * sign(gradient): 1e-4 of 0.01, where a gradient is close to 0.
        np.testing.assert_allclose(weight, expected, atol=1e-6)
    for i, value in enumerate(model.memory):
        expected = left[-1][i] if sequential else np.mean([state[i] for state in left], axis=0)
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_plain_descent_has_no_memory_to_pass_on(batch):
    one, other = compiled(learner()), compiled(learner(sequential=True))
    assert one.memory == []
    for model in (one, other):
        model.train_on_batch(*batch)
    assert_same(values(one), values(other))


@pytest.mark.parametrize("make", [dense_network, normalised_network], ids=["dense", "normalised"])
def test_graph_xla_and_eager_agree(batch, make):
    results = []
    for options in (
        {"jit_compile": False},
        {"jit_compile": True},
        {"run_eagerly": True, "jit_compile": False},
    ):
        model = compiled(learner(make(), InnerAdam(0.01)), **options)
        assert model.jit_compile is options["jit_compile"]
        logs = model.train_on_batch(*batch, return_dict=True)
        results.append((logs["loss"], values(model.network)))
    for loss, weights in results[1:]:
        np.testing.assert_allclose(loss, results[0][0], rtol=1e-5)
        for a, b in zip(weights, results[0][1], strict=True):
            # Two steps of Adam move a weight by at most 0.02; a gradient near 0 may change sign in rounding.
            np.testing.assert_allclose(a, b, atol=2e-4)


def test_steps_per_execution_changes_nothing(store):
    results = []
    for steps in (1, 4):
        model = compiled(learner(normalised_network(), InnerAdam(0.01)), steps_per_execution=steps)
        model.fit(model.tasks(store, 4), steps_per_epoch=8, shuffle=False, verbose=0)
        results.append(values(model))
    assert_same(*results)


def test_it_learns_to_learn(store):
    model = compiled(learner(optimizer=InnerSGD(0.5), adapt_steps=20), rate=1.0)
    history = model.fit(model.tasks(store, 4), epochs=3, steps_per_epoch=40, shuffle=False, verbose=0).history
    assert set(history) == {"accuracy", "loss"}
    assert history["loss"][-1] < history["loss"][0]
    assert evaluate(model, store, N_WAY, 1, 2, 30).accuracy > 0.9


@pytest.mark.parametrize("normalization", ["batch", "moving", "frozen"])
def test_moving_averages_move_only_if_they_are_learnt(batch, normalization):
    model = compiled(learner(normalised_network(), normalization=normalization))
    # Values that are not the mean of three of themselves, as there are tasks, in float32.
    values = np.random.default_rng(0).uniform(0.5, 1.5, 100).astype(np.float32)
    values = values[(values + values + values) / np.float32(3) != values][:4]
    for variable in model.network.non_trainable_variables:
        variable.assign(values)
    before = [np.asarray(v) for v in model.network.non_trainable_variables]
    model.train_on_batch(*batch)
    after = [np.asarray(v) for v in model.network.non_trainable_variables]
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert moved == [normalization == "moving"] * 2


def test_frozen_normalisation_is_the_networks_inference_mode(batch):
    model = compiled(learner(normalised_network(), normalization="frozen"))
    images, labels = batch
    logits = model.network(images[0, 0], training=False)
    expected = keras.ops.mean(
        keras.losses.sparse_categorical_crossentropy(labels[0, 0], logits, from_logits=True)
    )
    weights, state = model.meta_weights()
    loss, *_ = model.inner_loss(weights, state, images[0, 0], labels[0, 0], None)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


# ---- presets, saving, bad input


@pytest.mark.parametrize("name", REPTILE_PRESETS)
def test_presets_have_the_published_sizes(name):
    preset, model = REPTILE_PRESETS[name], Reptile.from_preset(name)
    assert model.n_way == preset.n_way
    assert name in ("keras-example", f"{preset.n_way}w{preset.k_shot}s")
    if name != "keras-example":
        # One pass over the images of a training task.
        assert model.inner_steps * model.inner_batch == preset.n_way * preset.train_shots
        assert (model.adapt_steps, model.meta_batch, preset.meta_step) == (50, 5, 1.0)


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match=r"preset must be one of 5w1s, .*, received preset='10w1s'"):
        Reptile.from_preset("10w1s")


def episode(store, k_shot=2, n_query=3):
    support, query = next(iter(store.episodes(N_WAY, k_shot, n_query, seed=5, episodes=1)))
    return support.numpy(), query.numpy()


def test_it_survives_saving(store, tmp_path):
    model = compiled(
        learner(normalised_network(), InnerAdam(0.01, epsilon=1e-7), adapt_batch=3, sequential=True)
    )
    model.fit(model.tasks(store, 4), steps_per_epoch=3, verbose=0, shuffle=False)
    model.save(tmp_path / "reptile.keras")
    loaded = keras.models.load_model(tmp_path / "reptile.keras")
    assert loaded.inner_optimizer == model.inner_optimizer
    assert (loaded.adapt_batch, loaded.sequential, loaded.normalization) == (3, True, "batch")
    support, query = episode(store)
    np.testing.assert_array_equal(
        loaded.score_episodes(support[None], query[None]), model.score_episodes(support[None], query[None])
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_steps": 0}, "inner_steps must be at least 1, received inner_steps=0"),
        ({"inner_batch": -1}, "inner_batch must be at least 1"),
        ({"meta_batch": 0}, "meta_batch must be at least 1"),
        ({"adapt_steps": 0}, "adapt_steps must be at least 1"),
        ({"adapt_batch": 0}, "adapt_batch must be at least 1"),
        ({"network": abs}, "network must be a built Keras model, received"),
        ({"network": keras.Sequential([keras.layers.Dense(3)])}, "network must be a built Keras model"),
        (
            {"network": keras.Sequential([keras.Input((None, None, 1)), keras.layers.GlobalMaxPooling2D()])},
            "network must map images of a known shape",
        ),
        (
            {"network": keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(3, 3)])},
            r"network must map images .* to logits \[B, n_way\], but maps .* received",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        learner(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InnerSGD(0.0), "learning_rate must be above 0, received learning_rate=0.0"),
        (lambda: InnerAdam(-1.0), "learning_rate must be above 0"),
        (lambda: InnerAdam(0.1, beta_2=1.0), r"beta_2 must be in \[0, 1\), received beta_2=1.0"),
        (lambda: InnerAdam(0.1, epsilon=0), "epsilon must be above 0"),
    ],
    ids=["sgd rate", "adam rate", "beta_2", "epsilon"],
)
def test_inner_optimizers_check_their_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_images_that_do_not_fit_the_network_are_refused(store):
    model = learner()
    with pytest.raises(ValueError, match=r"support must be images \[3, images per class, 4, 4, 1\]"):
        model.adapt(np.zeros((4, 1, *SHAPE), np.float32))
    with pytest.raises(ValueError, match="query must be images"):
        model.score_episodes(np.zeros((1, 3, 1, *SHAPE)), np.zeros((1, 3, 1, 5, 4, 1)))
    wide = ImageStore.from_arrays(np.zeros((6, 5, 5, 1), np.uint8), [0, 0, 1, 1, 2, 2])
    with pytest.raises(
        ValueError, match=r"store must hold images \[4, 4, 1\] for this network, received store=\[5, 5"
    ):
        model.tasks(wide, 2)
    with pytest.raises(ValueError, match="n_way must be at most 10"):
        learner(dense_network(11)).tasks(store, 2)
    with pytest.raises(ValueError, match="k_shot must be at most the number of images"):
        model.tasks(store, 9)


def test_batches_of_unknown_sizes_are_refused():
    model = compiled(learner())
    spec = (tf.TensorSpec((None, None, None, *SHAPE)), tf.TensorSpec((None, None, None), tf.int32))
    unknown = tf.data.Dataset.from_generator(
        lambda: iter([(np.zeros((1, 1, 2, *SHAPE)), np.zeros((1, 1, 2)))]), output_signature=spec
    )
    with pytest.raises(ValueError, match=r"labels must be \[tasks, steps, batch\] of known sizes"):
        model.fit(unknown, shuffle=False, verbose=0)

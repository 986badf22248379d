# SPDX-License-Identifier: MIT
"""MAML and FOMAML against loops in plain TensorFlow, and what the learner does with tasks around its step."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from stores import pixel_store
from tiny_networks import N_WAY, SHAPE, assert_same, compiled, flat, values
from tiny_networks import smooth_network as network

from fslcore import MAML, evaluate
from fslcore.data import ImageStore
from fslcore.encoders import conv4_classifier
from fslcore.layers import FusedBatchNormalization
from fslcore.learners import InnerAdam, InnerSGD
from fslcore.learners.networks import random_variables

K_SHOT, N_QUERY = 2, 2
RATE = 0.1
OPTIONS = {"adapt_steps": 2, "meta_batch": 3}


def learner(net: keras.Model | None = None, optimizer: InnerSGD | InnerAdam | None = None, **options) -> MAML:
    return MAML(net or network(), optimizer or InnerSGD(RATE), **(OPTIONS | options))


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(8, SHAPE)


@pytest.fixture(scope="module")
def batch(store):
    return tuple(part.numpy() for part in next(iter(learner().tasks(store, K_SHOT, N_QUERY))))


def cross_entropy(weights, images, labels, normalised):
    """Of the network above on its own statistics, in plain TensorFlow, with the largest logits' classes."""
    x = tf.nn.conv2d(images, weights[0], 1, "VALID")
    if normalised:
        # Not tf.nn.moments, which holds the mean fixed in the variance: its second derivative is another.
        mean = tf.reduce_mean(x, (0, 1, 2))
        variance = tf.reduce_mean((x - mean) ** 2, (0, 1, 2))
        x = (x - mean) / tf.sqrt(variance + 1e-3) * weights[1] + weights[2]
    x = tf.tanh(x)
    logits = tf.reshape(x, (len(images), -1)) @ weights[-2] + weights[-1]
    picked = tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=1)
    return -tf.reduce_mean(picked), tf.argmax(logits, -1)


def by_hand(start, batch, second_order, normalised=False, steps=2):
    """Mean gradient of the queries' loss, their mean loss and accuracy, task by task."""
    gradients, losses, right = [], [], []
    for support, query in zip(*batch, strict=True):
        meta = [tf.constant(w) for w in start]
        with tf.GradientTape() as outer:
            outer.watch(meta)
            weights = meta
            for _ in range(steps):
                with tf.GradientTape() as inner:
                    inner.watch(weights)
                    loss, _ = cross_entropy(weights, *flat(support), normalised)
                steps_taken = inner.gradient(loss, weights)
                weights = [w - RATE * g for w, g in zip(weights, steps_taken, strict=True)]
            outer.watch(weights)
            loss, found = cross_entropy(weights, *flat(query), normalised)
        gradients.append(outer.gradient(loss, meta if second_order else weights))
        losses.append(loss)
        right.append(np.mean(found == flat(query)[1]))
    return [np.mean(g, axis=0) for g in zip(*gradients, strict=True)], np.mean(losses), np.mean(right)


# Two inner steps and the query pass: some hundred float32 roundings of values of size 1 follow one another,
# each 6e-8, and batch normalisation divides by deviations of about 0.1.
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.mark.parametrize("normalised", [False, True], ids=["plain", "normalised"])
@pytest.mark.parametrize("second_order", [False, True], ids=["first order", "second order"])
@pytest.mark.parametrize("options", [{"jit_compile": False}, {"jit_compile": True}], ids=["graph", "xla"])
def test_a_step_is_the_papers(batch, second_order, normalised, options):
    model = compiled(learner(network(normalised=normalised), second_order=second_order), **options)
    start = [np.asarray(w) for w in model.network.trainable_variables]
    expected, loss, right = by_hand(start, batch, second_order, normalised)
    logs = model.train_on_batch(*batch, return_dict=True)
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)
    assert logs["accuracy"] == pytest.approx(right)
    for weight, before, gradient in zip(model.network.trainable_variables, start, expected, strict=True):
        np.testing.assert_allclose(before - np.asarray(weight), gradient, **TOLERANCE)


def test_the_orders_differ(batch):
    start = [np.asarray(w) for w in network().trainable_variables]
    first, second = (by_hand(start, batch, second_order)[0] for second_order in (False, True))
    assert max(np.abs(a - b).max() for a, b in zip(first, second, strict=True)) > 100 * TOLERANCE["atol"]


def test_a_meta_batch_is_the_mean_of_its_tasks(batch):
    def moved(tasks):
        model = compiled(learner(network(normalised=True)))
        before = values(model.network)
        model.train_on_batch(*(part[tasks] for part in batch))
        return [a - b for a, b in zip(values(model.network), before, strict=True)]

    both, first, second = moved(slice(0, 2)), moved(slice(0, 1)), moved(slice(1, 2))
    for a, b, c in zip(both, first, second, strict=True):
        # One rounding of the sum, and two of the weights, which are below 1.
        np.testing.assert_allclose(a, (b + c) / 2, atol=3 * 2.0**-24)


def test_mini_batches_of_the_support_are_drawn_from_the_seed(batch):
    def after(**options):
        model = compiled(learner(**({"adapt_batch": 2} | options)))
        model.train_on_batch(*batch)
        return values(model.network)[0]

    one, same, other, whole = after(seed=4), after(seed=4), after(seed=5), after(adapt_batch=None)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, whole)


@pytest.mark.parametrize("normalization", ["batch", "moving", "frozen"])
def test_moving_averages_move_only_if_they_are_learnt(batch, normalization):
    model = compiled(learner(network(normalised=True), normalization=normalization))
    before = [np.asarray(v) for v in model.network.non_trainable_variables]
    model.train_on_batch(*batch)
    after = [np.asarray(v) for v in model.network.non_trainable_variables]
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert moved == [normalization == "moving"] * 2


def test_learnt_averages_move_as_those_of_the_mean_task(batch):
    model = compiled(learner(network(normalised=True), InnerSGD(1e-9), normalization="moving"))
    expected = []
    for support, query in zip(*batch, strict=True):
        mean = np.zeros(4)
        for images in (support, support, query):  # two inner steps and the queries
            maps = model.network.layers[0](flat(images)[0]).numpy()
            mean = 0.99 * mean + 0.01 * maps.mean((0, 1, 2))
        expected.append(mean)
    model.train_on_batch(*batch)
    np.testing.assert_allclose(model.network.layers[1].moving_mean, np.mean(expected, axis=0), rtol=1e-5)


def test_random_layers_go_on_from_step_to_step(batch):
    model = compiled(learner(network(dropout=0.5)))
    (seed,) = random_variables(model.network)
    seen = [seed.numpy().tolist()]
    for _ in range(2):
        model.train_on_batch(*batch)
        seen.append(seed.numpy().tolist())
    assert len({tuple(state) for state in seen}) == 3
    assert all(np.isfinite(v).all() for v in values(model.network))


def test_it_learns_to_learn(store):
    model = learner(optimizer=InnerSGD(0.5), adapt_steps=3)
    model.compile(keras.optimizers.Adam(0.02))
    tasks = model.tasks(store, 1, 3)
    history = model.fit(tasks, epochs=2, steps_per_epoch=40, shuffle=False, verbose=0).history
    assert set(history) == {"accuracy", "loss"}
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert evaluate(model, store, N_WAY, 1, 3, 30).accuracy > 0.9


def test_measuring_and_adapting_change_nothing(store):
    model = learner(network(normalised=True, dropout=0.5))
    before = values(model)
    assert evaluate(model, store, N_WAY, K_SHOT, 3, 10, seed=1) == evaluate(
        model, store, N_WAY, K_SHOT, 3, 10, seed=1
    )
    model.adapt(np.zeros((N_WAY, 1, *SHAPE), np.float32))
    assert_same(values(model), before)


def test_episodes_of_any_size_are_scored(store):
    model = learner()
    for k_shot, n_query in ((1, 1), (2, 3), (3, 2)):
        support, query = next(iter(store.episodes(N_WAY, k_shot, n_query, tasks=2)))
        assert model.score_episodes(support, query).shape == (2, N_WAY * n_query, N_WAY)


def test_it_goes_on_where_it_stopped(store):
    def trained(*stages):
        model = learner(network(normalised=True), adapt_batch=2)
        model.compile(keras.optimizers.Adam(0.01))
        for first, steps in stages:
            tasks = model.tasks(store, K_SHOT, N_QUERY, first=first, rotations=True)
            model.fit(tasks, steps_per_epoch=steps, shuffle=False, verbose=0)
        assert model.optimizers == [model.optimizer]
        return values(model)

    assert_same(trained((0, 4)), trained((0, 1), (1, 3)))


def test_it_survives_saving(store, tmp_path):
    model = compiled(learner(network(normalised=True), adapt_batch=3, second_order=True, seed=8))
    model.fit(model.tasks(store, K_SHOT, N_QUERY), steps_per_epoch=2, verbose=0, shuffle=False)
    model.save(tmp_path / "maml.keras")
    loaded = keras.models.load_model(tmp_path / "maml.keras")
    for name in ("adapt_batch", "second_order", "seed", "meta_batch", "adapt_steps", "normalization"):
        assert getattr(loaded, name) == getattr(model, name)
    support, query = next(iter(store.episodes(N_WAY, K_SHOT, 2, tasks=2)))
    np.testing.assert_array_equal(loaded.score_episodes(support, query), model.score_episodes(support, query))
    fresh = MAML.from_config(model.get_config())
    fresh.set_weights(model.get_weights())
    np.testing.assert_array_equal(fresh.score_episodes(support, query), model.score_episodes(support, query))


# ---- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"meta_batch": 0}, "meta_batch must be at least 1, received meta_batch=0"),
        ({"adapt_steps": 0}, "adapt_steps must be at least 1"),
        ({"seed": -1}, "seed must be at least 0, received seed=-1"),
        (
            {"second_order": True, "optimizer": InnerAdam(0.1)},
            r"inner_optimizer must be learners.InnerSGD for second_order=True, received .*=InnerAdam\(",
        ),
        *(
            (
                {"second_order": True, "net": network(layer=layer)},
                f"second_order must be False .* {layer.name!r}",
            )
            for layer in (
                keras.layers.BatchNormalization(name="plain"),
                FusedBatchNormalization(scale=False, name="fallback"),
                keras.layers.LayerNormalization(name="layerwise"),
                keras.layers.GroupNormalization(2, name="groupwise"),
            )
        ),
        ({"net": keras.Sequential([keras.layers.Dense(3)])}, "network must be a built Keras model"),
    ],
    ids=[
        "meta_batch",
        "adapt_steps",
        "seed",
        "adam",
        "plain",
        "fallback",
        "layerwise",
        "groupwise",
        "network",
    ],
)
def test_what_cannot_be_trained_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        learner(**options)


def test_layers_that_cannot_be_differentiated_twice_are_told():
    model = compiled(MAML(conv4_classifier(N_WAY, SHAPE), InnerSGD(RATE), second_order=True, **OPTIONS))
    zeros = np.zeros((1, N_WAY, 1, *SHAPE), np.float32)
    with pytest.raises(
        ValueError,
        match=r"second_order must be False for the network 'conv4_classifier', .* twice .* received",
    ):
        model.train_on_batch(zeros, zeros)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model, store: model.tasks(store, 1, 0), "n_query must be at least 1, received n_query=0"),
        (lambda model, store: model.tasks(store, 7, 2), r"k_shot \+ n_query must be at most"),
        (
            lambda model, store: model.tasks(
                ImageStore.from_arrays(np.zeros((4, 5, 5), np.uint8), range(4)), 1
            ),
            r"store must hold images \[4, 4, 1\] for this network, received store=\[5, 5, 1\]",
        ),
    ],
    ids=["no queries", "too few images", "other images"],
)
def test_tasks_that_cannot_be_drawn_are_refused(store, make, message):
    with pytest.raises(ValueError, match=message):
        make(learner(), store)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, N_WAY, 1, *SHAPE)], r"a training batch must be \(support, query\), .* received 1 tensors"),
        (
            [(1, N_WAY, 1, *SHAPE), (N_WAY, 1, *SHAPE)],
            r"query must be images \[tasks, n_way, .* received \(3,",
        ),
        ([(1, 2, 1, *SHAPE), (1, 2, 1, *SHAPE)], r"support must be images \[3, images per class, 4, 4, 1\]"),
    ],
    ids=["one set", "rank", "classes"],
)
def test_batches_that_do_not_fit_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        learner().train_step([np.zeros(shape, np.float32) for shape in shapes])

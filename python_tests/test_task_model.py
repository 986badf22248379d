# SPDX-License-Identifier: MIT
"""What the learners that adapt make of validation, of arguments of Keras, and of layers that are frozen."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_metagan
from stores import pixel_store
from tiny_networks import (
    N_WAY,
    SHAPE,
    assert_same,
    compiled,
    dense_network,
    normalised_network,
    smooth_network,
    values,
)

from fslcore import MAML, Reptile
from fslcore.data import ImageStore
from fslcore.learners import InnerAdam, InnerSGD


def reptile(network: keras.Model | None = None, optimizer: InnerSGD | InnerAdam | None = None, **options):
    sizes = {"inner_steps": 2, "inner_batch": 4, "meta_batch": 3}
    return Reptile(network or normalised_network(), optimizer or InnerSGD(0.1), **(sizes | options))


def maml(network: keras.Model | None = None, **options) -> MAML:
    options = {"adapt_steps": 2, "meta_batch": 2} | options
    return MAML(network or smooth_network(normalised=True), InnerSGD(0.1), **options)


LEARNERS = {
    "reptile": reptile,
    "maml": maml,
    "second order": lambda: maml(second_order=True),
    "mini-batches": lambda: maml(adapt_batch=2),
    "metagan": tiny_metagan.learner,
    "metagan, unlabelled": lambda: tiny_metagan.learner(n_unlabelled=2),
    "metagan, no generator": tiny_metagan.without_adversary,
}
every_learner = pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(12, SHAPE)


def cross_entropy(labels, logits) -> float:
    logits = np.asarray(logits, np.float64).reshape(-1, N_WAY)
    logits = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -float(logits[np.arange(len(logits)), np.ravel(labels)].mean())


def training_batches(model, store: ImageStore) -> tf.data.Dataset:
    return model.tasks(store, 4) if isinstance(model, Reptile) else model.tasks(store, 2, 2)


# ---- validation


@every_learner
def test_episodes_are_validated_as_they_are_scored(make, store):
    model = compiled(make(), 0.1)
    unlabelled = getattr(model, "n_unlabelled", 0)
    episodes = store.episodes(N_WAY, 2, 3, n_unlabelled=unlabelled, tasks=2, seed=4)
    model.fit(training_batches(model, store), steps_per_epoch=1, shuffle=False, verbose=0)
    before = values(model)
    validated = model.evaluate(episodes.take(3), verbose=0, return_dict=True)
    assert_same(values(model), before)
    labels, losses, right = np.tile(np.repeat(np.arange(N_WAY), 3), 2), [], []
    for support, query, *further in episodes.take(3):
        scores = model.score_episodes(support, query, unlabelled=further[0] if further else None)
        losses.append(cross_entropy(labels, scores))
        right.append(np.mean(np.argmax(np.reshape(scores, (-1, N_WAY)), -1) == labels))
    assert validated.keys() == {"loss", "accuracy"}
    np.testing.assert_allclose(validated["loss"], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(validated["accuracy"], np.mean(right), rtol=1e-6)


@every_learner
def test_batches_for_training_validate_too_and_change_nothing(make, store):
    model = compiled(make(), 0.1)
    batches = training_batches(model, store)
    history = model.fit(
        batches, steps_per_epoch=1, validation_data=batches.take(2), shuffle=False, verbose=0
    ).history
    assert history["val_loss"][0] > 0
    before = values(model)
    evaluated = model.evaluate(batches.take(2), verbose=0, return_dict=True)
    assert history["val_loss"][0] == pytest.approx(evaluated["loss"], rel=1e-5)
    assert_same(values(model), before)


@every_learner
def test_images_are_measured_by_the_meta_weights(make, store):
    model = make()
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = store.images[:10] / np.float32(255), np.arange(10) % N_WAY
    logits = model.predict(images, verbose=0)
    for shaped in (labels, labels[:, None]):
        found = model.evaluate(images, shaped, batch_size=4, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(cross_entropy(labels, logits), rel=1e-5)
        assert found["accuracy"] == pytest.approx(np.mean(logits.argmax(-1) == labels))


def test_an_epoch_counts_every_task_alike(store):
    model = compiled(maml())
    support, query = (part.numpy() for part in next(iter(store.episodes(N_WAY, 2, 3, tasks=5))))
    whole = model.evaluate(support, query, batch_size=5, verbose=0, return_dict=True)
    cut = model.evaluate(support, query, batch_size=2, verbose=0, return_dict=True)
    assert whole["loss"] == pytest.approx(cut["loss"], rel=1e-5)
    assert whole["accuracy"] == pytest.approx(cut["accuracy"])


def bad_batches():
    images, labels = np.zeros((4, *SHAPE), np.float32), np.zeros(4, np.int32)
    episode = np.zeros((2, N_WAY, 1, *SHAPE), np.float32)
    return {
        "weights": ((images, labels, np.ones(4, np.float32)), "sample_weight must be None"),
        "one-hot": ((images, np.eye(4, dtype=np.float32)), r"y must be labels \[B\], integers from 0 to 2"),
        "size": ((images[:, :2], labels), r"x must be images \[B, 4, 4, 1\] for this network"),
        "one set": ((episode,), r"a validation batch must be \(support, query\)"),
        "single": ((episode[0], episode[0]), r"support must be images \[tasks, n_way"),
        "classes": ((episode[:, :2], episode[:, :2]), "support must be images"),
        "no queries": ((episode, episode[:, :, :0]), "query must have at least 1 image per class"),
    }


@pytest.mark.parametrize("name", bad_batches())
@pytest.mark.parametrize("make", [reptile, maml, tiny_metagan.learner])
def test_other_batches_are_refused(make, name):
    batch, message = bad_batches()[name]
    with pytest.raises(ValueError, match=message):
        compiled(make()).test_step(batch)


def test_one_mini_batch_leaves_nothing_to_score(store):
    model = compiled(reptile(inner_steps=1))
    with pytest.raises(ValueError, match="inner_steps must be at least 2 to validate on batches of tasks"):
        model.evaluate(model.tasks(store, 4).take(1), verbose=0)


# ---- arguments of compile and fit


class NoCrossEntropy(keras.losses.Loss):
    def call(self, y_true, y_pred):
        raise TypeError("three axes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "sparse_categorical_crossentropy"}, r"loss must be a loss of logits \(from_logits=True\)"),
        ({"loss": keras.losses.SparseCategoricalCrossentropy()}, "loss must be a loss of logits"),
        (
            {"loss": keras.losses.CategoricalCrossentropy(from_logits=True)},
            r"loss must take labels int \[B\]",
        ),
        ({"loss": NoCrossEntropy()}, "loss must take labels int .* fails"),
        ({"loss": ["mse", "mse"]}, "loss must be one loss"),
        ({"loss": "mse", "loss_weights": 2.0}, "loss_weights must be None"),
        ({"weighted_metrics": ["mse"]}, "weighted_metrics must be None"),
        ({"metrics": {"a": "mse"}}, "metrics must be a list"),
        ({"metrics": [keras.metrics.Mean(name="loss")]}, "metrics must have names other than"),
        (
            {"optimizer": keras.optimizers.SGD(float("inf"))},
            "optimizer must have a learning rate that is fini",
        ),
        ({"optimizer": keras.optimizers.SGD(-0.1)}, "optimizer must have a learning rate that is finite and"),
    ],
)
@pytest.mark.parametrize("make", [reptile, maml, tiny_metagan.learner])
def test_what_compile_cannot_heed_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make().compile(**({"optimizer": "sgd"} | options))
    assert "\n" not in str(caught.value)


def test_an_optimizer_that_cannot_be_finished_is_refused():
    averaging = keras.optimizers.SGD(0.1, use_ema=True)
    with pytest.raises(ValueError, match="generator_optimizer must not have use_ema"):
        tiny_metagan.learner().compile("sgd", averaging)
    tiny_metagan.without_adversary().compile(averaging)


@every_learner
@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_weights_of_classes_and_samples_are_refused(make, method, store):
    model = compiled(make())
    x, y, *_ = (part.numpy() for part in next(iter(training_batches(model, store))))
    for given in ({"class_weight": {0: 2.0}}, {"sample_weight": np.ones(len(x))}):
        (name,) = given
        with pytest.raises(ValueError, match=f"{name} must be None for .*, received {name} of the type"):
            getattr(model, method)(x, y, **given)


def test_a_loss_of_before_is_forgotten(store):
    model = maml(dense_network())
    model.compile("sgd", loss=lambda labels, logits: 0.0 * tf.reduce_mean(logits, -1))
    model.compile("sgd")
    assert model.evaluate(store.episodes(N_WAY, 1, 1, tasks=2).take(1), verbose=0)[0] > 0


def test_a_softmax_and_a_rate_of_0_are_told_once():
    softmax = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(N_WAY, activation="softmax")]
    )
    with pytest.warns(UserWarning, match="ends in a softmax, but the cross-entropy takes its outputs as"):
        maml(softmax).compile("sgd")
    with pytest.warns(UserWarning, match="optimizer has the learning rate 0"):
        maml().compile(keras.optimizers.SGD(0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maml(softmax).compile("sgd", loss="sparse_categorical_crossentropy")
        maml().compile(keras.optimizers.SGD(keras.optimizers.schedules.PolynomialDecay(0.0, 2, 0.1)))


# ---- networks and optimizers that can learn nothing


def unused_weight() -> keras.Model:
    class Unused(keras.layers.Layer):
        def build(self, shape):
            self.extra = self.add_weight(shape=(2,), name="extra")

        def call(self, x):
            return x

    layers = [keras.layers.Flatten(), Unused(), keras.layers.Dense(N_WAY)]
    return keras.Sequential([keras.Input(SHAPE), *layers])


def in_half_precision() -> keras.Model:
    layers = [keras.layers.Flatten(), keras.layers.Dense(N_WAY, dtype="float16")]
    return keras.Sequential([keras.Input(SHAPE), *layers])


@pytest.mark.parametrize("make", [reptile, maml])
def test_what_can_learn_nothing_is_refused(make, store):
    with pytest.raises(ValueError, match="network must tell at least 2 classes apart, but maps to 1 logits"):
        make(dense_network(1))
    with pytest.raises(ValueError, match="network must have float32 or float64 weights"):
        make(in_half_precision())
    model = compiled(make(unused_weight()))
    with pytest.raises(ValueError, match=r"network must have logits that depend on every weight .*extra"):
        model.fit(training_batches(model, store), steps_per_epoch=1, shuffle=False, verbose=0)
    frozen = dense_network()
    frozen.trainable = False
    model = compiled(make(frozen))
    support, query = next(iter(store.episodes(N_WAY, 1, 1, tasks=1)))
    for use in (
        lambda: model.fit(training_batches(model, store), steps_per_epoch=1, shuffle=False, verbose=0),
        lambda: model.adapt(support[0]),
        lambda: model.score_episodes(support, query),
    ):
        with pytest.raises(
            ValueError, match="network must have a layer that can be trained, but all of them"
        ):
            use()


@pytest.mark.parametrize("make", [InnerSGD, InnerAdam])
@pytest.mark.parametrize("rate", [np.inf, np.nan])
def test_rates_that_are_not_finite_are_refused(make, rate):
    with pytest.raises(ValueError, match="learning_rate must be"):
        make(rate)


def test_sets_without_images_are_refused(store):
    model = maml()
    support, query = (part.numpy() for part in next(iter(store.episodes(N_WAY, 1, 1, tasks=1))))
    with pytest.raises(ValueError, match="support must have at least 1 image per class"):
        model.adapt(support[0][:, :0])
    with pytest.raises(ValueError, match="query must have at least 1 image per class"):
        model.score_episodes(support, query[:, :, :0])


# ---- layers


@pytest.mark.parametrize("optimizer", [InnerSGD(0.1), InnerAdam(0.01)], ids=["sgd", "adam"])
def test_a_frozen_layer_stays_as_it_is_in_every_use(optimizer, store):
    model = compiled(reptile(smooth_network(), optimizer))
    support, query = next(iter(store.episodes(N_WAY, 1, 1, tasks=1)))
    kernel, head = model.network.layers[0], model.network.layers[-1]

    def uses() -> None:
        model.fit(model.tasks(store, 4), steps_per_epoch=1, shuffle=False, verbose=0)
        model.score_episodes(support, query)
        return model.adapt(support[0])

    uses()
    kernel.trainable = False
    before, before_head = kernel.get_weights()[0], head.get_weights()[0]
    adapted = uses()
    np.testing.assert_array_equal(kernel.get_weights()[0], before)
    np.testing.assert_array_equal(adapted.layers[0].get_weights()[0], before)
    assert np.any(head.get_weights()[0] != before_head)
    kernel.trainable = True
    uses()
    assert np.any(kernel.get_weights()[0] != before)


def test_layers_that_an_optimizer_does_not_know_are_told(store):
    network = smooth_network()
    network.layers[0].trainable = False
    model = compiled(maml(network))
    model.fit(model.tasks(store, 2, 2), steps_per_epoch=1, shuffle=False, verbose=0)
    network.layers[0].trainable = True
    with pytest.raises(ValueError, match=r"optimizer must know every weight .* compile again"):
        model.fit(model.tasks(store, 2, 2), steps_per_epoch=1, shuffle=False, verbose=0)


@pytest.mark.parametrize("make", [reptile, maml])
def test_constraints_hold_in_inner_steps(make, store):
    network = dense_network()
    network.layers[-1].kernel.constraint = keras.constraints.NonNeg()
    network.layers[-1].kernel.assign(tf.abs(network.layers[-1].kernel))
    model = compiled(make(network))
    support, _ = next(iter(store.episodes(N_WAY, 2, 1, tasks=1)))
    adapted = model.adapt(support[0]).layers[-1].get_weights()[0]
    assert adapted.min() == 0
    assert adapted.max() > 0


# ---- precision


def tall_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(N_WAY, dtype="float32")]
    return keras.Sequential([keras.Input(SHAPE), *layers])


@pytest.mark.parametrize("factor", [None, 256.0], ids=["by the policy", "by the optimizer"])
@pytest.mark.parametrize("make", [reptile, maml, lambda net: maml(net, second_order=True)])
def test_a_scaled_loss_makes_the_same_step(make, factor, store):
    def step(policy, **scaled):
        keras.config.set_dtype_policy(policy)
        try:
            model = make(tall_network())
            model.compile(keras.optimizers.SGD(1.0, **scaled))
            before = model.network.get_weights()[0]
            model.fit(training_batches(model, store), steps_per_epoch=1, shuffle=False, verbose=0)
            return model.network.get_weights()[0] - before
        finally:
            keras.config.set_dtype_policy("float32")

    expected = step("float32")
    got = step("mixed_float16") if factor is None else step("float32", loss_scale_factor=factor)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(got, expected, atol=0.02 * np.abs(expected).max())

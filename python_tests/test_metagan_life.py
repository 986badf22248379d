# SPDX-License-Identifier: MIT
"""MetaGAN beside its step: noise, resuming, what stays as it is, saving, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_metagan
from tiny_metagan import (
    K_SHOT,
    N_QUERY,
    NOISE,
    OPTIONS,
    WIDTH,
    encoder,
    generator,
    learner,
    network,
    step,
    without_adversary,
)
from tiny_networks import N_WAY, SHAPE, assert_same, compiled, flat, values

from fslcore import MAML, MetaGAN, evaluate
from fslcore.data import ImageStore
from fslcore.encoders.adversarial import conditional_generator, task_encoder
from fslcore.learners import InnerSGD


@pytest.fixture
def store() -> ImageStore:
    return tiny_metagan.store()


@pytest.fixture
def batch() -> tuple[np.ndarray, ...]:
    return tiny_metagan.four_sets()


# ---- noise, and what stays as it is


def test_training_noise_is_a_function_of_seed_step_and_task(batch):
    sets = [tf.constant(part) for part in batch]
    noise = {
        (seed, task): learner(seed=seed).training_noise(sets, tf.constant(task, tf.int64)).numpy()
        for seed in (0, 1)
        for task in (0, 1)
    }
    assert all(drawn.shape == (N_WAY * (K_SHOT + N_QUERY), NOISE) for drawn in noise.values())
    assert len({drawn.tobytes() for drawn in noise.values()}) == 4
    np.testing.assert_array_equal(noise[0, 1], learner().training_noise(sets, tf.constant(1, tf.int64)))


def test_it_goes_on_where_it_stopped(store):
    def trained(*stages):
        model = learner(n_unlabelled=2)
        model.compile(keras.optimizers.Adam(0.01))
        for first, steps in stages:
            tasks = model.tasks(store, K_SHOT, N_QUERY, first=first)
            model.fit(tasks, steps_per_epoch=steps, shuffle=False, verbose=0)
        return values(model) + [np.asarray(v) for outer in model.optimizers for v in outer.variables]

    assert_same(trained((0, 3)), trained((0, 1), (1, 2)))


def test_random_layers_go_on_from_step_to_step(batch):
    gan = MetaGAN(
        network(dropout=0.5), conditional_generator(SHAPE, NOISE, 8), task_encoder(SHAPE, 8), **OPTIONS
    )
    seeds = [v for v in compiled(gan, 0.01).state_variables() if np.asarray(v).dtype.kind != "f"]
    assert len(seeds) == 2  # of the network and of the encoder
    seen = []
    for _ in range(2):
        step(gan, batch[:2])
        seen.append([np.asarray(seed).tolist() for seed in seeds])
    assert all(one != other for one, other in zip(*seen, strict=True))


def test_learnt_averages_are_of_real_images(batch):
    model = learner(optimizer=InnerSGD(1e-9), normalization="moving")
    compiled(model, 1e-9)
    means = []
    for support, query in zip(*batch[:2], strict=True):
        mean = np.zeros(4)
        for images in (support, support, query):
            mean = 0.99 * mean + 0.01 * model.network.layers[0](flat(images)[0]).numpy().mean((0, 1, 2))
        means.append(mean)
    step(model, batch[:2])
    np.testing.assert_allclose(model.network.layers[1].moving_mean, np.mean(means, axis=0), rtol=1e-4)


def test_measuring_adapting_and_generating_change_nothing(store, batch):
    model = learner()
    before = values(model)
    report = evaluate(model, store, N_WAY, 1, 2, 5, seed=2)
    assert report == evaluate(model, store, N_WAY, 1, 2, 5, seed=2)
    model.adapt(batch[0][0], seed=1)
    model.generate(batch[0][0], 4)
    assert_same(values(model), before)


def test_generated_images_are_those_that_it_adapts_to(batch):
    model = learner()
    support = batch[0][0]
    images = model.generate(support, N_WAY * K_SHOT, seed=9)
    assert images.shape == (N_WAY * K_SHOT, *SHAPE)
    assert 0 <= np.min(images) <= np.max(images) <= 1
    context = model.task_context(tf.constant(support), None, tf.constant([9, 0], tf.int64))
    np.testing.assert_allclose(context.generated, images, rtol=1e-6)
    assert not np.array_equal(images, model.generate(support, N_WAY * K_SHOT, seed=8))
    assert not np.array_equal(images, model.generate(support + 0.5, N_WAY * K_SHOT, seed=9))


def test_an_adapted_classifier_is_what_is_measured(batch):
    model = learner()
    support, query = batch[:2]
    scores = model.score_episodes(support, query, seed=4)
    logits = model.adapt(support[0], seed=4)(flat(query[0])[0])
    np.testing.assert_allclose(logits, scores[0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(scores[0], model.score_episodes(support, query, seed=5)[0], atol=1e-6)


# ---- networks of other forms


def branching() -> keras.Model:
    inputs = keras.Input(SHAPE)
    one, other = (keras.layers.Conv2D(2, 3, name=name)(inputs) for name in ("one", "other"))
    features = keras.layers.Flatten()(keras.layers.Subtract()([other, one]))
    return keras.Model(inputs, keras.layers.Dense(N_WAY)(features))


def nested() -> keras.Model:
    body = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(2, 3), keras.layers.Flatten()])
    return keras.Sequential([keras.Input(SHAPE), body, keras.layers.Dense(N_WAY)])


def grown() -> keras.Model:
    """Built anew with each layer, so that all but the last have been called more than once."""
    model = keras.Sequential([keras.Input(SHAPE)])
    for layer in (keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(N_WAY)):
        model.add(layer)
    return model


@pytest.mark.parametrize("make", [branching, nested, grown])
def test_features_are_the_input_of_the_last_layer(make, batch):
    net = make()
    images, _ = flat(batch[0][0])
    (logits, features), _ = learner(net).discriminator.logits_and_features(
        net.trainable_variables, net.non_trainable_variables, images
    )
    np.testing.assert_allclose(logits, net(images), rtol=1e-6)
    kernel, bias = net.layers[-1].weights
    # A sum of 8 products of size 1 in float32.
    np.testing.assert_allclose(features @ kernel + bias, logits, atol=1e-5)


# ---- optimizers, saving


def test_each_optimizer_knows_its_own_variables():
    model = learner()
    model.compile(keras.optimizers.Adam(0.02, beta_1=0.5))
    of_network, of_adversary = model.optimizers
    assert of_network is model.optimizer
    assert of_adversary is not of_network
    assert of_adversary.get_config() == of_network.get_config()
    # Two moments of each variable, the number of steps and the learning rate.
    assert len(of_network.variables) == 2 * len(model.network.trainable_variables) + 2
    assert len(of_adversary.variables) == 2 * len(model.task_generator.trainable_variables) + 2
    model.compile("sgd", "adam")
    assert [type(outer).__name__ for outer in model.optimizers] == ["SGD", "Adam"]
    model = without_adversary()
    model.compile("sgd")
    assert model.optimizers == [model.optimizer]


def test_it_survives_saving(store, batch, tmp_path):
    model = learner(n_unlabelled=2, seed=4)
    model.save(tmp_path / "untrained.keras")
    untrained = keras.models.load_model(tmp_path / "untrained.keras")
    np.testing.assert_array_equal(untrained.generate(batch[0][0], 3), model.generate(batch[0][0], 3))
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.02))
    step(model, batch)
    model.save(tmp_path / "metagan.keras")
    loaded = keras.models.load_model(tmp_path / "metagan.keras")
    assert (loaded.n_unlabelled, loaded.seed, loaded.noise_dim) == (2, 4, NOISE)
    for model_, other in ((model, loaded), (loaded, model)):
        np.testing.assert_array_equal(
            model_.score_episodes(*batch[:2], unlabelled=batch[2]),
            other.score_episodes(*batch[:2], unlabelled=batch[2]),
        )
    for one in (model, loaded):
        step(one, batch)
    assert_same(values(model), values(loaded))
    fresh = MetaGAN.from_config(model.get_config())
    fresh.set_weights(model.get_weights())
    np.testing.assert_array_equal(fresh.generate(batch[0][0], 3), model.generate(batch[0][0], 3))
    alone = MetaGAN.from_config(without_adversary().get_config())
    assert alone.generator is None


def test_the_published_networks_train_in_bfloat16(store):
    net = network(2)
    images = ImageStore.from_arrays(np.zeros((8, *SHAPE), np.uint8), [0] * 4 + [1] * 4)
    networks = (
        conditional_generator(SHAPE, NOISE, WIDTH, dtype="mixed_bfloat16"),
        task_encoder(SHAPE, WIDTH, dtype="mixed_bfloat16"),
    )
    model = compiled(MetaGAN(net, *networks, **OPTIONS), 0.01)
    history = model.fit(model.tasks(images, 1, 1), steps_per_epoch=1, verbose=0, shuffle=False).history
    assert all(np.isfinite(value[0]) for value in history.values())
    assert model.generate(np.zeros((2, 1, *SHAPE)), 3).dtype == tf.float32


# ---- bad input


def two_features() -> keras.Model:
    inputs = keras.Input(SHAPE)
    one, other = keras.layers.Flatten()(inputs), keras.layers.Flatten()(inputs)
    return keras.Model(
        inputs, keras.layers.Add(name="sum")([keras.layers.Dense(3)(one), keras.layers.Dense(3)(other)])
    )


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"task_encoder": None}, r"task_encoder must be .* from images \[B, 4, 4, 1\].* task_encoder=None"),
        ({"task_encoder": generator()}, r"task_encoder must be .* received .*=<Functional name=generator"),
        ({"generator": encoder()}, r"generator must be .* received .*=<Sequential name=encoder"),
        ({"generator": generator(noise=4)}, r"from noise \[B, 5\] \(noise_dim\) .* but maps \[\(None, 4\)"),
        ({"noise_dim": 4}, r"from noise \[B, 4\] \(noise_dim\)"),
        ({"generator": generator(width=7)}, r"task \[B, 6\] \(of the task_encoder\)"),
        ({"generator": generator(size=20)}, r"to images \[B, 4, 4, 1\] .* to \(None, 5, 4, 1\)"),
        ({"generator": None}, "generator must be given with a task_encoder or n_unlabelled"),
        ({"generator": None, "task_encoder": None, "n_unlabelled": 1}, ".* n_unlabelled=1"),
        ({"n_unlabelled": -1}, "n_unlabelled must be at least 0, received n_unlabelled=-1"),
        ({"adversary_weight": 0.0}, "adversary_weight must be above 0, received adversary_weight=0.0"),
        ({"network": two_features()}, "network must be Sequential or functional, with a last"),
        ({"meta_batch": 0}, "meta_batch must be at least 1"),
        ({"inner_steps": 0}, "inner_steps must be at least 1"),
    ],
    ids=[
        "no encoder", "no image encoder", "no generator of images", "noise", "noise_dim", "width", "images",
        "no generator", "unlabelled alone", "n_unlabelled", "adversary_weight", "two features", "meta_batch",
        "inner_steps",
    ],
)  # fmt: skip
def test_networks_that_do_not_go_together_are_refused(networks, message):
    arguments = {"network": network(), "generator": generator(), "task_encoder": encoder()}
    with pytest.raises(ValueError, match=message):
        MetaGAN(**(arguments | OPTIONS | networks))


def test_images_that_do_not_fit_are_refused(batch):
    model = compiled(learner(n_unlabelled=2))
    with pytest.raises(ValueError, match=r"\(support, query, unlabelled support, unlabelled query\)"):
        model.train_step(batch[:2])
    with pytest.raises(ValueError, match="unlabelled support must be images"):
        model.train_step([*batch[:2], batch[2][:, :2], batch[3]])
    with pytest.raises(ValueError, match=r"unlabelled must be images \[3, images per class, 4, 4, 1\]"):
        model.score_episodes(*batch[:2], unlabelled=batch[2][:, :, :, :2])
    with pytest.raises(
        ValueError, match="unlabelled must be None for this MetaGAN, which adapts to labelled"
    ):
        without_adversary().adapt(batch[0][0], unlabelled=batch[2][0])
    with pytest.raises(ValueError, match="unlabelled must be None for this MAML"):
        MAML(network(), InnerSGD(0.1), adapt_steps=1).score_episodes(*batch[:2], unlabelled=batch[2])
    with pytest.raises(ValueError, match="count must be at least 1, received count=0"):
        model.generate(batch[0][0], 0)
    with pytest.raises(ValueError, match="support must be images"):
        model.generate(batch[0][0][:2], 1)
    with pytest.raises(ValueError, match="generator must be given to generate images"):
        without_adversary().generate(batch[0][0], 1)

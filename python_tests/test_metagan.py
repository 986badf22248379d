# SPDX-License-Identifier: MIT
"""MetaGAN: its losses and its step against formulas by hand, its ablation, its use of unlabelled images."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tiny_metagan
from tiny_metagan import K_SHOT, N_QUERY, RATE, learner, network, step, without_adversary
from tiny_networks import N_WAY, SHAPE, assert_same, compiled, flat, values

from fslcore import MAML, MetaGAN, evaluate
from fslcore.data import ImageStore
from fslcore.learners import InnerSGD
from fslcore.learners.metagan import WithoutLabels


@pytest.fixture
def store() -> ImageStore:
    return tiny_metagan.store()


@pytest.fixture
def batch() -> tuple[np.ndarray, ...]:
    return tiny_metagan.four_sets()


# ---- the losses


@pytest.mark.parametrize("adversary_weight", [1.0, 0.25])
def test_losses_are_the_published_formulas(batch, adversary_weight):
    model = learner(adversary_weight=adversary_weight)
    images, labels = flat(batch[0][0])
    unlabelled, generated = flat(batch[2][0])[0], np.random.default_rng(4).random((7, *SHAPE), np.float32)
    layers = model.network.layers

    def outputs(x):
        x = layers[1](layers[0](x), training=True)
        features = layers[3](layers[2](x))
        return layers[4](features).numpy().astype(np.float64), features.numpy().astype(np.float64)

    for beside in (None, unlabelled):
        logits, features = outputs(images if beside is None else np.concatenate([images, beside]))
        others, other_features = outputs(generated)
        real = slice(None) if beside is None else slice(len(images), None)
        probabilities = np.exp(logits[: len(images)])
        probabilities /= probabilities.sum(1, keepdims=True)
        z, other_z = np.exp(logits[real]).sum(1), np.exp(others).sum(1)
        p_real, p_fake = z / (z + 1), other_z / (other_z + 1)
        loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        loss += adversary_weight * (-np.log(p_real).mean() - np.log(1 - p_fake).mean())
        distance = np.mean((features[real].mean(0) - other_features.mean(0)) ** 2)
        context = WithoutLabels(generated, beside)
        judged = model.discriminator.judge(*model.meta_weights(), images, labels, context)
        # A dozen float32 roundings of values of size 1.
        np.testing.assert_allclose(judged.loss, loss, rtol=1e-5)
        np.testing.assert_allclose(judged.feature_distance, distance, rtol=1e-4)
        np.testing.assert_allclose(judged.real, p_real.mean(), rtol=1e-5)
        np.testing.assert_allclose(judged.generated, p_fake.mean(), rtol=1e-5)
        assert judged.logits.shape == (len(images), N_WAY)
        loss, logits, _ = model.inner_loss(*model.meta_weights(), images, labels, context)
        np.testing.assert_array_equal(loss, judged.loss)
        np.testing.assert_array_equal(logits, judged.logits)


def by_hand(model: MetaGAN, batch):
    """Mean gradients of the network and of generator and encoder, and means of the metrics, op by op."""
    network_gradients, moved_gradients, metrics = [], [], []
    weights, state = model.meta_weights()
    moved = model.task_generator.trainable_variables
    for task, (support, query, *further) in enumerate(zip(*batch, strict=True)):
        support, labels = flat(support)
        query, query_labels = flat(query)
        beside = [flat(part)[0] for part in further] or [None, None]
        noise = model.training_noise(
            [part[None] for part in (batch[0][task], batch[1][task])], tf.cast(task, tf.int64)
        )
        with tf.GradientTape() as tape:
            code = tf.reduce_mean(model.task_encoder(support), axis=0, keepdims=True)
            codes = tf.repeat(code, len(noise), axis=0)
            support_fake, query_fake = tf.split(model.generator([noise, codes]), [len(support), len(query)])
            adapted = weights
            with tape.stop_recording():
                for _ in range(2):
                    with tf.GradientTape() as inner:
                        inner.watch(adapted)
                        loss = model.discriminator.judge(
                            adapted, state, support, labels, WithoutLabels(support_fake, beside[0])
                        ).loss
                    taken = inner.gradient(loss, adapted)
                    adapted = [w - RATE * g for w, g in zip(adapted, taken, strict=True)]
            with tf.GradientTape() as outer:
                outer.watch(adapted)
                judged = model.discriminator.judge(
                    adapted, state, query, query_labels, WithoutLabels(query_fake, beside[1])
                )
        network_gradients.append(outer.gradient(judged.loss, adapted))
        moved_gradients.append(tape.gradient(judged.feature_distance, moved))
        right = np.mean(np.argmax(judged.logits, -1) == query_labels)
        metrics.append([judged.loss, right, judged.feature_distance, judged.real, judged.generated])
    means = [
        [np.mean(g, axis=0) for g in zip(*group, strict=True)]
        for group in (network_gradients, moved_gradients)
    ]
    return means, np.mean(metrics, axis=0)


@pytest.mark.parametrize("n_unlabelled", [0, 2])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_a_step_is_the_one_by_hand(batch, n_unlabelled, jit_compile):
    model = compiled(learner(n_unlabelled=n_unlabelled), jit_compile=jit_compile)
    sets = batch if n_unlabelled else batch[:2]
    (for_network, for_moved), metrics = by_hand(model, sets)
    variables = model.network.trainable_variables + model.task_generator.trainable_variables
    before = [np.asarray(v) for v in variables]
    logs = step(model, sets)
    assert list(logs) == ["accuracy", "fake_probability", "generator_loss", "loss", "real_probability"]
    names = ("loss", "accuracy", "generator_loss", "real_probability", "fake_probability")
    np.testing.assert_allclose([logs[name] for name in names], metrics, rtol=1e-4)
    for variable, start, gradient in zip(variables, before, for_network + for_moved, strict=True):
        # Some hundred float32 roundings of values of size 1 follow one another, each 6e-8.
        np.testing.assert_allclose(start - np.asarray(variable), gradient, rtol=1e-3, atol=2e-5)
        assert np.any(gradient)


def test_its_gradients_are_distinct_from_those_without_the_adversary(batch):
    one, other = compiled(learner()), compiled(without_adversary())
    step(one, batch[:2])
    step(other, batch[:2])
    assert not np.allclose(values(one.network)[0], values(other.network)[0], atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"adapt_batch": 2, "seed": 3}, {"inner_steps": 1}], ids=str)
def test_without_a_generator_it_is_first_order_maml(store, options):
    maml = MAML(network(), InnerSGD(RATE), adapt_steps=2, meta_batch=2, **options)
    models = [compiled(model, 0.1) for model in (without_adversary(**options), maml)]
    histories = [
        model.fit(
            model.tasks(store, K_SHOT, N_QUERY, rotations=True), steps_per_epoch=2, verbose=0, shuffle=False
        ).history
        for model in models
    ]
    assert histories[0] == histories[1]
    assert_same(values(models[0].network), values(models[1].network))
    support, query = next(iter(store.episodes(N_WAY, 2, 3, tasks=2)))
    scores = [model.score_episodes(support, query) for model in models]
    np.testing.assert_array_equal(*scores)


# ---- unlabelled images


def test_unlabelled_images_count_in_training(batch):
    def after(sets):
        model = compiled(learner(n_unlabelled=2))
        step(model, sets)
        return values(model.network)[0]

    expected = after(batch)
    for i in (2, 3):
        changed = list(batch)
        changed[i] = changed[i] + 0.2
        assert not np.array_equal(after(tuple(changed)), expected)


def test_unlabelled_images_are_of_no_class(batch):
    """Whichever class they are filed under, the step is the same but for the order of sums."""

    def after(sets):
        model = compiled(learner(n_unlabelled=2))
        step(model, sets)
        return values(model)

    shuffled = (*batch[:2], *(part[:, ::-1] for part in batch[2:]))
    for a, b in zip(after(batch), after(shuffled), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_unlabelled_images_count_in_a_new_task(batch):
    model = learner()
    support, query, unlabelled, _ = batch
    plain = model.score_episodes(support, query)
    scores = model.score_episodes(support, query, unlabelled=unlabelled)
    assert not np.allclose(plain, scores)
    np.testing.assert_array_equal(scores, model.score_episodes(support, query, unlabelled=unlabelled))
    mixed = model.score_episodes(support, query, unlabelled=unlabelled[:, ::-1])
    np.testing.assert_allclose(scores, mixed, atol=1e-4)
    classifier = model.adapt(support[0], unlabelled=unlabelled[0])
    np.testing.assert_allclose(classifier(flat(query[0])[0]), scores[0], rtol=1e-4, atol=1e-5)


def test_the_statistics_of_a_new_task_are_those_of_all_its_real_images(batch):
    model = learner(optimizer=InnerSGD(1e-9), adapt_steps=1)
    classifier = model.adapt(batch[0][0], unlabelled=batch[2][0])
    together = np.concatenate([flat(batch[0][0])[0], flat(batch[2][0])[0]])
    maps = model.network.layers[0](together).numpy()
    np.testing.assert_allclose(classifier.non_trainable_variables[0], maps.mean((0, 1, 2)), atol=1e-6)


def test_evaluation_hands_over_unlabelled_images(store):
    model = learner()
    plain, more = (evaluate(model, store, N_WAY, 1, 2, 10, n_unlabelled=u) for u in (0, 3))
    assert not np.array_equal(plain.episode_accuracies, more.episode_accuracies) or plain.accuracy == 1

# SPDX-License-Identifier: MIT
"""Matching networks against the formula of the paper in loops, and their life as a learner and a recipe."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from noise import noise_parts
from stores import pixel_store
from tiny_encoders import SHAPE, identity_encoder, images, tiny_encoder

from fslcore import MatchingNetwork, evaluate
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments import choices, results, runs, training


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(6, SHAPE)


def probabilities(support, query, temperature):
    """Equation 1 of the paper in loops and float64: attention to every example, summed over each class."""
    found = np.zeros((len(query), len(support)))
    for q, x in enumerate(np.asarray(query, np.float64)):
        attention = []
        for c, examples in enumerate(np.asarray(support, np.float64)):
            for example in examples:
                lengths = math.sqrt(sum(x * x)) * math.sqrt(sum(example * example))
                cosine = sum(a * b for a, b in zip(x, example, strict=True)) / lengths if lengths else 0.0
                attention.append((c, math.exp(temperature * cosine)))
        for c, mass in attention:
            found[q, c] += mass / sum(other for _, other in attention)
    return found


def embeddings(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# ---- the scores


@pytest.mark.parametrize("temperature", [1.0, 10.0, 50.0])
@pytest.mark.parametrize(("way", "shot", "queries", "dim"), [(5, 1, 7, 3), (3, 4, 6, 16), (2, 2, 1, 1)])
def test_scores_are_logarithms_of_the_papers_probabilities(way, shot, queries, dim, temperature):
    support, query = embeddings(way, shot, dim, seed=0), embeddings(queries, dim, seed=1)
    scores = MatchingNetwork(identity_encoder(), temperature).class_scores(support, query)
    assert scores.dtype == tf.float32
    expected = probabilities(support, query, temperature)
    # A cosine has an error of a few eps of float32, 1.2e-7, which the temperature multiplies.
    np.testing.assert_allclose(scores, np.log(expected), atol=1e-6 * (1 + temperature), rtol=1e-6)


def test_lengths_of_embeddings_do_not_matter_and_zero_is_like_nothing():
    support, query = embeddings(3, 2, 4, seed=0), embeddings(5, 4, seed=1)
    learner = MatchingNetwork(identity_encoder())
    scores = learner.class_scores(support, query)
    np.testing.assert_allclose(learner.class_scores(100 * support, 0.01 * query), scores, atol=4e-5)
    np.testing.assert_allclose(
        learner.class_scores(support, 0 * query), np.full((5, 3), -math.log(3)), rtol=1e-6
    )
    support[0] = 0
    np.testing.assert_allclose(
        learner.class_scores(support, query), np.log(probabilities(support, query, 20.0)), atol=2e-5
    )


def test_attention_too_small_for_float32_still_has_a_finite_score_and_gradient():
    support, query = tf.constant([[[1.0, 0.0]], [[-1.0, 0.0]]]), tf.constant([[1.0, 0.0]])
    learner = MatchingNetwork(identity_encoder(), 1000.0)
    with tf.GradientTape() as tape:
        tape.watch(query)
        scores = learner.class_scores(support, query)
        loss = -scores[0, 1]
    np.testing.assert_allclose(scores, [[0, -2000]], atol=1e-3)
    assert np.isfinite(tape.gradient(loss, query)).all()


def test_scores_need_no_static_shapes():
    learner = MatchingNetwork(identity_encoder())
    signature = (tf.TensorSpec((None, None, 16)), tf.TensorSpec((None, 16)))
    graph = tf.function(learner.class_scores, input_signature=signature)
    support, query = embeddings(3, 2, 16, seed=0), embeddings(5, 16, seed=1)
    # The eager ops and those of the graph may sum in another order.
    np.testing.assert_allclose(graph(support, query), learner.class_scores(support, query), atol=1e-5)


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf, "hot", True, None])
def test_a_temperature_that_is_no_positive_number_is_refused(temperature):
    with pytest.raises(ArgumentError, match="temperature must be a finite number above 0, received temp"):
        MatchingNetwork(identity_encoder(), temperature)


# ---- training


def test_a_training_step_is_the_papers(store):
    """Loss and gradient of one episode against the same in plain TensorFlow ops."""
    learner = MatchingNetwork(tiny_encoder(), 4.0, learn_temperature=True)
    support, query = next(iter(store.episodes(4, 2, 3, episodes=1)))
    weights = [tf.Variable(weight) for weight in learner.encoder.trainable_weights]
    logarithm = tf.Variable(math.log(4.0))
    with tf.GradientTape() as tape:

        def encode(x):
            return tf.math.l2_normalize(tf.reshape(x, (-1, 16)) @ weights[0] + weights[1], axis=1)

        cosines = encode(query) @ tf.transpose(encode(support))
        attention = tf.reshape(tf.nn.softmax(tf.exp(logarithm) * cosines), (12, 4, 2))
        of_classes = tf.reduce_sum(attention, axis=2)
        expected = -tf.reduce_mean(
            tf.math.log(tf.gather(of_classes, np.repeat(np.arange(4), 3), batch_dims=1))
        )
    gradients = tape.gradient(expected, [*weights, logarithm])
    learner.compile(keras.optimizers.SGD(1.0))
    logs = learner.train_on_batch(support, query, return_dict=True)
    # 1e-5: sums of 16 products and 12 terms of size 1 in float32, in another order.
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    updated = [*learner.encoder.trainable_weights, learner.log_temperature]
    assert len(learner.trainable_weights) == len(updated)
    for new, old, gradient in zip(updated, [*weights, logarithm], gradients, strict=True):
        np.testing.assert_allclose(new, old - gradient, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("learn_temperature", [False, True], ids=["fixed", "learnt"])
def test_it_learns_and_is_measured_with_any_way_and_shot(store, jit_compile, learn_temperature):
    keras.utils.set_random_seed(0)
    learner = MatchingNetwork(tiny_encoder(8), learn_temperature=learn_temperature)
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
    for way, shot, query in ((2, 1, 1), (5, 5, 1), (10, 2, 3)):
        assert evaluate(learner, store, way, shot, query, episodes=20).accuracy > 0.9
    assert (float(learner.temperature) != pytest.approx(20, rel=1e-5)) == learn_temperature


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_it_trains_in_mixed_precision(store, policy):
    keras.config.set_dtype_policy(policy)
    try:
        learner = MatchingNetwork(tiny_encoder(batch_norm=True), learn_temperature=True)
        learner.compile(keras.optimizers.Adam(0.01))
        before = [weight.numpy() for weight in learner.trainable_weights]
        history = learner.fit(store.episodes(4, 1, 2), steps_per_epoch=3, shuffle=False, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"][0])
    assert all(not np.array_equal(a, b) for a, b in zip(before, learner.trainable_weights, strict=True))
    support, query = learner.embed(images(4))[:, None], learner.embed(images(3, seed=1))
    assert learner.class_scores(support, query).dtype == tf.float32


@pytest.mark.parametrize("learn_temperature", [False, True], ids=["fixed", "learnt"])
def test_it_survives_saving(store, tmp_path, learn_temperature):
    learner = MatchingNetwork(tiny_encoder(batch_norm=True), 3.0, learn_temperature=learn_temperature)
    learner.compile(keras.optimizers.Adam(0.1))
    learner.fit(store.episodes(4, 1, 2), steps_per_epoch=3, shuffle=False, verbose=0)
    learner.save(tmp_path / "learner.keras")
    learner.save_weights(tmp_path / "learner.weights.h5")
    fresh = MatchingNetwork.from_config(learner.get_config())
    fresh.load_weights(tmp_path / "learner.weights.h5")
    support, query = images(4), images(3, seed=1)
    expected = learner.class_scores(learner.embed(support)[:, None], learner.embed(query))
    for again in (keras.models.load_model(tmp_path / "learner.keras"), fresh):
        assert type(again) is MatchingNetwork
        assert float(again.temperature) == float(learner.temperature)
        scores = again.class_scores(again.embed(support)[:, None], again.embed(query))
        np.testing.assert_array_equal(scores, expected)


# ---- the recipe


def test_its_recipe_makes_a_learner_that_trains(tmp_path):
    data = noise_parts(n_classes=10, images=5, size=16, channels=3)
    options = {"epochs": 1, "steps_per_epoch": 2, "temperature": 5.0, "learn_temperature": True}
    recipe = choices.recipe("matching", "my/photos", data, **options)
    model = recipe.build((16, 16, 3))
    assert type(model) is MatchingNetwork
    assert float(model.temperature) == pytest.approx(5, rel=1e-6)
    run = runs.create(tmp_path / "run", {})
    history = training.train(model, recipe, data["train"], run, results.validator(model, recipe, data["val"]))
    assert np.isfinite(history[0]["loss"])
    assert 0 <= history[0]["val_accuracy"] <= 1


@pytest.mark.parametrize("dataset", ["glyphs", "omniglot", "other"])
def test_its_recipe_trains_on_the_episodes_of_prototypical(dataset):
    matching, prototypical = (
        choices.planned_recipe(name, dataset).to_json() for name in ("matching", "prototypical")
    )
    own = {"learner", "temperature", "learn_temperature"}
    assert {name: value for name, value in matching.items() if name not in own} == {
        name: value for name, value in prototypical.items() if name != "learner"
    }


def test_a_temperature_of_zero_is_refused_by_the_recipe():
    with pytest.raises(ArgumentError, match="temperature must be above 0, received temperature=0"):
        choices.planned_recipe("matching", "glyphs", temperature=0)
    with pytest.raises(ArgumentError, match="temperature belongs to matching, not to prototypical"):
        choices.planned_recipe("prototypical", "glyphs", temperature=2.0)

# SPDX-License-Identifier: MIT
"""What the learners that adapt share: batch normalisation, adapted classifiers, and evaluation."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from stores import pixel_store
from tiny_networks import N_WAY, SHAPE, assert_same, compiled, dense_network, normalised_network, values

from fslcore import MAML, MetaGAN, Reptile, evaluate
from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.learners import InnerAdam, InnerSGD


def learner(network: keras.Model | None = None, optimizer: InnerSGD | InnerAdam | None = None, **options):
    sizes = {"inner_steps": 2, "inner_batch": 4, "meta_batch": 3}
    return Reptile(network or dense_network(), optimizer or InnerSGD(0.1), **(sizes | options))


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(8, SHAPE)


# ---- batch normalisation


def test_normalization_is_found_out_and_checked():
    assert learner().normalization is None
    assert learner(normalised_network()).normalization == "batch"
    with pytest.raises(ValueError, match=r"normalization must be None for the network .* has no batch"):
        learner(normalization="batch")
    with pytest.raises(
        ValueError, match="normalization must be one of batch, moving, frozen for the network"
    ):
        learner(normalised_network(), normalization=None)
    with pytest.raises(ValueError, match=r"normalization must be one of .* received normalization='running'"):
        learner(normalised_network(), normalization="running")


# ---- adapting


def episode(store, k_shot=2, n_query=3):
    support, query = next(iter(store.episodes(N_WAY, k_shot, n_query, seed=5, episodes=1)))
    return support.numpy(), query.numpy()


@pytest.mark.parametrize("make", [dense_network, normalised_network], ids=["dense", "normalised"])
@pytest.mark.parametrize("adapt_batch", [None, 4], ids=["whole support", "mini-batches"])
def test_an_adapted_classifier_is_what_is_measured(store, make, adapt_batch):
    model = learner(make(), InnerAdam(0.05), adapt_steps=5, adapt_batch=adapt_batch)
    support, query = episode(store)
    before = values(model)
    classifier = model.adapt(support, seed=7)
    scores = model.score_episodes(support[None], query[None], seed=7)
    assert_same(values(model), before)
    assert isinstance(classifier, keras.Model)
    logits = classifier.predict(query.reshape(-1, *SHAPE), verbose=0)
    np.testing.assert_allclose(logits, scores[0], rtol=1e-5, atol=1e-5)
    assert scores.shape == (1, N_WAY * 3, N_WAY)
    assert not np.allclose(classifier.weights[0], model.network.weights[0])


def test_an_adapted_classifier_has_the_statistics_of_the_support(store):
    model = learner(normalised_network(), InnerSGD(1e-9), adapt_steps=1)
    support, _ = episode(store)
    classifier = model.adapt(support)
    maps = model.network.layers[0](support.reshape(-1, *SHAPE)).numpy()
    mean, variance = classifier.non_trainable_variables
    np.testing.assert_allclose(mean, maps.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(variance, maps.var((0, 1, 2)), rtol=1e-5)
    assert model.network.layers[1].momentum == 0.99


def test_a_query_knows_the_others_only_transductively(store):
    model = learner(normalised_network(), InnerSGD(0.1))
    support, query = episode(store)
    others = query.copy()
    others[1:] += 1.0
    for transductive in (False, True):
        one, two = (
            model.score_episodes(support[None], q[None], transductive=transductive)[0, :3].numpy()
            for q in (query, others)
        )
        assert np.array_equal(one, two) is not transductive


def test_an_episode_is_scored_alike_in_any_company(store):
    model = learner(normalised_network(), InnerAdam(0.05), adapt_steps=4, adapt_batch=2)
    episodes = [episode for episode in store.episodes(N_WAY, 2, 1, episodes=4)]
    support, query = (np.stack([e[i].numpy() for e in episodes]) for i in (0, 1))
    together = model.score_episodes(support, query, seed=3, first=10).numpy()
    for i in range(4):
        alone = model.score_episodes(support[i : i + 1], query[i : i + 1], seed=3, first=10 + i)
        np.testing.assert_array_equal(alone[0], together[i])


def test_evaluation_takes_learners_that_adapt(store):
    model = learner(normalised_network(), InnerSGD(0.1), adapt_steps=3)
    before = values(model)
    seen = []
    report = evaluate(model, store, N_WAY, 2, 3, episodes=60, seed=1, progress=seen.append)
    assert report == evaluate(model, store, N_WAY, 2, 3, episodes=60, seed=1)
    assert seen == list(range(1, 61))
    assert (report.learner, report.n_query, report.transductive) == ("Reptile", 3, False)
    assert evaluate(model, store, N_WAY, 2, 3, 60, 1, transductive=True).transductive
    assert_same(values(model), before)
    with pytest.raises(
        ValueError, match="n_way must be 3, the classes of the learner's network, received n_way=5"
    ):
        evaluate(model, store, 5, 1, 1)


def test_without_batch_normalisation_there_is_nothing_transductive(store):
    with pytest.raises(ValueError, match=r"transductive must be False for the network .* without batch"):
        evaluate(learner(), store, N_WAY, 1, 1, 2, transductive=True)


def test_random_networks_cannot_be_transductive(store):
    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    network = keras.Sequential([keras.Input(SHAPE), *layers, keras.layers.Dense(N_WAY)])
    model = compiled(learner(network))
    model.fit(model.tasks(store, 4), steps_per_epoch=2, verbose=0, shuffle=False)
    with pytest.raises(
        ValueError, match="transductive must be False for a network that draws random numbers"
    ):
        evaluate(model, store, N_WAY, 1, 1, 2, transductive=True)


SUPPORT = np.zeros((2, N_WAY, 1, *SHAPE), np.float32)
ADAPTIVE = {
    "Reptile": learner,
    "MAML": lambda *given: MAML(dense_network(), *(given[1:] or [InnerSGD(0.1)]), adapt_steps=1),
    "MetaGAN": lambda *given: MetaGAN(
        dense_network(), None, None, *(given[1:] or [InnerSGD(0.1)]), adapt_steps=1
    ),
}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.adapt(SUPPORT[0], seed=-1), "seed must be at least 0 and below 2.62, received seed=-1"),
        (lambda m: m.adapt(SUPPORT[0], seed=1.5), "seed must be a whole number, received seed=1.5"),
        (lambda m: m.score_episodes(SUPPORT, SUPPORT, seed="1"), "seed must be a whole number"),
        (lambda m: m.score_episodes(SUPPORT, SUPPORT, first=-1), "first must be at least 0"),
        (lambda m: m.score_episodes(SUPPORT, SUPPORT, transductive="no"), "transductive must be True or"),
        (
            lambda m: m.score_episodes(SUPPORT, SUPPORT[:1]),
            r"query must be of the 2 episodes of the support, received query=\[1, 3, 1, 4, 4, 1\]",
        ),
        (lambda m: m.score_episodes(SUPPORT[:0], SUPPORT[:0]), "support must have at least 1 episode"),
        (lambda m: m.tasks("glyphs", 1), "store must be an ImageStore, received str"),
    ],
)
@pytest.mark.parametrize("kind", ADAPTIVE)
def test_wrong_arguments_are_named(kind, call, message):
    with pytest.raises(ArgumentError, match=message):
        call(ADAPTIVE[kind]())


@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.SGD(0.1), InnerSGD, "sgd"], ids=["keras", "class", "text"]
)
@pytest.mark.parametrize("kind", ADAPTIVE)
def test_the_optimizer_of_the_inner_loop_is_not_one_of_keras(kind, optimizer):
    with pytest.raises(ArgumentError, match=r"inner_optimizer must be learners.InnerSGD\(...\) or"):
        ADAPTIVE[kind](None, optimizer)


@pytest.mark.parametrize("value", ["0.1", None, float("nan"), float("inf"), 0, -1, True], ids=str)
@pytest.mark.parametrize("argument", ["learning_rate", "epsilon", "beta_2"])
def test_the_numbers_of_an_inner_optimizer_are_checked(argument, value):
    if (argument, value) == ("beta_2", 0):
        value = 1
    with pytest.raises(ArgumentError, match=f"{argument} must be .*, received {argument}="):
        InnerAdam(**{"learning_rate": 0.1, argument: value})


def test_inner_optimizers_keep_the_names_of_saved_models():
    names = [keras.saving.get_registered_name(kind) for kind in (InnerSGD, InnerAdam)]
    assert names == ["fslcore.inner>SGD", "fslcore.inner>Adam"]

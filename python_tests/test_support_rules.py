# SPDX-License-Identifier: MIT
"""The rules that learners bring to a support set: their own scores, support vectors, adapted classifiers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles_support import fitted_softmax
from tiny_encoders import tiny_encoder
from tiny_networks import dense_network, normalised_network

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.classifier import Kernel, Refitted
from fslcore.learners import InnerSGD

SHAPE = (4, 4, 1)


class Products(keras.Layer):
    """A kernel of the user's, which is not symmetric."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[0][-1],), initializer="random_normal")

    def call(self, inputs):
        left, right = inputs
        return tf.reduce_sum(left * right * tf.convert_to_tensor(self.scale) + left, axis=1, keepdims=True)


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def made(name):
    keras.utils.set_random_seed(3)
    encoder = tiny_encoder(5)
    return {
        "prototypical": lambda: fsl.Prototypical(encoder),
        "cosine": lambda: fsl.Prototypical(encoder, "cosine", temperature=4.0),
        "matching": lambda: fsl.MatchingNetwork(encoder, 3.0, learn_temperature=True),
        "sigmoid": lambda: fsl.Siamese(encoder),
        "sigmoid best": lambda: fsl.Siamese(encoder, shots="best"),
        "distance": lambda: fsl.Siamese(encoder, "euclidean", output="embeddings"),
        "dot": lambda: fsl.Siamese(encoder, "dot"),
        "layer": lambda: fsl.Siamese(encoder, Products()),
        "layer of distances": lambda: fsl.Siamese(encoder, Products(), larger_is_alike=False),
    }[name]()


SIZES = {"a": 3, 1: 1, "c": 4}
LEARNERS = [
    *("prototypical", "cosine", "matching", "sigmoid", "sigmoid best", "distance", "dot", "layer"),
    "layer of distances",
]


def filled(learner, rule=None, sizes=SIZES):
    support = fsl.SupportSet(learner, rule)
    support.update({label: pictures(size, i) for i, (label, size) in enumerate(sizes.items())})
    return support


@pytest.mark.parametrize("name", LEARNERS)
def test_the_scores_are_those_of_the_learner(name):
    learner = made(name)
    support = filled(learner)
    queries = pictures(6, 9)
    embedded = [learner.embed(pictures(size, i) / np.float32(255)) for i, size in enumerate(SIZES.values())]
    own = learner.class_scores(tf.ragged.stack(embedded), learner.embed(queries / np.float32(255))).numpy()
    found = support.scores(support.embed(queries))
    if name == "cosine":  # the cosine times a temperature, as probabilities
        assert support.temperature == 0.25
        found, own = found / 0.25, own - 4
    # Sums of 5 products or 16 pixels in another order, on numbers up to 10.
    np.testing.assert_allclose(found, own, rtol=2e-5, atol=2e-5)
    labels, shares = support.predict(queries, top=3, probabilities=True)
    assert labels[:, 0].tolist() == [support.labels[best] for best in own.argmax(axis=1)]
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    explained = support.explain(queries[0], k=8)
    values = explained.values if not explained.is_distance else -explained.values
    assert (np.diff(values) <= 0).all()
    assert explained.is_distance == (name in ("prototypical", "cosine", "distance"))


@pytest.mark.parametrize("name", ["sigmoid best", "matching", "layer"])
def test_a_learner_is_saved_with_its_set(name, tmp_path, monkeypatch):
    monkeypatch.setitem(keras.saving.get_custom_objects(), "Products", Products)
    support = filled(made(name))
    support.save(tmp_path)
    again = fsl.SupportSet.load(tmp_path)
    assert isinstance(again.rule, Kernel)
    assert again.rule.shots == support.rule.shots
    embedded = support.embed(pictures(3, 5))
    np.testing.assert_array_equal(again.embed(pictures(3, 5)), embedded)
    np.testing.assert_array_equal(again.scores(embedded), support.scores(embedded))


@pytest.mark.parametrize("name", ["prototypical", "sigmoid"])
@pytest.mark.parametrize("labels", [2, 3])
def test_support_vectors_are_those_of_scikit_learn(name, labels):
    svm = pytest.importorskip("sklearn.svm", reason="scikit-learn is not installed")
    support = filled(made(name), "svc", dict(list(SIZES.items())[:labels]))
    state, queries = support.snapshot(), support.embed(pictures(7, 8))
    assert support.needs_refit
    assert support.refit()
    assert not support.refit()
    if name == "prototypical":
        squares = ((state.rows[:, np.newaxis].astype(float) - state.rows) ** 2).sum(axis=2)
        gamma = 1 / (squares.sum() / (len(squares) ** 2 - len(squares)))
        classifier = svm.SVC(kernel="rbf", gamma=gamma, class_weight="balanced").fit(
            state.rows, state.numbers
        )
    else:
        kernel = support.encoder.gram.kernel
        weights, bias = kernel.kernel.numpy().astype(float), float(kernel.bias.numpy())

        def alike(x, y):
            return 1 / (1 + np.exp(-(np.abs(x[:, np.newaxis] - y) @ weights + bias)))

        classifier = svm.SVC(kernel=alike, class_weight="balanced").fit(state.rows, state.numbers)
    right = classifier.decision_function(queries)
    if labels == 2:
        right = np.stack([-right, right], axis=1)
    np.testing.assert_allclose(support.scores(queries), right, rtol=1e-3, atol=1e-3)
    support.add(1, pictures(2, 7))
    assert support.needs_refit
    for label in support.labels[1:]:
        support.remove(label)
    with pytest.raises(ArgumentError, match="must have at least 2 labels for the rule svc, received 1 label"):
        support.predict(pictures(1))


def reptile(network):
    return fsl.Reptile(network, InnerSGD(0.5), inner_steps=2, inner_batch=3, adapt_steps=4, adapt_batch=3)


@pytest.fixture(scope="module")
def learner():
    return reptile(dense_network(3))


def test_an_adapted_classifier_is_that_of_the_learner_and_says_when_it_is_fitted(learner):
    support = filled(learner, sizes={"a": 2, "b": 2, "c": 2})
    before = [variable.numpy() for variable in learner.variables]
    with pytest.warns(
        Refitted, match=r"fitted anew to 3 labels, since the support set has changed; refit\(\)"
    ):
        labels, logits = support.predict(pictures(4, 9), top=3)
    images = np.stack([pictures(2, i) for i in range(3)]) / np.float32(255)
    own = learner.adapt(images)(pictures(4, 9) / np.float32(255)).numpy()
    np.testing.assert_allclose(logits, -np.sort(-own, axis=1), rtol=1e-5, atol=1e-5)
    assert labels[:, 0].tolist() == ["abc"[best] for best in own.argmax(axis=1)]
    assert not support.needs_refit
    support.predict(pictures(1))  # no warning: it is fitted
    support.add("a", pictures(1, 5))
    assert support.refit()
    support.predict(pictures(1))
    for variable, value in zip(learner.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("kind", ["reptile", "maml"])
def test_other_numbers_of_labels_get_as_many_units(kind, count, tmp_path):
    network = dense_network(3)
    network.layers[-1].bias.assign([0.5, 0, -1])
    options = {"inner_steps": 2, "adapt_steps": 4}
    if kind == "reptile":
        learner = fsl.Reptile(network, InnerSGD(0.5), inner_batch=3, adapt_batch=None, **options)
    else:
        learner = fsl.MAML(network, InnerSGD(0.5), **options)
    support = filled(learner, sizes={i: 1 + i % 2 for i in range(count)})
    assert support.refit()
    images = [pictures(1 + i % 2, i).reshape(-1, 16) / 255.0 for i in range(count)]
    repeated = np.concatenate([each[[0, -1]] for each in images])
    weights, bias = network.get_weights()
    turns = [0, 1, 2, 0, 1][:count]
    weights, bias = fitted_softmax(
        repeated, np.repeat(range(count), 2), weights[:, turns], bias[turns], 4, 0.5
    )
    queries = pictures(6, 9)
    right = queries.reshape(-1, 16) / 255.0 @ weights + bias
    found = support.scores(support.embed(queries))
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)
    support.save(tmp_path)
    again = fsl.SupportSet.load(tmp_path)
    assert again.needs_refit
    again.refit()
    np.testing.assert_array_equal(again.scores(again.embed(queries)), found)


def test_batch_normalisation_has_the_statistics_of_the_support():
    network = normalised_network()
    learner = fsl.Reptile(
        network, InnerSGD(0.2), inner_steps=2, inner_batch=3, adapt_steps=60, adapt_batch=None
    )
    support = filled(learner, sizes={"a": 2, "b": 1})
    support.refit()
    images = np.concatenate([pictures(2, 0), pictures(1, 1)])
    assert support.predict(images)[0].tolist() == ["a", "a", "b"]
    one_by_one = [support.predict(each, top=2)[1][0] for each in images]
    np.testing.assert_allclose(support.predict(images, top=2)[1], one_by_one, rtol=1e-4, atol=1e-4)


def test_what_an_adapted_classifier_cannot_do_is_refused(learner):
    with pytest.raises(ArgumentError, match="rule must be adapted for this Reptile, received rule='nearest'"):
        fsl.SupportSet(learner, "nearest")
    support = fsl.SupportSet(learner)
    support.add("a", pictures(2))
    with pytest.raises(ArgumentError, match="at least 2 labels for the rule adapted, received 1 label"):
        support.refit()
    inputs = keras.Input(SHAPE)
    x = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    odd = reptile(keras.Model(inputs, keras.layers.Rescaling(2.0)(x)))
    support = fsl.SupportSet(odd)
    support.update({"a": pictures(1), "b": pictures(1, 1)})
    with pytest.raises(ArgumentError, match=r"must have 3 labels for the network .* received 2 labels"):
        support.refit()

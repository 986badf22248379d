# SPDX-License-Identifier: MIT
import keras
import numpy as np
import pytest
from stores import pixel_store
from tiny_encoders import SHAPE, identity_encoder, images, tiny_encoder

from fslcore import Siamese, losses
from fslcore.data import ImageStore
from fslcore.layers import DenseSigmoid, GramMatrix


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(6, SHAPE)


@pytest.mark.parametrize(
    ("kernel", "mean", "best"),
    [
        ("sqeuclidean", [[-2, -38]], [[-2, -18]]),
        ("manhattan", [[-2, -8]], [[-2, -6]]),
        ("dot", [[1, 10]], [[2, 12]]),
    ],
)
def test_siamese_joins_the_shots_and_larger_is_more_alike(kernel, mean, best):
    support = np.array([[[0, 0], [2, 0]], [[4, 4], [4, 8]]], np.float32)
    query = np.array([[1, 1]], np.float32)
    scores = Siamese(identity_encoder(), kernel).class_scores(support, query)
    np.testing.assert_array_equal(scores, mean)
    scores = Siamese(identity_encoder(), kernel, shots="best").class_scores(support, query)
    np.testing.assert_array_equal(scores, best)


def test_siamese_scores_of_the_trained_kernel_are_probabilities():
    learner = Siamese(identity_encoder())
    learner.gram.kernel.kernel.assign(-np.ones(16))
    support, query = np.zeros((2, 1, 16), np.float32), np.zeros((1, 16), np.float32)
    support[1] = 1
    # |x - y| is 0 and 16: sigmoid(0) and sigmoid(-16), within float32's relative eps of a few steps.
    np.testing.assert_allclose(
        learner.class_scores(support, query), [[0.5, 1 / (1 + np.exp(16))]], rtol=4 * 1.2e-7
    )


def test_a_kernel_layer_of_ones_own_may_be_a_distance():
    class Distance(keras.layers.Layer):
        def call(self, pair):
            return keras.ops.sum(keras.ops.abs(pair[0] - pair[1]), axis=-1)

    support, query = np.array([[[0.0]], [[5.0]]], np.float32), np.array([[1.0]], np.float32)
    flat = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    alike = Siamese(flat, Distance(), larger_is_alike=False).class_scores(support, query)
    np.testing.assert_array_equal(alike, [[-1, -4]])
    np.testing.assert_array_equal(Siamese(flat, Distance()).class_scores(support, query), [[1, 4]])


def test_siamese_on_images_is_the_gram_matrix_or_the_embeddings():
    encoder = identity_encoder()
    x = images(5)
    expected = GramMatrix("sqeuclidean")(x.reshape(5, 16))
    np.testing.assert_array_equal(Siamese(encoder, "sqeuclidean")(x), expected)
    np.testing.assert_array_equal(Siamese(encoder, "sqeuclidean", output="embeddings")(x), x.reshape(5, 16))


@pytest.mark.parametrize("kernel", ["DenseSigmoid", "sqeuclidean"])
def test_siamese_on_pairs_is_the_diagonal_of_the_comparison(kernel):
    learner = Siamese(identity_encoder(), kernel)
    left, right = images(6), images(6, seed=1)
    every = learner.gram.pairwise(left.reshape(6, 16), right.reshape(6, 16))
    # The layer on pairs and the compiled kernel sum 16 products of size 1 in another order.
    np.testing.assert_allclose(learner((left, right)), np.diag(every), rtol=16 * 1.2e-7)


FITS = {
    "gram": (Siamese, {}, None),
    "gram-triplets": (Siamese, {"kernel": "sqeuclidean"}, losses.TripletLoss()),
    "embeddings": (Siamese, {"kernel": "sqeuclidean", "output": "embeddings"}, None),
    "embeddings-cosine": (
        Siamese,
        {"kernel": "cosine", "output": "embeddings"},
        losses.TripletSemiHardLoss(margin=0.2, distance_metric="angular"),
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_siamese_learns_on_batches(store, case):
    keras.utils.set_random_seed(0)
    make, arguments, loss = FITS[case]
    learner = make(tiny_encoder(8), **arguments)
    learner.compile(keras.optimizers.Adam(0.03), loss=loss)
    history = learner.fit(
        store.pk_batches(6, 4), epochs=2, steps_per_epoch=40, shuffle=False, verbose=0
    ).history["loss"]
    assert history[1] < 0.7 * history[0]


def test_siamese_learns_on_pairs(store):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    same = rng.random(400) < 0.5
    left = rng.integers(0, 10, 400)
    right = np.where(same, left, (left + rng.integers(1, 10, 400)) % 10)
    x = store.images.reshape(10, 6, *SHAPE).astype(np.float32) / 255
    pairs = x[left, rng.integers(0, 6, 400)], x[right, rng.integers(0, 6, 400)]
    learner = Siamese(tiny_encoder(8))
    learner.compile(keras.optimizers.Adam(0.03), metrics=["binary_accuracy"])
    history = learner.fit(pairs, same.astype(np.float32), epochs=15, verbose=0).history
    assert history["binary_accuracy"][-1] > 0.9


def test_default_losses_are_the_named_ones(store):
    x, labels = next(iter(store.pk_batches(4, 3)))
    for arguments, loss in (
        ({}, losses.BinaryCrossentropy(balanced=True)),
        ({"kernel": "euclidean", "output": "embeddings"}, losses.TripletSemiHardLoss(distance_metric="L2")),
    ):
        learner = Siamese(tiny_encoder(), **arguments)
        learner.compile("sgd")
        assert learner.test_on_batch(x, labels) == pytest.approx(float(loss(labels, learner(x))), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "matrix"}, r"output must be one of gram, embeddings, received output='matrix'"),
        ({"shots": "all"}, r"shots must be one of mean, best, received shots='all'"),
        ({"kernel": "L2"}, r"kernel must be one of .* received kernel='L2'"),
        ({"output": "embeddings"}, r"kernel must be without weights .* received kernel='DenseSigmoid'"),
    ],
    ids=["output", "shots", "kernel", "trainable"],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Siamese(tiny_encoder(), **arguments)


def test_a_kernel_without_a_default_loss_says_so(store):
    learner = Siamese(tiny_encoder(), "dot")
    learner.compile("sgd")
    with pytest.raises(ValueError, match=r"loss must be given to compile\(\)"):
        learner.fit(store.pk_batches(3, 2, batches=1), shuffle=False, verbose=0)


def test_a_kernel_layer_is_taken_as_it_is():
    kernel = DenseSigmoid()
    learner = Siamese(tiny_encoder(), kernel)
    assert learner.gram.kernel is kernel
    assert {id(weight) for weight in kernel.weights} <= {id(weight) for weight in learner.trainable_weights}

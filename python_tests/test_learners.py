# SPDX-License-Identifier: MIT
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from stores import pixel_store

from fslcore import Prototypical, Siamese, losses, ops
from fslcore.data import ImageStore
from fslcore.layers import DenseSigmoid, GramMatrix

SHAPE = (4, 4, 1)


def tiny_encoder(width: int = 3, batch_norm: bool = False) -> keras.Model:
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(width)]
    return keras.Sequential([*layers, keras.layers.BatchNormalization()] if batch_norm else layers)


def identity_encoder() -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])


@pytest.fixture(scope="module")
def store() -> ImageStore:
    return pixel_store(6, SHAPE)


def learners() -> list[keras.Model]:
    return [
        Prototypical(tiny_encoder(batch_norm=True)),
        Siamese(tiny_encoder(batch_norm=True)),
        Siamese(tiny_encoder(), "cosine", output="embeddings", shots="best"),
        Siamese(tiny_encoder(), {"name": "DenseSigmoid", "init": {"use_bias": False}}),
    ]


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *SHAPE), dtype=np.float32)


# ---- what every learner does


@pytest.mark.parametrize("learner", learners(), ids=lambda learner: learner.name)
def test_a_learner_survives_saving(learner, tmp_path):
    x = images(5)
    expected = learner(x).numpy()
    learner.save(tmp_path / "learner.keras")
    loaded = keras.models.load_model(tmp_path / "learner.keras")
    assert type(loaded) is type(learner)
    np.testing.assert_array_equal(loaded(x), expected)
    learner.save_weights(tmp_path / "learner.weights.h5")
    fresh = type(learner).from_config(learner.get_config())
    fresh.load_weights(tmp_path / "learner.weights.h5")
    np.testing.assert_array_equal(fresh(x), expected)
    support, query = learner.embed(images(4))[:, None], learner.embed(images(3, seed=1))
    np.testing.assert_array_equal(fresh.class_scores(support, query), learner.class_scores(support, query))


@pytest.mark.parametrize("learner", learners(), ids=lambda learner: learner.name)
def test_embedding_changes_nothing(learner):
    before = [variable.numpy() for variable in learner.variables]
    learner.embed(images(8))
    learner.embed(images(8), training=True)
    assert before
    for variable, value in zip(learner.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_embedding_with_batch_statistics_normalises_the_batch():
    learner = Prototypical(tiny_encoder(batch_norm=True))
    # Mean 0 up to rounding: 64 values of size 1 are summed in float32, whose eps is 1.2e-7.
    np.testing.assert_allclose(np.mean(learner.embed(images(64), training=True), axis=0), 0, atol=64 * 1.2e-7)
    assert np.abs(np.mean(learner.embed(images(64)), axis=0)).max() > 1e-3


@pytest.mark.parametrize(
    "layer", [keras.layers.Dropout(0.5), keras.layers.GaussianNoise(1.0)], ids=["dropout", "noise"]
)
def test_random_encoders_have_no_batch_statistics(layer):
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), layer])
    with pytest.raises(ValueError, match="without random layers"):
        Prototypical(encoder).embed(images(4), training=True)


def test_dropout_that_is_off_has_batch_statistics():
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dropout(0.0)])
    assert Prototypical(encoder).embed(images(4), training=True).shape == (4, 16)


def test_maps_are_flattened():
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(2, 3)])
    assert Prototypical(encoder).embed(images(5)).shape == (5, 8)
    assert Siamese(encoder)(images(5)).shape == (5, 5)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda x: x, "encoder must be a Keras model or layer, received"),
        (keras.Sequential([keras.layers.Dense(3)]), "encoder must be built"),
    ],
    ids=["function", "unbuilt"],
)
def test_encoders_that_cannot_be_trained_are_refused(encoder, message):
    for learner in (Prototypical, Siamese):
        with pytest.raises(ValueError, match=message):
            learner(encoder)


@pytest.mark.parametrize("learner", [Prototypical, Siamese])
def test_auto_is_a_plain_graph_on_a_cpu_and_a_choice_is_honoured(learner):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    model = learner(tiny_encoder())
    for asked, expected in (("auto", False), (True, True), (False, False)):
        model.compile("sgd", jit_compile=asked)
        assert model.jit_compile is expected


# ---- Prototypical


def test_prototypical_scores_are_squared_distances_to_means():
    support = np.array([[[0, 0], [2, 0]], [[4, 4], [4, 8]]], np.float32)
    query = np.array([[1, 0], [4, 6], [1, 6]], np.float32)
    scores = Prototypical(identity_encoder()).class_scores(support, query)
    np.testing.assert_array_equal(scores, [[0, -45], [-45, 0], [-36, -9]])


def test_prototypical_training_step_is_the_papers(store):
    """Loss and gradient of one episode against the same in plain TensorFlow ops."""
    learner = Prototypical(tiny_encoder())
    support, query = next(iter(store.episodes(4, 2, 3, episodes=1)))
    weights = [tf.Variable(weight) for weight in learner.trainable_weights]
    with tf.GradientTape() as tape:

        def encode(x):
            return tf.reshape(x, (-1, 16)) @ weights[0] + weights[1]

        prototypes = tf.reduce_mean(tf.reshape(encode(support), (4, 2, 3)), axis=1)
        distances = tf.reduce_sum((encode(query)[:, None] - prototypes) ** 2, axis=-1)
        log_p = tf.nn.log_softmax(-distances)
        expected = -tf.reduce_mean(tf.gather(log_p, np.repeat(np.arange(4), 3), batch_dims=1))
    gradients = tape.gradient(expected, weights)
    learner.compile(keras.optimizers.SGD(1.0))
    logs = learner.train_on_batch(support, query, return_dict=True)
    # 1e-5: sums of 16 products and 12 terms of size 1 in float32, in another order.
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    for new, old, gradient in zip(learner.trainable_weights, weights, gradients, strict=True):
        np.testing.assert_allclose(new, old - gradient, atol=1e-5)


def test_prototypical_encodes_an_episode_in_one_call(store):
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            calls.append(x.shape)
            return x

    learner = Prototypical(keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), Counting()]))
    calls.clear()
    learner(next(iter(store.episodes(3, 1, 2, episodes=1))))
    assert calls == [(9, 16)]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_prototypical_learns(store, jit_compile):
    keras.utils.set_random_seed(0)
    learner = Prototypical(tiny_encoder(8))
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


def test_prototypical_takes_a_loss_and_metrics_of_ones_own(store):
    learner = Prototypical(tiny_encoder())
    learner.compile(
        "sgd",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")],
    )
    own = learner.evaluate(store.episodes(4, 1, 2, episodes=3), return_dict=True, verbose=0)
    learner.loss = None
    default = learner.evaluate(store.episodes(4, 1, 2, episodes=3), return_dict=True, verbose=0)
    assert set(own) == {"accuracy", "loss", "top2"}
    np.testing.assert_allclose(own["loss"], default["loss"], rtol=1e-6)  # one rounding of a mean of 8 terms


def test_regularisation_joins_the_loss(store):
    def loss_with(factor: float) -> float:
        l2 = keras.regularizers.L2(factor)
        dense = keras.layers.Dense(2, kernel_initializer="ones", kernel_regularizer=l2)
        encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense])
        learner = Prototypical(encoder)
        learner.compile("sgd")
        return learner.evaluate(store.episodes(3, 1, 1, episodes=1), verbose=0, return_dict=True)["loss"]

    # 32 weights of 1: the sum of their squares is 32. The loss is about 40, whose eps in float32 is 4e-6.
    assert loss_with(1.0) - loss_with(0.0) == pytest.approx(32, abs=2e-5)


# ---- Siamese


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
        ({"kernel": "L2"}, r"kernel must be one of .* received 'L2'"),
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


@pytest.mark.parametrize("learner", [Prototypical, Siamese])
def test_without_kernels_for_a_gpu_its_steps_are_not_compiled(monkeypatch, learner):
    gpu = types.SimpleNamespace(device_type="GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
    libraries = {"core": None}
    monkeypatch.setattr(ops, "native_libraries", lambda: libraries)
    model = learner(tiny_encoder())
    model.compile("sgd")
    assert model.jit_compile is False
    libraries["cuda"] = None
    model = learner(tiny_encoder())
    model.compile("sgd")
    assert model.jit_compile is True


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", ["prototypical", "gram", "embeddings"])
def test_learners_train_in_mixed_precision(store, kind, policy):
    keras.config.set_dtype_policy(policy)
    try:
        if kind == "prototypical":
            learner, batches = Prototypical(tiny_encoder(batch_norm=True)), store.episodes(4, 1, 2)
        else:
            arguments = {"kernel": "euclidean", "output": kind} if kind == "embeddings" else {}
            learner, batches = Siamese(tiny_encoder(batch_norm=True), **arguments), store.pk_batches(4, 3)
        learner.compile(keras.optimizers.Adam(0.01))
        before = learner.encoder.trainable_weights[0].numpy()
        history = learner.fit(batches, steps_per_epoch=3, shuffle=False, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"][0])
    assert not np.array_equal(learner.encoder.trainable_weights[0], before)
    assert (
        learner.class_scores(learner.embed(images(4))[:, None], learner.embed(images(3))).dtype == tf.float32
    )


def test_scores_need_no_static_shapes():
    for learner in (Prototypical(identity_encoder()), Siamese(identity_encoder(), "sqeuclidean")):
        signature = (tf.TensorSpec((None, None, 16)), tf.TensorSpec((None, 16)))
        graph = tf.function(learner.class_scores, input_signature=signature)
        support, query = images(6).reshape(3, 2, 16), images(5, seed=1).reshape(5, 16)
        np.testing.assert_array_equal(graph(support, query), learner.class_scores(support, query))

# SPDX-License-Identifier: MIT
"""What the learners that compare embeddings share."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from stores import pixel_store
from tiny_encoders import SHAPE, identity_encoder, images, tiny_encoder

from fslcore import Prototypical, Siamese, ops
from fslcore.data import ImageStore


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
        (abs, "encoder must be a Keras model or layer, received"),
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

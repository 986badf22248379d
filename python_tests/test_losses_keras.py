# SPDX-License-Identifier: MIT
"""The losses in Keras: in `fit`, saved with a model, under a mixed policy."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from inputs import normal
from labelled import LABELS, manhattan

from fslcore.arguments import MININGS
from fslcore.data import get_dummies
from fslcore.layers import GramMatrix
from fslcore.losses import (
    BinaryCrossentropy,
    TripletHardLoss,
    TripletLoss,
    TripletMiningLoss,
    TripletSemiHardLoss,
)
from fslcore.metrics import classification_accuracy


@pytest.mark.parametrize(
    ("loss", "jit_compile"),
    [(BinaryCrossentropy(), False), (BinaryCrossentropy(), True), (TripletLoss(), False)],
    ids=["pairs", "pairs, compiled", "triplets"],
)
def test_ids_beyond_float32_stay_apart_in_fit(loss, jit_compile):
    ids = 2**24 + np.array([0, 1, 0, 1])
    assert len(set(ids.astype(np.float32))) == 1  # what keras.losses.Loss would make of them
    x = normal(0, 4, 3)

    def value(labels):
        model = keras.Sequential([keras.Input((3,)), GramMatrix("euclidean")])
        model.compile(loss=loss, jit_compile=jit_compile)
        return model.evaluate(x, labels, verbose=0)

    assert value(ids) == value(ids - 2**24) > 0


def test_float_ids_beyond_float32_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="below the dtype's precision"):
        TripletSemiHardLoss()(np.float32([2**24, 2**24 + 1]), np.zeros((2, 3), np.float32))


LOSSES = [
    BinaryCrossentropy(balanced=True, name="pairs"),
    TripletLoss(0.25, reduction="sum"),
    TripletSemiHardLoss(0.25, "angular"),
    TripletSemiHardLoss(0.5, manhattan, name="mine"),
    TripletHardLoss(0.25, "squared-L2"),
    TripletHardLoss(0.5, manhattan, name="mine too", reduction="none"),
    *[TripletMiningLoss(mining, 0.25, "angular", name=mining) for mining in MININGS],
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_a_loss_is_restored_from_its_config(loss):
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize(
    "loss", [BinaryCrossentropy(True), "fslcore>triplet_loss"], ids=["class", "function"]
)
def test_a_compiled_model_is_saved_with_its_loss(tmp_path, loss):
    if isinstance(loss, str):
        loss = keras.saving.get_registered_object(loss)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), GramMatrix()])
    model.compile("sgd", loss)
    x = normal(0, 11, 3)
    value = model.evaluate(x, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").evaluate(x, LABELS, verbose=0) == value


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_one_hot_rows_of_changing_width_in_fit(jit_compile):
    # Neither axis of the rows is known when Keras traces the model.
    x, labels = normal(0, 12, 3), np.array([[4, 4, 2, 2], [1, 1, 1, 1], [5, 6, 7, 5]])
    by_id = tf.data.Dataset.from_tensor_slices((x, labels.ravel())).batch(4)
    by_row = by_id.map(lambda x, labels: (x, get_dummies(labels)[0]))
    assert [rows.shape[1] for _, rows in by_row] == [2, 1, 3]

    def values(dataset):
        model = keras.Sequential([keras.Input((3,)), GramMatrix("cosine")])
        model.compile(loss=BinaryCrossentropy(), metrics=[classification_accuracy()], jit_compile=jit_compile)
        return model.evaluate(dataset, verbose=0)

    assert values(by_row) == values(by_id)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_mixed_precision_losses_are_computed_in_float32(policy, jit_compile):
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        model.compile("sgd", TripletSemiHardLoss(), jit_compile=jit_compile)
    finally:
        keras.config.set_dtype_policy(before)
    x = normal(0, 11, 3)
    embeddings = model(x)
    assert embeddings.dtype == policy.removeprefix("mixed_")
    want = TripletSemiHardLoss()(LABELS, tf.cast(embeddings, tf.float32))
    # XLA may round the dense layer elsewhere: half a step in each of 4 coordinates is a step in a length, two
    # in a distance, four in the difference of two of them.
    step = 2.0 ** (-10 if "bfloat" not in policy else -7)
    assert model.evaluate(x, LABELS, verbose=0) == pytest.approx(
        float(want), abs=4 * step * float(np.abs(embeddings).max())
    )


@pytest.mark.parametrize(
    "loss",
    [TripletSemiHardLoss, TripletHardLoss, *[functools.partial(TripletMiningLoss, m) for m in MININGS]],
)
def test_the_gradient_through_the_model_trains_it(loss):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(4)]
    )
    model.compile(keras.optimizers.Adam(0.05), loss(distance_metric="squared-L2"))
    labels = np.arange(32) % 8
    x = normal(0, 8, 3)[labels] + 0.1 * normal(1, 32, 3)
    history = model.fit(x, labels, batch_size=32, epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]

# SPDX-License-Identifier: MIT
"""The losses: values against NumPy loops, label forms, batches with nothing to learn from, Keras."""

import functools
import math

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from asserts import UNIT, float32_exactly, gamma, pairwise_tolerance
from inputs import integers, normal
from modes import MODES, name, with_gradient

from fslcore.data import get_dummies
from fslcore.layers import GramMatrix
from fslcore.losses import (
    BinaryCrossentropy,
    TripletHardLoss,
    TripletLoss,
    TripletSemiHardLoss,
    binary_crossentropy,
    triplet_hard_loss,
    triplet_semihard_loss,
)
from fslcore.metrics import classification_accuracy

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)

# 3 * 2 + 3 * 2 + 2 + 2 = 16 pairs: the mean of integers over a power of two is exact.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), [3, 3, 2, 2, 1]))
LABEL_FORMS = {
    "[batch] int64": LABELS,
    "[batch] float32": LABELS.astype(np.float32),
    "[batch, 1] int32": LABELS[:, None].astype(np.int32),
}
ONE_HOT = np.eye(5, dtype=np.float32)[LABELS]


# BinaryCrossentropy ---------------------------------------------------------------------------------


def crossentropy(labels, scores, balanced=False):
    """The mean over all pairs, or half over each kind; float64, pair by pair."""
    batch = len(labels)
    kinds = {True: [], False: []}
    for i, j in np.ndindex(batch, batch):
        score = min(max(float(scores[i, j]), 1e-7), 1 - 1e-7)
        match = labels[i] == labels[j]
        if not balanced or i != j:
            kinds[bool(match)].append(-math.log((score if match else 1 - score) + 1e-7))
    if not balanced:
        return sum(kinds[True] + kinds[False]) / batch**2
    return sum(0.5 * np.mean(kind) for kind in kinds.values() if kind)


# A logarithm (2 ulp), a complement, a sum and the mean of 121 losses in [0.05, 3].
BCE_TOLERANCE = gamma(4 + 2 + 121 + 4)


@in_every_mode
@pytest.mark.parametrize("balanced", [False, True], ids=["plain", "balanced"])
@pytest.mark.parametrize("labels", [*LABEL_FORMS.values(), ONE_HOT], ids=[*LABEL_FORMS, "one-hot"])
def test_binary_crossentropy(mode, labels, balanced):
    scores = oracles.sigmoid(normal(0, 11, 11)).astype(np.float32)
    got = mode(BinaryCrossentropy(balanced))(labels, scores)
    # A score near 1 makes its complement, and so a loss of size 0.05, uncertain by 20 times as much.
    assert float(got) == pytest.approx(crossentropy(LABELS, scores, balanced), rel=20 * BCE_TOLERANCE)


def test_binary_crossentropy_is_one_loss_per_pair():
    losses = binary_crossentropy([1, 1, 2], np.float32([[1, 0.5, 0.5], [0, 1, 0], [1, 0, 1]]))
    half = -math.log(0.5 + 1e-7)
    want = [[0, half, half], [15.42495, 0, 0], [15.42495, 0, 0]]
    # At 1 the clipped score is 1 - 2^-23, float32's last below 1, and its complement 2^-23.
    want[2][0] = -math.log(2.0**-23 + 1e-7)
    np.testing.assert_allclose(losses, want, rtol=1e-6, atol=2 * UNIT)  # 1e-6: the digits of 15.42495


@in_every_mode
def test_the_gradient_of_the_balanced_loss_is_zero_on_the_diagonal_and_sums_alike(mode):
    scores = np.full((11, 11), 0.5, np.float32)
    loss = BinaryCrossentropy(balanced=True)
    _, grad = mode(with_gradient(lambda scores, labels: loss(labels, scores)))(scores, LABELS)
    match = LABELS[:, None] == LABELS[None, :]
    assert not np.diag(grad).any()
    # d/dp of -log(p + eps) at 1/2 is -2 (1 - 2e-7); each kind weighs one half. 121 terms are added up.
    for kind, sign in ((match, -1), (~match, 1)):
        assert float(np.sum(np.asarray(grad)[kind])) == pytest.approx(sign, rel=gamma(130) + 2e-7)


@in_every_mode
@pytest.mark.parametrize(
    ("labels", "want"), [(np.zeros(4), 0.5), (np.arange(4), 0.5), ([7], 0.0), ([], 0.0)], ids=str
)
def test_the_balanced_loss_of_one_kind_of_pairs(mode, labels, want):
    labels = np.array(labels, np.float32)
    scores = np.full((len(labels), len(labels)), 0.5, np.float32)
    want *= -math.log(0.5 + 1e-7)
    assert float(mode(BinaryCrossentropy(balanced=True))(labels, scores)) == pytest.approx(
        want, rel=BCE_TOLERANCE
    )


@in_every_mode
@pytest.mark.parametrize("balanced", [False, True], ids=["plain", "balanced"])
def test_nan_scores_show_in_the_binary_crossentropy(mode, balanced):
    scores = np.full((3, 3), 0.5, np.float32)
    scores[0, 1] = np.nan
    assert math.isnan(float(mode(BinaryCrossentropy(balanced))(np.arange(3), scores)))


def test_sample_weights_are_for_the_rows():
    scores = oracles.sigmoid(normal(0, 3, 3)).astype(np.float32)
    losses = binary_crossentropy([0, 0, 1], scores).numpy()
    weighted = BinaryCrossentropy()(np.array([0, 0, 1]), scores, np.float32([1, 0, 2]))
    assert float(weighted) == pytest.approx((losses[0].sum() + 2 * losses[2].sum()) / 9, rel=gamma(12))


# Triplets -------------------------------------------------------------------------------------------


def addons_triplet_semihard(labels, embeddings, margin, distance_metric):
    """What TensorFlow Addons documents, by loops in float64: (loss, gap to the next tie or kink)."""
    x = np.asarray(embeddings, np.float64)
    if distance_metric == "angular":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        distance = 1 - x @ x.T
    else:
        distance = ((x[:, None] - x[None, :]) ** 2).sum(axis=2)
        if distance_metric == "L2":
            distance = np.sqrt(distance)
    terms = []
    for a, p in oracles.positive_pairs(labels):
        negatives = [distance[a, n] for n in range(len(x)) if labels[n] != labels[a]]
        outside = [d for d in negatives if d > distance[a, p]]
        terms.append(distance[a, p] - (min(outside) if outside else max(negatives)) + margin)
    return np.mean(np.maximum(terms, 0))


METRICS = {"L2": "euclidean", "squared-L2": "sqeuclidean", "angular": "cosine"}
# Addons' hard loss counts samples that are alone in their class, with D[a, p] = 0: not what is wanted here.
WANTED = {
    TripletSemiHardLoss: addons_triplet_semihard,
    TripletHardLoss: lambda labels, x, *more: oracles.triplet_hard(x, labels, more[0], METRICS[more[1]]).loss,
}
of_embeddings = pytest.mark.parametrize("loss", WANTED)


@functools.cache
def loss_in(mode, loss, metric, margin):
    return mode(loss(margin, metric))


@in_every_mode
@of_embeddings
@pytest.mark.parametrize("metric", METRICS)
def test_losses_of_embeddings(mode, loss, metric):
    embeddings = normal(0, 11, 6)
    want = WANTED[loss](LABELS, embeddings, 0.5, metric)
    tolerance = pairwise_tolerance(embeddings, embeddings, METRICS[metric])[~np.eye(11, dtype=bool)].max()
    got = float(loss_in(mode, loss, metric, 0.5)(LABELS, embeddings))
    assert abs(got - want) <= 2 * tolerance < 1e-3 * want


@in_every_mode
@pytest.mark.parametrize("labels", LABEL_FORMS.values(), ids=LABEL_FORMS.keys())
def test_triplet_semihard_is_exact_on_integers(mode, labels):
    embeddings = integers(1, 11, 3)
    want = oracles.triplet_semihard(embeddings, LABELS, 7.0)
    assert want.loss == addons_triplet_semihard(LABELS, embeddings, 7.0, "squared-L2")
    function = with_gradient(lambda x, labels: triplet_semihard_loss(labels, x, 7.0, "squared-L2"))
    loss, grad = mode(function)(embeddings, labels)
    assert float(loss) == want.loss
    np.testing.assert_array_equal(grad, float32_exactly(want.grad))


@in_every_mode
def test_triplet_hard_is_exact_on_integers(mode):
    x, labels = integers(1, 8, 3), np.array([2, 1, 2, 0, 1, 2, 0, 1])  # 8 anchors
    want = oracles.triplet_hard(x, labels, 7.0)
    loss, grad = mode(with_gradient(lambda x: triplet_hard_loss(labels, x, 7.0, "squared-L2")))(x)
    assert float(loss) == want.loss
    np.testing.assert_array_equal(grad, float32_exactly(want.grad))


@keras.saving.register_keras_serializable(package="tests")
def manhattan(embeddings):
    return tf.reduce_sum(tf.abs(embeddings[:, None] - embeddings[None, :]), axis=2)


@in_every_mode
@of_embeddings
def test_a_distance_of_your_own(mode, loss):
    embeddings = integers(1, 11, 3)
    oracle = oracles.triplet_hard if loss is TripletHardLoss else oracles.triplet_semihard
    want = oracle(embeddings, LABELS, 3.0, "manhattan").loss
    # Of integers the sum is exact, the mean over 10 anchors is not.
    assert float(mode(loss(3.0, manhattan))(LABELS, embeddings)) == pytest.approx(want, rel=gamma(2))


# XLA takes three seconds for a program that mines a matrix: two of them are enough.
IN_MODES_OF_A_MATRIX = [(mode, LABELS) for mode in MODES[:3]] + [(mode, ONE_HOT) for mode in MODES]


@pytest.mark.parametrize(("mode", "labels"), IN_MODES_OF_A_MATRIX)
def test_triplet_loss_on_distances(mode, labels):
    x = integers(1, 11, 3)
    want = oracles.triplet_semihard(x, LABELS, 7.0).loss
    got = mode(TripletLoss(7.0))(labels, oracles.pairwise(x).astype(np.float32))
    assert float(got) == want > 0


NO_PAIRS = {"no samples": [], "one sample": [3], "one class": [2] * 4, "all different": range(4)}


def assert_loss_and_gradient_zero(function, loss, predictions, labels):
    value, grad = function(with_gradient(lambda x, labels: loss(labels, x)))(predictions, labels)
    assert float(value) == 0.0
    np.testing.assert_array_equal(grad, np.zeros_like(predictions), strict=True)


@in_every_mode
@of_embeddings
@pytest.mark.parametrize("labels", NO_PAIRS.values(), ids=NO_PAIRS.keys())
def test_embeddings_without_a_triplet(mode, loss, labels):
    labels = np.array(labels, np.int64)
    assert_loss_and_gradient_zero(mode, loss(), integers(0, len(labels), 3), labels)


@pytest.mark.parametrize("mode", MODES[:3], ids=name)
@pytest.mark.parametrize("labels", NO_PAIRS.values(), ids=NO_PAIRS.keys())
def test_distances_without_a_triplet(mode, labels):
    labels = np.array(labels, np.int64)
    assert_loss_and_gradient_zero(mode, TripletLoss(), integers(0, len(labels), len(labels)), labels)


def test_distances_without_a_triplet_in_xla():
    assert_loss_and_gradient_zero(MODES[3], TripletLoss(), integers(0, 4, 4), np.array([2] * 4))


def test_embeddings_and_their_distances_give_the_same_loss():
    x = tf.constant(integers(0, 11, 3))
    model = keras.Sequential([keras.Input((3,)), GramMatrix("sqeuclidean")])
    on_embeddings, dx = with_gradient(lambda x: TripletSemiHardLoss(50.0, "squared-L2")(LABELS, x))(x)
    on_distances, same_dx = with_gradient(lambda x: TripletLoss(50.0)(LABELS, model(x)))(x)
    assert float(on_embeddings) == float(on_distances) > 0
    np.testing.assert_array_equal(dx, same_dx)


@pytest.mark.parametrize(
    ("loss", "function"),
    [(TripletSemiHardLoss, triplet_semihard_loss), (TripletHardLoss, triplet_hard_loss)],
)
@pytest.mark.parametrize("metric", ["l2", "cosine", None, 2], ids=str)
def test_unknown_distances_are_refused(loss, function, metric):
    message = r"distance_metric must be one of L2, squared-L2, angular or a function.*received " + repr(
        metric
    )
    with pytest.raises(ValueError, match=message):
        loss(distance_metric=metric)
    with pytest.raises(ValueError, match=message):
        function([0, 0], np.zeros((2, 2)), distance_metric=metric)


def test_triplets_have_no_sample_weights():
    with pytest.raises(ValueError, match="sample_weight must be None"):
        TripletLoss()(LABELS, np.zeros((11, 11)), np.ones(11))


@pytest.mark.parametrize(
    ("loss", "predictions", "message"),
    [
        (BinaryCrossentropy(), np.zeros((11, 3)), r"y_pred must be one matrix \[batch, batch\]"),
        (TripletLoss(), np.zeros((11, 3)), r"y_pred must be one matrix \[batch, batch\]"),
        (TripletSemiHardLoss(), np.zeros((11, 3, 2)), r"y_pred must be embeddings \[batch, dim\]"),
        (TripletSemiHardLoss(), np.zeros((10, 3)), "y_true must hold one label per sample"),
        (TripletHardLoss(), np.zeros((11, 3, 2)), r"y_pred must be embeddings \[batch, dim\]"),
    ],
    ids=range(5),
)
def test_predictions_of_another_shape_are_refused(loss, predictions, message):
    with pytest.raises(ValueError, match=message):
        loss(LABELS, predictions)


def test_one_hot_labels_are_refused_where_addons_takes_none():
    with pytest.raises(ValueError, match=r"one class id per sample.*argmax"):
        TripletSemiHardLoss()(ONE_HOT, np.zeros((11, 3)))


# Keras ----------------------------------------------------------------------------------------------


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


@of_embeddings
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

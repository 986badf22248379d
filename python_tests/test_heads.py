# SPDX-License-Identifier: MIT
"""LearntNorms, MixedNorms and functions as kernels: the pairs' scores, their weights, saving, training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from asserts import UNIT, assert_bit_identical
from inputs import integers, normal
from routes import MODES, name

from fslcore import kernels
from fslcore.layers import CentroidsMatrix, GramMatrix, LearntNorms, MixedNorms, PairFunction
from fslcore.losses import BinaryCrossentropy

NOTEBOOKS = ["unit_product", "absolute", "softmax", "squared"]
HEADS = {
    "learnt": LearntNorms,
    "symmetric": lambda: LearntNorms(8, symmetric=True),
    "mixed": lambda: MixedNorms(activation=None),
    "mixed as in the notebooks": lambda: MixedNorms(NOTEBOOKS, 16, use_bias=False),
}


@keras.saving.register_keras_serializable(package="tests")
def product_of_sums(a, b):
    return tf.reduce_sum(a, axis=1) * tf.reduce_sum(2.0 * b, axis=1)


def built(head, *shape):
    keras.utils.set_random_seed(3)
    head.build([shape, shape])
    head.set_weights([w + 0.1 * normal(i, *w.shape) for i, w in enumerate(head.get_weights())])
    return head


def reference(head, a, b):
    """keras-fsl's layers on pairs [pairs, dim]: two convolutions and a dense layer."""
    values = {"first": a, "second": b, "product": a * b, "sum": a + b, "absolute": abs(a - b),
              "squared": (a - b) ** 2, "softmax": tf.nn.softmax(abs(a - b)).numpy()}  # fmt: skip
    axis = 1 if getattr(head, "unit", "row") == "row" else None
    unit = [tf.nn.l2_normalize(row, axis=axis).numpy() for row in (a, b)]
    values["unit_product"] = 1 - unit[0] * unit[1]
    stack = np.stack([values[norm] for norm in head.norms], axis=-1)
    hidden = tf.nn.relu(stack @ head.hidden.numpy().T + head.hidden_bias.numpy()).numpy()
    average = hidden @ head.mixing.numpy() + head.mixing_bias.numpy()
    scores = average @ head.kernel.numpy() + (0.0 if head.bias is None else head.bias.numpy())
    return keras.activations.get(head.activation)(scores)


def tolerance(head):
    # Sums of dim * filters * norms terms of size 1 in one order or the other.
    return 16 * np.sqrt(7 * head.filters * len(head.norms)) * UNIT * 8


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_the_matrix_has_the_scores_of_keras_fsl_for_all_pairs(make):
    x, y = normal(0, 6, 7), normal(1, 4, 7)
    head = built(make(), None, 7)
    pairs = np.repeat(x, 4, axis=0), np.tile(y, (6, 1))
    want = np.reshape(reference(head, *pairs), (6, 4))
    np.testing.assert_allclose(GramMatrix(head).pairwise(x, y), want, rtol=0, atol=tolerance(head))
    got = head([tf.constant(rows) for rows in pairs])
    assert got.shape == (24, 1)
    np.testing.assert_allclose(np.reshape(got, (6, 4)), want, rtol=0, atol=tolerance(head))


@pytest.mark.parametrize("mode", MODES, ids=name)
def test_the_batch_wide_unit_and_symmetry_on_every_route(mode):
    x = normal(0, 9, 7)
    head = built(MixedNorms(NOTEBOOKS, 8, unit="batch"), None, 7)
    want = np.reshape(reference(head, np.repeat(x, 9, axis=0), np.tile(x, (9, 1))), (9, 9))
    np.testing.assert_allclose(mode(GramMatrix(head))(x), want, rtol=0, atol=tolerance(head))
    symmetric = np.asarray(mode(GramMatrix(built(LearntNorms(symmetric=True), None, 7)))(x))
    assert_bit_identical(symmetric, symmetric.T.copy())
    one_hot = np.eye(3, dtype=np.float32)[np.arange(9) % 3]
    learnt = built(LearntNorms(4), None, 7)
    scores = mode(CentroidsMatrix(learnt, "softmax"))([x, one_hot]) if mode is MODES[0] else None
    if scores is not None:
        centroids = np.stack([x[i::3].mean(axis=0) for i in range(3)])
        want = keras.activations.softmax(GramMatrix(learnt).pairwise(x, centroids))
        np.testing.assert_allclose(scores, want, rtol=1e-5)


def test_weights_are_as_many_as_in_keras_fsl_and_maps_become_rows():
    assert built(LearntNorms(), None, 64).count_params() == 194
    assert built(LearntNorms(symmetric=True), None, 64).count_params() == 194
    assert built(MixedNorms(), None, 64).count_params() == 258
    maps = normal(0, 3, 2, 2, 5), normal(1, 3, 2, 2, 5)
    learnt = built(LearntNorms(), None, 2, 2, 5)
    assert learnt.kernel.shape == (20,)
    rows = [image.reshape(3, 20) for image in maps]
    np.testing.assert_allclose(learnt([*map(tf.constant, maps)])[:, 0], reference(learnt, *rows), rtol=1e-5)
    mixed = built(MixedNorms(), None, 2, 2, 5)
    rows = [image.mean(axis=(1, 2)) for image in maps]
    np.testing.assert_allclose(mixed([*map(tf.constant, maps)])[:, 0], reference(mixed, *rows), rtol=1e-4)


@pytest.mark.parametrize(
    "kernel", [*HEADS.values(), lambda: product_of_sums], ids=[*HEADS, "a registered function"]
)
def test_a_model_is_saved_before_and_after_it_is_built(tmp_path, kernel):
    again = GramMatrix.from_config(GramMatrix(kernel()).get_config())
    assert again.get_config()["kernel"]["class_name"] == type(again.kernel).__name__
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5), GramMatrix(kernel())])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = normal(0, 6, 3)
    assert_bit_identical(loaded(x), model(x))


def test_a_function_and_the_cosine_similarity_are_kernels():
    x = integers(0, 5, 4)
    want = x.sum(axis=1)[:, None] * 2 * x.sum(axis=1)
    np.testing.assert_array_equal(GramMatrix(product_of_sums, pairs_per_block=10)(x), want)
    got = GramMatrix("cosine_similarity")(x)
    np.testing.assert_array_equal(got, 1 - 0.5 * kernels.pairwise(x, metric="cosine"))
    assert float(got[0, 0]) == 1.0
    with pytest.raises(ValueError, match="function must be a function registered with"):
        PairFunction(lambda a, b: a)
    with pytest.raises(ValueError, match=r"kernel must be one of .*registered with keras.saving.*received"):
        GramMatrix(lambda a, b: a)
    # A function that returns the wrong shape is refused when the layer is built.
    with pytest.raises(ValueError, match=r"kernel must return \[pairs, 1\] or \[pairs\]"):
        GramMatrix(keras.layers.Concatenate())(x)


def test_wrong_arguments_of_heads_are_refused():
    for make, message in {
        "filters must be at least 1, received filters=0": lambda: LearntNorms(0),
        "symmetric must be True or False": lambda: LearntNorms(symmetric="yes"),
        "norms must be a list of different names": lambda: MixedNorms(["sum", "sum"]),
        "unit must be one of row, batch": lambda: MixedNorms(unit="rows"),
        "inputs must be two matrices": lambda: LearntNorms()([np.ones((2, 3)), np.ones((2, 4))]),
    }.items():
        with pytest.raises(ValueError, match=make):
            message()


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_heads_train_in_fit_also_in_half_precision(jit_compile):
    keras.utils.set_random_seed(0)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(6), GramMatrix("MixedNorms")])
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile(keras.optimizers.Adam(0.01), BinaryCrossentropy(balanced=True), jit_compile=jit_compile)
    labels = np.arange(24) % 6
    x = normal(0, 6, 5)[labels] + 0.1 * normal(1, 24, 5)
    history = model.fit(x, labels, batch_size=24, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]

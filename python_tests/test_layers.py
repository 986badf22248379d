# SPDX-License-Identifier: MIT
"""GramMatrix and DenseSigmoid with the named kernels, and the arguments of the layers with a kernel.

CentroidsMatrix is in test_centroids.py, layers as kernels in test_row_blocks.py.
"""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
from asserts import assert_bit_identical, float32_exactly, gamma, pairwise_tolerance
from inputs import integers, normal, signs
from routes import MODES, name, with_gradient

from fslcore import kernels
from fslcore.layers import CentroidsMatrix, DenseSigmoid, GramMatrix
from fslcore.losses import BinaryCrossentropy

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)

METRICS = [metric for metric in kernels.METRICS if metric != "weighted_manhattan"]


def trained(layer, *shapes):
    """The layer, built for inputs of those shapes, with integers as its weights."""
    layer.build(shapes[0] if len(shapes) == 1 else list(shapes))
    layer.set_weights([integers(i, *w.shape) for i, w in enumerate(layer.weights)])
    return layer


# GramMatrix -----------------------------------------------------------------------------------------


@in_every_mode
@pytest.mark.parametrize("metric", METRICS)
def test_gram_matrix_of_a_metric(mode, metric):
    x = signs(0, 7, 16)  # rows of length 4: even cosines are exact
    layer = GramMatrix(metric)
    want = oracles.pairwise(x, metric=metric).astype(np.float32)
    np.testing.assert_array_equal(mode(layer)(x), want, strict=True)
    assert layer.weights == []


@in_every_mode
@pytest.mark.parametrize("use_bias", [True, False], ids=["bias", "no bias"])
def test_weights_of_the_kernel_are_used_and_trained(mode, use_bias):
    x, upstream = integers(0, 6, 5), integers(1, 6, 6)
    kernel = {"name": "weighted_manhattan", "init": {"use_bias": use_bias}}
    layer = trained(GramMatrix(kernel), (None, 5))
    weights, *bias = layer.get_weights()
    assert len(bias) == use_bias

    def gradients(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = layer(x)
        return out, *tape.gradient(out, [x, *layer.trainable_variables], output_gradients=upstream)

    out, dx, *dweights = mode(gradients)(tf.constant(x), tf.constant(upstream))
    options = {"weights": weights, "bias": float(bias[0]) if bias else 0.0}
    want = oracles.pairwise(x, metric="weighted_manhattan", **options)
    np.testing.assert_array_equal(out, float32_exactly(want), strict=True)
    want = oracles.pairwise_grad(x, None, upstream, "weighted_manhattan", **options)
    np.testing.assert_array_equal(dx, float32_exactly(want.x + want.y))
    np.testing.assert_array_equal(dweights[0], float32_exactly(want.weights))
    assert [float(g) for g in dweights[1:]] == [want.bias] * use_bias


def test_gram_matrix_is_the_pair_layer_on_every_pair():
    x = normal(0, 6, 9)
    layer = GramMatrix("DenseSigmoid")
    gram = layer(x)
    pairs = layer.kernel([np.repeat(x, 6, axis=0), np.tile(x, (6, 1))])
    assert pairs.shape == (36, 1)
    # Two evaluations of one sigmoid of one sum, each within the tolerance of the exact value.
    options = {"weights": layer.kernel.kernel.numpy(), "bias": 0.0, "activation": "sigmoid"}
    tolerance = 2 * pairwise_tolerance(x, x, "weighted_manhattan", **options)
    assert np.all(np.abs(gram - tf.reshape(pairs, (6, 6))) <= tolerance)


def test_a_support_set_is_compared_by_pairwise():
    query, support = integers(0, 4, 5), integers(1, 3, 5)
    layer = trained(GramMatrix("weighted_manhattan"), (None, 5))
    want = oracles.pairwise(query, support, "weighted_manhattan", weights=layer.get_weights()[0])
    np.testing.assert_array_equal(layer.pairwise(query, support), float32_exactly(want), strict=True)


def test_pairwise_makes_the_weights_it_needs():
    assert GramMatrix("DenseSigmoid").pairwise(normal(0, 4, 5), normal(1, 3, 5)).shape == (4, 3)


def test_dense_sigmoid_has_a_weight_per_dimension_and_a_bias():
    layer = DenseSigmoid()
    layer.build([(None, 64), (None, 64)])
    assert layer.count_params() == 65
    limit = np.sqrt(6 / 65)  # Glorot and Bengio, 2010, for 64 inputs and one output
    weights = layer.kernel.numpy()
    assert limit / 2 < np.abs(weights).max() <= limit
    assert float(layer.bias.numpy()) == 0.0
    assert DenseSigmoid(use_bias=False).compute_output_shape([(7, 3), (7, 3)]) == (7, 1)


@in_every_mode
@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(mode, batch):
    assert mode(GramMatrix("DenseSigmoid"))(np.ones((batch, 3), np.float32)).shape == (batch, batch)


def test_shapes_of_symbolic_inputs():
    embeddings, labels = keras.Input((8,)), keras.Input((3,))
    gram = GramMatrix()(embeddings)
    assert (gram.shape, gram.dtype) == ((None, None), "float32")
    assert CentroidsMatrix("euclidean")([embeddings, labels]).shape == (None, 3)


# Arguments ------------------------------------------------------------------------------------------


WRONG_KERNELS = {
    "unknown name": "squared",
    "a number": 3,
    "a function": len,
    "an unknown key": {"name": "DenseSigmoid", "kwargs": {}},
    "no name": {"init": {}},
    "arguments for a metric": {"name": "cosine", "init": {"use_bias": True}},
}


@pytest.mark.parametrize("kernel", WRONG_KERNELS.values(), ids=WRONG_KERNELS.keys())
@pytest.mark.parametrize("layer", [GramMatrix, CentroidsMatrix])
def test_unknown_kernels_are_refused(layer, kernel):
    with pytest.raises(ValueError, match=r"kernel must be one of DenseSigmoid, .*cosine, .* received"):
        layer(kernel)


def test_the_mapping_of_the_caller_is_left_alone():
    kernel = {"name": "DenseSigmoid", "init": {"use_bias": False}}
    layer = GramMatrix(kernel)
    assert not layer.kernel.use_bias
    assert kernel == {"name": "DenseSigmoid", "init": {"use_bias": False}}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: GramMatrix(pairs_per_block=0),
            "pairs_per_block must be at least 1, received pairs_per_block=0",
        ),
        (
            lambda: DenseSigmoid(activation="relu"),
            "activation must be None or 'sigmoid', received activation='relu'",
        ),
        (
            lambda: GramMatrix()(np.zeros((4, 4, 2))),
            r"embeddings must be \[batch, dim\].*received shape \(4, 4, 2\)",
        ),
        (lambda: GramMatrix()(keras.Input((None,))), r"with a known dim, received shape \(None, None\)"),
        (lambda: DenseSigmoid()([np.zeros((4, 3)), np.zeros((4, 2))]), r"two matrices \[pairs, dim\]"),
        (lambda: CentroidsMatrix()(np.zeros((4, 3))), r"a list \[embeddings, labels_one_hot\]"),
        (lambda: CentroidsMatrix()([np.zeros((4, 3))] * 3), r"a list \[embeddings, labels_one_hot\]"),
        (
            lambda: CentroidsMatrix()([np.zeros((4, 3)), np.zeros(4)]),
            r"labels_one_hot must be \[batch, classes\]",
        ),
    ],
    ids=range(8),
)
def test_wrong_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# Models ---------------------------------------------------------------------------------------------


def siamese(kernel, dim=6):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(dim), GramMatrix(kernel)]
    )


KERNELS = {
    "a metric": "cosine",
    "DenseSigmoid": "DenseSigmoid",
    "a mapping": {"name": "DenseSigmoid", "init": {"use_bias": False}},
    "a layer": DenseSigmoid(activation=None),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
def test_a_saved_model_is_the_same_model(tmp_path, kernel):
    model = siamese(kernel)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = normal(0, 5, 4, 4, 1)
    assert_bit_identical(loaded(x), model(x))
    kernels_of = [m.layers[-1].kernel for m in (loaded, model)]
    configs = [k if isinstance(k, str) else k.get_config() for k in kernels_of]
    assert configs[0] == configs[1]


def test_graph_and_xla_train_alike():
    x, labels = normal(0, 24, 4, 4, 1), np.arange(24) % 6
    losses, compiled = {}, {}
    for jit_compile in (False, True, "auto"):
        model = siamese("DenseSigmoid")
        model.compile(keras.optimizers.SGD(0.1), BinaryCrossentropy(), jit_compile=jit_compile)
        losses[jit_compile] = model.fit(x, labels, batch_size=10, epochs=3, shuffle=False, verbose=0).history[
            "loss"
        ]
        compiled[jit_compile] = model.jit_compile
    assert compiled == {False: False, True: True, "auto": bool(tf.config.list_physical_devices("GPU"))}
    assert losses[False][-1] < losses[False][0]
    # The same sums in another order: 16 + 6 terms to a score, 100 scores to a loss, and again backward. The
    # rounding of a step changes the weights by so little that the 9 steps, of rate 0.1, hardly amplify it.
    tolerance = 9 * gamma(2 * (16 + 6 + 100))
    np.testing.assert_allclose(losses[True], losses[False], rtol=tolerance)
    np.testing.assert_allclose(losses["auto"], losses[False], rtol=tolerance)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def mixed_policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("kernel", ["sqeuclidean", "DenseSigmoid"])
def test_mixed_precision_scores_are_float32(mixed_policy, kernel):
    model = siamese(kernel)
    half = mixed_policy.removeprefix("mixed_")
    assert model.layers[-2].compute_dtype == half
    assert {w.dtype for w in model.weights} == {"float32"}
    x = normal(0, 5, 4, 4, 1)
    scores = model(x)
    assert scores.dtype == tf.float32
    # The embeddings are rounded to half precision; from there on everything is as in float32.
    embeddings = tf.cast(keras.Sequential(model.layers[:-1])(x), tf.float32).numpy()
    layer = model.layers[-1]
    options = {"metric": kernel}
    if kernel == "DenseSigmoid":
        weights, bias = layer.get_weights()
        options = {
            "metric": "weighted_manhattan",
            "weights": weights,
            "bias": float(bias),
            "activation": "sigmoid",
        }
    assert_bit_identical(scores, kernels.pairwise(embeddings, **options))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_mixed_precision_trains(mixed_policy, jit_compile):
    model = siamese("DenseSigmoid")
    model.compile("sgd", BinaryCrossentropy(), jit_compile=jit_compile)
    losses = model.fit(normal(0, 20, 4, 4, 1), np.arange(20) % 5, batch_size=10, epochs=2, verbose=0).history[
        "loss"
    ]
    assert np.isfinite(losses).all()


@in_every_mode
def test_the_gradient_reaches_the_embeddings_of_every_metric(mode):
    x, upstream = integers(0, 5, 4), integers(1, 5, 5)
    layer = GramMatrix("manhattan")
    _, grad = mode(with_gradient(lambda x: tf.reduce_sum(upstream * layer(x))))(x)
    want = oracles.pairwise_grad(x, None, upstream, "manhattan")
    np.testing.assert_array_equal(grad, float32_exactly(want.x + want.y))

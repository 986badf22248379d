# SPDX-License-Identifier: MIT
"""The ops where TensorFlow users put them: tapes, loops, pipelines, saved models, Keras, mixed precision."""

import keras
import numpy as np
import oracles
import pytest
import tensorflow as tf
import warm
from asserts import assert_bit_identical, float32_exactly
from inputs import integers, normal, signs
from mining import MININGS, mine, triplet_loss
from routes import compiled

from fslcore import kernels, ops

WEIGHTED = "weighted_manhattan"


# Gradients ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["sqeuclidean", "dot", "manhattan", WEIGHTED])
def test_the_tape_reaches_every_argument(mode, metric):
    x, y, grad = integers(0, 4, 9), integers(1, 5, 9), integers(2, 4, 5)
    weighted = metric == WEIGHTED
    weights, bias = integers(3, 9), np.float32(-3)
    tensors = [tf.constant(a) for a in ((x, y, weights, bias) if weighted else (x, y))]

    @mode
    def gradients(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            options = {"weights": tensors[2], "bias": tensors[3]} if weighted else {}
            loss = tf.reduce_sum(grad * ops.pairwise(tensors[0], tensors[1], metric, **options))
        return tape.gradient(loss, tensors)

    options = {"weights": weights, "bias": bias} if weighted else {}
    want = oracles.pairwise_grad(x, y, grad, metric, **options)
    for got, wanted in zip(gradients(*tensors), want, strict=False):
        np.testing.assert_array_equal(got, float32_exactly(wanted))


@pytest.mark.parametrize(
    ("metric", "activation"), [("euclidean", None), ("cosine", None), (WEIGHTED, "sigmoid")], ids=str
)
def test_the_tape_gives_what_pairwise_grad_gives(mode, metric, activation):
    x, y, grad = normal(0, 4, 9), normal(1, 5, 9), normal(2, 4, 5)
    options = {"weights": normal(3, 9), "bias": 0.25, "activation": activation} if activation else {}

    @mode
    def gradients(x, y):
        with tf.GradientTape() as tape:
            tape.watch((x, y))
            loss = tf.reduce_sum(grad * ops.pairwise(x, y, metric, **options))
        return tape.gradient(loss, (x, y))

    want = kernels.pairwise_grad(x, y, grad, metric, **options)
    for got, wanted in zip(gradients(tf.constant(x), tf.constant(y)), want[:2], strict=True):
        assert_bit_identical(got, wanted)


def test_the_gradient_of_a_gram_matrix_adds_both_sides(mode):
    x, grad = integers(0, 6, 3), integers(1, 6, 6)

    @mode
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(grad * ops.pairwise(x))
        return tape.gradient(loss, x)

    want = oracles.pairwise_grad(x, None, grad)
    np.testing.assert_array_equal(gradient(tf.constant(x)), float32_exactly(want.x + want.y))


def test_variables_as_weights_and_bias_are_trained(mode):
    x, y = integers(0, 4, 9), integers(1, 5, 9)
    weights, bias = tf.Variable(integers(3, 9)), tf.Variable(-3.0)

    @mode
    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(ops.pairwise(x, y, WEIGHTED, weights=weights, bias=bias))
        return tape.gradient(loss, (weights, bias))

    want = oracles.pairwise_grad(x, y, np.ones((4, 5)), WEIGHTED, weights=weights.numpy(), bias=-3.0)
    for got, wanted in zip(gradients(), (want.weights, want.bias), strict=True):
        np.testing.assert_array_equal(got, float32_exactly(wanted))


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine"])
def test_the_tape_through_the_triplet_loss_scales_its_gradient(mode, metric, mining):
    x, labels = normal(0, 14, 5), np.arange(14) % 4

    @mode
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = 4.0 * triplet_loss(ops, mining, x, labels, 0.5, metric).loss
        return tape.gradient(loss, x)

    want = triplet_loss(kernels, mining, x, labels, 0.5, metric)
    assert want.grad.any()
    assert_bit_identical(gradient(tf.constant(x)), 4 * want.grad)  # a power of two only shifts the exponent


def test_indices_and_images_have_no_gradient():
    x, labels = tf.constant(normal(0, 6, 2)), tf.constant([0, 0, 1, 1, 2, 2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        anchor, _, negative = ops.mine_semihard(x, labels)
        loss = tf.reduce_sum((tf.gather(x, anchor) - tf.gather(x, negative)) ** 2)
    # The mined indices are constants to the tape, as for any miner: the rest is ordinary autodiff.
    dense = tf.convert_to_tensor(tape.gradient(loss, x))
    differences = x.numpy()[anchor] - x.numpy()[negative]
    want = np.zeros((6, 2), np.float32)
    np.add.at(want, anchor, 2 * differences)
    np.subtract.at(want, negative, 2 * differences)
    np.testing.assert_allclose(dense, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("batch", [0, 1, 2])
def test_xla_gathers_with_the_indices_of_small_batches(mining, batch):
    x, labels = tf.ones([batch, 3]), tf.range(batch)  # no two of a class, so no triplet
    gathered = compiled(lambda x, labels: [tf.gather(x, part) for part in mine(ops, mining, x, labels)])(
        x, labels
    )
    assert [tuple(part.shape) for part in gathered] == [(0, 3)] * 3


# Control flow and shapes ----------------------------------------------------------------------------


def test_inside_a_while_loop_and_differentiated_through_it(mode):
    x = signs(0, 4, 4) / 4

    def step(a):
        return a + 0.25 * tf.linalg.matmul(ops.pairwise(a), a)

    @mode
    def looped(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            _, a = tf.while_loop(
                lambda i, _: i < 3, lambda i, a: (i + 1, step(a)), (tf.constant(0), x), maximum_iterations=3
            )
            loss = tf.reduce_sum(a)
        return a, tape.gradient(loss, x)

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        want = step(step(step(x)))
        loss = tf.reduce_sum(want)
    a, gradient = looped(x)
    # The matrix products of Eigen and of XLA add up in different orders: 3 steps of 4 terms below 100.
    np.testing.assert_allclose(a, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, tape.gradient(loss, x), rtol=1e-4, atol=1e-4)


def test_shapes_are_inferred_as_far_as_they_are_known():
    inferred = {}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 8], tf.float32),
            tf.TensorSpec([5, 8], tf.float32),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 28, 28, 1], tf.uint8),
        ]
    )
    def trace(x, y, labels, store):
        indices = ops.sample_episodes(labels, 3, 1, 2, 4, 0)
        inferred.update(
            pairwise=ops.pairwise(x, y),
            grad=ops.triplet_semihard(x, labels).grad,
            loss=ops.triplet_semihard(x, labels).loss,
            anchor=ops.mine_semihard(x, labels)[0],
            hard_grad=ops.triplet_hard(x, labels).grad,
            hard_anchor=ops.mine_hard(x, labels)[0],
            indices=indices,
            images=ops.gather_images(store, indices),
        )
        inferred.update({name: tuple(tensor.shape) for name, tensor in inferred.items()})
        return 0

    trace.get_concrete_function()
    assert inferred == {
        "pairwise": (None, 5),
        "grad": (None, 8),
        "loss": (),
        "anchor": (None,),
        "hard_grad": (None, 8),
        "hard_anchor": (None,),
        "indices": (4, 3, 3),
        "images": (4, 3, 3, 28, 28, 1),
    }


def test_unknown_rank_is_settled_at_run_time():
    spec = tf.TensorSpec(None, tf.float32)
    gram = tf.function(lambda x, y: ops.pairwise(x, y, "dot"), input_signature=[spec, spec])
    x, y = integers(0, 3, 4), integers(1, 5, 4)
    np.testing.assert_array_equal(gram(tf.constant(x), tf.constant(y)), x @ y.T)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x must.*received"):
        gram(tf.constant(x[0]), tf.constant(y))


@pytest.mark.parametrize("mining", MININGS)
def test_a_compiled_function_follows_a_changing_batch(mining):
    loss = tf.function(
        lambda x, labels: triplet_loss(ops, mining, x, labels).loss,
        input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None], tf.int32)],
        jit_compile=True,
    )
    for batch in (0, 6, 9, 6):
        x, labels = normal(batch, batch, 3), (np.arange(batch) % 3).astype(np.int32)
        assert_bit_identical(loss(x, labels), np.float32(triplet_loss(kernels, mining, x, labels).loss))


@pytest.mark.parametrize("mining", MININGS)
def test_rows_selected_inside_a_compiled_function(mining):
    # tf.boolean_mask has a size that XLA knows at run time only, with the number of rows as its bound.
    x, labels = integers(0, 12, 3), np.arange(12) % 4
    keep = labels != 2

    def masked(x, labels, keep):
        x, labels = tf.boolean_mask(x, keep), tf.boolean_mask(labels, keep)
        loss, grad, num_pairs = triplet_loss(ops, mining, x, labels, 24.0)
        anchor, positive, negative = mine(ops, mining, x, labels)
        between = tf.gather(x, anchor) + tf.gather(x, positive) - tf.gather(x, negative)
        return ops.pairwise(x), loss, tf.reduce_sum(grad, axis=0), num_pairs, tf.reduce_sum(between, axis=0)

    arguments = [tf.constant(a) for a in (x, labels, keep)]
    got = tf.function(masked, jit_compile=True)(*arguments)
    want = masked(*arguments)
    np.testing.assert_array_equal(want[0], float32_exactly(oracles.pairwise(x[keep])))
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_array_equal(part, wanted)


# Data types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_results_are_float32_and_gradients_have_the_dtype_of_their_input(mode, dtype):
    x, labels = tf.cast(integers(0, 8, 3), dtype), np.arange(8) // 2

    @mode
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            gram, loss = ops.pairwise(x), ops.triplet_semihard(x, labels, 24.0).loss
            total = tf.reduce_sum(gram) + loss
        return gram, loss, tape.gradient(total, x)

    gram, loss, gradient = run(x)
    assert (gram.dtype, loss.dtype, gradient.dtype) == (tf.float32, tf.float32, x.dtype)
    np.testing.assert_array_equal(gram, float32_exactly(oracles.pairwise(integers(0, 8, 3))))


def test_denormals_are_flushed_alike_by_numpy_and_tensorflow(mode):
    # Squares and products of 1e-20 lie below the smallest normal float32; TensorFlow's threads flush them.
    x = np.concatenate([normal(0, 100, 3) * np.float32(1e-20), normal(1, 100, 3)])
    for metric in ("sqeuclidean", "dot"):
        got = mode(lambda x, metric=metric: ops.pairwise(x, metric=metric))(tf.constant(x))
        assert_bit_identical(got, kernels.pairwise(x, metric=metric))


# Pipelines, saved models, Keras ---------------------------------------------------------------------


def test_episodes_and_images_inside_a_dataset():
    labels = np.repeat(np.arange(6), 4)
    store = np.random.default_rng(0).integers(0, 256, (24, 5, 5, 1), np.uint8)

    def draw(episode):
        indices = ops.sample_episodes(labels, 3, 1, 2, 1, seed=9, first_episode=episode)[0]
        return indices, ops.gather_images(store, indices, rotations=indices[:, 0] % 4)

    drawn = tf.data.Dataset.range(2, 8).map(draw, num_parallel_calls=2, deterministic=True)
    assert [tuple(spec.shape) for spec in drawn.element_spec] == [(3, 3), (3, 3, 5, 5, 1)]
    want = kernels.sample_episodes(labels, 3, 1, 2, 6, seed=9, first_episode=2)
    for (indices, images), wanted in zip(drawn, want, strict=True):
        assert_bit_identical(indices, wanted)
        assert_bit_identical(images, oracles.gather_images(store, wanted, wanted[:, 0] % 4))


class Scorer(tf.Module):
    """A served function: the same body in a graph and compiled."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None, 4], tf.float32)])
    def score(self, x, y):
        return ops.pairwise(x, y)

    @tf.function(
        input_signature=[tf.TensorSpec([None, 4], tf.float32), tf.TensorSpec([None], tf.int64)],
        jit_compile=True,
    )
    def loss(self, x, labels):
        return ops.triplet_semihard(x, labels).loss


SERVE = """
import sys
import numpy as np, tensorflow as tf
import fslcore.ops
served = tf.saved_model.load(sys.argv[1])
x = tf.constant(np.load(sys.argv[1] + "/x.npy"))
np.save(sys.argv[1] + "/scores.npy", served.score(x, x[:3]).numpy())
np.save(sys.argv[1] + "/loss.npy", served.loss(x, tf.range(len(x), dtype=tf.int64) // 2).numpy())
"""


@pytest.mark.parametrize("process", ["same", "fresh"])
def test_a_saved_model_serves_the_ops(tmp_path, process):
    x = integers(0, 8, 4)
    tf.saved_model.save(Scorer(), tmp_path)
    if process == "same":
        served = tf.saved_model.load(tmp_path)
        scores, loss = served.score(x, x[:3]), served.loss(x, np.arange(8) // 2)
    else:
        np.save(tmp_path / "x.npy", x)
        done = warm.run(["-c", SERVE, tmp_path])
        assert done.returncode == 0, done.stderr
        scores, loss = np.load(tmp_path / "scores.npy"), np.load(tmp_path / "loss.npy")
    np.testing.assert_array_equal(scores, float32_exactly(oracles.pairwise(x, x[:3])))
    assert_bit_identical(loss, np.float32(kernels.triplet_semihard(x, np.arange(8) // 2).loss))


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_keras_fits_an_encoder_with_the_triplet_loss(jit_compile):
    keras.utils.set_random_seed(0)
    # Three classes around (8, 0, 0), (0, 8, 0), (0, 0, 8), projected to a plane by the layer to be trained.
    labels = np.arange(48) % 3
    x = normal(0, 48, 3) + 8 * np.eye(3, dtype=np.float32)[labels]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    model.compile(
        keras.optimizers.SGD(1e-3),
        loss=lambda y, z: ops.triplet_semihard(z, tf.cast(tf.reshape(y, [-1]), tf.int64)).loss,
        jit_compile=jit_compile,
    )
    history = model.fit(x, labels, batch_size=24, epochs=5, shuffle=False, verbose=0).history["loss"]
    assert np.all(np.isfinite(history))
    assert history[-1] < history[0]


def test_map_fn_runs_the_op_per_element(mode):
    stack = integers(0, 3, 4, 2)
    got = mode(lambda stack: tf.map_fn(ops.pairwise, stack))(tf.constant(stack))
    np.testing.assert_array_equal(got, np.stack([float32_exactly(oracles.pairwise(x)) for x in stack]))

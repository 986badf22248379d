# SPDX-License-Identifier: MIT
"""Convolution blocks inside TensorFlow: dynamic shapes, loops, other types, threads."""

import numpy as np
import pytest
import tensorflow as tf
import warm
from convolution_cases import arguments, results_and_gradients
from routes import MODES, name

from fslcore import ops


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        pytest.param((9, 5, 5, 3, 16), 2, id="small"),
        pytest.param((30, 28, 28, 1, 64), 1, id="maps of the bound are not kept, of the batch they would be"),
    ],
)
def test_images_of_a_dynamic_batch_inside_a_compiled_function(shape, strides):
    # tf.boolean_mask has a size that XLA knows at run time only: padding must not count for the mean.
    images, *others = arguments(0, *shape)
    keep = np.arange(shape[0]) % 3 != 1

    def run(images, keep, *others):
        with tf.GradientTape() as tape:
            tape.watch((images, others))
            result = ops.conv_block(tf.boolean_mask(images, keep), *others, strides=strides)
            loss = tf.reduce_sum(result.outputs**2)
        gradient = tape.gradient(loss, (images, *others))
        return (result.mean, result.variance, *(tf.convert_to_tensor(part) for part in gradient))

    tensors = [tf.constant(a) for a in (images, keep, *others)]
    for part, wanted in zip(tf.function(run, jit_compile=True)(*tensors), run(*tensors), strict=True):
        np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_training_inside_a_loop(jit_compile):
    images, *weights = arguments(0, 6, 7, 7, 2, 16)

    def step(*weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = tf.reduce_mean(ops.conv_block(images, *weights).outputs)
        gradients = tape.gradient(loss, weights)
        return tuple(w - g for w, g in zip(weights, gradients, strict=True))

    @tf.function(jit_compile=jit_compile)
    def loop(*weights):
        return tf.while_loop(
            lambda i, *_: i < 3, lambda i, *w: (i + 1, *step(*w)), (0, *weights), maximum_iterations=3
        )[1:]

    want = weights = [tf.constant(w) for w in weights]
    for _ in range(3):
        want = step(*want)
    for part, wanted in zip(loop(*weights), want, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-5, atol=1e-5)  # XLA may fuse w - g / n


def test_shapes_are_inferred_as_far_as_they_are_known():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 9, 2]), tf.TensorSpec([3, 3, None, 5])])
    def trace(images, kernel):
        result = ops.conv_block(images, kernel, tf.ones(5), tf.zeros(5), strides=2)
        gradients = tf.gradients(result.outputs, [images, kernel])
        shapes.extend(tuple(tensor.shape) for tensor in (*result, *gradients))
        return result.outputs

    shapes = []
    trace.get_concrete_function()
    assert shapes == [(None, None, 5, 5), (5,), (5,), (None, None, 9, 2), (3, 3, 2, 5)]


@pytest.mark.parametrize("mode", MODES, ids=name)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floating_types_are_cast(mode, dtype):
    arrays = [a.astype(dtype) for a in arguments(0, 3, 4, 4, 2, 5)]
    got = results_and_gradients(ops.conv_block, mode, arrays, np.ones((3, 2, 2, 5), np.float32))
    assert [part.dtype for part in got] == [np.float32] * 3 + [np.dtype(dtype)] * 4


THREADS = """
import hashlib, sys
import numpy as np
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
from fslcore import ops
rng = np.random.default_rng(0)
shapes = (300, 14, 14, 5), (3, 3, 5, 17), (17,), (17,)
arrays = [tf.constant(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
digest = hashlib.sha256()
for _ in range(3):  # which thread takes which block differs from run to run
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        result = ops.conv_block(*arrays)
        loss = tf.reduce_sum(result.outputs**3)
    for part in (*result, *tape.gradient(loss, arrays)):
        digest.update(part.numpy().tobytes())
print(digest.hexdigest())
"""


def test_results_do_not_depend_on_threads():
    def digest(threads):
        done = warm.run(["-c", THREADS, threads])
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert digest(1) == digest(2) == digest(3)

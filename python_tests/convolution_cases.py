# SPDX-License-Identifier: MIT
"""Arguments of a convolution block, and its results with their gradients."""

import numpy as np
import tensorflow as tf
from inputs import integers, normal


def arguments(seed, batch, height, width, channels, filters):
    """Integers as images and kernel, so that the convolution is exact; gamma and beta of both signs."""
    return (
        integers(seed, batch, height, width, channels),
        integers(seed + 1, 3, 3, channels, filters),
        normal(seed + 2, filters),
        normal(seed + 3, filters),
    )


def results_and_gradients(block, mode, arrays, grad, **options):
    """The results of `block`, then the gradients of sum(grad * outputs) for its four arguments."""

    def run(*tensors):
        *tensors, grad = tensors
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            result = block(*tensors, **options)
            loss = tf.reduce_sum(grad * result.outputs)
        return (*result, *tape.gradient(loss, tensors, unconnected_gradients="zero"))

    return [np.asarray(part) for part in mode(run)(*(tf.constant(a) for a in (*arrays, grad)))]

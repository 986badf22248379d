# SPDX-License-Identifier: MIT
"""Bad arguments of convolution blocks are named, with what was expected."""

import pytest
import tensorflow as tf

from fslcore import ops, twins
from fslcore.ops._library import raw_ops

GOOD = {"images": (2, 5, 4, 3), "kernel": (3, 3, 3, 6), "gamma": (6,), "beta": (6,)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": (5, 4, 3)}, r"images must have 4 axes, received shape \[5, 4, 3\]"),
        ({"kernel": (9, 3, 6)}, r"kernel must have 4 axes, received shape \[9, 3, 6\]"),
        ({"kernel": (5, 5, 3, 6)}, r"kernel must have shape \[3, 3, 3, 6\], received shape \[5, 5, 3, 6\]"),
        ({"kernel": (3, 3, 2, 6)}, r"kernel must have shape \[3, 3, 3, 6\], received shape \[3, 3, 2, 6\]"),
        ({"gamma": (5,)}, r"gamma must have shape \[6\], received shape \[5\]"),
        ({"beta": (1, 6)}, r"beta must have shape \[6\], received shape \[1, 6\]"),
    ],
)
def test_bad_shapes(wrong, message):
    tensors = [tf.ones(shape) for shape in {**GOOD, **wrong}.values()]
    with pytest.raises(ValueError, match=message):
        ops.conv_block(*tensors)
    # What a graph cannot know beforehand, the kernel says.
    unknown = tf.function(lambda *t: ops.conv_block(*t).outputs, input_signature=[tf.TensorSpec(None)] * 4)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        unknown(*tensors)


@pytest.mark.parametrize("block", [ops.conv_block, twins.conv_block], ids=["op", "twin"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": 3}, "strides must be 1 or 2, received strides=3"),
        ({"pool_size": 3}, "pool_size must be 1 or 2, received pool_size=3"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite, received epsilon=0.0"),
        ({"epsilon": float("nan")}, "epsilon must be positive and finite, received epsilon=nan"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16, received precision='half'"),
    ],
)
def test_bad_options(block, options, message):
    with pytest.raises(ValueError, match=message):
        block(*(tf.ones(shape) for shape in GOOD.values()), **options)


def test_the_gradient_op_checks_its_arguments():
    good = {
        "grad": (2, 1, 1, 6),
        "images": (2, 5, 4, 3),
        "kernel": (3, 3, 3, 6),
        "gamma": (6,),
        "beta": (6,),
        "maps": (2, 3, 2, 6),
        "mean": (6,),
        "variance": (6,),
    }

    def call(wrong):
        tensors = {argument: tf.ones(shape) for argument, shape in {**good, **wrong}.items()}
        raw_ops.fslcore_conv_block_grad(**tensors, strides=2, pool_size=2, epsilon=1e-3, with_images=True)

    call({})
    for argument, shape in good.items():
        wrong = (shape[0] + 1, *shape[1:])
        message = rf"{argument if argument != 'images' else 'grad'} must have shape"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call({argument: wrong})

# SPDX-License-Identifier: MIT
"""Gradients of gradients: right, or a LookupError, for every compiled op; never silently zero."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from inputs import normal
from routes import MODES, name

from fslcore import losses, ops, twins
from fslcore.arguments import MININGS, TRIPLET_METRICS
from fslcore.layers.row_blocks import pairwise_in_blocks
from fslcore.ops._library import raw_ops
from fslcore.ops.convolution import same_convolution
from fslcore.pair_terms import PairTerm

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)

X, LABELS = normal(0, 12, 4), np.repeat(np.arange(4), 3)
IMAGES, KERNEL, ONES = (
    normal(1, 2, 6 * 6 * 3).reshape(2, 6, 6, 3),
    normal(2, 27, 4).reshape(3, 3, 3, 4),
    np.ones(4),
)
NETWORK = {
    "hidden": normal(4, 3, 4),
    "hidden_bias": normal(5, 3),
    "mixing": normal(6, 3),
    "weights": normal(7, 4),
}


def of_penalty(function):
    """The gradient of sum(gradient^2) of a scalar function: a gradient penalty."""

    def gradient(x):
        x = tf.convert_to_tensor(x, tf.float32)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = function(x)
            penalty = tf.reduce_sum(tf.square(inner.gradient(value, x)))
        return outer.gradient(penalty, x)

    return gradient


def gradient_of(function):
    def gradient(x):
        x = tf.convert_to_tensor(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x)

    return gradient


def warped(module):
    transforms = tf.constant([[0.5, -0.25, 1, 0.25, 1.5, -1]] * 3)

    def function(x):
        return tf.reduce_sum(module.affine_images(tf.reshape(x, (3, 4, 4, 1)) ** 2, transforms) ** 2)

    return function


def adam(module):
    def function(x):
        step = module.adam_step(
            [tf.square(x)], [x], [tf.square(x)], tf.constant(0.5), learning_rate=0.1, beta_2=0.9, epsilon=0.1
        )
        return tf.reduce_sum(step.weights[0] ** 2)

    return function


def fitted(x):
    images = tf.reshape(x, (1, 6, 4, 2, 1))
    weights = [tf.zeros((3, 3, 1, 2)), *[tf.ones(2)] * 2, tf.zeros((16, 3)), tf.zeros(3)]
    order = [[[0, 1, 2]]]
    result = ops.fit_classifiers(
        images, [[0, 1, 2, 0, 1, 2]], order, weights, [tf.zeros(2)] * 2,
        blocks=[ops.FitBlock(strides=1)], learning_rate=0.1,
    )  # fmt: skip
    return tf.reduce_sum(result.losses)


def of_conv_block_grad(x):
    outputs, maps, mean, variance = raw_ops.fslcore_conv_block(
        images=IMAGES,
        kernel=KERNEL,
        gamma=ONES,
        beta=ONES,
        strides=1,
        pool_size=1,
        epsilon=0.1,
        precision="float32",
    )
    return raw_ops.fslcore_conv_block_grad(
        grad=outputs * tf.reduce_sum(x),
        images=IMAGES,
        kernel=KERNEL,
        gamma=ONES,
        beta=ONES,
        maps=maps,
        mean=mean,
        variance=variance,
        with_images=True,
        strides=1,
        pool_size=1,
        epsilon=0.1,
        precision="float32",
    )[0]


def convolved(convolve):
    """Of an image, and of a kernel."""

    def plain(images, kernel):
        return tf.nn.conv2d(images, kernel, 1, "SAME")

    def of(images, kernel):
        images, kernel = tf.cast(images, tf.float32), tf.cast(kernel, tf.float32)
        return tf.reduce_sum(tf.tanh((convolve or plain)(images, kernel)))

    return (
        lambda x: of(tf.reshape(x, (1, 4, 4, 3)), KERNEL),
        lambda x: of(IMAGES, tf.reshape(x, (1, 1, 3, 16))),
    )


def triplet(module, mining, metric):
    def function(x):
        result = module.triplet_loss(x, LABELS, mining, 2.0, metric)
        return getattr(result, "loss", result)

    return function


TERMS = [PairTerm("negative", "squared_hinge"), PairTerm("positive", "softplus")]


def of_pairs(x):
    return tf.reduce_sum(ops.pair_reductions(x, LABELS, TERMS).values ** 2)


def of_pairs_grad(x):
    values = ops.pair_reductions(X, LABELS, TERMS).values
    return ops.pair_reductions_grad(x, LABELS, TERMS, values, tf.ones_like(values))[0]


def nearest(module, metric):
    return lambda x: tf.reduce_sum(module.nearest(x, normal(8, 20, X.shape[1]), 3, metric).values ** 2)


# The op, a function of x, and its twin. One op may have several.
RIGHT = [
    *[
        ("fslcore_triplet_loss", triplet(ops, mining, metric), triplet(twins, mining, metric))
        for mining in MININGS
        for metric in TRIPLET_METRICS
    ],
    *[
        ("fslcore_nearest", nearest(ops, metric), nearest(twins, metric))
        for metric in ("cosine", "euclidean")
    ],
    ("fslcore_adam_step", adam(ops), adam(twins)),
    ("fslcore_affine_images", warped(ops), warped(twins)),
    *zip(
        ("fslcore_same_convolution", "fslcore_same_convolution_grad"),
        convolved(same_convolution),
        convolved(None),
        strict=True,
    ),
]
# The op, and what is a LookupError: a gradient, or the gradient of one.
REFUSED = [
    ("fslcore_pairwise", of_penalty(lambda x: tf.reduce_sum(ops.pairwise(x, metric="cosine") ** 2))),
    ("fslcore_pairwise_grad", gradient_of(lambda x: ops.pairwise_grad(x, x, tf.ones((12, 12)))[0])),
    ("fslcore_pairwise_norms", of_penalty(lambda x: tf.reduce_sum(ops.pairwise_norms(x, **NETWORK) ** 2))),
    (
        "fslcore_pairwise_norms_grad",
        gradient_of(lambda x: ops.pairwise_norms_grad(x, x, tf.ones((12, 12)), **NETWORK).hidden),
    ),
    ("fslcore_pair_reductions", of_penalty(of_pairs)),
    ("fslcore_pair_reductions_grad", gradient_of(of_pairs_grad)),
    ("fslcore_pair_sums", of_penalty(lambda x: ops.pair_sums(x, LABELS, TERMS).total)),
    ("fslcore_pair_sums", gradient_of(lambda x: ops.pair_sums(x, LABELS, TERMS).dx)),
    (
        "fslcore_conv_block",
        of_penalty(
            lambda x: tf.reduce_sum(ops.conv_block(tf.reshape(x, (1, 4, 4, 3)), KERNEL, ONES, ONES).outputs)
        ),
    ),
    ("fslcore_conv_block_grad", gradient_of(of_conv_block_grad)),
    ("fslcore_fit_classifiers", gradient_of(fitted)),
    ("fslcore_triplet_loss", gradient_of(lambda x: ops.triplet_loss(x, LABELS).grad)),
]
# Their inputs or their outputs are integers, or a data set: there is nothing to differentiate.
OF_INTEGERS = {
    "fslcore_episode_dataset", "fslcore_affine_transforms", "fslcore_gather_affine",
    "fslcore_gather_images", "fslcore_mine_triplets", "fslcore_permutations",
    "fslcore_sample_episodes",
}  # fmt: skip


def test_every_op_is_a_case():
    of_library = {
        op for op in dir(raw_ops) if op.startswith("fslcore_") and not op.endswith("_eager_fallback")
    }
    assert of_library == {*OF_INTEGERS, *(case[0] for case in [*RIGHT, *REFUSED])}


@in_every_mode
@pytest.mark.parametrize(
    ("function", "twin"), [case[1:] for case in RIGHT], ids=[f"{i} {c[0]}" for i, c in enumerate(RIGHT)]
)
def test_second_order_is_that_of_the_twin(mode, function, twin):
    want = of_penalty(twin)(X)
    assert float(tf.norm(want)) > 1e-3
    np.testing.assert_allclose(mode(of_penalty(function))(X), want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("gradient", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_has_no_gradient_is_a_lookup_error(gradient):
    gradient = tf.autograph.experimental.do_not_convert(gradient)  # AutoGraph replaces the error by its own
    for mode in MODES[:3]:
        with pytest.raises(LookupError):
            mode(gradient)(X)


@pytest.mark.parametrize(
    "loss",
    [
        losses.TripletSemiHardLoss(2.0, "squared-L2"),
        losses.TripletHardLoss(2.0),
        losses.TripletHardLoss(soft=True),
        losses.TripletMiningLoss("easy_positive", 2.0, "angular"),
        losses.TripletSemiHardLoss(2.0, lambda e: tf.reduce_sum((e[:, None] - e[None]) ** 2, axis=2)),
    ],
)
def test_second_order_through_the_losses(loss):
    # Differences of the gradient along a line, in which float32 leaves three digits.
    function = gradient_of(lambda x: loss(LABELS, x))
    direction, step = normal(3, 12, 4), 1e-3
    penalty = [float(tf.reduce_sum(function(X + sign * step * direction) ** 2)) for sign in (1, -1)]
    slope = float(tf.reduce_sum(of_penalty(lambda x: loss(LABELS, x))(X) * direction))
    assert slope == pytest.approx((penalty[0] - penalty[1]) / (2 * step), rel=0.05, abs=1e-3)
    assert abs(slope) > 1e-4


def test_second_order_through_a_kernel_of_your_own():
    kernel = keras.layers.Lambda(lambda pairs: tf.reduce_sum(tf.square(pairs[0] * pairs[1]), axis=1))
    in_blocks = of_penalty(lambda x: tf.reduce_sum(pairwise_in_blocks(kernel, x, x, 24) ** 2))
    at_once = of_penalty(lambda x: tf.reduce_sum(tf.reduce_sum(tf.square(x[:, None] * x[None]), axis=2) ** 2))
    want = at_once(X)
    for mode in MODES[:2]:
        np.testing.assert_allclose(
            mode(in_blocks)(X), want, rtol=1e-4, atol=1e-4 * float(tf.reduce_max(want))
        )

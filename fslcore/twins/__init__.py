# SPDX-License-Identifier: MIT
"""The compiled ops written again in plain TensorFlow: short, and slow.

They say what the ops mean, they are what the ops are compared with, and they do what the ops cannot: take a
matrix of distances from the caller, and be differentiated twice. Everything works in eager mode, in
`tf.function` and under `jit_compile=True`; inputs are cast to float32.

`pairwise` holds [n, m, dim] floats and is for small inputs. The triplet functions hold a few [batch, batch]
matrices and one [pairs, dim], and take O(batch^2 log batch) steps; XLA, which knows no shapes that depend on
values, makes room for batch^2 pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import tensorflow as tf

from fslcore.arguments import TRIPLET_METRICS, check_metric, check_pairwise
from fslcore.ops.convolution import ConvBlockResult, check_conv_block
from fslcore.twins.mining import mine_hard_of_distances, mine_semihard_of_distances

Tensor = Any


class AdamStepResult(NamedTuple):
    """What `adam_step` returns.

    Attributes:
        weights: float32, a list in the shapes of the weights.
        squares: The same for the running mean of the squared gradients.
        power: float32 scalar, beta_2 to the power of the steps so far.
    """

    weights: list[Tensor]
    squares: list[Tensor]
    power: Tensor


def pairwise(
    x: Tensor,
    y: Tensor | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
) -> Tensor:
    """The metric of every row of `x` with every row of `y`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        metric: One of `fslcore.kernels.METRICS`.
        weights: [dim], for `weighted_manhattan` only.
        bias: Scalar, for `weighted_manhattan` only.
        activation: None or "sigmoid", for `weighted_manhattan` only.

    Returns:
        float32 [n, m]. The gradient at distance 0 is 0, and so is that of a zero row under `cosine`.

    Raises:
        ValueError: For an unknown metric or activation, or arguments that do not go with the metric.
    """
    bias_given = not isinstance(bias, Real) or bias != 0
    check_pairwise(metric, weights is not None, bias_given, activation)
    x = tf.cast(x, tf.float32)
    y = x if y is None else tf.cast(y, tf.float32)
    if metric == "dot":
        return tf.matmul(x, y, transpose_b=True)
    if metric == "weighted_manhattan":
        score = tf.reduce_sum(tf.cast(weights, tf.float32) * tf.abs(x[:, None] - y[None, :]), axis=-1)
        score += tf.cast(bias, tf.float32)
        return tf.sigmoid(score) if activation else score
    return _DISTANCES[metric](x[:, None], y[None, :])


def mine_semihard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """A semi-hard negative for every (anchor, positive) pair that has one.

    Schroff, Kalenichenko and Philbin, "FaceNet" (CVPR 2015), section 3.2, with the fallback of TensorFlow
    Addons: the nearest negative that is farther than the positive, strictly; if there is none, the farthest
    negative. Of equal distances the lowest index wins. NaN distances are chosen only if there is no other.

    Distances come from |x|^2 + |y|^2 - 2 <x, y>, so negatives whose distances agree to within
    4 eps (|x|^2 + |y|^2) may be swapped; with small integers in `x` the answer is exact.

    Args:
        x: [batch, dim].
        labels: Integers, [batch].
        metric: "sqeuclidean", "euclidean" or "cosine".

    Returns:
        (anchor, positive, negative), int32 [pairs], by anchor and then by positive.
    """
    return mine_semihard_of_distances(*_distances_and_classes(x, labels, metric))


def mine_hard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """The farthest positive and the nearest negative of every anchor that has both.

    Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification" (2017), eq. 5. Of
    equal distances the lowest index wins, NaN distances are chosen only if there is no other, and distances
    are those of `mine_semihard`.

    Args:
        x: [batch, dim].
        labels: Integers, [batch].
        metric: "sqeuclidean", "euclidean" or "cosine".

    Returns:
        (anchor, positive, negative), int32 [anchors], by anchor.
    """
    return mine_hard_of_distances(*_distances_and_classes(x, labels, metric))


def triplet_semihard(
    x: Tensor, labels: Tensor, margin: Tensor | float = 1.0, metric: str = "sqeuclidean"
) -> Tensor:
    """The mean of max(D[a, p] - D[a, n] + margin, 0) over the triplets of `mine_semihard`.

    The mined pairs are evaluated again as sums of (x - y)^2, so that near rows keep their digits.

    Args:
        x: [batch, dim].
        labels: Integers, [batch].
        margin: Scalar, in units of the metric.
        metric: "sqeuclidean", "euclidean" or "cosine".

    Returns:
        float32 scalar; 0, with gradient 0, for a batch without pairs.
    """
    return _mean_of_triplets(x, mine_semihard(x, labels, metric), margin, metric)


def triplet_hard(
    x: Tensor, labels: Tensor, margin: Tensor | float = 1.0, metric: str = "sqeuclidean"
) -> Tensor:
    """The mean of max(D[a, p] - D[a, n] + margin, 0) over the triplets of `mine_hard`.

    Args:
        x: [batch, dim].
        labels: Integers, [batch].
        margin: Scalar, in units of the metric.
        metric: "sqeuclidean", "euclidean" or "cosine".

    Returns:
        float32 scalar, as of `triplet_semihard`.
    """
    return _mean_of_triplets(x, mine_hard(x, labels, metric), margin, metric)


def conv_block(
    images: Tensor,
    kernel: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    strides: int = 2,
    pool_size: int = 1,
    epsilon: float = 1e-3,
    precision: str = "float32",
) -> ConvBlockResult:
    """max(0, gamma * (c - mean) / sqrt(variance + epsilon) + beta), c the 3x3 convolution of the images.

    Args:
        images: [batch, height, width, channels], batch at least 1.
        kernel: [3, 3, channels, filters].
        gamma: [filters].
        beta: [filters].
        strides: 1 or 2.
        pool_size: 1 or 2; with 2, the outputs are the largest of each 2 x 2.
        epsilon: Positive.
        precision: "float32" or "bfloat16", of the factors of the convolution and its gradients.

    Returns:
        A `ConvBlockResult`.

    Raises:
        ValueError: For other options.
    """
    strides, pool_size, epsilon = check_conv_block(strides, pool_size, epsilon, precision)
    images, kernel, gamma, beta = (tf.cast(tensor, tf.float32) for tensor in (images, kernel, gamma, beta))
    if precision == "bfloat16":
        images, kernel = _round_to_bfloat16(images), _round_to_bfloat16(kernel)
    convolved = tf.nn.conv2d(images, kernel, strides, "SAME")
    if precision == "bfloat16":
        convolved = _with_gradient_rounded_to_bfloat16(convolved)
    mean = tf.reduce_mean(convolved, axis=[0, 1, 2])
    variance = tf.reduce_mean(tf.square(convolved - mean), axis=[0, 1, 2])
    outputs = tf.nn.relu((convolved - mean) * (gamma * tf.math.rsqrt(variance + epsilon)) + beta)
    if pool_size > 1:
        outputs = tf.nn.max_pool2d(outputs, pool_size, pool_size, "VALID")
    return ConvBlockResult(outputs, tf.stop_gradient(mean), tf.stop_gradient(variance))


@tf.custom_gradient
def _round_to_bfloat16(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32), lambda grad: grad


@tf.custom_gradient
def _with_gradient_rounded_to_bfloat16(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    return tf.identity(x), _round_to_bfloat16


def adam_step(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    squares: Sequence[Tensor],
    power: Tensor,
    *,
    learning_rate: float,
    beta_2: float,
    epsilon: float,
) -> AdamStepResult:
    """One step of Adam without momentum (Kingma and Ba, 2015, algorithm 1 with beta_1 = 0).

    Args:
        weights: Tensors of any shapes.
        gradients: One for each of the weights, in its shape.
        squares: The running mean of the squared gradients, likewise.
        power: Scalar, beta_2 to the power of the steps before this one.
        learning_rate: A Python number, like the next two.
        beta_2: The decay of the mean of squares.
        epsilon: Added to its root.

    Returns:
        An `AdamStepResult`. The gradient of the root at 0 is 0: with respect to a zero gradient that is the
        limit, with respect to the square it takes the place of infinity.

    Raises:
        ValueError: For lists of different lengths.
    """
    weights, gradients, squares = (
        [tf.cast(tensor, tf.float32) for tensor in tensors] for tensors in (weights, gradients, squares)
    )
    power = beta_2 * tf.cast(power, tf.float32)
    squares = [beta_2 * s + (1.0 - beta_2) * tf.square(g) for s, g in zip(squares, gradients, strict=True)]
    rate = learning_rate * tf.sqrt(1.0 - power)
    weights = [
        w - rate * g / (_root(s) + epsilon) for w, g, s in zip(weights, gradients, squares, strict=True)
    ]
    return AdamStepResult(weights, squares, power)


def triplet_semihard_of_distances(
    distances: Tensor, same_class: Tensor, margin: Tensor | float = 1.0
) -> Tensor:
    """`triplet_semihard` on a matrix of distances that the caller has computed.

    Args:
        distances: [batch, batch]; row a holds the distances from a.
        same_class: bool [batch, batch]: which samples share a class.
        margin: Scalar, in units of the distances.

    Returns:
        float32 scalar, differentiable with respect to `distances`.
    """
    return _mean_of_distances(distances, mine_semihard_of_distances(distances, same_class), margin)


def triplet_hard_of_distances(distances: Tensor, same_class: Tensor, margin: Tensor | float = 1.0) -> Tensor:
    """`triplet_hard` on a matrix of distances that the caller has computed.

    Args:
        distances: [batch, batch]; row a holds the distances from a.
        same_class: bool [batch, batch]: which samples share a class.
        margin: Scalar, in units of the distances.

    Returns:
        float32 scalar, differentiable with respect to `distances`.
    """
    return _mean_of_distances(distances, mine_hard_of_distances(distances, same_class), margin)


def _mean_of_triplets(x: Tensor, mined: tuple[Tensor, ...], margin: Tensor | float, metric: str) -> Tensor:
    x = tf.cast(x, tf.float32)
    # Gathered along axis 1 of [1, batch, dim]: along axis 0 the gradient would be IndexedSlices.
    anchor, positive, negative = (tf.gather(x[None], index, axis=1)[0] for index in mined)
    distance = _DISTANCES[metric]
    return _mean_hinge(distance(anchor, positive), distance(anchor, negative), margin)


def _mean_of_distances(distances: Tensor, mined: tuple[Tensor, ...], margin: Tensor | float) -> Tensor:
    distances = tf.cast(distances, tf.float32)
    anchor, positive, negative = mined
    return _mean_hinge(
        tf.gather_nd(distances, tf.stack([anchor, positive], axis=1)),
        tf.gather_nd(distances, tf.stack([anchor, negative], axis=1)),
        margin,
    )


def _mean_hinge(to_positive: Tensor, to_negative: Tensor, margin: Tensor | float) -> Tensor:
    violation = to_positive - to_negative + margin
    # Not tf.nn.relu: its gradient at NaN is 0, and a NaN row has to be seen in the gradient too.
    terms = tf.where(violation <= 0.0, 0.0, violation)
    return tf.math.divide_no_nan(tf.reduce_sum(terms), tf.cast(tf.size(terms), tf.float32))


def _sqeuclidean(x: Tensor, y: Tensor) -> Tensor:
    return tf.reduce_sum(tf.square(x - y), axis=-1)


def _root(squared: Tensor) -> Tensor:
    # The inner `where` keeps the infinite slope of the root at 0 out of the gradient.
    is_zero = squared == 0.0
    return tf.where(is_zero, 0.0, tf.sqrt(tf.where(is_zero, 1.0, squared)))


def _unit_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    # The result does not depend on the scale, which keeps squares of tiny and huge rows in range.
    is_zero = tf.reduce_all(x == 0.0, axis=-1, keepdims=True)
    scale = tf.stop_gradient(tf.reduce_max(tf.abs(x), axis=-1, keepdims=True))
    x /= tf.where(is_zero, 1.0, scale)
    squared = tf.where(is_zero, 1.0, tf.reduce_sum(tf.square(x), axis=-1, keepdims=True))
    return x / tf.sqrt(squared), is_zero[..., 0]


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    # For unit rows 1 - <x, y> = |x - y|^2 / 2, which is exactly 0 for equal rows.
    (x, x_is_zero), (y, y_is_zero) = _unit_rows(x), _unit_rows(y)
    return tf.where(x_is_zero | y_is_zero, 1.0, 0.5 * _sqeuclidean(x, y))


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sqeuclidean": _sqeuclidean,
    "euclidean": lambda x, y: _root(_sqeuclidean(x, y)),
    "cosine": _cosine,
    "manhattan": lambda x, y: tf.reduce_sum(tf.abs(x - y), axis=-1),
}


def _distances_and_classes(x: Tensor, labels: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    check_metric(metric, TRIPLET_METRICS)
    labels = tf.convert_to_tensor(labels)
    return _selection_distances(x, metric), labels[:, None] == labels[None, :]


def _selection_distances(x: Tensor, metric: str) -> Tensor:
    x = tf.cast(x, tf.float32)
    if metric == "cosine":
        unit, is_zero = _unit_rows(x)
        products = tf.matmul(unit, unit, transpose_b=True)
        return tf.where(is_zero[:, None] | is_zero[None, :], 1.0, 1.0 - products)
    squares = tf.reduce_sum(tf.square(x), axis=1)
    squared = squares[:, None] + squares[None, :] - 2.0 * tf.matmul(x, x, transpose_b=True)
    # Not tf.maximum, which may turn NaN into 0.
    return squared if metric == "sqeuclidean" else tf.sqrt(tf.where(squared < 0.0, 0.0, squared))

# SPDX-License-Identifier: MIT
"""The compiled kernels as TensorFlow ops: differentiable, in eager mode, in `tf.function` and inside XLA.

The functions have the names, arguments and meaning of `fslcore.kernels`, on tensors; `adam_step`,
`conv_block` and `fit_classifiers` are here alone. Inputs of another floating type are cast to float32, and
results are float32. First-order gradients are compiled; for second order use the plain TensorFlow twins in
`fslcore.twins`, from which `adam_step` has its gradients of any order. `fit_classifiers` has neither
gradients nor a place inside XLA.

Errors are ValueError when the arguments show them, else `tf.errors.InvalidArgumentError`, with the same
sentence.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore.arguments import (
    PRECISIONS,
    TRIPLET_METRICS,
    as_float,
    as_int64,
    as_size,
    check_episode_counts,
    check_metric,
    check_pairwise,
    check_permutations,
    check_precision,
    check_store,
)
from fslcore.kernels import TripletResult
from fslcore.ops._library import native_libraries, raw_ops
from fslcore.ops.convolution import ConvBlockResult, conv_block
from fslcore.ops.fitting import AdamOptions, FitBlock, FitResult, fit_classifiers
from fslcore.ops.optimization import adam_step
from fslcore.twins import AdamStepResult

__all__ = [
    "PRECISIONS",
    "AdamOptions",
    "AdamStepResult",
    "ConvBlockResult",
    "FitBlock",
    "FitResult",
    "TripletResult",
    "adam_step",
    "conv_block",
    "fit_classifiers",
    "gather_images",
    "mine_hard",
    "mine_semihard",
    "native_libraries",
    "pairwise",
    "pairwise_grad",
    "permutations",
    "sample_episodes",
    "triplet_hard",
    "triplet_semihard",
]

Tensor = Any

_NO_WEIGHTS = np.zeros(0, np.float32)  # the op turns it into a tensor faster than tf.zeros makes one


def pairwise(
    x: Tensor,
    y: Tensor | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
    precision: str = "float32",
) -> Tensor:
    """The metric of every row of `x` with every row of `y`; see `fslcore.kernels.pairwise`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        metric: One of `fslcore.kernels.METRICS`.
        weights: [dim], for `weighted_manhattan` only; differentiable.
        bias: Scalar, for `weighted_manhattan` only; differentiable.
        activation: None or "sigmoid", for `weighted_manhattan` only.
        precision: In which a GPU forms the products of `sqeuclidean`, `euclidean`, `cosine` and `dot`, and
            of their gradients, one of `PRECISIONS`: "float32", exact; or on tensor cores "tf32" (11 bits),
            "3xtf32" (about 21) or "bfloat16" (8). Sums are in float32. A CPU always takes "float32".

    Returns:
        float32 [n, m].
    """
    check_precision(precision)
    bias_given = not isinstance(bias, Real) or bias != 0
    check_pairwise(metric, weights is not None, bias_given, activation)
    x = _matrix("x", x)
    y = x if y is None else _matrix("y", y)
    known = x.shape.is_fully_defined() and y.shape.is_fully_defined()
    if known and x.shape[1] != y.shape[1]:
        raise ValueError(
            "x and y must have the same number of columns, received "
            f"x: {x.shape.as_list()}, y: {y.shape.as_list()}"
        )
    return raw_ops.fslcore_pairwise(
        x=x,
        y=y,
        weights=_weights(weights),
        bias=_scalar(bias),
        metric=metric,
        activation=activation or "none",
        precision=precision,
    )


def pairwise_grad(
    x: Tensor,
    y: Tensor | None,
    grad: Tensor,
    metric: str = "sqeuclidean",
    *,
    weights: Tensor | None = None,
    bias: Tensor | float = 0.0,
    activation: str | None = None,
    precision: str = "float32",
) -> tuple[Tensor, ...]:
    """The gradient of a scalar loss through `pairwise`; see `fslcore.kernels.pairwise_grad`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        grad: [n, m], the gradient of the loss with respect to `pairwise(x, y)`.
        metric: One of `fslcore.kernels.METRICS`.
        weights: As for `pairwise`.
        bias: As for `pairwise`.
        activation: As for `pairwise`.
        precision: As for `pairwise`.

    Returns:
        `(dx [n, dim], dy [m, dim])`, for `weighted_manhattan` also `dweights [dim]` and the scalar `dbias`.
    """
    out = pairwise(x, y, metric, weights=weights, bias=bias, activation=activation, precision=precision)
    x = _matrix("x", x)
    gradients = raw_ops.fslcore_pairwise_grad(
        x=x,
        y=x if y is None else _matrix("y", y),
        weights=_weights(weights),
        bias=_scalar(bias),
        grad=_matrix("grad", grad),
        out=out,
        metric=metric,
        activation=activation or "none",
        precision=precision,
    )
    return tuple(gradients) if metric == "weighted_manhattan" else (gradients.dx, gradients.dy)


def mine_semihard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """Semi-hard triplets of a batch; see `fslcore.kernels.mine_semihard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [pairs] each, to gather with. Inside XLA each takes
        batch * (batch - 1) integers.
    """
    return _mine("semihard", x, labels, metric)


def mine_hard(x: Tensor, labels: Tensor, metric: str = "sqeuclidean") -> tuple[Tensor, Tensor, Tensor]:
    """The hardest triplets of a batch; see `fslcore.kernels.mine_hard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [anchors] each, to gather with. Inside XLA each takes batch
        integers.
    """
    return _mine("hard", x, labels, metric)


def triplet_semihard(
    x: Tensor, labels: Tensor, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on semi-hard triplets; see `fslcore.kernels.triplet_semihard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin, a Python number.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `TripletResult` of tensors; `loss` is differentiable with respect to `x`.
    """
    return _triplet_loss("semihard", x, labels, margin, metric)


def triplet_hard(
    x: Tensor, labels: Tensor, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on the hardest triplets; see `fslcore.kernels.triplet_hard`.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin, a Python number.
        metric: One of `fslcore.kernels.TRIPLET_METRICS`.

    Returns:
        A `TripletResult` of tensors; `loss` is differentiable with respect to `x`.
    """
    return _triplet_loss("hard", x, labels, margin, metric)


def sample_episodes(
    labels: Tensor,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: Tensor | int,
    first_episode: Tensor | int = 0,
) -> Tensor:
    """N-way K-shot episodes; see `fslcore.kernels.sample_episodes`.

    Args:
        labels: Integers [N], one per image.
        n_way: Classes per episode, a Python integer like the next three.
        k_shot: Support samples per class.
        n_query: Query samples per class.
        episodes: How many episodes.
        seed: At least 0; may be a tensor.
        first_episode: The number of the first episode; may be a tensor.

    Returns:
        int32 [episodes, n_way, k_shot + n_query], positions in `labels`. On a GPU, where what is wrong with
        values is not raised, all -1 if there are too few classes or samples, or a number is negative.
    """
    n_way, k_shot, n_query, episodes = check_episode_counts(n_way, k_shot, n_query, episodes)
    return raw_ops.fslcore_sample_episodes(
        labels=_labels(labels),
        seed=_number("seed", seed),
        first_episode=_number("first_episode", first_episode),
        n_way=n_way,
        k_shot=k_shot,
        n_query=n_query,
        episodes=episodes,
    )


def permutations(n: int, count: int, seed: Tensor | int, first: Tensor | int = 0) -> Tensor:
    """Uniform random permutations; see `fslcore.kernels.permutations`. On the CPU only.

    Args:
        n: The length of each, a Python integer.
        count: How many permutations, a Python integer.
        seed: At least 0; may be a tensor.
        first: The number of the first permutation; may be a tensor.

    Returns:
        int32 [count, n].
    """
    n, count = check_permutations(n, count)
    return raw_ops.fslcore_permutations(
        seed=_number("seed", seed), first=_number("first", first), n=n, count=count
    )


def gather_images(
    store: Tensor,
    indices: Tensor,
    rotations: Tensor | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
) -> Tensor:
    """Picks, turns, resizes and scales images in one pass; see `fslcore.kernels.gather_images`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        rotations: Counter-clockwise quarter turns 0..3 for the leading axes of `indices`, or None.
        scale: Multiplied first, a Python number.
        shift: Added then, a Python number.
        size: (height, width) to resize to, or None.

    Returns:
        float32 [*indices.shape, height, width, channels], height and width those of `size` if it is given. On
        a GPU, where what is wrong with values is not raised, an image of a wrong index or turn is NaN.
    """
    store = tf.convert_to_tensor(store)
    if store.shape.rank is not None:
        check_store(tuple(store.shape), store.dtype.name)
    indices = _integers("indices", indices)
    rotations = tf.zeros([0], tf.int64) if rotations is None else _integers("rotations", rotations)
    height, width = as_size(size)
    return raw_ops.fslcore_gather_images(
        store=store,
        indices=indices,
        rotations=rotations,
        height=height,
        width=width,
        scale=as_float("scale", scale),
        shift=as_float("shift", shift),
    )


@tf.RegisterGradient("FslcorePairwise")
def _pairwise_gradient(op: Any, grad: Tensor) -> Tensor:
    return raw_ops.fslcore_pairwise_grad(
        *op.inputs,
        grad=grad,
        out=op.outputs[0],
        metric=op.get_attr("metric"),
        activation=op.get_attr("activation"),
        precision=op.get_attr("precision"),
    )


@tf.RegisterGradient("FslcoreTripletLoss")
def _triplet_loss_gradient(op: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None]:
    return grad_loss * op.outputs[1], None


for _name in ("FslcoreMineTriplets", "FslcoreSampleEpisodes", "FslcorePermutations", "FslcoreGatherImages"):
    tf.no_gradient(_name)


def _mine(mining: str, x: Tensor, labels: Tensor, metric: str) -> tuple[Tensor, Tensor, Tensor]:
    check_metric(metric, TRIPLET_METRICS)
    return tuple(
        raw_ops.fslcore_mine_triplets(x=_matrix("x", x), labels=_labels(labels), mining=mining, metric=metric)
    )


def _triplet_loss(mining: str, x: Tensor, labels: Tensor, margin: float, metric: str) -> TripletResult:
    check_metric(metric, TRIPLET_METRICS)
    return TripletResult(
        *raw_ops.fslcore_triplet_loss(
            x=_matrix("x", x),
            labels=_labels(labels),
            mining=mining,
            metric=metric,
            margin=as_float("margin", margin),
        )
    )


def _float32(value: Any) -> Tensor:
    # Called eagerly, a cast that changes nothing takes as long as the kernel of a small matrix.
    if isinstance(value, tf.Tensor) and value.dtype == tf.float32:
        return value
    return tf.cast(value, tf.float32)


def _scalar(value: Any) -> Tensor | float:
    return float(value) if isinstance(value, Real) else _float32(value)


def _matrix(name: str, value: Any) -> Tensor:
    tensor = _float32(value)
    if tensor.shape.rank not in (None, 2):
        raise ValueError(f"{name} must have 2 axes, received shape {tensor.shape.as_list()}")
    return tensor


def _weights(value: Any) -> Tensor:
    if value is None:
        return _NO_WEIGHTS
    tensor = _float32(value)
    if tensor.shape.rank not in (None, 1):
        raise ValueError(f"weights must have 1 axis, received shape {tensor.shape.as_list()}")
    return tensor


def _integers(name: str, value: Any) -> Tensor:
    tensor = tf.convert_to_tensor(value)
    if not tensor.dtype.is_integer and tensor.shape.num_elements() != 0:
        raise ValueError(f"{name} must hold integers, received {tensor.dtype.name}")
    return tf.cast(tensor, tf.int64)


def _number(name: str, value: Any) -> Tensor:
    return tf.cast(value if tf.is_tensor(value) else as_int64(name, value), tf.int64)


def _labels(labels: Any) -> Tensor:
    tensor = _integers("labels", labels)
    if tensor.shape.rank not in (None, 1):
        raise ValueError(f"labels must have 1 axis, received shape {tensor.shape.as_list()}")
    return tensor

# SPDX-License-Identifier: MIT
"""The inner loop of meta-learning as one compiled op: small classifiers, fitted to many tasks on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fslcore.arguments import as_float, check_conv_block
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import integers, real_list
from fslcore.tensors import real

Tensor = Any


class FitBlock(NamedTuple):
    """A convolution block of a classifier, as for `conv_block`.

    Attributes:
        strides: 1 or 2.
        pool_size: 1 or 2.
        epsilon: Positive.
        precision: "float32" or "bfloat16".
        momentum: Of the moving averages of mean and variance.
    """

    strides: int = 2
    pool_size: int = 1
    epsilon: float = 1e-3
    precision: str = "float32"
    momentum: float = 0.9


class AdamOptions(NamedTuple):
    """The options of `adam_step`, without the learning rate.

    Attributes:
        beta_2: The decay of the mean of squares.
        epsilon: Added to the root of that mean.
    """

    beta_2: float = 0.999
    epsilon: float = 1e-8


class FitResult(NamedTuple):
    """What `fit_classifiers` returns: lists in the order of the arguments, with tasks as the first axis.

    Attributes:
        weights: float32 [tasks, ...].
        averages: float32 [tasks, filters].
        memory: float32 [tasks, ...].
        losses: float32 [tasks, steps], before each step.
        logits: float32 [tasks, batch, classes], before the last step.
    """

    weights: list[Tensor]
    averages: list[Tensor]
    memory: list[Tensor]
    losses: Tensor
    logits: Tensor


def fit_classifiers(
    images: Tensor,
    labels: Tensor,
    order: Tensor,
    weights: Sequence[Tensor],
    averages: Sequence[Tensor],
    memory: Sequence[Tensor] = (),
    *,
    blocks: Sequence[FitBlock],
    learning_rate: float,
    adam: AdamOptions | None = None,
) -> FitResult:
    """Fits a classifier to each of several tasks, from the same weights, by gradient steps on mini-batches.

    The classifier is a stack of `conv_block`s, flattened, and a linear layer; the loss is the mean
    cross-entropy of the softmax of its logits. Blocks normalise by the mini-batch, and update moving averages
    of its mean and variance: average * momentum + statistic * (1 - momentum).

    Each thread fits one task at a time; the results do not depend on the number of threads, bit for bit. Not
    differentiable: to ask for its gradients is a LookupError; for gradients through an inner loop compose
    `conv_block` or its twin.

    Args:
        images: [tasks, images_each, height, width, channels].
        labels: [tasks, images_each], from 0 to classes - 1.
        order: [tasks, steps, batch], the images of each step, from 0 to images_each - 1.
        weights: Kernel, gamma and beta of each block, then the kernel [features, classes] and the bias
            [classes] of the linear layer.
        averages: Mean and variance of each block, [filters].
        memory: For Adam, the running means of the squared gradients, one for each of the weights, then the
            scalar beta_2 to the power of the steps so far; otherwise empty.
        blocks: One `FitBlock` for each block, at least one.
        learning_rate: A Python number.
        adam: The options of Adam without momentum, as in `adam_step`; None for gradient descent.

    Returns:
        A `FitResult`.

    Raises:
        ValueError: If labels or order are not integers, options are not numbers, or a block's options are
            out of range.
        tf.errors.InvalidArgumentError: If the number or the shapes of tensors are wrong, or labels or order
            are out of range.
    """
    blocks = [
        FitBlock(*check_conv_block(*block[:4]), block.precision, as_float("momentum", block.momentum))
        for block in (FitBlock(*block) for block in blocks)
    ]
    beta_2, epsilon = (0.0, 0.0) if adam is None else adam
    beta_2 = as_float("beta_2", beta_2)
    result = raw_ops.fslcore_fit_classifiers(
        images=real("images", images),
        labels=integers("labels", labels, tf.int32),
        order=integers("order", order, tf.int32),
        weights=real_list("weights", weights),
        averages=real_list("averages", averages),
        memory=real_list("memory", memory),
        strides=[block.strides for block in blocks],
        pool_sizes=[block.pool_size for block in blocks],
        epsilons=[block.epsilon for block in blocks],
        precisions=[block.precision for block in blocks],
        momenta=[block.momentum for block in blocks],
        learning_rate=as_float("learning_rate", learning_rate),
        adam=adam is not None,
        beta_2=beta_2,
        one_minus_beta_2=1.0 - beta_2,
        adam_epsilon=as_float("epsilon", epsilon),
    )
    return FitResult(*result)

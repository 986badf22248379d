# SPDX-License-Identifier: MIT
"""The truth about inner loops: the oracles of blocks and of Adam, one step after the other, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import oracles_adam
import oracles_convolution
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Fit(NamedTuple):
    """What `fit` returns for one task."""

    weights: list[Array]
    averages: list[Array]
    memory: list[Array]
    losses: list[float]
    logits: Array


def fit(
    images: ArrayLike,  # [images, H, W, C]
    labels: ArrayLike,  # [images]
    order: ArrayLike,  # [steps, batch]
    weights: Sequence[ArrayLike],
    averages: Sequence[ArrayLike],
    memory: Sequence[ArrayLike],
    blocks: Sequence[tuple[int, int, float, float]],  # strides, pool_size, epsilon, momentum
    learning_rate: float,
    adam: tuple[float, float] | None = None,  # beta_2, epsilon
) -> Fit:
    """Gradient steps of a stack of blocks with a linear layer on the cross-entropy of each batch."""
    weights, averages, memory = (
        [np.asarray(a, np.float64) for a in arrays] for arrays in (weights, averages, memory)
    )
    losses = []
    for rows in np.asarray(order):
        inputs, right = [np.asarray(images, np.float64)[rows]], np.asarray(labels)[rows]
        for b, (*options, momentum) in enumerate(blocks):
            block = oracles_convolution.conv_block(inputs[-1], *weights[3 * b : 3 * b + 3], *options)
            inputs.append(block.outputs)
            for place, value in ((2 * b, block.mean), (2 * b + 1, block.variance)):
                averages[place] = momentum * averages[place] + (1 - momentum) * value
        features = inputs[-1].reshape(len(rows), -1)
        logits = features @ weights[-2] + weights[-1]
        shares = np.exp(logits - np.max(logits, axis=1, keepdims=True))
        shares /= np.sum(shares, axis=1, keepdims=True)
        losses.append(-np.mean(np.log(shares[np.arange(len(rows)), right])))

        logits_grad = (shares - np.eye(logits.shape[1])[right]) / len(rows)
        gradients = [features.T @ logits_grad, np.sum(logits_grad, axis=0)]
        grad = (logits_grad @ weights[-2].T).reshape(inputs[-1].shape)
        for b, (*options, _) in reversed([*enumerate(blocks)]):
            of_block = oracles_convolution.conv_block_grad(
                inputs[b], *weights[3 * b : 3 * b + 3], grad, *options
            )
            gradients = [of_block.kernel, of_block.gamma, of_block.beta, *gradients]
            grad = of_block.images
        if adam is None:
            weights = [w - learning_rate * g for w, g in zip(weights, gradients, strict=True)]
            continue
        beta_2, epsilon = adam
        step = oracles_adam.adam_step(
            weights,
            gradients,
            memory[:-1],
            float(memory[-1]),
            learning_rate=learning_rate,
            beta_2=beta_2,
            epsilon=epsilon,
        )
        weights, memory = step.weights, [*step.squares, np.asarray(step.power)]
    return Fit(weights, averages, memory, losses, logits)

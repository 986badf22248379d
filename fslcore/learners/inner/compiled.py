# SPDX-License-Identifier: MIT
"""The inner loop as one op, for the networks and optimizers that `fslcore.ops.fit_classifiers` supports.

An inner step in TensorFlow is about a hundred small ops, which take half as long as its convolutions. The op
does the same arithmetic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from fslcore.layers import ConvBlock
from fslcore.learners.inner.loop import Fitted, Snapshot
from fslcore.learners.inner.optimizers import InnerAdam, InnerOptimizer, InnerSGD
from fslcore.ops.convolution import has_conv_block
from fslcore.ops.fitting import AdamOptions, FitBlock, FitResult, fit_classifiers


@dataclasses.dataclass(frozen=True)
class CompiledLoop:
    """An inner loop that fits any number of tasks by one op. It is not differentiable.

    Attributes:
        op: `fit_classifiers` with the options of a network and an optimizer.
        moves_averages: whether the moving averages are learnt, or stay as they are.
    """

    op: Callable[..., FitResult]
    moves_averages: bool

    def fit(
        self,
        start: Snapshot,
        images: tf.Tensor,
        labels: tf.Tensor,
        order: tf.Tensor,
        context: Any = None,  # noqa: ARG002
    ) -> Snapshot:
        """As `InnerLoop.fit`, without a context: the loss is the cross-entropy of the labels."""
        end = self.fit_tasks(start, images[None], labels[None], order[None]).end
        return tf.nest.map_structure(lambda stacked: stacked[0], end)

    def fit_tasks(self, start: Snapshot, images: tf.Tensor, labels: tf.Tensor, order: tf.Tensor) -> Fitted:
        """Fits a classifier to each of several tasks, all from the same start.

        Args:
            start: the classifier before the first step, without an axis of tasks.
            images: `[tasks, n, H, W, C]`.
            labels: `[tasks, n]`.
            order: int32 `[tasks, steps, batch]`.

        Returns:
            The results of all tasks: losses `[tasks, steps]`, logits `[tasks, batch, n_way]`.
        """
        result = self.op(images, labels, order, *start)
        tasks = tf.shape(order)[0]
        state = [tf.repeat(value[None], tasks, axis=0) for value in start.state]
        if self.moves_averages:
            state = result.averages
        return Fitted(Snapshot(result.weights, state, result.memory), result.losses, result.logits)


def compiled_loop(
    network: keras.Model, optimizer: InnerOptimizer, normalization: str | None
) -> CompiledLoop | None:
    """The loop for a network and an optimizer, if the op supports them.

    Args:
        network: a built classifier.
        optimizer: the optimizer of the inner steps.
        normalization: the policy of `AdaptiveLearner`.

    Returns:
        None unless the network is a stack of `ConvBlock`s, `Flatten` and a linear `Dense` layer, all of them
        float32 and trained, without regularizers or constraints, with a known optimizer and averages that are
        not frozen; None beside a GPU.
    """
    if type(optimizer) not in (InnerSGD, InnerAdam) or normalization not in ("batch", "moving"):
        return None
    if not has_conv_block():
        return None
    if not isinstance(network, keras.Sequential) or len(network.layers) < 3:
        return None
    *blocks, flatten, linear = network.layers
    known = all(type(block) is ConvBlock for block in blocks) and type(flatten) is keras.layers.Flatten
    if not known or flatten.data_format != "channels_last" or not _is_linear(linear):
        return None
    if any(not layer.trainable or layer.compute_dtype != "float32" for layer in network.layers):
        return None
    if any(_has_terms_of_its_own(layer) for layer in network.layers):
        return None
    of_blocks = [FitBlock(b.strides, b.pool_size, b.epsilon, b.precision, b.momentum) for b in blocks]
    rate = optimizer.get_config()["learning_rate"]
    adam = AdamOptions(optimizer.beta_2, optimizer.epsilon) if isinstance(optimizer, InnerAdam) else None
    op = partial(fit_classifiers, blocks=of_blocks, learning_rate=rate, adam=adam)
    return CompiledLoop(op, moves_averages=normalization == "moving")


def _has_terms_of_its_own(layer: keras.Layer) -> bool:
    """Whether a layer adds to the loss, bounds a weight, or holds weights that are not float32."""
    return layer.activity_regularizer is not None or any(
        v.regularizer is not None or v.constraint is not None or v.dtype != "float32" for v in layer.variables
    )


def _is_linear(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.Dense
        and layer.use_bias
        and layer.activation is keras.activations.linear
        and not layer.lora_enabled
        and layer.quantization_mode is None
    )

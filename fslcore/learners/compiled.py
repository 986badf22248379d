# SPDX-License-Identifier: MIT
"""The inner loop as one op, for the networks and optimizers that `fslcore.ops.fit_classifiers` knows.

TensorFlow runs some hundred small ops in an inner step, and takes as long for them as for half of the
convolutions. The op does the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras

from fslcore.layers.convolution import ConvBlock
from fslcore.learners.inner import SGD, Adam, InnerOptimizer
from fslcore.ops.convolution import has_conv_block
from fslcore.ops.fitting import AdamOptions, FitBlock, FitResult, fit_classifiers


def compiled_fit(
    network: keras.Model, optimizer: InnerOptimizer, normalization: str | None
) -> Callable[..., FitResult] | None:
    """`fit_classifiers` with the options of a network and an optimizer.

    Args:
        network: A built classifier.
        optimizer: Of the inner steps.
        normalization: The policy of `AdaptiveLearner`.

    Returns:
        A function of images, labels, order, weights, averages and memory; None where the network is no stack
        of `ConvBlock`s, `Flatten` and a linear `Dense` layer, all of them float32 and trained, for another
        optimizer, where averages are frozen, and beside a GPU.
    """
    if type(optimizer) not in (SGD, Adam) or normalization not in ("batch", "moving"):
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
    of_blocks = [FitBlock(b.strides, b.pool_size, b.epsilon, b.precision, b.momentum) for b in blocks]
    rate = optimizer.get_config()["learning_rate"]
    adam = AdamOptions(optimizer.beta_2, optimizer.epsilon) if isinstance(optimizer, Adam) else None
    return partial(fit_classifiers, blocks=of_blocks, learning_rate=rate, adam=adam)


def _is_linear(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.Dense
        and layer.use_bias
        and layer.activation is keras.activations.linear
        and not layer.lora_enabled
        and layer.quantization_mode is None
    )

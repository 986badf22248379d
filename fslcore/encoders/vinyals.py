# SPDX-License-Identifier: MIT
"""Four blocks of 64 convolutions, the usual network of the few-shot literature."""

from __future__ import annotations

import keras
from keras import layers

from fslcore.arguments import check_image_shape
from fslcore.layers import ConvBlock, FusedBatchNormalization

Shape = tuple[int, int, int]

_LEAST_SIZE = 16  # four times halved leaves one pixel


def VinyalsNet(input_shape: Shape = (28, 28, 3)) -> keras.Sequential:
    """Four blocks of 64 convolutions, batch normalisation, ReLU and pooling: dim 64 on 28 x 28 pixels.

    Vinyals et al., "Matching Networks for One Shot Learning" (2016), section 4.1. 113,600 parameters.

    Args:
        input_shape: (height, width, channels), at least 16 pixels high and wide.

    Returns:
        The encoder.

    Raises:
        ArgumentError: The images are smaller.
    """
    check_image_shape("input_shape", input_shape, _LEAST_SIZE)
    stack = [keras.Input(input_shape)]
    for _ in range(4):
        stack += [
            layers.Conv2D(64, 3, padding="same"),
            FusedBatchNormalization(momentum=0.99),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    return keras.Sequential([*stack, layers.Flatten()], name="vinyals_net")


def conv4(
    input_shape: Shape = (28, 28, 1), momentum: float = 0.9, precision: str = "float32"
) -> keras.Sequential:
    """`VinyalsNet` without the convolutions' biases, which the batch normalisation cancels.

    112,192 parameters on (28, 28, 1).

    Args:
        input_shape: (height, width, channels), at least 16 pixels high and wide.
        momentum: The momentum of the batch normalisation's moving averages. With Keras' 0.99 they lag 100
            steps behind the weights, so that the statistics of an earlier network would normalise the one
            that is measured.
        precision: The precision of each `ConvBlock` in training.

    Returns:
        The encoder.

    Raises:
        ArgumentError: The images are smaller, or another argument is out of range.
    """
    check_image_shape("input_shape", input_shape, _LEAST_SIZE)
    blocks = [ConvBlock(64, strides=1, pool_size=2, momentum=momentum, precision=precision) for _ in range(4)]
    return keras.Sequential([keras.Input(input_shape), *blocks, layers.Flatten()], name="conv4")


def conv4_classifier(
    n_way: int, input_shape: Shape = (28, 28, 1), precision: str = "float32"
) -> keras.Sequential:
    """Four blocks of 64 convolutions with stride 2, batch normalisation and ReLU, and a linear layer.

    The classifier of MAML and Reptile for Omniglot: Finn et al., "Model-Agnostic Meta-Learning for Fast
    Adaptation of Deep Networks" (2017), section 5.2; without the convolutions' biases, which the batch
    normalisation cancels. 112,965 trainable parameters for 5 classes of (28, 28, 1).

    Args:
        n_way: Number of classes.
        input_shape: (height, width, channels).
        precision: The precision of each `ConvBlock` in training.

    Returns:
        A classifier, images [batch, height, width, channels] -> logits [batch, n_way].
    """
    check_image_shape("input_shape", input_shape, 1)
    stack = [keras.Input(input_shape)]
    stack += [ConvBlock(64, strides=2, precision=precision) for _ in range(4)]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(n_way)], name="conv4_classifier")

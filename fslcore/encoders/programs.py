# SPDX-License-Identifier: MIT
"""The small networks of published programs, layer by layer."""

from __future__ import annotations

import keras
from keras import layers

from fslcore.arguments import as_bool, check_at_least, check_image_shape
from fslcore.layers import FusedBatchNormalization

Shape = tuple[int, int, int]

_RATE = 0.3  # of the dropout


def SingleConv2D(input_shape: Shape = (28, 28, 3)) -> keras.Sequential:
    """Ten linear 3 x 3 convolutions and the mean over the pixels, as in keras-fsl: dim 10.

    280 parameters on 3 channels: a baseline that can tell colours and edges apart, and little else.

    Args:
        input_shape: (height, width, channels), at least 3 pixels high and wide.

    Returns:
        The encoder.

    Raises:
        ArgumentError: The images are smaller.
    """
    check_image_shape("input_shape", input_shape, 3)
    stack = [keras.Input(input_shape), layers.Conv2D(10, 3), layers.GlobalAveragePooling2D()]
    return keras.Sequential(stack, name="single_conv2d")


def CifarCNN(input_shape: Shape = (32, 32, 3), normalize: bool = False) -> keras.Sequential:
    """The network of keras-fsl's notebooks for CIFAR-10: dim 256.

    Four times convolution (32, 64, 128, 256 filters of 3 x 3), ReLU, pooling by 2 and dropout of 0.3, then
    the maximum over the pixels. 388,416 parameters on 3 channels.

    Args:
        input_shape: (height, width, channels), at least 16 pixels high and wide.
        normalize: Whether embeddings are divided by their lengths.

    Returns:
        The encoder.

    Raises:
        ArgumentError: The images are smaller, or `normalize` is no truth value.
    """
    check_image_shape("input_shape", input_shape, 16)
    stack = [keras.Input(input_shape)]
    for filters in (32, 64, 128, 256):
        stack += [
            layers.Conv2D(filters, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(_RATE),
        ]
    stack += [layers.GlobalMaxPooling2D(), layers.Flatten()]
    if as_bool("normalize", normalize):
        stack.append(layers.UnitNormalization())
    return keras.Sequential(stack, name="cifar_cnn")


def MnistCNN(input_shape: Shape = (28, 28, 1)) -> keras.Sequential:
    """The network of the triplet loss tutorials on MNIST, of TensorFlow Addons and keras-fsl: dim 256.

    Two times convolution (64, 32 filters of 2 x 2), ReLU, pooling by 2 and dropout of 0.3, then 256 linear
    units and division by the length. 410,208 parameters on (28, 28, 1).

    Args:
        input_shape: (height, width, channels), at least 4 pixels high and wide.

    Returns:
        The encoder.

    Raises:
        ArgumentError: The images are smaller.
    """
    check_image_shape("input_shape", input_shape, 4)
    stack = [keras.Input(input_shape)]
    for filters in (64, 32):
        stack += [
            layers.Conv2D(filters, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(_RATE),
        ]
    stack += [layers.Flatten(), layers.Dense(256), layers.UnitNormalization()]
    return keras.Sequential(stack, name="mnist_cnn")


def ReptileNet(
    classes: int = 5, input_shape: Shape = (28, 28, 1), activation: str | None = "softmax"
) -> keras.Sequential:
    """The classifier of Keras' Reptile example, and with `activation=None` that of the MetaGAN example.

    `conv4_classifier` with the convolutions' biases, and batch normalisation with Keras' momentum of 0.99:
    113,733 parameters, of which 113,221 are trainable, for 5 classes of (28, 28, 1). The learners take
    logits: give them `conv4_classifier`, which has the fused blocks, too.

    Args:
        classes: Number of classes.
        input_shape: (height, width, channels).
        activation: Of the last layer, "softmax" or None.

    Returns:
        A classifier, images [batch, height, width, channels] -> [batch, classes].

    Raises:
        ArgumentError: There are no classes, or the shape is none of images.
    """
    check_at_least("classes", classes, 1)
    check_image_shape("input_shape", input_shape, 1)
    stack = [keras.Input(input_shape)]
    for _ in range(4):
        stack += [
            layers.Conv2D(64, 3, strides=2, padding="same"),
            FusedBatchNormalization(momentum=0.99),
            layers.ReLU(),
        ]
    stack += [layers.Flatten(), layers.Dense(classes, activation=activation)]
    return keras.Sequential(stack, name="reptile_net")

# SPDX-License-Identifier: MIT
"""The small convolutional network of keras-fsl."""

from __future__ import annotations

import keras
from keras import layers

from fslcore.arguments import check_image_shape

Shape = tuple[int, int, int]


def BasicCNN(input_shape: Shape, classes: int | None = None) -> keras.Sequential:
    """Two convolutions and a dense layer, as in keras-fsl: dim 512.

    3,221,344 parameters on (28, 28, 1).

    Args:
        input_shape: (height, width, channels), at least 2 pixels high and wide.
        classes: If given, a softmax over that many classes is added.

    Returns:
        The encoder.

    Raises:
        ArgumentError: The images are smaller.
    """
    check_image_shape("input_shape", input_shape, 2)
    stack = [
        keras.Input(input_shape),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Dropout(0.2),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dropout(0.5),
    ]
    if classes is not None:
        stack.append(layers.Dense(classes, activation="softmax"))
    return keras.Sequential(stack, name="basic_cnn")

# SPDX-License-Identifier: MIT
"""The encoder of the first Siamese networks for one-shot recognition."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from fslcore.arguments import ArgumentError, check_image_shape

Shape = tuple[int, int, int]

_LEAST_SIZE = 65  # the convolutions and poolings leave one pixel


@keras.saving.register_keras_serializable(package="fslcore")
class Float32L2(keras.regularizers.L2):
    """`keras.regularizers.L2` in float32: Keras adds up no losses of different dtypes."""

    def __call__(self, x: Any) -> Any:
        """The penalty of weights of any floating dtype."""
        return super().__call__(keras.ops.cast(x, "float32"))


def l2(factor: float) -> keras.regularizers.Regularizer:
    """The l2 regulariser of weights in the variable dtype of the current policy."""
    of_float32 = keras.config.dtype_policy().variable_dtype == "float32"
    return keras.regularizers.L2(factor) if of_float32 else Float32L2(factor)


def KochNet(input_shape: Shape = (105, 105, 3), variant: str = "keras-fsl") -> keras.Sequential:
    """The encoder of Koch et al., "Siamese Neural Networks for One-shot Image Recognition" (2015): dim 4096.

    38,960,448 parameters on (105, 105, 3), 38,947,648 on (105, 105, 1).

    | variant | first convolution | l2 of convolutions, dense layer | spread of the dense weights |
    |---|---|---|---|
    | "keras-fsl" | linear, bias around 0.5 | 0.01, none | 0.2 |
    | "paper" | ReLU, bias 0 | 2e-4, 1e-3 | 0.01 |

    "paper" is the network drawn in the paper, with the initialisation and the regularisation of the
    best-known Keras reproduction.

    Args:
        input_shape: (height, width, channels), at least 65 pixels high and wide.
        variant: "keras-fsl" or "paper".

    Returns:
        The encoder; its `losses` hold the regularisation, which Keras adds to the loss in `fit`.

    Raises:
        ArgumentError: For any other variant, and for smaller images.
    """
    if variant not in ("keras-fsl", "paper"):
        raise ArgumentError("variant", "must be 'keras-fsl' or 'paper'", variant)
    check_image_shape("input_shape", input_shape, _LEAST_SIZE)
    is_paper = variant == "paper"
    narrow = keras.initializers.RandomNormal(0.0, 0.01)
    bias = keras.initializers.RandomNormal(0.5, 0.01)

    def convolution(filters: int, size: int, first: bool = False) -> layers.Layer:
        return layers.Conv2D(
            filters,
            size,
            activation="relu" if is_paper or not first else None,
            kernel_initializer=narrow.clone(),
            bias_initializer="zeros" if is_paper and first else bias.clone(),
            kernel_regularizer=l2(2e-4 if is_paper else 0.01),
        )

    return keras.Sequential(
        [
            keras.Input(input_shape),
            convolution(64, 10, first=True),
            layers.MaxPooling2D(),
            convolution(128, 7),
            layers.MaxPooling2D(),
            convolution(128, 4),
            layers.MaxPooling2D(),
            convolution(256, 4),
            layers.Flatten(),
            layers.Dense(
                4096,
                activation="sigmoid",
                kernel_initializer=narrow.clone() if is_paper else keras.initializers.RandomNormal(0.0, 0.2),
                bias_initializer=bias.clone(),
                kernel_regularizer=l2(1e-3) if is_paper else None,
            ),
        ],
        name="koch_net",
    )

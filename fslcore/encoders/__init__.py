# SPDX-License-Identifier: MIT
"""Encoders of the few-shot literature: images [batch, height, width, channels] to embeddings [batch, dim].

Each function returns a keras.Sequential, to be trained alone or put before a `fslcore.layers.GramMatrix`.
"""

from __future__ import annotations

import keras
from keras import layers

from fslcore.encoders import adversarial as adversarial
from fslcore.layers.convolution import ConvBlock
from fslcore.layers.normalization import FusedBatchNormalization

Shape = tuple[int, int, int]


def BasicCNN(input_shape: Shape, classes: int | None = None) -> keras.Sequential:
    """Two convolutions and a dense layer, as in keras-fsl: dim 512.

    3,221,344 parameters on (28, 28, 1).

    Args:
        input_shape: (height, width, channels).
        classes: If given, a softmax over that many classes is added.

    Returns:
        The encoder.
    """
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


def VinyalsNet(input_shape: Shape = (28, 28, 3)) -> keras.Sequential:
    """Four blocks of 64 convolutions, batch normalisation, ReLU and pooling: dim 64 on 28 x 28 pixels.

    Vinyals et al., "Matching Networks for One Shot Learning" (2016), section 4.1. 113,600 parameters.

    Args:
        input_shape: (height, width, channels).

    Returns:
        The encoder.
    """
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
        input_shape: (height, width, channels).
        momentum: Of the moving averages of the batch normalisation. With Keras' 0.99 they lag 100 steps
            behind the weights: in a short run, and at the end of a long one, the network that is measured
            would be normalised by the statistics of another.
        precision: That of each `ConvBlock` in training.

    Returns:
        The encoder.
    """
    blocks = [ConvBlock(64, strides=1, pool_size=2, momentum=momentum, precision=precision) for _ in range(4)]
    return keras.Sequential([keras.Input(input_shape), *blocks, layers.Flatten()], name="conv4")


def conv4_classifier(
    n_way: int, input_shape: Shape = (28, 28, 1), precision: str = "float32"
) -> keras.Sequential:
    """Four blocks of 64 convolutions with stride 2, batch normalisation and ReLU, and a linear layer.

    The classifier of MAML and Reptile for Omniglot: Finn et al., "Model-Agnostic Meta-Learning for Fast
    Adaptation of Deep Networks" (2017), section 5.2; without the convolutions' biases, which the batch
    normalisation cancels. 112,965 parameters that are trained for 5 classes of (28, 28, 1).

    Args:
        n_way: number of classes.
        input_shape: (height, width, channels).
        precision: That of each `ConvBlock` in training.

    Returns:
        A classifier, images [batch, height, width, channels] -> logits [batch, n_way].
    """
    stack = [keras.Input(input_shape)]
    stack += [ConvBlock(64, strides=2, precision=precision) for _ in range(4)]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(n_way)], name="conv4_classifier")


def KochNet(input_shape: Shape = (105, 105, 3), variant: str = "keras-fsl") -> keras.Sequential:
    """The encoder of Koch et al., "Siamese Neural Networks for One-shot Image Recognition" (2015): dim 4096.

    38,960,448 parameters on (105, 105, 3), 38,947,648 on (105, 105, 1).

    | variant | first convolution | l2 of convolutions, dense layer | spread of the dense weights |
    |---|---|---|---|
    | "keras-fsl" | linear, bias around 0.5 | 0.01, none | 0.2 |
    | "paper" | ReLU, bias 0 | 2e-4, 1e-3 | 0.01 |

    "paper" is the network as the paper draws it, with the initialisation and the regularisation of the
    best-known Keras reproduction.

    Args:
        input_shape: (height, width, channels), at least 65 pixels each way.
        variant: "keras-fsl" or "paper".

    Returns:
        The encoder; its regularisation is in `losses`, which Keras adds to the loss in `fit`.

    Raises:
        ValueError: For another variant.
    """
    if variant not in ("keras-fsl", "paper"):
        raise ValueError(f"variant must be 'keras-fsl' or 'paper', received {variant!r}")
    is_paper = variant == "paper"
    l2 = keras.regularizers.L2
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

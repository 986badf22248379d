# SPDX-License-Identifier: MIT
"""The networks of `MetaGAN` beside the classifier: an encoder of tasks and a generator of images.

    support ──> task_encoder ──> mean ──┐
                              noise ────┴──> conditional_generator ──> images in 0..1

They follow Zhang et al., "MetaGAN: An Adversarial Approach to Few-Shot Learning" (2018), in the sizes of the
published Keras program; the generator's upsampling convolutions are in sub-pixel form.
"""

from __future__ import annotations

import math

import keras
from keras import layers

from fslcore.arguments import ArgumentError, check_at_least
from fslcore.layers.upsampling import Conv2D, UpsampledConv2D

__all__ = ["conditional_generator", "task_encoder"]

Shape = tuple[int, int, int]

# The generator starts from a quarter of the image's height and width, and doubles them twice.
_ENLARGED = 4
_DROPOUT = 0.2  # of the task's embedding, while training


def task_encoder(
    input_shape: Shape = (28, 28, 1), width: int = 256, dtype: str | None = None
) -> keras.Sequential:
    """Six convolutions, three of them with stride 2, and a dense layer with dropout, all LeakyReLU.

    2,193,088 parameters on (28, 28, 1). The embedding of a task is the mean over the images of its support.

    Args:
        input_shape: (height, width, channels).
        width: Width of the embedding.
        dtype: Keras' policy for the layers, such as "mixed_bfloat16"; None: the current one.

    Returns:
        A model, images [batch, height, width, channels] -> [batch, width].

    Raises:
        ValueError: If a size is below 1.
    """
    _check_sizes("input_shape", input_shape)
    check_at_least("width", width, 1)
    stack = [keras.Input(input_shape)]
    for filters in (64, 128, 256):
        for strides in (1, 2):
            stack += [
                Conv2D(filters, 3, strides=strides, padding="same", dtype=dtype),
                layers.LeakyReLU(dtype=dtype),
            ]
    stack += [layers.Flatten(dtype=dtype), layers.Dense(width, dtype=dtype), layers.LeakyReLU(dtype=dtype)]
    return keras.Sequential([*stack, layers.Dropout(_DROPOUT, dtype=dtype)], name="task_encoder")


def conditional_generator(
    image_shape: Shape = (28, 28, 1),
    noise_dim: int = 100,
    task_width: int = 256,
    dtype: str | None = None,
) -> keras.Model:
    """A dense layer and three 5 x 5 convolutions; the last two double the image each.

    5,504,001 parameters for (28, 28, 1). The last activation is (1 + tanh(x)) / 2, so that images are 0..1,
    as in an `ImageStore`; the published network ends in tanh(x), for images of -1..1.

    Args:
        image_shape: (height, width, channels); height and width multiples of 4.
        noise_dim: Width of the noise.
        task_width: Width of the task's embedding.
        dtype: Keras' policy for the layers; None: the current one. On two cores with AMX, "mixed_bfloat16"
            for this network and the encoder makes a training step of `MetaGAN` a quarter shorter.

    Returns:
        A model, (noise [batch, noise_dim], task [batch, task_width]) -> images [batch, *image_shape].

    Raises:
        ValueError: If a size is below 1, or the height or width is not a multiple of 4.
    """
    _check_sizes("image_shape", image_shape)
    check_at_least("noise_dim", noise_dim, 1)
    check_at_least("task_width", task_width, 1)
    height, width, channels = image_shape
    if height % _ENLARGED or width % _ENLARGED:
        raise ArgumentError(
            "image_shape", f"must have a height and width that are multiples of {_ENLARGED}", image_shape
        )
    small = (height // _ENLARGED, width // _ENLARGED, 256)
    noise, task = keras.Input((noise_dim,), name="noise"), keras.Input((task_width,), name="task")
    x = layers.Concatenate(dtype=dtype)([noise, task])
    x = layers.Reshape(small, dtype=dtype)(layers.Dense(math.prod(small), dtype=dtype)(x))
    x = layers.LeakyReLU(dtype=dtype)(Conv2D(128, 5, padding="same", dtype=dtype)(x))
    x = layers.LeakyReLU(dtype=dtype)(UpsampledConv2D(64, dtype=dtype)(x))
    x = layers.Activation("tanh", dtype=dtype)(UpsampledConv2D(channels, dtype=dtype)(x))
    images = layers.Rescaling(0.5, offset=0.5, dtype="float32")(x)
    return keras.Model([noise, task], images, name="conditional_generator")


def _check_sizes(argument: str, sizes: tuple[int, ...]) -> None:
    if not all(size >= 1 for size in sizes):
        raise ArgumentError(argument, "must be at least 1", sizes)

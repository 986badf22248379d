# SPDX-License-Identifier: MIT
"""What `MetaGAN` needs beside a classifier: an encoder of tasks, and a generator of images for a task.

    support ──> task_encoder ──> mean ──┐
                              noise ────┴──> conditional_generator ──> images in 0..1

The networks are those of Zhang et al., "MetaGAN: An Adversarial Approach to Few-Shot Learning" (2018), in the
sizes of the published Keras program; the generator's enlarging convolutions are in sub-pixel form.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

Shape = tuple[int, int, int]

# The generator starts from a quarter of the image's height and width, and doubles them twice.
_ENLARGED = 4
# Of the task's embedding, while training.
_DROPOUT = 0.2


def task_encoder(
    input_shape: Shape = (28, 28, 1), width: int = 256, dtype: str | None = None
) -> keras.Sequential:
    """Six convolutions, three of them with stride 2, and a dense layer with dropout, all LeakyReLU.

    2,193,088 parameters on (28, 28, 1). What it makes of a task is the mean over the images of its support.

    Args:
        input_shape: (height, width, channels).
        width: of the embedding.
        dtype: Keras' policy for the layers, such as "mixed_bfloat16"; None: the current one.

    Returns:
        A model, images [batch, height, width, channels] -> [batch, width].

    Raises:
        ValueError: a size is below 1.
    """
    _check_sizes("input_shape", input_shape)
    _check_sizes("width", (width,))
    stack = [keras.Input(input_shape)]
    for filters in (64, 128, 256):
        for strides in (1, 2):
            stack += [
                layers.Conv2D(filters, 3, strides=strides, padding="same", dtype=dtype),
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
    """A dense layer and three 5 x 5 convolutions, of which the last two each double the image.

    5,504,001 parameters for (28, 28, 1). It ends in (1 + tanh(x)) / 2: its images are 0..1, as those of
    an `ImageStore`; the published one ends in tanh(x), for images of -1..1.

    Args:
        image_shape: (height, width, channels); height and width multiples of 4.
        noise_dim: width of the noise.
        task_width: width of the task's embedding.
        dtype: Keras' policy for the layers; None: the current one. On two cores with AMX, "mixed_bfloat16"
            for this network and the encoder makes a training step of `MetaGAN` a quarter shorter.

    Returns:
        A model, (noise [batch, noise_dim], task [batch, task_width]) -> images [batch, *image_shape].

    Raises:
        ValueError: a size is below 1, or the height or width no multiple of 4.
    """
    _check_sizes("image_shape", image_shape)
    _check_sizes("noise_dim", (noise_dim,))
    _check_sizes("task_width", (task_width,))
    height, width, channels = image_shape
    if height % _ENLARGED or width % _ENLARGED:
        raise ValueError(
            f"image_shape must have a height and width that are multiples of {_ENLARGED}, "
            f"received image_shape={image_shape}"
        )
    small = (height // _ENLARGED, width // _ENLARGED, 256)
    noise, task = keras.Input((noise_dim,), name="noise"), keras.Input((task_width,), name="task")
    x = layers.Concatenate(dtype=dtype)([noise, task])
    x = layers.Reshape(small, dtype=dtype)(layers.Dense(math.prod(small), dtype=dtype)(x))
    x = layers.LeakyReLU(dtype=dtype)(layers.Conv2D(128, 5, padding="same", dtype=dtype)(x))
    x = layers.LeakyReLU(dtype=dtype)(UpsampledConv2D(64, dtype=dtype)(x))
    x = layers.Activation("tanh", dtype=dtype)(UpsampledConv2D(channels, dtype=dtype)(x))
    images = layers.Rescaling(0.5, offset=0.5, dtype="float32")(x)
    return keras.Model([noise, task], images, name="conditional_generator")


@keras.saving.register_keras_serializable(package="fslcore")
class UpsampledConv2D(keras.layers.Layer):
    """Enlarges by repeating pixels, then convolves: `UpSampling2D(factor)` and `Conv2D(padding="same")`.

    The same weights and, to rounding, the same results, with fewer operations: repeated pixels are met by
    several taps of the kernel, which are added up beforehand. What is left is one smaller kernel for each of
    the `factor * factor` places that a new pixel can have in an old one; all of them are applied to the small
    image at once. 5 x 5 after doubling becomes four times 3 x 3, which is 2.8 times less work.

    A tap that reaches beyond the large image reaches beyond the small one too, so that zeros around either
    are the same zeros.

    Args:
        filters: channels of the output.
        kernel_size: height and width of the kernel on the large image, odd.
        factor: how many times as high and wide the image becomes.
        **kwargs: passed to `keras.layers.Layer`.

    Input: `[batch, height, width, channels]`. Output: `[batch, factor * height, factor * width, filters]`.

    Attributes:
        kernel: `[kernel_size, kernel_size, channels, filters]`.
        bias: `[filters]`.

    Raises:
        ValueError: a size is below 1, or `kernel_size` is even.
    """

    def __init__(self, filters: int, kernel_size: int = 5, factor: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for argument, value in (("filters", filters), ("kernel_size", kernel_size), ("factor", factor)):
            _check_sizes(argument, (value,))
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, received kernel_size={kernel_size}")
        self.filters, self.kernel_size, self.factor = filters, kernel_size, factor
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights, initialised as those of `keras.layers.Conv2D`."""
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Enlarges and convolves."""
        kernel = _folded(tf.convert_to_tensor(self.kernel), self.factor)
        outputs = tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
        if self.factor > 1:
            outputs = tf.nn.depth_to_space(outputs, self.factor)
        return outputs + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output."""
        batch, height, width, _ = input_shape
        large = [None if size is None else size * self.factor for size in (height, width)]
        return (batch, *large, self.filters)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        arguments = {name: getattr(self, name) for name in ("filters", "kernel_size", "factor")}
        return {**super().get_config(), **arguments}


def _folded(kernel: tf.Tensor, factor: int) -> tf.Tensor:
    """The kernels `[size, size, C, factor * factor * filters]` on the small image, place by place."""
    large, _, channels, filters = kernel.shape
    taps = _taps(large, factor)
    size = taps.shape[1]
    sums = tf.constant(np.einsum("ayt,bxu->yxabtu", taps, taps).reshape(-1, large * large), kernel.dtype)
    folded = tf.matmul(sums, tf.reshape(kernel, (large * large, channels * filters)))
    folded = tf.reshape(folded, (size, size, factor * factor, channels, filters))
    return tf.reshape(tf.transpose(folded, (0, 1, 3, 2, 4)), (size, size, channels, factor**2 * filters))


def _taps(kernel_size: int, factor: int) -> npt.NDArray[np.float32]:
    """Which taps of the large kernel fall on which pixel, along one axis: 0 or 1 `[factor, size, taps]`.

    At the large pixel `factor * i + a`, tap t reads the large pixel `factor * i + a + t - kernel_size // 2`,
    a copy of the small pixel `i + (a + t - kernel_size // 2) // factor`.
    """
    radius = -(-(kernel_size // 2) // factor)
    place, tap = np.ogrid[:factor, :kernel_size]
    read = (place + tap - kernel_size // 2) // factor
    pixels = np.arange(-radius, radius + 1)[None, :, None]
    return (read[:, None, :] == pixels).astype(np.float32)


def _check_sizes(argument: str, sizes: tuple[int, ...]) -> None:
    if not all(size >= 1 for size in sizes):
        received = sizes if len(sizes) > 1 else sizes[0]
        raise ValueError(f"{argument} must be at least 1, received {argument}={received}")

# SPDX-License-Identifier: MIT
"""Convolution, batch normalisation, ReLU and pooling as one Keras layer, compiled for training on CPUs."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore import twins
from fslcore.arguments import as_float, check_at_least, check_conv_block
from fslcore.ops import conv_block
from fslcore.ops.convolution import has_conv_block

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="fslcore")
class ConvBlock(keras.Layer):
    """Conv2D(filters, 3, padding="same", use_bias=False), BatchNormalization, ReLU and MaxPooling2D in one.

    Training runs `fslcore.ops.conv_block`, or its plain TensorFlow twin where there is a GPU; inference, and
    training while the layer is frozen, normalise by the moving averages. Weights, sums and averages are
    float32 whatever the policy; the outputs have the policy's compute dtype.

    Args:
        filters: The number of filters.
        strides: The strides of the convolution, 1 or 2.
        pool_size: 2, or 1 for no pooling.
        momentum: The momentum of the moving averages; read at each call.
        epsilon: Added to the variance.
        precision: "float32", or "bfloat16" to train with factors of 8 bits in the convolution, as in
            `fslcore.ops.conv_block`; inference is float32.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: If filters, strides, pool_size, epsilon or precision are out of range, or inputs do not
            have four axes and known channels.
    """

    def __init__(
        self,
        filters: int,
        strides: int = 2,
        pool_size: int = 1,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least("filters", filters, 1)
        self.filters = filters
        self.strides, self.pool_size, self.epsilon = check_conv_block(strides, pool_size, epsilon, precision)
        self.precision = precision
        self.momentum = as_float("momentum", momentum)

    def build(self, input_shape: Shape) -> None:
        """Makes the weights for images of the shape (batch, height, width, channels)."""
        if len(input_shape) != 4 or input_shape[3] is None:
            raise ValueError(
                "inputs must be [batch, height, width, channels] with known channels, "
                f"received shape {tuple(input_shape)}"
            )

        def weight(name: str, shape: Shape, initializer: str, trainable: bool = True) -> keras.Variable:
            return self.add_weight(
                shape=shape,
                initializer=initializer,
                dtype="float32",
                trainable=trainable,
                autocast=False,
                name=name,
            )

        self.kernel = weight("kernel", (3, 3, input_shape[3], self.filters), "glorot_uniform")
        self.gamma = weight("gamma", (self.filters,), "ones")
        self.beta = weight("beta", (self.filters,), "zeros")
        self.moving_mean = weight("moving_mean", (self.filters,), "zeros", trainable=False)
        self.moving_variance = weight("moving_variance", (self.filters,), "ones", trainable=False)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Outputs of the shape `compute_output_shape` for images [batch, height, width, channels]."""
        images = tf.cast(inputs, tf.float32)
        kernel, gamma, beta = (tf.convert_to_tensor(w) for w in (self.kernel, self.gamma, self.beta))
        if training and self.trainable:
            block = conv_block if has_conv_block() else twins.conv_block
            outputs, mean, variance = block(
                images,
                kernel,
                gamma,
                beta,
                strides=self.strides,
                pool_size=self.pool_size,
                epsilon=self.epsilon,
                precision=self.precision,
            )
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance)
        else:
            # Constants normalise: they are multiplied into the kernel.
            scale = gamma * tf.math.rsqrt(tf.convert_to_tensor(self.moving_variance) + self.epsilon)
            offset = beta - tf.convert_to_tensor(self.moving_mean) * scale
            convolved = tf.nn.conv2d(images, kernel * scale, self.strides, "SAME")
            outputs = tf.nn.relu(tf.nn.bias_add(convolved, offset))
            if self.pool_size > 1:
                outputs = tf.nn.max_pool2d(outputs, self.pool_size, self.pool_size, "VALID")
        return tf.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, out_height, out_width, filters), out_height = floor(ceil(height / strides) / pool_size)."""
        batch, height, width, _ = input_shape
        height, width = (
            None if size is None else -(-size // self.strides) // self.pool_size for size in (height, width)
        )
        return (batch, height, width, self.filters)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "strides": self.strides,
            "pool_size": self.pool_size,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "precision": self.precision,
        }

    def _move(self, average: keras.Variable, value: Tensor) -> None:
        average.assign(average * self.momentum + value * (1.0 - self.momentum))

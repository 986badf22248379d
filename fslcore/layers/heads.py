# SPDX-License-Identifier: MIT
"""Kernels that are layers: they score pairs of embeddings, [a, b] of [pairs, dim] each to [pairs, 1].

    DenseSigmoid              the head of Koch et al. (2015)
    LearntNorms, MixedNorms   those of keras-fsl (norms.py)
    PairFunction              a registered function of two embeddings

A head is found by its name in `HEADS`, with default arguments for it. Those with a method `matrix` are
compiled for every pair of rows of two matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.arguments import ArgumentError, as_bool, check_activation
from fslcore.layers.norms import LearntNorms, MixedNorms

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="fslcore")
class DenseSigmoid(keras.Layer):
    """sigmoid(sum_d w_d |a_d - b_d| + bias): a dense unit on the coordinates' distances of two embeddings.

    The head of Koch, Zemel and Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition"
    (2015). Called on [a, b], both [pairs, dim], it returns [pairs, 1]; dim + 1 weights.

    Args:
        use_bias: Whether to add a bias; without one a sample scores 0.5 with itself.
        activation: "sigmoid" or None.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: For another activation, or inputs of another shape.
    """

    def __init__(self, use_bias: bool = True, activation: str | None = "sigmoid", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_activation(activation)
        self.use_bias = as_bool("use_bias", use_bias)
        self.activation = activation

    def build(self, input_shape: list[Shape]) -> None:
        """Makes the weights for inputs of the shapes [(pairs, dim), (pairs, dim)]."""
        if len(input_shape) != 2 or tuple(input_shape[0])[1:] != tuple(input_shape[1])[1:]:
            raise ValueError(f"inputs must be two matrices [pairs, dim], received shapes {input_shape}")
        dim = embedding_size(input_shape[0])
        limit = (6.0 / (dim + 1)) ** 0.5  # Glorot's for a dense layer from dim to 1
        self.kernel = self.add_weight(
            shape=(dim,), initializer=keras.initializers.RandomUniform(-limit, limit), name="kernel"
        )
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Scores [pairs, 1] of [a, b]."""
        first, second = inputs
        score = tf.linalg.matvec(tf.abs(first - second), tf.convert_to_tensor(self.kernel))[:, None]
        if self.bias is not None:
            score += tf.convert_to_tensor(self.bias)
        return tf.sigmoid(score) if self.activation else score

    def matrix(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Scores float32 [n, m] of every row of x [n, dim] with every row of y [m, dim]; y=None means x."""
        bias = 0.0 if self.bias is None else self.bias
        return ops.pairwise(
            x, y, "weighted_manhattan", weights=self.kernel, bias=bias, activation=self.activation
        )

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """(pairs, 1)."""
        return (input_shape[0][0], 1)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "use_bias": self.use_bias, "activation": self.activation}


@keras.saving.register_keras_serializable(package="fslcore")
class PairFunction(keras.Layer):
    """A function of two embeddings as a kernel.

    Args:
        function: Takes a and b, [pairs, dim] each, and returns [pairs] or [pairs, 1]. It is registered with
            `keras.saving.register_keras_serializable`, so that a model that is saved finds it by its name.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: If it is no registered function.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_registered(function):
            requirement = "must be a function registered with keras.saving.register_keras_serializable"
            raise ArgumentError("function", requirement, function)
        self.function = function

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Scores [pairs, 1] or [pairs] of [a, b]."""
        return self.function(*inputs)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PairFunction:
        """The layer that `get_config` describes."""
        return cls(**{**config, "function": keras.saving.deserialize_keras_object(config["function"])})


def is_registered(function: Any) -> bool:
    """Whether it is a function, no class, that Keras can save by its name."""
    if not callable(function) or isinstance(function, type):
        return False
    name = keras.saving.get_registered_name(function)
    return keras.saving.get_registered_object(name) is function


# The names by which a layer's `kernel` may be given: the head and its default arguments.
HEADS: dict[str, tuple[type[keras.Layer], dict[str, Any]]] = {
    "DenseSigmoid": (DenseSigmoid, {}),
    "LearntNorms": (LearntNorms, {}),
    "MixedNorms": (MixedNorms, {}),
    "weighted_manhattan": (DenseSigmoid, {"use_bias": False, "activation": None}),
}


def embedding_size(shape: Any) -> int:
    """The dim of embeddings of the shape (batch, dim), or a ValueError."""
    shape = tuple(shape)
    if len(shape) != 2 or shape[1] is None:
        raise ValueError(f"embeddings must be [batch, dim] with a known dim, received shape {shape}")
    return int(shape[1])

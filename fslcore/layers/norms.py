# SPDX-License-Identifier: MIT
"""Heads with a small network on every coordinate of two embeddings: those of keras-fsl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops, twins
from fslcore.arguments import MIXED_NORMS, as_bool, as_int64, check_at_least, check_norms

Tensor = Any
Shape = tuple[int | None, ...]


class NormsHead(keras.Layer):
    """act(sum_d w_d (sum_f v_f max(sum_k A_fk n_k(a_d, b_d) + b_f, 0) + e) + g), with norms n_k.

    Called on [a, b], both [pairs, dim], it returns [pairs, 1], and holds [pairs, dim, filters] floats. As the
    kernel of a `GramMatrix` or `CentroidsMatrix` it is compiled, and holds no such tensor.
    """

    def __init__(
        self,
        norms: Sequence[str],
        filters: int,
        use_bias: bool,
        activation: Any,
        unit: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.norms = check_norms(norms, unit, None)
        check_at_least("filters", filters, 1)
        self.filters = as_int64("filters", filters)
        self.use_bias = as_bool("use_bias", use_bias)
        self.activation = keras.activations.get(activation)
        self.unit = unit

    def build(self, input_shape: list[Shape]) -> None:
        """Makes the weights for inputs of the shapes [(pairs, ...), (pairs, ...)]."""
        if len(input_shape) != 2 or tuple(input_shape[0])[1:] != tuple(input_shape[1])[1:]:
            raise ValueError(f"inputs must be two matrices [pairs, dim], received shapes {input_shape}")
        dim = self.size_of_rows(tuple(input_shape[0]))
        norms = len(self.norms)

        def weight(name: str, shape: Shape, fan_in: int, fan_out: int) -> keras.Variable:
            limit = (6.0 / (fan_in + fan_out)) ** 0.5  # Glorot's, as the convolutions of keras-fsl have it
            return self.add_weight(
                shape=shape, initializer=keras.initializers.RandomUniform(-limit, limit), name=name
            )

        self.hidden = weight("hidden", (self.filters, norms), norms, norms * self.filters)
        self.hidden_bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="hidden_bias")
        self.mixing = weight("mixing", (self.filters,), self.filters, 1)
        self.mixing_bias = self.add_weight(shape=(), initializer="zeros", name="mixing_bias")
        self.kernel = weight("kernel", (dim,), dim, 1)
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Scores [pairs, 1] of [a, b]."""
        first, second = (self.rows(tensor) for tensor in inputs)
        scores = twins.norms_of_pairs(first, second, self.norms, unit=self.unit, **self._network())
        return tf.cast(self.activation(scores)[:, None], self.compute_dtype)

    def matrix(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Scores float32 [n, m] of every row of x [n, dim] with every row of y [m, dim]; y=None means x."""
        sigmoid = self.activation is keras.activations.sigmoid
        scores = ops.pairwise_norms(
            x,
            y,
            self.norms,
            activation="sigmoid" if sigmoid else None,
            unit=self.unit,
            **self._network(),
        )
        return scores if sigmoid else self.activation(scores)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """(pairs, 1)."""
        return (input_shape[0][0], 1)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor that heads share."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
        }

    def size_of_rows(self, shape: Shape) -> int:
        """The dim of what `rows` returns for inputs of this shape."""
        if len(shape) < 2 or None in shape[1:]:
            raise ValueError(f"embeddings must be [batch, dim] with a known dim, received shape {shape}")
        size = 1
        for length in shape[1:]:
            size *= length or 0
        return size

    def rows(self, embeddings: Tensor) -> Tensor:
        """Embeddings as rows [pairs, dim]."""
        if len(embeddings.shape) == 2:
            return embeddings
        return keras.ops.reshape(embeddings, (-1, self.size_of_rows(tuple(embeddings.shape))))

    def _network(self) -> dict[str, Tensor]:
        weights = {
            name: tf.cast(tf.convert_to_tensor(getattr(self, name)), tf.float32)
            for name in ("hidden", "hidden_bias", "mixing", "mixing_bias", "kernel")
        }
        kernel = weights.pop("kernel")
        bias = weights.pop("mixing_bias") * tf.reduce_sum(kernel)
        if self.bias is not None:
            bias += tf.cast(tf.convert_to_tensor(self.bias), tf.float32)
        return {**weights, "weights": kernel, "bias": bias}


@keras.saving.register_keras_serializable(package="fslcore")
class LearntNorms(NormsHead):
    """A norm of two embeddings that is learnt: a network of two inputs, the same for every coordinate.

        act(sum_d w_d (sum_f v_f max(a_f a_d + b_f b_d + c_f, 0) + e) + g)

    The head LearntNorms of keras-fsl, with 4 filters + dim + 2 weights: 194 for 64 coordinates. It is not
    symmetric; with `symmetric` the network sees a_d + b_d and |a_d - b_d|, which determine the two up to
    their order, so that the scores of (a, b) and (b, a) are the same bits. Embeddings that are maps, [pairs,
    height, width, channels], are taken as rows of all their numbers.

    Args:
        filters: The number of filters.
        use_bias: Whether to add g.
        activation: As for `keras.layers.Activation`; "sigmoid" and None are compiled.
        symmetric: Whether to score (a, b) and (b, a) alike.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: For an argument out of range, or inputs of another shape.
    """

    def __init__(
        self,
        filters: int = 32,
        use_bias: bool = True,
        activation: Any = "sigmoid",
        symmetric: bool = False,
        **kwargs: Any,
    ) -> None:
        norms = ("sum", "absolute") if as_bool("symmetric", symmetric) else ("first", "second")
        super().__init__(norms, filters, use_bias, activation, "row", **kwargs)
        self.symmetric = bool(symmetric)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "symmetric": self.symmetric}


@keras.saving.register_keras_serializable(package="fslcore")
class MixedNorms(NormsHead):
    """A mixture of norms that is learnt: a network on several norms, the same for every coordinate.

        act(sum_d w_d (sum_f v_f max(sum_k A_fk n_k(a_d, b_d) + c_f, 0) + e) + g)

    The head MixedNorms of keras-fsl; with its default norms a b, a + b, |a - b| and (a - b)^2 it has
    6 filters + dim + 2 weights: 258 for 64 coordinates. It is symmetric if its norms are, all but "first" and
    "second". Embeddings that are maps, [pairs, height, width, channels], are averaged over their pixels.

    Args:
        norms: Different names of `fslcore.kernels.NORMS`, or None for the four above. Those of the notebooks
            of keras-fsl are ["unit_product", "absolute", "softmax", "squared"].
        filters: The number of filters.
        use_bias: Whether to add g.
        activation: As for `keras.layers.Activation`; "sigmoid" and None are compiled.
        unit: What "unit_product" divides embeddings by: "row", their lengths; or "batch", the length of all
            pairs of the batch as one vector, as in these notebooks. Then the score of a pair depends on the
            others, and that of a single pair is another.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: For an argument out of range, or inputs of another shape.
    """

    def __init__(
        self,
        norms: Sequence[str] | None = None,
        filters: int = 32,
        use_bias: bool = True,
        activation: Any = "sigmoid",
        unit: str = "row",
        **kwargs: Any,
    ) -> None:
        norms = MIXED_NORMS if norms is None else norms
        super().__init__(norms, filters, use_bias, activation, unit, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "norms": list(self.norms), "unit": self.unit}

    def size_of_rows(self, shape: Shape) -> int:
        """The number of channels."""
        return super().size_of_rows((shape[0], shape[-1]))

    def rows(self, embeddings: Tensor) -> Tensor:
        """Embeddings as rows [pairs, channels]."""
        axes = tuple(range(1, len(embeddings.shape) - 1))
        return keras.ops.mean(embeddings, axis=axes) if axes else embeddings

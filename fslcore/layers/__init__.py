# SPDX-License-Identifier: MIT
"""Keras layers that compare embeddings with embeddings.

    GramMatrix        every sample of a batch with every other one
    CentroidsMatrix   every sample with the mean of each class of the batch
    DenseSigmoid      a pair: the trainable kernel of Koch et al. (2015)

A kernel is the name of a metric of `fslcore.kernels.METRICS`, "DenseSigmoid", a mapping
{"name": ..., "init": {...}} with arguments for it, or any Keras layer that is called on a list of two
[pairs, dim] and returns [pairs, 1] or [pairs]. The named ones are compiled; a layer of your own is evaluated
a block of rows at a time (`row_blocks`), so that its memory stays bounded, forward and backward.

Whatever the policy of the model, inputs are cast to float32 and scores are float32. A kernel layer of your
own keeps its own policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops
from fslcore.kernels import METRICS
from fslcore.layers.row_blocks import pairwise_in_blocks

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="fslcore")
class DenseSigmoid(keras.Layer):
    """sigmoid(sum_d w_d |a_d - b_d| + bias): a dense unit on the distance by coordinate of two embeddings.

    The head of Koch, Zemel and Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition"
    (2015). Called on [a, b], both [pairs, dim], it returns [pairs, 1]; dim + 1 weights.

    Args:
        use_bias: Whether there is a bias; without one a sample scores 0.5 with itself.
        activation: "sigmoid" or None.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: For another activation, or inputs of another shape.
    """

    def __init__(self, use_bias: bool = True, activation: str | None = "sigmoid", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if activation not in (None, "sigmoid"):
            raise ValueError(f"activation must be None or 'sigmoid', received {activation!r}")
        self.use_bias = use_bias
        self.activation = activation

    def build(self, input_shape: list[Shape]) -> None:
        """Makes the weights for inputs of the shapes [(pairs, dim), (pairs, dim)]."""
        dim = _check_pair_of_embeddings(input_shape)
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

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """(pairs, 1)."""
        return (input_shape[0][0], 1)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "use_bias": self.use_bias, "activation": self.activation}


class SupportLayer(keras.Layer):
    """What the layers share: a kernel that compares the rows of two matrices.

    Args:
        kernel: See the module.
        pairs_per_block: The most pairs that a kernel layer of your own sees at a time; it also is the most
            that are in memory, unless a single row has more.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: For a kernel that is none of these.
    """

    def __init__(self, kernel: Any, pairs_per_block: int = 4096, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if pairs_per_block < 1:
            raise ValueError(f"pairs_per_block must be at least 1, received {pairs_per_block}")
        self.kernel = _resolve(kernel)
        self.pairs_per_block = pairs_per_block

    def pairwise(self, x: Tensor, y: Tensor | None = None, training: bool | None = None) -> Tensor:
        """The kernel on every row of `x` with every row of `y`.

        Args:
            x: [n, dim].
            y: [m, dim]; None means `x`.
            training: For a kernel layer that takes it.

        Returns:
            float32 [n, m].
        """
        if not self.built:
            self._build_kernel(x.shape)
        if isinstance(self.kernel, str):
            return ops.pairwise(x, y, self.kernel)
        if type(self.kernel) is DenseSigmoid:
            return ops.pairwise(
                x,
                y,
                "weighted_manhattan",
                weights=self.kernel.kernel,
                bias=0.0 if self.kernel.bias is None else self.kernel.bias,
                activation=self.kernel.activation,
            )
        x = tf.cast(x, tf.float32)
        y = x if y is None else tf.cast(y, tf.float32)
        return pairwise_in_blocks(self.kernel, x, y, self.pairs_per_block, training)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        kernel = self.kernel
        return {
            **super().get_config(),
            "kernel": kernel if isinstance(kernel, str) else keras.saving.serialize_keras_object(kernel),
            "pairs_per_block": self.pairs_per_block,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SupportLayer:
        """The layer that `get_config` describes."""
        return cls(**{**config, "kernel": keras.saving.deserialize_keras_object(config["kernel"])})

    def _build_kernel(self, embeddings: Any) -> None:
        dim = _check_embeddings(embeddings)
        if isinstance(self.kernel, str):
            return
        pairs = keras.KerasTensor((None, dim), "float32")
        scores = self.kernel([pairs, pairs])
        if not isinstance(scores, keras.KerasTensor) or scores.shape not in ((None, 1), (None,)):
            raise ValueError(
                "kernel must return [pairs, 1] or [pairs] for two inputs [pairs, dim], "
                f"received {getattr(scores, 'shape', scores)} from {self.kernel.name!r}"
            )


@keras.saving.register_keras_serializable(package="fslcore")
class GramMatrix(SupportLayer):
    """The kernel on every ordered pair of a batch: [batch, dim] to [batch, batch].

    Args:
        kernel: See the module.
        pairs_per_block: The most pairs that a kernel layer of your own sees at a time.
        **kwargs: For `keras.Layer`.

    Example:
        >>> import fslcore as fsl
        >>> model = keras.Sequential([fsl.encoders.conv4(), GramMatrix("DenseSigmoid")])
        >>> model.output_shape
        (None, None)
    """

    def __init__(self, kernel: Any = "DenseSigmoid", pairs_per_block: int = 4096, **kwargs: Any) -> None:
        super().__init__(kernel, pairs_per_block, **kwargs)

    def build(self, input_shape: Shape) -> None:
        """Builds the kernel for embeddings of the shape (batch, dim)."""
        self._build_kernel(input_shape)

    def call(self, embeddings: Tensor, training: bool | None = None) -> Tensor:
        """Scores [batch, batch] of embeddings [batch, dim]."""
        return self.pairwise(embeddings, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, batch)."""
        return (input_shape[0], input_shape[0])


@keras.saving.register_keras_serializable(package="fslcore")
class CentroidsMatrix(SupportLayer):
    """The kernel on every sample and every class mean of a batch: [batch, classes].

    With kernel="sqeuclidean" the scores are the distances of prototypical networks (Snell, Swersky and Zemel,
    2017). Each sample is part of the mean of its own class: to score queries against a support set use
    `pairwise` or `fslcore.Prototypical`. A class without samples has its mean at zero.

    Args:
        kernel: See the module.
        activation: Applied to the matrix, as for `keras.layers.Activation`, for instance "softmax".
        pairs_per_block: The most pairs that a kernel layer of your own sees at a time.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: If it is called on anything but a list of embeddings [batch, dim] and one-hot labels
            [batch, classes].
    """

    def __init__(
        self, kernel: Any = "DenseSigmoid", activation: Any = None, pairs_per_block: int = 4096, **kwargs: Any
    ) -> None:
        super().__init__(kernel, pairs_per_block, **kwargs)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: list[Shape]) -> None:
        """Builds the kernel for inputs of the shapes [(batch, dim), (batch, classes)]."""
        if len(input_shape) != 2 or not all(isinstance(shape, (tuple, list)) for shape in input_shape):
            raise ValueError(
                "inputs must be a list [embeddings, labels_one_hot], "
                f"received something of the shape {input_shape}"
            )
        if len(input_shape[1]) != 2:
            raise ValueError(f"labels_one_hot must be [batch, classes], received shape {input_shape[1]}")
        self._build_kernel(input_shape[0])

    def call(self, inputs: list[Tensor], training: bool | None = None) -> Tensor:
        """Scores [batch, classes] of [embeddings, labels_one_hot]."""
        embeddings, labels = (tf.cast(tensor, tf.float32) for tensor in inputs)
        share = tf.math.divide_no_nan(labels, tf.reduce_sum(labels, axis=0))
        centroids = tf.matmul(share, embeddings, transpose_a=True)
        return self.activation(self.pairwise(embeddings, centroids, training))

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """(batch, classes)."""
        return (input_shape[0][0], input_shape[1][1])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}


_TRAINABLE: dict[str, dict[str, Any]] = {
    "DenseSigmoid": {},
    "weighted_manhattan": {"use_bias": False, "activation": None},
}


def _resolve(kernel: Any) -> str | keras.Layer:
    """The metric's name, or the layer, that an argument `kernel` means."""
    if isinstance(kernel, keras.Layer):
        return kernel
    if isinstance(kernel, Mapping) and "name" in kernel and set(kernel) <= {"name", "init"}:
        name, init = kernel["name"], dict(kernel.get("init") or {})
    else:
        name, init = kernel, {}
    if isinstance(name, str) and name in _TRAINABLE:
        return DenseSigmoid(**{"dtype": "float32", **_TRAINABLE[name], **init})
    if isinstance(name, str) and name in METRICS and not init:
        return name
    names = ", ".join(sorted({*METRICS, *_TRAINABLE}))
    raise ValueError(
        f"kernel must be one of {names}, a mapping of the keys name and init (arguments, for DenseSigmoid "
        f"and weighted_manhattan), or a Keras layer with two inputs, received {kernel!r}"
    )


def _check_embeddings(shape: Any) -> int:
    shape = tuple(shape)
    if len(shape) != 2 or shape[1] is None:
        raise ValueError(f"embeddings must be [batch, dim] with a known dim, received shape {shape}")
    return int(shape[1])


def _check_pair_of_embeddings(shapes: Any) -> int:
    if len(shapes) != 2 or tuple(shapes[0])[1:] != tuple(shapes[1])[1:]:
        raise ValueError(f"inputs must be two matrices [pairs, dim], received shapes {shapes}")
    return _check_embeddings(shapes[0])

# SPDX-License-Identifier: MIT
"""The cross-entropy of "these two match" over all pairs, without their matrix: of classes, and of SigLIP."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import as_bool, as_float, check_one_of
from fslcore.labels import labelled_embeddings
from fslcore.losses.loss_layer import LossLayer
from fslcore.losses.pairs import refuse_function, sum_pairs, total_of_pairs
from fslcore.pair_terms import PairTerm
from fslcore.replicas import refuse_replicas
from fslcore.tensors import real
from fslcore.xla import refuse_missing_kernels

Tensor = Any

_KERNELS = ("dot", "weighted_manhattan")


@keras.saving.register_keras_serializable(package="fslcore")
def pair_crossentropy_loss(
    y_true: Tensor,
    y_pred: Tensor,
    kernel: str = "dot",
    *,
    weights: Tensor | None = None,
    scale: Tensor | float = 1.0,
    bias: Tensor | float = 0.0,
    balanced: bool = False,
) -> Tensor:
    """The binary cross-entropy of all pairs of two samples, whose logits are scale * kernel + bias.

    What `fslcore.losses.BinaryCrossentropy` makes of the matrix of a `GramMatrix("DenseSigmoid")`, but for
    the pairs of a sample with itself, and without that matrix or the limits of its probabilities.

    Args:
        y_true: Class ids, [batch] or [batch, 1].
        y_pred: [batch, dim] embeddings.
        kernel: "dot", the product of two embeddings, or "weighted_manhattan", sum of weights |x - y|.
        weights: [dim], for "weighted_manhattan"; differentiable, like `scale` and `bias`.
        scale: Scalar.
        bias: Scalar.
        balanced: Whether matching and other pairs each make up half of the mean.

    Returns:
        float32 scalar; 0 for a batch without pairs.

    Raises:
        ValueError: For an unknown kernel, weights that do not belong to it, or labels that are not one class
            id per sample.
    """
    refuse_function("pair_crossentropy_loss", "BinaryCrossentropy on the matrix")
    return _pair_crossentropy(y_true, y_pred, kernel, weights, scale, bias, balanced)


def _pair_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    kernel: str,
    weights: Tensor | None,
    scale: Tensor | float,
    bias: Tensor | float,
    balanced: bool,
) -> Tensor:
    check_one_of("kernel", kernel, _KERNELS)
    terms = (
        PairTerm("positive", "softplus", "sum", -scale, -bias),
        PairTerm("negative", "softplus", "sum", scale, bias),
    )
    if as_bool("balanced", balanced):
        _, ids = labelled_embeddings(y_true, y_pred)
        counts = tf.unstack(tf.cast(_numbers_of_pairs(ids), tf.float32))
        factors = [tf.math.divide_no_nan(0.5, count) for count in counts]
        return sum_pairs(y_true, y_pred, terms, kernel, weights=weights, factors=factors)[0]
    total, numbers = sum_pairs(y_true, y_pred, terms, kernel, weights=weights)
    return tf.math.divide_no_nan(total, tf.reduce_sum(numbers))


def _numbers_of_pairs(ids: Tensor) -> Tensor:
    """How many ordered pairs of two samples are of one class, and how many of two."""
    ordered, batch = tf.sort(ids), tf.size(ids, tf.int64)
    ends = (tf.searchsorted(ordered, ids, side=side, out_type=tf.int64) for side in ("right", "left"))
    matching = tf.reduce_sum(next(ends) - next(ends) - 1)
    return tf.stack([matching, batch * (batch - 1) - matching])


@keras.saving.register_keras_serializable(package="fslcore")
class PairCrossentropy(LossLayer):
    """`pair_crossentropy_loss` with a trained scale, bias and weights, as a layer: see `LossLayer`.

    Args:
        kernel: As for `pair_crossentropy_loss`; the weights of "weighted_manhattan" begin at 1.
        scale: What the scale begins at; None: 1 for "dot", -1 for "weighted_manhattan", a distance.
        bias: What the bias begins at.
        balanced: As for `pair_crossentropy_loss`.
        name: Name of the layer.

    Raises:
        ArgumentError: For an unknown kernel, or numbers and switches that are none.
    """

    def __init__(
        self,
        kernel: str = "dot",
        scale: float | None = None,
        bias: float = 0.0,
        balanced: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        check_one_of("kernel", kernel, _KERNELS)
        self.kernel, self.balanced = kernel, as_bool("balanced", balanced)
        self._begins = {"scale": None if scale is None else as_float("scale", scale)}
        self._begins["bias"] = as_float("bias", bias)

    def build(self, input_shape: Any) -> None:
        """Makes the scale, the bias and the weights."""
        begins = keras.initializers.Constant
        scale, bias = self._begins.values()
        if scale is None:
            scale = 1.0 if self.kernel == "dot" else -1.0
        self.scale = self.add_weight(name="scale", shape=(), initializer=begins(scale))
        self.bias = self.add_weight(name="bias", shape=(), initializer=begins(bias))
        self.kernel_weights = None
        if self.kernel == "weighted_manhattan":
            shape = (input_shape[0][-1],)
            self.kernel_weights = self.add_weight(name="weights", shape=shape, initializer="ones")

    def loss(self, labels: Tensor, embeddings: Tensor) -> Tensor:
        """The loss of class ids and embeddings."""
        refuse_replicas("the layer PairCrossentropy")
        weights = None if self.kernel_weights is None else tf.convert_to_tensor(self.kernel_weights)
        scale, bias = tf.convert_to_tensor(self.scale), tf.convert_to_tensor(self.bias)
        return _pair_crossentropy(labels, embeddings, self.kernel, weights, scale, bias, self.balanced)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"kernel": self.kernel, **self._begins, "balanced": self.balanced, "name": self.name}


def siglip_loss(
    x: Tensor,
    y: Tensor,
    temperature: Tensor | float = 10.0,
    bias: Tensor | float = -10.0,
    labels: Tensor | None = None,
) -> Tensor:
    """The pairwise sigmoid loss (Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023, eq. 1).

    The sum over all pairs of log(1 + exp(-z (temperature * cos(x_i, y_j) + bias))), z = 1 for pairs of one
    label and -1 for others, divided by the number of rows.

    Args:
        x: [batch, dim] embeddings, of images for example.
        y: [batch, dim] embeddings, of their texts.
        temperature: Scalar factor; differentiable, like `bias`. The paper trains its logarithm.
        bias: Scalar.
        labels: Integers [batch], of both; None if only rows of the same place match.

    Returns:
        float32 scalar; 0 for an empty batch.
    """
    refuse_missing_kernels("a loss over pairs")
    refuse_replicas("the loss siglip_loss")
    x, y = real("x", x), real("y", y)
    rows = tf.shape(x)[0]
    ids = tf.range(tf.cast(rows, tf.int64)) if labels is None else labels
    # The cosine is 1 - distance.
    terms = (
        PairTerm("positive", "softplus", "sum", temperature, -temperature - bias),
        PairTerm("negative", "softplus", "sum", -temperature, temperature + bias),
    )
    total, _ = total_of_pairs(x, ids, terms, y=y, y_labels=ids, metric="cosine")
    return tf.math.divide_no_nan(total, tf.cast(rows, tf.float32))

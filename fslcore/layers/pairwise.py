# SPDX-License-Identifier: MIT
"""The base of the layers that compare embeddings: a kernel on every pair of rows of two matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from fslcore import ops, xla
from fslcore.arguments import METRICS, ArgumentError, check_at_least
from fslcore.layers.heads import HEADS, DenseSigmoid, PairFunction, embedding_size, is_registered
from fslcore.layers.predicting import predict_in_one_batch
from fslcore.layers.row_blocks import pairwise_in_blocks

Tensor = Any


# (1 + cosine) / 2, from 0 to 1; the metric is 1 - cosine.
COSINE_SIMILARITY = "cosine_similarity"
# A subclass may call something else.
_COMPILED = frozenset(head for head, _ in HEADS.values())

predict_in_one_batch()


class PairwiseLayer(keras.Layer):
    """A layer with a kernel, which compares each row of one matrix with each row of another.

    The outputs for a sample depend on the others of its batch: `predict` of a model with such a layer takes
    arrays as one batch, whatever its `batch_size`, and refuses a dataset of several batches.

    Args:
        kernel: See `fslcore.layers`.
        pairs_per_block: How many pairs a kernel layer of your own receives at most in one call, and so how
            many are in memory, unless a single row has more.
        **kwargs: For `keras.Layer`.

    Raises:
        ValueError: For any other kernel.
    """

    compares_batch = True

    def __init__(self, kernel: Any, pairs_per_block: int = 4096, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        check_at_least("pairs_per_block", pairs_per_block, 1)
        self.kernel = _kernel(kernel)
        self.pairs_per_block = pairs_per_block
        self.supports_jit = xla.has_kernels()

    def pairwise(self, x: Tensor, y: Tensor | None = None, training: bool | None = None) -> Tensor:
        """The kernel on every row of `x` with every row of `y`.

        Args:
            x: [n, dim].
            y: [m, dim]; None means `x`.
            training: For a kernel layer that uses it.

        Returns:
            float32 [n, m].
        """
        if not self.built:
            self.build_kernel(x.shape)
        if self.kernel == COSINE_SIMILARITY:
            return 1.0 - 0.5 * ops.pairwise(x, y, "cosine")
        if isinstance(self.kernel, str):
            return ops.pairwise(x, y, self.kernel)
        if type(self.kernel) in _COMPILED:
            return self.kernel.matrix(x, y)
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
    def from_config(cls, config: dict[str, Any]) -> PairwiseLayer:
        """The layer that `get_config` describes."""
        return cls(**{**config, "kernel": keras.saving.deserialize_keras_object(config["kernel"])})

    def build_kernel(self, embeddings: Any) -> None:
        """Builds the kernel for embeddings of the shape (batch, dim)."""
        dim = embedding_size(embeddings)
        if isinstance(self.kernel, str):
            return
        pairs = keras.KerasTensor((None, dim), "float32")
        scores = self.kernel([pairs, pairs])
        if not isinstance(scores, keras.KerasTensor) or scores.shape not in ((None, 1), (None,)):
            raise ValueError(
                "kernel must return [pairs, 1] or [pairs] for two inputs [pairs, dim], "
                f"received {getattr(scores, 'shape', scores)} from {self.kernel.name!r}"
            )


def is_similarity(layer: PairwiseLayer) -> bool:
    """Whether a larger value of a layer's kernel means more alike; True for a kernel layer of your own."""
    kernel = layer.kernel
    if isinstance(kernel, DenseSigmoid):
        return kernel.activation == "sigmoid"
    return not isinstance(kernel, str) or kernel in ("dot", COSINE_SIMILARITY)


def _kernel(kernel: Any) -> str | keras.Layer:
    """The argument `kernel` as the name of a metric or as a layer."""
    if isinstance(kernel, keras.Layer):
        return kernel
    if isinstance(kernel, Mapping) and "name" in kernel and set(kernel) <= {"name", "init"}:
        name, init = kernel["name"], dict(kernel.get("init") or {})
    else:
        name, init = kernel, {}
    if isinstance(name, str) and name in HEADS:
        head, defaults = HEADS[name]
        return head(**{"dtype": "float32", **defaults, **init})
    if isinstance(name, str) and name in (*METRICS, COSINE_SIMILARITY) and not init:
        return name
    if is_registered(name) and not init:
        return PairFunction(name, dtype="float32")
    names, heads = ", ".join(sorted({*METRICS, *HEADS, COSINE_SIMILARITY})), ", ".join(HEADS)
    requirement = (
        f"must be one of {names}, a mapping of the keys name and init (arguments, for {heads}), a Keras "
        "layer with two inputs, or a function of two inputs that is registered with "
        "keras.saving.register_keras_serializable"
    )
    raise ArgumentError("kernel", requirement, kernel)

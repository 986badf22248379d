# SPDX-License-Identifier: MIT
"""Siamese networks (Koch et al., "Siamese Neural Networks for One-shot Image Recognition", 2015)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.layers import DenseSigmoid, GramMatrix
from fslcore.learners.embedding import EmbeddingLearner
from fslcore.learners.networks import embedding_width
from fslcore.losses import BinaryCrossentropy, TripletSemiHardLoss

OUTPUTS = ("gram", "embeddings")
SHOTS = ("mean", "best")
_TRIPLET_DISTANCES = {"sqeuclidean": "squared-L2", "euclidean": "L2", "cosine": "angular"}


@keras.saving.register_keras_serializable(package="fslcore")
class Siamese(EmbeddingLearner):
    """One encoder, and a kernel that measures how alike two embeddings are.

    There are three ways to train it, all with Keras' `compile` and `fit`:

    - on all pairs of a batch (the default): `pk_batches` and a loss on the Gram matrix `[B, B]`, such as
      `losses.BinaryCrossentropy` or, for a distance, `losses.TripletLoss`. A batch of B images gives B² pairs
      for B passes of the encoder;
    - on embeddings (`output="embeddings"`): `pk_batches` and a loss such as `losses.TripletSemiHardLoss` or
      `losses.TripletHardLoss`, and a kernel with the same distance for the comparisons after training;
    - on pairs as in the paper: batches `((left, right), target)` with target 1 for two images of one class.

    Without a `loss`, `compile` takes the balanced binary cross-entropy for a kernel between 0 and 1
    (`"DenseSigmoid"`), and the semi-hard triplet loss for embeddings.

    Args:
        encoder: a built Keras model, images `[B, H, W, C]` -> embeddings `[B, D]`.
        kernel: any kernel of `layers.GramMatrix`: "DenseSigmoid" (the paper's trainable weighted L1 with a
            sigmoid), a metric such as "sqeuclidean", a configuration, or a Keras layer of two inputs.
        output: what calling the learner on images returns: "gram" `[B, B]` or "embeddings" `[B, D]`.
        shots: how `class_scores` combines the examples of a class: the "mean" or the "best" of their scores.
        larger_is_alike: whether a larger kernel value means more alike; None: as is known for the named
            kernels, and True for a layer of your own.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: `output` or `shots` is unknown, a kernel with weights is combined with
            `output="embeddings"`, or as for `EmbeddingLearner` and `GramMatrix`.
    """

    def __init__(
        self,
        encoder: keras.Layer,
        kernel: Any = "DenseSigmoid",
        *,
        output: str = "gram",
        shots: str = "mean",
        larger_is_alike: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, **kwargs)
        if output not in OUTPUTS:
            raise ArgumentError("output", f"must be one of {', '.join(OUTPUTS)}", output)
        if shots not in SHOTS:
            raise ArgumentError("shots", f"must be one of {', '.join(SHOTS)}", shots)
        self.gram = kernel if isinstance(kernel, GramMatrix) else GramMatrix(kernel)
        self.output_kind = output
        self.shots = shots
        self.larger_is_alike = _is_similarity(self.gram) if larger_is_alike is None else larger_is_alike
        width = embedding_width(encoder)
        if width is not None:
            self.gram.build((None, width))
            self.built = True
        if output == "embeddings" and self.gram.trainable_weights:
            raise ArgumentError(
                "kernel",
                "must be without weights for output='embeddings', whose loss does not see them",
                kernel,
            )

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """Compares images.

        Args:
            inputs: images `[B, H, W, C]`, or `(left, right)` images `[P, H, W, C]` each.
            training: as for any Keras layer.

        Returns:
            The Gram matrix `[B, B]` or, with `output="embeddings"`, the embeddings `[B, D]`; for pairs the
            kernel of each pair, `[P]`.
        """
        if isinstance(inputs, (tuple, list)):
            # In one call of the encoder BatchNormalization sees both sides as one batch, not as two different
            # ones.
            left, right = tf.split(self.encode(tf.concat(inputs, axis=0), training=training), 2)
            return self._of_pairs(left, right, training)
        embeddings = self.encode(inputs, training=training)
        return self.gram(embeddings) if self.output_kind == "gram" else embeddings

    def class_scores(self, support: tf.Tensor, query: tf.Tensor) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings.
            query: `[Q, D]` embeddings.

        Returns:
            float32 `[Q, n_way]`: the mean (or best) kernel value over the examples of each class, negated
            for a distance, so that larger = more alike.
        """
        support = tf.convert_to_tensor(support)
        n_way, k_shot = tf.shape(support)[0], tf.shape(support)[1]
        values = self.gram.pairwise(query, tf.reshape(support, (n_way * k_shot, support.shape[-1])))
        scores = tf.reshape(values, (-1, n_way, k_shot))
        scores = scores if self.larger_is_alike else -scores
        return tf.reduce_mean(scores, axis=-1) if self.shots == "mean" else tf.reduce_max(scores, axis=-1)

    def default_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:
        """The balanced binary cross-entropy, or the semi-hard triplet loss, whichever suits the kernel.

        Raises:
            ArgumentError: neither suits the kernel and the output.
        """
        pairs = isinstance(x, (tuple, list))
        kernel = self.gram.kernel
        if isinstance(kernel, DenseSigmoid) and kernel.activation == "sigmoid":
            loss = keras.losses.BinaryCrossentropy() if pairs else BinaryCrossentropy(balanced=True)
        elif self.output_kind == "embeddings" and kernel in _TRIPLET_DISTANCES and not pairs:
            loss = TripletSemiHardLoss(distance_metric=_TRIPLET_DISTANCES[kernel])
        else:
            raise ArgumentError(
                "loss",
                "must be given to compile(): there is a default only for the kernel DenseSigmoid, and for "
                f"output='embeddings' with {', '.join(_TRIPLET_DISTANCES)}",
                None,
            )
        return loss(y, y_pred, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {
            **super().get_config(),
            "kernel": keras.saving.serialize_keras_object(self.gram),
            "output": self.output_kind,
            "shots": self.shots,
            "larger_is_alike": self.larger_is_alike,
        }

    def _of_pairs(self, left: tf.Tensor, right: tf.Tensor, training: bool) -> tf.Tensor:
        """The kernel of row i of `left` and row i of `right`, `[P]`."""
        if isinstance(self.gram.kernel, keras.Layer):
            return tf.reshape(self.gram.kernel([left, right], training=training), [-1])
        # A metric is compiled for all pairs only, but even these cost little compared with the encoder.
        return tf.linalg.diag_part(self.gram.pairwise(left, right))


def _is_similarity(gram: GramMatrix) -> bool:
    kernel = gram.kernel
    if isinstance(kernel, DenseSigmoid):
        return kernel.activation == "sigmoid"
    return not isinstance(kernel, str) or kernel == "dot"

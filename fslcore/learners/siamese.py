# SPDX-License-Identifier: MIT
"""Siamese networks (Koch et al., "Siamese Neural Networks for One-shot Image Recognition", 2015)."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool
from fslcore.labels import class_ids
from fslcore.layers import DenseSigmoid, GramMatrix
from fslcore.layers.pairwise import is_similarity
from fslcore.learners.embedding import EmbeddingLearner
from fslcore.learners.fitting import bound, has_entries_of, name_of, of_keras, takes_arguments_of
from fslcore.learners.networks import embedding_width
from fslcore.learners.ragged import padded
from fslcore.learners.watching import Watch
from fslcore.losses import BinaryCrossentropy, TripletSemiHardLoss
from fslcore.losses.batch_loss import WholeBatchLoss

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

    compares_batch = False  # in the eyes of `layers.predicting`: `predict` looks at the output itself

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
        # Of Keras' own losses and metrics that it was compiled with, the names.
        self._own_losses: tuple[str, ...] = ()
        self._own_metrics: tuple[str, ...] = ()
        self.shots = shots
        if larger_is_alike is None:
            larger_is_alike = is_similarity(self.gram)
        self.larger_is_alike = as_bool("larger_is_alike", larger_is_alike)
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

    def class_scores(self, support: tf.Tensor, query: tf.Tensor, counts: Any = None) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings, or a `tf.RaggedTensor` `[n_way, None, D]`.
            query: `[Q, D]` embeddings.
            counts: how many examples of each class there are, integers `[n_way]` from 1 to `k_shot`: the
                first ones count, whatever stands behind them. None: all.

        Returns:
            float32 `[Q, n_way]`: the mean (or best) kernel value over the examples of each class, negated
            for a distance, so that larger = more alike.

        Raises:
            ArgumentError: the kernel has weights, which do not exist yet.
        """
        kernel = self.gram.kernel
        if isinstance(kernel, DenseSigmoid) and not kernel.built:
            raise ArgumentError(
                "kernel",
                "must have weights before it compares: train the learner or call it on images, since its "
                "encoder does not say how wide embeddings are",
                described=f"{kernel.name!r} without weights",
            )
        support, there = padded(support, counts)
        n_way, k_shot = tf.shape(support)[0], tf.shape(support)[1]
        values = self.gram.pairwise(query, tf.reshape(support, (n_way * k_shot, support.shape[-1])))
        scores = tf.reshape(values, (-1, n_way, k_shot))
        scores = scores if self.larger_is_alike else -scores
        if there is None:
            combine = tf.reduce_mean if self.shots == "mean" else tf.reduce_max
            return combine(scores, axis=-1)
        if self.shots == "best":
            return tf.reduce_max(tf.where(there, scores, -math.inf), axis=-1)
        total = tf.reduce_sum(tf.where(there, scores, 0.0), axis=-1)
        return total / tf.reduce_sum(tf.cast(there, scores.dtype), axis=1)

    def compile_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The arguments; keeps which losses and metrics of Keras there are, which suit pairs only."""
        self._own_losses = tuple(map(name_of, of_keras(options.get("loss"))))
        given = [options.get(name) for name in ("metrics", "weighted_metrics")]
        self._own_metrics = tuple(map(name_of, of_keras(given)))
        return options

    def check_fit(self, arguments: dict[str, Any], watch: Watch) -> None:  # noqa: ARG002
        """Raises ArgumentError for weights of classes with a loss of pairs or triplets."""
        self._check_class_weight(arguments)

    @takes_arguments_of(keras.Model.train_on_batch)
    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`."""
        arguments = bound(keras.Model.train_on_batch, args, kwargs)
        self._check_class_weight(arguments)
        return super().train_on_batch(**arguments)

    @takes_arguments_of(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `predict`, except that the images of a Gram matrix must be one batch."""
        arguments = bound(keras.Model.predict, args, kwargs)
        found = super().predict(**arguments)
        gram = self.output_kind == "gram" and len(found.shape) == 2
        if gram and (isinstance(found, tf.RaggedTensor) or found.shape[0] != found.shape[1]):
            raise ArgumentError(
                "batch_size",
                "must be at least the number of images to get their Gram matrix (without one, `embed` and "
                "`class_scores` compare any number of images)",
                arguments.get("batch_size"),
                described=f"{found.shape[0]} images in batches",
            )
        return found

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The compiled or the default loss, plus those of layers; refuses what would compare other things."""
        if self.output_kind == "gram":
            self._check_entries("loss", self._own_losses, x, y, y_pred)
        y, y_pred = _as_columns(x, y, y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Keras' `compute_metrics`; refuses metrics that would compare other things than labels mean."""
        if not (self.output_kind == "embeddings" and self._own_losses):
            self._check_entries("metrics", self._own_metrics, x, y, y_pred)
        y, y_pred = _as_columns(x, y, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def new_watch(self) -> Watch:
        """Counts the images that have another of their class, and one of another class, beside them."""
        return Watch(
            "no image had both another of its class and one of another class beside it, so that nothing was "
            "learnt from comparing them (pk_batches needs classes and samples of at least 2)",
            "usable_anchors",
        )

    def count(self, watch: Watch, x: Any, y: Any, y_pred: Any, loss: tf.Tensor | None) -> None:
        """Counts a batch of images by their class ids; pairs and other labels are not counted."""
        if isinstance(x, (tuple, list)):
            return
        share = None
        if y is not None and (y.shape.rank == 1 or (y.shape.rank == 2 and y.shape[1] == 1)):
            ids = class_ids(y, y_pred)
            alike = tf.reduce_sum(tf.cast(ids[:, None] == ids, tf.int32), axis=1)
            usable = (alike > 1) & (alike < tf.shape(ids)[0])
            share = tf.reduce_mean(tf.cast(usable, tf.float32))
        watch.update(share, loss if self._has_joint_terms() else None)

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

    def _check_class_weight(self, arguments: dict[str, Any]) -> None:
        if arguments.get("class_weight") is not None and self._has_joint_terms():
            raise ArgumentError(
                "class_weight",
                "must be None for a loss of pairs or triplets, which have samples of two classes",
                arguments["class_weight"],
            )

    def _has_joint_terms(self) -> bool:
        """Whether the loss has terms of several samples, which Keras cannot weight by sample."""
        default = self.loss is None and self.output_kind == "embeddings"
        return default or isinstance(self.loss, WholeBatchLoss)

    def _check_entries(self, argument: str, given: tuple[str, ...], x: Any, y: Any, y_pred: Any) -> None:
        """Raises ArgumentError for losses or metrics of Keras that would take class ids for entries."""
        if not given or isinstance(x, (tuple, list)) or has_entries_of(tf.convert_to_tensor(y), y_pred):
            return
        ours = "losses.BinaryCrossentropy()" if argument == "loss" else "metrics.classification_accuracy()"
        what = "a Gram matrix" if self.output_kind == "gram" else "embeddings"
        raise ArgumentError(
            argument,
            f"must compare {what} with class ids, as functions of your own may (or fslcore.{ours} for a "
            "Gram matrix)",
            described=f"{given[0]} of Keras, which compares entry by entry",
        )

    def _of_pairs(self, left: tf.Tensor, right: tf.Tensor, training: bool) -> tf.Tensor:
        """The kernel of row i of `left` and row i of `right`, `[P]`."""
        if isinstance(self.gram.kernel, keras.Layer):
            return tf.reshape(self.gram.kernel([left, right], training=training), [-1])
        # A metric is compiled for all pairs only, but even these cost little compared with the encoder.
        return tf.linalg.diag_part(self.gram.pairwise(left, right))


def _as_columns(x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
    """Labels and predictions `[P]` of pairs as `[P, 1]`; others as they are.

    Keras averages the last axis before it weights samples and divides by the replicas of a strategy.
    """
    if not isinstance(x, (tuple, list)) or y is None:
        return y, y_pred
    y = tf.convert_to_tensor(y)
    return (y[:, None] if y.shape.rank == 1 else y), y_pred[:, None]

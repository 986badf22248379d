# SPDX-License-Identifier: MIT
"""What the learners that compare embeddings and are trained on episodes share."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.learners.embedding import EmbeddingLearner
from fslcore.learners.fitting import bound, is_array, takes_arguments_of
from fslcore.learners.watching import Watch
from fslcore.replicas import refuse_replicas

_ONE_CLASS = (
    "there is one class to choose from (n_way=1), so that every answer is right and nothing is learnt"
)


class EpisodeLearner(EmbeddingLearner):
    """An `EmbeddingLearner` that is trained to classify the queries of episodes; a subclass scores them.

    Train it on episodes, `learner.fit(store.episodes(n_way, k_shot, n_query), steps_per_epoch=...)`.
    One step encodes all images of one episode in one call, scores the queries against the support with
    `class_scores`, and descends on the cross-entropy of the softmax over the classes. `compile` needs only an
    optimizer. A `loss` on (labels int `[Q]`, scores `[Q, n_way]`) replaces the built-in cross-entropy;
    `metrics` are reported beside the built-in `accuracy`. `predict` takes images, or episodes, for which it
    returns the scores. Weights of classes and samples are refused: an episode has classes of its own.

    Args:
        encoder: a built Keras model, images `[B, H, W, C]` -> embeddings `[B, D]`.
        **kwargs: passed to `keras.Model`.
    """

    def __init__(self, encoder: keras.Layer, **kwargs: Any) -> None:
        super().__init__(encoder, **kwargs)
        self.built = True

    def compile_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """The arguments, with `accuracy` among the metrics, where Keras' callbacks look for its direction.

        Raises:
            NotImplementedError: a strategy has several replicas, among which Keras would divide the classes.
        """
        with self.distribute_strategy.scope():
            refuse_replicas(type(self).__name__)
            accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        metrics = options.get("metrics")
        own = [] if metrics is None else tf.nest.flatten(metrics)
        return {**options, "metrics": [*own, accuracy]}

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile`, without the built-in accuracy."""
        config = super().get_compile_config()
        return {**config, "metrics": config["metrics"][:-1] or None} if config else config

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """Embeds images, or scores the queries of an episode.

        Args:
            inputs: images `[B, H, W, C]`, or `(support [n_way, k_shot, H, W, C],
                query [n_way, n_query, H, W, C])`.
            training: as for any Keras layer.

        Returns:
            Embeddings `[B, D]`, or scores `[n_way * n_query, n_way]`, class-major.
        """
        if not isinstance(inputs, (tuple, list)):
            return self.encode(inputs, training=training)
        support, query = inputs
        n_way, k_shot, n_query = tf.shape(support)[0], tf.shape(support)[1], tf.shape(query)[1]
        images = tf.concat([support, query], axis=1)
        embeddings = self.encode(tf.reshape(images, (-1, *images.shape[2:])), training=training)
        embeddings = tf.reshape(embeddings, (n_way, k_shot + n_query, embeddings.shape[-1]))
        query = tf.reshape(embeddings[:, k_shot:], (n_way * n_query, embeddings.shape[-1]))
        return self.class_scores(embeddings[:, :k_shot], query)

    def class_scores(self, support: tf.Tensor, query: tf.Tensor, counts: Any = None) -> tf.Tensor:
        """Scores queries against classes given by embedded examples.

        Args:
            support: `[n_way, k_shot, D]` embeddings, or a `tf.RaggedTensor` `[n_way, None, D]`.
            query: `[Q, D]` embeddings.
            counts: how many examples of each class there are, integers `[n_way]` from 1 to `k_shot`: the
                first ones count, whatever stands behind them. None: all.

        Returns:
            float32 `[Q, n_way]`: logits of the classes; larger = more alike.
        """
        raise NotImplementedError

    def check_fit(self, arguments: dict[str, Any], watch: Watch) -> None:
        """Raises ArgumentError for an argument of `fit` that would be ignored, or would cut an episode."""
        if _n_way(arguments.get("x")) == 1:
            watch.warn(f"x: {_ONE_CLASS}")
        _refuse_weights(arguments)
        if arguments.get("validation_split"):
            raise ArgumentError(
                "validation_split",
                "must be 0: it would cut the classes of an episode",
                arguments["validation_split"],
            )
        _check_whole(arguments, "x", "batch_size")
        validation = arguments.get("validation_data")
        if isinstance(validation, (tuple, list)):
            names = ("x", "y", "sample_weight")
            held_out = dict(zip(names, validation, strict=False))
            size = arguments.get("validation_batch_size") or arguments.get("batch_size")
            _refuse_weights(held_out)
            _check_whole({**held_out, "validation_batch_size": size}, "x", "validation_batch_size")

    @takes_arguments_of(keras.Model.evaluate)
    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `evaluate`, on episodes `(support, query)`."""
        arguments = bound(keras.Model.evaluate, args, kwargs)
        _refuse_weights(arguments)
        _check_whole(arguments, "x", "batch_size")
        return super().evaluate(**arguments)

    @takes_arguments_of(keras.Model.predict)
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `predict`: embeddings of images, or the scores of episodes, one after the other."""
        arguments = bound(keras.Model.predict, args, kwargs)
        if isinstance(arguments["x"], (tuple, list)):
            support = arguments["x"][0]
            _check_whole({**arguments, "x": support, "y": arguments["x"]}, "x", "batch_size")
        return super().predict(**arguments)

    @takes_arguments_of(keras.Model.train_on_batch)
    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`, on one episode: `train_on_batch(support, query)`."""
        arguments = bound(keras.Model.train_on_batch, args, kwargs)
        _refuse_weights(arguments)
        return super().train_on_batch(**arguments)

    @takes_arguments_of(keras.Model.test_on_batch)
    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `test_on_batch`, on one episode."""
        arguments = bound(keras.Model.test_on_batch, args, kwargs)
        _refuse_weights(arguments)
        return super().test_on_batch(**arguments)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """One step on one episode `(support, query)`."""
        refuse_replicas(type(self).__name__)
        return super().train_step(_with_labels(data))

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Scores one episode `(support, query)` with the moving averages of BatchNormalization."""
        refuse_replicas(type(self).__name__)
        return super().test_step(_with_labels(data))

    def predict_step(self, data: tuple[Any, ...]) -> tf.Tensor:
        """Embeds images, or scores an episode `(support, query)`."""
        data = data if isinstance(data, (tuple, list)) else (data,)
        parts = data[0] if isinstance(data[0], (tuple, list)) else data
        if tf.convert_to_tensor(parts[0]).shape.rank != 5:
            return super().predict_step(data)
        refuse_replicas(f"{type(self).__name__}.predict on episodes")
        return self(_checked(parts), training=False)

    def new_watch(self) -> Watch:
        """Counts the episodes of one class."""
        return Watch(_ONE_CLASS)

    def count(self, watch: Watch, x: Any, y: Any, y_pred: Any, loss: tf.Tensor | None) -> None:  # noqa: ARG002
        """Counts an episode; it can teach nothing if it has one class."""
        watch.update(tf.cast(tf.shape(y_pred)[1] > 1, tf.float32), None)

    def default_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:  # noqa: ARG002
        """Cross-entropy of the softmax over the classes."""
        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=y_pred)
        return tf.reduce_mean(cross_entropy)


def _with_labels(data: tuple[Any, ...]) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Appends the labels `[n_way * n_query]` of the queries, which come class by class in an episode."""
    support, query = _checked(data)
    n_way, n_query = tf.shape(query)[0], tf.shape(query)[1]
    return (support, query), tf.repeat(tf.range(n_way), n_query)


def _checked(data: tuple[Any, ...] | list[Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """Support and queries of an episode, or an ArgumentError."""
    data = data if isinstance(data, (tuple, list)) else (data,)
    if len(data) > 3:
        raise ArgumentError(
            "n_unlabelled",
            "must be 0 for a learner of labelled images",
            described=f"{len(data)} sets of images",
        )
    # train_on_batch appends a sample weight of None.
    parts = [part for part in data if part is not None]
    if len(parts) == 3:
        _refuse_weights({"sample_weight": parts[2]})
    if len(parts) != 2:
        raise ArgumentError(
            "x", "must be episodes (support, query)", described=f"{len(parts)} set of images without queries"
        )
    support, query = (tf.convert_to_tensor(part) for part in parts)
    for name, part in (("support", support), ("query", query)):
        if part.shape.rank not in (5, None):
            raise ArgumentError(
                name,
                "must be images [n_way, images per class, H, W, C] of one episode",
                described=f"shape {part.shape.as_list()}",
            )
    if query.shape.rank and query.shape[1] == 0:
        raise ArgumentError("n_query", "must be at least 1 to train on or to score", 0)
    if support.shape.rank and not support.shape[:1].is_compatible_with(query.shape[:1]):
        raise ArgumentError(
            "query",
            f"must be of the {support.shape[0]} classes of the support",
            described=f"{query.shape[0]} classes",
        )
    return support, query


def _n_way(data: Any) -> int | None:
    """How many classes the episodes of a dataset or an array have, if it is known."""
    spec = getattr(data, "element_spec", data)
    shape = getattr(spec[0] if isinstance(spec, (tuple, list)) else spec, "shape", None)
    return shape[0] if shape is not None and len(shape) == 5 else None


def _refuse_weights(arguments: dict[str, Any]) -> None:
    for name in ("class_weight", "sample_weight"):
        if arguments.get(name) is not None:
            raise ArgumentError(
                name,
                "must be None: the classes of an episode are its own, and all its queries count the same",
                described=f"{type(arguments[name]).__name__}",
            )


def _check_whole(arguments: dict[str, Any], data: str, size: str) -> None:
    """Raises ArgumentError if Keras would cut an episode of arrays, whose first axis is its classes."""
    support: Any = arguments.get(data)
    batch_size = arguments.get(size)
    batch_size = 32 if batch_size is None else batch_size
    if arguments.get("y") is not None and is_array(support) and len(support.shape) == 5:
        n_way = int(support.shape[0])
        if n_way > batch_size:
            raise ArgumentError(
                size, f"must be at least {n_way}, the classes of the episode that it would cut", batch_size
            )

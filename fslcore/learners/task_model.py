# SPDX-License-Identifier: MIT
"""What the learners that adapt make of Keras' own `compile`, `fit` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.learners import compiling, validation
from fslcore.learners.image_learner import ImageLearner
from fslcore.learners.inner import Tensors
from fslcore.learners.tasks import at_least_float32, cross_entropy
from fslcore.learners.traces import PerShape, Traces


class Reported(keras.metrics.Mean):
    """A mean that callbacks can watch without being told whether more of it is better.

    Args:
        name: as in the logs.
        direction: "up", "down", or None: neither is better.
    """

    def __init__(self, name: str, direction: str | None) -> None:
        super().__init__(name=name)
        if direction is not None:
            self._direction = direction


class TaskModel(ImageLearner):
    """A `keras.Model` that is trained on batches of tasks, and validated on tasks or on images.

    Args:
        **kwargs: passed to `keras.Model`.
    """

    network: keras.Model
    _traces: Traces

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loss_tracker = Reported("loss", "down")
        self.accuracy_tracker = Reported("accuracy", "up")
        self._has_own_loss = False

    @property
    def n_way(self) -> int:
        """Number of classes of a task: the width of the network's output."""
        return int(self.network.output_shape[-1])

    @property
    def trackers(self) -> list[keras.Metric]:
        """The metrics that every training step reports: `loss` and `accuracy`, means over tasks."""
        return [self.loss_tracker, self.accuracy_tracker]

    @property
    def metrics(self) -> list[keras.Metric]:
        """The `trackers`, and the metrics given to `compile`."""
        if not self.compiled:
            return self.trackers
        return [self.loss_tracker, self._compile_metrics]

    @property
    def given_metrics(self) -> list[keras.Metric]:
        """The metrics given to `compile`, which receive labels `[B]` and logits `[B, n_way]`."""
        return self._compile_metrics.metrics[len(self.trackers) - 1 :] if self.compiled else []

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Keras' `compile`; the optimizer is the one of the outer step.

        Args:
            optimizer: as for `keras.Model.compile`.
            loss: replaces the cross-entropy of the labels, in the inner steps, the outer step and validation;
                a loss of labels int `[B]` and logits `[B, n_way]`. Inner loops then run op by op, unless it
                is `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.
            loss_weights: must be None.
            metrics: a list of metrics of labels `[B]` and logits `[B, n_way]`; of the queries in training and
                validation. `loss` and `accuracy` are reported anyway.
            weighted_metrics: must be None: images have no weights.
            **kwargs: as for `keras.Model.compile`.

        Raises:
            ArgumentError: the loss does not suit logits, metrics are weighted or not a list, or the learning
                rate is negative or not finite.
            NotImplementedError: there are several replicas.
        """
        compiling.refuse_strategy(self)
        if loss_weights is not None:
            raise ArgumentError("loss_weights", "must be None: a task has one loss", loss_weights)
        if weighted_metrics:
            raise ArgumentError("weighted_metrics", "must be None: all images count alike", weighted_metrics)
        compiling.check_loss(loss, self.network)
        given = compiling.checked_metrics(metrics, [tracker.name for tracker in self.trackers])
        # Keras would keep those of an earlier call.
        self._compile_loss = self.loss = None
        super().compile(
            optimizer=optimizer,
            loss=loss,
            metrics=[*self.trackers[1:], *given],
            **kwargs,
        )
        compiling.check_rate("optimizer", self.optimizer)
        self._compile_metrics.build(tf.zeros([1], tf.int32), tf.zeros([1, self.n_way]))
        self._has_own_loss = loss is not None and not compiling.is_cross_entropy_of_logits(loss)
        if self._compile_loss is not None:
            compiling.check_compiled_loss(self._compile_loss, loss, self.n_way)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns the configuration that `compile_from_config` takes; None before `compile`."""
        if not self.compiled:
            return None
        given = self._compile_metrics._user_metrics[len(self.trackers) - 1 :]
        metrics = keras.saving.serialize_keras_object(list(given) or None)
        return {**super().get_compile_config(), "metrics": metrics}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as it was compiled when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        for optimizer, variables in self.trained_parts():
            if not optimizer.built:
                optimizer.build(variables)

    @wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `fit`, which refuses `class_weight` and `sample_weight`."""
        compiling.refuse_weights(self, keras.Model.fit, args, kwargs)
        return super().fit(*args, **kwargs)

    @wraps(keras.Model.train_on_batch)
    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' `train_on_batch`, which refuses `class_weight` and `sample_weight`."""
        compiling.refuse_weights(self, keras.Model.train_on_batch, args, kwargs)
        return super().train_on_batch(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Any:
        """Keras' `make_train_function`, except that `jit_compile` compiles only the work on one task.

        The loop over tasks stays outside, in a graph, which runs several tasks side by side. XLA would run
        them one after the other or, unrolled, compile each of them. The function is made anew when layers
        have been frozen, or trained again.
        """
        return self._made("train", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> Any:
        """Keras' `make_test_function`, with the exceptions of `make_train_function`."""
        return self._made("test", super().make_test_function, force)

    def _made(self, name: str, make: Callable[[bool], Any], force: bool) -> Any:
        compiling.refuse_strategy(self)
        attribute = f"{name}_function"
        if self._traces.is_stale(name) or force or getattr(self, attribute) is None:

            def one() -> Any:
                asked = bool(super(TaskModel, self).jit_compile)
                self.jit_compile = False
                try:
                    make(True)
                    return getattr(self, attribute)
                finally:
                    self.jit_compile = asked
                    setattr(self, attribute, functions)

            functions = PerShape(one)
            setattr(self, attribute, functions)
        return getattr(self, attribute)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Measures one batch; the learner does not change.

        A batch of episodes, (support, query) `[tasks, n_way, images per class, H, W, C]`, is adapted to and
        scored as by `score_episodes`. The order of images and the noise are those of the first episodes.
        A batch of images `[B, H, W, C]` and labels `[B]` is scored by the meta-weights.

        Args:
            data: the batch.

        Returns:
            `loss` and `accuracy`, and the metrics given to `compile`.
        """
        parts = compiling.without_weights(self, data)
        if len(parts) == 2 and parts[0].shape.rank == 4:
            measured = validation.of_images(self, *parts)
        else:
            measured = self.measured(parts)
        self.loss_tracker.update_state(measured.losses, sample_weight=measured.weight)
        self.accuracy_tracker.update_state(measured.right, sample_weight=measured.weight)
        for metric in self.given_metrics:
            metric.update_state(measured.labels, measured.logits)
        reported = [self.loss_tracker, self.accuracy_tracker, *self.given_metrics]
        return {metric.name: metric.result() for metric in reported}

    def measured(self, parts: list[tf.Tensor]) -> validation.Measured:
        """Measures a validation batch that is not images and labels: here (support, query)."""
        if len(parts) != 2:
            raise ValueError(
                "a validation batch must be (support, query), as store.episodes(..., tasks=...) makes it, or "
                f"images [B, H, W, C] and labels [B], received {len(parts)} tensors"
            )
        return validation.of_episodes(self, *(tf.cast(part, tf.float32) for part in parts))

    def label_loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The loss of labels `[B]` and logits `[B, n_way]`: cross-entropy, unless `compile` was given one."""
        if not self._has_own_loss:
            return cross_entropy(labels, logits)
        loss: Any = self._compile_loss
        return loss(labels, at_least_float32(logits))

    def trained_parts(self) -> list[tuple[keras.Optimizer, list[keras.Variable]]]:
        """The optimizers of the outer step, each with the variables that it updates."""
        return [(self.optimizer, self.network.trainable_variables)]

    def _log(self, results: Tensors, labels: tf.Tensor, logits: tf.Tensor | None) -> dict[str, Any]:
        """Adds the results of a training step to the `metrics` and returns these by name."""
        for tracker, value in zip(self.trackers, results, strict=True):
            tracker.update_state(value)
        for metric in self.given_metrics:
            metric.update_state(labels, tf.reshape(logits, [-1, self.n_way]))
        return {metric.name: metric.result() for metric in [*self.trackers, *self.given_metrics]}

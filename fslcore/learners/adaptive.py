# SPDX-License-Identifier: MIT
"""What the learners that adapt share: a classifier, and an inner loop that fits it to one task.

    meta-weights ──> adapt_steps of the inner optimizer on the support ──> weights of one task
         ^                                                                     |
         └──────────────── the learner's outer step, over many tasks ──────────┘

The inner loop is a pure function: no task sees another's weights, tasks may run side by side, and neither
measuring nor adapting changes the meta-weights.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool
from fslcore.learners import adaptation
from fslcore.learners.classifiers import classifier
from fslcore.learners.inner import (
    CompiledLoop,
    GraphLoop,
    InnerLoop,
    InnerOptimizer,
    Snapshot,
    Tensors,
    check_inner_optimizer,
    compiled_loop,
)
from fslcore.learners.networks import (
    check_at_least,
    check_classifier,
    check_images,
    check_same_episodes,
    check_trainable,
    check_transductive,
)
from fslcore.learners.normalization import checked_normalization, kept
from fslcore.learners.task_model import TaskModel
from fslcore.learners.tasks import added, at_least_float32
from fslcore.learners.traces import Traces
from fslcore.random import episode_seeds, key, minibatch_order

# What a loss is multiplied by while it is differentiated in float16: gradients below 6e-8 would be 0.
_FLOAT16_SCALE = 1024.0


class AdaptiveLearner(TaskModel):
    """A `keras.Model` around a classifier that is fitted anew to each task by a few gradient steps.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`.
        inner_optimizer: `learners.InnerSGD` or `learners.InnerAdam`, for the steps within a task.
        adapt_steps: inner steps on the support of a new task.
        adapt_batch: images of such a step, drawn from the shuffled support again and again; None: all of it.
        normalization: the statistics that batch normalisation uses.
            "batch": those of the current batch in every inner step, and those of the support for a query.
            "moving": those of the current batch in the inner steps, which also move the averages; these are
            learnt with the weights, and used for a query.
            "frozen": the moving averages everywhere, which never change.
            None: the network has no batch normalisation. "auto": "batch", or None for such a network.
        **kwargs: passed to `keras.Model`.

    Raises:
        ArgumentError: `network` is not a built classifier of one vector per image, has fewer than 2 classes
            or weights in half precision, `adapt_steps` or `adapt_batch` is out of range, or `normalization`
            does not suit the network.
    """

    def __init__(
        self,
        network: keras.Model,
        inner_optimizer: InnerOptimizer,
        *,
        adapt_steps: int,
        adapt_batch: int | None = None,
        normalization: str | None = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_classifier(network)
        check_inner_optimizer(inner_optimizer)
        check_at_least(1, adapt_steps=adapt_steps, adapt_batch=adapt_batch)
        self.network = network
        self.inner_optimizer = inner_optimizer
        self.adapt_steps, self.adapt_batch = adapt_steps, adapt_batch
        self.normalization = checked_normalization(network, normalization)
        self._traces = Traces(self)
        self.built = True

    @property
    def optimizers(self) -> list[keras.Optimizer]:
        """All optimizers of the outer step, whose variables a checkpoint must hold."""
        return [self.optimizer]

    @property
    def takes_unlabelled(self) -> bool:
        """Whether the learner adapts to images without labels too."""
        return False

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits `[B, n_way]` of images `[B, H, W, C]` by the meta-weights, which fit no task yet."""
        if len(inputs.shape) != 4:
            raise ArgumentError(
                "x",
                "must be images [B, H, W, C]; for episodes use score_episodes",
                described=str(inputs.shape),
            )
        return self.network(inputs, training=training)

    def adapt(self, support: Any, *, unlabelled: Any = None, seed: int = 0) -> keras.Model:
        """Fits a copy of the network to a new task; the learner itself does not change.

        Args:
            support: images `[n_way, k_shot, H, W, C]`, row w of class w, with the scale used in training.
            unlabelled: for a learner that takes them, more images of these classes, `[n_way, u, H, W, C]`.
            seed: seed of the order of the images in the inner steps, and of noise.

        Returns:
            A Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`. The moving averages of its batch
            normalisation are the statistics of the support, so that the logits of an image do not depend on
            other queries.

        Raises:
            ArgumentError: a shape does not fit the network, or the learner takes no unlabelled images.
        """
        support = tf.convert_to_tensor(support, tf.float32)
        check_images("support", support, self.network)
        if unlabelled is not None:
            unlabelled = tf.convert_to_tensor(unlabelled, tf.float32)
            self._check_unlabelled(unlabelled)
        order = self.adaptation_order(support.shape[0] * support.shape[1], seed)[0]
        task = adaptation.NewTask(support, unlabelled, order, episode_seeds(key("noise", seed), 0, 1)[0])
        functions = self._traces.functions()
        weights, state = functions.adapt(task)
        return classifier(self.network, weights, state, functions.predict)

    def score_episodes(
        self,
        support: Any,
        query: Any,
        *,
        unlabelled: Any = None,
        transductive: bool = False,
        seed: int = 0,
        first: int = 0,
    ) -> tf.Tensor:
        """Adapts to each episode and scores its queries; the learner does not change.

        Args:
            support: `[episodes, n_way, k_shot, H, W, C]`.
            query: `[episodes, n_way, n_query, H, W, C]`.
            unlabelled: `[episodes, n_way, u, H, W, C]`, for a learner that takes them.
            transductive: normalise the queries of an episode by their own common statistics instead of those
                in the classifier that `adapt` returns.
            seed: seed of the order of the images in the inner steps, and of noise.
            first: index of the first episode. Order and noise are functions of the seed and of the index of
                the episode alone.

        Returns:
            Logits float32 `[episodes, n_way * n_query, n_way]`, the queries class by class.

        Raises:
            ArgumentError: the shapes do not fit the network or each other, the learner takes no unlabelled
                images, or `transductive` is True and the network has no batch normalisation, or has random
                layers.
        """
        support, query = (tf.convert_to_tensor(x, tf.float32) for x in (support, query))
        if unlabelled is not None:
            unlabelled = tf.convert_to_tensor(unlabelled, tf.float32)
        check_at_least(0, first=None if tf.is_tensor(first) else first)
        check_same_episodes(support=support, query=query, unlabelled=unlabelled)
        check_images("support", support[0], self.network)
        check_images("query", query[0], self.network)
        if unlabelled is not None:
            self._check_unlabelled(unlabelled[0])
        if as_bool("transductive", transductive):
            check_transductive(self.network, self.normalization)
        episodes, n_way, k_shot = support.shape[:3]
        order = self.adaptation_order(n_way * k_shot, seed, first, episodes)
        seeds = episode_seeds(key("noise", seed), first, episodes)
        tasks = adaptation.NewTask(support, unlabelled, order, seeds)
        return self._traces.functions().score(tasks, query, transductive=transductive)[0]

    def adaptation_order(self, n_images: int, seed: int = 0, first: int = 0, episodes: Any = 1) -> tf.Tensor:
        """Which of `n_images` support images each inner step sees: int32 `[episodes, adapt_steps, batch]`."""
        if self.adapt_batch is None:
            return tf.tile(tf.range(n_images)[None, None], [episodes, self.adapt_steps, 1])
        return minibatch_order(
            n_images, self.adapt_steps, self.adapt_batch, seed=seed, first=first, count=episodes
        )

    def meta_weights(self) -> tuple[Tensors, Tensors]:
        """The trainable and the other variables of the network, as tensors."""
        network = self.network
        return (
            [tf.convert_to_tensor(v) for v in network.trainable_variables],
            [tf.convert_to_tensor(v) for v in network.non_trainable_variables],
        )

    def initial_memory(self) -> Tensors:
        """The state in which the inner optimizer starts a task."""
        return self.inner_optimizer.initial_state(self.network.trainable_variables)

    def start(self) -> Snapshot:
        """The classifier with which each task starts.

        Raises:
            ArgumentError: all layers are frozen.
        """
        check_trainable(self.network)
        return Snapshot(*self.meta_weights(), self.initial_memory())

    def task_context(self, support: tf.Tensor, unlabelled: tf.Tensor | None, seed: tf.Tensor) -> Any:  # noqa: ARG002
        """What `inner_loss` needs for a new task beside labelled images: here None.

        Args:
            support: `[n_way, k_shot, H, W, C]`.
            unlabelled: `[n_way, u, H, W, C]`, or None.
            seed: int64 `[2]`, the seed and the index of the episode.
        """
        return None

    def real_images(self, images: tf.Tensor, context: Any) -> tf.Tensor:  # noqa: ARG002
        """The labelled images `[B, H, W, C]` of a task and the images that are normalised with them."""
        return images

    def inner_loss(
        self, weights: Tensors, state: Tensors, images: tf.Tensor, labels: tf.Tensor, context: Any
    ) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
        """The loss that an inner step descends on: here `label_loss` and the losses that layers add.

        Args:
            weights: trainable weights of the network.
            state: its other variables.
            images: `[B, H, W, C]`.
            labels: `[B]`, 0 to n_way - 1.
            context: what else the learner knows of the task.

        Returns:
            The loss, the logits `[B, n_way]` and the new state.
        """
        del context
        logits, after, terms = self.network.stateless_call(
            weights, state, images, training=self.normalization != "frozen", return_losses=True
        )
        loss = self.label_loss(labels, logits)
        if terms:
            loss += tf.cast(added(terms), loss.dtype)
        return loss, at_least_float32(logits), kept(self.normalization, state, after)

    def graph_loop(self) -> GraphLoop:
        """The inner loop as ops of the network."""
        half = any(layer.compute_dtype == "float16" for layer in self.network._flatten_layers())
        scale = _FLOAT16_SCALE if half else 1.0
        return GraphLoop(self.inner_loss, self.inner_optimizer, self.network.trainable_variables, scale)

    def compiled_loop(self) -> CompiledLoop | None:
        """The inner loops of many tasks as one op; None if the op does not compute what `inner_loss` does."""
        if type(self).inner_loss is not AdaptiveLearner.inner_loss or self._has_own_loss:
            return None
        return compiled_loop(self.network, self.inner_optimizer, self.normalization)

    def inner_loop(self) -> InnerLoop:
        """The faster of the inner loops that this learner has, chosen whenever a step is traced."""
        return self.compiled_loop() or self.graph_loop()

    @property
    def of_images(self) -> keras.Layer:
        """The network."""
        return self.network

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            "adapt_steps": self.adapt_steps,
            "adapt_batch": self.adapt_batch,
            "normalization": self.normalization,
        }

    def _check_unlabelled(self, images: tf.Tensor) -> None:
        if not self.takes_unlabelled:
            raise ArgumentError(
                "unlabelled",
                f"must be None for this {type(self).__name__}, which adapts to labelled images alone",
                list(images.shape),
            )
        check_images("unlabelled", images, self.network)

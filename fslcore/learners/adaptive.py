# SPDX-License-Identifier: MIT
"""What the learners that adapt share: a classifier, and an inner loop that fits it to one task.

    meta-weights ──> adapt_steps of the inner optimizer on the support ──> weights of one task
         ^                                                                     |
         └──────────────── the learner's outer step, over many tasks ──────────┘

The inner loop is a pure function (Keras' `stateless_call`): no task sees another's weights, tasks may run
side by side, and nothing that is measured or deployed changes the meta-weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore.learners.compiled import compiled_fit
from fslcore.learners.inner import InnerOptimizer, Tensors
from fslcore.learners.learner import random_variables
from fslcore.learners.networks import averages_of_one_batch, check_classifier, checked_normalization
from fslcore.learners.tasks import cross_entropy, episode_seeds, flat_with_labels
from fslcore.ops import FitResult
from fslcore.random import minibatch_order
from fslcore.threads import one_thread_per_op, parallel_tasks


class AdaptiveLearner(keras.Model):
    """A `keras.Model` around a classifier that is fitted anew to each task by a few gradient steps.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`.
        inner_optimizer: `learners.SGD` or `learners.Adam`, of the steps within a task.
        adapt_steps: inner steps on the support of a new task.
        adapt_batch: images of such a step, drawn from the shuffled support again and again; None: all of it.
        normalization: what batch normalisation goes by.
            "batch": the statistics of the batch at hand in every inner step; of the support for a query.
            "moving": the same in the inner steps, which also move the averages, and the averages are learnt
            with the weights; a query is normalised by them.
            "frozen": the moving averages everywhere, which then never change.
            None: the network has no batch normalisation. "auto": "batch", or None for such a network.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: `network` is not a built classifier of one vector per image, `adapt_steps` or
            `adapt_batch` is out of range, or `normalization` does not go with the network.
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
        for argument, value in (("adapt_steps", adapt_steps), ("adapt_batch", adapt_batch)):
            if value is not None and value < 1:
                raise ValueError(f"{argument} must be at least 1, received {argument}={value}")
        self.network = network
        self.inner_optimizer = inner_optimizer
        self.adapt_steps, self.adapt_batch = adapt_steps, adapt_batch
        self.normalization = checked_normalization(network, normalization)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.accuracy_tracker = keras.metrics.Mean(name="accuracy")
        self._adapt = tf.function(self._adapted)
        self._score = tf.function(self._score_episodes, reduce_retracing=True)
        self.built = True

    @property
    def n_way(self) -> int:
        """Classes of a task: the width of the network's output."""
        return int(self.network.output_shape[-1])

    @property
    def optimizers(self) -> list[keras.Optimizer]:
        """The optimizers of the outer step: a checkpoint must hold the variables of all."""
        return [self.optimizer]

    @property
    def takes_unlabelled(self) -> bool:
        """Whether images without labels help it to adapt."""
        return False

    @property
    def metrics(self) -> list[keras.Metric]:
        """`loss` and `accuracy`, means over tasks."""
        return [self.loss_tracker, self.accuracy_tracker]

    def make_train_function(self, force: bool = False) -> Any:
        """Keras' `make_train_function`, but for what `jit_compile` compiles: the work on one task.

        The loop over tasks stays outside, in a graph, which works on several tasks side by side: XLA would
        take them one after the other, or, written out, compile each of them.
        """
        asked = bool(super().jit_compile)
        self.jit_compile = False
        try:
            return super().make_train_function(force)
        finally:
            self.jit_compile = asked

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits `[B, n_way]` of images `[B, H, W, C]` by the meta-weights, which fit no task yet."""
        return self.network(inputs, training=training)

    def adapt(self, support: Any, *, unlabelled: Any = None, seed: int = 0) -> keras.Model:
        """Fits a copy of the network to a new task; the learner itself stays as it is.

        Args:
            support: images `[n_way, k_shot, H, W, C]`, row w of class w, with the scale used in training.
            unlabelled: for a learner that takes them, more images of these classes, `[n_way, u, H, W, C]`.
            seed: of the order of the images in the inner steps, and of noise.

        Returns:
            A Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`, whose batch normalisation has
            the statistics of the support as its moving averages: an image's logits depend on no other query.

        Raises:
            ValueError: a shape does not fit the network, or the learner takes no unlabelled images.
        """
        support = tf.convert_to_tensor(support, tf.float32)
        self._check_images("support", support)
        if unlabelled is not None:
            unlabelled = tf.convert_to_tensor(unlabelled, tf.float32)
            self._check_unlabelled(unlabelled)
        network = keras.models.clone_model(self.network)
        order = self.adaptation_order(support.shape[0] * support.shape[1], seed)[0]
        weights, state = self._adapt(support, unlabelled, order, episode_seeds(seed, 0, 1)[0])
        for variable, value in zip(network.trainable_variables, weights, strict=True):
            variable.assign(value)
        for variable, value in zip(network.non_trainable_variables, state, strict=True):
            variable.assign(value)
        return network

    def score_episodes(
        self,
        support: Any,
        query: Any,
        *,
        unlabelled: Any = None,
        transductive: bool = False,
        seed: int = 0,
        first_episode: int = 0,
    ) -> tf.Tensor:
        """Adapts to each episode and scores its queries; nothing in the learner changes.

        Args:
            support: `[episodes, n_way, k_shot, H, W, C]`.
            query: `[episodes, n_way, n_query, H, W, C]`.
            unlabelled: `[episodes, n_way, u, H, W, C]`, for a learner that takes them.
            transductive: normalise the queries of an episode by their own common statistics instead of those
                that `adapt` leaves in its classifier.
            seed: of the order of the images in the inner steps, and of noise.
            first_episode: index of the first episode: order and noise are functions of it and the seed alone.

        Returns:
            Logits float32 `[episodes, n_way * n_query, n_way]`, the queries class by class.

        Raises:
            ValueError: the shapes do not fit the network, the learner takes no unlabelled images, or
                `transductive` is asked for and the network has no batch normalisation, or layers that draw
                random numbers.
        """
        support, query = (tf.convert_to_tensor(x, tf.float32) for x in (support, query))
        self._check_images("support", support[0])
        self._check_images("query", query[0])
        if unlabelled is not None:
            unlabelled = tf.convert_to_tensor(unlabelled, tf.float32)
            self._check_unlabelled(unlabelled[0])
        if transductive:
            self._check_transductive()
        episodes, n_way, k_shot = support.shape[:3]
        order = self.adaptation_order(n_way * k_shot, seed, first_episode, episodes)
        seeds = episode_seeds(seed, first_episode, episodes)
        return self._score(support, query, unlabelled, order, seeds, transductive=transductive)

    def adaptation_order(
        self, n_images: int, seed: int = 0, first_episode: int = 0, episodes: int = 1
    ) -> tf.Tensor:
        """Which of `n_images` support images each inner step sees: int32 `[episodes, adapt_steps, batch]`."""
        if self.adapt_batch is None:
            return tf.tile(tf.range(n_images)[None, None], [episodes, self.adapt_steps, 1])
        return minibatch_order(
            n_images, self.adapt_steps, self.adapt_batch, seed=seed, first=first_episode, count=episodes
        )

    def meta_weights(self) -> tuple[Tensors, Tensors]:
        """The trainable and the other variables of the network, as tensors."""
        network = self.network
        return (
            [tf.convert_to_tensor(v) for v in network.trainable_variables],
            [tf.convert_to_tensor(v) for v in network.non_trainable_variables],
        )

    def initial_optimizer_state(self) -> Tensors:
        """The state in which the inner optimizer begins a task."""
        return self.inner_optimizer.initial_state(self.network.trainable_variables)

    def task_context(self, support: tf.Tensor, unlabelled: tf.Tensor | None, seed: tf.Tensor) -> Any:  # noqa: ARG002
        """What a new task has beside its labelled images, for `inner_loss`: here nothing.

        Args:
            support: `[n_way, k_shot, H, W, C]`.
            unlabelled: `[n_way, u, H, W, C]`, or None.
            seed: int64 `[2]`, the seed and the index of the episode.
        """
        return None

    def real_images(self, images: tf.Tensor, context: Any) -> tf.Tensor:  # noqa: ARG002
        """The images `[B, H, W, C]` of a task's set and those that are normalised together with them."""
        return images

    def inner_loss(
        self, weights: Tensors, state: Tensors, images: tf.Tensor, labels: tf.Tensor, context: Any
    ) -> tuple[tf.Tensor, tf.Tensor, Tensors]:
        """What an inner step descends on.

        Args:
            weights: trainable weights of the network.
            state: its other variables.
            images: `[B, H, W, C]`.
            labels: `[B]`, 0 to n_way - 1.
            context: whatever else the learner has for this task.

        Returns:
            The loss, the logits `[B, n_way]` and the new state.
        """
        del context
        logits, after = self.network.stateless_call(
            weights, state, images, training=self.normalization != "frozen"
        )
        return cross_entropy(labels, logits), logits, self._kept(state, after)

    def inner_step(
        self,
        weights: Tensors,
        state: Tensors,
        optimizer_state: Tensors,
        images: tf.Tensor,
        labels: tf.Tensor,
        context: Any = None,
    ) -> tuple[Tensors, Tensors, Tensors, tf.Tensor, tf.Tensor]:
        """One step within a task: new weights, state, optimizer state; the loss and logits before it."""
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss, logits, state = self.inner_loss(weights, state, images, labels, context)
        gradients = tape.gradient(loss, weights)
        weights, optimizer_state = self.inner_optimizer.update(weights, gradients, optimizer_state)
        return weights, state, optimizer_state, loss, logits

    def compiled_fit(self) -> Callable[..., FitResult] | None:
        """The inner loops of many tasks as one op, if there is one that does what `inner_step` does."""
        if type(self).inner_loss is not AdaptiveLearner.inner_loss:
            return None
        return compiled_fit(self.network, self.inner_optimizer, self.normalization)

    def fit_support(
        self, support: tf.Tensor, labels: tf.Tensor, order: tf.Tensor, context: Any = None
    ) -> Any:
        """The inner loop on images `[B, H, W, C]`, labels `[B]`, order `[steps, batch]`: weights, state."""
        weights, state = self.meta_weights()

        def step(i: tf.Tensor, weights: Tensors, state: Tensors, optimizer_state: Tensors) -> Any:
            images, targets = tf.gather(support, order[i]), tf.gather(labels, order[i])
            weights, state, optimizer_state, *_ = self.inner_step(
                weights, state, optimizer_state, images, targets, context
            )
            return i + 1, weights, state, optimizer_state

        _, weights, state, _ = tf.while_loop(
            lambda i, *_: i < self.adapt_steps,
            step,
            (0, weights, state, self.initial_optimizer_state()),
            parallel_iterations=1,
        )
        return weights, state

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

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AdaptiveLearner:
        """Builds the learner that `get_config` described, with fresh weights."""
        return cls(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    def _adapted(
        self, support: tf.Tensor, unlabelled: tf.Tensor | None, order: tf.Tensor, seed: tf.Tensor
    ) -> tuple[Tensors, Tensors]:
        """Weights and state of a classifier for the support `[n_way, k_shot, H, W, C]`."""
        images, labels = flat_with_labels(support)
        context = self.task_context(support, unlabelled, seed)
        return self._normalised(images, context, *self.fit_support(images, labels, order, context))

    def _normalised(
        self, images: tf.Tensor, context: Any, weights: Tensors, state: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Weights and state, with the statistics of the support as its averages where queries need them."""
        if self.normalization == "batch":
            together = self.real_images(images, context)
            with averages_of_one_batch(self.network):
                _, state = self.network.stateless_call(weights, state, together, training=True)
        return weights, state

    def _score_episodes(
        self,
        support: tf.Tensor,
        query: tf.Tensor,
        unlabelled: tf.Tensor | None,
        order: tf.Tensor,
        seeds: tf.Tensor,
        transductive: bool,
    ) -> tf.Tensor:
        episodes = tf.shape(support)[0]
        fit = self.compiled_fit()
        # One op for all episodes; where it would have one thread alone, one for each, side by side.
        each = one_thread_per_op()
        fitted = None if fit is None or each else self._fitted_by(fit, support, order)

        def adapted(i: tf.Tensor) -> tuple[Tensors, Tensors]:
            further = None if unlabelled is None else unlabelled[i]
            if fit is None:
                return self._adapted(support[i], further, order[i], seeds[i])
            context = self.task_context(support[i], further, seeds[i])
            of_some = fitted or self._fitted_by(fit, support[i : i + 1], order[i : i + 1])
            weights, state = tf.nest.map_structure(lambda stacked: stacked[0 if each else i], of_some)
            return self._normalised(flat_with_labels(support[i])[0], context, weights, state)

        def score(i: tf.Tensor, scores: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            weights, state = adapted(i)
            images, _ = flat_with_labels(query[i])
            logits, _ = self.network.stateless_call(weights, state, images, training=transductive)
            return i + 1, scores.write(i, logits)

        scores = tf.TensorArray(tf.float32, episodes, element_shape=(None, self.n_way))
        _, scores = tf.while_loop(
            lambda i, _: i < episodes, score, (0, scores), parallel_iterations=parallel_tasks()
        )
        return scores.stack()

    def _fitted_by(
        self, fit: Callable[..., FitResult], support: tf.Tensor, order: tf.Tensor
    ) -> tuple[Tensors, Tensors]:
        """Weights and state after the inner loop on each support, with an axis before for the episodes."""
        episodes = tf.shape(support)[0]
        images = tf.reshape(support, [episodes, -1, *support.shape[3:]])
        labels = tf.tile(tf.repeat(tf.range(self.n_way), tf.shape(support)[2])[None], [episodes, 1])
        weights, state = self.meta_weights()
        result = fit(images, labels, order, weights, state, self.initial_optimizer_state())
        if self.normalization == "moving":
            return result.weights, result.averages
        return result.weights, [tf.repeat(value[None], episodes, axis=0) for value in state]

    def _kept(self, before: Tensors, after: Tensors) -> Tensors:
        """The state after a step: moving averages are left alone unless they are learnt, random seeds not."""
        if self.normalization == "moving":
            return after
        return [a if not a.dtype.is_floating else b for b, a in zip(before, after, strict=True)]

    def _check_images(self, argument: str, images: tf.Tensor) -> None:
        shape = self.network.input_shape[1:]
        if images.shape.rank != 5 or images.shape[0] != self.n_way or tuple(images.shape[2:]) != shape:
            raise ValueError(
                f"{argument} must be images [{self.n_way}, images per class, "
                f"{', '.join(map(str, shape))}] for this network, received {list(images.shape)}"
            )

    def _check_unlabelled(self, images: tf.Tensor) -> None:
        if not self.takes_unlabelled:
            raise ValueError(
                f"unlabelled must be None for this {type(self).__name__}, which adapts to labelled images "
                f"alone, received images {list(images.shape)}"
            )
        self._check_images("unlabelled", images)

    def _check_transductive(self) -> None:
        if self.normalization is None:
            raise ValueError(
                f"transductive must be False for the network {self.network.name!r} without batch "
                "normalisation, received True"
            )
        if random_variables(self.network):
            raise ValueError(
                "transductive must be False for a network that draws random numbers (Dropout, noise, "
                f"augmentation), received True for {self.network.name!r}"
            )

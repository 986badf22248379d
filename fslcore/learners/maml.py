# SPDX-License-Identifier: MIT
"""MAML (Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fslcore.data import ImageStore
from fslcore.learners.adaptive import AdaptiveLearner
from fslcore.learners.inner import Adam, InnerOptimizer, Tensors
from fslcore.learners.networks import check_store, check_twice_differentiable, moves_and_seeds, settle
from fslcore.learners.tasks import accuracy, flat_with_labels, over_tasks
from fslcore.random import minibatch_order


@keras.saving.register_keras_serializable(package="fslcore")
class MAML(AdaptiveLearner):
    """Learns weights from which a few gradient steps on a support set classify its queries well.

    One training step (algorithm 2 of the paper) takes `meta_batch` tasks, adapts to the support of each, and
    gives the gradient of the queries' cross-entropy, as a mean over the tasks, to the optimizer of `compile`.
    The queries of a task are normalised by their own statistics, unless `normalization` is "frozen". Train it
    with `learner.fit(learner.tasks(store, k_shot), steps_per_epoch=...)`.

    Networks with random layers (Dropout) draw the same numbers for all tasks of a training step.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`.
        inner_optimizer: `learners.SGD` or `learners.Adam`.
        adapt_steps: inner steps on the support of a new task.
        inner_steps: inner steps of a training task; None: as many.
        meta_batch: tasks of a training step.
        second_order: `False`: the gradient with respect to the adapted weights is taken for that with respect
            to the meta-weights (FOMAML, section 5.2 of the paper), at two thirds of the cost. `True`: the
            gradient through the inner steps, for which every layer must be twice differentiable.
        adapt_batch, normalization: as for `AdaptiveLearner`.
        seed: of the order of the images in the inner steps, while training.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: as for `AdaptiveLearner`, a size is below 1, `seed` is negative, or `second_order` goes
            with `learners.Adam`, whose steps have no derivative where a gradient is 0, or with a layer whose
            second derivative TensorFlow gets wrong.
    """

    def __init__(
        self,
        network: keras.Model,
        inner_optimizer: InnerOptimizer,
        *,
        adapt_steps: int,
        inner_steps: int | None = None,
        meta_batch: int = 32,
        second_order: bool = False,
        adapt_batch: int | None = None,
        normalization: str | None = "auto",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            network,
            inner_optimizer,
            adapt_steps=adapt_steps,
            adapt_batch=adapt_batch,
            normalization=normalization,
            **kwargs,
        )
        inner_steps = adapt_steps if inner_steps is None else inner_steps
        for argument, value in (("inner_steps", inner_steps), ("meta_batch", meta_batch)):
            if value < 1:
                raise ValueError(f"{argument} must be at least 1, received {argument}={value}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, received seed={seed}")
        if second_order and isinstance(inner_optimizer, Adam):
            raise ValueError(
                f"inner_optimizer must be learners.SGD for second_order=True, received {inner_optimizer}"
            )
        if second_order:
            check_twice_differentiable(network, frozen=self.normalization == "frozen")
        self.inner_steps, self.meta_batch = inner_steps, meta_batch
        self.second_order, self.seed = second_order, seed

    def tasks(
        self,
        store: ImageStore,
        k_shot: int,
        n_query: int = 5,
        *,
        seed: int = 0,
        first_step: int = 0,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """The batches that `fit` takes, one per training step, without end.

        Args:
            store: images of the training classes.
            k_shot: images per class of a task's support.
            n_query: images per class of its query set.
            seed: seed of the tasks.
            first_step: index of the first training step: element i is a function of the seed and
                `first_step + i` alone.
            rotations: count each class turned by 0, 90, 180 and 270 degrees as four classes.

        Returns:
            A dataset of (support `[meta_batch, n_way, k_shot, H, W, C]`, query `[meta_batch, n_way, n_query,
            H, W, C]`), and for a learner with `n_unlabelled` images per class beside each of them, of
            (support, query, unlabelled support, unlabelled query).

        Raises:
            ValueError: the images do not fit the network, or the store has too few classes or images.
        """
        check_store(store, self.network)
        if n_query < 1:
            raise ValueError(f"n_query must be at least 1, received n_query={n_query}")
        return store.episodes(
            self.n_way,
            k_shot,
            n_query,
            n_unlabelled=self.n_unlabelled,
            tasks=self.meta_batch,
            seed=seed,
            first=first_step * self.meta_batch,
            rotations=rotations,
        )

    @property
    def n_unlabelled(self) -> int:
        """Images per class of a training task beside its support, and beside its query set: none."""
        return 0

    def train_step(self, data: Sequence[tf.Tensor]) -> dict[str, Any]:
        """One step on tasks (support, query, ...), each `[tasks, n_way, images per class, H, W, C]`."""
        # `train_on_batch` adds weights that are None.
        sets = [tf.convert_to_tensor(part) for part in data if part is not None]
        self._check_sets(sets)
        n_tasks, n_way, k_shot = sets[0].shape[:3]
        first = tf.cast(self.optimizer.iterations, tf.int64) * n_tasks
        order = None
        if self.adapt_batch is not None:
            order = minibatch_order(
                n_way * k_shot, self.inner_steps, self.adapt_batch, seed=self.seed, first=first, count=n_tasks
            )
        parts, state_variables = self.trained_parts(), self.state_variables()
        values = [[tf.convert_to_tensor(v) for v in variables] for _, variables in parts]
        state = [tf.convert_to_tensor(v) for v in state_variables]
        # Python's ifs on Python's values need no conversion to graph code.
        task = tf.function(self._task, jit_compile=self.jit_compile, autograph=False)

        def add(index: tf.Tensor, sums: Any, last: Tensors) -> tuple[Any, Tensors]:
            del last
            gradients, results, after = task(
                [part[index] for part in sets],
                None if order is None else order[index],
                self.training_noise(sets, first + tf.cast(index, tf.int64)),
                values,
                state,
            )
            moves, seeds = moves_and_seeds(state, after)
            return tf.nest.map_structure(tf.add, sums, (gradients, results, moves)), seeds

        moves, seeds = moves_and_seeds(state, state)
        results = [tf.zeros(()) for _ in self.metrics]
        sums = tf.nest.map_structure(tf.zeros_like, (values, results, moves))
        totals, seeds = over_tasks(add, n_tasks, (sums, seeds))
        gradients, results, moves = tf.nest.map_structure(lambda total: total / n_tasks, totals)
        for (optimizer, variables), group in zip(parts, gradients, strict=True):
            optimizer.apply(group, variables)
        settle(state_variables, state, moves, seeds)
        for metric, value in zip(self.metrics, results, strict=True):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}

    def trained_parts(self) -> list[tuple[keras.Optimizer, list[keras.Variable]]]:
        """The optimizers of the outer step, each with the variables that it moves."""
        return [(self.optimizer, self.network.trainable_variables)]

    def state_variables(self) -> list[keras.Variable]:
        """Variables that a training step changes by other means than gradients."""
        return self.network.non_trainable_variables

    def training_noise(self, sets: list[tf.Tensor], task: tf.Tensor) -> tf.Tensor | None:  # noqa: ARG002
        """What the task of this index, counted from the first step, needs of chance: here nothing."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        names = ("inner_steps", "meta_batch", "second_order", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _task(
        self,
        sets: list[tf.Tensor],
        order: tf.Tensor | None,
        noise: tf.Tensor | None,  # noqa: ARG002
        values: list[Tensors],
        state: Tensors,
    ) -> tuple[list[Tensors], Tensors, Tensors]:
        """Of one task: gradients for each of `values`, what `metrics` are told, and the state after it."""
        (weights,) = values
        (support, labels), (query, query_labels) = (flat_with_labels(part) for part in sets)
        if self.second_order:
            with tf.GradientTape() as tape:
                tape.watch(weights)
                adapted, state = self.fitted(weights, state, support, labels, order)
                loss, logits, state = self.inner_loss(adapted, state, query, query_labels, None)
            gradients = self._second_order(tape, loss, weights)
        else:
            adapted, state = self.fitted(weights, state, support, labels, order)
            with tf.GradientTape() as tape:
                tape.watch(adapted)
                loss, logits, state = self.inner_loss(adapted, state, query, query_labels, None)
            gradients = tape.gradient(loss, adapted)
        return [gradients], [loss, accuracy(query_labels, logits)], state

    def fitted(
        self,
        weights: Tensors,
        state: Tensors,
        images: tf.Tensor,
        labels: tf.Tensor,
        order: tf.Tensor | None,
        context: Any = None,
    ) -> tuple[Tensors, Tensors]:
        """`fit_support` from given weights and state, step after step in the graph, for training."""
        memory = self.inner_optimizer.initial_state(weights)
        for step in range(self.inner_steps):
            batch, targets = images, labels
            if order is not None:
                batch, targets = tf.gather(images, order[step]), tf.gather(labels, order[step])
            weights, state, memory, *_ = self.inner_step(weights, state, memory, batch, targets, context)
        return weights, state

    def _second_order(self, tape: tf.GradientTape, loss: tf.Tensor, weights: Tensors) -> Tensors:
        try:
            return tape.gradient(loss, weights)
        except LookupError as error:
            raise ValueError(
                f"second_order must be False for the network {self.network.name!r}, which has a layer that "
                f"TensorFlow cannot differentiate twice ({error}), received True"
            ) from error

    def _check_sets(self, sets: list[tf.Tensor]) -> None:
        expected = ["support", "query"]
        if self.n_unlabelled:
            expected += ["unlabelled support", "unlabelled query"]
        if len(sets) != len(expected):
            raise ValueError(
                f"a training batch must be ({', '.join(expected)}), as tasks() makes them, "
                f"received {len(sets)} tensors"
            )
        for name, images in zip(expected, sets, strict=True):
            if not images.shape.is_fully_defined() or images.shape.rank != 6:
                raise ValueError(
                    f"{name} must be images [tasks, n_way, images per class, H, W, C] of known sizes, as "
                    f"tasks() makes them, received {images.shape}"
                )
            self._check_images(name, images[0])

# SPDX-License-Identifier: MIT
"""Reptile (Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fslcore.data import ImageStore
from fslcore.encoders import conv4_classifier
from fslcore.learners.adaptive import AdaptiveLearner
from fslcore.learners.inner import INNER_OPTIMIZERS, InnerOptimizer, Tensors
from fslcore.learners.networks import check_store, moves_and_seeds, settle
from fslcore.learners.tasks import accuracy, over_tasks
from fslcore.ops import FitResult
from fslcore.presets import REPTILE_PRESETS


class TasksResult(NamedTuple):
    """What the inner loops on the tasks of a training step come to.

    Attributes:
        weights: Means over the tasks of the weights reached.
        memory: That of the inner optimizer from here on.
        moves: Means of how far the moving averages moved.
        seeds: Of random layers, as the last task left them.
        metrics: Mean loss and accuracy.
    """

    weights: Tensors
    memory: Tensors
    moves: Tensors
    seeds: Tensors
    metrics: Tensors


@keras.saving.register_keras_serializable(package="fslcore")
class Reptile(AdaptiveLearner):
    """Learns weights from which a few gradient steps on a task lead far.

    One training step (algorithm 2 of the paper) takes `meta_batch` tasks, descends `inner_steps` mini-batches
    on each from the same meta-weights, and gives the mean of (meta-weights - weights reached) to the
    optimizer of `compile` as if it were a gradient: with `keras.optimizers.SGD(meta_step)` the meta-weights
    move that share of the way. Train it with `learner.fit(learner.tasks(store, k_shot),
    steps_per_epoch=...)`.

    An inner optimizer with a memory (`Adam`) carries it from task to task, as in the authors' program. In
    parallel, the tasks of a meta-batch start from the same memory, and the mean of what they leave is kept;
    with `sequential`, each starts from what the last one left, and they cannot be worked on side by side.

    Where `fslcore.ops.fit_classifiers` knows network and optimizer, and tasks are not `sequential`, all inner
    loops of a step are that one op, of which `jit_compile` finds nothing to compile.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`.
        inner_optimizer: `learners.SGD` or `learners.Adam`.
        inner_steps: mini-batches of a training task.
        inner_batch: images of one.
        meta_batch: tasks of a training step.
        sequential: whether the tasks of a step pass the inner optimizer's memory on one by one.
        adapt_steps: inner steps on the support of a new task; None: as many as in training.
        adapt_batch: images of one; None: all of the support.
        normalization: as for `AdaptiveLearner`.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: as for `AdaptiveLearner`, or a size is below 1.
    """

    def __init__(
        self,
        network: keras.Model,
        inner_optimizer: InnerOptimizer,
        *,
        inner_steps: int,
        inner_batch: int,
        meta_batch: int = 5,
        sequential: bool = False,
        adapt_steps: int | None = None,
        adapt_batch: int | None = None,
        normalization: str | None = "auto",
        **kwargs: Any,
    ) -> None:
        sizes = {"inner_steps": inner_steps, "inner_batch": inner_batch, "meta_batch": meta_batch}
        for argument, value in sizes.items():
            if value < 1:
                raise ValueError(f"{argument} must be at least 1, received {argument}={value}")
        super().__init__(
            network,
            inner_optimizer,
            adapt_steps=inner_steps if adapt_steps is None else adapt_steps,
            adapt_batch=adapt_batch,
            normalization=normalization,
            **kwargs,
        )
        self.inner_steps, self.inner_batch, self.meta_batch = inner_steps, inner_batch, meta_batch
        self.sequential = sequential
        self.memory = [
            self.add_weight(
                name=f"memory_{i}",
                shape=value.shape,
                initializer=_value_of(value),
                trainable=False,
            )
            for i, value in enumerate(inner_optimizer.initial_state(network.trainable_variables))
        ]

    @classmethod
    def from_preset(
        cls, name: str, image_shape: tuple[int, int, int] = (28, 28, 1), precision: str = "float32"
    ) -> Reptile:
        """A learner with `encoders.conv4_classifier` and the sizes of a published setting, not compiled.

        Args:
            name: a key of `learners.REPTILE_PRESETS`.
            image_shape: (height, width, channels).
            precision: of the convolutions, as for `encoders.conv4_classifier`.

        Returns:
            The learner.

        Raises:
            ValueError: there is no such preset.
        """
        if name not in REPTILE_PRESETS:
            raise ValueError(f"preset must be one of {', '.join(REPTILE_PRESETS)}, received preset={name!r}")
        preset = REPTILE_PRESETS[name]
        return cls(
            conv4_classifier(preset.n_way, image_shape, precision),
            INNER_OPTIMIZERS[preset.inner_optimizer](preset.inner_learning_rate),
            inner_steps=preset.inner_steps,
            inner_batch=preset.inner_batch,
            meta_batch=preset.meta_batch,
            adapt_steps=preset.adapt_steps,
            adapt_batch=preset.adapt_batch,
        )

    def tasks(
        self,
        store: ImageStore,
        k_shot: int,
        *,
        seed: int = 0,
        first_step: int = 0,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """The batches that `fit` takes, one per training step, without end.

        Args:
            store: images of the training classes.
            k_shot: images per class of a task, all of them for the inner loop.
            seed: seed of the tasks.
            first_step: index of the first training step: element i is a function of the seed and
                `first_step + i` alone.
            rotations: count each class turned by 0, 90, 180 and 270 degrees as four classes.

        Returns:
            A dataset of (images `[meta_batch, inner_steps, inner_batch, H, W, C]`, labels `[meta_batch,
            inner_steps, inner_batch]`).

        Raises:
            ValueError: the images do not fit the network, or the store has too few classes or images.
        """
        check_store(store, self.network)
        return store.minibatches(
            self.n_way,
            k_shot,
            tasks=self.meta_batch,
            steps=self.inner_steps,
            batch=self.inner_batch,
            seed=seed,
            first=first_step,
            rotations=rotations,
        )

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """One step on tasks (images `[tasks, steps, batch, H, W, C]`, labels `[tasks, steps, batch]`)."""
        images, labels = (tf.convert_to_tensor(part) for part in data[:2])
        if not labels.shape.is_fully_defined() or labels.shape.rank != 3:
            raise ValueError(
                "labels must be [tasks, steps, batch] of known sizes, as Reptile.tasks makes them, "
                f"received {labels.shape}"
            )
        weights, state = self.meta_weights()
        fit = None if self.sequential else self.compiled_fit()
        if fit is None:
            mean, memory, moves, seeds, results = self._task_by_task(images, labels, weights, state)
        else:
            mean, memory, moves, seeds, results = self._all_at_once(fit, images, labels, weights, state)
        self.optimizer.apply(
            [old - new for old, new in zip(weights, mean, strict=True)], self.network.trainable_variables
        )
        settle(self.network.non_trainable_variables, state, moves, seeds)
        for variable, value in zip(self.memory, memory, strict=True):
            variable.assign(value)
        for metric, value in zip(self.metrics, results, strict=True):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self.metrics}

    def initial_optimizer_state(self) -> Tensors:
        """What training has left in the inner optimizer, so that a new task is met as the last one was."""
        return [tf.convert_to_tensor(v) for v in self.memory]

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        names = ("inner_steps", "inner_batch", "meta_batch", "sequential")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _all_at_once(
        self,
        fit: Callable[..., FitResult],
        images: tf.Tensor,
        labels: tf.Tensor,
        weights: Tensors,
        state: Tensors,
    ) -> TasksResult:
        """All tasks by one op."""
        n_tasks, steps, batch = labels.shape
        order = np.arange(steps * batch, dtype=np.int32).reshape(1, steps, batch)
        result = fit(
            tf.reshape(images, [n_tasks, steps * batch, *images.shape[3:]]),
            tf.reshape(labels, [n_tasks, steps * batch]),
            np.repeat(order, n_tasks, axis=0),
            weights,
            state,
            self.initial_optimizer_state(),
        )
        mean, after, memory = (
            [tf.reduce_mean(value, axis=0) for value in values]
            for values in (result.weights, result.averages, result.memory)
        )
        moves = [new - old for new, old in zip(self._kept(state, after), state, strict=True)]
        right = accuracy(
            tf.reshape(labels[:, -1], [-1]), tf.reshape(result.logits, [n_tasks * batch, self.n_way])
        )
        return TasksResult(mean, memory, moves, [], [tf.reduce_mean(result.losses), right])

    def _task_by_task(
        self, images: tf.Tensor, labels: tf.Tensor, weights: Tensors, state: Tensors
    ) -> TasksResult:
        """Each task by the ops of the network, several of them side by side unless they are `sequential`."""
        n_tasks = labels.shape[0]
        memory = self.initial_optimizer_state()
        task = tf.function(self._task, jit_compile=self.jit_compile)

        def add(index: Any, sums: Any, last: Any) -> tuple[Any, Any]:
            last_memory, _ = last
            reached, after, left, *results = task(
                images[index], labels[index], weights, state, last_memory if self.sequential else memory
            )
            moves, seeds = moves_and_seeds(state, after)
            return tf.nest.map_structure(tf.add, sums, (reached, left, moves, results)), (left, seeds)

        moves, seeds = moves_and_seeds(state, state)
        results = [tf.zeros(()) for _ in self.metrics]
        sums = tf.nest.map_structure(tf.zeros_like, (weights, memory, moves, results))
        sums, (last_memory, seeds) = over_tasks(add, n_tasks, (sums, (memory, seeds)))
        mean, mean_memory, moves, results = tf.nest.map_structure(lambda total: total / n_tasks, sums)
        return TasksResult(mean, last_memory if self.sequential else mean_memory, moves, seeds, results)

    def _task(
        self, images: tf.Tensor, labels: tf.Tensor, weights: Tensors, state: Tensors, memory: Tensors
    ) -> tuple[Tensors, Tensors, Tensors, tf.Tensor, tf.Tensor]:
        """The inner loop on one task: weights, state and memory after it, mean loss, accuracy at its end."""
        losses = []
        for step in range(images.shape[0]):
            weights, state, memory, loss, logits = self.inner_step(
                weights, state, memory, images[step], labels[step]
            )
            losses.append(loss)
        return weights, state, memory, tf.add_n(losses) / len(losses), accuracy(labels[-1], logits)


def _value_of(value: tf.Tensor) -> Any:
    """An initializer that gives just that."""
    return lambda shape, dtype=None: value  # noqa: ARG005

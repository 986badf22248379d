# SPDX-License-Identifier: MIT
"""Reptile (Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018)."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from fslcore.arguments import ArgumentError, as_bool
from fslcore.data import ImageStore
from fslcore.encoders import conv4_classifier
from fslcore.learners.adaptive import AdaptiveLearner
from fslcore.learners.compiling import without_weights
from fslcore.learners.inner import INNER_OPTIMIZERS, CompiledLoop, InnerOptimizer, Snapshot, Tensors
from fslcore.learners.networks import check_at_least, check_store, weights_that_may_train
from fslcore.learners.normalization import kept
from fslcore.learners.outer import apply_gradients, scaled_as_gradients
from fslcore.learners.tasks import accuracy, mean_over_tasks, settle, task_count
from fslcore.learners.validation import Measured, of_tasks
from fslcore.presets import REPTILE_PRESETS


class TasksResult(NamedTuple):
    """The results of the inner loops on the tasks of a training step.

    Attributes:
        weights: means over the tasks of the weights reached.
        memory: the memory of the inner optimizer for the next training step.
        moves: means of how far the moving averages moved.
        seeds: the seeds of random layers after the last task.
        metrics: mean loss and accuracy.
        logits: those of the last mini-batches, for the metrics of `compile` if there are any.
    """

    weights: Tensors
    memory: Tensors
    moves: Tensors
    seeds: Tensors
    metrics: Tensors
    logits: tf.Tensor | None


@keras.saving.register_keras_serializable(package="fslcore")
class Reptile(AdaptiveLearner):
    """Learns weights from which a few gradient steps on a task lead far.

    One training step (algorithm 2 of the paper) takes `meta_batch` tasks, descends `inner_steps` mini-batches
    on each from the same meta-weights, and gives the mean of (meta-weights - weights reached) to the
    optimizer of `compile` as if it were a gradient: with `keras.optimizers.SGD(meta_step)` the meta-weights
    move by the fraction `meta_step` of the way. Train it with `learner.fit(learner.tasks(store, k_shot),
    steps_per_epoch=...)`.

    An inner optimizer with a memory (`InnerAdam`) carries it from task to task, as in the authors' program.
    By default, the tasks of a meta-batch start from the same memory, and the mean of the memories after them
    is kept. With `sequential`, each task starts from the memory after the last one, and tasks cannot run side
    by side.

    If `fslcore.ops.fit_classifiers` supports network and optimizer, and tasks are not `sequential`, all inner
    loops of a step are that one op, and there is nothing for `jit_compile` to compile.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`.
        inner_optimizer: `learners.InnerSGD` or `learners.InnerAdam`.
        inner_steps: mini-batches of a training task.
        inner_batch: images of a mini-batch.
        meta_batch: tasks of a training step.
        sequential: whether each task of a step passes the memory of the inner optimizer on to the next.
        adapt_steps: inner steps on the support of a new task; None: as many as in training.
        adapt_batch: images of such a step; None: all of the support.
        normalization: as for `AdaptiveLearner`.
        **kwargs: passed to `keras.Model`.

    Raises:
        ArgumentError: as for `AdaptiveLearner`, or a size is below 1.
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
        check_at_least(1, inner_steps=inner_steps, inner_batch=inner_batch, meta_batch=meta_batch)
        super().__init__(
            network,
            inner_optimizer,
            adapt_steps=inner_steps if adapt_steps is None else adapt_steps,
            adapt_batch=adapt_batch,
            normalization=normalization,
            **kwargs,
        )
        self.inner_steps, self.inner_batch, self.meta_batch = inner_steps, inner_batch, meta_batch
        self.sequential = as_bool("sequential", sequential)
        self.memory = [
            self.add_weight(
                name=f"memory_{i}",
                shape=value.shape,
                initializer=_value_of(value),
                dtype=value.dtype.name,
                autocast=False,
                trainable=False,
            )
            for i, value in enumerate(inner_optimizer.initial_state(weights_that_may_train(network)))
        ]

    @classmethod
    def from_preset(
        cls, name: str, image_shape: tuple[int, int, int] = (28, 28, 1), precision: str = "float32"
    ) -> Reptile:
        """A learner with `encoders.conv4_classifier` and the sizes of a published setting, not compiled.

        Args:
            name: a key of `learners.REPTILE_PRESETS`.
            image_shape: (height, width, channels).
            precision: the precision of the convolutions, as for `encoders.conv4_classifier`.

        Returns:
            The learner.

        Raises:
            ArgumentError: there is no such preset.
        """
        if name not in REPTILE_PRESETS:
            raise ArgumentError("preset", f"must be one of {', '.join(REPTILE_PRESETS)}", name)
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
        first: int = 0,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """The batches that `fit` takes, one per training step, without end.

        Args:
            store: images of the training classes.
            k_shot: images per class of a task, all of which the inner loop uses.
            seed: seed of the tasks.
            first: index of the first training step. A batch is a function of the seed and of the index of its
                step alone.
            rotations: count each class turned by 0, 90, 180 and 270 degrees as four classes.

        Returns:
            A dataset of (images `[meta_batch, inner_steps, inner_batch, H, W, C]`, labels `[meta_batch,
            inner_steps, inner_batch]`).

        Raises:
            ArgumentError: the images do not fit the network, or the store has too few classes or images.
        """
        check_store(store, self.network)
        return store.minibatches(
            self.n_way,
            k_shot,
            tasks=self.meta_batch,
            steps=self.inner_steps,
            batch=self.inner_batch,
            seed=seed,
            first=first,
            rotations=rotations,
        )

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """One step on tasks (images `[tasks, steps, batch, H, W, C]`, labels `[tasks, steps, batch]`)."""
        parts = without_weights(self, data)
        if len(parts) != 2:
            raise ValueError(
                "a training batch must be (images, labels), as Reptile.tasks returns it, received "
                f"{len(parts)} tensors"
            )
        images, labels = self._mini_batches(*parts)
        start = self.start()
        loop = None if self.sequential else self.compiled_loop()
        if loop is None:
            done = self._task_by_task(images, labels, start)
        else:
            done = self._all_at_once(loop, images, labels, start)
        moves = [old - new for old, new in zip(start.weights, done.weights, strict=True)]
        moves = scaled_as_gradients(self.optimizer, moves)
        apply_gradients(self.optimizer, moves, self.network.trainable_variables)
        settle(self.network.non_trainable_variables, start.state, done.moves, done.seeds)
        for variable, value in zip(self._memory_in_use(), done.memory, strict=True):
            variable.assign(value)
        return self._log(done.metrics, tf.reshape(labels[:, -1], [-1]), done.logits)

    def measured(self, parts: list[tf.Tensor]) -> Measured:
        """Measures a validation batch of episodes, or one of `tasks()`.

        Of the latter, a task is adapted to on all of its mini-batches but the last, which is scored.
        """
        if len(parts) == 2 and parts[1].shape.rank == 3:
            return of_tasks(self, *self._mini_batches(*parts))
        return super().measured(parts)

    def initial_memory(self) -> Tensors:
        """The memory of the inner optimizer after training: a new task starts as the next one would."""
        return [tf.convert_to_tensor(v) for v in self._memory_in_use()]

    def _memory_in_use(self) -> list[keras.Variable]:
        """The memory for the weights that are trained: none for those of layers that are frozen."""
        weights = weights_that_may_train(self.network)
        trained = {id(variable) for variable in self.network.trainable_variables}
        if len(trained) == len(weights) or len(self.memory) < len(weights):
            return self.memory
        of_frozen = {i for i, variable in enumerate(weights) if id(variable) not in trained}
        return [variable for i, variable in enumerate(self.memory) if i not in of_frozen]

    def _mini_batches(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Images `[tasks, steps, batch, H, W, C]` and labels `[tasks, steps, batch]`, checked."""
        if labels.shape.rank != 3 or not labels.shape[1:].is_fully_defined():
            raise ValueError(
                "labels must be [tasks, steps, batch] of known sizes, as Reptile.tasks returns them, "
                f"received {labels.shape}"
            )
        expected = [*labels.shape[1:], *self.network.input_shape[1:]]
        if images.shape.rank != 6 or images.shape[1:] != expected or 0 in expected:
            raise ArgumentError(
                "images",
                f"must be [tasks, {', '.join(map(str, expected))}], an image for each label, at least 1 in a "
                "mini-batch",
                described=str(images.shape),
            )
        labels = labels if labels.dtype in (tf.int32, tf.int64) else tf.cast(labels, tf.int32)
        return tf.cast(images, tf.float32), labels

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        names = ("inner_steps", "inner_batch", "meta_batch", "sequential")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _all_at_once(
        self, loop: CompiledLoop, images: tf.Tensor, labels: tf.Tensor, start: Snapshot
    ) -> TasksResult:
        """All tasks by one op."""
        n_tasks, (steps, batch) = task_count(labels), labels.shape[1:]
        order = np.arange(steps * batch, dtype=np.int32).reshape(1, steps, batch)
        end, losses, logits = loop.fit_tasks(
            start,
            tf.reshape(images, [n_tasks, steps * batch, *images.shape[3:]]),
            tf.reshape(labels, [n_tasks, steps * batch]),
            tf.repeat(order, n_tasks, axis=0) if tf.is_tensor(n_tasks) else np.repeat(order, n_tasks, axis=0),
        )
        mean, after, memory = ([tf.reduce_mean(value, axis=0) for value in values] for values in end)
        # A mean of equal averages may differ from them in its last bit: those that are not learnt are kept.
        after = kept(self.normalization, start.state, after)
        moves = [new - old for new, old in zip(after, start.state, strict=True)]
        right = accuracy(tf.reshape(labels[:, -1], [-1]), tf.reshape(logits, [n_tasks * batch, self.n_way]))
        return TasksResult(mean, memory, moves, [], [tf.reduce_mean(losses), right], logits)

    def _task_by_task(self, images: tf.Tensor, labels: tf.Tensor, start: Snapshot) -> TasksResult:
        """Each task by the ops of the network, several of them side by side unless they are `sequential`."""
        compiled = (
            self._task
            if self.run_eagerly
            else tf.function(self._task, jit_compile=self.jit_compile, autograph=False)
        )

        def task(index: tf.Tensor, last_memory: Tensors) -> tuple[Any, Tensors, Tensors, tf.Tensor]:
            memory = last_memory if self.sequential else start.memory
            end, results, logits = compiled(images[index], labels[index], start._replace(memory=memory))
            return (end.weights, end.memory, results), end.state, end.memory, logits

        like = start.weights, start.memory, [tf.zeros(()) for _ in self.trackers]
        done = mean_over_tasks(
            task, task_count(labels), like, start.state, start.memory, keep=bool(self.given_metrics)
        )
        mean, memory, results = done.means
        memory = done.carry if self.sequential else memory
        return TasksResult(mean, memory, done.moves, done.seeds, results, done.kept)

    def _task(
        self, images: tf.Tensor, labels: tf.Tensor, start: Snapshot
    ) -> tuple[Snapshot, Tensors, tf.Tensor]:
        """The inner loop on one task: the classifier after it, its mean loss and its accuracy at the end.

        The accuracy is that of the last mini-batch before the last step, as are the logits that follow.
        """
        steps = images.shape[0]
        batches = ((images[step], labels[step]) for step in range(steps))
        end, losses, logits = self.graph_loop().fit_unrolled(start, batches)
        loss = tf.cast(tf.add_n(losses) / steps, tf.float32)
        return end, [loss, accuracy(labels[-1], logits)], tf.cast(logits, tf.float32)


def _value_of(value: tf.Tensor) -> Any:
    """An initializer that returns the value."""
    return lambda shape, dtype=None: value  # noqa: ARG005

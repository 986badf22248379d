# SPDX-License-Identifier: MIT
"""What the learners that train on queries share: an outer step on the mean gradient over several tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fslcore.data import ImageStore
from fslcore.learners.adaptive import AdaptiveLearner
from fslcore.learners.compiling import without_weights
from fslcore.learners.inner import InnerOptimizer, Snapshot, Tensors, all_gradients
from fslcore.learners.networks import check_at_least, check_images, check_store, check_trainable
from fslcore.learners.outer import apply_gradients
from fslcore.learners.tasks import accuracy, flat_with_labels, mean_over_tasks, settle, task_count
from fslcore.learners.validation import Measured, of_episodes
from fslcore.random import minibatch_order


class TrainingTask(NamedTuple):
    """One task of a training step.

    Attributes:
        sets: its support, its queries and, if there are any, the unlabelled images beside each of them, all
            `[n_way, images per class, H, W, C]`.
        order: int32 `[inner_steps, adapt_batch]`, the images of each inner step; None: all of them.
        noise: what `training_noise` returns.
        values: the values of the variables of each of `trained_parts`.
        state: the values of `state_variables`.
    """

    sets: list[tf.Tensor]
    order: tf.Tensor | None
    noise: tf.Tensor | None
    values: list[Tensors]
    state: Tensors


class TaskResult(NamedTuple):
    """What one task adds to a training step.

    Attributes:
        gradients: for each of `TrainingTask.values`, of the loss as the optimizer scales it.
        metrics: values for the `trackers` of the learner.
        state: the values of `state_variables` after the task.
        logits: `[n_way * n_query, n_way]` of the queries.
    """

    gradients: list[Tensors]
    metrics: Tensors
    state: Tensors
    logits: tf.Tensor


class EpisodicLearner(AdaptiveLearner):
    """An `AdaptiveLearner` that is trained on tasks with a support and a query set.

    One training step adapts to the support of `meta_batch` tasks, takes a gradient of the loss on the queries
    of each, and gives the mean over the tasks to the optimizer of `compile`. Here the gradient is of first
    order: the one with respect to the adapted weights, taken as the gradient with respect to the
    meta-weights. Train with `learner.fit(learner.tasks(store, k_shot), steps_per_epoch=...)`.

    The queries of a task are normalised by their own statistics, unless `normalization` is "frozen". Networks
    with random layers (Dropout) draw the same numbers for all tasks of a training step.

    Args:
        network: a built Keras classifier, images `[B, H, W, C]` -> logits `[B, n_way]`.
        inner_optimizer: `learners.InnerSGD` or `learners.InnerAdam`.
        adapt_steps: inner steps on the support of a new task.
        inner_steps: inner steps of a training task; None: as many as `adapt_steps`.
        meta_batch: tasks of a training step.
        adapt_batch: images of an inner step, drawn from the shuffled support; None: all of it.
        normalization: as for `AdaptiveLearner`.
        seed: seed of what is random in training.
        **kwargs: passed to `keras.Model`.

    Raises:
        ArgumentError: as for `AdaptiveLearner`, a size is below 1, or `seed` is negative.
    """

    def __init__(
        self,
        network: keras.Model,
        inner_optimizer: InnerOptimizer,
        *,
        adapt_steps: int,
        inner_steps: int | None = None,
        meta_batch: int = 32,
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
        check_at_least(1, inner_steps=inner_steps, meta_batch=meta_batch)
        check_at_least(0, seed=seed)
        self.inner_steps = adapt_steps if inner_steps is None else inner_steps
        self.meta_batch, self.seed = meta_batch, seed

    def tasks(
        self,
        store: ImageStore,
        k_shot: int,
        n_query: int = 5,
        *,
        seed: int = 0,
        first: int = 0,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """The batches that `fit` takes, one per training step, without end.

        Args:
            store: images of the training classes.
            k_shot: images per class of the support of a task.
            n_query: images per class of its query set.
            seed: seed of the tasks.
            first: index of the first training step. A batch is a function of the seed and of the index of its
                step alone.
            rotations: count each class turned by 0, 90, 180 and 270 degrees as four classes.

        Returns:
            A dataset of (support `[meta_batch, n_way, k_shot, H, W, C]`, query `[meta_batch, n_way, n_query,
            H, W, C]`). For a learner with `n_unlabelled` images per class beside each of them, a dataset of
            (support, query, unlabelled support, unlabelled query).

        Raises:
            ArgumentError: the images do not fit the network, or the store has too few classes or images.
        """
        check_store(store, self.network)
        check_at_least(1, n_query=n_query)
        return store.episodes(
            self.n_way,
            k_shot,
            n_query,
            n_unlabelled=self.n_unlabelled,
            tasks=self.meta_batch,
            seed=seed,
            first=first * self.meta_batch,
            rotations=rotations,
        )

    @property
    def n_unlabelled(self) -> int:
        """Unlabelled images per class beside the support of a training task, and beside its queries: none."""
        return 0

    def train_step(self, data: Sequence[tf.Tensor]) -> dict[str, Any]:
        """One step on tasks (support, query, ...), each `[tasks, n_way, images per class, H, W, C]`."""
        sets = self._sets(data)
        check_trainable(self.network)
        n_tasks, (n_way, k_shot) = task_count(sets[0]), sets[0].shape[1:3]
        first = tf.cast(self.optimizer.iterations, tf.int64) * tf.cast(n_tasks, tf.int64)
        order = None
        if self.adapt_batch is not None:
            order = minibatch_order(
                n_way * k_shot, self.inner_steps, self.adapt_batch, seed=self.seed, first=first, count=n_tasks
            )
        parts, state_variables = self.trained_parts(), self.state_variables()
        values = [[tf.convert_to_tensor(v) for v in variables] for _, variables in parts]
        state = [tf.convert_to_tensor(v) for v in state_variables]
        # AutoGraph is off: all conditions in it are on Python values.
        compiled = (
            self.task_step
            if self.run_eagerly
            else tf.function(
                self.task_step,
                jit_compile=self.jit_compile,
                autograph=False,
                experimental_attributes=self.task_attributes(),
            )
        )

        def task(index: tf.Tensor, carry: Any) -> tuple[Any, Tensors, Any, tf.Tensor]:
            noise = self.training_noise(sets, first + tf.cast(index, tf.int64))
            of_task = None if order is None else order[index]
            result = compiled(TrainingTask([part[index] for part in sets], of_task, noise, values, state))
            measured = [tf.cast(value, tf.float32) for value in result.metrics]
            logits = tf.cast(result.logits, tf.float32)
            return (result.gradients, measured), result.state, carry, logits

        like = values, [tf.zeros(()) for _ in self.trackers]
        done = mean_over_tasks(task, n_tasks, like, state, keep=bool(self.given_metrics))
        gradients, results = done.means
        for (optimizer, variables), group in zip(parts, gradients, strict=True):
            apply_gradients(optimizer, group, variables)
        settle(state_variables, state, done.moves, done.seeds)
        labels = tf.tile(tf.repeat(tf.range(n_way), sets[1].shape[2]), [n_tasks])
        return self._log(results, labels, done.kept)

    def task_step(self, task: TrainingTask) -> TaskResult:
        """The work on one task, which XLA may compile."""
        (weights,) = task.values
        (support, labels), (query, query_labels) = map(flat_with_labels, task.sets)
        adapted, state = self.fitted(weights, task.state, support, labels, task.order)
        with tf.GradientTape() as tape:
            tape.watch(adapted)
            loss, logits, state = self.inner_loss(adapted, state, query, query_labels, None)
            scaled = self.optimizer.scale_loss(loss)
        gradients = all_gradients(tape, scaled, adapted, self.network.trainable_variables)
        return TaskResult([gradients], [loss, accuracy(query_labels, logits)], state, logits)

    def task_attributes(self) -> dict[str, bool] | None:
        """Attributes of `task_step` as a function of TensorFlow."""
        return None

    def fitted(
        self,
        weights: Tensors,
        state: Tensors,
        images: tf.Tensor,
        labels: tf.Tensor,
        order: tf.Tensor | None,
        context: Any = None,
    ) -> tuple[Tensors, Tensors]:
        """Weights and state after the inner loop of a training task on its support `[n, H, W, C]`."""

        def batch(step: int) -> tuple[tf.Tensor, tf.Tensor]:
            if order is None:
                return images, labels
            return tf.gather(images, order[step]), tf.gather(labels, order[step])

        start = Snapshot(weights, state, self.inner_optimizer.initial_state(weights))
        end = self.graph_loop().fit_unrolled(start, map(batch, range(self.inner_steps)), context).end
        return end.weights, end.state

    def state_variables(self) -> list[keras.Variable]:
        """Variables that a training step changes in other ways than by gradients."""
        return self.network.non_trainable_variables

    def training_noise(self, sets: list[tf.Tensor], task: tf.Tensor) -> tf.Tensor | None:  # noqa: ARG002
        """Random numbers for the task of an index, counted from the first step: here none."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration that `from_config` takes."""
        names = ("inner_steps", "meta_batch", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def measured(self, parts: list[tf.Tensor]) -> Measured:
        """Measures a validation batch of episodes, with the unlabelled images that `tasks` puts beside them.

        Those beside the queries are of no use: a query is scored by itself.
        """
        if self.takes_unlabelled and len(parts) == 4:
            support, query, unlabelled, _ = (tf.cast(part, tf.float32) for part in parts)
            return of_episodes(self, support, query, unlabelled)
        return super().measured(parts)

    def _sets(self, data: Any) -> list[tf.Tensor]:
        """The image sets of a training batch, in float32 and checked."""
        parts = data if isinstance(data, (list, tuple)) else [data]
        sets = [tf.convert_to_tensor(part) for part in parts if part is not None]
        expected = ["support", "query"]
        if self.n_unlabelled:
            expected += ["unlabelled support", "unlabelled query"]
        if len(sets) == len(expected) + 1 == 3:
            without_weights(self, sets)
        if len(sets) != len(expected):
            raise ValueError(
                f"a training batch must be ({', '.join(expected)}), as tasks() returns it, "
                f"received {len(sets)} tensors"
            )
        for name, images in zip(expected, sets, strict=True):
            if images.shape.rank != 6 or not images.shape[1:].is_fully_defined():
                raise ValueError(
                    f"{name} must be images [tasks, n_way, images per class, H, W, C] of known sizes, as "
                    f"tasks() returns them, received {images.shape}"
                )
            check_images(name, images[0], self.network)
        return [tf.cast(images, tf.float32) for images in sets]

# SPDX-License-Identifier: MIT
"""How an `AdaptiveLearner` adapts to new tasks: to one, or to many episodes whose queries are then scored.

Episodes are fitted by one op all together, if the learner has a `compiled_loop`, or else one by one in a loop
that runs several side by side. All functions are pure: no variable changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from fslcore.learners.inner import CompiledLoop, InnerLoop, Snapshot, Tensors
from fslcore.learners.normalization import averages_of_one_batch
from fslcore.learners.tasks import added, flat_with_labels
from fslcore.threads import one_thread_per_op, parallel_tasks

Adapted = tuple[Tensors, Tensors]


class NewTask(NamedTuple):
    """A task to adapt to; with one more axis before, several of them.

    Attributes:
        support: `[n_way, k_shot, H, W, C]`.
        unlabelled: `[n_way, u, H, W, C]`, or None.
        order: int32 `[steps, batch]`, the support images of each inner step.
        seed: int64 `[2]`, of the noise.
    """

    support: tf.Tensor
    unlabelled: tf.Tensor | None
    order: tf.Tensor
    seed: tf.Tensor

    def at(self, i: tf.Tensor) -> NewTask:
        """The task of an index."""
        return NewTask(*(None if part is None else part[i] for part in self))


class Adaptable(Protocol):
    """What the functions here use of an `AdaptiveLearner`, which says what each member does."""

    network: keras.Model
    normalization: str | None

    @property
    def n_way(self) -> int: ...  # noqa: D102
    def start(self) -> Snapshot: ...  # noqa: D102
    def inner_loop(self) -> InnerLoop: ...  # noqa: D102
    def compiled_loop(self) -> CompiledLoop | None: ...  # noqa: D102
    def task_context(  # noqa: D102
        self, support: tf.Tensor, unlabelled: tf.Tensor | None, seed: tf.Tensor
    ) -> Any: ...
    def real_images(self, images: tf.Tensor, context: Any) -> tf.Tensor: ...  # noqa: D102


def adapted(learner: Adaptable, task: NewTask) -> Adapted:
    """Weights and state of a classifier for one task."""
    images, labels = flat_with_labels(task.support)
    context = learner.task_context(task.support, task.unlabelled, task.seed)
    return fitted(learner, images, labels, task.order, context)


def fitted(
    learner: Adaptable, images: tf.Tensor, labels: tf.Tensor, order: tf.Tensor, context: Any = None
) -> Adapted:
    """Weights and state of a classifier for images `[n, H, W, C]` and their labels `[n]`.

    The order, int32 `[steps, batch]`, says which of them each step sees.
    """
    end = learner.inner_loop().fit(learner.start(), images, labels, order, context)
    return _normalized(learner, images, context, end.weights, end.state)


def outputs(
    network: keras.Model, weights: Tensors, state: Tensors, images: tf.Tensor, transductive: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Float32 logits `[B, n_way]` of images, and the sum of the losses that layers add to those of labels."""
    logits, _, terms = network.stateless_call(
        weights, state, images, training=transductive, return_losses=True
    )
    return tf.cast(logits, tf.float32), tf.cast(added(terms), tf.float32)


def scores(
    learner: Adaptable, tasks: NewTask, query: tf.Tensor, transductive: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores the queries `[episodes, n_way, n_query, H, W, C]`.

    Returns:
        Logits float32 `[episodes, n_way * n_query, n_way]`, and the losses `[episodes]` that layers add.
    """
    loop = learner.compiled_loop()
    # Where each op has one thread, one op for each episode uses all threads, and one op for all uses one.
    if loop is None or one_thread_per_op():
        of_episode = _one_by_one(learner, tasks)
    else:
        of_episode = _all_by_one_op(learner, loop, tasks)

    def score(
        i: tf.Tensor, logits: tf.TensorArray, penalties: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
        weights, state = of_episode(i)
        images, _ = flat_with_labels(query[i])
        of_query, penalty = outputs(learner.network, weights, state, images, transductive)
        return i + 1, logits.write(i, of_query), penalties.write(i, penalty)

    episodes = tf.shape(query)[0]
    logits = tf.TensorArray(tf.float32, episodes, element_shape=(None, learner.n_way))
    penalties = tf.TensorArray(tf.float32, episodes, element_shape=())
    _, logits, penalties = tf.while_loop(
        lambda i, *_: i < episodes, score, (0, logits, penalties), parallel_iterations=parallel_tasks()
    )
    return logits.stack(), penalties.stack()


def _one_by_one(learner: Adaptable, tasks: NewTask) -> Callable[[tf.Tensor], Adapted]:
    """A function that fits the classifier to the episode of an index when it is called."""
    return lambda i: adapted(learner, tasks.at(i))


def _all_by_one_op(learner: Adaptable, loop: CompiledLoop, tasks: NewTask) -> Callable[[tf.Tensor], Adapted]:
    """Fits the classifier to all episodes at once; returns a function that picks the one of an index."""
    support = tasks.support
    episodes = tf.shape(support)[0]
    images = tf.reshape(support, [episodes, -1, *support.shape[3:]])
    labels = tf.tile(tf.repeat(tf.range(learner.n_way), tf.shape(support)[2])[None], [episodes, 1])
    end = loop.fit_tasks(learner.start(), images, labels, tasks.order).end

    def of_episode(i: tf.Tensor) -> Adapted:
        task = tasks.at(i)
        context = learner.task_context(task.support, task.unlabelled, task.seed)
        weights, state = tf.nest.map_structure(lambda stacked: stacked[i], (end.weights, end.state))
        return _normalized(learner, flat_with_labels(task.support)[0], context, weights, state)

    return of_episode


def _normalized(
    learner: Adaptable, images: tf.Tensor, context: Any, weights: Tensors, state: Tensors
) -> Adapted:
    """Weights and state; the state holds the statistics of the support if queries are normalised by them."""
    if learner.normalization == "batch":
        together = learner.real_images(images, context)
        state = averages_of_one_batch(learner.network, weights, state, together)
    return weights, state

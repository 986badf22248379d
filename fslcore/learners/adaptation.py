# SPDX-License-Identifier: MIT
"""How an `AdaptiveLearner` adapts to new tasks: to one, or to many episodes whose queries are then scored.

Episodes are fitted by one op all together, if the learner has a `compiled_loop`, or else one by one in a loop
that runs several side by side. All functions are pure: no variable changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from fslcore.learners.inner import CompiledLoop, Tensors
from fslcore.learners.normalization import averages_of_one_batch
from fslcore.learners.tasks import flat_with_labels
from fslcore.threads import one_thread_per_op, parallel_tasks

if TYPE_CHECKING:
    from fslcore.learners.adaptive import AdaptiveLearner

Adapted = tuple[Tensors, Tensors]


def adapted(
    learner: AdaptiveLearner,
    support: tf.Tensor,
    unlabelled: tf.Tensor | None,
    order: tf.Tensor,
    seed: tf.Tensor,
) -> Adapted:
    """Weights and state of a classifier for one task.

    Args:
        learner: the learner.
        support: `[n_way, k_shot, H, W, C]`.
        unlabelled: `[n_way, u, H, W, C]`, or None.
        order: int32 `[steps, batch]`, the images of each step.
        seed: int64 `[2]`, of the noise.
    """
    images, labels = flat_with_labels(support)
    context = learner.task_context(support, unlabelled, seed)
    end = learner.inner_loop().fit(learner.start(), images, labels, order, context)
    return _normalized(learner, images, context, end.weights, end.state)


def scores(
    learner: AdaptiveLearner,
    support: tf.Tensor,
    query: tf.Tensor,
    unlabelled: tf.Tensor | None,
    order: tf.Tensor,
    seeds: tf.Tensor,
    transductive: bool,
) -> tf.Tensor:
    """Logits `[episodes, n_way * n_query, n_way]` of the queries; arguments as for `adapted`, per episode."""
    loop = learner.compiled_loop()
    # Where one op has one thread, an op for each episode uses all threads, and one op for all does not.
    if loop is None or one_thread_per_op():
        of_episode = _one_by_one(learner, support, unlabelled, order, seeds)
    else:
        of_episode = _all_by_one_op(learner, loop, support, unlabelled, order, seeds)

    def score(i: tf.Tensor, logits: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        images, _ = flat_with_labels(query[i])
        of_query, _ = learner.network.stateless_call(*of_episode(i), images, training=transductive)
        return i + 1, logits.write(i, of_query)

    episodes = tf.shape(support)[0]
    logits = tf.TensorArray(tf.float32, episodes, element_shape=(None, learner.n_way))
    _, logits = tf.while_loop(
        lambda i, _: i < episodes, score, (0, logits), parallel_iterations=parallel_tasks()
    )
    return logits.stack()


def _one_by_one(
    learner: AdaptiveLearner,
    support: tf.Tensor,
    unlabelled: tf.Tensor | None,
    order: tf.Tensor,
    seeds: tf.Tensor,
) -> Callable[[tf.Tensor], Adapted]:
    """A function that fits the classifier to the episode of an index when it is called."""

    def of_episode(i: tf.Tensor) -> Adapted:
        return adapted(learner, support[i], _at(unlabelled, i), order[i], seeds[i])

    return of_episode


def _all_by_one_op(
    learner: AdaptiveLearner,
    loop: CompiledLoop,
    support: tf.Tensor,
    unlabelled: tf.Tensor | None,
    order: tf.Tensor,
    seeds: tf.Tensor,
) -> Callable[[tf.Tensor], Adapted]:
    """Fits the classifier to all episodes at once; returns a function that gives the one of an index."""
    episodes = tf.shape(support)[0]
    images = tf.reshape(support, [episodes, -1, *support.shape[3:]])
    labels = tf.tile(tf.repeat(tf.range(learner.n_way), tf.shape(support)[2])[None], [episodes, 1])
    end = loop.fit_tasks(learner.start(), images, labels, order).end

    def of_episode(i: tf.Tensor) -> Adapted:
        context = learner.task_context(support[i], _at(unlabelled, i), seeds[i])
        weights, state = tf.nest.map_structure(lambda stacked: stacked[i], (end.weights, end.state))
        return _normalized(learner, flat_with_labels(support[i])[0], context, weights, state)

    return of_episode


def _normalized(
    learner: AdaptiveLearner, images: tf.Tensor, context: Any, weights: Tensors, state: Tensors
) -> Adapted:
    """Weights and state; the state holds the statistics of the support if queries are normalised by them."""
    if learner.normalization == "batch":
        together = learner.real_images(images, context)
        with averages_of_one_batch(learner.network):
            _, state = learner.network.stateless_call(weights, state, together, training=True)
    return weights, state


def _at(images: tf.Tensor | None, i: tf.Tensor) -> tf.Tensor | None:
    return None if images is None else images[i]

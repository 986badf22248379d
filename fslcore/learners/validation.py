# SPDX-License-Identifier: MIT
"""How a learner that adapts is validated: on episodes, or on images by its meta-weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.learners import adaptation
from fslcore.learners.networks import check_images
from fslcore.learners.tasks import accuracy, task_count
from fslcore.random import episode_seeds, key


class Measured(NamedTuple):
    """What was measured on one batch.

    Attributes:
        losses: of each task, or of the whole batch.
        right: fractions of images classified as they should be, likewise.
        weight: how many images the batch counts for; None: each task counts once.
        labels: `[B]`.
        logits: `[B, n_way]`.
    """

    losses: tf.Tensor
    right: tf.Tensor
    weight: tf.Tensor | None
    labels: tf.Tensor
    logits: tf.Tensor


def of_images(learner: Any, images: tf.Tensor, labels: tf.Tensor) -> Measured:
    """Images `[B, H, W, C]` and labels `[B]` or `[B, 1]`, by the meta-weights."""
    shape = learner.network.input_shape[1:]
    if tuple(images.shape[1:]) != shape:
        raise ArgumentError(
            "x",
            f"must be images [B, {', '.join(map(str, shape))}] for this network",
            described=str(images.shape),
        )
    if labels.shape.rank not in (1, 2) or (labels.shape.rank == 2 and labels.shape[1] != 1):
        raise ArgumentError(
            "y", f"must be labels [B], integers from 0 to {learner.n_way - 1}", described=str(labels.shape)
        )
    labels = tf.cast(tf.reshape(labels, [-1]), tf.int32)
    weights, state = learner.meta_weights()
    logits, penalty = adaptation.outputs(learner.network, weights, state, images)
    loss = learner.label_loss(labels, logits) + penalty
    count = tf.cast(tf.shape(images)[0], tf.float32)
    return Measured(loss, accuracy(labels, logits), count, labels, logits)


def of_episodes(
    learner: Any, support: tf.Tensor, query: tf.Tensor, unlabelled: tf.Tensor | None = None
) -> Measured:
    """Episodes `[tasks, n_way, images per class, H, W, C]`, scored as by `score_episodes`."""
    for name, images in (("support", support), ("query", query), ("unlabelled", unlabelled)):
        if images is not None:
            check_tasks(learner, name, images)
    episodes = task_count(support)
    n_way, k_shot, n_query = learner.n_way, support.shape[2], query.shape[2]
    order = learner.adaptation_order(n_way * k_shot, episodes=episodes)
    seeds = episode_seeds(key("noise", 0), 0, episodes)
    task = adaptation.NewTask(support, unlabelled, order, seeds)
    logits, penalties = adaptation.scores(learner, task, query, transductive=False)
    labels = tf.tile(tf.repeat(tf.range(n_way), n_query)[None], [tf.shape(logits)[0], 1])
    losses, right = _of_each(learner, labels, logits)
    flat = tf.reshape(logits, [-1, n_way])
    return Measured(losses + penalties, right, None, tf.reshape(labels, [-1]), flat)


def of_tasks(learner: Any, images: tf.Tensor, labels: tf.Tensor) -> Measured:
    """Tasks in mini-batches `[tasks, steps, batch, ...]`: adapts to all but the last, and scores that."""
    steps, batch = labels.shape[1:]
    if steps < 2:
        raise ArgumentError(
            "inner_steps",
            "must be at least 2 to validate on batches of tasks(), whose last mini-batch is scored after the "
            "others; validate on episodes instead",
            steps,
        )

    def score(task: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        seen, classes = tf.reshape(task[0][:-1], [-1, *images.shape[3:]]), tf.reshape(task[1][:-1], [-1])
        order = tf.reshape(tf.range((steps - 1) * batch), [steps - 1, batch])
        weights, state = adaptation.fitted(learner, seen, classes, order)
        return adaptation.outputs(learner.network, weights, state, task[0][-1])

    logits, penalties = tf.map_fn(score, (images, labels), fn_output_signature=(tf.float32, tf.float32))
    last = labels[:, -1]
    losses, right = _of_each(learner, last, logits)
    flat = tf.reshape(logits, [-1, learner.n_way])
    return Measured(losses + penalties, right, None, tf.reshape(last, [-1]), flat)


def check_tasks(learner: Any, name: str, images: tf.Tensor) -> None:
    """Raises ArgumentError unless they are images of several tasks, whose number may be unknown."""
    if images.shape.rank != 6 or not images.shape[1:].is_fully_defined():
        raise ArgumentError(
            name,
            "must be images [tasks, n_way, images per class, H, W, C] of known sizes, as "
            "store.episodes(..., tasks=...) makes them",
            described=str(images.shape),
        )
    check_images(name, images[0], learner.network)


def _of_each(learner: Any, labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Loss and accuracy of each task, from labels `[tasks, B]` and logits `[tasks, B, n_way]`."""
    return tf.map_fn(
        lambda task: (tf.cast(learner.label_loss(*task), tf.float32), accuracy(*task)),
        (labels, logits),
        fn_output_signature=(tf.float32, tf.float32),
    )

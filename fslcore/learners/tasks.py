# SPDX-License-Identifier: MIT
"""Tasks as tensors: images with labels, what is measured on them, and means over several tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore.learners.inner import Tensors
from fslcore.threads import parallel_tasks


def flat_with_labels(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Images `[n_way, n, H, W, C]` as `[n_way * n, H, W, C]`, and their classes int32 `[n_way * n]`."""
    labels = tf.repeat(tf.range(images.shape[0]), tf.shape(images)[1])
    return tf.reshape(images, (-1, *images.shape[2:])), labels


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of the softmax of logits `[B, n_way]` for labels `[B]`."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The fraction of rows whose largest logit is at the position of their label."""
    right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
    return tf.reduce_mean(tf.cast(right, tf.float32))


def mean_over_tasks(
    task: Callable[[tf.Tensor, Any], tuple[Any, Tensors, Any]],
    n_tasks: int,
    like: Any,
    state: Tensors,
    carry: Any = (),
) -> tuple[Any, Tensors, Tensors, Any]:
    """Runs the tasks of a training step, several side by side, and averages their results.

    They run side by side only if `task` does not use `carry`: the sums alone do not make one task wait for
    another.

    Args:
        task: (index, carry) -> (results, state after the task, carry for the next task).
        n_tasks: the number of tasks.
        like: tensors of the structure and the shapes of the results.
        state: the values of the untrained variables before the step, the same for all tasks.
        carry: what the first task is given.

    Returns:
        The means of the results; `moves` and `seeds` for `settle`; the carry that the last task returned.
    """

    def add(index: tf.Tensor, sums: Any, seeds: Tensors, carry: Any) -> tuple[tf.Tensor, Any, Tensors, Any]:
        del seeds
        results, after, carry = task(index, carry)
        moves, seeds = _moves_and_seeds(state, after)
        return index + 1, tf.nest.map_structure(tf.add, sums, (results, moves)), seeds, carry

    moves, seeds = _moves_and_seeds(state, state)
    sums = tf.nest.map_structure(tf.zeros_like, (like, moves))
    _, sums, seeds, carry = tf.while_loop(
        lambda index, *_: index < n_tasks,
        add,
        (0, sums, seeds, carry),
        parallel_iterations=parallel_tasks(),
        maximum_iterations=n_tasks,
    )
    means, moves = tf.nest.map_structure(lambda total: total / n_tasks, sums)
    return means, moves, seeds, carry


def settle(variables: list[keras.Variable], before: Tensors, moves: Tensors, seeds: Tensors) -> None:
    """Sets the variables that are not trained to their values after the tasks of a training step.

    Args:
        variables: the variables.
        before: their values before the tasks.
        moves: means over the tasks of how far the moving averages moved; exactly 0 if they were not learnt.
        seeds: the seeds of random layers after the last task: a mean of seeds would not be a seed.
    """
    averages, generators = _by_kind(variables, before)
    for variable, move in zip(averages, moves, strict=True):
        variable.assign_add(move)
    for variable, value in zip(generators, seeds, strict=True):
        variable.assign(value)


def _moves_and_seeds(before: Tensors, after: Tensors) -> tuple[Tensors, Tensors]:
    """How far one task has moved the averages, and the seeds of random layers after it."""
    start, _ = _by_kind(before, before)
    end, seeds = _by_kind(after, before)
    return [b - a for a, b in zip(start, end, strict=True)], seeds


def _by_kind(values: list[Any], like: Tensors) -> tuple[list[Any], list[Any]]:
    """The values at the positions of averages in `like`, and those at the positions of seeds."""
    kinds: tuple[list[Any], list[Any]] = [], []
    for value, tensor in zip(values, like, strict=True):
        kinds[not tensor.dtype.is_floating].append(value)
    return kinds

# SPDX-License-Identifier: MIT
"""Tasks as tensors: images with labels, what is measured on them, and means over several tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from fslcore.learners.inner import Tensors
from fslcore.threads import parallel_tasks


def flat_with_labels(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Images `[n_way, n, H, W, C]` as `[n_way * n, H, W, C]`, and their classes int32 `[n_way * n]`."""
    labels = tf.repeat(tf.range(images.shape[0]), tf.shape(images)[1])
    return tf.reshape(images, (-1, *images.shape[2:])), labels


def task_count(images: tf.Tensor) -> Any:
    """How many tasks a batch holds: a Python number, or a tensor where it is not known while tracing."""
    return tf.shape(images)[0] if images.shape[0] is None else images.shape[0]


def at_least_float32(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor, in float32 if it has half precision: sums and exponentials need more."""
    return tf.cast(tensor, tf.float32) if tensor.dtype.size < 4 else tensor


def added(terms: Tensors) -> tf.Tensor:
    """The sum of the losses that layers add: their regularizers and what they gave to `add_loss`."""
    parts = [tf.reduce_sum(at_least_float32(tf.convert_to_tensor(term))) for term in terms]
    return tf.add_n(parts) if parts else tf.zeros(())


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of the softmax of logits `[B, n_way]` for labels `[B]`."""
    logits = at_least_float32(logits)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def accuracy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The fraction of rows whose largest logit is at the position of their label."""
    right = tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
    return tf.reduce_mean(tf.cast(right, tf.float32))


class OverTasks(NamedTuple):
    """The results of the tasks of a training step.

    Attributes:
        means: of the results.
        moves, seeds: for `settle`.
        carry: what the last task returned.
        kept: what each task kept, `[tasks, ...]`; None if it was not asked for.
    """

    means: Any
    moves: Tensors
    seeds: Tensors
    carry: Any
    kept: tf.Tensor | None


def mean_over_tasks(
    task: Callable[[tf.Tensor, Any], tuple[Any, Tensors, Any, tf.Tensor]],
    n_tasks: Any,
    like: Any,
    state: Tensors,
    carry: Any = (),
    keep: bool = False,
) -> OverTasks:
    """Runs the tasks of a training step, several side by side, and averages their results.

    They run side by side only if `task` does not use `carry`: the sums alone do not make one task wait for
    another.

    Args:
        task: (index, carry) -> (results, state after the task, carry for the next task, a float32 tensor to
            be kept).
        n_tasks: the number of tasks, which may be a tensor.
        like: tensors of the structure and the shapes of the results.
        state: the values of the untrained variables before the step, the same for all tasks.
        carry: what the first task is given.
        keep: whether the tensors to be kept are wanted.
    """

    def add(index: tf.Tensor, sums: Any, seeds: Tensors, carry: Any, kept: Any) -> tuple[Any, ...]:
        del seeds
        results, after, carry, to_keep = task(index, carry)
        moves, seeds = _moves_and_seeds(state, after)
        kept = [array.write(index, to_keep) for array in kept]
        return index + 1, tf.nest.map_structure(tf.add, sums, (results, moves)), seeds, carry, kept

    moves, seeds = _moves_and_seeds(state, state)
    sums = tf.nest.map_structure(tf.zeros_like, (like, moves))
    kept = [tf.TensorArray(tf.float32, n_tasks)] if keep else []
    _, sums, seeds, carry, kept = tf.while_loop(
        lambda index, *_: index < n_tasks,
        add,
        (0, sums, seeds, carry, kept),
        parallel_iterations=parallel_tasks(),
        maximum_iterations=n_tasks,
    )
    means, moves = tf.nest.map_structure(lambda total: total / tf.cast(n_tasks, total.dtype), sums)
    return OverTasks(means, moves, seeds, carry, kept[0].stack() if keep else None)


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

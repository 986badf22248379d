# SPDX-License-Identifier: MIT
"""The labels of a batch in any form that Keras passes, converted for losses and metrics.

Labels are class ids [batch] or [batch, 1], integers or floats that hold integers, or one-hot rows
[batch, classes], whose width may change from batch to batch. Labels keep their dtype until they are compared:
two ids above 2^24 can differ as integers and be equal as float32.

A wrong shape is a ValueError as soon as it is known. Wrong values, and shapes unknown until then, are a
`tf.errors.InvalidArgumentError` when the batch arrives. XLA compiles no assertions: there the size is
checked, and `nan_if_wrong` makes NaN of what is computed from wrong values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fslcore.tensors import real, unmasked

Tensor = Any


def class_ids(labels: Tensor, predictions: Tensor, *, as_given: bool = False) -> Tensor:
    """One integer per sample, equal where the labels are.

    Args:
        labels: Class ids, [batch] or [batch, 1].
        predictions: The predictions for the same batch, [batch, ...].
        as_given: Whether floats become the integers that they hold, for labels that number the rows of a
            table or are compared with those of other batches. They must be below 2^63 then.

    Returns:
        int64 [batch]; otherwise floats are numbered in increasing order.

    Raises:
        ValueError: If the labels have another shape (one-hot rows included) or are not numbers.
    """
    labels = _labels(labels, predictions)
    if labels.shape.rank == 2 and labels.shape[1] not in (1, None):
        raise ValueError(
            "y_true must hold one class id per sample, [batch] or [batch, 1], "
            f"received shape {labels.shape.as_list()} (for one-hot rows take their argmax)"
        )
    return _flat_ids(labels, predictions, as_given)


def labelled_embeddings(
    labels: Tensor, predictions: Tensor, *, as_given: bool = False
) -> tuple[Tensor, Tensor]:
    """The predictions as `embeddings_of` and the labels as `class_ids`, or a ValueError."""
    embeddings = embeddings_of(predictions)
    return embeddings, class_ids(labels, embeddings, as_given=as_given)


def square_matrix(predictions: Tensor) -> Tensor:
    """The predictions as float32 [batch, batch], or a ValueError if they have another shape."""
    predictions = real("y_pred", predictions)
    if predictions.shape.rank != 2 or not predictions.shape[:1].is_compatible_with(predictions.shape[1:]):
        raise ValueError(
            f"y_pred must be one matrix [batch, batch], received shape {_dimensions(predictions)}"
        )
    return predictions


def same_class(labels: Tensor, predictions: Tensor) -> Tensor:
    """Which samples of a batch share a class.

    Args:
        labels: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes] of any dtype.
        predictions: The predictions for the same batch, [batch, batch].

    Returns:
        bool [batch, batch].

    Raises:
        ValueError: If the labels have another shape or are not numbers, or the predictions are not square.
    """
    predictions = square_matrix(predictions)
    labels = _labels(labels, predictions)

    return _by_form(
        labels,
        predictions,
        lambda ids: ids[:, None] == ids[None, :],
        lambda rows: tf.matmul(rows, rows, transpose_b=True) > 0.5,
    )


def class_numbers(labels: Tensor, predictions: Tensor) -> Tensor:
    """One integer per sample, as `class_ids`, also of one-hot rows, whose column it is.

    Args:
        labels: Class ids, [batch] or [batch, 1], or one-hot rows [batch, classes] of any dtype.
        predictions: The predictions for the same batch, [batch, ...].

    Returns:
        int64 [batch].

    Raises:
        ValueError: If the labels have another shape or are not numbers.
    """
    labels = _labels(labels, predictions)

    return _by_form(labels, predictions, lambda ids: ids, lambda rows: tf.argmax(rows, axis=1))


def embeddings_of(predictions: Tensor) -> Tensor:
    """The predictions as float32 [batch, dim], or a ValueError if they have another shape."""
    predictions = real("y_pred", predictions)
    if predictions.shape.rank != 2:
        raise ValueError(f"y_pred must be embeddings [batch, dim], received shape {predictions.shape}")
    return predictions


def nan_if_wrong(values: Tensor, labels: Tensor) -> Tensor:
    """The values, or NaN if labels are neither class ids nor one-hot rows: for XLA, which asserts nothing.

    Args:
        values: float32, what was computed from the labels.
        labels: As for `same_class`.
    """
    labels = tf.convert_to_tensor(labels)
    width = 1 if labels.shape.rank == 1 else labels.shape[1]
    if width == 1 and not labels.dtype.is_floating:
        return values
    if width == 1:
        are_right = tf.reduce_all(_are_exact(labels))
    elif width is not None:
        are_right = _are_one_hot(tf.cast(labels, tf.float32))
    else:
        are_ids = tf.reduce_all(_are_exact(labels)) if labels.dtype.is_floating else True
        are_right = tf.where(tf.shape(labels)[1] == 1, are_ids, _are_one_hot(tf.cast(labels, tf.float32)))
    return values * tf.where(are_right, 1.0, float("nan"))


def _labels(labels: Tensor, predictions: Tensor) -> Tensor:
    labels = unmasked("y_true", labels)
    if not (labels.dtype.is_integer or labels.dtype.is_floating or labels.dtype.is_bool):
        raise ValueError(f"y_true must hold numbers, received {labels.dtype.name}")
    batch = predictions.shape[0]
    if labels.shape.rank not in (1, 2) or not labels.shape[:1].is_compatible_with([batch]):
        raise ValueError(
            f"y_true must hold one label per sample ({'any number' if batch is None else batch}), "
            f"[batch], [batch, 1] or one-hot rows, received shape {_dimensions(labels)}"
        )
    count, expected = tf.shape(labels)[0], tf.shape(predictions)[0]
    message = "y_true must hold one label per sample, received (labels, samples)"
    with tf.control_dependencies([tf.debugging.Assert(count == expected, [message, count, expected])]):
        return tf.identity(labels)


def _by_form(
    labels: Tensor,
    predictions: Tensor,
    of_ids: Callable[[Tensor], Tensor],
    of_rows: Callable[[Tensor], Tensor],
) -> Tensor:
    """A function of class ids [batch], or another of one-hot rows; where need be, the batch decides."""

    def by_id() -> Tensor:
        # The first column, as XLA also compiles this branch for rows that turn out to be wider.
        return of_ids(_flat_ids(labels if labels.shape.rank == 1 else labels[:, :1], predictions))

    def by_row() -> Tensor:
        return of_rows(_one_hot(labels, predictions))

    if labels.shape.rank == 1 or labels.shape[1] == 1:
        return by_id()
    if labels.shape[1] is not None:
        return by_row()
    return tf.cond(tf.shape(labels)[1] == 1, by_id, by_row)


def _flat_ids(labels: Tensor, predictions: Tensor, as_given: bool = False) -> Tensor:
    # Not [-1], so that reshape rejects one-hot rows of unknown width, and under XLA a batch of another size.
    ids = tf.reshape(labels, [tf.shape(predictions)[0]])
    if not ids.dtype.is_floating:
        return tf.cast(ids, tf.int64)
    message = "y_true must hold integers, and as floats only those below the dtype's precision, received"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(_are_exact(ids)), [message, ids])]):
        return tf.cast(ids, tf.int64) if as_given else tf.searchsorted(tf.sort(ids), ids, out_type=tf.int64)


def _one_hot(labels: Tensor, predictions: Tensor) -> Tensor:
    rows = tf.cast(labels, tf.float32)
    message = "y_true must hold a single 1 per row among zeros, received"
    with tf.control_dependencies([tf.debugging.Assert(_are_one_hot(rows), [message, rows])]):
        return tf.reshape(rows, [tf.shape(predictions)[0], tf.shape(rows)[1]])


def _are_exact(ids: Tensor) -> Tensor:
    """Which floats are integers that no other integer is rounded to."""
    # From 2^24 on (2^11 in float16) x + 1 may round to x, so that two ids may be the same float.
    return (ids == tf.round(ids)) & (tf.abs(ids) + 1.0 > tf.abs(ids))


def _are_one_hot(rows: Tensor) -> Tensor:
    return tf.reduce_all((rows == 0.0) | (rows == 1.0)) & tf.reduce_all(tf.reduce_sum(rows, 1) == 1.0)


def _dimensions(tensor: Tensor) -> Any:
    return None if tensor.shape.rank is None else tensor.shape.as_list()

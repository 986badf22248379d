# SPDX-License-Identifier: MIT
"""The triplet loss on semi-hard or hard triplets, with its gradient, as several libraries formulate it.

All but PyTorch Metric Learning on semi-hard triplets compute the same number: they differ in the tensors that
they form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fslcore import twins
from fslcore.bench.comparison import Entry
from fslcore.bench.peers.libraries import installed
from fslcore.bench.triplet_problem import MARGIN, Batch, graph_call

Tensor = Any

# Float32 tensors that are held at a time, as measured: [size, size] and [pairs, dim]; [size, size, size].
_SQUARES_OF_SORTED, _ROWS_OF_SORTED, _CUBES_OF_TFA, _CUBES_OF_KERAS_FSL = 6, 4, 5, 7
_SQUARES_OF_MASKED, _SQUARES_OF_METRIC_LEARNING = 6, 9


def peer_entries(batch: Batch) -> dict[str, Entry]:
    """The others, PyTorch Metric Learning if it is installed."""
    square, cube = 4 * batch.size**2, 4 * batch.size**3
    rows = 4 * batch.pairs * batch.dim
    entries = {
        "TensorFlow, sorted, graph": Entry(
            graph_call(sorted_rows, batch), _SQUARES_OF_SORTED * square + _ROWS_OF_SORTED * rows
        ),
        "TensorFlow Addons, graph": Entry(graph_call(tiled_masks, batch), _CUBES_OF_TFA * cube),
        "keras-fsl, graph": Entry(graph_call(all_triplets, batch), _CUBES_OF_KERAS_FSL * cube),
    }
    if installed("pytorch_metric_learning"):
        # A mask of a byte for every triplet of rows, and three int64 for each that it marks.
        entries["PyTorch Metric Learning"] = Entry(
            _metric_learning(batch), batch.size**3 + 24 * batch.triplets
        )
    return entries


def hard_peer_entries(batch: Batch) -> dict[str, Entry]:
    """Those that mine the hardest triplets, PyTorch Metric Learning if it is installed."""
    square = 4 * batch.size**2
    entries = {
        "TensorFlow, masked, graph": Entry(graph_call(masked_rows, batch), _SQUARES_OF_MASKED * square)
    }
    if installed("pytorch_metric_learning"):
        entries["PyTorch Metric Learning"] = Entry(
            _metric_learning(batch, hard=True), _SQUARES_OF_METRIC_LEARNING * square
        )
    return entries


def sorted_rows(x: Tensor, labels: Tensor) -> Tensor:
    """Every row of the distance matrix sorted, the negatives found by bisection."""
    return twins.triplet_semihard(x, labels, MARGIN)


def masked_rows(x: Tensor, labels: Tensor) -> Tensor:
    """Every row of the distance matrix searched for its farthest positive and its nearest negative."""
    return twins.triplet_hard(x, labels, MARGIN)


def tiled_masks(x: Tensor, labels: Tensor) -> Tensor:
    """As TensorFlow Addons: the distance matrix tiled to [size * size, size], one row for each pair."""
    size = tf.shape(labels)[0]
    distances = _squared_distances(x)
    adjacent = labels[:, None] == labels[None]
    # Row p * size + a of the tiles is row a of the matrix, to be compared with the distance of a and p.
    tiles = tf.tile(distances, [size, 1])
    farther = tf.tile(~adjacent, [size, 1]) & (tiles > tf.reshape(tf.transpose(distances), [-1, 1]))
    any_farther = tf.reshape(tf.reduce_any(farther, axis=1), [size, size])
    nearest = tf.reshape(_masked_minimum(tiles, tf.cast(farther, tf.float32)), [size, size])
    farthest = _masked_maximum(distances, tf.cast(~adjacent, tf.float32))
    negatives = tf.transpose(tf.where(any_farther, nearest, tf.transpose(farthest)))
    pairs = tf.cast(adjacent, tf.float32) - tf.eye(size)
    terms = tf.maximum((distances - negatives + MARGIN) * pairs, 0.0)
    return tf.math.divide_no_nan(tf.reduce_sum(terms), tf.reduce_sum(pairs))


def all_triplets(x: Tensor, labels: Tensor) -> Tensor:
    """As keras-fsl: D[a, p] - D[a, n] for every triplet of the batch, [size, size, size]."""
    distances = _squared_distances(x)
    adjacent = labels[:, None] == labels[None]
    margins = distances[:, :, None] - distances[:, None, :]  # below 0 where the negative is farther
    negative = tf.cast(~adjacent[:, None, :], tf.float32)
    outside = negative * tf.cast(margins < 0.0, tf.float32)
    nearest = _masked_maximum(margins, outside, axis=2)[..., 0]
    farthest = _masked_minimum(margins, negative * tf.ones_like(margins), axis=2)[..., 0]
    hinge = tf.maximum(tf.where(tf.reduce_any(outside > 0.0, axis=2), nearest, farthest) + MARGIN, 0.0)
    pairs = tf.cast(adjacent, tf.float32) - tf.eye(tf.shape(labels)[0])
    return tf.math.divide_no_nan(tf.reduce_sum(hinge * pairs), tf.reduce_sum(pairs))


def _squared_distances(x: Tensor) -> Tensor:
    norms = tf.reduce_sum(tf.square(x), axis=1)
    squared = norms[:, None] + norms[None] - 2.0 * tf.matmul(x, x, transpose_b=True)
    return tf.linalg.set_diag(tf.maximum(squared, 0.0), tf.zeros_like(norms))


def _masked_maximum(values: Tensor, mask: Tensor, axis: int = 1) -> Tensor:
    lowest = tf.reduce_min(values, axis, keepdims=True)
    return tf.reduce_max((values - lowest) * mask, axis, keepdims=True) + lowest


def _masked_minimum(values: Tensor, mask: Tensor, axis: int = 1) -> Tensor:
    highest = tf.reduce_max(values, axis, keepdims=True)
    return tf.reduce_min((values - highest) * mask, axis, keepdims=True) + highest


def _metric_learning(batch: Batch, *, hard: bool = False) -> Callable[[], list[Any]]:
    """Another loss for semi-hard triplets: every negative within the margin beyond the positive counts.

    It is the mean of the terms above 0. The hard loss is the mean of all terms, as ours is.
    """
    import torch
    from pytorch_metric_learning import distances, losses, miners, reducers

    distance = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    if hard:
        miner = miners.BatchHardMiner(distance=distance)
        loss = losses.TripletMarginLoss(margin=MARGIN, distance=distance, reducer=reducers.MeanReducer())
    else:
        miner = miners.TripletMarginMiner(margin=MARGIN, type_of_triplets="semihard", distance=distance)
        loss = losses.TripletMarginLoss(margin=MARGIN, distance=distance)
    x, labels = torch.tensor(batch.x, requires_grad=True), torch.tensor(batch.labels)

    def call() -> list[Any]:
        value = loss(x, labels, miner(x, labels))
        (gradient,) = torch.autograd.grad(value, x)
        return [value.detach().numpy(), gradient.numpy()]

    return call

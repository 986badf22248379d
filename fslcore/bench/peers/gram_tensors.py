# SPDX-License-Identifier: MIT
"""Pairwise metrics in plain TensorFlow: matrix products, broadcasts, and keras-fsl's pairs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from fslcore.bench.comparison import Entry
from fslcore.bench.gram_problem import HEAD, Problem
from fslcore.bench.gram_tensors import MODES, Kernel, tensor_call

Tensor = Any

# Tensors [batch, batch, dim] that are held at a time, as measured: (mode, backward) -> how many.
_OF_BROADCAST = {
    ("eager", False): 2,
    ("graph", False): 1,
    ("XLA", False): 1,
    ("eager", True): 4,
    ("graph", True): 3,
    ("XLA", True): 2,
}
_OF_HEAD = _OF_BROADCAST | {("eager", True): 5}
_OF_PAIRS = 2


def tensorflow_entries(problem: Problem, backward: bool) -> dict[str, Entry]:
    """The plain formulations; for the trainable head also keras-fsl's."""
    if problem.metric in PRODUCTS:
        product = PRODUCTS[problem.metric]
        return {
            f"TensorFlow matmul, {mode}": Entry(tensor_call(product, problem, mode, backward))
            for mode in MODES
        }
    head = problem.metric == HEAD
    held = _OF_HEAD if head else _OF_BROADCAST
    entries = {
        f"TensorFlow broadcast, {mode}": Entry(
            tensor_call(broadcast_head if head else broadcast, problem, mode, backward),
            problem.pair_bytes(held[mode, backward]),
        )
        for mode in MODES
    }
    if head:
        entries["keras-fsl, graph"] = Entry(
            tensor_call(tiled_pairs, problem, "graph", backward), problem.pair_bytes(_OF_PAIRS)
        )
    return entries


def _squared_by_product(x: Tensor, y: Tensor, _: Tensor) -> Tensor:
    norms = tf.reduce_sum(x * x, 1)[:, None] + tf.reduce_sum(y * y, 1)[None]
    return tf.maximum(norms - 2.0 * tf.matmul(x, y, transpose_b=True), 0.0)


def _cosine_by_product(x: Tensor, y: Tensor, _: Tensor) -> Tensor:
    return 1.0 - tf.matmul(tf.math.l2_normalize(x, 1), tf.math.l2_normalize(y, 1), transpose_b=True)


PRODUCTS: dict[str, Kernel] = {
    "sqeuclidean": _squared_by_product,
    "euclidean": lambda x, y, weights: tf.sqrt(_squared_by_product(x, y, weights)),
    "cosine": _cosine_by_product,
    "dot": lambda x, y, _: tf.matmul(x, y, transpose_b=True),
}


def broadcast(x: Tensor, y: Tensor, _: Tensor) -> Tensor:
    """`manhattan` over [batch, batch, dim]."""
    return tf.reduce_sum(tf.abs(x[:, None] - y[None]), -1)


def broadcast_head(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """`weighted_manhattan` with a sigmoid over [batch, batch, dim]."""
    return tf.sigmoid(tf.reduce_sum(weights * tf.abs(x[:, None] - y[None]), -1))


def tiled_pairs(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """The same as keras-fsl's GramMatrix("DenseSigmoid"): every pair as two rows, then a dense layer."""
    count, dim = tf.shape(x)[0], tf.shape(x)[1]
    left = tf.reshape(tf.tile(x, [1, tf.shape(y)[0]]), [-1, dim])
    right = tf.tile(y, [count, 1])
    scores = tf.sigmoid(tf.matmul(tf.abs(left - right), weights[:, None]))
    return tf.reshape(scores, [count, -1])

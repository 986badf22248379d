# SPDX-License-Identifier: MIT
"""Pairwise metrics in TensorFlow: our ops, matrix products, broadcasts, and keras-fsl's pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from fslcore import kernels, ops
from fslcore.bench.comparison import Entry
from fslcore.bench.gram_problem import HEAD, Problem

Tensor = Any
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]

MODES = ("eager", "graph", "XLA")
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


def our_entries(problem: Problem, backward: bool) -> dict[str, Entry]:
    """The NumPy kernel, forward only since its gradient does not return the metric, and the ops."""
    arguments = _head_arguments(problem, problem.weights)
    numpy = partial(kernels.pairwise, problem.x, problem.y, problem.metric, **arguments)
    entries = {} if backward else {"fslcore, NumPy": Entry(lambda: [numpy()])}
    return entries | {
        f"fslcore, {mode}": Entry(tensor_call(op_of(problem), problem, mode, backward))
        for mode in ("graph", "XLA")
    }


def op_of(problem: Problem) -> Kernel:
    """Our op for the metric of a problem, as `tensor_call` takes it."""
    return lambda x, y, weights: ops.pairwise(x, y, problem.metric, **_head_arguments(problem, weights))


def tensorflow_entries(problem: Problem, backward: bool) -> dict[str, Entry]:
    """The plain formulations; of the trainable head also that of keras-fsl."""
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


def tensor_call(kernel: Kernel, problem: Problem, mode: str, backward: bool) -> Callable[[], list[Any]]:
    """A call that returns the metric and, with `backward`, its gradients, those of weights last.

    Args:
        kernel: Takes x, y and weights.
        problem: The data.
        mode: One of `MODES`.
        backward: Whether to compute the gradients.
    """
    tensors = [tf.constant(array) for array in (problem.x, problem.y, problem.weights)]
    upstream = tf.constant(problem.upstream) if backward else None

    def forward(x: Tensor, y: Tensor, weights: Tensor, _: Tensor) -> list[Tensor]:
        return [kernel(x, y, weights)]

    def both(x: Tensor, y: Tensor, weights: Tensor, upstream: Tensor) -> list[Tensor]:
        sources = [x, y, weights] if problem.has_weights else [x, y]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            out = kernel(x, y, weights)
        return [out, *tape.gradient(out, sources, output_gradients=upstream)]

    function: Callable[..., Any] = both if backward else forward
    if mode != "eager":
        function = tf.function(function, jit_compile=mode == "XLA")
    return lambda: [tensor.numpy() for tensor in function(*tensors, upstream)]


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


def _head_arguments(problem: Problem, weights: Any) -> dict[str, Any]:
    return {"weights": weights, "activation": "sigmoid"} if problem.has_weights else {}

# SPDX-License-Identifier: MIT
"""Pairwise metrics by our kernel and ops, and how any kernel of tensors is called in a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from fslcore import kernels, ops
from fslcore.bench.comparison import Entry
from fslcore.bench.gram_problem import Problem

Tensor = Any
Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]

MODES = ("eager", "graph", "XLA")


def our_entries(problem: Problem, backward: bool) -> dict[str, Entry]:
    """The NumPy kernels and the ops."""
    return {"fslcore, NumPy": Entry(partial(_by_kernels, problem, backward))} | {
        f"fslcore, {mode}": Entry(tensor_call(op_of(problem), problem, mode, backward))
        for mode in ("graph", "XLA")
    }


def _by_kernels(problem: Problem, backward: bool) -> list[Any]:
    x, y, metric = problem.x, problem.y, problem.metric
    arguments = _head_arguments(problem, problem.weights)
    out = kernels.pairwise(x, y, metric, **arguments)
    if not backward:
        return [out]
    gradients = kernels.pairwise_grad(x, y, problem.upstream, metric, out=out, **arguments)
    return [out, *gradients[: 3 if problem.has_weights else 2]]


def op_of(problem: Problem) -> Kernel:
    """Our op for the metric of a problem, as `tensor_call` takes it."""
    return lambda x, y, weights: ops.pairwise(x, y, problem.metric, **_head_arguments(problem, weights))


def tensor_call(kernel: Kernel, problem: Problem, mode: str, backward: bool) -> Callable[[], list[Any]]:
    """A call that returns the metric and, with `backward`, its gradients, the weights' last.

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


def _head_arguments(problem: Problem, weights: Any) -> dict[str, Any]:
    return {"weights": weights, "activation": "sigmoid"} if problem.has_weights else {}

# SPDX-License-Identifier: MIT
"""What it costs to call an op, beside TensorFlow's own and beside the same kernel without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator

from fslcore import kernels
from fslcore.bench.comparison import Comparison, Entry, measure
from fslcore.bench.gram import work
from fslcore.bench.gram_problem import Problem
from fslcore.bench.gram_tensors import op_of, tensor_call
from fslcore.bench.peers.gram_tensors import PRODUCTS

_SMALL, _LARGE, _DIM = 8, 1024, 128


def cases(quick: bool) -> Iterator[Comparison]:
    """A product so small that the call is all there is, and one so large that the call should not show."""
    rounds = 3 if quick else 25
    small = Problem("dot", _SMALL, _SMALL)
    for mode in ("eager", "graph"):
        yield measure(
            f"call overhead, dot {_SMALL} x {_SMALL}, dim {_SMALL}, {mode}",
            {
                f"fslcore op, {mode}": Entry(tensor_call(op_of(small), small, mode, backward=False)),
                f"tf.matmul, {mode}": Entry(tensor_call(PRODUCTS["dot"], small, mode, backward=False)),
                "fslcore, NumPy": Entry(lambda: [kernels.pairwise(small.x, small.y, "dot")]),
            },
            rounds=rounds,
        )
    large = Problem("sqeuclidean", 128 if quick else _LARGE, _DIM)
    yield measure(
        f"op and kernel, sqeuclidean {large.batch} x {large.batch}, dim {_DIM}, forward",
        {
            "fslcore op, eager": Entry(tensor_call(op_of(large), large, "eager", backward=False)),
            "fslcore op, graph": Entry(tensor_call(op_of(large), large, "graph", backward=False)),
            "fslcore, NumPy": Entry(lambda: [kernels.pairwise(large.x, large.y)]),
            "TensorFlow matmul, graph": Entry(
                tensor_call(PRODUCTS["sqeuclidean"], large, "graph", backward=False)
            ),
        },
        work(large, backward=False),
        rounds=rounds,
    )

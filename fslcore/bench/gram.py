# SPDX-License-Identifier: MIT
"""Pairwise metrics, forward alone and with the gradient, beside what one would write or install instead."""

from __future__ import annotations

from collections.abc import Iterator

from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.gram_problem import TITLES, Problem
from fslcore.bench.gram_tensors import our_entries
from fslcore.bench.peers.gram_arrays import array_entries
from fslcore.bench.peers.gram_tensors import tensorflow_entries

_SIZES = [(64, 128), (256, 128), (1024, 128), (4096, 128), (1024, 512)]


def cases(quick: bool) -> Iterator[Comparison]:
    """Every metric, forward alone and forward + backward."""
    for metric in TITLES:
        for batch, dim in [(64, 16)] if quick else _SIZES:
            problem = Problem(metric, batch, dim)
            for backward in (False, True):
                what = "forward + backward" if backward else "forward"
                yield measure(
                    f"{TITLES[metric]} {batch} x {batch}, dim {dim}, {what}",
                    entries(problem, backward),
                    work(problem, backward),
                    rounds=1 if quick else 9,
                    series=f"{TITLES[metric]}, dim {dim}, {what}",
                    batch=batch,
                )


def entries(problem: Problem, backward: bool) -> dict[str, Entry]:
    """All contenders, ours first."""
    return (
        our_entries(problem, backward)
        | tensorflow_entries(problem, backward)
        | array_entries(problem, backward)
    )


def work(problem: Problem, backward: bool) -> Work:
    """Two operations for each element of each pair, and four more for the two gradients.

    Of a product metric these are the multiply-adds of its three matrix products. The others are counted
    alike, for their rates to compare: the difference and the sum, but neither absolute value nor weight.
    """
    return Work((6 if backward else 2) * problem.batch**2 * problem.dim, "FLOP")

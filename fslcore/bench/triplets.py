# SPDX-License-Identifier: MIT
"""The triplet losses and their gradients beside the formulations in use, each up to its memory wall."""

from __future__ import annotations

from collections.abc import Iterator

from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.peers.triplets import hard_peer_entries, peer_entries
from fslcore.bench.triplet_problem import Batch, our_entries

_DIM = 128
_SIZES = (64, 256, 512, 1024, 4096, 32768)
_HARD_SIZES = (512, 4096)


def cases(quick: bool) -> Iterator[Comparison]:
    """Four samples per class as in P x K batches, and ten classes as in ordinary classification batches."""
    four_per_class = [(size, size // 4) for size in _SIZES]
    yield from _cases("semihard", [(64, 16)] if quick else [*four_per_class, (4096, 10)], quick)
    yield from _cases("hard", [(64, 16)] if quick else [(size, size // 4) for size in _HARD_SIZES], quick)


def entries(batch: Batch, mining: str = "semihard") -> dict[str, Entry]:
    """All contenders, ours first."""
    peers = hard_peer_entries if mining == "hard" else peer_entries
    return our_entries(batch, mining) | peers(batch)


def _cases(mining: str, sizes: list[tuple[int, int]], quick: bool) -> Iterator[Comparison]:
    for size, classes in sizes:
        batch = Batch(size, _DIM, classes)
        kind = "4 per class" if size == 4 * classes else f"{classes} classes"
        yield measure(
            f"triplet_{mining} {size}, dim {_DIM}, {classes} classes, loss + gradient",
            entries(batch, mining),
            work(batch),
            rounds=3 if quick else 5,
            series=f"triplet_{mining}, dim {_DIM}, {kind}, loss + gradient",
            batch=size,
        )


def work(batch: Batch) -> Work:
    """The distances, each of a pair once: the symmetric half of 2 * size^2 * dim operations.

    Not counted: the search for negatives, and the gradient, some 12 * dim operations for each triplet. With
    few samples per class that is little, with hundreds it is more than the distances.
    """
    return Work(batch.size**2 * batch.dim, "FLOP")

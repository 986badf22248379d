# SPDX-License-Identifier: MIT
"""The semi-hard triplet loss and its gradient beside the formulations in use, each up to its memory wall."""

from __future__ import annotations

from collections.abc import Iterator

from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.triplet_peers import Batch, our_entries, peer_entries

_DIM = 128
_SIZES = (64, 256, 512, 1024, 4096, 32768)


def cases(quick: bool) -> Iterator[Comparison]:
    """Four samples per class as in P x K batches, and ten classes as in ordinary classification batches."""
    sizes = [(64, 16)] if quick else [(size, size // 4) for size in _SIZES] + [(4096, 10)]
    for size, classes in sizes:
        batch = Batch(size, _DIM, classes)
        kind = "4 per class" if size == 4 * classes else f"{classes} classes"
        yield measure(
            f"triplet_semihard {size}, dim {_DIM}, {classes} classes, loss + gradient",
            entries(batch),
            work(batch),
            rounds=3 if quick else 5,
            series=f"triplet_semihard, dim {_DIM}, {kind}, loss + gradient",
            batch=size,
        )


def entries(batch: Batch) -> dict[str, Entry]:
    """All contenders, ours first."""
    return our_entries(batch) | peer_entries(batch)


def work(batch: Batch) -> Work:
    """The distances, each of a pair once: the symmetric half of 2 * size^2 * dim operations.

    Not counted: the search for negatives, and the gradient, some 12 * dim operations for each triplet. With
    few samples per class that is little, with hundreds it is more than the distances.
    """
    return Work(batch.size**2 * batch.dim, "FLOP")

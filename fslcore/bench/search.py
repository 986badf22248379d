# SPDX-License-Identifier: MIT
"""The nearest rows of one query and of many, beside the libraries and the formulations in use."""

from __future__ import annotations

from collections.abc import Iterator

from fslcore import kernels
from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.peers.search import peer_entries
from fslcore.bench.search_problem import Search

_DIM, _K = 128, 10
_SIZES = ((1, 100_000), (1000, 100_000), (1000, 1_000_000))


def cases(quick: bool) -> Iterator[Comparison]:
    """One query reads the rows once; for many the time is that of their products."""
    for queries, rows in [(1, 300), (20, 300)] if quick else _SIZES:
        search = Search(queries, rows, 16 if quick else _DIM, _K)
        yield measure(
            f"the nearest {search.k} of {rows:,} rows, {queries:,} "
            f"{'query' if queries == 1 else 'queries'}, dim {search.dim}",
            entries(search),
            Work(2 * queries * rows * search.dim, "FLOP"),
            rounds=3 if quick else 7,
        )


def entries(search: Search) -> dict[str, Entry]:
    """All contenders, ours first."""

    def nearest() -> list[object]:
        return list(kernels.nearest(search.queries, search.rows, search.k))

    return {"fslcore, NumPy": Entry(nearest)} | peer_entries(search)

# SPDX-License-Identifier: MIT
"""Metrics of whole sets of embeddings, as arrays: the tests of a trained encoder.

They stream: memory is O(n * dim) and a block, never n x n.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.arguments import (
    SEARCH_METRICS,
    ArgumentError,
    as_labels,
    as_matrix,
    check_at_least,
    check_metric,
)

# The metrics of which a mean says how far something is.
DISTANCES = tuple(metric for metric in SEARCH_METRICS if metric != "dot")

# Entries of what is held at a time: of distances, or of neighbours.
_BLOCK = 2**22
# Up to this share of all rows, their lists of neighbours are kept while the distances are made; longer ones
# are taken from all distances of a query.
_FEW = 64
# Keys that a thread sorts at a time, in its caches; and the key of NaN, which comes after that of infinity.
_KEYS = 2**17
_KEY_OF_NAN = 0xFFC00000


def retrieval(
    embeddings: npt.ArrayLike,
    labels: npt.ArrayLike,
    references: npt.ArrayLike | None = None,
    reference_labels: npt.ArrayLike | None = None,
    *,
    at: Sequence[int] = (1,),
    metric: str = "sqeuclidean",
) -> dict[str, float]:
    """How well embeddings find those of their class: recall@k, precision@k, R-precision and MAP@R.

    Each embedding is a query among all others, or among `references`. They are the metrics `RecallAtK`,
    `PrecisionAtK`, `RPrecision` and `MeanAveragePrecisionAtR` of `fslcore.metrics`, of a whole set: means
    over the queries that have anything to find. Of equally near rows the first comes first; a row at a
    distance of NaN is never right.

    Args:
        embeddings: [n, dim].
        labels: Class ids, integers [n].
        references: [m, dim]; None: the embeddings, of which none finds itself.
        reference_labels: Class ids, integers [m], with `references`.
        at: The values of k, each at least 1; the share of precision@k is that of k in a smaller set too.
        metric: One of `fslcore.kernels.SEARCH_METRICS`.

    Returns:
        By name: "recall@k" and "precision@k" for every k, "r_precision", "map@r", and "measured", the share
        of queries that have anything to find. All are 0 without such queries.

    Raises:
        ArgumentError: For an unknown metric, k below 1, or labels that do not fit.

    Example:
        >>> found = retrieval([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1])
        >>> found["recall@1"], found["map@r"]
        (1.0, 1.0)
    """
    queries, ids = _set("embeddings", embeddings, "labels", labels)
    check_metric(metric, SEARCH_METRICS)
    if isinstance(at, (str, bytes)) or not isinstance(at, Sequence):
        raise ArgumentError("at", "must be a sequence of whole numbers", at)
    for k in at:
        check_at_least("at", k, 1)
    is_within = references is None
    if is_within and reference_labels is not None:
        raise ArgumentError("reference_labels", "must be None without `references`", described="labels")
    rows, row_ids = queries, ids
    if references is not None:
        if reference_labels is None:
            raise ArgumentError("reference_labels", "must be given with `references`", None)
        rows, row_ids = _set("references", references, "reference_labels", reference_labels)
        if rows.shape[1] != queries.shape[1]:
            raise ArgumentError(
                "references",
                f"must have {queries.shape[1]} columns, as the embeddings",
                described=f"shape {list(rows.shape)}",
            )
    classes, counts = np.unique(row_ids, return_counts=True)
    place = np.minimum(np.searchsorted(classes, ids), max(len(classes) - 1, 0))
    wanted = np.zeros(len(ids), np.int64)
    if len(classes):
        wanted = np.where(classes[place] == ids, counts[place], 0) - is_within
    asked = np.flatnonzero(wanted > 0)
    totals = dict.fromkeys([*(f"{name}@{int(k)}" for name in ("recall", "precision") for k in at),
                            "r_precision", "map@r"], 0.0)  # fmt: skip
    most = len(rows) - is_within  # others
    # Queries with classes of like sizes together, largest first: a block looks as far as its largest class.
    asked = asked[np.argsort(-wanted[asked], kind="stable")]
    start = 0
    while start < len(asked):
        k = min(most, int(max(wanted[asked[start]], *at, 1)))
        if k * _FEW < len(rows):
            matches_of, held = _matches_of_few, k
        else:
            matches_of, held = _matches_of_many, len(rows)
        block = asked[start : start + max(1, _BLOCK // held)]
        matches = matches_of(queries, ids, block, rows, row_ids, k, metric, is_within)
        _add(totals, matches, wanted[block], [int(k) for k in at])
        start += len(block)
    count = max(len(asked), 1)
    measured = len(asked) / len(ids) if len(ids) else 0.0
    return {**{name: total / count for name, total in totals.items()}, "measured": measured}


def silhouette(
    embeddings: npt.ArrayLike, labels: npt.ArrayLike, metric: str = "euclidean"
) -> npt.NDArray[np.float64]:
    """The silhouette of each sample: how much nearer it is to its own class than to the next one.

    See `fslcore.metrics.Silhouette`; the mean of what is returned is the silhouette score of the set.

    Args:
        embeddings: [n, dim].
        labels: Class ids, integers [n].
        metric: "euclidean", "sqeuclidean", "cosine", "manhattan" or "chebyshev".

    Returns:
        float64 [n], from -1 to 1; 0 for a sample that is alone in its class, and all 0 for a single class.
        All NaN if any embedding is not finite.

    Raises:
        ArgumentError: For an unknown metric, or labels that do not fit.

    Example:
        >>> silhouette([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1]).mean().round(3)
        np.float64(0.798)
    """
    rows, ids = _set("embeddings", embeddings, "labels", labels)
    check_metric(metric, DISTANCES)
    order = np.argsort(ids, kind="stable")
    starts = np.flatnonzero(np.diff(ids[order], prepend=ids[order][:1] - 1 if len(ids) else []))
    sizes = np.diff(starts, append=len(ids))
    result = np.zeros(len(ids))
    if not np.isfinite(rows).all():
        return np.full(len(ids), np.nan)
    if len(starts) < 2:
        return result
    number = np.repeat(np.arange(len(starts)), sizes)
    by_class = np.ascontiguousarray(rows[order])
    at_once = max(1, _BLOCK // len(rows))
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        distances = kernels.pairwise(by_class[block], by_class, metric)
        here = np.arange(len(distances))
        distances[here, start + here] = 0.0
        sums = np.add.reduceat(distances, starts, axis=1, dtype=np.float64)
        own = number[block]
        to_own = sums[here, own] / np.maximum(sizes[own] - 1, 1)
        means = sums / sizes
        means[here, own] = np.inf
        to_next = means.min(axis=1)
        larger = np.maximum(to_own, to_next)
        ratio = np.divide(to_next - to_own, larger, out=np.zeros(len(larger)), where=larger > 0)
        result[order[block]] = np.where(sizes[own] > 1, ratio, 0.0)
    return result


def _set(
    name: str, embeddings: npt.ArrayLike, labels_name: str, labels: npt.ArrayLike
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    rows = np.ascontiguousarray(as_matrix(name, embeddings), np.float32)
    ids = as_labels(labels).astype(np.int64)
    if len(ids) != len(rows):
        raise ArgumentError(
            labels_name,
            f"must have one label for each of the {len(rows)} {name}",
            described=f"{len(ids)} labels",
        )
    return rows, ids


def _matches_of_few(
    queries: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int64],
    block: npt.NDArray[np.int64],
    rows: npt.NDArray[np.float32],
    row_ids: npt.NDArray[np.int64],
    k: int,
    metric: str,
    is_within: bool,
) -> npt.NDArray[np.bool_]:
    """Which of the k nearest rows of each query in a block are of its class, nearest first."""
    found = kernels.nearest(queries[block], rows, k + is_within, metric)
    matches = (row_ids[found.indices] == ids[block][:, None]) & ~np.isnan(found.values)
    if not is_within:
        return matches
    # What comes after the query itself moves up one place; copies of it with lower indices may come before.
    after = np.logical_or.accumulate(found.indices == block[:, None], axis=1)[:, :k]
    return np.where(after, matches[:, 1:], matches[:, :k])


def _matches_of_many(
    queries: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int64],
    block: npt.NDArray[np.int64],
    rows: npt.NDArray[np.float32],
    row_ids: npt.NDArray[np.int64],
    k: int,
    metric: str,
    is_within: bool,
) -> npt.NDArray[np.bool_]:
    """The same as `_matches_of_few`, by keys of a distance and a number of a row, which sort as integers."""
    values = kernels.pairwise(queries[block], rows, metric)
    values = (-values if metric == "dot" else values) + np.float32(0.0)  # no -0
    values[np.isnan(values)] = np.nan  # whose bits come after those of infinity
    if is_within:
        values[np.arange(len(block)), block] = np.nan
    matches = np.empty((len(block), k), np.bool_)
    same = np.arange(len(rows), dtype=np.uint64)

    def of_rows(part: slice) -> None:
        bits = values[part].view(np.uint32)
        # The bits of numbers below 0 sort in the opposite order.
        ascending = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
        keys = (ascending.astype(np.uint64) << np.uint64(32)) | same
        near = np.sort(np.partition(keys, k - 1, axis=1)[:, :k], axis=1)
        is_number = near < np.uint64(_KEY_OF_NAN << 32)
        places = (near & np.uint64(0xFFFFFFFF)).astype(np.int64)
        matches[part] = (row_ids[places] == ids[block][part, None]) & is_number

    at_once = max(1, _KEYS // len(rows))
    parts = [slice(start, start + at_once) for start in range(0, len(block), at_once)]
    with ThreadPoolExecutor(kernels.num_threads()) as threads:
        list(threads.map(of_rows, parts))
    return matches


def _add(
    totals: dict[str, float],
    matches: npt.NDArray[np.bool_],
    wanted: npt.NDArray[np.int64],
    at: Sequence[int],
) -> None:
    for k in at:
        totals[f"recall@{k}"] += float(np.count_nonzero(matches[:, :k].any(axis=1)))
        totals[f"precision@{k}"] += np.count_nonzero(matches[:, :k]) / k
    place = np.arange(1, matches.shape[1] + 1)
    near = matches & (place <= wanted[:, None])
    precision = np.cumsum(near, axis=1) / place
    totals["r_precision"] += float((np.count_nonzero(near, axis=1) / wanted).sum())
    totals["map@r"] += float(((near * precision).sum(axis=1) / wanted).sum())

# SPDX-License-Identifier: MIT
"""The metrics of embeddings by plain loops in float64."""

from __future__ import annotations

import numpy as np
import oracles
from numpy.typing import ArrayLike


def order_of_others(
    embeddings: ArrayLike,  # [n, d]
    metric: str,
    references: ArrayLike | None = None,  # [m, d]
) -> list[list[tuple[int, bool]]]:
    """For each row the others, nearest first, and whether they are at a distance at all."""
    matrix = oracles.pairwise(embeddings, embeddings if references is None else references, metric)
    orders = []
    for i, values in enumerate(matrix):
        keyed = []
        for j, value in enumerate(values):
            if references is None and j == i:
                continue
            missing = bool(np.isnan(value))
            keyed.append((missing, 0.0 if missing else float(-value if metric == "dot" else value), j))
        orders.append([(j, not missing) for missing, _, j in sorted(keyed)])
    return orders


def retrieval(
    embeddings: ArrayLike,
    labels: ArrayLike,
    at: tuple[int, ...],
    metric: str,
    references: ArrayLike | None = None,
    reference_labels: ArrayLike | None = None,
) -> dict[str, float]:
    """The metrics of `fslcore.metrics.retrieval`, means over the rows that have anything to find."""
    names = [f"{name}@{k}" for k in at for name in ("recall", "precision")]
    found: dict[str, list[float]] = {name: [] for name in [*names, "r_precision", "map@r"]}
    ids, others = np.asarray(labels), np.asarray(labels if references is None else reference_labels)
    for i, order in enumerate(order_of_others(embeddings, metric, references)):
        wanted = sum(1 for j, _ in order if others[j] == ids[i])
        if wanted == 0:
            continue
        right = [others[j] == ids[i] and is_number for j, is_number in order]
        for k in at:
            found[f"recall@{k}"].append(float(any(right[:k])))
            found[f"precision@{k}"].append(sum(right[:k]) / k)
        found["r_precision"].append(sum(right[:wanted]) / wanted)
        total = 0.0
        for place in range(wanted):
            if right[place]:
                total += sum(right[: place + 1]) / (place + 1)
        found["map@r"].append(total / wanted)
    measured = len(found["map@r"])
    means = {name: sum(values) / measured if measured else 0.0 for name, values in found.items()}
    return {**means, "measured": measured / len(ids) if len(ids) else 0.0}


def silhouettes(embeddings: ArrayLike, labels: ArrayLike, metric: str) -> list[float]:
    """The silhouette of each row."""
    x, ids = np.asarray(embeddings, np.float64), np.asarray(labels)
    if not np.isfinite(x).all():
        return [np.nan] * len(ids)
    matrix = oracles.pairwise(x, x, metric)
    values = []
    for i in range(len(ids)):
        means = {}
        for label in set(ids.tolist()):
            others = [j for j in range(len(ids)) if ids[j] == label and j != i]
            if others:
                means[label] = sum(float(matrix[i, j]) for j in others) / len(others)
        own = means.pop(ids[i], None)
        if own is None or not means:
            values.append(0.0)
            continue
        nearest = min(means.values())
        larger = max(own, nearest)
        values.append((nearest - own) / larger if larger > 0 else 0.0)
    return values


def collapse(embeddings: ArrayLike) -> float:
    """|mean x|^2 / mean |x|^2."""
    x = np.asarray(embeddings, np.float64)
    square = sum(float(row @ row) for row in x) / len(x)
    mean = sum(row for row in x) / len(x)
    return float(mean @ mean) / square if square else 1.0


def effective_dimensions(embeddings: ArrayLike) -> float:
    """The participation ratio of the eigenvalues of the covariance."""
    x = np.asarray(embeddings, np.float64)
    spectrum = np.linalg.eigvalsh(np.cov(x, rowvar=False, bias=True).reshape(x.shape[1], x.shape[1]))
    return float(spectrum.sum() ** 2 / (spectrum**2).sum()) if spectrum.sum() > 1e-12 else 0.0

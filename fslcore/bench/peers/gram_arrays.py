# SPDX-License-Identifier: MIT
"""Pairwise metrics in NumPy, SciPy, scikit-learn, Faiss and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.bench.comparison import Entry
from fslcore.bench.gram_problem import Problem
from fslcore.bench.peers.libraries import installed

Array = npt.NDArray[Any]


def array_entries(problem: Problem, backward: bool) -> dict[str, Entry]:
    """Those that are installed; forward + backward is for PyTorch alone, which can differentiate."""
    entries = {} if backward else _numpy_entries(problem)
    if installed("scipy") and not backward:
        entries |= _scipy_entries(problem)
    if installed("sklearn") and not backward:
        entries |= _sklearn_entries(problem)
    if installed("faiss") and not backward:
        entries |= _faiss_entries(problem)
    if installed("torch"):
        entries |= _torch_entries(problem, backward)
    return entries


def _numpy_entries(problem: Problem) -> dict[str, Entry]:
    x, y, weights = problem.x, problem.y, problem.weights

    def squared() -> Array:
        norms = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1)
        return np.maximum(norms - 2 * (x @ y.T), 0)

    def unit(rows: Array) -> Array:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def differences() -> Array:
        return np.abs(x[:, None] - y)

    calls: dict[str, Callable[[], Array]] = {
        "sqeuclidean": squared,
        "euclidean": lambda: np.sqrt(squared()),
        "cosine": lambda: 1 - unit(x) @ unit(y).T,
        "dot": lambda: x @ y.T,
        "manhattan": lambda: differences().sum(axis=2),
        "weighted_manhattan": lambda: 1 / (1 + np.exp(-(differences() @ weights))),
    }
    call = calls[problem.metric]
    if "manhattan" in problem.metric:
        return {"NumPy broadcast": Entry(lambda: [call()], problem.pair_bytes(2))}
    return {"NumPy matmul": Entry(lambda: [call()])}


def _scipy_entries(problem: Problem) -> dict[str, Entry]:
    """SciPy computes in float64. It has no dot, and takes no weights below 0."""
    from scipy.spatial.distance import cdist

    names = {"sqeuclidean": "sqeuclidean", "euclidean": "euclidean", "cosine": "cosine"}
    names["manhattan"] = "cityblock"
    if problem.metric not in names:
        return {}
    return {"SciPy cdist": Entry(lambda: [cdist(problem.x, problem.y, names[problem.metric])])}


def _sklearn_entries(problem: Problem) -> dict[str, Entry]:
    from sklearn.metrics import pairwise

    functions = {
        "sqeuclidean": lambda x, y: pairwise.euclidean_distances(x, y, squared=True),
        "euclidean": pairwise.euclidean_distances,
        "cosine": pairwise.cosine_distances,
        "dot": pairwise.linear_kernel,
        "manhattan": pairwise.manhattan_distances,
    }
    if problem.metric not in functions:
        return {}
    return {"scikit-learn": Entry(lambda: [functions[problem.metric](problem.x, problem.y)])}


def _faiss_entries(problem: Problem) -> dict[str, Entry]:
    import faiss

    metrics = {
        "sqeuclidean": faiss.METRIC_L2,
        "dot": faiss.METRIC_INNER_PRODUCT,
        "manhattan": faiss.METRIC_L1,
    }
    if problem.metric not in metrics:
        return {}
    return {
        "Faiss": Entry(
            lambda: [faiss.pairwise_distances(problem.x, problem.y, metric=metrics[problem.metric])]
        )
    }


def _torch_entries(problem: Problem, backward: bool) -> dict[str, Entry]:
    import torch
    from torch.nn.functional import normalize

    def squared(x: Any, y: Any, _: Any) -> Any:
        norms = (x * x).sum(1)[:, None] + (y * y).sum(1)
        return (norms - 2 * (x @ y.T)).clamp_min(0)

    products = {
        "sqeuclidean": squared,
        "euclidean": lambda x, y, weights: squared(x, y, weights).sqrt(),
        "cosine": lambda x, y, _: 1 - normalize(x) @ normalize(y).T,
        "dot": lambda x, y, _: x @ y.T,
    }
    norms = {"euclidean": 2.0, "manhattan": 1.0}
    entries = {}
    if problem.metric in products:
        call = _torch_call(products[problem.metric], problem, backward)
        entries["PyTorch matmul"] = Entry(call)
    if problem.metric in norms:
        call = _torch_call(lambda x, y, _: torch.cdist(x, y, norms[problem.metric]), problem, backward)
        entries["PyTorch cdist"] = Entry(call)
    if problem.has_weights:
        call = _torch_call(
            lambda x, y, weights: torch.sigmoid((x[:, None] - y).abs() @ weights), problem, backward
        )
        entries["PyTorch broadcast"] = Entry(call, problem.pair_bytes(4 if backward else 2))
    return entries


def _torch_call(kernel: Callable[..., Any], problem: Problem, backward: bool) -> Callable[[], list[Any]]:
    import torch

    x, y, weights = (torch.tensor(array) for array in (problem.x, problem.y, problem.weights))

    def forward() -> list[Any]:
        with torch.inference_mode():
            return [kernel(x, y, weights).numpy()]

    if not backward:
        return forward
    upstream = torch.tensor(problem.upstream)
    sources = [x, y, weights] if problem.has_weights else [x, y]
    for source in sources:
        source.requires_grad_()

    def both() -> list[Any]:
        out = kernel(x, y, weights)
        gradients = torch.autograd.grad(out, sources, upstream)
        return [tensor.detach().numpy() for tensor in (out, *gradients)]

    return both

# SPDX-License-Identifier: MIT
"""The compiled kernels on NumPy arrays. This module does not import TensorFlow.

Arrays are converted to what the kernels take (float32 or an integer type, C-contiguous); results are new
arrays. The work is shared by `num_threads()` threads with the GIL released, and does not depend on their
number, bit for bit.
"""

from __future__ import annotations

import operator
import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore import _core

__all__ = [
    "METRICS",
    "TRIPLET_METRICS",
    "TripletResult",
    "gather_images",
    "mine_semihard",
    "num_threads",
    "pairwise",
    "pairwise_grad",
    "sample_episodes",
    "set_num_threads",
    "simd_level",
    "triplet_semihard",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

METRICS: tuple[str, ...] = _core.metrics
TRIPLET_METRICS = ("sqeuclidean", "euclidean", "cosine")
ACTIVATIONS = (None, "sigmoid")


class TripletResult(NamedTuple):
    """What `triplet_semihard` returns.

    Attributes:
        loss: Mean over the pairs, a scalar.
        grad: float32 [batch, dim], the gradient of the loss with respect to the embeddings.
        num_pairs: The number of (anchor, positive) pairs that have a negative.
    """

    loss: Any
    grad: Any
    num_pairs: Any


def simd_level() -> str:
    """The instruction set in use: "avx512", "avx2" or "portable".

    The environment variable FSLCORE_SIMD, read once per process, asks for a lower one than the CPU has.
    """
    return str(_core.simd_level())


def num_threads() -> int:
    """The number of threads that the functions of this module use."""
    return int(_core.num_threads())


def set_num_threads(threads: int) -> None:
    """Sets `num_threads()`; it starts as FSLCORE_NUM_THREADS, or else the number of usable CPUs.

    Raises:
        ValueError: If `threads` is less than 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, received {threads}")
    _core.set_num_threads(threads)


def pairwise(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    metric: str = "sqeuclidean",
    *,
    weights: npt.ArrayLike | None = None,
    bias: float = 0.0,
    activation: str | None = None,
) -> FloatArray:
    """The metric of every row of `x` with every row of `y`.

    | metric | out[i, j] |
    |---|---|
    | `sqeuclidean` | sum_d (x_id - y_jd)^2 |
    | `euclidean` | its square root |
    | `cosine` | 1 - <x_i, y_j> / (norm(x_i) norm(y_j)); 1 where a row is zero |
    | `dot` | <x_i, y_j>, a similarity |
    | `manhattan` | sum_d abs(x_id - y_jd) |
    | `weighted_manhattan` | act(sum_d w_d abs(x_id - y_jd) + bias); with a sigmoid, Koch et al. (2015) |

    Equal rows are at distance exactly 0, and near ones keep their digits. A NaN makes its row or column NaN.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`.
        metric: One of `METRICS`.
        weights: [dim], for `weighted_manhattan` only.
        bias: For `weighted_manhattan` only.
        activation: None or "sigmoid", for `weighted_manhattan` only.

    Returns:
        float32 [n, m].

    Raises:
        ValueError: For an unknown metric, shapes that do not match, or arguments that do not go with it.
    """
    x = as_matrix("x", x)
    y = x if y is None else as_matrix("y", y)
    check_pairwise(metric, weights is not None, as_float("bias", bias) != 0.0, activation)
    return _core.pairwise(x, y, metric, _weights(weights), bias, activation or "none")


def pairwise_grad(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None,
    grad: npt.ArrayLike,
    metric: str = "sqeuclidean",
    *,
    weights: npt.ArrayLike | None = None,
    bias: float = 0.0,
    activation: str | None = None,
) -> tuple[Any, ...]:
    """The gradient of a scalar loss through `pairwise`.

    The gradient at distance 0 is 0, and so is that of a zero row under `cosine`.

    Args:
        x: [n, dim].
        y: [m, dim]; None means `x`, and the gradients of the two roles are returned apart.
        grad: [n, m], the gradient of the loss with respect to `pairwise(x, y)`.
        metric: One of `METRICS`.
        weights: As for `pairwise`.
        bias: As for `pairwise`.
        activation: As for `pairwise`.

    Returns:
        `(dx [n, dim], dy [m, dim])`, for `weighted_manhattan` also `dweights [dim]` and `dbias`.

    Raises:
        ValueError: As for `pairwise`.
    """
    x = as_matrix("x", x)
    y = x if y is None else as_matrix("y", y)
    check_pairwise(metric, weights is not None, as_float("bias", bias) != 0.0, activation)
    return _core.pairwise_grad(
        x, y, as_matrix("grad", grad), metric, _weights(weights), bias, activation or "none"
    )


def mine_semihard(
    x: npt.ArrayLike, labels: npt.ArrayLike, metric: str = "sqeuclidean"
) -> tuple[IntArray, IntArray, IntArray]:
    """Semi-hard triplets of a batch (Schroff et al., "FaceNet", 2015, in the form of TensorFlow Addons).

    For every ordered pair (anchor, positive) of one class, the negative is the nearest sample of another
    class that is strictly farther from the anchor than the positive, or else the farthest one; of equal
    distances, the lowest index.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [pairs] each, by anchor, then by positive. Empty if no two
        samples share a class, or all do.

    Raises:
        ValueError: For an unknown metric or labels that do not match `x`.
    """
    check_metric(metric, TRIPLET_METRICS)
    return _core.mine_semihard(as_matrix("x", x), _labels(labels), metric)


def triplet_semihard(
    x: npt.ArrayLike, labels: npt.ArrayLike, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on semi-hard triplets, and its gradient, in one pass.

    loss = mean over the pairs of max(D[anchor, positive] - D[anchor, negative] + margin, 0), with the
    triplets of `mine_semihard`. Memory is O(batch * dim + pairs): the distance matrix is never held.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin.
        metric: One of `TRIPLET_METRICS`.

    Returns:
        A `TripletResult`; without pairs the loss and the gradient are 0. A NaN in a row makes the loss NaN,
        and the gradient of the rows it forms triplets with.

    Raises:
        ValueError: For an unknown metric or labels that do not match `x`.
    """
    check_metric(metric, TRIPLET_METRICS)
    return TripletResult(
        *_core.triplet_semihard(as_matrix("x", x), _labels(labels), as_float("margin", margin), metric)
    )


def sample_episodes(
    labels: npt.ArrayLike,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: int,
    first_episode: int = 0,
) -> IntArray:
    """N-way K-shot episodes, a pure function of (labels, seed, episode number).

    Each episode has `n_way` distinct classes and `k_shot + n_query` distinct samples of each, all drawn
    uniformly with Philox4x32-10 (Salmon et al., 2011): any episode can be drawn alone.

    Args:
        labels: Integers [N], one per image.
        n_way: Classes per episode.
        k_shot: Support samples per class, the first of the last axis.
        n_query: Query samples per class, the others; may be 0.
        episodes: How many episodes.
        seed: At least 0, below 2^63.
        first_episode: The number of the first episode.

    Returns:
        int32 [episodes, n_way, k_shot + n_query], positions in `labels`.

    Raises:
        ValueError: If there are fewer than `n_way` classes, or a class has fewer than `k_shot + n_query`.
    """
    return _core.sample_episodes(
        _labels(labels),
        *check_episode_counts(n_way, k_shot, n_query, episodes),
        as_int64("seed", seed),
        as_int64("first_episode", first_episode),
    )


def gather_images(
    store: npt.ArrayLike,
    indices: npt.ArrayLike,
    rotations: npt.ArrayLike | None = None,
    scale: float = 1 / 255,
    shift: float = 0.0,
) -> FloatArray:
    """Picks, turns and scales images in one pass: `float32(image) * scale + shift`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        rotations: Counter-clockwise quarter turns 0..3 as in `numpy.rot90`, for the leading axes of
            `indices`: [episodes, n_way] turns all samples of a class alike. None for no turns.
        scale: Multiplied first.
        shift: Added then.

    Returns:
        float32 [*indices.shape, height, width, channels].

    Raises:
        ValueError: For an index out of range, an odd turn of images that are not square, or shapes that do
            not match.
    """
    store = np.asarray(store)
    check_store(store.shape, store.dtype.name)
    indices = as_integers("indices", indices)
    rotations = as_integers("rotations", () if rotations is None else rotations)
    return _core.gather_images(store, indices, rotations, as_float("scale", scale), as_float("shift", shift))


def check_metric(metric: str, known: tuple[str, ...]) -> None:
    """Raises ValueError for a metric that is not among `known`."""
    if metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, received {metric!r}")


def check_pairwise(metric: str, weights_given: bool, bias_given: bool, activation: str | None) -> None:
    """Raises ValueError for arguments of `pairwise` that do not go together."""
    check_metric(metric, METRICS)
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be None or 'sigmoid', received {activation!r}")
    weighted = metric == "weighted_manhattan"
    if weighted and not weights_given:
        raise ValueError("weights must be given for weighted_manhattan, received None")
    if not weighted and (weights_given or bias_given or activation is not None):
        raise ValueError(
            f"weights, bias and activation belong to the metric weighted_manhattan, received metric: {metric}"
        )


def check_store(shape: tuple[int | None, ...], dtype: str) -> None:
    """Raises ValueError unless shape and type are those of a store of images."""
    if len(shape) != 4 or dtype != "uint8":
        raise ValueError(f"store must be uint8 [N, height, width, channels], received {dtype} {list(shape)}")


def check_episode_counts(n_way: Any, k_shot: Any, n_query: Any, episodes: Any) -> tuple[int, int, int, int]:
    """The four counts as integers, or a ValueError that names one. The labels are the core's to check."""
    counts = []
    for name, value, least in (
        ("n_way", n_way, 1),
        ("k_shot", k_shot, 1),
        ("n_query", n_query, 0),
        ("episodes", episodes, 0),
    ):
        counts.append(as_int64(name, value))
        if counts[-1] < least:
            raise ValueError(f"{name} must be at least {least}, received {counts[-1]}")
    return counts[0], counts[1], counts[2], counts[3]


def as_matrix(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """The argument as a float array of two axes, or a ValueError that names it."""
    array = np.asarray(value)
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 axes, received shape {list(array.shape)}")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, received {array.dtype}")
    return array


def as_integers(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """The argument as an integer array, or a ValueError that names it; an empty list counts as integers."""
    array = np.asarray(value)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise ValueError(f"{name} must hold integers, received {array.dtype}")
    return array


def as_float(name: str, value: Any) -> float:
    """The argument as a Python float, or a ValueError that names it."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, received {value!r}") from None


def as_int64(name: str, value: Any) -> int:
    """The argument as a Python integer of 64 bits, or a ValueError that names it."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, received {value!r}") from None
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} must be below 2^63, received {number}")
    return number


def _labels(labels: npt.ArrayLike) -> npt.NDArray[Any]:
    array = as_integers("labels", labels)
    if array.ndim != 1:
        raise ValueError(f"labels must have 1 axis, received shape {list(array.shape)}")
    return array


def _weights(weights: npt.ArrayLike | None) -> npt.NDArray[Any]:
    array = np.asarray(() if weights is None else weights, np.float32)
    if array.ndim != 1:
        raise ValueError(f"weights must have 1 axis, received shape {list(array.shape)}")
    return array


def _default_threads() -> int:
    asked = os.environ.get("FSLCORE_NUM_THREADS", "")
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"FSLCORE_NUM_THREADS must be a whole number of at least 1, received {asked!r}")
    return int(asked)


set_num_threads(_default_threads())

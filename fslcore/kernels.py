# SPDX-License-Identifier: MIT
"""The compiled kernels on NumPy arrays. This module does not import TensorFlow.

Arrays are converted to what the kernels take (float32 or an integer type, C-contiguous); results are new
arrays. The work is shared by `num_threads()` threads with the GIL released, and does not depend on their
number, bit for bit.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore import _core
from fslcore.arguments import (
    METRICS,
    TRIPLET_METRICS,
    as_float,
    as_int64,
    as_integers,
    as_labels,
    as_matrix,
    as_size,
    as_weights,
    check_episode_counts,
    check_metric,
    check_pairwise,
    check_store,
)

__all__ = [
    "METRICS",
    "TRIPLET_METRICS",
    "Classes",
    "TripletResult",
    "gather_images",
    "group_labels",
    "mine_hard",
    "mine_semihard",
    "num_threads",
    "pairwise",
    "pairwise_grad",
    "sample_episodes",
    "set_num_threads",
    "simd_level",
    "triplet_hard",
    "triplet_semihard",
]

Classes = _core.Classes  # what group_labels returns; `count` is their number
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


class TripletResult(NamedTuple):
    """What `triplet_semihard` and `triplet_hard` return.

    Attributes:
        loss: Mean over the pairs, a scalar.
        grad: float32 [batch, dim], the gradient of the loss with respect to the embeddings.
        num_pairs: The number of (anchor, positive) pairs that have a negative; of `triplet_hard`, one pair
            for each anchor.
    """

    loss: Any
    grad: Any
    num_pairs: Any


def simd_level() -> str:
    """The instruction set in use: "avx512bf16", "avx512", "avx2" or "portable".

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
    return _core.pairwise(x, y, metric, as_weights(weights), bias, activation or "none")


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
        x, y, as_matrix("grad", grad), metric, as_weights(weights), bias, activation or "none"
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
    return _mine("semihard", x, labels, metric)


def mine_hard(
    x: npt.ArrayLike, labels: npt.ArrayLike, metric: str = "sqeuclidean"
) -> tuple[IntArray, IntArray, IntArray]:
    """The hardest triplets of a batch (Hermans et al., "In Defense of the Triplet Loss", 2017, eq. 5).

    For every anchor that has a positive and a negative, its farthest positive and its nearest negative; of
    equal distances, the lowest index.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        metric: One of `TRIPLET_METRICS`.

    Returns:
        `(anchor, positive, negative)`, int32 [anchors] each, by anchor. Empty if no two samples share a
        class, or all do.

    Raises:
        ValueError: For an unknown metric or labels that do not match `x`.
    """
    return _mine("hard", x, labels, metric)


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
    return _triplet_loss("semihard", x, labels, margin, metric)


def triplet_hard(
    x: npt.ArrayLike, labels: npt.ArrayLike, margin: float = 1.0, metric: str = "sqeuclidean"
) -> TripletResult:
    """The triplet loss on the hardest triplets, and its gradient, in one pass.

    loss = mean over the anchors of max(D[anchor, positive] - D[anchor, negative] + margin, 0), with the
    triplets of `mine_hard`. Memory is O(batch * dim): the distance matrix is never held.

    Args:
        x: [batch, dim] embeddings.
        labels: Integers [batch].
        margin: The margin.
        metric: One of `TRIPLET_METRICS`.

    Returns:
        A `TripletResult`, as of `triplet_semihard`.

    Raises:
        ValueError: For an unknown metric or labels that do not match `x`.
    """
    return _triplet_loss("hard", x, labels, margin, metric)


def group_labels(labels: npt.ArrayLike) -> Classes:
    """Groups labels by class, for `sample_episodes` to take in place of the labels.

    Of a store with many images this takes as long as drawing a hundred episodes: worth doing once.

    Args:
        labels: Integers [N], one per image.

    Returns:
        The classes, the distinct labels in increasing order; `count` is their number. Later changes of
        `labels` do not change them.
    """
    return _core.Classes(as_labels(labels))


def sample_episodes(
    labels: npt.ArrayLike | Classes,
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
        labels: Integers [N], one per image, or what `group_labels` made of them.
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
        labels if isinstance(labels, Classes) else group_labels(labels),
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
    size: tuple[int, int] | None = None,
) -> FloatArray:
    """Picks, turns, resizes and scales images in one pass: `float32(image) * scale + shift`.

    Args:
        store: uint8 [N, height, width, channels].
        indices: Integers of any shape.
        rotations: Counter-clockwise quarter turns 0..3 as in `numpy.rot90`, for the leading axes of
            `indices`: [episodes, n_way] turns all samples of a class alike. None for no turns.
        scale: Multiplied first.
        shift: Added then.
        size: (height, width) that the images are brought to after their turns and before `scale`, by bilinear
            interpolation between the centres of pixels; without antialiasing, in the arithmetic of
            `tf.image.resize`. None leaves their size.

    Returns:
        float32 [*indices.shape, height, width, channels], height and width those of `size` if it is given.

    Raises:
        ValueError: For an index out of range, an odd turn of images that are not square, or shapes that do
            not match.
    """
    store = np.asarray(store)
    check_store(store.shape, store.dtype.name)
    indices = as_integers("indices", indices)
    rotations = as_integers("rotations", () if rotations is None else rotations)
    return _core.gather_images(
        store, indices, rotations, *as_size(size), as_float("scale", scale), as_float("shift", shift)
    )


def _mine(
    mining: str, x: npt.ArrayLike, labels: npt.ArrayLike, metric: str
) -> tuple[IntArray, IntArray, IntArray]:
    check_metric(metric, TRIPLET_METRICS)
    return _core.mine_triplets(as_matrix("x", x), as_labels(labels), mining, metric)


def _triplet_loss(
    mining: str, x: npt.ArrayLike, labels: npt.ArrayLike, margin: float, metric: str
) -> TripletResult:
    check_metric(metric, TRIPLET_METRICS)
    x, labels, margin = as_matrix("x", x), as_labels(labels), as_float("margin", margin)
    return TripletResult(*_core.triplet_loss(x, labels, mining, margin, metric))


def _default_threads() -> int:
    asked = os.environ.get("FSLCORE_NUM_THREADS", "")
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"FSLCORE_NUM_THREADS must be a whole number of at least 1, received {asked!r}")
    return int(asked)


set_num_threads(_default_threads())

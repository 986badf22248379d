# SPDX-License-Identifier: MIT
"""The truth the kernels are tested against: plain NumPy loops in float64.

Imports nothing of fslcore and copies none of its structure. Shapes: x [n, d], y [m, d], labels [B].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


# Pairwise kernels -----------------------------------------------------------------------------------


def pairwise(
    x: ArrayLike,  # [n, d]
    y: ArrayLike | None = None,  # [m, d]; None: x
    metric: str = "sqeuclidean",
    *,
    weights: ArrayLike | None = None,  # [d]
    bias: float = 0.0,
    activation: str | None = None,
) -> Array:  # [n, m]
    """One row of x against every row of y at a time."""
    x = np.asarray(x, np.float64)
    y = x if y is None else np.asarray(y, np.float64)
    matrix = np.empty((len(x), len(y)))
    for i, row in enumerate(x):
        difference = row - y
        if metric == "sqeuclidean":
            matrix[i] = np.sum(difference**2, axis=1)
        elif metric == "euclidean":
            matrix[i] = np.sqrt(np.sum(difference**2, axis=1))
        elif metric == "cosine":
            matrix[i] = 1.0 - cosine_similarity(row, y)
        elif metric == "dot":
            matrix[i] = np.sum(row * y, axis=1)
        elif metric == "manhattan":
            matrix[i] = np.sum(np.abs(difference), axis=1)
        elif metric == "chebyshev":
            matrix[i] = np.max(np.abs(difference), axis=1, initial=0.0)
        elif metric == "weighted_manhattan":
            score = np.sum(np.asarray(weights, np.float64) * np.abs(difference), axis=1) + bias
            matrix[i] = sigmoid(score) if activation == "sigmoid" else score
        else:
            raise ValueError(metric)
    return matrix


def cosine_similarity(row: Array, y: Array) -> Array:
    """cos of row [d] with every row of y [m, d]; 0 where either of the two is a zero row."""
    norms = np.sqrt(np.sum(row**2)) * np.sqrt(np.sum(y**2, axis=1))
    dots = np.sum(row * y, axis=1)
    return np.array([dot / norm if norm != 0 else 0.0 for dot, norm in zip(dots, norms, strict=True)])


def sigmoid(score: ArrayLike) -> Array:
    """1 / (1 + exp(-score)), written so that exp never overflows."""
    score = np.asarray(score, np.float64)
    small = np.exp(-np.abs(score))
    return np.where(score >= 0, 1.0, small) / (1.0 + small)


class PairwiseGradient(NamedTuple):
    """What pairwise_grad returns; the last two are zero but for weighted_manhattan."""

    x: Array  # [n, d]
    y: Array  # [m, d]
    weights: Array  # [d]
    bias: float


def pairwise_grad(
    x: ArrayLike,  # [n, d]
    y: ArrayLike | None,  # [m, d]; None: x
    grad: ArrayLike,  # [n, m]
    metric: str = "sqeuclidean",
    *,
    weights: ArrayLike | None = None,  # [d]
    bias: float = 0.0,
    activation: str | None = None,
) -> PairwiseGradient:
    """Chain rule, pair by pair: d(sum grad * pairwise(x, y)) by x, y, weights and bias."""
    x = np.asarray(x, np.float64)
    y = x if y is None else np.asarray(y, np.float64)
    grad = np.asarray(grad, np.float64)
    dx, dy, dweights, dbias = np.zeros_like(x), np.zeros_like(y), np.zeros(x.shape[1]), 0.0
    for i, j in np.ndindex(len(x), len(y)):
        g = grad[i, j]
        if metric == "weighted_manhattan":
            w = np.asarray(weights, np.float64)
            distance = np.abs(x[i] - y[j])
            if activation == "sigmoid":
                s = float(sigmoid(np.sum(w * distance) + bias))
                g = g * s * (1.0 - s)
            by_x, by_y = w * np.sign(x[i] - y[j]), -w * np.sign(x[i] - y[j])
            dweights += g * distance
            dbias += g
        else:
            by_x, by_y = pair_gradient(x[i], y[j], metric)
        dx[i] += g * by_x
        dy[j] += g * by_y
    return PairwiseGradient(dx, dy, dweights, dbias)


def pair_gradient(a: Array, b: Array, metric: str) -> tuple[Array, Array]:
    """Gradient of metric(a, b) by a and by b; 0 where the metric has a kink (equal or zero rows)."""
    if metric == "sqeuclidean":
        return 2.0 * (a - b), 2.0 * (b - a)
    if metric == "euclidean":
        distance = np.sqrt(np.sum((a - b) ** 2))
        return ((a - b) / distance, (b - a) / distance) if distance != 0 else (0 * a, 0 * b)
    if metric == "cosine":
        norm_a, norm_b = np.sqrt(np.sum(a**2)), np.sqrt(np.sum(b**2))
        if norm_a == 0 or norm_b == 0:
            return 0 * a, 0 * b
        cos = np.sum(a * b) / (norm_a * norm_b)
        return (
            (cos * a / norm_a - b / norm_b) / norm_a,
            (cos * b / norm_b - a / norm_a) / norm_b,
        )
    if metric == "dot":
        return b, a
    if metric == "manhattan":
        return np.sign(a - b), np.sign(b - a)
    if metric == "chebyshev":  # by the first of the coordinates that differ most
        by_a = np.zeros_like(a)
        for first in np.flatnonzero(np.abs(a - b) == np.max(np.abs(a - b), initial=0.0))[:1]:
            by_a[first] = np.sign(a - b)[first]
        return by_a, -by_a
    raise ValueError(metric)


# Triplets -------------------------------------------------------------------------------------------


class Triplets(NamedTuple):
    """Row numbers, each int [P]."""

    anchor: NDArray[np.int64]
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]


def positive_pairs(labels: ArrayLike) -> list[tuple[int, int]]:
    """Ordered pairs (a, p) of one class, a != p, for which another class exists at all."""
    labels = np.asarray(labels).tolist()
    if len(set(labels)) < 2:
        return []
    return [
        (a, p) for a in range(len(labels)) for p in range(len(labels)) if a != p and labels[a] == labels[p]
    ]


def mine_triplets(
    x: ArrayLike,  # [B, d]
    labels: ArrayLike,  # [B]
    mining: str = "semihard",
    metric: str = "sqeuclidean",
) -> Triplets:
    """The triplets that the rule chooses; the lowest index on ties, NaN after all else."""
    return mine_triplets_of_distances(pairwise(x, metric=metric), labels, mining)


def mine_triplets_of_distances(distance: Array, labels: ArrayLike, mining: str) -> Triplets:
    """The same in a matrix of distances, [B, B]."""
    labels = np.asarray(labels)
    rows = []
    for a, pairs in itertools.groupby(positive_pairs(labels), key=lambda pair: pair[0]):
        positives, negatives = np.array([p for _, p in pairs]), np.flatnonzero(labels != labels[a])
        rows += [(a, p, n) for p, n in CHOOSE[mining](distance[a], positives, negatives)]
    return Triplets(*np.array(rows, np.int64).reshape(-1, 3).T)


Rows = NDArray[np.int64]


def farthest(distance: Array, among: Rows) -> int:
    """The first of the farthest; NaN only if all are."""
    of = dict(zip(among.tolist(), distance[among].tolist(), strict=True))
    return max(of, key=lambda row: (not math.isnan(of[row]), of[row]))


def nearest(distance: Array, among: Rows) -> int:
    """The first of the nearest; NaN only if all are."""
    of = dict(zip(among.tolist(), distance[among].tolist(), strict=True))
    return min(of, key=lambda row: (math.isnan(of[row]), of[row]))


def choose_semihard(distance: Array, positives: Rows, negatives: Rows) -> list[tuple[int, int]]:
    """Per positive the nearest negative strictly beyond it, else the farthest; nothing is beyond NaN."""
    rows, to_negatives, last = [], distance[negatives], farthest(distance, negatives)
    for p in positives:
        beyond = to_negatives > distance[p]
        n = negatives[beyond][np.argmin(to_negatives[beyond])] if beyond.any() else last
        rows.append((p, n))
    return rows


def choose_hard(distance: Array, positives: Rows, negatives: Rows) -> list[tuple[int, int]]:
    """The farthest positive and the nearest negative."""
    return [(farthest(distance, positives), nearest(distance, negatives))]


def choose_easy_positive(distance: Array, positives: Rows, negatives: Rows) -> list[tuple[int, int]]:
    """The nearest positive and the nearest negative."""
    return [(nearest(distance, positives), nearest(distance, negatives))]


# From the distances of one anchor: its pairs (positive, negative).
CHOOSE = {"semihard": choose_semihard, "hard": choose_hard, "easy_positive": choose_easy_positive}


class TripletLoss(NamedTuple):
    """What triplet_loss returns."""

    loss: float
    grad: Array  # [B, d]
    num_pairs: int


def triplet_loss(
    x: ArrayLike,  # [B, d]
    labels: ArrayLike,  # [B]
    mining: str = "semihard",
    margin: float = 1.0,
    metric: str = "sqeuclidean",
) -> TripletLoss:
    """Mean hinge over all triplets and its gradient, term by term."""
    return mean_hinge(x, mine_triplets(x, labels, mining, metric), margin, metric)


def mean_hinge(x: ArrayLike, triplets: Triplets, margin: float, metric: str) -> TripletLoss:
    """The mean of max(D[a, p] - D[a, n] + margin, 0), and its gradient; 0 of no triplets."""
    x = np.asarray(x, np.float64)
    distance = pairwise(x, metric=metric)
    count = len(triplets.anchor)
    loss, grad = 0.0, np.zeros_like(x)
    for a, p, n in zip(*triplets, strict=True):
        term = distance[a, p] - distance[a, n] + margin
        if term > 0:
            loss += term / count
            positive_by_a, positive_by_p = pair_gradient(x[a], x[p], metric)
            negative_by_a, negative_by_n = pair_gradient(x[a], x[n], metric)
            grad[a] += (positive_by_a - negative_by_a) / count
            grad[p] += positive_by_p / count
            grad[n] -= negative_by_n / count
    return TripletLoss(loss, grad, count)


def soft_triplet_loss(
    x: ArrayLike,  # [B, d]
    labels: ArrayLike,  # [B]
    metric: str = "sqeuclidean",
) -> TripletLoss:
    """Mean of log(1 + exp(farthest positive - nearest negative)) and its gradient, anchor by anchor."""
    x = np.asarray(x, np.float64)
    distance, triplets = pairwise(x, metric=metric), mine_triplets(x, labels, "hard", metric)
    count = len(triplets.anchor)
    loss, grad = 0.0, np.zeros_like(x)
    for a, p, n in zip(*triplets, strict=True):
        violation = distance[a, p] - distance[a, n]
        loss += float(np.logaddexp(0.0, violation)) / count
        slope = float(sigmoid(violation)) / count
        by_a, by_p = pair_gradient(x[a], x[p], metric)
        without_a, without_n = pair_gradient(x[a], x[n], metric)
        grad[a] += slope * (by_a - without_a)
        grad[p] += slope * by_p
        grad[n] -= slope * without_n
    return TripletLoss(loss, grad, count)


# Episodes -------------------------------------------------------------------------------------------


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Ten rounds of Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0,
            product1 & 0xFFFFFFFF,
            (product0 >> 32) ^ c3 ^ k1,
            product0 & 0xFFFFFFFF,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def random_words(seed: int, episode: int, stream: int) -> Iterator[int]:
    """Endless uint32 words of one stream of one episode."""
    key = (seed & 0xFFFFFFFF, seed >> 32)
    block = 0
    while True:
        yield from philox4x32((block, stream, episode & 0xFFFFFFFF, episode >> 32), key)
        block += 1


def below(n: int, words: Iterator[int]) -> int:
    """Uniform integer in [0, n), without bias (Lemire, ACM TOMACS 2019)."""
    product = next(words) * n
    if product & 0xFFFFFFFF < n:
        threshold = (2**32 - n) % n
        while product & 0xFFFFFFFF < threshold:
            product = next(words) * n
    return product >> 32


def draw(count: int, size: int, words: Iterator[int]) -> list[int]:
    """Draw `count` of 0..size-1 without replacement: the head of a Fisher-Yates shuffle."""
    items = list(range(size))
    for i in range(count):
        j = i + below(size - i, words)
        items[i], items[j] = items[j], items[i]
    return items[:count]


def sample_episodes(
    labels: ArrayLike,  # [N]
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: int,
    first_episode: int = 0,
) -> NDArray[np.int64]:  # [episodes, n_way, k_shot + n_query]
    """Stream 0 of an episode draws its classes, stream 1 + slot the members of the class in that slot."""
    labels = np.asarray(labels)
    members = [np.flatnonzero(labels == label) for label in sorted(set(labels.tolist()))]
    out = np.empty((episodes, n_way, k_shot + n_query), np.int64)
    for e in range(episodes):
        episode = first_episode + e
        classes = draw(n_way, len(members), random_words(seed, episode, 0))
        for slot, c in enumerate(classes):
            chosen = draw(k_shot + n_query, len(members[c]), random_words(seed, episode, 1 + slot))
            out[e, slot] = members[c][chosen]
    return out


def permutations(n: int, count: int, seed: int, first: int = 0) -> NDArray[np.int64]:  # [count, n]
    """Whole shuffles, each by stream 1 of the episode of its number."""
    drawn = [draw(n, n, random_words(seed, first + i, 1)) for i in range(count)]
    return np.array(drawn, np.int64).reshape(count, n)


# Images ---------------------------------------------------------------------------------------------


def gather_images(
    store: NDArray[np.uint8],  # [N, H, W, C]
    indices: ArrayLike,  # [...]
    rotations: ArrayLike | None = None,  # a leading part of the shape of indices
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
) -> NDArray[np.float32]:  # [..., H, W, C]
    """One image at a time, turned counter-clockwise; float32 arithmetic, as scale and shift are float32."""
    indices = np.asarray(indices)
    rotations = np.zeros((), np.int64) if rotations is None else np.asarray(rotations)
    out = np.empty(indices.shape + tuple(size or store.shape[1:3]) + store.shape[3:], np.float32)
    for place in np.ndindex(indices.shape):
        turns = int(rotations[place[: rotations.ndim]])
        image = np.rot90(store[indices[place]], turns).astype(np.float32)
        if size is not None:
            image = resize(image, size)
        out[place] = image * np.float32(scale) + np.float32(shift)
    return out


def resize(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear, pixel by pixel: along the row above, along the row below, then between the two."""
    out = np.empty((*size, image.shape[2]), np.float32)
    for r, c in np.ndindex(size):
        top, bottom, down = neighbours(r, image.shape[0], size[0])
        left, right, across = neighbours(c, image.shape[1], size[1])
        above = image[top, left] + (image[top, right] - image[top, left]) * across
        below = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * across
        out[r, c] = above + (below - above) * down
    return out


def neighbours(place: int, pixels: int, places: int) -> tuple[int, int, np.float32]:
    """The pixels beside the centre of a place, and how far it is from the first one, in float32."""
    half, step = np.float32(0.5), np.float32(pixels) / np.float32(places)
    centre = (np.float32(place) + half) * step - half
    below = np.floor(centre)
    return max(int(below), 0), min(int(np.ceil(centre)), pixels - 1), centre - below

# SPDX-License-Identifier: MIT
"""The truth the kernels are tested against: plain NumPy loops in float64.

Imports nothing of fslcore and copies none of its structure. Shapes: x [n, d], y [m, d], labels [B].
"""

from __future__ import annotations

import itertools
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
    raise ValueError(metric)


# Triplets -------------------------------------------------------------------------------------------


class Triplets(NamedTuple):
    """Row numbers, each int [P]."""

    anchor: NDArray[np.int64]
    positive: NDArray[np.int64]
    negative: NDArray[np.int64]


def positive_pairs(labels: ArrayLike) -> list[tuple[int, int]]:
    """Ordered pairs (a, p) of one class, a != p, for which another class exists at all."""
    labels = np.asarray(labels)
    if len(set(labels.tolist())) < 2:
        return []
    return [
        (a, p) for a in range(len(labels)) for p in range(len(labels)) if a != p and labels[a] == labels[p]
    ]


def mine_semihard(x: ArrayLike, labels: ArrayLike, metric: str = "sqeuclidean") -> Triplets:
    """Per pair the nearest negative strictly beyond the positive, else the farthest; lowest index on ties.

    NaN compares as not beyond; as the farthest it comes after everything else.
    """
    labels = np.asarray(labels)
    distance = pairwise(x, metric=metric)
    rows = []
    for a, pairs in itertools.groupby(positive_pairs(labels), key=lambda pair: pair[0]):
        negatives = np.flatnonzero(labels != labels[a])
        to_negatives = distance[a, negatives]
        farthest = negatives[np.argmax(np.nan_to_num(to_negatives, nan=-np.inf))]
        for _, p in pairs:
            beyond = to_negatives > distance[a, p]
            nearest = negatives[beyond][np.argmin(to_negatives[beyond])] if beyond.any() else None
            rows.append((a, p, farthest if nearest is None else nearest))
    return Triplets(*np.array(rows, np.int64).reshape(-1, 3).T)


class TripletLoss(NamedTuple):
    """What triplet_semihard returns."""

    loss: float
    grad: Array  # [B, d]
    num_pairs: int


def triplet_semihard(
    x: ArrayLike,  # [B, d]
    labels: ArrayLike,  # [B]
    margin: float = 1.0,
    metric: str = "sqeuclidean",
) -> TripletLoss:
    """Mean hinge over all positive pairs and its gradient, term by term."""
    x = np.asarray(x, np.float64)
    triplets = mine_semihard(x, labels, metric)
    distance = pairwise(x, metric=metric)
    num_pairs = len(triplets.anchor)
    loss, grad = 0.0, np.zeros_like(x)
    for a, p, n in zip(*triplets, strict=True):
        term = distance[a, p] - distance[a, n] + margin
        if term > 0:
            loss += term / num_pairs
            positive_by_a, positive_by_p = pair_gradient(x[a], x[p], metric)
            negative_by_a, negative_by_n = pair_gradient(x[a], x[n], metric)
            grad[a] += (positive_by_a - negative_by_a) / num_pairs
            grad[p] += positive_by_p / num_pairs
            grad[n] -= negative_by_n / num_pairs
    return TripletLoss(loss, grad, num_pairs)


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


# Images ---------------------------------------------------------------------------------------------


def gather_images(
    store: NDArray[np.uint8],  # [N, H, W, C]
    indices: ArrayLike,  # [...]
    rotations: ArrayLike | None = None,  # a leading part of the shape of indices
    scale: float = 1 / 255,
    shift: float = 0.0,
) -> NDArray[np.float32]:  # [..., H, W, C]
    """One image at a time, turned counter-clockwise; float32 arithmetic, as scale and shift are float32."""
    indices = np.asarray(indices)
    rotations = np.zeros((), np.int64) if rotations is None else np.asarray(rotations)
    out = np.empty(indices.shape + store.shape[1:], np.float32)
    for place in np.ndindex(indices.shape):
        turns = int(rotations[place[: rotations.ndim]])
        image = np.rot90(store[indices[place]], turns)
        out[place] = image.astype(np.float32) * np.float32(scale) + np.float32(shift)
    return out


# Convolution ----------------------------------------------------------------------------------------


def window_taps(size: int, strides: int) -> Iterator[tuple[int, int, int]]:
    """(output, tap, input) positions of a window of 3 along an axis, SAME padding, but for those outside."""
    out_size = -(-size // strides)
    padding = max((out_size - 1) * strides + 3 - size, 0)
    before = padding // 2  # the odd one comes after
    for out, tap in itertools.product(range(out_size), range(3)):
        position = out * strides + tap - before
        if 0 <= position < size:
            yield out, tap, position


def taps(images: Array, strides: int) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """(output, tap, input) positions of every window, each a (row, column)."""
    rows, columns = (list(window_taps(size, strides)) for size in images.shape[1:3])
    for row, column in itertools.product(rows, columns):
        out, tap, position = zip(row, column, strict=True)
        yield out, tap, position


def convolve(images: ArrayLike, kernel: ArrayLike, strides: int) -> Array:
    """images [B, H, W, C], kernel [3, 3, C, F] to [B, H / strides, W / strides, F], rounded up."""
    images, kernel = np.asarray(images, np.float64), np.asarray(kernel, np.float64)
    height, width = (-(-size // strides) for size in images.shape[1:3])
    out = np.zeros((len(images), height, width, kernel.shape[3]))
    for (r, c), tap, (y, x) in taps(images, strides):
        out[:, r, c] += images[:, y, x] @ kernel[tap]
    return out


def convolve_grad(images: ArrayLike, kernel: ArrayLike, grad: ArrayLike, strides: int) -> tuple[Array, Array]:
    """The gradients of images and kernel of sum(grad * convolve(images, kernel))."""
    images, kernel, grad = (np.asarray(a, np.float64) for a in (images, kernel, grad))
    images_grad, kernel_grad = np.zeros_like(images), np.zeros_like(kernel)
    for (r, c), tap, (y, x) in taps(images, strides):
        images_grad[:, y, x] += grad[:, r, c] @ kernel[tap].T
        kernel_grad[tap] += images[:, y, x].T @ grad[:, r, c]
    return images_grad, kernel_grad


class ConvBlock(NamedTuple):
    """Convolution, batch normalisation, ReLU."""

    convolved: Array  # [B, OH, OW, F]
    mean: Array  # [F]
    variance: Array  # [F], biased
    outputs: Array  # [B, OH, OW, F]


def conv_block(
    images: ArrayLike,
    kernel: ArrayLike,
    gamma: ArrayLike,  # [F]
    beta: ArrayLike,  # [F]
    strides: int = 2,
    epsilon: float = 1e-3,
) -> ConvBlock:
    """Statistics over batch and positions."""
    convolved = convolve(images, kernel, strides)
    mean = np.mean(convolved, axis=(0, 1, 2))
    variance = np.mean((convolved - mean) ** 2, axis=(0, 1, 2))
    normalised = (convolved - mean) / np.sqrt(variance + epsilon)
    return ConvBlock(convolved, mean, variance, np.maximum(np.asarray(gamma) * normalised + beta, 0))


class ConvBlockGradient(NamedTuple):
    """The gradient of sum(grad * outputs)."""

    images: Array
    kernel: Array
    gamma: Array
    beta: Array


def conv_block_grad(
    images: ArrayLike,
    kernel: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    grad: ArrayLike,  # [B, OH, OW, F]
    strides: int = 2,
    epsilon: float = 1e-3,
) -> ConvBlockGradient:
    """By the chain rule, one step after the other: ReLU, scale, variance, mean, convolution."""
    block = conv_block(images, kernel, gamma, beta, strides, epsilon)
    axes = (0, 1, 2)
    count = block.outputs[..., 0].size
    deviation, centred = np.sqrt(block.variance + epsilon), block.convolved - block.mean
    of_scaled = np.where(block.outputs > 0, grad, 0)
    of_normalised = of_scaled * np.asarray(gamma, np.float64)
    of_variance = np.sum(of_normalised * centred, axes) * -0.5 / deviation**3
    of_centred = of_normalised / deviation + of_variance * 2 * centred / count
    of_convolved = of_centred - np.sum(of_centred, axes) / count
    return ConvBlockGradient(
        *convolve_grad(images, kernel, of_convolved, strides),
        np.sum(of_scaled * centred / deviation, axes),
        np.sum(of_scaled, axes),
    )

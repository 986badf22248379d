# SPDX-License-Identifier: MIT
"""Near-duplicates among prepared pictures: the same picture again, saved, resized or brightened.

Two pictures are compared by the correlation of their pixels, which brightness and contrast do not change, at
no more than 32 x 32 pixels, where most traces of JPEG are gone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.arguments import ArgumentError, as_float
from fslcore.classifier.state import FloatArray, Pictures

Index = npt.NDArray[np.intp]

_SIDE = 32
_VALUES_AT_ONCE = 1 << 24  # correlations: 64 MB


class Pairs(NamedTuple):
    """Pairs of near-duplicates, the most alike first.

    Attributes:
        first: [P], numbers of pictures.
        second: [P], numbers of pictures.
        similarity: float32 [P], their correlation; 1: the same but for brightness and contrast.
    """

    first: Index
    second: Index
    similarity: FloatArray


def check_similarity(similarity: float) -> float:
    """The least similarity of near-duplicates, or an ArgumentError."""
    number = as_float("similarity", similarity)
    if not 0 < number <= 1:
        raise ArgumentError("similarity", "must be above 0 and at most 1", similarity)
    return number


def within(pictures: Pictures, labels: Index, similarity: float) -> Pairs:
    """Near-duplicates among pictures.

    Each picture is paired with the most similar one before it that has its label, and with the most similar
    one that has another label: of a hundred copies there are 99 pairs, not 4,950.

    Args:
        pictures: uint8 [n, S, S, C].
        labels: [n], numbers of their labels.
        similarity: Pictures whose correlation reaches this are near-duplicates.

    Returns:
        The pairs, with `first` before `second` in the order of the pictures.
    """
    return _nearest(pictures, labels, pictures, labels, similarity, earlier=True)


def between(queries: Pictures, pictures: Pictures, similarity: float) -> Pairs:
    """For each query that is a near-duplicate of a picture: the most similar one.

    Args:
        queries: uint8 [m, S, S, C].
        pictures: uint8 [n, S, S, C].
        similarity: As for `within`.

    Returns:
        The pairs (query, picture).
    """
    same = np.zeros(len(queries), np.intp), np.zeros(len(pictures), np.intp)
    found = _nearest(queries, same[0], pictures, same[1], similarity, earlier=False)
    return Pairs(found.second, found.first, found.similarity)


def _nearest(
    queries: Pictures, asked: Index, pictures: Pictures, labels: Index, similarity: float, earlier: bool
) -> Pairs:
    if not len(pictures):
        return Pairs(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32))
    # Together: the rows of plain pictures depend on the others.
    rows = normalised(pictures if earlier else np.concatenate([pictures, queries]))
    rows, wanted = rows[: len(pictures)], rows if earlier else rows[len(pictures) :]
    # Copies differ by rounding: their correlation is 1 up to some units of the last place of a float32.
    least = similarity - 1e-5
    found: list[tuple[Index, Index, FloatArray]] = []
    at_a_time = max(1, _VALUES_AT_ONCE // max(1, len(rows)))
    for start in range(0, len(wanted), at_a_time):
        numbers = np.arange(start, min(start + at_a_time, len(wanted)))
        values = wanted[numbers] @ rows[: numbers[-1] + 1 if earlier else len(rows)].T
        if earlier:
            values[np.arange(values.shape[1]) >= numbers[:, np.newaxis]] = -2
        same = asked[numbers][:, np.newaxis] == labels[: values.shape[1]]
        for kind in (same, ~same):
            of_kind = np.where(kind, values, -2)
            best = of_kind.argmax(axis=1)
            height = of_kind[np.arange(len(numbers)), best]
            there = height >= least
            found.append((best[there], numbers[there], np.minimum(height[there], 1)))
    first, second, height = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((second, first, -height))
    return Pairs(first[order], second[order], height[order].astype(np.float32))


def normalised(pictures: Pictures) -> FloatArray:
    """Pictures as rows of mean 0 and length 1: their products are correlations.

    A picture of one colour has no such row: it gets one that is like nothing but a picture of the same
    colour.

    Args:
        pictures: uint8 [n, S, S, C].

    Returns:
        float32 [n, values].
    """
    count, height, width, channels = pictures.shape
    small = pictures if max(height, width) <= _SIDE else np.stack([_reduced(picture) for picture in pictures])
    values = small.reshape(count, -1).astype(np.float32)
    colours = values.reshape(count, -1, channels)
    flat = (colours == colours[:, :1]).all(axis=(1, 2))
    names, place = np.unique(colours[flat][:, 0], axis=0, return_inverse=True)
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt(np.sum(values**2, axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    values = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    # One more value for each colour that fills a picture.
    values[flat] = 0
    extra = np.zeros((count, len(names)), np.float32)
    extra[np.flatnonzero(flat), place.reshape(-1)] = 1
    return np.ascontiguousarray(np.concatenate([values, extra], axis=1))


def _reduced(picture: Pictures) -> Pictures:
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    reduced = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    return reduced.reshape(_SIDE, _SIDE, -1)

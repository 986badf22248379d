# SPDX-License-Identifier: MIT
"""Scores of queries for classes with different numbers of examples, class by class and query by query."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def prototypical(support: list[Array], query: Array) -> Array:  # [k_c, D] per class, [Q, D] -> [Q, n_way]
    return np.array([[-np.sum((q - np.mean(s, axis=0)) ** 2) for s in support] for q in query])


def matching(support: list[Array], query: Array, temperature: float) -> Array:
    scores = np.empty((len(query), len(support)))
    for i, q in enumerate(query):
        attention = [[math.exp(temperature * cosine(q, e)) for e in examples] for examples in support]
        total = sum(map(sum, attention))
        scores[i] = [math.log(sum(of_class) / total) for of_class in attention]
    return scores


def siamese(support: list[Array], query: Array, shots: str) -> Array:
    combine = np.mean if shots == "mean" else np.max
    return np.array([[combine([-np.sum((q - e) ** 2) for e in s]) for s in support] for q in query])


def nearest(support: list[Array], query: Array) -> Array:
    return siamese(support, query, "best")


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))

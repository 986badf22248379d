# SPDX-License-Identifier: MIT
"""What a support set must answer: loops over labels and images in float64."""

import math

import numpy as np


def distance(x, y, metric):
    x, y = np.float64(x), np.float64(y)
    if metric == "sqeuclidean":
        return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    if metric == "euclidean":
        return math.sqrt(distance(x, y, "sqeuclidean"))
    if metric == "manhattan":
        return sum(abs(a - b) for a, b in zip(x, y, strict=True))
    if metric == "chebyshev":
        return max(abs(a - b) for a, b in zip(x, y, strict=True))
    if metric == "cosine":
        lengths = math.sqrt(sum(x * x)) * math.sqrt(sum(y * y))
        return 1 - sum(x * y) / lengths if lengths else 1.0
    if metric == "dot":
        return -sum(x * y)
    raise AssertionError(metric)


def score(query, images, rule, metric, k=3):
    """Of one query and the embeddings of one label."""
    if rule == "prototype":
        return -distance(query, np.mean(np.float64(images), axis=0), metric)
    distances = sorted(distance(query, image, metric) for image in images)
    if rule == "nearest":
        return -distances[0]
    if rule == "k-nearest":
        return -sum(distances[:k]) / len(distances[:k])
    if rule == "class-mean":
        return -sum(distances) / len(distances)
    raise AssertionError(rule)


def scores(queries, images_by_label, rule, metric, k=3):
    return np.array(
        [[score(q, images, rule, metric, k) for images in images_by_label.values()] for q in queries]
    )


def fitted_softmax(images, labels, weights, bias, steps, rate):
    """Softmax regression by gradient descent on the mean cross-entropy of all images."""
    weights, bias = np.float64(weights), np.float64(bias)
    for _ in range(steps):
        logits = images @ weights + bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        errors = (shares - np.eye(len(bias))[labels]) / len(labels)
        weights, bias = weights - rate * images.T @ errors, bias - rate * errors.sum(axis=0)
    return weights, bias


class Set:
    """A support set as a dict of lists."""

    def __init__(self):
        self.images = {}

    def add(self, label, rows):
        self.images.setdefault(label, []).extend(np.array(rows))

    def replace(self, label, rows):
        self.images[label] = list(np.array(rows))

    def remove(self, label):
        del self.images[label]

    def prototype(self, label):
        total = np.zeros(len(self.images[label][0]))
        for row in self.images[label]:
            total = total + row
        return np.float32(total / len(self.images[label]))

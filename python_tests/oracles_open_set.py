# SPDX-License-Identifier: MIT
"""The truth that open-set figures are tested against: plain loops over queries, pairs and labels.

Imports nothing of fslcore. Scores are larger for what is more alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

NORMAL = 1.959963984540054


def roc(known: Sequence[float], unknown: Sequence[float]) -> list[tuple[float, float, float]]:
    """(threshold, share of known accepted, share of unknown accepted), from the strictest threshold on."""
    points = [(math.inf, 0.0, 0.0)]
    for threshold in sorted({*known, *unknown}, reverse=True):
        rates = [sum(s >= threshold for s in scores) / len(scores) for scores in (known, unknown)]
        points.append((threshold, *rates))
    return points


def auroc(known: Sequence[float], unknown: Sequence[float]) -> float:
    """Every pair: 1 if the known one is better, half of it for equal scores."""
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in known for b in unknown)
    return wins / (len(known) * len(unknown))


def false_positives_at(known: Sequence[float], unknown: Sequence[float], rate: float = 0.95) -> float:
    """Of all thresholds that accept at least `rate` of the known, the strictest one's false positives."""
    return min(false for _, true, false in roc(known, unknown) if true >= rate - 1e-12)


def share_variance(hits: Sequence[bool], labels: Sequence[int]) -> float:
    """The variance of a share from the deviations of the sums of each label."""
    mean = sum(hits) / len(hits)
    deviations = []
    for label in sorted(set(labels)):
        own = [hit for hit, its in zip(hits, labels, strict=True) if its == label]
        deviations.append(sum(own) - len(own) * mean)
    m = len(deviations)
    return m / (m - 1) * sum(d * d for d in deviations) / len(hits) ** 2


def auroc_variance(
    known: Sequence[float], unknown: Sequence[float], known_labels: Sequence[int], labels: Sequence[int]
) -> float:
    """Obuchowski (1997): sums of the placement values over labels, with the covariance of shared ones."""
    area = auroc(known, unknown)
    total: dict[int, float] = {}
    count = {True: len(set(known_labels)), False: len(set(labels))}
    for score, label in zip(known, known_labels, strict=True):
        placement = auroc([score], unknown) - area
        total.setdefault(label, 0.0)
        total[label] += placement / len(known) * math.sqrt(count[True] / (count[True] - 1))
    for score, label in zip(unknown, labels, strict=True):
        placement = auroc(known, [score]) - area
        total.setdefault(label, 0.0)
        total[label] += placement / len(unknown) * math.sqrt(count[False] / (count[False] - 1))
    return sum(value * value for value in total.values())


def wilson(value: float, images: float, quantile: float = NORMAL) -> tuple[float, float]:
    """The roots of |value - p| = quantile * sqrt(p (1 - p) / images), by bisection."""

    def excess(p: float) -> float:
        return abs(value - p) - quantile * math.sqrt(p * (1 - p) / images)

    low = 0.0 if value == 0 else root(excess, 0.0, value)
    high = 1.0 if value == 1 else root(excess, 1.0, value)
    return low, high


def root(function: Callable[[float], float], outside: float, inside: float) -> float:
    """Where a function turns from positive to not positive between two points."""
    for _ in range(200):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if function(middle) > 0 else (outside, middle)
    return inside


def accepted_at_most(unknown: Sequence[float], rate: float) -> int:
    """How many of n unknown queries a threshold may accept: the largest k with (k + 1) / (n + 1) <= rate."""
    n = len(unknown)
    return max((k for k in range(n) if (k + 1) / (n + 1) <= rate + 1e-12), default=-1)


def accepted_of_labels(unknown: Sequence[float], labels: Sequence[int], rate: float) -> int:
    """The same for queries of labels: k of all others accept at most rate * (n + 1) of those left out."""
    n = len(unknown)
    pairs = list(zip(unknown, labels, strict=True))

    def accepted(k: int) -> int:
        total = 0
        for score, label in pairs:
            better = sorted((other for other, its in pairs if its != label), reverse=True)
            total += k >= len(better) or score > better[k]
        return total

    fits = [k for k in range(n) if k + 1 <= rate * (n + 1) + 1e-9 and accepted(k) <= rate * (n + 1) + 1e-9]
    return max(fits, default=-1)


def cross_entropy(scores: Sequence[Sequence[float]], truth: Sequence[int], temperature: float) -> float:
    """Mean -log softmax(scores / temperature) of the truth, whose weight is 1 - e with e = 1 / (n + 2)."""
    wrong = 1 / (len(truth) + 2)
    total = 0.0
    for row, own in zip(scores, truth, strict=True):
        scaled = [value / temperature for value in row]
        most = max(scaled)
        norm = most + math.log(sum(math.exp(value - most) for value in scaled))
        for label, value in enumerate(scaled):
            weight = 1 - wrong if label == own else wrong / (len(row) - 1)
            total += weight * (norm - value)
    return total / len(truth)


def calibration_error(confidence: Sequence[float], right: Sequence[bool], bins: int) -> float:
    """The mean distance of confidence and accuracy over bins of equal width, weighted by their sizes."""
    error = 0.0
    for i in range(bins):
        inside = [
            (c, r)
            for c, r in zip(confidence, right, strict=True)
            if i / bins < c <= (i + 1) / bins or (i == 0 and c == 0)
        ]
        if inside:
            error += abs(sum(c for c, _ in inside) - sum(r for _, r in inside)) / len(confidence)
    return error


def confusion(
    truth: Sequence[object], predicted: Sequence[object], labels: Sequence[object]
) -> list[list[int]]:
    """How often each label was answered by each label, and by None in the last column."""
    columns = [*labels, None]
    return [
        [sum(t == a and p == b for t, p in zip(truth, predicted, strict=True)) for b in columns]
        for a in labels
    ]


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation; 0 where one of the two is constant, 1 where both are, and equal."""
    means = sum(first) / len(first), sum(second) / len(second)
    a, b = ([v - mean for v in row] for mean, row in zip(means, (first, second), strict=True))
    squares = sum(v * v for v in a), sum(v * v for v in b)
    if not all(squares):
        return float(list(first) == list(second))
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(squares[0] * squares[1])


def label_score(rule: str, query: Sequence[float], examples: Sequence[Sequence[float]], k: int = 3) -> float:
    """Minus the squared distance of a query to a label, by a rule; larger is nearer."""

    def distance(row: Sequence[float]) -> float:
        return sum((a - b) ** 2 for a, b in zip(query, row, strict=True))

    if rule == "prototype":
        return -distance([sum(column) / len(examples) for column in zip(*examples, strict=True)])
    distances = sorted(distance(row) for row in examples)
    nearest = {"nearest": distances[:1], "k-nearest": distances[:k], "class-mean": distances}[rule]
    return -sum(nearest) / len(nearest)


def answers_of_the_rest(
    rule: str, rows: Sequence[Sequence[float]], labels: Sequence[int], count: int
) -> list[list[float | None]]:
    """For each row the score of each label by all other rows; None for a label without any of them."""
    found = []
    for i, query in enumerate(rows):
        scores: list[float | None] = []
        for label in range(count):
            rest = [
                row for j, (row, its) in enumerate(zip(rows, labels, strict=True)) if its == label and j != i
            ]
            scores.append(label_score(rule, query, rest) if rest else None)
        found.append(scores)
    return found

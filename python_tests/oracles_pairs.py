# SPDX-License-Identifier: MIT
"""Terms of pairs, and losses over pairs, as loops in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray


def metric_of(x: Array, y: Array, metric: str, weights: Array | None = None) -> float:
    """The metric of two rows."""
    difference = x - y
    if metric == "dot":
        return float(np.sum(x * y))
    if metric == "cosine":
        lengths = math.sqrt(np.sum(x * x)) * math.sqrt(np.sum(y * y))
        return 1.0 if lengths == 0.0 else 1.0 - float(np.sum(x * y)) / lengths
    if metric == "manhattan":
        return float(np.sum(np.abs(difference)))
    if metric == "weighted_manhattan":
        return float(np.sum(weights * np.abs(difference)))
    squared = float(np.sum(difference * difference))
    return math.sqrt(squared) if metric == "euclidean" else squared


def softplus(t: float) -> float:
    """log(1 + e^t)."""
    return math.log1p(math.exp(t)) if t < 30.0 else t


def function_of(function: str, t: float, gain: float, shift: float, u: float, v: float) -> float:
    """The function of a term."""
    positive = t if t > 0.0 or math.isnan(t) else 0.0
    if function == "lifted":
        both = math.log(math.exp(u) + math.exp(v)) if max(u, v) > -math.inf else -math.inf
        return max(t + both, 0.0) ** 2
    return {
        "linear": lambda: t,
        "hinge": lambda: positive,
        "squared_hinge": lambda: positive**2,
        "softplus": lambda: softplus(t),
        "circle": lambda: gain * positive * (t - shift),
    }[function]()


def log_sum(values: list[float]) -> float:
    """log of the sum of exponentials; -inf of nothing."""
    if not values:
        return -math.inf
    largest = max(values)
    return largest + math.log(sum(math.exp(value - largest) for value in values))


def reduce_term(
    x: Array, labels: Array, y: Array, y_labels: Array, term: dict[str, Any], metric: str,
    weights: Array | None, levels: Array | None, excludes_self: bool, none: int,
) -> tuple[list[float], list[int], list[int]]:  # fmt: skip
    """Values, indices and counts of one term; `term` holds its arguments by name."""
    values, indices, counts = [], [], []
    for i in range(len(x)):
        counted: list[tuple[int, float]] = []
        for j in range(len(y)):
            if none in (labels[i], y_labels[j]) or (excludes_self and i == j):
                continue
            if term["pairs"] != "all" and (labels[i] == y_labels[j]) != (term["pairs"] == "positive"):
                continue
            t = term["scale"] * metric_of(x[i], y[j], metric, weights) + term["offset"]
            is_lifted = term["function"] == "lifted"
            if levels is not None and not is_lifted and not t > levels[i]:
                continue
            u, v = (levels[i], levels[j]) if is_lifted else (0.0, 0.0)
            counted.append((j, function_of(term["function"], t, term["gain"], term["shift"], u, v)))
        numbers = [value for _, value in counted]
        index = -1
        if any(math.isnan(value) for value in numbers):
            value = math.nan
        elif term["reduction"] == "sum":
            value = sum(numbers)
        elif term["reduction"] == "logsumexp":
            value = log_sum(numbers)
        else:
            choose, nothing = (max, -math.inf) if term["reduction"] == "max" else (min, math.inf)
            value = choose(numbers, default=nothing)
            index = next((j for j, number in counted if number == value), -1)
        values.append(value)
        indices.append(index)
        counts.append(len(counted))
    return values, indices, counts


def sum_terms(
    x: Array, labels: Array, y: Array, y_labels: Array, terms: list[dict[str, Any]], metric: str,
    weights: Array | None, levels: Array, factors: list[float], excludes_self: bool, none: int,
) -> tuple[float, list[int]]:  # fmt: skip
    """The sum over terms, pairs and levels, and the pairs of each term."""
    total, counts = 0.0, []
    for term, factor in zip(terms, factors, strict=True):
        count = 0
        for i in range(len(x)):
            for j in range(len(y)):
                if none in (labels[i], y_labels[j]) or (excludes_self and i == j):
                    continue
                if term["pairs"] != "all" and (labels[i] == y_labels[j]) != (term["pairs"] == "positive"):
                    continue
                count += 1
                t = term["scale"] * metric_of(x[i], y[j], metric, weights) + term["offset"]
                for level in levels[:, i] if len(levels) else [0.0]:
                    total += factor * function_of(
                        term["function"], t - level, term["gain"], term["shift"], 0.0, 0.0
                    )
        counts.append(count)
    return total, counts


def numerical_gradient(function: Callable[[Array], float], at: Array, step: float = 1e-6) -> Array:
    """Central differences in float64."""
    at = np.array(at, np.float64)
    gradient = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        before = at[place]
        at[place] = before + step
        above = function(at)
        at[place] = before - step
        gradient[place] = (above - function(at)) / (2.0 * step)
        at[place] = before
    return gradient


# Losses, as their papers write them ------------------------------------------------------------------


def others(labels: Array, i: int) -> Iterator[tuple[int, bool]]:
    """All other samples, and whether they share the class."""
    for j in range(len(labels)):
        if j != i:
            yield j, labels[i] == labels[j]


def mean(values: list[float]) -> float:
    """0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def similarity(x: Array, y: Array, metric: str) -> float:
    """The cosine, the product, or the negative distance."""
    value = metric_of(x, y, metric)
    return 1.0 - value if metric == "cosine" else value if metric == "dot" else -value


def batch_contrastive(x: Array, labels: Array, margin: float, metric: str) -> float:
    terms = []
    for i in range(len(x)):
        for j, is_same in others(labels, i):
            d = metric_of(x[i], x[j], metric)
            terms.append(d**2 if is_same else max(margin - d, 0.0) ** 2)
    return mean(terms)


def batch_all(x: Array, labels: Array, margin: float, metric: str, active_only: bool) -> float:
    terms = []
    for a in range(len(x)):
        for p, is_same in others(labels, a):
            for n in range(len(x)):
                if is_same and labels[n] != labels[a]:
                    to_positive, to_negative = (metric_of(x[a], x[o], metric) for o in (p, n))
                    terms.append(max(to_positive - to_negative + margin, 0.0))
    return mean([term for term in terms if term > 0.0] if active_only else terms)


def info_nce(x: Array, labels: Array, temperature: float, metric: str) -> float:
    losses = []
    for i in range(len(x)):
        scores = {j: similarity(x[i], x[j], metric) / temperature for j, _ in others(labels, i)}
        positives = [scores[j] for j, is_same in others(labels, i) if is_same]
        if positives:
            losses.append(log_sum(list(scores.values())) - mean(positives))
    return mean(losses)


def soft_nearest(x: Array, labels: Array, temperature: float, metric: str) -> float:
    losses = []
    for i in range(len(x)):
        scores = [(similarity(x[i], x[j], metric) / temperature, same) for j, same in others(labels, i)]
        positives = [score for score, is_same in scores if is_same]
        if positives:
            losses.append(log_sum([score for score, _ in scores]) - log_sum(positives))
    return mean(losses)


def lifted(x: Array, labels: Array, margin: float) -> float:
    repulsion = [
        sum(
            math.exp(margin - metric_of(x[i], x[k], "euclidean")) for k, same in others(labels, i) if not same
        )
        for i in range(len(x))
    ]
    terms = []
    for i in range(len(x)):
        for j, is_same in others(labels, i):
            if is_same:
                both = repulsion[i] + repulsion[j]
                pull = metric_of(x[i], x[j], "euclidean") + math.log(both) if both > 0.0 else 0.0
                terms.append(max(pull, 0.0) ** 2 / 2.0)
    return mean(terms)


def multi_similarity(
    x: Array, labels: Array, alpha: float, beta: float, threshold: float, epsilon: float
) -> float:
    losses = []
    for i in range(len(x)):
        scores = [(similarity(x[i], x[j], "cosine"), is_same) for j, is_same in others(labels, i)]
        positives, negatives = ([s for s, is_same in scores if is_same == kind] for kind in (True, False))
        hard_negatives = [s for s in negatives if positives and s > min(positives) - epsilon]
        hard_positives = [s for s in positives if negatives and s < max(negatives) + epsilon]
        pull = math.log(1.0 + sum(math.exp(-alpha * (s - threshold)) for s in hard_positives)) / alpha
        push = math.log(1.0 + sum(math.exp(beta * (s - threshold)) for s in hard_negatives)) / beta
        losses.append(pull + push)
    return mean(losses)


def circle(x: Array, labels: Array, gamma: float, margin: float, frozen: Array | None = None) -> float:
    """The weights are those of the rows `frozen`, as they count as constants."""
    frozen = x if frozen is None else frozen
    losses = []
    for i in range(len(x)):
        pull, push = [], []
        for j, is_same in others(labels, i):
            s, fixed = (similarity(rows[i], rows[j], "cosine") for rows in (x, frozen))
            if is_same:
                pull.append(-gamma * max(1.0 + margin - fixed, 0.0) * (s - (1.0 - margin)))
            else:
                push.append(gamma * max(fixed + margin, 0.0) * (s - margin))
        if pull and push:
            losses.append(softplus(log_sum(pull) + log_sum(push)))
    return mean(losses)


def pair_crossentropy(
    x: Array, labels: Array, kernel: str, weights: Array | None, scale: float, bias: float, balanced: bool
) -> float:
    by_kind: dict[bool, list[float]] = {True: [], False: []}
    for i in range(len(x)):
        for j, is_same in others(labels, i):
            logit = scale * metric_of(x[i], x[j], kernel, weights) + bias
            by_kind[is_same].append(softplus(-logit if is_same else logit))
    if balanced:
        return 0.5 * (mean(by_kind[True]) + mean(by_kind[False]))
    return mean(by_kind[True] + by_kind[False])


def siglip(x: Array, y: Array, temperature: float, bias: float) -> float:
    total = 0.0
    for i in range(len(x)):
        for j in range(len(y)):
            logit = temperature * similarity(x[i], y[j], "cosine") + bias
            total += softplus(-logit if i == j else logit)
    return total / len(x)


def npairs(x: Array, y: Array, labels: Array) -> float:
    losses = []
    for i in range(len(x)):
        scores = [float(np.sum(x[i] * y[j])) for j in range(len(y))]
        positives = [scores[j] for j in range(len(y)) if labels[i] == labels[j]]
        losses.append(log_sum(scores) - mean(positives))
    return mean(losses)


def proxy_anchor(x: Array, labels: Array, proxies: Array, alpha: float, margin: float) -> float:
    pull, push = [], []
    for c in range(len(proxies)):
        scores = [similarity(proxies[c], row, "cosine") for row in x]
        if c in labels:
            own = [s for s, label in zip(scores, labels, strict=True) if label == c]
            pull.append(math.log(1.0 + sum(math.exp(-alpha * (s - margin)) for s in own)))
        rest = [s for s, label in zip(scores, labels, strict=True) if label != c]
        push.append(math.log(1.0 + sum(math.exp(alpha * (s + margin)) for s in rest)))
    return mean(pull) + mean(push)


def arcface(x: Array, labels: Array, centres: Array, scale: float, margin: float) -> float:
    losses = []
    for row, label in zip(x, labels, strict=True):
        cosines = [similarity(row, centre, "cosine") for centre in centres]
        angle = math.acos(cosines[label])
        turned = math.cos(angle + margin) if angle <= math.pi - margin else None
        cosines[label] = cosines[label] - margin * math.sin(margin) if turned is None else turned
        losses.append(log_sum([scale * c for c in cosines]) - scale * cosines[label])
    return mean(losses)

# SPDX-License-Identifier: MIT
"""Scores by label -> labels, probabilities, and "unknown"."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_float
from fslcore.classifier.comparing import DISTANCES
from fslcore.classifier.rules import Rule
from fslcore.classifier.state import FloatArray, State

_MANY = 16  # times as many labels as answers: sorting all of them would take longer than finding the answers


def check_not_empty(state: State) -> None:
    """Raises ArgumentError for a support set without labels."""
    if not len(state):
        raise ArgumentError(
            "support set",
            "must have a label before it predicts: call add(label, images)",
            described="an empty one",
        )


def checked_threshold(rule: Rule, value: float) -> float:
    """A threshold for the scores of a rule, or an ArgumentError for a distance in place of a score."""
    number = as_float("threshold", value)
    distances = getattr(rule, "metric", None) in DISTANCES or (
        getattr(rule, "measure", None) in DISTANCES and getattr(rule, "shots", None) in ("mean", "best")
    )
    # The least number above 0 refuses all: a calibration gives it if an unknown image equals a known one.
    if distances and number > np.finfo(np.float32).tiny:
        raise ArgumentError(
            "threshold",
            f"must be at most 0 for the rule {rule.name}, whose scores are minus distances",
            value,
        )
    return number


def scored(rule: Rule, queries: FloatArray, state: State) -> FloatArray:
    """Scores float32 [n, C] of queries float32 [n, D] by a rule; larger is nearer.

    Raises:
        ArgumentError: The set is empty, the queries are of another width, or a score is not finite.
    """
    check_not_empty(state)
    if queries.shape[1] != state.dim:
        raise ArgumentError(
            "embeddings",
            f"must be as wide as those of this support set, {state.dim} numbers each",
            described=f"{queries.shape[1]} numbers each",
        )
    scores = rule(queries, state)
    if not np.isfinite(scores).all():
        raise ArgumentError(
            "embeddings",
            "must be small enough for distances in float32",
            described=f"values up to {np.abs(queries).max():.3g}",
        )
    return scores


def answers(
    scores: FloatArray, state: State, top: int | None, probabilities: bool
) -> tuple[npt.NDArray[np.object_], FloatArray]:
    """The nearest labels of each query.

    Args:
        scores: float32 [n, C], larger is nearer.
        state: The set that they are of.
        top: How many labels; None: one, without an axis for it.
        probabilities: Whether to return probabilities instead of scores.

    Returns:
        Objects and float32, [n] or [n, min(top, C)] each. The labels of a query are None where its best score
        is below the threshold.
    """
    names = np.empty(len(state.labels), object)
    names[:] = state.labels
    order = ranked(scores, top or 1)
    labels = names[order]
    if state.threshold is not None:
        labels[scores.max(axis=1) < state.threshold] = None
    values = np.take_along_axis(
        as_probabilities(scores, state.temperature) if probabilities else scores, order, 1
    )
    return (labels[:, 0], values[:, 0]) if top is None else (labels, values)


def ranked(scores: FloatArray, top: int) -> npt.NDArray[np.intp]:
    """The places of the largest scores of each row, [n, min(top, C)]; of equal ones the first comes first."""
    if top == 1:
        return scores.argmax(axis=1)[:, np.newaxis]
    if scores.shape[1] < _MANY * top:
        return np.argsort(-scores, axis=1, kind="stable")[:, :top]
    places = np.empty((len(scores), top), np.intp)
    for row, out in zip(scores, places, strict=True):
        # Those that reach the score of the last one: more than `top` if others are equal to it.
        reach = np.flatnonzero(row >= np.partition(row, -top)[-top])
        out[:] = reach[np.argsort(-row[reach], kind="stable")[:top]]
    return places


def as_probabilities(scores: FloatArray, temperature: float) -> FloatArray:
    """The softmax of scores [n, C] divided by a temperature: float32 [n, C], each row of sum 1."""
    scaled = scores.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)

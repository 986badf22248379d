# SPDX-License-Identifier: MIT
"""Thresholds for "unknown" and temperatures of probabilities, from images whose labels are known. NumPy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.classifier.answering import as_probabilities, check_not_empty, scored
from fslcore.classifier.rules import Rule
from fslcore.classifier.state import FloatArray, State
from fslcore.classifier.trials import (
    IMAGES,
    SUPPORT,
    VALUES_AT_ONCE,
    Index,
    evenly,
    left_out,
    places_of,
    trials,
)
from fslcore.evaluation import OpenSetReport, Threshold, open_set_report, threshold_for
from fslcore.evaluation.intervals import agree

_BINS = 15  # of the calibration error, as in Guo et al. (2017)
_HALVINGS = 100
_MOST_IMAGES = 10_000  # for one number, the temperature


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How a threshold was made.

    Attributes:
        threshold: The threshold, as a score, with its interval.
        false_accept_rate: What it was made for.
        report: What it keeps on the images that it was made with.
        known_from: Where the known queries come from.
        unknown_from: Where the unknown queries come from.
        labels: How many labels the set had. With more of them, more unknown images resemble one.
    """

    threshold: Threshold
    false_accept_rate: float
    report: OpenSetReport
    known_from: str
    unknown_from: str
    labels: int

    def agrees_with(self, report: OpenSetReport) -> dict[str, bool]:
        """Whether figures on other images differ by no more than the 95 % intervals of both allow.

        Args:
            report: What `SupportSet.evaluate_open` returns, at the same threshold.

        Returns:
            For `accepted`, `false_accepts` and `recall`; for `precision`, which depends on how many of the
            images are unknown, too.
        """
        names = ("accepted", "false_accepts", "recall", "precision")
        pairs = {name: (getattr(self.report, name), getattr(report, name)) for name in names}
        return {name: agree(*pair) for name, pair in pairs.items() if None not in pair}

    def to_dict(self) -> dict[str, Any]:
        """The calibration for JSON; infinite ends of an interval are None."""
        ends = [value if math.isfinite(value) else None for value in self.threshold]
        return {**dataclasses.asdict(self), "threshold": ends, "report": self.report.to_dict()}

    def __str__(self) -> str:
        return (
            f"threshold {self.threshold.value:.6g} ({self.threshold.low:.6g} to {self.threshold.high:.6g}) "
            f"for {100 * self.false_accept_rate:g} % of unknown images, with {self.labels:,} labels\n"
            f"known: {self.known_from}; unknown: {self.unknown_from}\n{self.report}"
        )


@dataclasses.dataclass(frozen=True)
class Temperature:
    """How probabilities were calibrated.

    Attributes:
        temperature: What scores are divided by before they become probabilities.
        cross_entropy: The mean of -log of the probability of the own label, before and after; in nats.
        calibration_error: How far confidence is from accuracy on average, before and after (15 bins).
        images: How many images it was made with.
        images_from: Where they come from.
    """

    temperature: float
    cross_entropy: tuple[float, float]
    calibration_error: tuple[float, float]
    images: int
    images_from: str

    def __str__(self) -> str:
        (before, after), (error, left) = self.cross_entropy, self.calibration_error
        return (
            f"temperature {self.temperature:.6g} from {self.images:,} {self.images_from}: cross-entropy "
            f"{before:.4f} -> {after:.4f}, calibration error {100 * error:.2f} % -> {100 * left:.2f} %"
        )


def calibrated(
    rule: Rule, state: State, embeddings: FloatArray | None, labels: Sequence[Any], false_accept_rate: float
) -> Calibration:
    """The threshold that accepts a share of the unknown queries; arguments as for `trials`."""
    found = trials(rule, state, embeddings, labels)
    threshold = threshold_for(found.unknown, false_accept_rate, found.unknown_labels)
    report = open_set_report(
        found.known, found.unknown, found.right, found.known_labels, found.unknown_labels, threshold.value
    )
    return Calibration(
        threshold, float(false_accept_rate), report, found.known_from, found.unknown_from, len(state.labels)
    )


def evaluated(rule: Rule, state: State, embeddings: FloatArray, labels: Sequence[Any]) -> OpenSetReport:
    """The figures of images at the threshold of the set; a label that it does not have is unknown.

    Raises:
        ArgumentError: There are no images of its labels, or none of others.
    """
    places, _ = places_of(state, labels)
    for kind, count in (
        ("of this support set", (places >= 0).sum()),
        ("that are not in this support set", (places < 0).sum()),
    ):
        if not count:
            raise ArgumentError("labels", f"must hold labels {kind}, too", described="none")
    found = trials(rule, state, embeddings, labels)
    return open_set_report(
        found.known, found.unknown, found.right, found.known_labels, found.unknown_labels, state.threshold
    )


def tempered(rule: Rule, state: State, embeddings: FloatArray | None, labels: Sequence[Any]) -> Temperature:
    """The temperature for probabilities, from images of the labels of the set, or from its support images.

    Raises:
        ArgumentError: A label is not in the set, the set has one label, or its scores do not find labels more
            often than by chance.
    """
    check_not_empty(state)
    if len(state.labels) < 2:
        raise ArgumentError(
            "support set", "must have 2 or more labels for probabilities to be calibrated", described="one"
        )
    if embeddings is None:
        # As many as a matrix of bounded size has room for.
        rows = evenly(state, min(_MOST_IMAGES, max(1, VALUES_AT_ONCE // len(state.labels))))
        rows = rows[state.counts[state.numbers[rows]] > 1]
        images_from = SUPPORT
        if len(rows):
            found, each = zip(*left_out(rule, state, rows), strict=True)
            truth, scores = state.numbers[np.concatenate(found)].astype(np.intp), np.concatenate(each)
        else:
            raise ArgumentError(
                "images", "must be given, since no label of this support set has two images", described="none"
            )
    else:
        images_from, (truth, _) = IMAGES, places_of(state, labels)
        strange = np.flatnonzero(truth < 0)
        if strange.size:
            raise ArgumentError(
                "labels",
                "must be labels of this support set for probabilities to be calibrated",
                described=f"{labels[strange[0]]!r} at {strange[0]}",
            )
        scores = scored(rule, embeddings, state)
    temperature = fitted_temperature(scores, truth)
    before, after = (
        as_probabilities(scores, each).astype(np.float64) for each in (state.temperature, temperature)
    )
    return Temperature(
        temperature,
        (cross_entropy(scores, truth, state.temperature), cross_entropy(scores, truth, temperature)),
        (calibration_error(before, truth), calibration_error(after, truth)),
        len(truth),
        images_from,
    )


def fitted_temperature(scores: npt.ArrayLike, truth: Index) -> float:
    """The temperature with the least cross-entropy of softmax(scores / temperature) (Guo et al., 2017).

    The truth has a weight of 1 - e, the other labels share e = 1 / (n + 2), as Platt (1999) does: otherwise n
    images that are all right would make every answer certain.

    Args:
        scores: [n, C], C at least 2; larger is nearer.
        truth: [n], the place of each query's label.

    Raises:
        ArgumentError: The scores do not find labels more often than by chance.
    """
    values = np.asarray(scores, np.float64)
    values = values - values.max(axis=1, keepdims=True)
    wanted = np.sum(values * _targets(len(truth), values.shape[1], truth), axis=1).mean()

    def slope(sharpness: float) -> float:
        """The derivative of the cross-entropy by 1 / temperature, which it rises with."""
        weights = np.exp(sharpness * values)
        return float(np.mean((weights * values).sum(axis=1) / weights.sum(axis=1)) - wanted)

    if slope(0.0) >= 0:
        raise ArgumentError(
            "labels", "must be those that the scores find more often than by chance", described="others"
        )
    scale = -1 / values.mean()
    low, high = 0.0, scale
    while slope(high) < 0:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(2 / (low + high))


def cross_entropy(scores: npt.ArrayLike, truth: Index, temperature: float) -> float:
    """What `fitted_temperature` makes least."""
    scaled = np.asarray(scores, np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return float(-np.sum(logs * _targets(len(truth), logs.shape[1], truth), axis=1).mean())


def calibration_error(probabilities: npt.NDArray[np.float64], truth: Index, bins: int = _BINS) -> float:
    """The mean distance of the largest probability and the accuracy over bins of equal width."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)
    gaps = np.bincount(place, confidence - right, bins)
    return float(np.abs(gaps).sum() / len(truth))


def _targets(count: int, labels: int, truth: Index) -> npt.NDArray[np.float64]:
    wrong = 1 / (count + 2)
    targets = np.full((count, labels), wrong / (labels - 1))
    targets[np.arange(count), truth] = 1 - wrong
    return targets

# SPDX-License-Identifier: MIT
"""What a `SupportSet` is told by images whose labels are known: threshold, temperature, and its faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, counted
from fslcore.classifier import calibration, checks
from fslcore.classifier.preparing import as_label
from fslcore.evaluation import OpenSetReport

if TYPE_CHECKING:
    from fslcore.classifier.rules import Rule
    from fslcore.classifier.state import FloatArray, State


class Calibrating:
    """The methods of `SupportSet` that take images with their labels."""

    if TYPE_CHECKING:
        rule: Rule
        threshold: float | None
        temperature: float

        def snapshot(self) -> State: ...  # noqa: D102
        def prepare(self, images: Any) -> npt.NDArray[np.uint8]: ...  # noqa: D102
        def embed(self, images: Any) -> FloatArray: ...  # noqa: D102

    def calibrate(
        self, images: Any = None, labels: Sequence[Any] | None = None, false_accept_rate: float = 0.01
    ) -> calibration.Calibration:
        """Sets `threshold` so that a share of the images of unknown labels is accepted, on average.

        Images whose label is not in the set, or is None, are unknown. Best are images of labels that the
        encoder was not trained on either, and images of the labels of the set that are not support images.
        Where one kind is missing, the support images stand in for it: each left out of its label for the
        known, and with its whole label left out for the unknown. The set is not changed otherwise.

        Args:
            images: As for `add`; None: the support images alone.
            labels: The label of each image; None only without images.
            false_accept_rate: The share of images of unknown labels that may be accepted. It takes
                1 / rate - 1 of them, such as 99 for 0.01.

        Returns:
            How the threshold was made: its interval, the ROC, and the figures that `evaluate_open` of other
            images should give again within their intervals. They hold for the labels that the set has now.

        Raises:
            ArgumentError: There are too few images for this rate, an image cannot be used, or the set is
                empty; the threshold is as it was.
        """
        embeddings, labels = self._with_labels(images, labels)
        found = calibration.calibrated(self.rule, self.snapshot(), embeddings, labels, false_accept_rate)
        self.threshold = found.threshold.value
        return found

    def calibrate_probabilities(
        self, images: Any = None, labels: Sequence[Any] | None = None
    ) -> calibration.Temperature:
        """Sets `temperature` so that probabilities are as high as answers are often right.

        Args:
            images: Images of the labels of the set that are not support images, as for `add`; None: the
                support images, each left out of its label.
            labels: The label of each image; None only without images.

        Returns:
            The temperature, and what it gains.

        Raises:
            ArgumentError: A label is not in the set, the answers are no better than chance, an image cannot
                be used, or the set has fewer than two labels; the temperature is as it was.
        """
        embeddings, labels = self._with_labels(images, labels)
        found = calibration.tempered(self.rule, self.snapshot(), embeddings, labels)
        self.temperature = found.temperature
        return found

    def evaluate_open(self, images: Any, labels: Sequence[Any]) -> OpenSetReport:
        """Measures how well known images are told from unknown ones, and at `threshold`, if there is one.

        Args:
            images: Images that are not support images, as for `add`.
            labels: The label of each image; those that are not in the set, and None, are unknown.

        Returns:
            The figures, with 95 % intervals over the labels.

        Raises:
            ArgumentError: There are no images of labels of the set, or none of others, or an image cannot be
                used.
        """
        if images is None:
            raise ArgumentError("images", "must be given", None)
        embeddings, labels = self._with_labels(images, labels)
        assert embeddings is not None
        return calibration.evaluated(self.rule, self.snapshot(), embeddings, labels)

    def check(
        self,
        images: Any = None,
        labels: Sequence[Any] | None = None,
        *,
        similarity: float = checks.SIMILARITY,
    ) -> checks.Checks:
        """Looks for faults in people's data: near-duplicates, and labels that are taken for each other.

        Args:
            images: Images of the labels of the set that should not be support images, as for `add`; None: the
                support images, each left out of its label, are asked for.
            labels: The label of each image; None only without images.
            similarity: Pictures whose correlation reaches this are near-duplicates, above 0 and at most 1.

        Returns:
            What was found, with figures.

        Raises:
            ArgumentError: A label is not in the set, an image cannot be used, or the set is empty.
        """
        pictures = None if images is None else self.prepare(images)
        embeddings, labels = self._with_labels(pictures, labels)
        return checks.checked(self.rule, self.snapshot(), pictures, embeddings, labels, similarity)

    def _with_labels(self, images: Any, labels: Sequence[Any] | None) -> tuple[FloatArray | None, list[Any]]:
        """The embeddings of images, and their labels as they are kept."""
        if images is None:
            if labels is not None:
                raise ArgumentError("labels", "must be left out without `images`", described="labels")
            return None, []
        if labels is None or isinstance(labels, (str, bytes, int)) or not hasattr(labels, "__len__"):
            raise ArgumentError(
                "labels", "must be a list with the label of each image, or None for unknown", labels
            )
        kept = [None if label is None else as_label(label) for label in labels]
        embeddings = self.embed(images)
        if len(kept) != len(embeddings):
            raise ArgumentError(
                "labels",
                f"must be one for each of the {len(embeddings)} images",
                described=counted(len(kept), "label"),
            )
        return embeddings, kept

# SPDX-License-Identifier: MIT
"""Which labels are taken for which: the confusion matrix, with precision, recall and F1 of each label."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.classifier.growing import Label

Index = npt.NDArray[np.intp]
Rates = npt.NDArray[np.float64]


class Mistake(NamedTuple):
    """A label that is taken for another.

    Attributes:
        label: The label of the images.
        answer: The label that they got; None: unknown.
        times: How many of them.
        share: The part of the label's images that they are.
    """

    label: Label
    answer: Label | None
    times: int
    share: float


@dataclasses.dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of (label, answer), of the labels of a set and "unknown".

    Attributes:
        labels: The C labels.
        true: [N], the place of each image's label.
        answers: [N], the place of its answer; C: unknown.
    """

    labels: tuple[Label, ...]
    true: Index
    answers: Index

    @property
    def matrix(self) -> npt.NDArray[np.int64]:
        """int64 [C, C + 1], how many images of a label (row) got an answer (column); the last is unknown."""
        count = len(self.labels)
        cells = np.bincount(self.true * (count + 1) + self.answers, minlength=count * (count + 1))
        return cells.reshape(count, count + 1).astype(np.int64)

    @property
    def right(self) -> Index:
        """[C], images of each label that got it."""
        return np.bincount(self.true[self.true == self.answers], minlength=len(self.labels))

    @property
    def precision(self) -> Rates:
        """float64 [C], the share of a label's answers that are right; NaN where it is never the answer."""
        given = np.bincount(self.answers, minlength=len(self.labels) + 1)[:-1]
        return _ratio(self.right, given)

    @property
    def recall(self) -> Rates:
        """float64 [C], the share of a label's images that get it; NaN without images."""
        return _ratio(self.right, np.bincount(self.true, minlength=len(self.labels)))

    @property
    def f1(self) -> Rates:
        """float64 [C], the harmonic mean of precision and recall: 2 right / (images + answers)."""
        given = np.bincount(self.answers, minlength=len(self.labels) + 1)[:-1]
        return _ratio(2 * self.right, np.bincount(self.true, minlength=len(self.labels)) + given)

    @property
    def accuracy(self) -> float:
        """The share of images that get their own label; NaN without images."""
        return float(np.mean(self.true == self.answers)) if len(self.true) else float("nan")

    def mistakes(self, most: int | None = None) -> list[Mistake]:
        """What is taken for what, the most frequent first; of equal counts the largest share.

        Args:
            most: How many at most; None: all.
        """
        count = len(self.labels)
        wrong = self.true != self.answers
        cells, times = np.unique(self.true[wrong] * (count + 1) + self.answers[wrong], return_counts=True)
        images = np.bincount(self.true, minlength=count)
        found = [
            Mistake(
                self.labels[cell // (count + 1)],
                None if cell % (count + 1) == count else self.labels[cell % (count + 1)],
                int(n),
                float(n / images[cell // (count + 1)]),
            )
            for cell, n in zip(cells, times, strict=True)
        ]
        return sorted(found, key=lambda mistake: (-mistake.times, -mistake.share))[:most]


def _ratio(part: Index, whole: Index) -> Rates:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)

# SPDX-License-Identifier: MIT
"""Why an image got its label: the nearest support images, with their distances."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fslcore.classifier.answering import ranked
from fslcore.classifier.comparing import DISTANCES
from fslcore.classifier.growing import Label
from fslcore.classifier.rules import Rule, values_of
from fslcore.classifier.state import FloatArray, Pictures, State

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_IN_WORDS = {
    "sqeuclidean": "squared Euclidean distance",
    "euclidean": "Euclidean distance",
    "cosine": "cosine distance",
    "manhattan": "Manhattan distance",
    "chebyshev": "Chebyshev distance",
    "dot": "dot product",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """The support images that are nearest to an image, the nearest first.

    Attributes:
        image: uint8 [S, S, C], the image as the encoder got it; None if only its embedding is known.
        label: The answer; None is "unknown".
        labels: The label of each of the k support images.
        numbers: int [k], their row numbers in the set.
        values: float32 [k], how far each is from the image, or how alike they are.
        measure: What the values are, such as "sqeuclidean".
        is_distance: Whether a smaller value is nearer.
        pictures: The prepared support images, uint8 [S, S, C] each; None where only the embedding is known.
    """

    image: Pictures | None
    label: Label | None
    labels: tuple[Label, ...]
    numbers: npt.NDArray[np.intp]
    values: FloatArray
    measure: str
    is_distance: bool
    pictures: tuple[Pictures | None, ...]

    def figure(self) -> Figure:
        """The image and the support images beside it, each with its label and its value."""
        from fslcore import plots

        return plots.neighbours(
            self.image,
            "unknown" if self.label is None else str(self.label),
            self.pictures,
            [f"{label}\n{value:.4g}" for label, value in zip(self.labels, self.values, strict=True)],
            f"The nearest support images, by {_IN_WORDS.get(self.measure, self.measure)}",
        )


def explained(
    rule: Rule, query: FloatArray, state: State, k: int, image: Pictures | None, label: Label | None
) -> Explanation:
    """The explanation of an answer.

    Args:
        rule: What answered.
        query: float32 [1, D].
        state: The set, not empty.
        k: How many support images, at most.
        image: The prepared query, or None.
        label: The answer.
    """
    values, measure = values_of(rule, query, state)
    (order,) = ranked(values, k)
    is_distance = measure in DISTANCES
    numbers, pictures = state.numbers[order], state.pictures
    return Explanation(
        image,
        label,
        tuple(state.labels[number] for number in numbers),
        order,
        -values[0, order] if is_distance else values[0, order],
        measure,
        is_distance,
        tuple(None if pictures is None or not state.pictured[row] else pictures[row] for row in order),
    )

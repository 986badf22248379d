# SPDX-License-Identifier: MIT
"""A support vector classifier on the comparison that the encoder was trained for."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_float
from fslcore.classifier.state import FloatArray, State

_MOST_ROWS = 10_000  # the matrix of all pairs has 800 MB then


@dataclasses.dataclass(frozen=True)
class Svc:
    """A support vector classifier (scikit-learn's SVC) on a learnt kernel.

    The kernel of two images is what `compare` says of them; minus a distance d becomes exp(-d / m), where m
    is the mean distance of two support images. The classifier is fitted at the first query after a change, or
    by `SupportSet.refit`; labels weigh alike, however many images they have.

    Attributes:
        C: The penalty of support images on the wrong side, above 0.
        compare: Queries float32 [n, D] and rows [m, D] -> float32 [n, m], larger is nearer.
        measure: What `compare` returns, in words.
        is_distance: Whether it returns minus a distance.
    """

    C: float = 1.0
    compare: Callable[[FloatArray, FloatArray], FloatArray] = dataclasses.field(repr=False, kw_only=True)
    measure: str = dataclasses.field(repr=False, kw_only=True)
    is_distance: bool = dataclasses.field(repr=False, kw_only=True)
    name = "svc"

    def __post_init__(self) -> None:
        if as_float("C", self.C) <= 0:
            raise ArgumentError("C", "must be above 0", self.C)
        _library()

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """The signed distances to the borders between the labels."""
        classifier, scale = self.fitted(state)
        scores = np.asarray(classifier.decision_function(self._kernel(queries, state.rows, scale)[0]))
        if scores.ndim == 1:  # of two labels there is one border
            scores = np.stack([-scores, scores], axis=1)
        return scores.astype(np.float32)

    def is_fitted(self, state: State) -> bool:
        """Whether the classifier of a state is there already."""
        return state.has_derived(self)

    def fitted(self, state: State) -> Any:
        """The classifier of a state and what distances are divided by.

        Raises:
            ArgumentError: The set has one label only, or too many images.
        """
        return state.derived(self, lambda: self._fit(state))

    def _fit(self, state: State) -> tuple[Any, float]:
        if len(state.labels) < 2:
            raise ArgumentError(
                "support set", "must have at least 2 labels for the rule svc", described="1 label"
            )
        if len(state) > _MOST_ROWS:
            raise ArgumentError(
                "support set",
                f"must have at most {_MOST_ROWS} images for the rule svc, which compares all pairs of them",
                described=f"{len(state)} images",
            )
        gram, scale = self._kernel(state.rows, state.rows, None)
        classifier = _library().SVC(C=self.C, kernel="precomputed", class_weight="balanced")
        return classifier.fit(gram, state.numbers), scale

    def _kernel(
        self, queries: FloatArray, rows: FloatArray, scale: float | None
    ) -> tuple[npt.NDArray[np.float64], float]:
        values = self.compare(queries, rows).astype(np.float64)
        if not self.is_distance:
            return values, 1.0
        if scale is None:
            scale = -values.sum() / max(1, values.size - len(values)) or 1.0
        return np.exp(values / scale), scale


def _library() -> Any:
    try:
        return importlib.import_module("sklearn.svm")
    except ImportError as error:
        raise ImportError(
            "the rule svc needs the package scikit-learn: pip install 'fslcore[svc]'"
        ) from error

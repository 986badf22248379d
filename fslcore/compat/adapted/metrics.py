# SPDX-License-Identifier: MIT
"""The metrics of keras-fsl, one number for a batch; those of `fslcore.metrics` have one for each sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from fslcore import metrics

Tensor = Any
Metric = Callable[[Tensor, Tensor], Tensor]

PACKAGE = "keras_fsl"


def classification_accuracy(ascending: bool = False) -> Metric:
    """`fslcore.metrics.classification_accuracy`; its values are called top_score_classification_accuracy.

    Args:
        ascending: True if the nearest sample has the smallest entry, as of distances.
    """
    return _top_distance if ascending else _top_score


def _named(name: str, of_samples: Metric, registered: str = "") -> Metric:
    def metric(y_true: Tensor, y_pred: Tensor) -> Tensor:
        return tf.reduce_mean(of_samples(y_true, y_pred))

    metric.__name__ = name
    metric.__doc__ = of_samples.__doc__
    return keras.saving.register_keras_serializable(PACKAGE, registered or name)(metric)


# Made once, so that a compiled model that is saved finds its metric by name.
_top_score = _named("top_score_classification_accuracy", metrics.classification_accuracy())
_top_distance = _named(
    "top_score_classification_accuracy",
    metrics.classification_accuracy(ascending=True),
    "top_score_classification_accuracy_ascending",
)
mean_score_classification_accuracy = _named(
    "mean_score_classification_accuracy", metrics.mean_score_classification_accuracy()
)
same_image_score = _named("same_image_score", metrics.same_image_score)


@keras.saving.register_keras_serializable(PACKAGE, "accuracy")
class _Accuracy:
    """The mean of `fslcore.metrics.accuracy` with a margin."""

    __name__ = "_accuracy"

    def __init__(self, margin: float) -> None:
        self.margin, self._of_samples = margin, metrics.accuracy(margin)

    def __call__(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The mean of a batch."""
        return tf.reduce_mean(self._of_samples(y_true, y_pred))

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"margin": self.margin}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _Accuracy:
        """The function that `get_config` describes."""
        return cls(**config)


def accuracy(margin: float = 0.5) -> Metric:
    """`fslcore.metrics.accuracy`; its values are called _accuracy.

    Args:
        margin: Above 0. The default of keras-fsl is 0, with which no pair is ever right.
    """
    return _Accuracy(margin)

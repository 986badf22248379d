# SPDX-License-Identifier: MIT
"""Metrics: of a matrix that compares a batch with itself, of embeddings, and of what a batch can teach.

    classification_accuracy             of a matrix [batch, batch]: the class of the nearest other sample
    mean_score_classification_accuracy  the class with the best mean score
    accuracy  same_image_score          scores against 1 and 0; those of samples with themselves
    min_eigenvalue  MinEigenvalue       whether the kernel is positive semi-definite
    asymmetry  MaxAsymmetry             whether it is symmetric
    RecallAtK  PrecisionAtK             of embeddings [batch, dim]: the k nearest others
    RPrecision  MeanAveragePrecisionAtR     as many as the class has
    Silhouette                          distances within classes and between them
    Collapse  EffectiveDimensions       whether embeddings are all alike, or lie in few dimensions
    ActiveTriplets                      the share of triplets from which a loss learns
    AnchorsWithoutPositive              of the labels: samples alone in their class; any predictions
    retrieval  silhouette               functions of whole sets, as arrays; they stream

Labels are class ids, [batch] or [batch, 1], or, but for ActiveTriplets and the last two, one-hot rows
[batch, classes]. A triplet loss of 0 may mean that all is learnt, or that a batch has nothing to teach, and
one of the margin that all embeddings are equal: `ActiveTriplets`, `AnchorsWithoutPositive` and `Collapse`
tell which.
"""

from fslcore import _backend as _backend
from fslcore.metrics.matrices import (
    MaxAsymmetry,
    MinEigenvalue,
    accuracy,
    asymmetry,
    classification_accuracy,
    mean_score_classification_accuracy,
    min_eigenvalue,
    same_image_score,
)
from fslcore.metrics.ranking import MeanAveragePrecisionAtR, PrecisionAtK, RecallAtK, RPrecision
from fslcore.metrics.sets import retrieval, silhouette
from fslcore.metrics.silhouettes import Silhouette
from fslcore.metrics.teaching import ActiveTriplets, AnchorsWithoutPositive, Collapse, EffectiveDimensions

__all__ = [
    "ActiveTriplets",
    "AnchorsWithoutPositive",
    "Collapse",
    "EffectiveDimensions",
    "MaxAsymmetry",
    "MeanAveragePrecisionAtR",
    "MinEigenvalue",
    "PrecisionAtK",
    "RPrecision",
    "RecallAtK",
    "Silhouette",
    "accuracy",
    "asymmetry",
    "classification_accuracy",
    "mean_score_classification_accuracy",
    "min_eigenvalue",
    "retrieval",
    "same_image_score",
    "silhouette",
]

# SPDX-License-Identifier: MIT
"""Callbacks of `fit` that draw what a model has learnt, for TensorBoard and as files.

    figures     figures of your own functions
    compared    scores of pairs, distances, a support set, answers, a map of embeddings
    projector   embeddings for TensorBoard's projector, and as tables
    values      what a model says of images and of pairs of them

Pictures for TensorBoard need the extra `tensorboard`.
"""

from fslcore.callbacks.compared import (
    BinaryStatistics,
    ConfusionMatrix,
    DistanceMatrix,
    EmbeddingMap,
    QueriesVersusSupport,
)
from fslcore.callbacks.figures import SaveFigures
from fslcore.callbacks.projector import EmbeddingProjector, write_projector

__all__ = [
    "BinaryStatistics",
    "ConfusionMatrix",
    "DistanceMatrix",
    "EmbeddingMap",
    "EmbeddingProjector",
    "QueriesVersusSupport",
    "SaveFigures",
    "write_projector",
]

# SPDX-License-Identifier: MIT
"""Accuracy over N-way K-shot episodes, with its confidence interval and the baselines it must beat.

protocol   evaluate: episodes of a store, scored by a learner
report     the result, and the difference of two
curves     accuracy against the number of classes
baselines  what needs no training
"""

from fslcore.evaluation.baselines import PixelNearestNeighbour
from fslcore.evaluation.curves import accuracy_versus_way
from fslcore.evaluation.protocol import Adapter, Embedder, evaluate
from fslcore.evaluation.report import Report, paired_difference

__all__ = [
    "Adapter",
    "Embedder",
    "PixelNearestNeighbour",
    "Report",
    "accuracy_versus_way",
    "evaluate",
    "paired_difference",
]

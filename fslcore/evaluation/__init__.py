# SPDX-License-Identifier: MIT
"""Accuracy over N-way K-shot episodes, with its confidence interval and the baselines it must beat.

protocol       evaluate: episodes of a store, scored by a learner
report         the result, and the difference of two
curves         accuracy against the number of classes
baselines      what needs no training
open_set       known and unknown queries: ROC, AUROC, thresholds
open_episodes  evaluate_open: the same over episodes
intervals      95 % intervals of shares
"""

from fslcore.evaluation.baselines import PixelNearestNeighbour
from fslcore.evaluation.curves import accuracy_versus_way
from fslcore.evaluation.intervals import Estimate
from fslcore.evaluation.open_episodes import OpenReport, evaluate_open
from fslcore.evaluation.open_set import OpenSetReport, Threshold, open_set_report, threshold_for
from fslcore.evaluation.protocol import Adapter, Embedder, evaluate
from fslcore.evaluation.report import Report, paired_difference

__all__ = [
    "Adapter",
    "Embedder",
    "Estimate",
    "OpenReport",
    "OpenSetReport",
    "PixelNearestNeighbour",
    "Report",
    "Threshold",
    "accuracy_versus_way",
    "evaluate",
    "evaluate_open",
    "open_set_report",
    "paired_difference",
    "threshold_for",
]

# SPDX-License-Identifier: MIT
"""Batches of samples, pairs and tasks as `keras.utils.PyDataset` and `tf.data.Dataset`, seeded.

    source ──> sequence ──> fit(sequence), or sequence.dataset()

A source is a store, a pandas DataFrame of files (`frame_images`), or a pair (array, labels).

    RandomPairs RandomBalancedPairs BalancedPairs   pairs of a source with itself, or of two sources
    ClassPairs GroupPairs                           pairs of distinct classes; within one group at a time
    RandomProduct Product                           all pairs, at random or in order
    KShotNWay OneShotTasks                          n classes with k samples each; one-shot tasks
    Deterministic                                   the samples in order, with or without their labels
"""

from fslcore.data.samples import Samples, frame_images
from fslcore.data.sequences.base import RowSequence
from fslcore.data.sequences.groups import ClassPairs, GroupPairs
from fslcore.data.sequences.pairs import BalancedPairs, RandomBalancedPairs, RandomPairs
from fslcore.data.sequences.products import Deterministic, Product, RandomProduct
from fslcore.data.sequences.tasks import KShotNWay, OneShotTasks

__all__ = [
    "BalancedPairs",
    "ClassPairs",
    "Deterministic",
    "GroupPairs",
    "KShotNWay",
    "OneShotTasks",
    "Product",
    "RandomBalancedPairs",
    "RandomPairs",
    "RandomProduct",
    "RowSequence",
    "Samples",
    "frame_images",
]

# SPDX-License-Identifier: MIT
"""Few-shot learners: one algorithm, one file, each a `keras.Model`."""

from fslcore.learners.learner import Learner
from fslcore.learners.prototypical import Prototypical
from fslcore.learners.siamese import Siamese

__all__ = ["Learner", "Prototypical", "Siamese"]

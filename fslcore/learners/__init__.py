# SPDX-License-Identifier: MIT
"""Few-shot learners: one algorithm, one file, each a `keras.Model`."""

from fslcore.learners.adaptive import AdaptiveLearner
from fslcore.learners.inner import INNER_OPTIMIZERS, SGD, Adam
from fslcore.learners.learner import Learner
from fslcore.learners.maml import MAML
from fslcore.learners.metagan import MetaGAN
from fslcore.learners.prototypical import Prototypical
from fslcore.learners.reptile import Reptile
from fslcore.learners.siamese import Siamese
from fslcore.presets import REPTILE_PRESETS, ReptilePreset

__all__ = [
    "INNER_OPTIMIZERS",
    "MAML",
    "REPTILE_PRESETS",
    "SGD",
    "Adam",
    "AdaptiveLearner",
    "Learner",
    "MetaGAN",
    "Prototypical",
    "Reptile",
    "ReptilePreset",
    "Siamese",
]

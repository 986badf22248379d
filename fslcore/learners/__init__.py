# SPDX-License-Identifier: MIT
"""Few-shot learners: one algorithm, one file, each a `keras.Model`.

EmbeddingLearner  compares embeddings     Siamese, Prototypical, MatchingNetwork
AdaptiveLearner   is fitted to each task  Reptile; EpisodicLearner: MAML, MetaGAN
"""

from fslcore import _backend as _backend
from fslcore.learners.adaptive import AdaptiveLearner
from fslcore.learners.embedding import EmbeddingLearner
from fslcore.learners.episodic import EpisodicLearner
from fslcore.learners.inner import INNER_OPTIMIZERS, InnerAdam, InnerSGD
from fslcore.learners.maml import MAML
from fslcore.learners.matching import MatchingNetwork
from fslcore.learners.metagan import MetaGAN
from fslcore.learners.prototypical import Prototypical
from fslcore.learners.reptile import Reptile
from fslcore.learners.siamese import Siamese
from fslcore.presets import REPTILE_PRESETS, ReptilePreset

__all__ = [
    "INNER_OPTIMIZERS",
    "MAML",
    "REPTILE_PRESETS",
    "AdaptiveLearner",
    "EmbeddingLearner",
    "EpisodicLearner",
    "InnerAdam",
    "InnerSGD",
    "MatchingNetwork",
    "MetaGAN",
    "Prototypical",
    "Reptile",
    "ReptilePreset",
    "Siamese",
]

# Names of earlier versions.
SGD, Adam, Learner = InnerSGD, InnerAdam, EmbeddingLearner

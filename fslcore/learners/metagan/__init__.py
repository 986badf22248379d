# SPDX-License-Identifier: MIT
"""MetaGAN.

learner         the learner: what it is trained on, and its outer step
discriminator   the losses of the classifier, which also tells real from generated images
task_generator  the other two networks: a support and noise -> images
"""

from fslcore.learners.metagan.discriminator import Discriminator, Judgement, WithoutLabels
from fslcore.learners.metagan.learner import MetaGAN
from fslcore.learners.metagan.task_generator import TaskGenerator

__all__ = ["Discriminator", "Judgement", "MetaGAN", "TaskGenerator", "WithoutLabels"]

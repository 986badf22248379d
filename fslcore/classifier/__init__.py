# SPDX-License-Identifier: MIT
"""The production classifier: a few support images per label, added and removed at any time.

    support = fsl.SupportSet(learner)
    support.add("cat", ["cat1.jpg", "cat2.jpg"])
    labels, scores = support.predict(["new.jpg"])

Importing this does not import TensorFlow; a `SupportSet`, which embeds images, does.
"""

from fslcore.classifier.explaining import Explanation
from fslcore.classifier.refitted import Refitted
from fslcore.classifier.rules import ClassMean, Kernel, KNearest, Nearest, Prototype, Rule
from fslcore.classifier.state import State
from fslcore.classifier.support_set import SupportSet

__all__ = [
    "ClassMean",
    "Explanation",
    "KNearest",
    "Kernel",
    "Nearest",
    "Prototype",
    "Refitted",
    "Rule",
    "State",
    "SupportSet",
]

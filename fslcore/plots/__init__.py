# SPDX-License-Identifier: MIT
"""Pictures of a run.

    curves     training, and accuracy against the number of classes
    images     an episode with predictions; real and generated images
    neighbours an image, and those that are nearest to it
    distances  all pairs of some images
    style      colours, and the parts of which figures are made

Each function returns a matplotlib `Figure` of its own and does not touch pyplot's global state.
"""

from fslcore.plots.curves import accuracy_versus_way, smoothed, training_curve
from fslcore.plots.distances import distance_matrix
from fslcore.plots.images import episode_with_predictions, real_versus_generated
from fslcore.plots.neighbours import neighbours
from fslcore.plots.style import (
    BLUE,
    COLOURS,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    blank_figure,
    tidy,
)

__all__ = [
    "BLUE",
    "COLOURS",
    "GRAY",
    "GREEN",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILLION",
    "accuracy_versus_way",
    "blank_figure",
    "distance_matrix",
    "episode_with_predictions",
    "neighbours",
    "real_versus_generated",
    "smoothed",
    "tidy",
    "training_curve",
]

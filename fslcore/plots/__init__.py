# SPDX-License-Identifier: MIT
"""Pictures of a run.

    curves     training, and accuracy against the number of classes
    open_sets  scores of known and unknown images
    confusions labels and answers; pictures in rows
    images     an episode with predictions; images by class; real and generated ones
    neighbours an image, and those that are nearest to it
    distances  all pairs of some images; images against a support set
    boxes      scores of pairs, or results by what was varied, as box plots
    maps       embeddings in a plane
    style      colours, and the parts of which figures are made

Each function returns a matplotlib `Figure` of its own and does not touch pyplot's global state.
"""

from fslcore.plots.boxes import boxes
from fslcore.plots.confusions import confusion_matrix, picture_rows
from fslcore.plots.curves import accuracy_versus_way, smoothed, training_curve
from fslcore.plots.distances import distance_matrix, queries_versus_support
from fslcore.plots.images import class_grid, episode_with_predictions, real_versus_generated
from fslcore.plots.maps import PlaneResult, embedding_map, plane
from fslcore.plots.neighbours import neighbours
from fslcore.plots.open_sets import open_set
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
    "PlaneResult",
    "accuracy_versus_way",
    "blank_figure",
    "boxes",
    "class_grid",
    "confusion_matrix",
    "distance_matrix",
    "embedding_map",
    "episode_with_predictions",
    "neighbours",
    "open_set",
    "picture_rows",
    "plane",
    "queries_versus_support",
    "real_versus_generated",
    "smoothed",
    "tidy",
    "training_curve",
]

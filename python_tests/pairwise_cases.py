# SPDX-License-Identifier: MIT
"""The metrics of `pairwise`, their options, and the exact answers."""

import numpy as np
import oracles
import pytest
from asserts import float32_exactly
from inputs import integers

from fslcore.arguments import METRICS

# The weighted metric has a bias and weights of either sign; integers, so that it too is exact.
WEIGHTED = "weighted_manhattan"
DISTANCES = [metric for metric in METRICS if metric not in ("dot", WEIGHTED)]
EXACT = [metric for metric in METRICS if metric != "cosine"]
ALL = [
    *(pytest.param(metric, None, id=metric) for metric in METRICS),
    pytest.param(WEIGHTED, "sigmoid", id="weighted_manhattan-sigmoid"),
]


def options_of(metric, dim, activation=None, weights=integers, scale=1.0):
    """weights, bias and activation where the metric takes them; the first two are multiplied by `scale`."""
    if metric != WEIGHTED:
        return {}
    return {"weights": weights(99, dim) * np.float32(scale), "bias": -3.0 * scale, "activation": activation}


def expected(x, y, metric, **options):
    """The oracle, rounded once.

    The root of an integer below 2^24 in float64, rounded to float32, is the correctly rounded float32 root:
    53 bits are more than 2 * 24 + 2. The other exact metrics do not round at all.
    """
    matrix = oracles.pairwise(x, y, metric, **options)
    return matrix.astype(np.float32) if metric == "euclidean" else float32_exactly(matrix)

# SPDX-License-Identifier: MIT
"""A call of every function of `fslcore.kernels`."""

import numpy as np
from inputs import normal

from fslcore.pair_terms import PairTerm

X, Y, LABELS = normal(0, 12, 5), normal(1, 7, 5), np.repeat(np.arange(4), 3)
WEIGHTS = {"weights": normal(2, 5), "bias": 0.5, "activation": "sigmoid"}
TERMS = (PairTerm("positive", "softplus", "sum"), PairTerm("negative", "linear", "logsumexp", -0.5, 0.25))
NETWORK = {
    "norms": ("absolute", "first", "softmax"), "hidden": normal(4, 6, 3), "hidden_bias": normal(5, 6),
    "mixing": normal(6, 6), "weights": normal(2, 5), "bias": 0.5, "activation": "sigmoid", "unit": "row",
}  # fmt: skip
STORE = np.random.default_rng(0).integers(0, 256, (9, 6, 6, 2)).astype(np.uint8)

# A call of every function, all arguments given.
CALLS = {
    "pairwise": {"x": X, "y": Y, "metric": "weighted_manhattan", **WEIGHTS},
    "pairwise_grad": {"x": X, "y": Y, "grad": normal(3, 12, 7), "metric": "weighted_manhattan", **WEIGHTS},
    "pairwise_norms": {"x": X, "y": Y, **NETWORK},
    "pairwise_norms_grad": {"x": X, "y": Y, "grad": normal(3, 12, 7), **NETWORK},
    "triplet_loss": {"x": X, "labels": LABELS, "mining": "hard", "margin": 0.5, "metric": "cosine"},
    "triplet_semihard": {"x": X, "labels": LABELS, "margin": 0.5, "metric": "euclidean"},
    "triplet_hard": {"x": X, "labels": LABELS, "margin": 0.5, "metric": "euclidean"},
    "mine_triplets": {"x": X, "labels": LABELS, "mining": "easy_positive", "metric": "cosine"},
    "mine_semihard": {"x": X, "labels": LABELS, "metric": "cosine"},
    "mine_hard": {"x": X, "labels": LABELS, "metric": "cosine"},
    "pair_reductions": {
        "x": X, "labels": LABELS, "terms": TERMS, "y": Y, "y_labels": LABELS[:7],
        "metric": "weighted_manhattan", "weights": WEIGHTS["weights"], "levels": normal(4, 2, 12),
        "leading": False,
    },
    "pair_reductions_grad": {
        "x": X, "labels": LABELS, "terms": TERMS, "values": normal(5, 2, 12) + 5.0, "grad": normal(6, 2, 12),
        "y": Y, "y_labels": LABELS[:7], "metric": "weighted_manhattan", "weights": WEIGHTS["weights"],
        "levels": normal(4, 2, 12), "leading": False,
    },
    "pair_sums": {
        "x": X, "labels": LABELS, "terms": (TERMS[0],), "y": Y, "y_labels": LABELS[:7],
        "metric": "weighted_manhattan", "weights": WEIGHTS["weights"], "levels": normal(4, 2, 12),
        "leading": False, "factors": (0.5,),
    },
    "nearest": {"queries": X, "rows": Y, "k": 3, "metric": "cosine"},
    "group_labels": {"labels": LABELS},
    "sample_episodes": {
        "labels": LABELS, "n_way": 3, "k_shot": 1, "n_query": 2, "episodes": 6, "seed": 3, "first_episode": 4,
    },
    "permutations": {"n": 5, "count": 3, "seed": 3, "first": 4},
    "affine_images": {
        "images": STORE, "transforms": normal(7, 9, 6), "size": (4, 3), "fill": "nearest", "fill_value": 1.0,
    },
    "gather_affine": {
        "store": STORE, "indices": [[1, 8], [0, 3]], "transforms": normal(8, 2, 2, 6), "rotations": [1, 2],
        "scale": 0.5, "shift": 1.0, "size": (4, 3), "fill": "constant", "fill_value": 9.0,
    },
    "affine_transforms": {
        "distributions": np.full((10, 4), 0.5), "sizes": (6, 6, 4, 3), "numbers": [0, 2], "seed": 3,
        "step": 4,
    },
    "gather_images": {
        "store": STORE, "indices": [[1, 8], [0, 3]], "rotations": [1, 2], "scale": 0.5, "shift": 1.0,
        "size": (4, 3),
    },
}  # fmt: skip

# SPDX-License-Identifier: MIT
"""Classifiers small enough to be checked by hand, and the values in them."""

from __future__ import annotations

import keras
import numpy as np

from fslcore.layers import FusedBatchNormalization

SHAPE = (4, 4, 1)
N_WAY = 3


def smooth_network(
    n_way: int = N_WAY, *, normalised: bool = False, dropout: float = 0.0, layer: keras.Layer | None = None
) -> keras.Sequential:
    """Smooth, so that derivatives by hand and those of a learner cannot fall on two sides of a kink."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input(SHAPE), keras.layers.Conv2D(4, 3, use_bias=False)]
    layers += [FusedBatchNormalization()] if normalised else []
    layers += [layer] if layer else []
    layers += [keras.layers.Activation("tanh"), keras.layers.Flatten()]
    layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(n_way)])


def dense_network(n_way: int = N_WAY) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(n_way)])


def normalised_network() -> keras.Model:
    keras.utils.set_random_seed(1)
    # A bias before the normalisation would have no gradient but rounding, of which Adam makes whole steps.
    layers = [keras.layers.Conv2D(4, 3, use_bias=False), FusedBatchNormalization(), keras.layers.Flatten()]
    return keras.Sequential([keras.Input(SHAPE), *layers, keras.layers.Dense(N_WAY)])


def compiled(model: keras.Model, rate: float = 1.0, **options) -> keras.Model:
    model.compile(keras.optimizers.SGD(rate), **options)
    return model


def values(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(v) for v in model.variables]


def flat(images):
    """Images `[n_way, n, ...]` as one batch, and their labels."""
    return images.reshape(-1, *SHAPE), np.repeat(np.arange(len(images)), images.shape[1])


def assert_same(one, other) -> None:
    """All arrays of two lists are equal, bit for bit."""
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)

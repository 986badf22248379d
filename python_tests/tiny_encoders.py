# SPDX-License-Identifier: MIT
"""Encoders small enough to be checked by hand, and images for them."""

import keras
import numpy as np

SHAPE = (4, 4, 1)


def tiny_encoder(width: int = 3, batch_norm: bool = False) -> keras.Model:
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(width)]
    return keras.Sequential([*layers, keras.layers.BatchNormalization()] if batch_norm else layers)


def identity_encoder() -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *SHAPE), dtype=np.float32)

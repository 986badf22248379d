# SPDX-License-Identifier: MIT
"""A MetaGAN small enough to be checked by hand, and images for it."""

from __future__ import annotations

from functools import cache, partial

import keras
import numpy as np
import tensorflow as tf
from stores import pixel_store
from tiny_networks import N_WAY, SHAPE, smooth_network

from fslcore import MetaGAN
from fslcore.data import ImageStore
from fslcore.learners import InnerSGD

NOISE, WIDTH, K_SHOT, N_QUERY = 5, 6, 2, 3
RATE = 0.1
OPTIONS = {"adapt_steps": 2, "meta_batch": 2, "noise_dim": NOISE}

network = partial(smooth_network, normalised=True)


def generator(noise: int = NOISE, width: int = WIDTH, size: int = 16) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = [keras.Input((noise,)), keras.Input((width,))]
    x = keras.layers.Dense(size, activation="sigmoid")(keras.layers.Concatenate()(inputs))
    return keras.Model(inputs, keras.layers.Reshape((size // 4, 4, 1))(x), name="generator")


def encoder(width: int = WIDTH) -> keras.Sequential:
    keras.utils.set_random_seed(3)
    dense = keras.layers.Dense(width, activation="tanh")
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense], name="encoder")


def learner(net: keras.Model | None = None, optimizer: InnerSGD | None = None, **options) -> MetaGAN:
    return MetaGAN(
        net or network(), generator(), encoder(), optimizer or InnerSGD(RATE), **(OPTIONS | options)
    )


def without_adversary(**options) -> MetaGAN:
    return MetaGAN(network(), None, None, InnerSGD(RATE), **(OPTIONS | options))


@cache
def store() -> ImageStore:
    return pixel_store(12, SHAPE)


@cache
def four_sets() -> tuple[np.ndarray, ...]:
    """Support, query, unlabelled support and unlabelled query of two tasks."""
    dataset = store().episodes(N_WAY, K_SHOT, N_QUERY, n_unlabelled=2, tasks=2)
    return tuple(part.numpy() for part in next(iter(dataset)))


def step(model: MetaGAN, batch) -> dict[str, float]:
    dataset = tf.data.Dataset.from_tensors(batch)
    history = model.fit(dataset, verbose=0, shuffle=False).history
    return {name: value for name, (value,) in history.items()}

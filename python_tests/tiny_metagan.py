# SPDX-License-Identifier: MIT
"""A MetaGAN small enough to be checked by hand, and images for it."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from fslcore import MAML, MetaGAN
from fslcore.data import ImageStore
from fslcore.layers.normalization import FusedBatchNormalization
from fslcore.learners import SGD

SHAPE = (4, 4, 1)
N_WAY, K_SHOT, N_QUERY, NOISE, WIDTH = 3, 2, 3, 5, 6
RATE = 0.1
OPTIONS = {"adapt_steps": 2, "meta_batch": 2, "noise_dim": NOISE}


def network(n_way: int = N_WAY, normalised: bool = True, dropout: float = 0.0) -> keras.Sequential:
    keras.utils.set_random_seed(1)
    layers = [keras.Input(SHAPE), keras.layers.Conv2D(4, 3, use_bias=False)]
    layers += [FusedBatchNormalization()] if normalised else []
    layers += [keras.layers.Activation("tanh"), keras.layers.Flatten()]
    layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(n_way)])


def generator(noise: int = NOISE, width: int = WIDTH, size: int = 16) -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = [keras.Input((noise,)), keras.Input((width,))]
    x = keras.layers.Dense(size, activation="sigmoid")(keras.layers.Concatenate()(inputs))
    return keras.Model(inputs, keras.layers.Reshape((size // 4, 4, 1))(x), name="generator")


def encoder(width: int = WIDTH) -> keras.Sequential:
    keras.utils.set_random_seed(3)
    dense = keras.layers.Dense(width, activation="tanh")
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), dense], name="encoder")


def learner(net: keras.Model | None = None, optimizer: SGD | None = None, **options) -> MetaGAN:
    return MetaGAN(net or network(), generator(), encoder(), optimizer or SGD(RATE), **(OPTIONS | options))


def without_adversary(**options) -> MetaGAN:
    return MetaGAN(network(), None, None, SGD(RATE), **(OPTIONS | options))


def compiled(model: MAML, rate: float = 1.0, **options) -> MAML:
    model.compile(keras.optimizers.SGD(rate), **options)
    return model


def four_sets(store: ImageStore) -> tuple[np.ndarray, ...]:
    """Support, query, unlabelled support and unlabelled query of two tasks."""
    dataset = store.episodes(N_WAY, K_SHOT, N_QUERY, n_unlabelled=2, tasks=2)
    return tuple(part.numpy() for part in next(iter(dataset)))


def step(model: MetaGAN, batch) -> dict[str, float]:
    dataset = tf.data.Dataset.from_tensors(batch)
    history = model.fit(dataset, verbose=0, shuffle=False).history
    return {name: value for name, (value,) in history.items()}


def values(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(v) for v in model.variables]


def flat(images):
    return images.reshape(-1, *SHAPE), np.repeat(np.arange(N_WAY), images.shape[1])

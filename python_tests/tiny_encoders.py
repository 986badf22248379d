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


def tiny_pretrained(name, image_shape, weights, taps=()):
    """Ten layers with weights and batch normalisation, frozen, as `pretrained` returns them."""
    keras.utils.set_random_seed(9 if weights else 10)
    images = x = keras.Input(image_shape)
    for number in range(5):
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"convolution{number}")(x)
        x = keras.layers.BatchNormalization(momentum=0.5)(x)
    layers = [keras.Input(image_shape), keras.Model(images, x), keras.layers.GlobalAveragePooling2D()]
    network = keras.Sequential(layers, name=name.replace("-", "_"))
    network.trainable = False
    return network

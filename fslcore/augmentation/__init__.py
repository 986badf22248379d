# SPDX-License-Identifier: MIT
"""Variation of training images: Keras layers, for models, compiled steps, `tf.data` and the samplers.

    RandomAffine       rotation, shear, zoom, shift and flips, with one interpolation
    RandomCrop         a part cut out and enlarged
    RandomLetterbox    images of any shape brought into one size
    RandomColour       brightness, contrast, hue and saturation
    RandomNoise        normally distributed noise
    Chain              several of them
    omniglot koch yolo published ones

Each is a pure function of a seed and a step (`vary`); as a layer it counts the steps itself. Ranges are a
number, a pair of bounds or a `Normal`. `store.pk_batches` and `store.episodes` take one as `augment`, and do
its affine transform in the pass that gathers the images.
"""

from fslcore import _backend as _backend
from fslcore.augmentation.affine import RandomAffine, Warping
from fslcore.augmentation.base import Augmentation
from fslcore.augmentation.chain import Chain
from fslcore.augmentation.colour import RandomColour, RandomNoise
from fslcore.augmentation.crops import RandomCrop, RandomLetterbox
from fslcore.augmentation.ranges import Normal
from fslcore.augmentation.recipes import koch, omniglot, yolo

__all__ = [
    "Augmentation",
    "Chain",
    "Normal",
    "RandomAffine",
    "RandomColour",
    "RandomCrop",
    "RandomLetterbox",
    "RandomNoise",
    "Warping",
    "koch",
    "omniglot",
    "yolo",
]

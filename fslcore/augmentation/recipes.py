# SPDX-License-Identifier: MIT
"""Augmentations as they were published."""

from __future__ import annotations

import math
from typing import Any

from fslcore.arguments import check_one_of
from fslcore.augmentation.affine import RandomAffine
from fslcore.augmentation.chain import Chain
from fslcore.augmentation.colour import RandomColour
from fslcore.augmentation.crops import RandomLetterbox
from fslcore.augmentation.ranges import Normal

VARIANTS = ("paper", "reproduction")


def _slope(degrees: float) -> float:
    """The shear of an angle."""
    return math.tan(math.radians(degrees))


def omniglot(seed: int = 0, **kwargs: Any) -> RandomAffine:
    """The augmentation of keras-fsl's notebook for Omniglot.

    Moves characters by up to 20 % of each side, rotates them by up to 10 degrees and shears them along x by
    -0.8 to 1.2 degrees.

    Args:
        seed: Of the layer.
        **kwargs: For `RandomAffine`, such as `fill`.
    """
    return RandomAffine(
        rotation=10, shear_x=(-_slope(0.8), _slope(1.2)), shift_x=0.2, shift_y=0.2, seed=seed, **kwargs
    )


def koch(variant: str = "paper", seed: int = 0, side: int = 105, **kwargs: Any) -> RandomAffine:
    """The affine distortions of Koch, Zemel and Salakhutdinov (2015), section 3.2; each with probability 0.5.

    Args:
        variant: "paper": rotation by up to 10 degrees, shears of up to 0.3 along both axes, factors of 0.8 to
            1.2 of both sides, shifts of up to 2 pixels of 105. "reproduction": the ranges of the best-known
            reproduction in Keras: 15 degrees, one shear of up to 0.3 radians along x, a factor of 0.8 to 2 of
            each side, shifts of up to 5 pixels.
        seed: Of the layer.
        side: Pixels of a side, of which shifts are counted.
        **kwargs: For `RandomAffine`, such as `fill`.
    """
    check_one_of("variant", variant, VARIANTS)
    if variant == "paper":
        moves: dict[str, Any] = {"rotation": 10, "shear_x": 0.3, "shear_y": 0.3}
        zoom, shift = (0.8, 1.2), 2 / side
    else:
        moves = {"rotation": 15, "shear_x": math.tan(0.3)}
        zoom, shift = (0.8, 2.0), 5 / side
    return RandomAffine(
        **moves, zoom_x=zoom, zoom_y=zoom, shift_x=shift, shift_y=shift, probability=0.5, seed=seed, **kwargs
    )


def yolo(size: int = 416, seed: int = 0) -> Chain:
    """keras-fsl's `YOLO`, for images of 0..1 of any shape, with three channels.

    A factor of N(1, 0.125) of both sides, shifts of up to 10 %, left and right changed with probability 0.5,
    each side resized by N(1, 0.1), the longer one brought to `size`, a border of 128 / 255 around it; then
    the hue multiplied by 0 to 2 and the saturation by 1 / 1.5 to 1.5. All moves take one interpolation.

    Args:
        size: Height and width of the results.
        seed: Of the layers.
    """
    grey = 128 / 255
    affine = RandomAffine(
        zoom=Normal(1, 0.125),
        shift_x=0.1,
        shift_y=0.1,
        flip_x=0.5,
        fill="constant",
        fill_value=grey,
        seed=seed,
    )
    box = RandomLetterbox((size, size), Normal(1, 0.1), affine, fill_value=grey, seed=seed)
    return Chain([box, RandomColour(hue_factor=(0, 2), saturation=(1 / 1.5, 1.5), seed=seed)])

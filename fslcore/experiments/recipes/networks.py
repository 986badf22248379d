# SPDX-License-Identifier: MIT
"""What a recipe knows of the networks by their names: sizes of images."""

from __future__ import annotations

import dataclasses

# Below this, photographs show colours and little else.
_SMALLEST_FOR_PHOTOGRAPHS = 48


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of images for a network, in pixels.

    Attributes:
        least: below it, the network cannot be built.
        drawings: the default for the drawings of the named datasets, and for folders of grey images.
        photographs: the default for folders with colours.
    """

    least: int
    drawings: int
    photographs: int


_SIZES = {
    "conv4": Sizes(16, 28, 64),
    "resnet12": Sizes(16, 28, 64),
    "koch": Sizes(65, 105, 105),
    "wrn-28-10": Sizes(4, 28, 64),
    "basic-cnn": Sizes(2, 28, 64),
    "darknet7": Sizes(32, 64, 128),
    "darknet53": Sizes(32, 64, 128),
}
_PRETRAINED = Sizes(32, 64, 128)
_WITH_STAGES = "efficientnet-lite0"


def is_pretrained(encoder: str) -> bool:
    """Whether a network has seen other images before."""
    return encoder not in _SIZES


def has_stages(encoder: str) -> bool:
    """Whether a network's stages can be seen beside its last layer."""
    return encoder.lower().replace("_", "-") == _WITH_STAGES


def sizes(encoder: str) -> Sizes:
    """The sizes of images for a network."""
    return _SIZES.get(encoder, _PRETRAINED)


def too_small_in_words(encoder: str, image_size: int, channels: int) -> str | None:
    """A sentence if the images are too small to show what photographs show."""
    if channels == 1 or image_size >= _SMALLEST_FOR_PHOTOGRAPHS:
        return None
    return (
        f"{image_size} x {image_size} pixels are few for photographs: objects of like colours become alike "
        f"(`image_size={sizes(encoder).photographs}` is the default for pictures with colours)"
    )

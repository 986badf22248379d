# SPDX-License-Identifier: MIT
"""The size of images where none was chosen, and the word about one that is too small."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fslcore.experiments import pixels
from fslcore.experiments.recipes import networks


def folder_of(place, *modes):
    for number, mode in enumerate(modes):
        (place / f"class{number}").mkdir()
        Image.fromarray(np.zeros((9, 9), np.uint8)).convert(mode).save(place / f"class{number}" / "a.png")
        (place / f"class{number}" / "0-notes.txt").write_text("no picture")
    return place


@pytest.mark.parametrize(
    ("encoder", "modes", "size"),
    [
        ("conv4", ("L", "1"), 28),
        ("conv4", ("L", "RGB"), 64),
        ("resnet12", ("RGBA",), 64),
        ("koch", ("L",), 105),
        ("efficientnet-lite0", ("L",), 64),
        ("efficientnet-lite0", ("P", "L"), 128),
    ],
)
def test_folders_with_colours_have_larger_images(tmp_path, encoder, modes, size):
    assert pixels.usual_size(encoder, folder_of(tmp_path, *modes)) == size
    (tmp_path / "labels.csv").write_text("filename,label\n")
    assert pixels.usual_size(encoder, tmp_path / "labels.csv") == size


@pytest.mark.parametrize(
    ("encoder", "data", "size"),
    [("conv4", "glyphs", 28), ("koch", "omniglot", 105), ("conv4", "emoji", 64), ("koch", "emoji", 65)],
)
def test_named_datasets_have_their_size(encoder, data, size):
    assert pixels.usual_size(encoder, data) == size


def test_small_photographs_are_said():
    sentence = networks.too_small_in_words("conv4", 28, 3)
    assert sentence.startswith("28 x 28 pixels are few for photographs")
    assert "`image_size=64` is the default" in sentence
    assert networks.too_small_in_words("conv4", 28, 1) is None
    assert networks.too_small_in_words("conv4", 48, 3) is None

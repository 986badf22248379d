# SPDX-License-Identifier: MIT
"""The variation of training images: what it does to pixels, and that it is a function of seed and step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.experiments.recipes import augmentation

KEY = np.array([3, 14], np.int64)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def draws(number: int) -> np.ndarray:
    return tf.random.stateless_uniform([number, 10], KEY).numpy()


def varied(pictures: np.ndarray, *kinds: str) -> np.ndarray:
    return augmentation.varied_images(tf.constant(pictures), kinds, tf.constant(KEY)).numpy()


def moved_by_loops(picture: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Each pixel (x, y) of the result is that at matrix * (x, y) + shift, both from the middle; bilinear."""
    height, width, _ = picture.shape
    out = np.zeros(picture.shape)
    for row in range(height):
        for column in range(width):
            at = np.array([column - (width - 1) / 2, row - (height - 1) / 2])
            x, y = matrix @ at + shift + [(width - 1) / 2, (height - 1) / 2]
            x0, y0 = math.floor(x), math.floor(y)
            for dx in (0, 1):
                for dy in (0, 1):
                    share = (1 - abs(x - x0 - dx)) * (1 - abs(y - y0 - dy))
                    inside_x, inside_y = np.clip(x0 + dx, 0, width - 1), np.clip(y0 + dy, 0, height - 1)
                    out[row, column] += share * picture[inside_y, inside_x]
    return out


def test_pictures_are_cut_out_turned_and_mirrored_as_a_loop_does_it():
    pictures, drawn = images(6, 9, 12, 3), draws(6)
    found = varied(pictures, "flip", "crop", "turn")
    assert (drawn[:, 4] < 0.5).any()
    for picture, u, result in zip(pictures, drawn, found, strict=True):
        side, stretch = 0.7 + 0.3 * u[0], 1.15 ** (u[1] - 0.5)
        high, wide = min(side * stretch, 1), min(side / stretch, 1)
        shift = np.array([(u[3] - 0.5) * (1 - wide) * 12, (u[2] - 0.5) * (1 - high) * 9])
        wide *= -1 if u[4] < 0.5 else 1
        angle = (2 * u[5] - 1) * 0.26
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        # The part is measured along the axes of the result: x by its width, y by its height.
        matrix = turn * np.array([[wide, high], [wide, high]])
        np.testing.assert_allclose(result, moved_by_loops(picture, matrix, shift), rtol=0, atol=2e-5)


def test_colours_are_changed_as_a_loop_does_it():
    pictures, drawn = images(5, 4, 6, 3), draws(5)
    found = varied(pictures, "colour")
    for picture, u, result in zip(pictures, drawn[:, 6:9] * 2.0 - 1, found, strict=True):
        mean = picture.mean()
        for row, column in np.ndindex(4, 6):
            pixel = (picture[row, column] - mean) * (1 + 0.3 * u[1]) + mean + 0.15 * u[0]
            pixel = (pixel - pixel.mean()) * (1 + 0.3 * u[2]) + pixel.mean()
            np.testing.assert_allclose(result[row, column], np.clip(pixel, 0, 1), rtol=0, atol=1e-5)


def test_flips_alone_leave_the_pixels_as_they_are():
    pictures = images(2, 4, 5, 5, 1)
    found = varied(pictures, "flip").reshape(-1, 5, 5, 1)
    flipped = draws(8)[:, 4] < 0.5
    assert flipped.any()
    assert not flipped.all()
    for picture, result, mirrored in zip(pictures.reshape(-1, 5, 5, 1), found, flipped, strict=True):
        np.testing.assert_allclose(result, picture[:, ::-1] if mirrored else picture, rtol=0, atol=1e-6)


def test_a_batch_is_a_function_of_the_seed_and_its_number():
    parts = images(4, 3, 1, 6, 6, 3), np.arange(4)
    batches = tf.data.Dataset.from_tensor_slices(parts)

    def all_of(first: int, seed: int = 5) -> list[np.ndarray]:
        done = augmentation.varied(batches.skip(first), ("crop", "colour"), seed, first)
        return [(pictures.numpy(), int(label)) for pictures, label in done]

    whole, rest = all_of(0), all_of(2)
    assert [label for _, label in whole] == [0, 1, 2, 3]
    for (pictures, _), (again, _) in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(pictures, again)
    assert not np.array_equal(whole[0][0], all_of(0, seed=6)[0][0])


def test_support_and_queries_are_varied_in_different_ways():
    same = images(1, 2, 1, 6, 6, 3)
    batches = tf.data.Dataset.from_tensors((same[0], same[0]))
    support, query = next(iter(augmentation.varied(batches, ("crop",), 0, 0)))
    assert not np.array_equal(support, query)


@pytest.mark.parametrize("text", ["flip,blur", "", "flip,flip", "none,flip"])
def test_other_kinds_are_refused(text):
    with pytest.raises(ArgumentError, match="augment must be none, or one or more of flip, crop, turn, col"):
        augmentation.parsed(text)


def test_kinds_are_read():
    assert augmentation.parsed("none") == ()
    assert augmentation.parsed("flip, colour") == ("flip", "colour")

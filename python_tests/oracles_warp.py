# SPDX-License-Identifier: MIT
"""Affine warps as loops: an image pixel by pixel in float32, and what is drawn for it in Python's floats."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from oracles import random_words

F = np.float32


def affine_images(
    images: ArrayLike,  # [N, H, W, C]
    transforms: ArrayLike,  # [N, 6]
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> NDArray[np.float32]:  # [N, *size, C]
    """Each pixel from the four around its place, those outside of the image as `fill` says."""
    images = np.asarray(images, F)
    count, height, width, channels = images.shape
    out = np.empty((count, *(size or (height, width)), channels), F)
    for i, row, col in np.ndindex(out.shape[:3]):
        a, b, c, d, e, f = np.asarray(transforms, F)[i]
        x = place(a * F(col) + b * F(row) + c, width, fill)
        y = place(d * F(col) + e * F(row) + f, height, fill)
        left, upper = np.floor(x), np.floor(y)
        shares = [[(left + F(1)) - x, x - left], [(upper + F(1)) - y, y - upper]]

        def pixel(down: int, right: int, i: int = i, left: float = left, upper: float = upper) -> NDArray:
            r, c = int(upper) + down, int(left) + right
            if 0 <= r < height and 0 <= c < width:
                return images[i, r, c]
            return np.full(channels, fill_value, F)

        rows = [shares[0][0] * pixel(down, 0) + shares[0][1] * pixel(down, 1) for down in (0, 1)]
        out[i, row, col] = shares[1][0] * rows[0] + shares[1][1] * rows[1]
    return out


def place(value: np.float32, pixels: int, fill: str) -> np.float32:
    """A place along an axis, held to where the image, or its first pixel of fill, is."""
    beyond = 1 if fill == "constant" else 0
    return min(max(value, F(-beyond)), F(pixels - 1 + beyond))


def gather_affine(
    store: NDArray[np.uint8],  # [N, H, W, C]
    indices: ArrayLike,  # [...]
    transforms: ArrayLike,  # [..., 6]
    rotations: ArrayLike | None = None,  # a leading part of the shape of indices
    scale: float = 1 / 255,
    shift: float = 0.0,
    size: tuple[int, int] | None = None,
    fill: str = "constant",
    fill_value: float = 0.0,
) -> NDArray[np.float32]:  # [..., *size, C]
    """One image at a time: turned counter-clockwise, warped, then scaled in float32."""
    indices, transforms = np.asarray(indices), np.asarray(transforms, F)
    rotations = np.zeros((), np.int64) if rotations is None else np.asarray(rotations)
    out = np.empty(indices.shape + tuple(size or store.shape[1:3]) + store.shape[3:], F)
    for at in np.ndindex(indices.shape):
        image = np.rot90(store[indices[at]], int(rotations[at[: rotations.ndim]]))
        (warped,) = affine_images(image[None], transforms[at][None], size, fill, fill_value)
        out[at] = warped * F(scale) + F(shift)
    return out


def affine_transforms(
    distributions: ArrayLike, sizes: ArrayLike, numbers: ArrayLike, seed: int, step: int
) -> NDArray[np.float64]:
    """The transforms as products of matrices that act on columns (x, y, 1), in float64."""
    height, width, out_height, out_width = (int(length) for length in np.asarray(sizes))
    numbers = np.asarray(numbers)
    out = np.empty((*numbers.shape, 6))
    for at in np.ndindex(numbers.shape):
        words = random_words(seed, step, (1 << 31) | int(numbers[at]))
        drawn = [draw(*row, rest, words) for row, rest in zip(distributions, RESTS, strict=True)]
        angle, shear_x, shear_y, zoom, zoom_x, zoom_y, shift_x, shift_y, flip_x, flip_y = drawn
        zoom, zoom_x, zoom_y = (max(factor, 1 / 16) for factor in (zoom, zoom_x, zoom_y))
        turn = math.radians(angle)
        picture_to_result = [  # from the last to the first; y points down
            matrix(1, 0, 0, 1, (out_width - 1) / 2, (out_height - 1) / 2),
            matrix(out_width / width, 0, 0, out_height / height),
            matrix(1, 0, 0, 1, shift_x * width, shift_y * height),
            matrix(math.cos(turn), math.sin(turn), -math.sin(turn), math.cos(turn)),
            matrix(1, shear_x, 0, 1),
            matrix(1, 0, shear_y, 1),
            matrix(zoom * zoom_x, 0, 0, zoom * zoom_y),
            matrix(-1 if flip_x > 0 else 1, 0, 0, -1 if flip_y > 0 else 1),
            matrix(1, 0, 0, 1, -(width - 1) / 2, -(height - 1) / 2),
        ]
        out[at] = np.linalg.inv(np.linalg.multi_dot(picture_to_result))[:2].ravel()
    return out


RESTS = (0, 0, 0, 1, 1, 1, 0, 0, 0, 0)  # of a parameter that is not applied


def matrix(a: float, b: float, c: float, d: float, x: float = 0, y: float = 0) -> NDArray[np.float64]:
    return np.array([[a, b, x], [c, d, y], [0, 0, 1]], np.float64)


def draw(first: float, second: float, probability: float, normal: float, rest: float, words) -> float:
    """One parameter; it takes four words."""
    u, v, w, _ = (next(words) / 2**32 for _ in range(4))
    if w >= probability:
        return rest
    if normal:
        return first + second * math.sqrt(-2 * math.log(u + 2**-32)) * math.cos(2 * math.pi * v)
    return first + (second - first) * u

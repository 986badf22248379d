# SPDX-License-Identifier: MIT
"""Random affine and elastic distortion of drawn letters, in NumPy; it never cuts off ink."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float64]

# All lengths in units of half an image: the image reaches from -1 to 1.
_TURN = np.deg2rad(18.0)
_SHEAR = 0.30
_STRETCH = 0.25  # of the logarithm of width to height
_EXTENT = (0.72, 0.86)  # how far the ink reaches from the middle, after the affine part
_SHIFT = 0.07
_BEND = 0.11  # largest elastic displacement
_BEND_KNOTS = 5


def distort(glyphs: _Array, generator: np.random.Generator) -> _Array:
    """Turns, shears, stretches, scales, shifts and bends each image.

    The ink of the input must lie within the middle half of its image (at most 0.5 from the middle along each
    axis). The ink of the output lies within the image: the affine map is scaled to fit the box of ink, and
    shift and bending together do not exceed the remaining margin.

    Args:
        glyphs: float64 [B, S, S], background 0.
        generator: Source of the uniform numbers.

    Returns:
        float64 [B, S, S].
    """
    batch, size, _ = glyphs.shape
    turn, shear, stretch, extent, *shift = generator.uniform(-1.0, 1.0, (6, batch))
    knots = generator.uniform(-_BEND, _BEND, (batch, 2, _BEND_KNOTS, _BEND_KNOTS))
    matrix = _affine(_TURN * turn, _SHEAR * shear, np.exp(_STRETCH * stretch / 2))
    reach = np.abs(matrix) @ _half_box(glyphs)[..., np.newaxis]  # [B, 2, 1], of the box of ink
    wanted = np.interp(extent, (-1.0, 1.0), _EXTENT)
    scale = wanted / reach.max(axis=(1, 2))
    matrix *= scale[:, np.newaxis, np.newaxis]
    room = 1.0 - _BEND - reach[..., 0] * scale[:, np.newaxis]
    shift_xy = np.stack(shift, axis=1) * np.clip(room, 0.0, _SHIFT)
    inverse: Any = np.linalg.inv(matrix)
    return _resample(glyphs, inverse, shift_xy, _bend(knots, size))


def _affine(turn: _Array, shear: _Array, stretch: _Array) -> _Array:
    """Maps from (x, y) of the letter to (x, y) of the image, [B, 2, 2]."""
    cos, sin, one, zero = np.cos(turn), np.sin(turn), np.ones_like(turn), np.zeros_like(turn)
    rotation = _matrices(cos, -sin, sin, cos)
    return rotation @ _matrices(one, shear, zero, one) @ _matrices(stretch, zero, zero, 1.0 / stretch)


def _matrices(a: _Array, b: _Array, c: _Array, d: _Array) -> _Array:
    return np.stack([np.stack([a, b], axis=-1), np.stack([c, d], axis=-1)], axis=-2)


def _half_box(glyphs: _Array) -> _Array:
    """Half width and half height of the ink, measured from the middle of the image, [B, 2]."""
    size = glyphs.shape[-1]
    distance = np.abs(np.arange(size) - (size - 1) / 2) + 0.5  # to the far edge of a pixel
    columns, rows = glyphs.any(axis=1), glyphs.any(axis=2)
    return np.stack([(columns * distance).max(axis=1), (rows * distance).max(axis=1)], axis=1) * (2.0 / size)


def _bend(knots: _Array, size: int) -> _Array:
    """Interpolates knots to a smooth displacement [B, 2, size, size], which stays within their range."""
    at = np.linspace(0.0, knots.shape[-1] - 1.0, size)
    weights = np.exp(-(((at[:, np.newaxis] - np.arange(knots.shape[-1])) / 0.6) ** 2))
    weights /= weights.sum(axis=1, keepdims=True)  # a weighted mean of the knots at every pixel
    return weights @ knots @ weights.T


def _resample(glyphs: _Array, inverse: _Array, shift: _Array, bend: _Array) -> _Array:
    """Reads each output pixel p at inverse @ (p - shift + bend(p)), bilinearly; 0 outside."""
    batch, size, _ = glyphs.shape
    axis = (np.arange(size) + 0.5) * (2.0 / size) - 1.0
    grid: Any = np.stack(np.meshgrid(axis, axis))  # [2, S, S] of x and y
    offset = (grid + bend - shift[:, :, np.newaxis, np.newaxis]).reshape(batch, 2, size * size)
    x, y = ((inverse @ offset + 1.0) * (size / 2.0) - 0.5 + 1.0).transpose(1, 0, 2)  # + 1: the border
    # A border of one background pixel: points outside are clipped onto it.
    bordered = np.pad(glyphs, ((0, 0), (1, 1), (1, 1))).ravel()
    width = size + 2
    x, y = np.clip(x, 0.0, width - 1.001), np.clip(y, 0.0, width - 1.001)
    left, top = x.astype(np.int64), y.astype(np.int64)
    x, y = x - left, y - top
    first = np.arange(batch)[:, np.newaxis] * (width * width) + top * width + left
    upper = bordered[first] * (1.0 - x) + bordered[first + 1] * x
    lower = bordered[first + width] * (1.0 - x) + bordered[first + width + 1] * x
    return (upper * (1.0 - y) + lower * y).reshape(batch, size, size)

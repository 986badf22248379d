# SPDX-License-Identifier: MIT
"""The images of a store inside a `tf.data.Dataset`: gathered from memory, from a memory map, or decoded."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore import ops
from fslcore.data.arrays import tensor_of
from fslcore.data.jpeg import JpegImages
from fslcore.data.views import AnyImages, MappedRows, Paging

_LARGE = 2**26  # bytes of images: another copy of so many is worth avoiding


class Warp(NamedTuple):
    """How images are warped as they are gathered; see `fslcore.ops.gather_affine`.

    Attributes:
        transforms: float32 [*rows.shape, 6].
        size: (height, width) of the results, or None.
        fill: What is outside of an image.
        fill_value: From 0 to 255.
    """

    transforms: tf.Tensor
    size: tuple[int, int] | None
    fill: str
    fill_value: float


class Pixels(ABC):
    """The images uint8 [N, H, W, C] that a sampler draws from.

    Attributes:
        image_shape: [H, W, C].
        array: A tensor from which compiled code gathers the images, uint8 or float32 [M, H, W, C]; None if
            only `gather` does.
        rows: Where each image lies in that array, int64 [N]; [0] if image i lies at i.
        is_large: Whether the rewriting of datasets by tf.data, which copies the tensors that they use, must
            be kept from them.
        can_be_turned: Whether `gather` turns them.
    """

    image_shape: list[int]
    array: tf.Tensor | None
    rows: tf.Tensor
    is_large: bool
    can_be_turned = True

    @abstractmethod
    def gather(self, rows: tf.Tensor, turns: tf.Tensor, warp: Warp | None = None) -> tf.Tensor:
        """Images float32 [*rows.shape, H, W, C] in [0, 1].

        Args:
            rows: Where the images lie, as `self.rows` says.
            turns: Quarter turns, for the leading axes of `rows`.
            warp: How they are warped after these.
        """

    def watched(self, tables: tf.data.Dataset, images: int) -> tf.data.Dataset:
        """Tables of elements, seen before their images are gathered.

        Args:
            tables: Elements (((rows, quarter turns), ...), labels).
            images: How many images one of them has, at most.
        """
        del images
        return tables


def pixels_of(images: AnyImages, tensor: Callable[[], tf.Tensor]) -> Pixels:
    """The images of a store, wherever they lie; `tensor` makes a tensor of those that are an array."""
    if isinstance(images, JpegImages):
        return _Compressed(images)
    if isinstance(images, MappedRows):
        return _Gathered(tensor_of(images.base), images.base, images.rows)
    return _Gathered(tensor(), images)


class _Gathered(Pixels):
    """Images of an array in memory or in a memory map, all of them or some rows."""

    def __init__(self, tensor: tf.Tensor, images: Any, rows: npt.NDArray[np.int64] | None = None) -> None:
        self._images = tensor
        self._paging = Paging(images)
        self.array = None if self._paging.is_needed else tensor
        self.rows = constant(np.zeros(0, np.int64) if rows is None else rows)
        self.image_shape = list(images.shape[1:])
        self.is_large = math.prod(images.shape) >= _LARGE

    def gather(self, rows: tf.Tensor, turns: tf.Tensor, warp: Warp | None = None) -> tf.Tensor:
        """Images float32 [*rows.shape, H, W, C] in [0, 1]."""
        return _gathered(self._images, rows, turns, warp)

    def watched(self, tables: tf.data.Dataset, images: int) -> tf.data.Dataset:
        """The tables; the operating system is told which rows of a large memory map will be read."""
        if not self._paging.is_needed:
            return tables

        def passed_on(found: Any, labels: Any) -> Any:
            rows = tf.concat([tf.reshape(rows, [-1]) for rows, _ in found], 0)
            with tf.control_dependencies([tf.numpy_function(self._expect, [rows], tf.bool)]):
                return tf.nest.map_structure(tf.identity, (found, labels))

        # A call of Python costs as much as to gather an episode: one for some of them, if they are alike.
        if not all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(tables.element_spec)):
            return tables.map(unconverted(passed_on))
        some = max(1, self._paging.rows_at_a_time // images)
        return tables.batch(some).map(unconverted(passed_on)).unbatch()

    def _expect(self, rows: npt.NDArray[Any]) -> np.bool_:
        self._paging.expect(rows)
        return np.True_


class _Compressed(Pixels):
    """Images that are decoded when they are gathered."""

    def __init__(self, images: JpegImages) -> None:
        self._images = images
        self.array, self.rows = None, constant(np.zeros(0, np.int64))
        self.image_shape = list(images.shape[1:])
        self.is_large = False

    def gather(self, rows: tf.Tensor, turns: tf.Tensor, warp: Warp | None = None) -> tf.Tensor:
        """Images float32 [*rows.shape, H, W, C] in [0, 1]."""
        # Only the bytes are fetched in Python; TensorFlow decodes without its lock.
        flat = tf.reshape(rows, [-1])
        encoded = tf.ensure_shape(tf.numpy_function(self._images.encoded, [flat], tf.string), [None])
        images = tf.map_fn(unconverted(self._decoded), encoded, fn_output_signature=tf.uint8)
        positions = tf.reshape(tf.range(tf.size(flat)), tf.shape(rows))
        return _gathered(images, positions, turns, warp)

    def _decoded(self, encoded: tf.Tensor) -> tf.Tensor:
        channels = self.image_shape[2]
        image = tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE")
        return tf.ensure_shape(image, self.image_shape)


def _gathered(images: tf.Tensor, rows: tf.Tensor, turns: tf.Tensor, warp: Warp | None) -> tf.Tensor:
    if warp is None:
        return ops.gather_images(images, rows, rotations=turns)
    transforms, size, fill, fill_value = warp
    return ops.gather_affine(images, rows, transforms, turns, size=size, fill=fill, fill_value=fill_value)


def unconverted(function: Any) -> Any:
    """The function without AutoGraph, which takes long to find nothing to convert."""
    return tf.autograph.experimental.do_not_convert(function)


def constant(values: Any) -> tf.Tensor:
    """An eager tensor on the CPU, even where a graph is being built."""
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.constant(values)

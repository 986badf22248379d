# SPDX-License-Identifier: MIT
"""Large arrays of images: rows of them, and tensors on them, without a copy where none is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import tensorflow as tf

# TensorFlow aborts the process if the memory of a tensor that it has not made itself begins elsewhere.
_ALIGNMENT = 64


def empty_images(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """An uninitialised array uint8 on which a tensor can be made without a copy."""
    size = int(np.prod(shape, dtype=np.int64))
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].reshape(shape)


def is_aligned(images: npt.NDArray[np.uint8]) -> bool:
    """Whether a tensor can be made on the array without a copy."""
    return bool(images.flags.c_contiguous) and images.ctypes.data % _ALIGNMENT == 0


def rows_of(images: npt.NDArray[np.uint8], rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Some images: a view where the rows follow each other, otherwise a copy.

    Args:
        images: uint8 [N, ...].
        rows: Row numbers [M], at least one.
    """
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows) and np.all(rows[1:] > rows[:-1]):
        return images[first : last + 1]
    chosen = empty_images((len(rows), *images.shape[1:]))
    # With mode "raise" NumPy fills a buffer of its own first.
    return np.take(images, rows, axis=0, out=chosen, mode="clip")


def tensor_of(images: npt.NDArray[np.uint8]) -> tf.Tensor:
    """An eager tensor on the CPU, on the memory of the array if it begins where TensorFlow needs it.

    Nothing may write to the array afterwards.
    """
    import tensorflow as tf

    with tf.init_scope(), tf.device("CPU:0"):
        if not is_aligned(images):
            return tf.constant(images)
        writable: Any = np.asarray(_Writable(images))
        return tf.experimental.dlpack.from_dlpack(writable.__dlpack__())


class _Writable:
    """Says that an array can be written: NumPy hands no other one out, and TensorFlow writes to no tensor."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self.images = images  # keeps the memory
        address, _ = images.__array_interface__["data"]
        self.__array_interface__ = {**images.__array_interface__, "data": (address, False)}

# SPDX-License-Identifier: MIT
"""Arrays and lists that never change, and whose changed copies share their memory.

What is added is written behind the part that others see, into spare capacity; what is removed is left out of
a list of rows. A copy is made when the capacity is used up (each time for half as many rows again), and when
the rows are read after some were left out, which costs as much as reading them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Label = str | int

_LEAST_SPARE = 64  # rows


class _Buffer:
    """Memory for more rows than are used; each row is handed out once."""

    def __init__(self, array: npt.NDArray[Any], used: int) -> None:
        self.array = array
        self._used = used
        self._lock = threading.Lock()

    def claim(self, start: int, count: int) -> bool:
        """Takes the rows after `start`, unless another copy has them already or they do not fit."""
        with self._lock:
            if start != self._used or start + count > len(self.array):
                return False
            self._used = start + count
            return True


class Rows:
    """An array [n, ...] that never changes.

    Args:
        array: The rows, which nothing may change afterwards.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        # The memory, how much of it is there, and which rows of it in which order (None: all). One tuple,
        # since a reader may put another one of the same rows in its place while a writer reads it.
        self._parts: tuple[_Buffer, int, npt.NDArray[np.int64] | None] = (
            _Buffer(array, len(array)),
            len(array),
            None,
        )

    def __len__(self) -> int:
        _, end, index = self._parts
        return end if index is None else len(index)

    @property
    def array(self) -> npt.NDArray[Any]:
        """The rows as one array that cannot be written to."""
        buffer, end, index = self._parts
        if index is not None:
            buffer, end, index = self._parts = (
                _with_spare(buffer.array, len(index), index),
                len(index),
                None,
            )
        view = buffer.array[:end]
        view.flags.writeable = False
        return view

    def appended(self, values: npt.NDArray[Any]) -> Rows:
        """These rows and then `values` [m, ...]."""
        buffer, end, index = self._parts
        start, count = end, len(values)
        if not buffer.claim(start, count):
            start = len(self)
            buffer, index = _with_spare(buffer.array, start, index, count), None
            buffer.claim(start, count)
        buffer.array[start : start + count] = values
        if index is not None:
            index = np.concatenate([index, np.arange(start, start + count)])
        return _rows((buffer, start + count, index))

    def without(self, left_out: npt.NDArray[np.bool_]) -> Rows:
        """The rows that are not left out; `left_out` is [n]."""
        buffer, end, index = self._parts
        kept = np.flatnonzero(~left_out)
        return _rows((buffer, end, kept if index is None else index[kept]))

    def row(self, number: int) -> npt.NDArray[Any]:
        """One row, without a copy of the others."""
        buffer, _, index = self._parts
        return buffer.array[number if index is None else index[number]]

    def with_rows(self, numbers: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> Rows:
        """These rows with others, `values` [m, ...], at the places `numbers` [m]."""
        buffer, end, index = self.appended(values)._parts
        places = np.arange(end) if index is None else index  # `appended` has made it: it is nobody else's
        places[numbers] = places[len(self) :]
        return _rows((buffer, end, places[: len(self)]))


def _rows(parts: tuple[_Buffer, int, npt.NDArray[np.int64] | None]) -> Rows:
    rows = Rows.__new__(Rows)
    rows._parts = parts
    return rows


def _with_spare(
    array: npt.NDArray[Any], count: int, index: npt.NDArray[np.int64] | None, more: int = 0
) -> _Buffer:
    """The rows of an array in new memory, with room for `more` of them and some besides."""
    spare = max(_LEAST_SPARE, (count + more) // 2)
    # Zeros cost nothing until they are written to, unlike an empty array on some systems.
    fresh = np.zeros((count + more + spare, *array.shape[1:]), array.dtype)
    if index is None:
        fresh[:count] = array[:count]
    else:
        np.take(array, index, axis=0, out=fresh[:count], mode="clip")
    return _Buffer(fresh, count)


class Labels:
    """Distinct labels in an order that never changes.

    Args:
        labels: The labels; 1 and "1" are two.
    """

    def __init__(self, labels: Iterable[Label] = ()) -> None:
        self._list = list(labels)
        self._numbers = {label: number for number, label in enumerate(self._list)}
        self._count = len(self._list)
        self._lock = threading.Lock()
        self._tuple: tuple[Label, ...] | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def tuple(self) -> tuple[Label, ...]:
        """The labels."""
        if self._tuple is None:
            self._tuple = tuple(self._list[: self._count])
        return self._tuple

    def number(self, label: Label) -> int | None:
        """The place of a label; None if it is not there."""
        number = self._numbers.get(label)
        return None if number is None or number >= self._count else number

    def appended(self, labels: list[Label]) -> Labels:
        """These labels and then others, none of which is there."""
        with self._lock:
            if len(self._list) != self._count:  # another copy has added some
                return Labels([*self.tuple, *labels])
            self._list.extend(labels)
            self._numbers.update(zip(labels, range(self._count, len(self._list)), strict=True))
            grown = Labels.__new__(Labels)
            grown._list, grown._numbers, grown._lock = self._list, self._numbers, self._lock
            grown._count, grown._tuple = len(self._list), None
            return grown

    def without(self, number: int) -> Labels:
        """The labels except the one at a place."""
        return Labels([*self.tuple[:number], *self.tuple[number + 1 :]])

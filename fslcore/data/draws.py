# SPDX-License-Identifier: MIT
"""Random numbers of an epoch: a function of (seed, purpose, epoch), the same in every version of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import random

Rows = npt.NDArray[np.int64]

_ROUNDS = 6  # of the permutation of numbers: four make a good one of good rounds
_UNIT = 2.0**-53


class Draws:
    """Random numbers, one after the other.

    NumPy keeps the raw stream of a bit generator between its versions, and no method of `Generator`: all
    numbers are made of the raw ones.

    Args:
        seed: Seed of the sequence.
        epoch: Number of the epoch; every epoch has a stream of its own.
        purpose: What the numbers are for; every purpose has a stream of its own.
    """

    def __init__(self, seed: int, epoch: int, purpose: int = 0) -> None:
        key = [random.key("pairs", seed), purpose]
        self._raw = np.random.Philox(key=np.array(key, np.uint64), counter=[0, 0, epoch, 0])

    def raw(self, count: int) -> npt.NDArray[np.uint64]:
        """Numbers of 64 bits."""
        return np.asarray(self._raw.random_raw(count), np.uint64)

    def uniform(self, count: int) -> npt.NDArray[np.float64]:
        """Numbers of at least 0 and below 1."""
        return (self.raw(count) >> np.uint64(11)).astype(np.float64) * _UNIT

    def permutation(self, count: int) -> Rows:
        """The numbers 0..count-1 in random order."""
        return np.argsort(self.raw(count), kind="stable")

    def below(self, sizes: Any) -> Rows:
        """A number of 0..size-1 for every size [n], all of them at least 1."""
        sizes = np.asarray(sizes, np.int64)
        drawn = (self.uniform(sizes.size) * sizes).astype(np.int64)
        return np.minimum(drawn, sizes - 1)  # the product may have been rounded up

    def distinct(self, sizes: Any, count: int, taken: Rows | None = None) -> Rows:
        """Distinct numbers of 0..size-1 for every size, uniformly, in random order.

        Args:
            sizes: [n], each at least `count`, and one more if a number is taken.
            count: How many numbers.
            taken: A number for every size [n] that is not drawn; None: all may be.

        Returns:
            [n, count].
        """
        sizes = np.asarray(sizes, np.int64)
        chosen = np.empty((len(sizes), 0), np.int64) if taken is None else taken[:, None]
        first = chosen.shape[1]
        for _ in range(count):
            number = self.below(sizes - chosen.shape[1])
            for skipped in np.sort(chosen, axis=1).T:
                number += number >= skipped
            chosen = np.concatenate([chosen, number[:, None]], axis=1)
        return chosen[:, first:]


class Shuffled:
    """A random permutation of 0..count-1 of which any part is computed alone, without a table.

    A Feistel network permutes the numbers of an even number of bits; a number that it takes beyond `count`
    goes through it again, until it is within.

    Args:
        count: How many numbers, below 2^62.
        draws: Where the keys of the rounds come from.
    """

    def __init__(self, count: int, draws: Draws) -> None:
        self._count = count
        self._half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        self._keys = draws.raw(_ROUNDS)

    def __call__(self, first: int, last: int) -> Rows:
        """The numbers at the positions first..last-1 of the permutation."""
        numbers = self._once(np.arange(first, last, dtype=np.uint64))
        while (beyond := np.flatnonzero(numbers >= self._count)).size:
            numbers[beyond] = self._once(numbers[beyond])
        return numbers.astype(np.int64)

    def _once(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return (left << self._half) | right


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Bits that depend on all bits: the finisher of SplitMix64 (Steele, Lea and Flood, 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))

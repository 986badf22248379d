# SPDX-License-Identifier: MIT
"""What all sequences have in common: a `keras.utils.PyDataset` whose batches are tables of rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore import random
from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count
from fslcore.data.samples import Samples

Preprocessing = Callable[[Any], Any]


class Numbers(NamedTuple):
    """A batch before its samples are read.

    Attributes:
        rows: int64 tables, one for each input that holds samples.
        others: Arrays that are ready: targets, labels.
    """

    rows: tuple[npt.NDArray[np.int64], ...]
    others: tuple[npt.NDArray[Any], ...]


class RowSequence(keras.utils.PyDataset):
    """Batches of samples, each a pure function of (source, seed, epoch, number of the batch).

    `fit` goes from one epoch to the next by itself. `batch` makes any batch of any epoch, and `dataset` makes
    the same batches as a `tf.data.Dataset`.

    Attributes:
        epoch: Number of the epoch whose batches an index yields.
        seed: Seed of the sequence.
    """

    def __init__(
        self,
        sides: Sequence[Samples],
        preprocessing: Preprocessing | Sequence[Preprocessing | None] | None,
        seed: int,
        epoch: int,
        others: Sequence[tuple[str, tuple[int | None, ...]]],
        lead: Sequence[tuple[int | None, ...]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepares the parts of a batch.

        Args:
            sides: Where each input that holds samples comes from.
            preprocessing: A function of the samples of a batch, for all inputs, or one (or None) for each.
            seed: Seed of the sequence.
            epoch: Number of the first epoch.
            others: Dtype and shape of the other arrays of a batch.
            lead: Axes of each input before those of a sample; [None] by default.
            **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of Keras.
        """
        super().__init__(**kwargs)
        random.key("pairs", seed)
        check_count("epoch", epoch, 0)
        self.seed, self.epoch = seed, int(epoch)
        self._first, self._begun, self._asked = int(epoch), 0, False
        self._sides = tuple(sides)
        self._preprocessing = _of_each_side(preprocessing, len(self._sides))
        self._lead = tuple(lead or [(None,)] * len(self._sides))
        self._others = tuple(others)
        self._planned: tuple[int, Any] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Number of batches of an epoch."""

    @abstractmethod
    def _numbers(self, plan: Any, index: int) -> Numbers:
        """Batch `index` of the epoch with this plan."""

    @abstractmethod
    def _plan(self, epoch: int) -> Any:
        """What all batches of an epoch are made from."""

    def _assembled(self, samples: tuple[Any, ...], others: tuple[Any, ...]) -> Any:
        """A batch as Keras takes it."""
        inputs = samples if len(samples) > 1 else samples[0]
        return inputs, *others

    def __getitem__(self, index: int) -> Any:
        self._asked = True
        return self.batch(index, self.epoch)

    def on_epoch_begin(self) -> None:
        """Goes to the next epoch, the first one at its first call; Keras calls it."""
        # Keras also looks at some batches, and says that an epoch has ended, before the first one begins.
        self.epoch = self._first + self._begun
        self._begun += 1

    def on_epoch_end(self) -> None:
        """Goes to the next epoch, for loops that have no beginning; Keras calls it, at times twice."""
        self.epoch += self._asked
        self._asked = False

    def rows(self, index: int, epoch: int | None = None) -> Numbers:
        """The rows of a batch, and what stands beside them, without reading a sample.

        Args:
            index: Number of the batch, from 0; a negative one counts from the end.
            epoch: Number of the epoch; the present one if None.

        Raises:
            IndexError: There is no such batch.
        """
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"index must be below {length}, the batches of an epoch, received index={index}")
        epoch = self.epoch if epoch is None else epoch
        planned = self._planned  # of another epoch, if another thread has asked for it meanwhile
        if planned is None or planned[0] != epoch:
            planned = self._planned = (epoch, self._plan(epoch))
        return self._numbers(planned[1], index % length)

    def batch(self, index: int, epoch: int) -> Any:
        """Batch `index` of an epoch, as NumPy arrays."""
        found = self.rows(index, epoch)
        samples = tuple(side.read(rows) for side, rows in zip(self._sides, found.rows, strict=True))
        return self._assembled(self._preprocessed(samples), found.others)

    def dataset(self, *, epochs: int | None = None, first: int | None = None) -> tf.data.Dataset:
        """The batches of some epochs, one after the other, as a `tf.data.Dataset`.

        `preprocessing` becomes a part of its graph. Every iteration begins with the first epoch again.

        Args:
            epochs: How many epochs; without end if None.
            first: Number of the first epoch; the present one if None.

        Returns:
            A dataset of the batches that an index yields, read ahead on all cores, in order.

        Raises:
            ArgumentError: A number is out of range.
        """
        if epochs is not None:
            check_count("epochs", epochs, 1)
        first = self.epoch if first is None else first
        check_count("first", first, 0)
        length = len(self)
        types = [side.dtype for side in self._sides] + [np.dtype(dtype) for dtype, _ in self._others]

        def read(number: npt.NDArray[np.int64]) -> list[npt.NDArray[Any]]:
            epoch, index = divmod(int(number), length)
            found = self.rows(index, epoch)
            read = [side.read(rows) for side, rows in zip(self._sides, found.rows, strict=True)]
            return [*read, *(np.asarray(other) for other in found.others)]

        def made(number: tf.Tensor) -> Any:
            parts = tf.numpy_function(read, [number], [tf.as_dtype(dtype) for dtype in types], stateful=False)
            samples, others = parts[: len(self._sides)], parts[len(self._sides) :]
            for part, side, lead in zip(samples, self._sides, self._lead, strict=True):
                part.set_shape([*lead, *side.shape])
            for part, (_, shape) in zip(others, self._others, strict=True):
                part.set_shape(shape)
            return self._assembled(self._preprocessed(tuple(samples)), tuple(others))

        start = first * length
        stop = np.iinfo(np.int64).max if epochs is None else start + epochs * length
        numbers = tf.data.Dataset.range(start, stop)
        made = tf.autograph.experimental.do_not_convert(made)
        batches = numbers.map(made, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        if epochs is None:
            batches = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        return batches.prefetch(tf.data.AUTOTUNE)

    def _preprocessed(self, samples: tuple[Any, ...]) -> tuple[Any, ...]:
        pairs = zip(self._preprocessing, samples, strict=True)
        return tuple(each if function is None else function(each) for function, each in pairs)


class Batched(RowSequence):
    """A sequence whose plan is a table of items, cut into batches; the last one may be smaller.

    Attributes:
        batch_size: Items of a batch.
    """

    def __init__(self, items: int, batch_size: int, *args: Any, **kwargs: Any) -> None:
        check_count("batch_size", batch_size, 1)
        super().__init__(*args, **kwargs)
        self.batch_size = int(batch_size)
        self._items = items

    def __len__(self) -> int:
        return -(-self._items // self.batch_size)

    def _part(self, index: int) -> slice:
        """The items of a batch."""
        return slice(index * self.batch_size, min((index + 1) * self.batch_size, self._items))


def _of_each_side(preprocessing: Any, sides: int) -> tuple[Preprocessing | None, ...]:
    each = tuple(preprocessing) if isinstance(preprocessing, (tuple, list)) else (preprocessing,) * sides
    if len(each) != sides or not all(one is None or callable(one) for one in each):
        raise ArgumentError(
            "preprocessing",
            f"must be a function of the samples of a batch, or {sides} of them, one for each input",
            preprocessing,
        )
    return each

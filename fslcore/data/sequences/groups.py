# SPDX-License-Identifier: MIT
"""Batches of pairs of distinct classes, and pairs within a group such as an alphabet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count
from fslcore.data.draws import Draws, Rows
from fslcore.data.samples import Blocks, Samples, samples_of
from fslcore.data.sequences.base import Numbers, Preprocessing, RowSequence


@dataclass(frozen=True, eq=False)
class Group:
    """The samples of one group, class by class.

    Attributes:
        blocks: Only of the classes that have samples in the group.
        name: What it is called in messages.
    """

    blocks: Blocks
    name: str

    @cached_property
    def paired(self) -> Rows:
        """The classes that have two samples or more, as indices of blocks."""
        return np.flatnonzero(self.blocks.sizes > 1)


def groups_of(samples: Samples, within: bool) -> list[Group]:
    """The groups of the samples, or all of them as one.

    Raises:
        ArgumentError: There are no groups, and they are asked for.
    """
    if not within:
        return [Group(_present(samples.by_class), samples.name)]
    if samples.groups is None:
        raise ArgumentError("source", "must have groups, such as the column 'group' of a frame", samples.name)
    found = []
    for number, name in enumerate(samples.group_names):
        rows = np.flatnonzero(samples.groups == number)
        blocks = Blocks.of(samples.labels[rows], len(samples.class_names))
        of_all = Blocks(rows[blocks.rows], blocks.starts, blocks.sizes)
        found.append(Group(_present(of_all), f"the group {name!r} of {samples.name}"))
    return found


def _present(blocks: Blocks) -> Blocks:
    there = blocks.sizes > 0
    return Blocks(blocks.rows, blocks.starts[there], blocks.sizes[there])


class _HalfAndHalf(RowSequence):
    """Batches ((query, support), target float32 [B]): half of the pairs of one class, half of two."""

    def __init__(
        self,
        source: Any,
        batch_size: int,
        batches: int,
        preprocessing: Any,
        seed: int,
        epoch: int,
        **kwargs: Any,
    ) -> None:
        check_count("batch_size", batch_size, 2)
        if batch_size % 2:
            raise ArgumentError("batch_size", "must be even, one half for each kind of pairs", batch_size)
        check_count("batches", batches, 1)
        self.samples = samples_of("source", source)
        self.samples.check_classes("source", 2)
        self.batch_size, self._batches = int(batch_size), int(batches)
        both, lead = (self.samples, self.samples), (self.batch_size,)
        super().__init__(both, preprocessing, seed, epoch, [("float32", lead)], [lead, lead], **kwargs)

    def __len__(self) -> int:
        return self._batches

    def _plan(self, epoch: int) -> int:
        return epoch

    def _found(self, query: Rows, support: Rows) -> Numbers:
        equal = self.samples.labels[query] == self.samples.labels[support]
        return Numbers((query, support), (equal.astype(np.float32),))


class ClassPairs(_HalfAndHalf):
    """Batches with queries of distinct classes: the first half with another class, the second with its own.

    The batches of Koch et al. (2015) in their best-known reproduction, without pairs of a sample and itself.

    Args:
        source: A store, a DataFrame as `frame_images` takes it, or a pair (array, labels).
        batch_size: Pairs of a batch, even, at most the number of classes.
        batches: Batches of an epoch.
        preprocessing: A function of the samples [B, ...] of a batch, or a pair of them, one for each input.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Raises:
        ArgumentError: A class has a single sample, the batch is larger than there are classes, or an argument
            is not what it must be.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        batches: int,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(source, batch_size, batches, preprocessing, seed, epoch, **kwargs)
        classes = len(self.samples.class_names)
        if batch_size > classes:
            raise ArgumentError(
                "batch_size",
                f"must be at most {classes}, the number of classes of {self.samples.name}",
                batch_size,
            )
        self.samples.check_sizes("source", 2, self.samples.name, "a query and another one")

    def _numbers(self, plan: int, index: int) -> Numbers:
        draws, blocks, half = Draws(self.seed, plan, index), self.samples.by_class, self.batch_size // 2
        classes = draws.permutation(len(blocks.sizes))[: self.batch_size]
        query = draws.below(blocks.sizes[classes])
        count = np.full(half, len(blocks.sizes))
        other = draws.distinct(count, 1, classes[:half])[:, 0]
        different = blocks.starts[other] + draws.below(blocks.sizes[other])
        own = classes[half:]
        same = blocks.starts[own] + draws.distinct(blocks.sizes[own], 1, query[half:])[:, 0]
        support = blocks.rows[np.concatenate([different, same])]
        return self._found(blocks.rows[blocks.starts[classes] + query], support)


class GroupPairs(_HalfAndHalf):
    """Batches of one group each, in turn, such as the alphabets of Omniglot; half of the pairs of one class.

    For each class that is drawn from the group there is a pair of two of its samples, and one of a sample of
    it and one of another class of the group. The pairs of a batch are shuffled.

    Args:
        source: A store or a frame with groups.
        batch_size: Pairs of a batch, even.
        batches: Batches of an epoch; as many as there are groups if None.
        preprocessing: As for `ClassPairs`, and so are the others.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: As for `ClassPairs`.

    Raises:
        ArgumentError: The source has no groups, a group has a single class or none with two samples, or an
            argument is not what it must be.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        batches: int | None = None,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        samples = samples_of("source", source)
        self._of_each = groups_of(samples, True)
        for group in self._of_each:
            if len(group.blocks.sizes) < 2 or not group.paired.size:
                raise ArgumentError(
                    "source",
                    "must have groups of two classes or more, one of them with two samples",
                    group.name,
                )
        batches = len(self._of_each) if batches is None else batches
        super().__init__(samples, batch_size, batches, preprocessing, seed, epoch, **kwargs)

    def _numbers(self, plan: int, index: int) -> Numbers:
        # Batches are counted through all epochs, so that each group has its turn.
        group = self._of_each[(plan * self._batches + index) % len(self._of_each)]
        draws, blocks, half = Draws(self.seed, plan, index), group.blocks, self.batch_size // 2
        classes = _drawn(draws, group.paired, half)
        sizes, starts = blocks.sizes[classes], blocks.starts[classes]
        two = draws.distinct(sizes, 2)
        first = draws.below(sizes)
        other = draws.distinct(np.full(half, len(blocks.sizes)), 1, classes)[:, 0]
        query = np.concatenate([starts + two[:, 0], starts + first])
        different = blocks.starts[other] + draws.below(blocks.sizes[other])
        support = np.concatenate([starts + two[:, 1], different])
        order = draws.permutation(self.batch_size)
        return self._found(blocks.rows[query[order]], blocks.rows[support[order]])


def _drawn(draws: Draws, classes: npt.NDArray[np.int64], count: int) -> Rows:
    """Some of the classes, distinct until all of them have been drawn, and so on."""
    passes = -(-count // len(classes))
    return np.concatenate([classes[draws.permutation(len(classes))] for _ in range(passes)])[:count]

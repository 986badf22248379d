# SPDX-License-Identifier: MIT
"""Batches of n ways with k shots, and one-shot tasks, of one group or of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError, as_bool
from fslcore.data.checks import check_count
from fslcore.data.draws import Draws, Rows
from fslcore.data.samples import samples_of
from fslcore.data.sequences.base import Batched, Numbers, Preprocessing, RowSequence
from fslcore.data.sequences.groups import Group, groups_of
from fslcore.data.sequences.products import one_hot


class KShotNWay(RowSequence):
    """Batches of `n_way` distinct classes with `k_shot` samples each, which follow each other.

    Each epoch shuffles every class and cuts it into groups of k. The groups are dealt to as many batches as
    can have distinct classes. No sample is twice in an epoch; what is left over differs from epoch to epoch.
    Batches are (samples [n_way * k_shot, ...], labels int32 [n_way * k_shot]).

    Args:
        source: A store, a DataFrame as `frame_images` takes it, or a pair (array, labels).
        k_shot: Samples of each class of a batch.
        n_way: Classes of a batch.
        to_categorical: Labels as one-hot rows float32 [n_way * k_shot, C], not as numbers.
        preprocessing: A function of the samples of a batch.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Raises:
        ArgumentError: There are fewer than `n_way` classes, a class has fewer than `k_shot` samples, or an
            argument is not what it must be.
    """

    def __init__(
        self,
        source: Any,
        k_shot: int,
        n_way: int,
        *,
        to_categorical: bool = False,
        preprocessing: Preprocessing | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        check_count("k_shot", k_shot, 1)
        check_count("n_way", n_way, 1)
        self.samples = samples_of("source", source)
        classes = len(self.samples.class_names)
        if n_way > classes:
            raise ArgumentError(
                "n_way", f"must be at most {classes}, the number of classes of {self.samples.name}", n_way
            )
        self.samples.check_sizes("k_shot", k_shot, k_shot, "k_shot of them")
        self.k_shot, self.n_way = int(k_shot), int(n_way)
        self._one_hot = as_bool("to_categorical", to_categorical)
        self._groups = self.samples.by_class.sizes // self.k_shot
        self._length = _most_batches(self._groups, self.n_way)
        size = self.k_shot * self.n_way
        labels = ("float32", (size, classes)) if to_categorical else ("int32", (size,))
        super().__init__((self.samples,), preprocessing, seed, epoch, [labels], [(size,)], **kwargs)

    def __len__(self) -> int:
        return self._length

    def _plan(self, epoch: int) -> Rows:
        draws, blocks, k = Draws(self.seed, epoch), self.samples.by_class, self.k_shot
        # Shuffled within the classes: by random keys, class by class.
        keys = draws.raw(len(self.samples))
        shuffled = blocks.rows[np.lexsort((keys, self.samples.labels[blocks.rows]))]
        # Dealt class by class to one batch after the other, none gets a class twice.
        groups = np.minimum(self._groups, self._length)
        order = draws.permutation(len(groups))
        of_class = np.repeat(order, groups[order])
        number = np.arange(len(of_class)) - np.repeat(np.cumsum(groups[order]) - groups[order], groups[order])
        starts = (blocks.starts[of_class] + number * k)[: self._length * self.n_way]
        dealt = starts.reshape(self.n_way, self._length).T
        dealt = dealt[draws.permutation(self._length)]
        return shuffled[dealt[..., None] + np.arange(k)]

    def _numbers(self, plan: Rows, index: int) -> Numbers:
        rows = plan[index].reshape(-1)
        labels = self.samples.labels[rows]
        return Numbers(
            (rows,), (one_hot(labels, len(self.samples.class_names)) if self._one_hot else labels,)
        )


def _most_batches(groups: Rows, n_way: int) -> int:
    """How many batches can have `n_way` distinct classes, of so many groups of each class."""
    batches = int(groups.sum()) // n_way
    while np.minimum(groups, batches).sum() < batches * n_way:
        # A class that has more groups than there are batches does not help.
        batches = int(np.minimum(groups, batches).sum()) // n_way
    return batches


class OneShotTasks(Batched):
    """Tasks: which of N supports, one of each class, is of the class of the query?

    The query and its support are different samples of one class; the classes are distinct, and the support of
    the query's class stands anywhere among them. Each epoch has other tasks; `dataset(epochs=1, first=0)` has
    the same ones every time, as validation needs them.

    Batches are ((query [B, ...], support [B, N, ...]), target int32 [B]), the place of the right support.

    Args:
        source: A store, a DataFrame as `frame_images` takes it, or a pair (array, labels).
        n_way: N, the classes of a task. None: all classes of the group (or of the source).
        tasks: Tasks of an epoch; within groups, those of each group.
        batch_size: Tasks of a batch; 1 if `n_way` is None.
        within_groups: Whether the classes of a task are of one group, such as an alphabet; the groups come
            one after the other.
        pairs: Batches of pairs instead, for a model of two inputs: ((query [B * N, ...], support
            [B * N, ...]), target float32 [B * N]), each query N times, 1 for the right support.
        preprocessing: A function of samples, or a pair of them, one for each input.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Raises:
        ArgumentError: A group has fewer than `n_way` classes, or none with two samples; the source has no
            groups; or an argument is not what it must be.
    """

    def __init__(
        self,
        source: Any,
        n_way: int | None,
        *,
        tasks: int,
        batch_size: int = 1,
        within_groups: bool = False,
        pairs: bool = False,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        if n_way is not None:
            check_count("n_way", n_way, 2)
        elif batch_size != 1:
            raise ArgumentError("batch_size", "must be 1 where n_way is None", batch_size)
        check_count("tasks", tasks, 1)
        self.samples = samples_of("source", source)
        self._pairs = as_bool("pairs", pairs)
        self._of_each = groups_of(self.samples, as_bool("within_groups", within_groups))
        for group in self._of_each:
            _check_ways(group, 2 if n_way is None else n_way)
        self.n_way, self.tasks = n_way, int(tasks)
        lead = [(None,), (None,)] if pairs else [(None,), (None, n_way)]
        others = [("float32" if pairs else "int32", (None,))]
        super().__init__(
            self.tasks * len(self._of_each),
            batch_size,
            (self.samples, self.samples),
            preprocessing,
            seed,
            epoch,
            others,
            lead,
            **kwargs,
        )

    def _plan(self, epoch: int) -> list[tuple[Rows, Rows, Rows]]:
        return [self._of_group(group, Draws(self.seed, epoch, i)) for i, group in enumerate(self._of_each)]

    def _of_group(self, group: Group, draws: Draws) -> tuple[Rows, Rows, Rows]:
        """Queries [tasks], supports [tasks, N] and the place of the right one [tasks]."""
        blocks, tasks = group.blocks, self.tasks
        ways = len(blocks.sizes) if self.n_way is None else self.n_way
        right = group.paired[draws.below(np.full(tasks, len(group.paired)))]
        others = draws.distinct(np.full(tasks, len(blocks.sizes)), ways - 1, right)
        place = draws.below(np.full(tasks, ways))
        classes = np.concatenate([others, right[:, None]], axis=1)
        every = np.arange(tasks)
        # The right one changes places with another.
        classes[every, -1], classes[every, place] = classes[every, place], right
        sizes, starts = blocks.sizes[classes], blocks.starts[classes]
        support = draws.below(sizes.reshape(-1)).reshape(tasks, ways)
        query = draws.distinct(blocks.sizes[right], 1, support[every, place])[:, 0]
        return blocks.rows[blocks.starts[right] + query], blocks.rows[starts + support], place

    def _numbers(self, plan: list[tuple[Rows, Rows, Rows]], index: int) -> Numbers:
        part = np.arange(self._items)[self._part(index)]
        found = [
            tuple(each[task] for each in plan[group])
            for group, task in zip(*np.divmod(part, self.tasks), strict=True)
        ]
        query, support, place = (np.stack(each) for each in zip(*found, strict=True))
        if not self._pairs:
            return Numbers((query, support), (place.astype(np.int32),))
        ways = support.shape[1]
        target = one_hot(place, ways).reshape(-1)
        return Numbers((np.repeat(query, ways), support.reshape(-1)), (target,))


def _check_ways(group: Group, n_way: int) -> None:
    """Raises ArgumentError unless a group has so many classes, and one with two samples."""
    if len(group.blocks.sizes) < n_way:
        raise ArgumentError(
            "n_way",
            f"must be at most {len(group.blocks.sizes)}, the number of classes of {group.name}",
            n_way,
        )
    if not group.paired.size:
        raise ArgumentError(
            "source", "must have a class with two samples or more, a query and its support", group.name
        )

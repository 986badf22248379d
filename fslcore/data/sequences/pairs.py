# SPDX-License-Identifier: MIT
"""Pairs of samples with 1 where their labels are equal: at random, balanced, within classes or groups."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count
from fslcore.data.draws import Draws, Rows
from fslcore.data.samples import Samples, samples_of
from fslcore.data.sequences.base import Batched, Numbers, Preprocessing

_TARGETS = [("float32", (None,))]


class _Pairs(Batched):
    """Batches ((query, support), target float32 [B]): 1 where both have one label, otherwise 0.

    Attributes:
        query: Samples of the first input.
        support: Samples of the second one; the same object if there is only one source.
    """

    def __init__(
        self,
        source: Any,
        support: Any,
        pairs_per_query: int,
        batch_size: int,
        preprocessing: Any,
        seed: int,
        epoch: int,
        **kwargs: Any,
    ) -> None:
        self.query, self.support = sides_of(source, support)
        super().__init__(
            len(self.query) * pairs_per_query,
            batch_size,
            (self.query, self.support),
            preprocessing,
            seed,
            epoch,
            _TARGETS,
            **kwargs,
        )

    @property
    def _of_one(self) -> bool:
        """Whether a sample can be drawn as its own partner."""
        return self.support is self.query

    @abstractmethod
    def _plan(self, epoch: int) -> tuple[Rows, Rows]:
        """The rows of all pairs of an epoch."""

    def _numbers(self, plan: tuple[Rows, Rows], index: int) -> Numbers:
        part = self._part(index)
        query, support = plan[0][part], plan[1][part]
        equal = self.query.labels[query] == self.support.labels[support]
        return Numbers((query, support), (equal.astype(np.float32),))

    def _check_partners(self, argument: str, value: Any) -> None:
        """Raises ArgumentError unless every query has another sample of its class, and one outside."""
        self.query.check_classes("source", 2)
        self.support.check_classes("support", 2)
        if self._of_one:
            self.query.check_sizes(argument, 2, value, "a query and another one")
            return
        absent = np.flatnonzero((self.query.by_class.sizes > 0) & (self.support.by_class.sizes == 0))
        if absent.size:
            name = self.query.class_names[absent[0]]
            raise ArgumentError(
                "support",
                "must have samples of every class of the queries",
                self.support.name,
                described=f"{self.support.name} with none of {name!r} ({absent.size} classes lack some)",
            )

    def _positives(self, draws: Draws, query: Rows) -> Rows:
        """For each query one other sample of its class."""
        blocks, labels = self.support.by_class, self.query.labels[query]
        starts, sizes = blocks.starts[labels], blocks.sizes[labels]
        taken = blocks.places[query] - starts if self._of_one else None
        return blocks.rows[starts + draws.distinct(sizes, 1, taken)[:, 0]]


class RandomPairs(_Pairs):
    """Queries and supports in random order, paired as they come; almost all pairs are of different classes.

    Every epoch pairs each query once. One source is paired with itself, no sample with itself; a second
    source is shuffled again where it is shorter than the first.

    Args:
        source: Queries: a store, a DataFrame as `frame_images` takes it, or a pair (array, labels).
        batch_size: Pairs of a batch.
        support: Another source for the second input; None: the same.
        preprocessing: A function of the samples [B, ...] of a batch, or a pair of them, one for each input.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Raises:
        ArgumentError: A source or a number is not what it must be.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        support: Any = None,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(source, support, 1, batch_size, preprocessing, seed, epoch, **kwargs)
        if self._of_one and len(self.query) < 2:
            raise ArgumentError("source", "must have two samples or more", self.query.name)

    def _plan(self, epoch: int) -> tuple[Rows, Rows]:
        draws = Draws(self.seed, epoch)
        query = draws.permutation(len(self.query))
        passes = -(-len(query) // len(self.support))
        drawn = [draws.permutation(len(self.support)) for _ in range(passes)]
        support = np.concatenate(drawn)[: len(query)]
        if self._of_one:
            same = np.flatnonzero(query == support)
            if same.size == 1:  # with a neighbour, whose partner is another one
                same = np.array([same[0], (same[0] + 1) % len(query)])
            support[same] = support[np.roll(same, 1)]
        return query, support


class RandomBalancedPairs(_Pairs):
    """As many pairs of one class as of two: each epoch every query once, in random order, in turn.

    The query at an even position gets a support of another class: first the class is drawn, then the sample,
    so that all classes are equally likely. The one at an odd position gets another sample of its own class.

    Args:
        source: As for `RandomPairs`, and so are the other arguments.
        batch_size: Pairs of a batch.
        support: Another source for the second input.
        preprocessing: As for `RandomPairs`.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: As for `RandomPairs`.

    Raises:
        ArgumentError: There is one class, a class has a single sample, which has no partner but itself, or as
            for `RandomPairs`.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        support: Any = None,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(source, support, 1, batch_size, preprocessing, seed, epoch, **kwargs)
        self._check_partners("source", self.query.name)

    def _plan(self, epoch: int) -> tuple[Rows, Rows]:
        draws = Draws(self.seed, epoch)
        query = draws.permutation(len(self.query))
        support = np.empty_like(query)
        support[1::2] = self._positives(draws, query[1::2])
        support[::2] = self._of_another_class(draws, query[::2])
        return query, support

    def _of_another_class(self, draws: Draws, query: Rows) -> Rows:
        blocks, labels = self.support.by_class, self.query.labels[query]
        there = np.flatnonzero(blocks.sizes)
        own = np.searchsorted(there, labels).astype(np.int64)
        other = there[draws.distinct(np.full(len(query), len(there)), 1, own)[:, 0]]
        return blocks.rows[blocks.starts[other] + draws.below(blocks.sizes[other])]


class BalancedPairs(_Pairs):
    """Each query with half of its pairs in its class and half outside, which are uniform over samples.

    The pairs of a query follow each other, those of its class and of others in turn, so that every batch is
    balanced. The partners of a query differ, unless its class is too small.

    Args:
        source: As for `RandomPairs`, and so are the other arguments.
        batch_size: Pairs of a batch, even.
        pairs_per_query: Pairs of each query in an epoch, even.
        support: Another source for the second input.
        preprocessing: As for `RandomPairs`.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: As for `RandomPairs`.

    Raises:
        ArgumentError: A number is odd, or as for `RandomBalancedPairs`.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        pairs_per_query: int = 2,
        support: Any = None,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        for argument, value in (("pairs_per_query", pairs_per_query), ("batch_size", batch_size)):
            check_count(argument, value, 2)
            if value % 2:
                raise ArgumentError(argument, "must be even, one half for each kind of pairs", value)
        super().__init__(source, support, pairs_per_query, batch_size, preprocessing, seed, epoch, **kwargs)
        self._check_partners("source", self.query.name)
        self._half = int(pairs_per_query) // 2

    def _plan(self, epoch: int) -> tuple[Rows, Rows]:
        draws, half = Draws(self.seed, epoch), self._half
        query = draws.permutation(len(self.query))
        blocks, labels = self.support.by_class, self.query.labels[query]
        starts, sizes = blocks.starts[labels], blocks.sizes[labels]
        taken = blocks.places[query] - starts if self._of_one else None
        inside = starts[:, None] + _some(draws, sizes, half, taken)
        outside = _some(draws, len(self.support) - sizes, half)
        outside += np.where(outside >= starts[:, None], sizes[:, None], 0)  # beyond the block of the class
        support = blocks.rows[np.stack([inside, outside], axis=2)]
        return np.repeat(query, 2 * half), support.reshape(-1)


def _some(draws: Draws, sizes: Rows, count: int, taken: Rows | None = None) -> Rows:
    """Numbers below sizes [n], without the one that is taken: distinct, unless there are not so many."""
    drawn = np.empty((len(sizes), count), np.int64)
    enough = sizes - (taken is not None) >= count
    for chosen, at_a_time in ((np.flatnonzero(enough), count), (np.flatnonzero(~enough), 1)):
        own = None if taken is None else taken[chosen]
        for start in range(0, count, at_a_time):
            drawn[chosen, start : start + at_a_time] = draws.distinct(sizes[chosen], at_a_time, own)
    return drawn


def sides_of(source: Any, support: Any) -> tuple[Samples, Samples]:
    """The samples of both inputs, with the same numbers for the same classes."""
    query = samples_of("source", source)
    if support is None or support is source:
        return query, query
    other = samples_of("support", support)
    names = [*query.class_names, *(name for name in other.class_names if name not in set(query.class_names))]
    return query.renamed(names), other.renamed(names)

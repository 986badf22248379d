# SPDX-License-Identifier: MIT
"""All pairs of two sources, in order or at random, and the samples of one in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError, as_bool
from fslcore.data.draws import Draws, Rows, Shuffled
from fslcore.data.samples import samples_of
from fslcore.data.sequences.base import Batched, Numbers, Preprocessing
from fslcore.data.sequences.pairs import sides_of

_MOST_PAIRS = 2**62  # of which a permutation can be drawn without a table


class RandomProduct(Batched):
    """All ordered pairs of the samples of a source, each once in an epoch, in another random order each time.

    No table of all pairs is made. Batches are ((first, second), target float32 [B]), 1 where both have one
    label.

    Args:
        source: A store, a DataFrame as `frame_images` takes it, or a pair (array [N, ...], labels [N]).
        batch_size: Pairs of a batch.
        self_pairs: Whether each sample is paired with itself, too: N^2 pairs, otherwise N * (N - 1).
        preprocessing: A function of the samples [B, ...] of a batch, or a pair of them, one for each input.
        seed: Seed of the sequence.
        epoch: Number of the first epoch.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Raises:
        ArgumentError: The source or a number is not what it must be.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        self_pairs: bool = True,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        self.samples = samples_of("source", source)
        count = len(self.samples)
        self._partners = count if as_bool("self_pairs", self_pairs) else count - 1
        pairs = count * self._partners
        if not 0 < pairs < _MOST_PAIRS:
            least = 1 if self_pairs else 2
            raise ArgumentError("source", f"must have {least} to 2^31 samples", self.samples.name)
        both = (self.samples, self.samples)
        super().__init__(
            pairs, batch_size, both, preprocessing, seed, epoch, [("float32", (None,))], **kwargs
        )

    def _plan(self, epoch: int) -> Shuffled:
        return Shuffled(self._items, Draws(self.seed, epoch))

    def _numbers(self, plan: Shuffled, index: int) -> Numbers:
        part = self._part(index)
        first, second = np.divmod(plan(part.start, part.stop), self._partners)
        if self._partners < len(self.samples):
            second += second >= first
        equal = self.samples.labels[first] == self.samples.labels[second]
        return Numbers((first, second), (equal.astype(np.float32),))


class Product(Batched):
    """Every query with every support, in order: all supports of the first query, then those of the second.

    Batches are ((query, support), target float32 [B]), 1 where both have one label; or ((query, support),)
    without targets, for `predict`.

    Args:
        source: Queries: a store, a DataFrame as `frame_images` takes it, or a pair (array, labels).
        batch_size: Pairs of a batch.
        support: Supports; None: the same source.
        targets: Whether there are targets.
        preprocessing: A function of the samples [B, ...] of a batch, or a pair of them, one for each input.
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
        targets: bool = True,
        preprocessing: Preprocessing | tuple[Preprocessing | None, Preprocessing | None] | None = None,
        **kwargs: Any,
    ) -> None:
        self.query, self.support = both = sides_of(source, support)
        others = [("float32", (None,))] if as_bool("targets", targets) else []
        pairs = len(self.query) * len(self.support)
        super().__init__(pairs, batch_size, both, preprocessing, 0, 0, others, **kwargs)

    def _plan(self, epoch: int) -> range:  # noqa: ARG002 (all are alike)
        return range(self._items)

    def _numbers(self, plan: range, index: int) -> Numbers:
        part = plan[self._part(index)]
        query, support = np.divmod(np.arange(part.start, part.stop), len(self.support))
        equal = self.query.labels[query] == self.support.labels[support]
        return Numbers((query, support), (equal.astype(np.float32),) if self._others else ())

    def _assembled(self, samples: tuple[Any, ...], others: tuple[Any, ...]) -> Any:
        return samples, *others


class Deterministic(Batched):
    """The samples of a source, in its order or shuffled every epoch, with their labels where they are wanted.

    Args:
        source: A store, a DataFrame as `frame_images` takes it, or a pair (array, labels).
        batch_size: Samples of a batch.
        shuffle: Whether each epoch has another order.
        classes: Names of the classes in the order of their numbers; None: sorted.
        labels_in_input: Whether the inputs are (samples, labels).
        labels_in_output: Whether the labels are targets; without both, batches are (samples,), for `predict`.
        to_categorical: Labels as one-hot rows float32 [B, C], not as numbers int32 [B].
        preprocessing: A function of the samples [B, ...] of a batch.
        seed: Seed of the order.
        epoch: Number of the first epoch.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Raises:
        ArgumentError: A class of the source is not among `classes`, or an argument is not what it must be.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        shuffle: bool = False,
        classes: Any = None,
        labels_in_input: bool = False,
        labels_in_output: bool = True,
        to_categorical: bool = False,
        preprocessing: Preprocessing | None = None,
        seed: int = 0,
        epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        self.samples = samples_of("source", source).ordered("classes", classes)
        self._shuffle = as_bool("shuffle", shuffle)
        self._in_input = as_bool("labels_in_input", labels_in_input)
        self._in_output = as_bool("labels_in_output", labels_in_output)
        self._one_hot = as_bool("to_categorical", to_categorical)
        labels = ("float32", (None, len(self.samples.class_names))) if to_categorical else ("int32", (None,))
        others = [labels] if labels_in_input or labels_in_output else []
        super().__init__(
            len(self.samples), batch_size, (self.samples,), preprocessing, seed, epoch, others, **kwargs
        )

    def _plan(self, epoch: int) -> Rows:
        count = len(self.samples)
        return Draws(self.seed, epoch).permutation(count) if self._shuffle else np.arange(count)

    def _numbers(self, plan: Rows, index: int) -> Numbers:
        rows = plan[self._part(index)]
        return Numbers((rows,), (self._labels(rows),) if self._others else ())

    def _labels(self, rows: Rows) -> Any:
        labels = self.samples.labels[rows]
        return one_hot(labels, len(self.samples.class_names)) if self._one_hot else labels

    def _assembled(self, samples: tuple[Any, ...], others: tuple[Any, ...]) -> Any:
        inputs = (samples[0], others[0]) if self._in_input else samples[0]
        return (inputs, others[0]) if self._in_output else (inputs,)


def one_hot(labels: Any, classes: int) -> Any:
    """Rows float32 [B, classes] with a 1 for each label."""
    return (labels[:, None] == np.arange(classes)).astype(np.float32)

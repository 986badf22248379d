# SPDX-License-Identifier: MIT
"""What a support set is at one moment: labels, embeddings, pictures. A change makes another; none changes.

Adding costs as much as what is added, whatever is there already: see `growing`. The mean of each label is
kept with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.classifier.growing import Label, Labels, Rows

FloatArray = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]


class Examples(NamedTuple):
    """New support images of one label.

    Attributes:
        label: The label.
        rows: float32 [m, D], their embeddings, m at least 1.
        pictures: uint8 [m, S, S, C], or None if only the embeddings are known.
    """

    label: Label
    rows: FloatArray
    pictures: Pictures | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """A support set at one moment. Threads may read it while others make new ones of it.

    Attributes:
        counts: int64 [C], support images of each label.
        threshold: Score below which the answer is "unknown"; None: every query gets a label.
        temperature: What scores are divided by before they become probabilities.
        version: Counts the changes.
    """

    _labels: Labels
    _numbers: Rows
    _rows: Rows
    _norms: Rows
    _sums: Rows
    _means: Rows
    _pictures: Rows | None
    _pictured: Rows
    counts: npt.NDArray[np.int64]
    threshold: float | None = None
    temperature: float = 1.0
    version: int = 0
    _derived: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False, repr=False)

    @classmethod
    def empty(cls, dim: int = 0) -> State:
        """A state without labels, for embeddings [n, dim]; 0: the first ones show how wide they are."""
        numbers, pictured = Rows(np.zeros(0, np.int32)), Rows(np.zeros(0, np.bool_))
        rows, means = (Rows(np.zeros((0, dim), np.float32)) for _ in range(2))
        norms = Rows(np.zeros(0, np.float32))
        sums = Rows(np.zeros((0, dim), np.float64))
        return cls(Labels(), numbers, rows, norms, sums, means, None, pictured, np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"State({len(self)} support images of {len(self._labels)} labels, version {self.version})"

    @property
    def labels(self) -> tuple[Label, ...]:
        """The C labels, in the order in which they were added."""
        return self._labels.tuple

    @property
    def dim(self) -> int:
        """D of the embeddings; 0 if it is not known yet."""
        return int(self._rows._parts[0].array.shape[1])

    @property
    def numbers(self) -> npt.NDArray[np.int32]:
        """int32 [n], the place of each support image's label in `labels`."""
        return self._numbers.array

    @property
    def rows(self) -> FloatArray:
        """float32 [n, D], the embeddings of the support images, in the order in which they were added."""
        return self._rows.array

    @property
    def norms(self) -> FloatArray:
        """float32 [n], the squared lengths of `rows`."""
        return self._norms.array

    @property
    def prototypes(self) -> FloatArray:
        """float32 [C, D], the mean embedding of each label."""
        return self._means.array

    @property
    def pictures(self) -> Pictures | None:
        """uint8 [n, S, S, C], the prepared support images; None where none is known. See `pictured`."""
        return None if self._pictures is None else self._pictures.array

    @property
    def pictured(self) -> npt.NDArray[np.bool_]:
        """Which pictures of support images are known, bool [n]; the others are black in `pictures`."""
        return self._pictured.array

    def number(self, label: Label) -> int | None:
        """The place of a label in `labels`; None if it is not there."""
        return self._labels.number(label)

    def derived(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns, kept for as long as this state lives.

        Threads that ask for it at the same time may each make it.
        """
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def has_derived(self, key: Any) -> bool:
        """Whether `derived` has made what a key stands for."""
        return key in self._derived

    def by_label(self) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]:
        """The order that puts the rows of a label side by side, and where those of each label begin.

        Returns:
            int64 [n], None where they lie so already; and int64 [C].
        """
        return self.derived("by_label", self._by_label)

    def _by_label(self) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]:
        numbers = self.numbers
        starts = np.cumsum(self.counts) - self.counts
        if not np.any(numbers[1:] < numbers[:-1]):
            return None, starts
        return np.argsort(numbers, kind="stable"), starts


def added(state: State, examples: Sequence[Examples]) -> State:
    """The state with more support images.

    Args:
        state: What there is.
        examples: Labels that are there get more images, others are new. No label twice.

    Raises:
        ArgumentError: The embeddings are not as wide as those that are there.
    """
    rows = np.concatenate([example.rows for example in examples])
    state = _of_width(state, rows.shape[1])
    fresh = [example.label for example in examples if state.number(example.label) is None]
    labels = state._labels.appended(fresh) if fresh else state._labels
    places = np.array([labels.number(example.label) for example in examples], np.int64)
    sizes = np.array([len(example.rows) for example in examples])
    is_fresh = places >= len(state.counts)
    totals = np.stack(
        [
            _total(example.rows, None if new else state._sums.row(place))
            for example, place, new in zip(examples, places, is_fresh, strict=True)
        ]
    )
    counts = np.concatenate([state.counts, np.zeros(len(fresh), np.int64)])
    counts[places] += sizes
    means = (totals / counts[places][:, np.newaxis]).astype(np.float32)
    pictures, pictured = _with_pictures(state, examples, int(sizes.sum()))
    return _changed(
        state,
        _labels=labels,
        _numbers=state._numbers.appended(np.repeat(places.astype(np.int32), sizes)),
        _rows=state._rows.appended(rows),
        _norms=state._norms.appended(_squared_lengths(rows)),
        _sums=_merged(state._sums, places, is_fresh, totals),
        _means=_merged(state._means, places, is_fresh, means),
        _pictures=pictures,
        _pictured=pictured,
        counts=counts,
    )


def removed(state: State, label: Label) -> State:
    """The state without a label that is there; those after it move up."""
    place = state.number(label)
    assert place is not None
    numbers = state.numbers
    of_label = numbers == place
    one = np.arange(len(state.counts)) == place
    rest = numbers[~of_label]
    return _changed(
        state,
        _labels=state._labels.without(place),
        _numbers=Rows(rest - (rest > place).astype(np.int32)),
        _rows=state._rows.without(of_label),
        _norms=state._norms.without(of_label),
        _sums=state._sums.without(one),
        _means=state._means.without(one),
        _pictures=None if state._pictures is None else state._pictures.without(of_label),
        _pictured=state._pictured.without(of_label),
        counts=state.counts[~one],
    )


def replaced(state: State, example: Examples) -> State:
    """The state with other support images for a label that is there; the label keeps its place."""
    place = state.number(example.label)
    assert place is not None
    state = _of_width(state, example.rows.shape[1])
    of_label = state.numbers == place
    size = len(example.rows)
    counts, total = state.counts.copy(), _total(example.rows, None)
    counts[place] = size
    one, mean = np.array([place]), (total / size).astype(np.float32)
    rest = None if state._pictures is None else state._pictures.without(of_label)
    without = dataclasses.replace(state, _pictures=rest, _pictured=state._pictured.without(of_label))
    pictures, pictured = _with_pictures(without, [example], size)
    numbers = state._numbers.without(of_label)
    return _changed(
        state,
        _numbers=numbers.appended(np.full(size, place, np.int32)),
        _rows=state._rows.without(of_label).appended(example.rows),
        _norms=state._norms.without(of_label).appended(_squared_lengths(example.rows)),
        _sums=state._sums.with_rows(one, total[np.newaxis]),
        _means=state._means.with_rows(one, mean[np.newaxis]),
        _pictures=pictures,
        _pictured=pictured,
        counts=counts,
    )


def restored(
    labels: Sequence[Label],
    numbers: npt.NDArray[np.int32],
    rows: FloatArray,
    pictures: Pictures | None,
    pictured: npt.NDArray[np.bool_],
    *,
    threshold: float | None,
    temperature: float,
    version: int,
) -> State:
    """The state of these parts, as a file keeps them; arguments as the attributes of `State`."""
    counts = np.bincount(numbers, minlength=len(labels))
    order = np.argsort(numbers, kind="stable")
    starts = np.cumsum(counts) - counts
    sums = np.zeros((len(labels), rows.shape[1]), np.float64)
    for i in range(int(counts.max(initial=0))):  # the order of addition is that of `added`
        longer = np.flatnonzero(counts > i)
        sums[longer] += rows[order[starts[longer] + i]]
    means = (sums / counts[:, np.newaxis]).astype(np.float32)
    counts.flags.writeable = False
    return State(
        Labels(labels),
        Rows(numbers),
        Rows(rows),
        Rows(_squared_lengths(rows)),
        Rows(sums),
        Rows(means),
        None if pictures is None else Rows(pictures),
        Rows(pictured),
        counts,
        threshold,
        temperature,
        version,
    )


def _changed(state: State, **parts: Any) -> State:
    parts["counts"].flags.writeable = False
    return dataclasses.replace(state, **parts, version=state.version + 1)


def _of_width(state: State, dim: int) -> State:
    """The state, for embeddings that are so wide; an ArgumentError if it has others."""
    if state.dim == dim:
        return state
    if state.dim:
        raise ArgumentError(
            "embeddings",
            f"must be as wide as those of this support set, {state.dim} numbers each",
            described=f"{dim} numbers each",
        )
    return dataclasses.replace(
        State.empty(dim), threshold=state.threshold, temperature=state.temperature, version=state.version
    )


def _squared_lengths(rows: FloatArray) -> FloatArray:
    return np.einsum("nd,nd->n", rows, rows)


def _total(rows: FloatArray, before: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64]:
    """float64 [D], a sum and then one row after the other: it does not depend on how many came at once."""
    first = np.zeros(rows.shape[1]) if before is None else before
    return np.add.accumulate(np.concatenate([first[np.newaxis], rows], dtype=np.float64))[-1]


def _merged(
    kept: Rows, places: npt.NDArray[np.int64], is_fresh: npt.NDArray[np.bool_], values: npt.NDArray[Any]
) -> Rows:
    """A row per label with other rows at the places of labels that are there, and more for fresh ones."""
    if not is_fresh.all():
        kept = kept.with_rows(places[~is_fresh], values[~is_fresh])
    return kept.appended(values[is_fresh]) if is_fresh.any() else kept


def _with_pictures(state: State, examples: Sequence[Examples], count: int) -> tuple[Rows | None, Rows]:
    """The pictures and which of them are known, after the state's those of the examples."""
    shapes = {example.pictures.shape[1:] for example in examples if example.pictures is not None}
    known = np.concatenate([np.full(len(example.rows), example.pictures is not None) for example in examples])
    pictured, pictures = state._pictured.appended(known), state._pictures
    if pictures is None and not shapes:
        return None, pictured
    shape = pictures.array.shape[1:] if pictures is not None else shapes.pop()
    if pictures is None:
        pictures = Rows(np.zeros((len(state._pictured), *shape), np.uint8))
    new = np.zeros((count, *shape), np.uint8)
    start = 0
    for example in examples:
        if example.pictures is not None:
            new[start : start + len(example.rows)] = example.pictures
        start += len(example.rows)
    return pictures.appended(new), pictured

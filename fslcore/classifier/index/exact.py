# SPDX-License-Identifier: MIT
"""Exact search in memory by the compiled kernels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.arguments import SEARCH_METRICS
from fslcore.classifier.growing import Label, Rows
from fslcore.classifier.index import storing
from fslcore.classifier.index.base import FloatArray, Found, Ids, Index, nothing_found


class _Held(NamedTuple):
    """The index at one moment; `numbers` are places in `labels`, which holds past labels too."""

    ids: Rows
    vectors: Rows
    numbers: Rows
    labels: tuple[Label, ...]


class ExactIndex(Index):
    """Embeddings in memory, all of which every search compares.

    Adding costs as much as what is added. Of equal distances, the embedding that was added first is nearer.

    Args:
        dim: D, the width of the embeddings.
        metric: One of `fslcore.kernels.SEARCH_METRICS`.
    """

    METRICS = SEARCH_METRICS

    def __init__(self, dim: int, metric: str = "sqeuclidean") -> None:
        super().__init__(dim, metric)
        self._hold(np.zeros(0, np.int64), np.zeros((0, self.dim), np.float32), np.zeros(0, np.int32), ())

    def _hold(
        self, ids: Ids, vectors: FloatArray, numbers: npt.NDArray[np.int32], labels: tuple[Label, ...]
    ) -> None:
        self._held = _Held(Rows(ids), Rows(vectors), Rows(numbers), labels)
        self._known = set(ids.tolist())
        self._numbers = {label: number for number, label in enumerate(labels)}

    def __len__(self) -> int:
        return len(self._held.ids)

    @property
    def counts(self) -> dict[Label, int]:
        """How many embeddings each label has."""
        held = self._held
        counted = np.bincount(held.numbers.array, minlength=len(held.labels)).tolist()
        return {label: count for label, count in zip(held.labels, counted, strict=True) if count}

    def save(self, folder: str | Path) -> None:
        """Writes the index into a folder, which is made if it is not there: whole, or not at all."""
        held = self._held
        described = {"kind": "exact", "dim": self.dim, "metric": self.metric, "labels": list(held.labels)}
        arrays = {"ids": held.ids.array, "vectors": held.vectors.array, "numbers": held.numbers.array}
        storing.write(Path(folder), described, arrays)

    @classmethod
    def load(cls, folder: str | Path) -> ExactIndex:
        """The index in a folder; see `Index.load`."""
        described, arrays = storing.read(Path(folder), "exact")
        index = cls(described["dim"], described["metric"])
        index._hold(arrays["ids"], arrays["vectors"], arrays["numbers"], tuple(described["labels"]))
        return index

    def _present(self, ids: Ids) -> npt.NDArray[np.bool_]:
        return np.array([number in self._known for number in ids.tolist()], bool)

    def _ids_of(self, labels: list[Label]) -> Ids:
        held = self._held
        return held.ids.array[_among(held, labels)]

    def _add(self, ids: Ids, rows: FloatArray, labels: list[Label]) -> None:
        held, new = self._held, new_labels(self._numbers, labels)
        numbers = np.array([self._numbers.get(label, new.get(label)) for label in labels], np.int32)
        self._held = _Held(
            held.ids.appended(ids),
            held.vectors.appended(rows),
            held.numbers.appended(numbers),
            (*held.labels, *new),
        )
        self._numbers.update(new)
        self._known.update(ids.tolist())

    def _remove(self, ids: Ids) -> None:
        held = self._held
        gone = np.isin(held.ids.array, ids)
        self._held = _Held(
            held.ids.without(gone), held.vectors.without(gone), held.numbers.without(gone), held.labels
        )
        self._known.difference_update(ids.tolist())

    def _search(self, queries: FloatArray, k: int, where: list[Label] | None) -> Found:
        held = self._held
        ids, vectors, numbers = held.ids.array, held.vectors.array, held.numbers.array
        if where is not None:
            chosen = np.flatnonzero(_among(held, where))
            ids, vectors, numbers = ids[chosen], vectors[chosen], numbers[chosen]
        found = nothing_found(len(queries), k, self.is_similarity)
        present = min(k, len(ids))
        if present == 0 or len(queries) == 0:
            return found
        values, places = kernels.nearest(queries, vectors, present, self.metric)
        found.values[:, :present], found.ids[:, :present] = values, ids[places]
        behind = (None,) * (k - present)
        labels = [(*map(held.labels.__getitem__, row), *behind) for row in numbers[places].tolist()]
        return Found(found.ids, found.values, labels)


def new_labels(numbers: dict[Label, int], added: list[Label]) -> dict[Label, int]:
    """Those of the labels that have no number yet, with the numbers that follow."""
    new = [label for label in dict.fromkeys(added) if label not in numbers]
    return dict(zip(new, range(len(numbers), len(numbers) + len(new)), strict=True))


def _among(held: _Held, labels: list[Label]) -> npt.NDArray[np.bool_]:
    wanted = set(labels)
    return np.array([label in wanted for label in held.labels], bool)[held.numbers.array]

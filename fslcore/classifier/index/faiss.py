# SPDX-License-Identifier: MIT
"""An index of FAISS, for those who have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.classifier.growing import Label
from fslcore.classifier.index import storing
from fslcore.classifier.index.base import NO_ID, FloatArray, Found, Ids, Index, nothing_found, optional
from fslcore.classifier.index.exact import new_labels

_METRICS = {
    "sqeuclidean": "METRIC_L2",
    "euclidean": "METRIC_L2",
    "cosine": "METRIC_INNER_PRODUCT",
    "dot": "METRIC_INNER_PRODUCT",
    "manhattan": "METRIC_L1",
    "chebyshev": "METRIC_Linf",
}


class FaissIndex(Index):
    """Embeddings in an index of FAISS, in memory.

    Values are those of FAISS: it forms distances from products, so that equal embeddings may be a little
    apart.

    Args:
        dim: D, the width of the embeddings.
        metric: One of `METRICS`.
        description: What `faiss.index_factory` makes of it, such as "Flat", exact, or "IVF64,Flat". One that
            needs training is trained by the first embeddings that are added. It must be able to remove.

    Raises:
        ImportError: FAISS is not installed.
    """

    METRICS = tuple(_METRICS)

    def __init__(self, dim: int, metric: str = "sqeuclidean", description: str = "Flat") -> None:
        super().__init__(dim, metric)
        self.description = description
        self._faiss = optional("faiss", "faiss")
        try:
            made = self._faiss.index_factory(self.dim, description, getattr(self._faiss, _METRICS[metric]))
        except RuntimeError as error:
            raise ArgumentError("description", "must be one of FAISS", description) from error
        self._index: Any = made if isinstance(made, self._faiss.IndexIVF) else self._faiss.IndexIDMap2(made)
        self._numbers: dict[int, int] = {}  # of labels, by id
        self._labels: tuple[Label, ...] = ()
        self._places: dict[Label, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def counts(self) -> dict[Label, int]:
        """How many embeddings each label has."""
        held = np.fromiter(self._numbers.values(), np.int64, len(self._numbers))
        counted = np.bincount(held, minlength=len(self._labels)).tolist()
        return {label: count for label, count in zip(self._labels, counted, strict=True) if count}

    def save(self, folder: str | Path) -> None:
        """Writes the index into a folder, which is made if it is not there: whole, or not at all."""
        described = {
            "kind": "faiss",
            "dim": self.dim,
            "metric": self.metric,
            "description": self.description,
            "labels": list(self._labels),
        }
        arrays = {
            "index": self._faiss.serialize_index(self._index),
            "ids": np.fromiter(self._numbers, np.int64, len(self)),
            "numbers": np.fromiter(self._numbers.values(), np.int32, len(self)),
        }
        storing.write(Path(folder), described, arrays)

    @classmethod
    def load(cls, folder: str | Path) -> FaissIndex:
        """The index in a folder; see `Index.load`."""
        described, arrays = storing.read(Path(folder), "faiss")
        index = cls(described["dim"], described["metric"], described["description"])
        index._index = index._faiss.deserialize_index(arrays["index"])
        index._numbers = dict(zip(arrays["ids"].tolist(), arrays["numbers"].tolist(), strict=True))
        index._labels = tuple(described["labels"])
        index._places = {label: place for place, label in enumerate(index._labels)}
        return index

    def _present(self, ids: Ids) -> npt.NDArray[np.bool_]:
        return np.array([number in self._numbers for number in ids.tolist()], bool)

    def _ids_of(self, labels: list[Label]) -> Ids:
        wanted = {self._places[label] for label in labels if label in self._places}
        return np.array([number for number, place in self._numbers.items() if place in wanted], np.int64)

    def _add(self, ids: Ids, rows: FloatArray, labels: list[Label]) -> None:
        rows = self._prepared(rows)
        if not self._index.is_trained:
            try:
                self._index.train(rows)
            except RuntimeError as error:
                raise ArgumentError(
                    "vectors",
                    f"must be enough to train {self.description!r}",
                    described=f"{len(rows)} at first",
                ) from error
        self._index.add_with_ids(rows, ids)
        new = new_labels(self._places, labels)
        self._labels = (*self._labels, *new)
        self._places.update(new)
        self._numbers.update(zip(ids.tolist(), (self._places[label] for label in labels), strict=True))

    def _remove(self, ids: Ids) -> None:
        try:
            self._index.remove_ids(ids)
        except RuntimeError as error:
            raise ArgumentError(
                "description", "must be of an index that can remove", self.description
            ) from error
        for number in ids.tolist():
            del self._numbers[number]

    def _search(self, queries: FloatArray, k: int, where: list[Label] | None) -> Found:
        found = nothing_found(len(queries), k, self.is_similarity)
        ids = None if where is None else self._ids_of(where)
        if len(self) == 0 or len(queries) == 0 or (ids is not None and len(ids) == 0):
            return found
        values, got = self._index.search(self._prepared(queries), k, params=self._only(ids))
        there = got != NO_ID
        if self.metric == "euclidean":
            values = np.sqrt(np.maximum(values, 0))
        elif self.metric == "cosine":
            values = 1 - values
        found.values[there], found.ids[there] = values[there], got[there]
        labels = [
            tuple(None if i == NO_ID else self._labels[self._numbers[i]] for i in row) for row in got.tolist()
        ]
        return Found(found.ids, found.values, labels)

    def _only(self, ids: Ids | None) -> Any:
        if ids is None:
            return None
        selected = self._faiss.IDSelectorBatch(ids)
        if isinstance(self._index, self._faiss.IndexIVF):
            return self._faiss.SearchParametersIVF(sel=selected, nprobe=self._index.nprobe)
        return self._faiss.SearchParameters(sel=selected)

    def _prepared(self, rows: FloatArray) -> FloatArray:
        if self.metric != "cosine":
            return rows
        lengths = np.sqrt(np.sum(rows.astype(np.float64) ** 2, axis=1, keepdims=True))
        return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0, casting="same_kind")

# SPDX-License-Identifier: MIT
"""The interface of all indexes, with the checks that they share."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_int64, as_integers, as_matrix, check_at_least, check_metric
from fslcore.classifier.growing import Label
from fslcore.classifier.preparing import as_label, check_finite

FloatArray = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

NO_ID = -1


class Found(NamedTuple):
    """What a search returns, nearest first.

    Attributes:
        ids: int64 [q, k]; -1 where there are fewer than k.
        values: float32 [q, k], distances in increasing or, of `dot`, products in decreasing order; beside -1
            infinity, or minus infinity for `dot`.
        labels: q tuples of k labels; None beside -1.
    """

    ids: Ids
    values: FloatArray
    labels: list[tuple[Label | None, ...]]


class Index(abc.ABC):
    """Embeddings with ids and labels, and the search for the nearest of them.

    Every change is checked before it begins: on a ValueError the index is unchanged. Changes are the caller's
    to make one after the other. A search may run beside a change of an `ExactIndex` or a `LanceIndex`, and
    sees the index before it or after it; not beside that of a `FaissIndex`.

    Args:
        dim: D, the width of the embeddings.
        metric: One of `METRICS` of the class.
    """

    METRICS: tuple[str, ...] = ()

    def __init__(self, dim: int, metric: str) -> None:
        check_at_least("dim", dim, 1)
        check_metric(metric, self.METRICS)
        self.dim, self.metric = as_int64("dim", dim), metric

    def add(self, ids: npt.ArrayLike, vectors: npt.ArrayLike, labels: Sequence[Label] | Label) -> None:
        """Adds embeddings.

        Args:
            ids: Integers [n] of at least 0, each one new.
            vectors: [n, D], finite.
            labels: n labels, or one label for all.

        Raises:
            ArgumentError: An id that is there already or twice, vectors or labels that do not fit.
        """
        checked = _as_ids(ids)
        rows = self._as_rows("vectors", vectors)
        if isinstance(labels, (str, int, np.integer)):
            of_rows = [as_label(labels)] * len(checked)
        else:
            of_rows = [as_label(label) for label in labels]
        for name, count in (("vectors", len(rows)), ("labels", len(of_rows))):
            if count != len(checked):
                raise ArgumentError(name, f"must be one for each id ({len(checked)})", described=str(count))
        if len(np.unique(checked)) < len(checked):
            raise ArgumentError("ids", "must be different", described="an id twice")
        present = self._present(checked)
        if present.any():
            raise ArgumentError("ids", "must not be in the index yet", described=str(checked[present][0]))
        if len(checked):
            self._add(checked, rows, of_rows)

    def remove(self, ids: npt.ArrayLike | None = None, *, label: Label | None = None) -> int:
        """Removes embeddings, for good.

        Args:
            ids: Integers [n] that are in the index; or
            label: A label that is in the index, with all its embeddings.

        Returns:
            How many were removed.

        Raises:
            ArgumentError: An id or a label that is not there, or not exactly one of the arguments.
        """
        if (ids is None) == (label is None):
            raise ArgumentError("ids", "or `label` must be given, and not both", ids)
        if ids is None:
            checked = self._ids_of([as_label(label)])
            if not len(checked):
                raise ArgumentError("label", "must be in the index", label)
        else:
            checked = np.unique(_as_ids(ids))
            present = self._present(checked)
            if not present.all():
                raise ArgumentError("ids", "must be in the index", described=str(checked[~present][0]))
        if len(checked):
            self._remove(checked)
        return len(checked)

    def search(self, vectors: npt.ArrayLike, k: int, where: Iterable[Label] | Label | None = None) -> Found:
        """The nearest embeddings of each query.

        Args:
            vectors: [q, D], finite.
            k: How many, at least 1.
            where: A label or several, to search among their embeddings alone; None: all. Labels that are not
                there have none.

        Returns:
            What was `Found`.
        """
        k = as_int64("k", k)
        check_at_least("k", k, 1)
        queries = self._as_rows("vectors", vectors)
        among = None
        if where is not None:
            given = [where] if isinstance(where, (str, int, np.integer)) else where
            among = [as_label(label) for label in given]
        return self._search(queries, k, among)

    @property
    def is_similarity(self) -> bool:
        """Whether greater values are nearer."""
        return self.metric == "dot"

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @property
    @abc.abstractmethod
    def counts(self) -> dict[Label, int]:
        """How many embeddings each label has."""

    @abc.abstractmethod
    def save(self, folder: str | Path) -> None:
        """Writes the index into a folder, which is made if it is not there: whole, or not at all."""

    @classmethod
    @abc.abstractmethod
    def load(cls, folder: str | Path) -> Index:
        """The index in a folder.

        Raises:
            ArgumentError: There is none, or it is damaged.
        """

    @abc.abstractmethod
    def _present(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Which ids are in the index."""

    @abc.abstractmethod
    def _ids_of(self, labels: list[Label]) -> Ids: ...

    @abc.abstractmethod
    def _add(self, ids: Ids, rows: FloatArray, labels: list[Label]) -> None: ...

    @abc.abstractmethod
    def _remove(self, ids: Ids) -> None: ...

    @abc.abstractmethod
    def _search(self, queries: FloatArray, k: int, where: list[Label] | None) -> Found: ...

    def _as_rows(self, name: str, vectors: npt.ArrayLike) -> FloatArray:
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(as_matrix(name, vectors), np.float32)
        if rows.shape[1] != self.dim:
            raise ArgumentError(
                name, f"must have {self.dim} columns, as the index", described=f"shape {list(rows.shape)}"
            )
        if len(rows):
            check_finite(name, rows)
        return rows


def nothing_found(queries: int, k: int, similarity: bool) -> Found:
    """The result of a search among nothing."""
    worst = -np.inf if similarity else np.inf
    values = np.full((queries, k), worst, np.float32)
    return Found(np.full((queries, k), NO_ID, np.int64), values, [(None,) * k] * queries)


def recall(found: npt.ArrayLike, exact: npt.ArrayLike) -> float:
    """recall@k: the share of the exact nearest ids that were found.

    Args:
        found: Ids [q, k] of an index that approximates.
        exact: Ids [q, k] of an exact one, -1 where there are fewer.
    """
    pairs = list(zip(as_integers("found", found), as_integers("exact", exact), strict=True))
    wanted = sum(int(np.count_nonzero(right != NO_ID)) for _, right in pairs)
    hits = sum(int(np.isin(right[right != NO_ID], got).sum()) for got, right in pairs)
    return hits / wanted if wanted else 1.0


def optional(module: str, extra: str) -> Any:
    """A library that an extra brings, or an ImportError that names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this index needs {module}; install it with: pip install 'fslcore[{extra}]'"
        ) from error


def _as_ids(ids: npt.ArrayLike) -> Ids:
    checked = as_integers("ids", ids)
    if checked.ndim != 1:
        raise ArgumentError("ids", "must have 1 axis", described=f"shape {list(checked.shape)}")
    if len(checked) and int(checked.min()) < 0:
        raise ArgumentError("ids", "must be at least 0", int(checked.min()))
    return checked.astype(np.int64)

# SPDX-License-Identifier: MIT
"""An index on the disk, by LanceDB: for more embeddings than the memory holds."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import files, kernels
from fslcore.arguments import ArgumentError, as_int64, check_at_least
from fslcore.classifier.growing import Label
from fslcore.classifier.index.base import FloatArray, Found, Ids, Index, nothing_found, optional

_DISTANCES = {"sqeuclidean": "l2", "euclidean": "l2", "cosine": "cosine", "dot": "dot"}
_TABLE, _ABOUT = "rows", "index.json"
_LISTED = 2000  # ids in one condition
_FORMAT = 1


class LanceIndex(Index):
    """Embeddings in a folder, in the format of LanceDB. Each change is on the disk when it returns.

    Searches compare all embeddings until `train` has made an index (IVF with product quantisation), and then
    those of some partitions. What is found is compared again by the compiled kernels, so that values are
    those of `ExactIndex`.

    Args:
        folder: Where the embeddings are, or will be; `load` reads what is there.
        dim: D, the width of the embeddings.
        metric: "sqeuclidean", "euclidean", "cosine" or "dot".
        probes: Partitions that a search reads once there are any.
        refine: How many times `k` candidates are read and compared exactly.

    Raises:
        ImportError: LanceDB is not installed.
        ArgumentError: The folder holds an index already.
    """

    METRICS = tuple(_DISTANCES)

    def __init__(
        self,
        folder: str | Path,
        dim: int,
        metric: str = "sqeuclidean",
        *,
        probes: int = 20,
        refine: int = 10,
    ) -> None:
        super().__init__(dim, metric)
        lancedb, pa = optional("lancedb", "lancedb"), optional("pyarrow", "lancedb")
        self.folder = Path(folder)
        if (self.folder / _ABOUT).exists():
            raise ArgumentError("folder", "must not hold an index yet; `load` reads it", str(folder))
        check_at_least("probes", probes, 1)
        check_at_least("refine", refine, 1)
        self._settings = {"probes": as_int64("probes", probes), "refine": as_int64("refine", refine)}
        self.folder.mkdir(parents=True, exist_ok=True)
        fields = [("id", pa.int64()), ("label", pa.string()), ("vector", pa.list_(pa.float32(), self.dim))]
        self._table: Any = lancedb.connect(self.folder).create_table(
            _TABLE, mode="overwrite", schema=pa.schema([pa.field(name, type_) for name, type_ in fields])
        )
        about = {"format": _FORMAT, "dim": self.dim, "metric": metric, **self._settings}
        files.replace(self.folder / _ABOUT, lambda path: path.write_text(json.dumps(about)))

    def __len__(self) -> int:
        return int(self._table.count_rows())

    @property
    def counts(self) -> dict[Label, int]:
        """How many embeddings each label has."""
        counted: Counter[str] = Counter()
        for batch in self._table.search().select(["label"]).to_batches():
            counted.update(batch.column("label").to_pylist())
        return {json.loads(text): count for text, count in counted.items()}

    def train(self, partitions: int | None = None, sub_vectors: int | None = None) -> None:
        """Makes or renews the index by partitions: searches read fewer embeddings, and may miss some.

        Args:
            partitions: How many; None: chosen by LanceDB.
            sub_vectors: Into how many parts embeddings are quantised, a divisor of D; None: D / 8 or less.

        Raises:
            ArgumentError: There are fewer than 256 embeddings, or `sub_vectors` does not divide D.
        """
        if len(self) < 256:
            raise ArgumentError(
                "partitions", "need at least 256 embeddings in the index", described=f"{len(self)} embeddings"
            )
        if sub_vectors is None:
            sub_vectors = max(n for n in range(1, max(1, self.dim // 8) + 1) if self.dim % n == 0)
        check_at_least("sub_vectors", sub_vectors, 1)
        if self.dim % sub_vectors:
            raise ArgumentError("sub_vectors", f"must divide {self.dim}, the width", sub_vectors)
        if partitions is not None:
            check_at_least("partitions", partitions, 1)
        partitioned = optional("lancedb.index", "lancedb").IvfPq(
            distance_type=_DISTANCES[self.metric], num_partitions=partitions, num_sub_vectors=sub_vectors
        )
        self._table.create_index("vector", config=partitioned)

    @property
    def is_trained(self) -> bool:
        """Whether searches read some partitions alone."""
        return bool(self._table.list_indices())

    def save(self, folder: str | Path) -> None:
        """Copies the index into another folder; its own holds it already."""
        folder = Path(folder)
        if folder.resolve() == self.folder.resolve():
            return
        if folder.exists():
            raise ArgumentError("folder", "must not be there yet", str(folder))
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name}.unfinished")
        shutil.rmtree(beside, ignore_errors=True)
        try:
            shutil.copytree(self.folder, beside)
            beside.rename(folder)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise files.named(error, folder) from error

    @classmethod
    def load(cls, folder: str | Path) -> LanceIndex:
        """The index in a folder; see `Index.load`."""
        lancedb, folder = optional("lancedb", "lancedb"), Path(folder)
        try:
            about = dict(json.loads((folder / _ABOUT).read_text()))
            if about.get("format") != _FORMAT:
                raise ArgumentError("folder", f"must hold an index of format {_FORMAT}", about.get("format"))
            index = cls.__new__(cls)
            Index.__init__(index, about["dim"], about["metric"])
            index._settings = {name: about[name] for name in ("probes", "refine")}
            index.folder, index._table = folder, lancedb.connect(folder).open_table(_TABLE)
        except (FileNotFoundError, NotADirectoryError):
            raise ArgumentError(
                "folder", f"must be that of an index, with an {_ABOUT}", described=str(folder)
            ) from None
        except (json.JSONDecodeError, KeyError, RuntimeError) as error:
            raise ArgumentError(
                "folder", "must hold an index as it was written", described=f"{folder}, which is damaged"
            ) from error
        return index

    def _present(self, ids: Ids) -> npt.NDArray[np.bool_]:
        if len(ids) > _LISTED:
            return np.isin(ids, self._ids_where("true"))
        return np.isin(ids, self._ids_where(*_conditions(ids))) if len(ids) else np.zeros(0, bool)

    def _ids_of(self, labels: list[Label]) -> Ids:
        return self._ids_where(_with_labels(labels))

    def _ids_where(self, condition: str) -> Ids:
        found = self._table.search().where(condition).select(["id"]).to_arrow()
        return np.asarray(found.column("id").to_numpy(), np.int64)

    def _add(self, ids: Ids, rows: FloatArray, labels: list[Label]) -> None:
        pa = optional("pyarrow", "lancedb")
        columns = {
            "id": pa.array(ids),
            "label": pa.array([json.dumps(label) for label in labels]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), self.dim),
        }
        self._table.add(pa.table(columns, schema=self._table.schema))

    def _remove(self, ids: Ids) -> None:
        self._table.delete(" OR ".join(_conditions(ids)))

    def _search(self, queries: FloatArray, k: int, where: list[Label] | None) -> Found:
        found = nothing_found(len(queries), k, self.is_similarity)
        if not len(queries):
            return found
        alone = len(queries) == 1  # without a column that names the query
        search = self._table.search(queries[0] if alone else queries).distance_type(_DISTANCES[self.metric])
        search = search.limit(k).select(["id", "label", "vector", "_distance"])
        if where is not None:
            search = search.where(_with_labels(where), prefilter=True)
        if self.is_trained:
            search = search.nprobes(self._settings["probes"]).refine_factor(self._settings["refine"])
        table = search.to_arrow()
        of_query = np.zeros(len(table)) if alone else table.column("query_index").to_numpy()
        ids = table.column("id").to_numpy()
        labels = [json.loads(text) for text in table.column("label").to_pylist()]
        vectors = np.asarray(table.column("vector").combine_chunks().flatten(), np.float32)
        vectors = vectors.reshape(-1, self.dim)
        for query in range(len(queries)):
            rows = np.flatnonzero(of_query == query)
            if not len(rows):
                continue
            values, order = kernels.nearest(queries[query : query + 1], vectors[rows], len(rows), self.metric)
            chosen = rows[order[0]]
            found.values[query, : len(rows)], found.ids[query, : len(rows)] = values[0], ids[chosen]
            found.labels[query] = (*(labels[row] for row in chosen), *found.labels[query][len(rows) :])
        return found


def _conditions(ids: Ids) -> Iterator[str]:
    for first in range(0, len(ids), _LISTED):
        yield f"id IN ({', '.join(map(str, ids[first : first + _LISTED].tolist()))})"


def _with_labels(labels: list[Label]) -> str:
    if not labels:
        return "false"
    quoted = ("'" + json.dumps(label).replace("'", "''") + "'" for label in labels)
    return f"label IN ({', '.join(quoted)})"

# SPDX-License-Identifier: MIT
"""Several indexes as one: where one machine is outgrown."""

from __future__ import annotations

import json
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fslcore import files
from fslcore.arguments import ArgumentError, as_int64, check_at_least
from fslcore.classifier.growing import Label
from fslcore.classifier.index.base import NO_ID, FloatArray, Found, Ids, Index, nothing_found, optional

_ABOUT = "shards.json"
_FORMAT = 1


class Shard(Protocol):
    """Where one of the indexes is."""

    def begin(self, method: str, *arguments: Any) -> Callable[[], Any]:
        """Starts a method of the index; returns a function that waits for its result."""


class _Here:
    """A shard in this process."""

    def __init__(self, index: Index) -> None:
        self.index = index

    def begin(self, method: str, *arguments: Any) -> Callable[[], Any]:
        result = answer(self.index, method, *arguments)
        return lambda: result


class _OnRay:
    """A shard that an actor of Ray holds."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def begin(self, method: str, *arguments: Any) -> Callable[[], Any]:
        reference = self._actor.answer.remote(method, *arguments)
        return lambda: self._ray.get(reference)


class _Actor:
    """What runs in the process of an actor."""

    def __init__(self, make: Callable[[], Index]) -> None:
        self._index = make()

    def answer(self, method: str, *arguments: Any) -> Any:
        return answer(self._index, method, *arguments)


def answer(index: Index, method: str, *arguments: Any) -> Any:
    """The result of a method of an index, or an attribute of it."""
    if method in ("dim", "metric", "counts"):
        return getattr(index, method)
    return len(index) if method == "len" else getattr(index, method)(*arguments)


def on_ray(make: Callable[[], Index], count: int, **options: Any) -> list[Shard]:
    """Starts actors of Ray, each with an index of its own, for a `ShardedIndex`.

    Args:
        make: Makes an index, in the process of the actor: `lambda: ExactIndex(128)`.
        count: How many actors.
        **options: What an actor needs, as Ray's `options` takes it, such as `num_cpus=4`.

    Raises:
        ImportError: Ray is not installed.
    """
    check_at_least("count", count, 1)
    ray = optional("ray", "ray")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    actor = ray.remote(**options)(_Actor) if options else ray.remote(_Actor)
    return [_OnRay(ray, actor.remote(make)) for _ in range(as_int64("count", count))]


class ShardedIndex(Index):
    """Indexes that together hold the embeddings: an id belongs to shard `id % len(shards)`.

    Every shard searches at the same time, and the nearest of all are merged: the result is that of one index
    with all embeddings, but that of equal values the lowest id is nearer.

    Args:
        shards: At least one `Index`, or what `on_ray` started, of one width and metric.
    """

    METRICS = ()

    def __init__(self, shards: Sequence[Index | Shard]) -> None:
        if not shards:
            raise ArgumentError("shards", "must be at least one", described="none")
        self._shards = [_Here(shard) if isinstance(shard, Index) else shard for shard in shards]
        kinds = {(dim, metric) for dim, metric in zip(self._all("dim"), self._all("metric"), strict=True)}
        if len(kinds) > 1:
            raise ArgumentError("shards", "must have one width and metric", described=str(sorted(kinds)))
        self.dim, self.metric = kinds.pop()

    def __len__(self) -> int:
        return sum(self._all("len"))

    @property
    def counts(self) -> dict[Label, int]:
        """How many embeddings each label has."""
        counted: Counter[Label] = Counter()
        for counts in self._all("counts"):
            counted.update(counts)
        return dict(counted)

    def save(self, folder: str | Path) -> None:
        """Writes all shards into a folder, which is made if it is not there: whole, or not at all."""
        folder = Path(folder)
        generation = secrets.token_hex(4)
        written = folder / generation
        try:
            written.mkdir(parents=True)
            self._wait(
                [s.begin("save", written / f"shard-{number}") for number, s in enumerate(self._shards)]
            )
            about = {"format": _FORMAT, "shards": len(self._shards), "generation": generation}
            files.replace(folder / _ABOUT, lambda path: path.write_text(json.dumps(about)))
        except BaseException:
            shutil.rmtree(written, ignore_errors=True)
            raise
        for other in folder.iterdir():
            if other.is_dir() and other.name != generation and (other / "shard-0").exists():
                shutil.rmtree(other, ignore_errors=True)

    @classmethod
    def load(cls, folder: str | Path, read: Callable[[Path], Index | Shard] | None = None) -> ShardedIndex:
        """The index in a folder; see `Index.load`.

        Args:
            folder: The folder.
            read: Reads a shard from its folder; None: `ExactIndex.load`.
        """
        from fslcore.classifier.index.exact import ExactIndex

        folder = Path(folder)
        try:
            about = dict(json.loads((folder / _ABOUT).read_text()))
            if about.get("format") != _FORMAT:
                raise ArgumentError("folder", f"must hold shards of format {_FORMAT}", about.get("format"))
            places = [folder / about["generation"] / f"shard-{n}" for n in range(about["shards"])]
        except (FileNotFoundError, NotADirectoryError):
            raise ArgumentError(
                "folder", f"must be that of a sharded index, with a {_ABOUT}", described=str(folder)
            ) from None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ArgumentError(
                "folder", "must hold shards as they were written", described=f"{folder}, which is damaged"
            ) from error
        return cls([(read or ExactIndex.load)(place) for place in places])

    def _all(self, method: str, *arguments: Any) -> list[Any]:
        return self._wait([shard.begin(method, *arguments) for shard in self._shards])

    @staticmethod
    def _wait(begun: list[Callable[[], Any]]) -> list[Any]:
        return [result() for result in begun]

    def _shared(self, ids: Ids) -> list[tuple[Shard, npt.NDArray[np.int64]]]:
        """Each shard that some ids belong to, and their places."""
        of = ids % len(self._shards)
        places = [np.flatnonzero(of == number) for number in range(len(self._shards))]
        return [(shard, mine) for shard, mine in zip(self._shards, places, strict=True) if len(mine)]

    def _present(self, ids: Ids) -> npt.NDArray[np.bool_]:
        shared = self._shared(ids)
        present = np.zeros(len(ids), bool)
        begun = [shard.begin("_present", ids[places]) for shard, places in shared]
        for (_, places), there in zip(shared, self._wait(begun), strict=True):
            present[places] = there
        return present

    def _ids_of(self, labels: list[Label]) -> Ids:
        return np.concatenate(self._all("_ids_of", labels))

    def _add(self, ids: Ids, rows: FloatArray, labels: list[Label]) -> None:
        self._wait(
            [
                shard.begin("_add", ids[places], rows[places], [labels[place] for place in places])
                for shard, places in self._shared(ids)
            ]
        )

    def _remove(self, ids: Ids) -> None:
        self._wait([shard.begin("_remove", ids[places]) for shard, places in self._shared(ids)])

    def _search(self, queries: FloatArray, k: int, where: list[Label] | None) -> Found:
        parts: list[Found] = self._all("_search", queries, k, where)
        found = nothing_found(len(queries), k, self.is_similarity)
        ids = np.concatenate([part.ids for part in parts], axis=1)
        values = np.concatenate([part.values for part in parts], axis=1)
        nearness = -values if self.is_similarity else values
        labels = []
        for query in range(len(queries)):
            among = sum((part.labels[query] for part in parts), ())
            order = np.lexsort((ids[query], nearness[query], ids[query] == NO_ID))[:k]
            found.ids[query], found.values[query] = ids[query, order], values[query, order]
            labels.append(tuple(among[place] for place in order))
        return Found(found.ids, found.values, labels)

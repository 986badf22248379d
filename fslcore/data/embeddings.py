# SPDX-License-Identifier: MIT
"""`EmbeddingStore`: the embeddings of a store's images, on which heads train in seconds.

It has the methods of an `ImageStore`. An embedding of D numbers counts as an image of one pixel with D
channels, so that every learner, and `evaluate`, takes it as it takes images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count, check_sorted, checked_indices, form
from fslcore.data.splits import partition

if TYPE_CHECKING:
    import tensorflow as tf

    from fslcore.data.sampling import Source


@dataclass(frozen=True, eq=False, repr=False)
class EmbeddingStore:
    """Embeddings of the images of a few-shot dataset, sorted by class. Immutable, as an `ImageStore` is.

    Attributes:
        embeddings: float32 [N, D]; may be a memory map.
        labels: int32 [N], 0..n_classes-1 and never decreasing.
        groups: int32 [N], an index into `group_names`, or None.
        class_names: One name per class.
        group_names: One name per group; empty without groups.
        name: Where the images come from, such as "emoji/test".
        encoder: Digest of the encoder, which tells embeddings of one from those of another; "" if unknown.

    Raises:
        ArgumentError: An array has the wrong type or shape, the labels are not sorted, an embedding is not
            finite, or the names do not match the labels or groups.
    """

    embeddings: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32] | None = None
    class_names: Sequence[str] = ()
    group_names: Sequence[str] = ()
    name: str = "embeddings"
    encoder: str = field(default="")

    def __post_init__(self) -> None:
        found = self.embeddings
        if (
            not isinstance(found, np.ndarray)
            or found.dtype != np.float32
            or found.ndim != 2
            or not found.size
        ):
            described = form(np.asarray(found))
            raise ArgumentError("embeddings", "must be float32 [N, D], not empty", found, described=described)
        labels = checked_indices("labels", self.labels, len(found))
        check_sorted(labels)
        groups = self.groups
        if groups is not None:
            groups = checked_indices("groups", groups, len(found))
        names = tuple(self.class_names) or tuple(map(str, range(int(labels[-1]) + 1)))
        if len(names) != int(labels[-1]) + 1:
            raise ArgumentError(
                "class_names", f"must have one name per class ({labels[-1] + 1})", described=f"{len(names)}"
            )
        group_names = tuple(self.group_names)
        if (groups is None) != (not group_names) or (
            groups is not None and not 0 <= groups.min() <= groups.max() < len(group_names)
        ):
            raise ArgumentError("group_names", "must have a name for every group", described=f"{group_names}")
        values = (labels, groups, names, group_names)
        for name, value in zip(("labels", "groups", "class_names", "group_names"), values, strict=True):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        groups = f" in {self.n_groups} groups" if self.groups is not None else ""
        size = f"{len(self)} embeddings of {self.dim} numbers"
        return f"EmbeddingStore({self.name!r}: {size}, {self.n_classes} classes{groups})"

    @property
    def dim(self) -> int:
        """D, the numbers of an embedding."""
        return int(self.embeddings.shape[1])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(1, 1, D): one pixel with D channels."""
        return 1, 1, self.dim

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def n_groups(self) -> int:
        """Number of groups; 0 without groups."""
        return len(self.group_names)

    @cached_property
    def images_per_class(self) -> npt.NDArray[np.int64]:
        """Number of embeddings of each class, int64 [n_classes]."""
        return np.bincount(self.labels, minlength=self.n_classes)

    @cached_property
    def content_hash(self) -> str:
        """BLAKE2b digest (32 hex digits) of embeddings and labels."""
        digest = hashlib.blake2b(repr(self.embeddings.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(self.embeddings).data)
        digest.update(self.labels.data)
        return digest.hexdigest()

    def gather(self, rows: npt.ArrayLike, rotations: Any = None) -> npt.NDArray[np.float32]:
        """The embeddings of some rows as images of one pixel, float32 [*rows.shape, 1, 1, D]."""
        if rotations is not None:
            raise _cannot_be_turned(rotations)
        rows = np.asarray(rows)
        return np.asarray(self.embeddings[rows.ravel()]).reshape(*rows.shape, *self.image_shape)

    def take(self, rows: npt.ArrayLike, name: str | None = None) -> EmbeddingStore:
        """Returns a store with only some of the rows; see `ImageStore.take`."""
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.sort(chosen)
        whole = chosen.ndim == 1 and np.issubdtype(chosen.dtype, np.integer) and chosen.size
        if not whole or chosen[0] < 0 or chosen[-1] >= len(self) or np.any(np.diff(chosen) == 0):
            raise ArgumentError(
                "rows",
                f"must be one or more distinct numbers of 0..{len(self) - 1}, or a mask [{len(self)}]",
                described=form(np.asarray(rows)),
            )
        classes, labels = np.unique(self.labels[chosen], return_inverse=True)
        groups, group_names = None, ()
        if self.groups is not None:
            kept, groups = np.unique(self.groups[chosen], return_inverse=True)
            group_names = tuple(self.group_names[i] for i in kept)
        return EmbeddingStore(
            self.embeddings[chosen],
            labels.astype(np.int32),
            None if groups is None else groups.astype(np.int32),
            tuple(self.class_names[i] for i in classes),
            group_names,
            self.name if name is None else name,
            self.encoder,
        )

    def with_min_images(self, n: int) -> EmbeddingStore:
        """Returns the store without the classes that have fewer than `n` embeddings."""
        check_count("n", n, 0)
        enough = self.images_per_class >= n
        if not enough.any():
            most = self.images_per_class.max()
            raise ArgumentError("n", f"must be at most {most}, the largest class of {self.name}", n)
        return self if enough.all() else self.take(enough[self.labels])

    def split(self, by: str = "label", seed: int = 0, **parts: int | float) -> dict[str, EmbeddingStore]:
        """Divides the store as `ImageStore.split` divides that of the images: into the same parts."""
        keys, total = (self.labels, self.n_classes) if by == "label" else (self.groups, self.n_groups)
        if by not in ("label", "group") or keys is None:
            known = "'label' or 'group'" if self.groups is not None else "'label' for a store without groups"
            raise ArgumentError("by", f"must be {known}", by)
        return {
            part: self.take(np.isin(keys, chosen), f"{self.name}/{part}")
            for part, chosen in partition(total, parts, seed, unit=f"{by}s").items()
        }

    def episodes(
        self,
        n_way: int,
        k_shot: int,
        n_query: int,
        *,
        n_unlabelled: int = 0,
        tasks: int | None = None,
        seed: int = 0,
        first: int = 0,
        episodes: int | None = None,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """Episodes of embeddings [n_way, k_shot, 1, 1, D]: those of the images, by the same numbers."""
        from fslcore.data import episodes as sampler

        source = self._source(rotations)
        return sampler.episodes(
            source, n_way, k_shot, n_query, n_unlabelled, tasks, seed, first, episodes, False
        )

    def pk_batches(
        self,
        classes: int,
        samples: int,
        *,
        seed: int = 0,
        first: int = 0,
        batches: int | None = None,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """Batches of P classes x K embeddings [P * K, 1, 1, D]: those of the images, by the same numbers."""
        from fslcore.data import batches as sampler

        return sampler.pk_batches(self._source(rotations), classes, samples, seed, first, batches, False)

    def _source(self, rotations: bool) -> Source:
        if rotations:
            raise _cannot_be_turned(rotations)
        from fslcore.data.sampling import Source

        return Source(self._vectors, self.labels, self.class_names, repr(self))

    @cached_property
    def _vectors(self) -> Any:
        from fslcore.data.vectors import Vectors

        return Vectors(np.asarray(self.embeddings))


def _cannot_be_turned(rotations: Any) -> ArgumentError:
    return ArgumentError(
        "rotations", "must be left out for embeddings: turn the images before they are embedded", rotations
    )

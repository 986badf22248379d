# SPDX-License-Identifier: MIT
"""`EmbeddingStore`: the embeddings of a store's images, on which heads train in seconds.

It has the methods of an `ImageStore`. An embedding of D numbers counts as an image of one pixel with D
channels, so that every learner, and `evaluate`, takes it as it takes images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count, check_rows, check_sorted, checked_indices, form
from fslcore.data.labelling import indices_of_names, names_at, names_of
from fslcore.data.preparation import Preparation
from fslcore.data.splits import rows_of_parts

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
        class_names: One name per class; "0", "1", ... where none are given.
        group_names: One name per group; empty without groups.
        name: Where the images come from, such as "emoji/test".
        parts: int32 [N], an index into `part_names`, or None.
        part_names: One name per part; empty without parts.
        preparation: How the pictures became the images that are embedded, or None.
        encoder: Digest of the encoder, which tells embeddings of one from those of another; "" if unknown.

    Raises:
        ArgumentError: An array has the wrong type or shape, the labels are not sorted, or the names do not
            match the labels, groups or parts.
    """

    embeddings: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32] | None = None
    class_names: Sequence[str] = ()
    group_names: Sequence[str] = ()
    name: str = "embeddings"
    parts: npt.NDArray[np.int32] | None = None
    part_names: Sequence[str] = ()
    preparation: Preparation | None = None
    encoder: str = ""

    def __post_init__(self) -> None:
        found = self.embeddings
        is_matrix = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.ndim == 2
        if not is_matrix or not found.size:
            raise ArgumentError(
                "embeddings",
                "must be float32 [N, D], not empty",
                found,
                described=form(np.asarray(found)),
            )
        labels = checked_indices("labels", self.labels, len(found))
        check_sorted(labels)
        groups, group_names = indices_of_names("groups", self.groups, self.group_names, len(found))
        parts, part_names = indices_of_names("parts", self.parts, self.part_names, len(found))
        n_classes = int(labels[-1]) + 1
        class_names = names_of("class_names", self.class_names) or tuple(map(str, range(n_classes)))
        if len(class_names) != n_classes:
            raise ArgumentError(
                "class_names",
                f"must have one name per class ({n_classes})",
                described=f"{len(class_names)} names",
            )
        for field, value in (
            ("labels", labels),
            ("groups", groups),
            ("class_names", class_names),
            ("group_names", group_names),
            ("parts", parts),
            ("part_names", part_names),
        ):
            object.__setattr__(self, field, value)

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
        _check_unturned(rotations)
        rows = check_rows(rows, len(self))
        return np.asarray(self.embeddings[rows.ravel()]).reshape(*rows.shape, *self.image_shape)

    def take(self, rows: npt.ArrayLike, name: str | None = None) -> EmbeddingStore:
        """Returns a store with only some of the rows; see `ImageStore.take`."""
        rows = np.asarray(rows)
        is_mask = rows.dtype == np.bool_ and rows.shape == self.labels.shape
        rows = np.flatnonzero(rows) if is_mask else np.sort(check_rows(rows, len(self)))
        if rows.ndim != 1 or not rows.size or np.any(rows[1:] == rows[:-1]):
            raise ArgumentError(
                "rows",
                f"must be one or more distinct numbers of 0..{len(self) - 1}, or a mask [{len(self)}]",
                described=form(rows),
            )
        classes, labels = np.unique(self.labels[rows], return_inverse=True)
        groups, group_names = names_at(rows, self.groups, self.group_names)
        return EmbeddingStore(
            self.embeddings[rows],
            labels.astype(np.int32),
            groups,
            tuple(self.class_names[i] for i in classes),
            group_names,
            self.name if name is None else name,
            *names_at(rows, self.parts, self.part_names),
            self.preparation,
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
        rows = rows_of_parts(self, by, parts, seed)
        return {part: self.take(chosen, f"{self.name}/{part}") for part, chosen in rows.items()}

    def episodes(
        self,
        n_way: int | tuple[int, int],
        k_shot: int | tuple[int, int],
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

        _check_unturned(rotations)
        source = self._source()
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

        _check_unturned(rotations)
        return sampler.pk_batches(self._source(), classes, samples, seed, first, batches, False)

    def minibatches(
        self,
        n_way: int,
        k_shot: int,
        *,
        tasks: int,
        steps: int,
        batch: int,
        seed: int = 0,
        first: int = 0,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """Tasks cut into the mini-batches of an inner loop; see `fslcore.data.batches.minibatches`."""
        from fslcore.data import batches as sampler

        _check_unturned(rotations)
        source = self._source()
        return sampler.minibatches(source, n_way, k_shot, tasks, steps, batch, seed, first, False)

    def _source(self) -> Source:
        from fslcore.data.sampling import Source

        return Source(self._vectors, self.labels, self.class_names, repr(self))

    @cached_property
    def _vectors(self) -> Any:
        """The embeddings as a tensor, made once and shared by all datasets of this store."""
        from fslcore.data.vectors import Vectors

        return Vectors(np.asarray(self.embeddings))


def _check_unturned(rotations: Any) -> None:
    if rotations is not None and rotations is not False:
        raise ArgumentError(
            "rotations",
            "must be left out for embeddings: turn the images before they are embedded",
            rotations,
        )

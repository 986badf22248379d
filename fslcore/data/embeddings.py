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
from fslcore.data.checks import cannot_be_turned, check_rows, form
from fslcore.data.labelled import LabelledStore
from fslcore.data.preparation import Preparation

if TYPE_CHECKING:
    from fslcore.data.pixels import Pixels


@dataclass(frozen=True, eq=False, repr=False)
class EmbeddingStore(LabelledStore):
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
        self._check_labelling(len(found))

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
            raise cannot_be_turned(rotations)
        rows = check_rows(rows, len(self))
        return np.asarray(self.embeddings[rows.ravel()]).reshape(*rows.shape, *self.image_shape)

    def _chosen(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        return {"embeddings": self.embeddings[rows]}

    def _make_pixels(self) -> Pixels:
        from fslcore.data.vectors import Vectors

        return Vectors(np.asarray(self.embeddings))

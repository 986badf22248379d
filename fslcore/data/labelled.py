# SPDX-License-Identifier: MIT
"""What the stores have in common: rows sorted by class, their names, parts, splits, episodes and batches.

A store of images and a store of their embeddings differ in what a row is, and in nothing here.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count, check_sorted, checked_indices
from fslcore.data.labelling import indices_of_names, names_at, names_of
from fslcore.data.splits import rows_of_parts

if TYPE_CHECKING:
    import tensorflow as tf
    from typing_extensions import Self

    from fslcore.augmentation import Augmentation
    from fslcore.data.pixels import Pixels
    from fslcore.data.sampling import Source


class LabelledStore(ABC):
    """Rows with labels; its sub-classes are frozen dataclasses with these attributes, among others.

    Attributes:
        labels: int32 [N], 0..n_classes-1 and never decreasing.
        groups: int32 [N], an index into `group_names`, or None.
        class_names: One name per class.
        group_names: One name per group.
        name: Where the rows come from.
        parts: int32 [N], an index into `part_names`, or None.
        part_names: One name per part.
    """

    labels: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32] | None
    class_names: Sequence[str]
    group_names: Sequence[str]
    name: str
    parts: npt.NDArray[np.int32] | None
    part_names: Sequence[str]

    def _check_labelling(self, rows: int) -> None:
        """Puts labels, groups, parts and their names in their final form, or raises ArgumentError.

        Args:
            rows: How many rows there are.
        """
        labels = checked_indices("labels", self.labels, rows)
        check_sorted(labels)
        n_classes = int(labels[-1]) + 1
        groups, group_names = indices_of_names("groups", self.groups, self.group_names, rows)
        parts, part_names = indices_of_names("parts", self.parts, self.part_names, rows)
        class_names = names_of("class_names", self.class_names) or tuple(map(str, range(n_classes)))
        if len(class_names) != n_classes:
            raise ArgumentError(
                "class_names",
                f"must have one name per class ({n_classes})",
                class_names,
                described=f"{len(class_names)} names",
            )
        for field, value in (
            ("labels", frozen(labels)),
            ("groups", None if groups is None else frozen(groups)),
            ("class_names", class_names),
            ("group_names", group_names),
            ("parts", None if parts is None else frozen(parts)),
            ("part_names", part_names),
        ):
            object.__setattr__(self, field, value)

    @abstractmethod
    def _chosen(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """What `dataclasses.replace` needs, beside the labelling, for a store of these rows."""

    @abstractmethod
    def _make_pixels(self) -> Pixels:
        """What a sampler gathers from."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def n_groups(self) -> int:
        """Number of groups; 0 for a store without groups."""
        return len(self.group_names)

    @cached_property
    def images_per_class(self) -> npt.NDArray[np.int64]:
        """Number of images of each class, int64 [n_classes]."""
        return np.bincount(self.labels, minlength=self.n_classes)

    def take(self, rows: npt.ArrayLike, name: str | None = None) -> Self:
        """Returns a store with only some of the images.

        Args:
            rows: Which images, as distinct row numbers (int [M]) or as a mask (bool [N]).
            name: Name of the new store; the old one's if None.

        Returns:
            A store with only the classes and groups that occur, renumbered from 0, their names kept.

        Raises:
            ArgumentError: rows is empty, repeats a row or is out of range.
        """
        rows = np.asarray(rows)
        if rows.dtype == np.bool_ and rows.shape == self.labels.shape:
            rows = np.flatnonzero(rows)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise ArgumentError(
                "rows",
                f"must be integers [M] or a mask [{len(self)}]",
                rows,
                described=f"{rows.dtype} {list(rows.shape)}",
            )
        rows = np.sort(rows)
        if not rows.size or rows[0] < 0 or rows[-1] >= len(self) or np.any(rows[1:] == rows[:-1]):
            raise ArgumentError(
                "rows",
                f"must be one or more distinct numbers of 0..{len(self) - 1}",
                rows,
                described=f"{rows.size} rows" + (f" from {rows[0]} to {rows[-1]}" if rows.size else ""),
            )
        classes, labels = np.unique(self.labels[rows], return_inverse=True)
        groups, group_names = names_at(rows, self.groups, self.group_names)
        parts, part_names = names_at(rows, self.parts, self.part_names)
        return dataclasses.replace(  # type: ignore[type-var]
            self,
            labels=labels.astype(np.int32),
            groups=groups,
            class_names=tuple(self.class_names[i] for i in classes),
            group_names=group_names,
            name=self.name if name is None else name,
            parts=parts,
            part_names=part_names,
            **self._chosen(rows),
        )

    def with_min_images(self, n: int) -> Self:
        """Returns the store without the classes that have fewer than `n` images.

        Raises:
            ArgumentError: n is no number of images, or no class has that many.
        """
        check_count("n", n, 0)
        enough = self.images_per_class >= n
        if not enough.any():
            largest = self.images_per_class.max()
            raise ArgumentError(
                "n", f"must be at most {largest}, the size of the largest class of {self.name}", n
            )
        return self if enough.all() else self.take(enough[self.labels])

    def split(self, by: str = "label", seed: int = 0, **parts: int | float) -> dict[str, Self]:
        """Divides the store into disjoint parts, at random but the same for the same seed.

        Args:
            by: "label" assigns whole classes to the parts, "group" whole groups: no class (or group) is in
                two parts. "image" divides the images of each class: every class is in every part, to tell
                known classes apart on new images (a closed set).
            seed: Seed of the shuffle; the result depends neither on the platform nor on the thread count.
            **parts: Name and size of each part: an int is a number of classes (groups, images of each class),
                a float a fraction of them. What is left over is in no part. With "image", fractions give
                every part at least one image of each class.

        Returns:
            A dict of stores in the order of `parts`, named "<name>/<part>". Classes (and groups) are
            renumbered from 0 in their old order and keep their names.

        Raises:
            ArgumentError: by is unknown, the store has no groups, a part is empty, the parts need more than
                there is, or a class has fewer images than there are parts.

        Example:
            >>> import numpy as np
            >>> from fslcore.data import ImageStore
            >>> store = ImageStore.from_arrays(np.zeros((6, 8, 8), np.uint8), list("aabbcc"), name="toy")
            >>> store.split(train=2, test=1)
            {'train': ImageStore('toy/train': 4 images 8x8x1, 2 classes), \
'test': ImageStore('toy/test': 2 images 8x8x1, 1 classes)}
        """
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
        step: int = 1,
        episodes: int | None = None,
        rotations: bool = False,
        augment: Augmentation | None = None,
    ) -> tf.data.Dataset:
        """N-way K-shot episodes; pairs such as `n_way=(5, 20)` vary; see `fslcore.data.episodes.episodes`."""
        from fslcore.data import episodes as sampler

        source = self._source()
        return sampler.episodes(
            source,
            n_way,
            k_shot,
            n_query,
            n_unlabelled,
            tasks,
            seed,
            first,
            step,
            episodes,
            rotations,
            augment,
        )

    def pk_batches(
        self,
        classes: int,
        samples: int,
        *,
        seed: int = 0,
        first: int = 0,
        step: int = 1,
        batches: int | None = None,
        rotations: bool = False,
        augment: Augmentation | None = None,
    ) -> tf.data.Dataset:
        """Batches of P classes x K images; see `fslcore.data.batches.pk_batches`."""
        from fslcore.data import batches as sampler

        return sampler.pk_batches(
            self._source(), classes, samples, seed, first, step, batches, rotations, augment
        )

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
        step: int = 1,
        rotations: bool = False,
        augment: Augmentation | None = None,
    ) -> tf.data.Dataset:
        """Tasks cut into the mini-batches of an inner loop; see `fslcore.data.batches.minibatches`."""
        from fslcore.data import batches as sampler

        source = self._source()
        return sampler.minibatches(
            source, n_way, k_shot, tasks, steps, batch, seed, first, step, rotations, augment
        )

    def _source(self) -> Source:
        from fslcore.data.sampling import Source

        return Source(self._pixels, self.labels, self.class_names, repr(self))

    @cached_property
    def _pixels(self) -> Pixels:
        """The rows as tensors, made once and shared by all datasets of this store."""
        return self._make_pixels()


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view of an array that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view

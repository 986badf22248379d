# SPDX-License-Identifier: MIT
"""`ImageStore`: all images of a dataset as one uint8 array, class by class, in memory or on the disk.

An episode or a batch is then only a table of row numbers, which the compiled gather turns into float
images. Everything in this file is NumPy; only the methods that make datasets import TensorFlow.
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
from fslcore.data.arrays import tensor_of
from fslcore.data.checks import (
    check_count,
    check_rows,
    check_sorted,
    checked_images,
    checked_indices,
)
from fslcore.data.converting import as_store_images
from fslcore.data.labelling import distinct, indices_of_names, names_at, names_of
from fslcore.data.preparation import Preparation
from fslcore.data.splits import rows_of_parts
from fslcore.data.views import MappedRows, Paging, StoredImages, chosen_rows, parts_of

if TYPE_CHECKING:
    import tensorflow as tf

    from fslcore.data.pixels import Pixels
    from fslcore.data.sampling import Source


@dataclass(frozen=True, eq=False, repr=False)
class ImageStore:
    """Images of a few-shot dataset, sorted by class. Immutable: every method returns a new store.

    Use `ImageStore.from_arrays` for images in any order with labels of any kind.

    Attributes:
        images: uint8 [N, H, W, C]: an array, a memory map, or images that are read when they are indexed
            (`fslcore.data.views.StoredImages`), as parts of a memory map are.
        labels: int32 [N], 0..n_classes-1 and never decreasing, so that a class is one run of rows.
        groups: int32 [N], an index into `group_names` (the alphabet of a letter, the day of a photograph),
            or None.
        class_names: One name per class; "0", "1", ... where none are given.
        group_names: One name per group; "0", "1", ... where none are given, empty without groups.
        name: Where the images come from, such as "omniglot/test"; for messages and reports.
        parts: int32 [N], an index into `part_names`: the part of a data set that its owner has divided
            ("train", "val", "test"), which `default_split` follows; or None.
        part_names: One name per part; empty without parts.
        preparation: How the images were made from pictures, and new ones are to be made; None if unknown.

    The arrays are not copied if they have the right type already; they must not be changed afterwards.
    `take` and `split` copy the images they choose, unless these follow each other or stay on the disk.

    Raises:
        ArgumentError: An array has the wrong type or shape, the labels are not sorted or leave a class empty,
            or the names do not match the labels or groups.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32] | None = None
    class_names: Sequence[str] = ()
    group_names: Sequence[str] = ()
    name: str = "images"
    parts: npt.NDArray[np.int32] | None = None
    part_names: Sequence[str] = ()
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        images = self.images if isinstance(self.images, StoredImages) else checked_images(self.images)
        labels = checked_indices("labels", self.labels, len(images))
        check_sorted(labels)
        n_classes = int(labels[-1]) + 1
        groups, group_names = indices_of_names("groups", self.groups, self.group_names, len(images))
        parts, part_names = indices_of_names("parts", self.parts, self.part_names, len(images))
        class_names = names_of("class_names", self.class_names) or tuple(map(str, range(n_classes)))
        if len(class_names) != n_classes:
            raise ArgumentError(
                "class_names",
                f"must have one name per class ({n_classes})",
                class_names,
                described=f"{len(class_names)} names",
            )
        for field, value in (
            ("images", images if isinstance(images, StoredImages) else _frozen(images)),
            ("labels", _frozen(labels)),
            ("groups", None if groups is None else _frozen(groups)),
            ("class_names", class_names),
            ("group_names", group_names),
            ("parts", None if parts is None else _frozen(parts)),
            ("part_names", part_names),
        ):
            object.__setattr__(self, field, value)

    @classmethod
    def from_arrays(
        cls,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        groups: npt.ArrayLike | None = None,
        *,
        name: str = "images",
    ) -> ImageStore:
        """Builds a store from images in any order.

        Args:
            images: uint8 [N, H, W, C], or [N, H, W] for one channel: an array, or a tensor of PyTorch,
                TensorFlow or JAX. If they are sorted by class they are not copied; those of a memory map
                never are, so it may be larger than the memory. Floats from 0 to 1 are scaled to 0..255, and
                channels that come first, [N, C, H, W], are moved to the end; both make a copy.
            labels: [N], all integers or all strings. The sorted distinct values become the classes and their
                names.
            groups: [N], all integers or all strings, or None.
            name: Name of the store.

        Returns:
            A store; images of one class keep their order.

        Raises:
            ArgumentError: As for the class; or a label or a group is missing (None, NaN, NA, NaT, masked, an
                empty string), or integers, strings and other values are mixed.
        """
        array: Any = images if isinstance(images, StoredImages) else as_store_images(images)
        class_names, class_index = distinct("labels", labels)
        group_names, group_index = distinct("groups", groups) if groups is not None else ((), None)
        if len(class_index) == len(array) and np.any(class_index[1:] < class_index[:-1]):
            if not isinstance(array, StoredImages):
                array = checked_images(array)  # before they are copied
            order = np.argsort(class_index, kind="stable")
            array, class_index = chosen_rows(array, order), class_index[order]
            if group_index is not None and len(group_index) == len(order):
                group_index = group_index[order]
        return cls(array, class_index, group_index, class_names, group_names, name)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        groups = f" in {self.n_groups} groups" if self.groups is not None else ""
        return (
            f"ImageStore({self.name!r}: {len(self)} images {height}x{width}x{channels}, "
            f"{self.n_classes} classes{groups})"
        )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def n_groups(self) -> int:
        """Number of groups; 0 for a store without groups."""
        return len(self.group_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @cached_property
    def images_per_class(self) -> npt.NDArray[np.int64]:
        """Number of images of each class, int64 [n_classes]."""
        return np.bincount(self.labels, minlength=self.n_classes)

    @cached_property
    def content_hash(self) -> str:
        """BLAKE2b digest (32 hex digits) of images and labels; reports call it `split_hash`.

        Two parts with the same hash hold the same images under the same labels, whatever their names.
        """
        digest = hashlib.blake2b(repr(tuple(self.images.shape)).encode(), digest_size=16)
        for part in parts_of(self.images):
            digest.update(part)
        digest.update(self.labels.data)
        return digest.hexdigest()

    @cached_property
    def image_tensor(self) -> tf.Tensor:
        """The images as one eager tensor on the CPU, made once and shared by all datasets of this store.

        It lies on the memory of `images` where that begins at a multiple of 64 bytes, as a memory map of a
        .npy file does; otherwise it is a copy, as it is for the parts of a memory map.
        """
        return tensor_of(np.asarray(self.images))

    def gather(self, rows: npt.ArrayLike, rotations: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        """Images as episodes hold them, wherever they are kept; see `fslcore.kernels.gather_images`.

        Args:
            rows: Row numbers, integers of any shape.
            rotations: Counter-clockwise quarter turns 0..3 for the leading axes of `rows`, or None.

        Returns:
            float32 [*rows.shape, H, W, C] in [0, 1].

        Raises:
            ArgumentError: A row or a turn is out of range.
        """
        from fslcore import kernels

        if isinstance(self.images, MappedRows):
            images, rows = self.images.base, self.images.rows[check_rows(rows, len(self))]
        elif isinstance(self.images, StoredImages):
            rows = check_rows(rows, len(self))
            images = self.images.read(rows.ravel())
            rows = np.arange(rows.size).reshape(rows.shape)
        else:
            images = self.images
        if self._paging.is_needed:
            rows = check_rows(rows, len(images))
            self._paging.expect(rows)
        return kernels.gather_images(images, rows, rotations)

    @cached_property
    def _paging(self) -> Paging:
        """Tells the operating system what `gather` reads from a memory map."""
        return self.images.paging if isinstance(self.images, MappedRows) else Paging(self.images)

    def take(self, rows: npt.ArrayLike, name: str | None = None) -> ImageStore:
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
        return ImageStore(
            chosen_rows(self.images, rows),
            labels.astype(np.int32),
            groups,
            tuple(self.class_names[i] for i in classes),
            group_names,
            self.name if name is None else name,
            *names_at(rows, self.parts, self.part_names),
            self.preparation,
        )

    def with_min_images(self, n: int) -> ImageStore:
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

    def split(self, by: str = "label", seed: int = 0, **parts: int | float) -> dict[str, ImageStore]:
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
        episodes: int | None = None,
        rotations: bool = False,
    ) -> tf.data.Dataset:
        """N-way K-shot episodes; pairs such as `n_way=(5, 20)` vary; see `fslcore.data.episodes.episodes`."""
        from fslcore.data import episodes as sampler

        source = self._source()
        return sampler.episodes(
            source, n_way, k_shot, n_query, n_unlabelled, tasks, seed, first, episodes, rotations
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
        """Batches of P classes x K images; see `fslcore.data.batches.pk_batches`."""
        from fslcore.data import batches as sampler

        return sampler.pk_batches(self._source(), classes, samples, seed, first, batches, rotations)

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

        source = self._source()
        return sampler.minibatches(source, n_way, k_shot, tasks, steps, batch, seed, first, rotations)

    def _source(self) -> Source:
        from fslcore.data.sampling import Source

        return Source(self._pixels, self.labels, self.class_names, repr(self))

    @cached_property
    def _pixels(self) -> Pixels:
        """The images as tensors, made once and shared by all datasets of this store."""
        from fslcore.data.pixels import pixels_of

        return pixels_of(self.images, lambda: self.image_tensor)


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view

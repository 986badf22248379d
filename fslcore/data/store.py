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

from fslcore.data.arrays import tensor_of
from fslcore.data.checks import check_rows, checked_images
from fslcore.data.converting import as_store_images
from fslcore.data.labelled import LabelledStore, frozen
from fslcore.data.labelling import distinct
from fslcore.data.preparation import Preparation
from fslcore.data.views import MappedRows, Paging, StoredImages, chosen_rows, parts_of

if TYPE_CHECKING:
    import tensorflow as tf

    from fslcore.data.pixels import Pixels


@dataclass(frozen=True, eq=False, repr=False)
class ImageStore(LabelledStore):
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
        stored = isinstance(self.images, StoredImages)
        images = self.images if stored else frozen(checked_images(self.images))
        object.__setattr__(self, "images", images)
        self._check_labelling(len(images))

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

    def __repr__(self) -> str:
        height, width, channels = self.image_shape
        groups = f" in {self.n_groups} groups" if self.groups is not None else ""
        return (
            f"ImageStore({self.name!r}: {len(self)} images {height}x{width}x{channels}, "
            f"{self.n_classes} classes{groups})"
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

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

    def _chosen(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        return {"images": chosen_rows(self.images, rows)}

    def _make_pixels(self) -> Pixels:
        from fslcore.data.pixels import pixels_of

        return pixels_of(self.images, lambda: self.image_tensor)

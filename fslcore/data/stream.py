# SPDX-License-Identifier: MIT
"""`Stream`: images that are made one after the other, for stores that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fslcore.data.arrays import empty_images
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore

# Called as progress(done, total, what), as `fslcore.data.load` says.
Progress = Callable[[int, int, str], object]

_ROWS_AT_A_TIME = 256


def nothing_broken(broken: dict[int, str]) -> list[str]:
    """For streams of images that have all been read before."""
    return [f"{len(broken)} images cannot be read"] if broken else []


@dataclass(frozen=True)
class Stream:
    """Images in any order with all that is known of them before they are read.

    Attributes:
        image_shape: (H, W, C) of every image.
        labels: int32 [N], an index into `class_names`.
        images: Called as `images(first, last)`, yields the images uint8 [H, W, C] of these numbers, or, for
            one that cannot be read, the reason.
        class_names: One name per class.
        groups: int32 [N], an index into `group_names`, or None.
        group_names: One name per group.
        name: Name of the store.
        parts: int32 [N], an index into `part_names`, or None.
        part_names: One name per part.
        preparation: How the images were made from pictures, or None.
        about_broken: Called with the reasons by number, if there are any, when all images have been read.
            Raises, or returns notes about what is left out.
    """

    image_shape: tuple[int, int, int]
    labels: npt.NDArray[np.int32]
    images: Callable[[int, int], Iterable[npt.NDArray[np.uint8] | str]]
    class_names: Sequence[str]
    groups: npt.NDArray[np.int32] | None = None
    group_names: Sequence[str] = ()
    name: str = "images"
    parts: npt.NDArray[np.int32] | None = None
    part_names: Sequence[str] = ()
    preparation: Preparation | None = None
    about_broken: Callable[[dict[int, str]], list[str]] = field(default=nothing_broken)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, store: ImageStore) -> Stream:
        """The images of a store that is in memory."""

        def images(first: int, last: int) -> Iterable[npt.NDArray[np.uint8]]:
            for start in range(first, last, _ROWS_AT_A_TIME):
                yield from store.images[start : min(start + _ROWS_AT_A_TIME, last)]

        return cls(
            store.image_shape,
            store.labels,
            images,
            store.class_names,
            store.groups,
            store.group_names,
            store.name,
            store.parts,
            store.part_names,
            store.preparation,
        )

    def in_memory(self, progress: Progress | None = None, what: str = "") -> tuple[ImageStore, list[str]]:
        """All images in memory, sorted by class, and the notes about those that cannot be read.

        Args:
            progress: Told the number of images that are done.
            what: What is being done, for `progress`.
        """
        order = np.argsort(self.labels, kind="stable")
        places = np.argsort(order, kind="stable")
        images = empty_images((len(self), *self.image_shape))
        broken: dict[int, str] = {}
        tell = progress or (lambda *_: None)
        tell(0, len(self), what)
        for i, image in enumerate(self.images(0, len(self))):
            if isinstance(image, str):
                broken[i] = image
            else:
                images[places[i]] = image
            tell(i + 1, len(self), what)
        notes = self.about_broken(broken) if broken else []
        store = ImageStore(
            images,
            self.labels[order],
            None if self.groups is None else self.groups[order],
            self.class_names,
            self.group_names,
            self.name,
            None if self.parts is None else self.parts[order],
            self.part_names,
            self.preparation,
        )
        return (store.take(np.delete(np.arange(len(self)), places[list(broken)])) if broken else store), notes

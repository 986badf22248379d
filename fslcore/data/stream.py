# SPDX-License-Identifier: MIT
"""`Stream`: images that are made one after the other, on their way into a store."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fslcore.arguments import counted
from fslcore.data.arrays import empty_images
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore

# Called as progress(done, total, what), as `fslcore.data.load` says.
Progress = Callable[[int, int, str], object]
Tell = Callable[[int], object]  # told the number of images that are done

_ROWS_AT_A_TIME = 256


class Block(NamedTuple):
    """Images that follow each other in a file.

    Attributes:
        first: Number of the first image.
        last: Number of the first image after it.
        at: Where plain images begin in the file.
    """

    first: int
    last: int
    at: int


class Written(NamedTuple):
    """A block that has been written.

    Attributes:
        digest: Of its bytes.
        sizes: Bytes of each image.
        broken: Reasons, by number, why images cannot be read; plain ones are zeros then.
    """

    digest: bytes
    sizes: list[int]
    broken: dict[int, str]


def nothing_broken(broken: dict[int, str]) -> list[str]:
    """For streams of images that have all been read before."""
    return [f"{counted(len(broken), 'image')} cannot be read"] if broken else []


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
        closing: Called with the reasons by number, if there are any, when all images have been read.
            Raises, or returns notes about what is left out and what had to be guessed.
        write: Called as `write(descriptor, blocks, tell)`, writes plain images into a file without handing
            them over, tells how many are done, and yields what is done of each block; None: they are taken
            from `images`.
        made_of: The store that they are the images of, if there is one.
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
    closing: Callable[[dict[int, str]], list[str]] = field(default=nothing_broken)
    write: Callable[[int, Sequence[Block], Tell], Generator[Written, None, None]] | None = None
    made_of: ImageStore | None = None

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
            made_of=store,
        )

    def in_memory(self, progress: Progress | None = None, what: str = "") -> tuple[ImageStore, list[str]]:
        """All images in memory, sorted by class, and the notes about those that cannot be read.

        Args:
            progress: Told the number of images that are done.
            what: What is being done, for `progress`.
        """
        if self.made_of is not None:
            return self.made_of, []
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
        notes = self.closing(broken)
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

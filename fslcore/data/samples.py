# SPDX-License-Identifier: MIT
"""`Samples`: what a sequence draws from, whether a store, a DataFrame of files, or arrays."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.cpus import available_cpus
from fslcore.data.checks import form
from fslcore.data.datasets.listing import Listing
from fslcore.data.datasets.table import is_table, listing_of
from fslcore.data.labelled import LabelledStore
from fslcore.data.labelling import distinct
from fslcore.data.preparation import Preparation, prepared

_NAMED = 4  # classes in a message


@dataclass(frozen=True, eq=False)
class Samples:
    """Labelled samples in the order of their source.

    Attributes:
        labels: int32 [N], indices into `class_names`, in any order.
        class_names: Names of the classes.
        read: Makes samples [M, ...] of row numbers int64 [M].
        shape: Of a sample.
        dtype: Of a sample.
        name: What it is called in messages.
        groups: int32 [N], indices into `group_names`, or None.
        group_names: Names of the groups.
    """

    labels: npt.NDArray[np.int32]
    class_names: Sequence[str]
    read: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str
    groups: npt.NDArray[np.int32] | None = None
    group_names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def by_class(self) -> Blocks:
        """The rows class by class."""
        return Blocks.of(self.labels, len(self.class_names))

    def renamed(self, class_names: Sequence[str]) -> Samples:
        """The same samples with their classes as indices into other names, which must have all of theirs."""
        places = {name: i for i, name in enumerate(class_names)}
        numbers = np.array([places[name] for name in self.class_names], np.int32)
        return dataclasses.replace(self, labels=numbers[self.labels], class_names=tuple(class_names))

    def ordered(self, argument: str, classes: Any) -> Samples:
        """The same samples with their classes in a fixed order.

        Args:
            argument: What errors call the order.
            classes: Names; those that have no sample are classes all the same. None: as they are.

        Raises:
            ArgumentError: A class of the samples is not among them, or one is named twice.
        """
        if classes is None:
            return self
        if isinstance(classes, (str, bytes)):
            raise ArgumentError(argument, "must be a sequence of names, not a single string", classes)
        names = [str(name) for name in classes]
        gone = [name for name in self.class_names if name not in set(names)]
        if gone or len(set(names)) < len(names):
            what = f"no {gone[0]!r}, a class of {self.name}" if gone else "one of them twice"
            raise ArgumentError(
                argument,
                "must name every class of the source once",
                classes,
                described=f"{argument}={classes!r}: {what}",
            )
        return self.renamed(names)

    def check_classes(self, argument: str, count: int) -> None:
        """Raises ArgumentError unless there are so many classes."""
        if len(self.class_names) < count:
            raise ArgumentError(
                argument,
                f"must have {count} classes or more",
                self.name,
                described=f"{self.name} with {len(self.class_names)}",
            )

    def check_sizes(self, argument: str, least: int, value: Any, why: str) -> None:
        """Raises ArgumentError, with the classes, unless every class has so many samples.

        Args:
            argument: What is asked for.
            least: The least number of samples.
            value: Of the argument.
            why: What they are needed for.
        """
        sizes = self.by_class.sizes
        if not (small := np.flatnonzero(sizes < least)).size:
            return
        small = small[np.argsort(sizes[small], kind="stable")]
        named = ", ".join(f"{self.class_names[i]!r} has {sizes[i]}" for i in small[:_NAMED])
        raise ArgumentError(
            argument,
            f"must leave every class {least} samples or more, {why}",
            value,
            described=f"{argument} = {value!r} where {small.size} of {len(sizes)} classes of {self.name} "
            f"have fewer: {named}{', ...' if small.size > _NAMED else ''}; leave these classes out",
        )


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rows, class by class.

    Attributes:
        rows: int64 [N], those of a class in a run, in their old order.
        starts: int64 [C], where each class begins in `rows`.
        sizes: int64 [C].
    """

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labels: npt.NDArray[np.int32], classes: int) -> Blocks:
        """The rows of labels [N] that are below `classes`."""
        sizes = np.bincount(labels, minlength=classes)
        return cls(np.argsort(labels, kind="stable"), np.cumsum(sizes) - sizes, sizes)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """Where each row lies in `rows`, int64 [N]."""
        return np.argsort(self.rows, kind="stable")


def samples_of(argument: str, source: Any) -> Samples:
    """The samples of a source.

    Args:
        argument: What errors call it.
        source: A store of images or embeddings, a DataFrame as `frame_images` takes it, `Samples`, or a pair
            (array [N, ...], labels [N]).

    Raises:
        ArgumentError: It is something else, or as for `frame_images`.
    """
    if isinstance(source, Samples):
        return source
    if isinstance(source, LabelledStore):
        store: Any = source
        return Samples(
            store.labels,
            store.class_names,
            store.gather,
            tuple(store.image_shape),
            np.dtype(np.float32),
            repr(store),
            store.groups,
            store.group_names,
        )
    if isinstance(source, tuple) and len(source) == 2:
        return _of_arrays(argument, *source)
    if not isinstance(source, (str, os.PathLike)) and is_table(source):
        return frame_images(source, argument=argument)
    raise ArgumentError(
        argument,
        "must be a store, a DataFrame or a pair (array, labels)",
        source,
        described=f"{argument} of type {type(source).__name__}",
    )


def frame_images(
    frame: Any,
    *,
    image_size: int = 28,
    channels: int = 3,
    resize: str = "stretch",
    data_dir: str | os.PathLike[str] | None = None,
    argument: str = "frame",
) -> Samples:
    """The pictures of a DataFrame in its order, read and decoded whenever a sequence asks for them.

    `fslcore.data.load(frame)` reads all of them once instead, which is faster if they are used repeatedly.

    Args:
        frame: A DataFrame with the columns that `fslcore.data.load` takes: filename and label; group, and
            crop_y, crop_x, crop_height, crop_width if there are any. It is not changed.
        image_size: Height and width of the images in pixels.
        channels: 1 or 3.
        resize: "stretch", "crop" or "pad"; see `fslcore.data.Preparation`.
        data_dir: Where relative file names begin; the working folder if None.
        argument: What errors call the frame.

    Returns:
        Samples float32 [image_size, image_size, channels] in [0, 1], for any sequence of this package.

    Raises:
        ArgumentError: A column is not there, files are not there (their number and the first are named), or a
            value is missing or of another kind (its row is named).
    """
    preparation = Preparation(image_size, channels, resize)
    if isinstance(frame, (str, os.PathLike)) or not is_table(frame):
        raise ArgumentError(
            argument, "must be a DataFrame", frame, described=f"{argument} of type {type(frame).__name__}"
        )
    root = Path.cwd() if data_dir is None else Path(data_dir).expanduser().resolve()
    listing, order = listing_of(frame, root, argument)
    places = np.argsort(order, kind="stable")
    return Samples(
        listing.labels[places],
        listing.class_names,
        _Reader(listing, places, preparation),
        (image_size, image_size, channels),
        np.dtype(np.float32),
        f"the frame of {len(places):,} rows",
        None if listing.groups is None else listing.groups[places],
        listing.group_names,
    )


class _Reader:
    """Reads the pictures of a listing by the row of the frame; it can be sent to other processes."""

    def __init__(self, listing: Listing, places: npt.NDArray[np.int64], preparation: Preparation) -> None:
        self._listing, self._places, self._preparation = listing, places, preparation

    def __call__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        # A pool of threads does not survive a fork, and to start one takes less than to read a picture.
        with ThreadPoolExecutor(available_cpus()) as pool:
            images = np.stack(list(pool.map(self._read, rows.ravel().tolist())))
        return kernels.gather_images(images, np.arange(rows.size).reshape(rows.shape))

    def _read(self, row: int) -> npt.NDArray[np.uint8]:
        place = int(self._places[row])
        file = self._listing.files[place]
        try:
            return prepared(
                file, self._preparation, self._listing.box(place), check=self._preparation.depth.check
            )
        # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
        except Exception as error:
            raise ArgumentError(
                "frame",
                "must name pictures that can be read",
                file,
                described=f"{file} (row {row} from 0): {error or type(error).__name__}",
            ) from error


def _of_arrays(argument: str, array: Any, labels: Any) -> Samples:
    array = np.asarray(array)
    if array.dtype.kind not in "uif" or array.ndim < 2 or not array.size:
        raise ArgumentError(
            argument, "must be a pair of numbers [N, ...] and labels [N]", array, described=form(array)
        )
    names, numbers = distinct("labels", labels)
    if len(numbers) != len(array):
        raise ArgumentError(
            "labels",
            f"must have a label for each of the {len(array)} samples",
            labels,
            described=f"{len(numbers)} labels",
        )
    return Samples(
        numbers, names, array.__getitem__, array.shape[1:], array.dtype, f"the array {list(array.shape)}"
    )

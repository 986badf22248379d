# SPDX-License-Identifier: MIT
"""What a dataset is to the rest of the package: a name, a loader, its limits and its official split."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count
from fslcore.data.store import ImageStore

Item = TypeVar("Item")
# Called as progress(done, total, what) while images are read or drawn: with done = 0 first, with done = total
# last. `what` says what is being done, such as "drawing glyphs".
Progress = Callable[[int, int, str], object]

_EVERY_CHANNELS = (1, 3)
_LEAST_CLASSES = 8  # the fewest of which the last 20 % are two


@dataclass(frozen=True)
class Request:
    """What a loader is asked for; the attributes are the arguments of `fslcore.data.load`."""

    image_size: int = 28
    channels: int | None = None
    data_dir: str | os.PathLike[str] | None = None
    cache_dir: str | os.PathLike[str] | None = None
    progress: Progress | None = None
    on_error: str = "raise"


def split_by_class(store: ImageStore) -> dict[str, ImageStore]:
    """The split of data that has no official one: 60 %, 20 % and 20 % of the classes.

    Raises:
        ArgumentError: There are so few classes that the test part has only one: nothing can be told apart
            there.
    """
    if store.n_classes < _LEAST_CLASSES:
        own = (
            "choose the parts yourself, such as store.split(train=2, test=2)"
            if store.n_classes >= 4
            else "add classes"
        )
        raise ArgumentError(
            "store",
            f"must have at least {_LEAST_CLASSES} classes to be divided 60 % / 20 % / 20 % into train, val "
            "and test, with two or more to tell apart in the test part",
            store,
            described=f"{store.n_classes} in {store!r}; {own}",
        )
    return store.split(train=0.6, val=0.2, test=0.2)


def split_by_named_groups(store: ImageStore, held_out: Mapping[str, Sequence[str]]) -> dict[str, ImageStore]:
    """Gives each part of `held_out` the groups that it names, and "train" all others."""
    elsewhere = {name for names in held_out.values() for name in names}
    parts = {"train": [name for name in store.group_names if name not in elsewhere], **held_out}
    groups = np.array(store.group_names)[store.groups]
    return {
        part: store.take(np.isin(groups, list(names)), f"{store.name}/{part}")
        for part, names in parts.items()
    }


@dataclass(frozen=True)
class Dataset:
    """A dataset that `fslcore.data.load` can load.

    Attributes:
        name: Its name, which its stores bear; "folder" for a folder of images.
        load: Loads it.
        channels: The numbers of channels it can be loaded with.
        least_size: Least height and width in pixels.
        grouped: Whether its images are in groups, such as alphabets.
        split: Divides it into "train", "val" and "test".
        has_data_dir: Whether it is kept in a folder that the user names, as omniglot is in that of TensorFlow
            Datasets.
        split_by_group: Divides it by whole groups, where `split` does not; None for no official such split.
    """

    name: str
    load: Callable[[Request], ImageStore]
    channels: tuple[int, ...] = _EVERY_CHANNELS
    least_size: int = 8
    grouped: bool = False
    split: Callable[[ImageStore], dict[str, ImageStore]] = split_by_class
    has_data_dir: bool = False
    split_by_group: Callable[[ImageStore], dict[str, ImageStore]] | None = None

    def check(
        self,
        image_size: int,
        channels: int | None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Raises ArgumentError for a size, a number of channels or a folder that it does not have."""
        check_count("image_size", image_size, self.least_size)
        whole = isinstance(channels, (int, np.integer)) and not isinstance(channels, bool)
        if channels is not None and not (whole and channels in self.channels):
            allowed = ", ".join(map(str, self.channels))
            which = "" if self.channels == _EVERY_CHANNELS else f" for {self.name}"
            raise ArgumentError("channels", f"must be {allowed} or None{which}", channels)
        if data_dir is not None and not self.has_data_dir:
            what = "a folder of images" if self.name == "folder" else self.name
            raise ArgumentError("data_dir", f"must be None for {what}, which needs no data folder", data_dir)


def watched(items: Iterable[Item], total: int, what: str, progress: Progress | None) -> Iterator[Item]:
    """Yields the items and tells `progress` how many of them are done."""
    if progress is not None:
        progress(0, total, what)
    for done, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            progress(done, total, what)

# SPDX-License-Identifier: MIT
"""What a dataset is to the rest of the package: a name, a loader, its limits and its official split."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
SHARES: dict[str, float] = {"train": 0.6, "val": 0.2, "test": 0.2}
_IN_WORDS = ", ".join(f"{name}={share}" for name, share in SHARES.items())
LEAST_CLASSES = 8  # the fewest of which the last 20 % are two


@dataclasses.dataclass(frozen=True)
class Request:
    """What a loader is asked for; the attributes are the arguments of `fslcore.data.load`."""

    image_size: int = 28
    channels: int | None = None
    data_dir: str | os.PathLike[str] | None = None
    cache_dir: str | os.PathLike[str] | None = None
    progress: Progress | None = None
    on_error: str = "raise"
    resize: str = "stretch"
    storage: str = "memory"


def split_by_class(store: ImageStore) -> dict[str, ImageStore]:
    """The split of data that has no official one: 60 %, 20 % and 20 % of the classes.

    Raises:
        ArgumentError: There are so few classes that the test part has only one: nothing can be told apart
            there.
    """
    if store.n_classes < LEAST_CLASSES:
        own = "choose the parts yourself, such as store.split(train=2, test=2), or " * (store.n_classes >= 4)
        own += f"tell these classes apart on new images: store.split(by='image', {_IN_WORDS})"
        raise ArgumentError(
            "store",
            f"must have at least {LEAST_CLASSES} classes to be divided 60 % / 20 % / 20 % into train, val "
            "and test, with two or more to tell apart in the test part",
            store,
            described=f"{store.n_classes} in {store!r}; {own}",
        )
    return store.split("label", 0, **SHARES)


def split_as_given(store: ImageStore) -> dict[str, ImageStore]:
    """The split of data whose owner has divided it: `store.parts`.

    Validation that is not there is taken from the training, 20 % of its classes, or of the images of each
    class where the classes of the other part are those of the training. A warning says so, and where only
    some of the classes are new.

    Raises:
        ArgumentError: There is no part "train", or the training has too few classes to give some away.
    """
    given = {
        name: store.take(store.parts == i, f"{store.name}/{name}") for i, name in enumerate(store.part_names)
    }
    if "train" not in given:
        raise ArgumentError(
            "store",
            "must have a part 'train'",
            store,
            described=f"{' and '.join(map(repr, given))} in {store!r}",
        )
    said = []
    train, test = given["train"], given["test" if "test" in given else "val"]
    known = np.isin(test.class_names, train.class_names)
    if "test" not in given:
        said.append("there is no part 'test': 'val' is taken for it")
    val = given.get("val") if "test" in given else None
    if val is None:
        by = "image" if known.all() else "label"
        parts = train.split(by=by, train=1 - SHARES["val"], val=SHARES["val"])
        train, val = parts["train"], parts["val"]
        whose = "of the images of each class" if by == "image" else "of the classes"
        said.append(f"validation takes 20 % {whose} of 'train'")
    if 0 < known.sum() < known.size:
        said.append(
            f"{known.sum()} of the {known.size} classes for the test are classes of 'train', too, so that "
            "only the others are new to a learner"
        )
    if said:
        warnings.warn(f"{store.name}: {'; '.join(said)}", stacklevel=3)
    found = {"train": train, "val": val, "test": test}
    return {name: dataclasses.replace(part, name=f"{store.name}/{name}") for name, part in found.items()}


def split_by_named_groups(store: ImageStore, held_out: Mapping[str, Sequence[str]]) -> dict[str, ImageStore]:
    """Gives each part of `held_out` the groups that it names, and "train" all others."""
    elsewhere = {name for names in held_out.values() for name in names}
    parts = {"train": [name for name in store.group_names if name not in elsewhere], **held_out}
    groups = np.array(store.group_names)[store.groups]
    return {
        part: store.take(np.isin(groups, list(names)), f"{store.name}/{part}")
        for part, names in parts.items()
    }


@dataclasses.dataclass(frozen=True)
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
        prepares: Whether its images are made from the user's pictures, of any size.
        split_by_group: Divides it by whole groups, where `split` does not; None for no official such split.
    """

    name: str
    load: Callable[[Request], ImageStore]
    channels: tuple[int, ...] = _EVERY_CHANNELS
    least_size: int = 8
    grouped: bool = False
    split: Callable[[ImageStore], dict[str, ImageStore]] = split_by_class
    has_data_dir: bool = False
    prepares: bool = False
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

# SPDX-License-Identifier: MIT
"""The data of a run: its disjoint parts, and whether they are still those that it was trained with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError, counted
from fslcore.data import ImageStore, datasets, default_split, load
from fslcore.data.datasets import Progress
from fslcore.data.datasets.dataset import LEAST_CLASSES, SHARES
from fslcore.data.datasets.records import files_of
from fslcore.data.datasets.tfds import PREFIX as TFDS
from fslcore.experiments import closed, folders
from fslcore.experiments.renaming import renamed
from fslcore.experiments.runs import Run
from fslcore.experiments.selection import selected

PathLike = str | os.PathLike[str]

SPLITS = ("label", "group", "image")

# The datasets that are kept in a folder of TensorFlow Datasets, or in one of their own.
_IN_DATA_DIR = ("emoji", "omniglot")
_MOST_NAMES = 5


def load_parts(
    data: PathLike,
    data_dir: PathLike | None,
    image_size: int,
    progress: Progress,
    skip_broken: bool = False,
    resize: str = "stretch",
    split: str | None = None,
    min_images: int | None = None,
    notes: list[str] | None = None,
    storage: str = "memory",
) -> dict[str, ImageStore]:
    """The classes for training, validation and test: "train", "val" and "test".

    Args:
        data: a named dataset, a folder or a table.
        data_dir: where omniglot, emoji or a dataset of TFDS is kept.
        image_size: height and width of the images.
        progress: called as `progress(done, total, what)` while images are read.
        skip_broken: leave out the files of a folder that cannot be read, with a warning.
        resize: how pictures that are not square become so.
        split: divide by "label", "group" or "image", 60 % / 20 % / 20 %; None: as the data says.
        min_images: with the split by image, the images that a class must have.
        notes: takes sentences about classes that the split by image leaves out.
        storage: where the images are kept, as for `fslcore.data.load`.

    Raises:
        ArgumentError: there is no such dataset, or it is too small to be divided.
    """
    store = _loaded(data, data_dir, image_size, progress, skip_broken, resize, storage)
    return _divided(store, data, split, min_images, notes)


def parts_of_run(
    run: Run, data: PathLike | None, data_dir: PathLike | None, progress: Progress
) -> dict[str, ImageStore]:
    """The parts that a run was trained with, for more training.

    Args:
        run: the run.
        data: where the data is now; None: where it was.
        data_dir: where omniglot or emoji is kept now; None: where it was.
        progress: as for `load_parts`.

    Raises:
        ArgumentError: the data is not what it was.
    """
    at = _place_of(run, data)
    store = _of_the_run(run, at, data, data_dir, progress)
    whole = _divided(store, at, *_division_of(run))
    parts = selected(whole, run.config.get("min_images", {}), closed.is_closed(whole))
    for name, found in described(parts).items():
        expected = run.config["split"][name]
        if found != expected:
            raise ArgumentError(
                "run" if data is None else "data",
                f"must find the data that it was trained with: the {name} part of {at} must have "
                f"{_in_words(expected)}, and it has {_in_words(found)} (`data` says where the data is now; "
                "for other data, begin a new run)",
                str(run.folder if data is None else data),
            )
    return parts


def measured_part_of_run(
    run: Run,
    data: PathLike | None,
    data_dir: PathLike | None,
    min_images: int | None,
    progress: Progress,
) -> tuple[ImageStore, ImageStore | None, list[str]]:
    """The images to measure the learner of a run on, none of which it has been trained on.

    They are of classes that are new to it, or, in a closed set, of those that it knows.

    Args:
        run: the run.
        data: what to measure on; None: the data of the run, where it was.
        data_dir: where omniglot or emoji is kept now; None: where it was.
        min_images: the images that a class must have; None: as in the training.
        progress: as for `load_parts`.

    Returns:
        The store; the images that examples are drawn from in a closed set, otherwise None; and sentences that
        say how the store differs from the test part of the run, if it does.

    Raises:
        ArgumentError: the data has no such class, or the run does not tell which they are.
    """
    at = _place_of(run, data)
    store = _of_the_run(run, at, data, data_dir, progress)
    least = run.config.get("min_images", {})
    try:
        parts = _divided(store, at, *_division_of(run))
        found = described(left := selected(parts, least, closed.is_closed(parts)))
    except ArgumentError:  # too small to be divided, or without classes of the size that training took
        parts, found = None, None
    if parts is not None and found == run.config["split"]:
        support = closed.support_of(left)
        if support is not None:
            return left["test"], support, []
        test, notes = parts["test"], list[str]()
    else:
        test, notes = _unseen(run, store, at)
    if min_images is None:
        min_images = min(least.get("test", 1), int(test.images_per_class.max()))
    with renamed(n="min_images"):
        return test.with_min_images(min_images), None, notes


def place(data: PathLike) -> str:
    """The data as `config.json` names it: a dataset by its name, a folder or a table by its absolute path.

    Raises:
        ArgumentError: it has neither name nor path, as a DataFrame has.
    """
    if not isinstance(data, (str, os.PathLike)):
        raise ArgumentError(
            "data",
            "must be a name or a path, by which a run finds it again (write a DataFrame to a .csv file)",
            data,
            described=f"a {type(data).__name__}",
        )
    return str(data) if _has_name(data) else str(Path(data).expanduser().resolve())


def _has_name(data: PathLike) -> bool:
    return str(data) in datasets.names() or str(data).startswith(TFDS)


def _has_data_dir(at: str) -> bool:
    return at in _IN_DATA_DIR or at.startswith(TFDS)


def check_data_dir(data: PathLike, data_dir: PathLike | None) -> None:
    """Raises ArgumentError for a `data_dir` that the data would not heed."""
    if data_dir is not None and not _has_data_dir(str(data)):
        raise ArgumentError(
            "data_dir",
            f"must be left out for `data={str(data)!r}`: it says where {' and '.join(_IN_DATA_DIR)} are kept",
            str(data_dir),
        )


def described(parts: Mapping[str, ImageStore]) -> dict[str, dict[str, Any]]:
    """Sizes and hashes of the parts, which tell them from others, for `config.json`."""
    return {
        name: {"classes": part.n_classes, "images": len(part), "hash": part.content_hash}
        for name, part in parts.items()
    }


def _loaded(
    data: PathLike,
    data_dir: PathLike | None,
    image_size: int,
    progress: Progress,
    skip_broken: bool,
    resize: str = "stretch",
    storage: str = "memory",
    channels: int | None = None,
) -> ImageStore:
    on_error = "skip" if skip_broken else "raise"
    with renamed(name_or_path="data"):
        try:
            return load(
                data,
                image_size=image_size,
                channels=channels,
                data_dir=data_dir,
                progress=progress,
                on_error=on_error,
                resize=resize,
                storage=storage,
            )
        except ArgumentError as error:
            requirement = re.sub("`?on_error='skip'`?", "`skip_broken=True`", error.requirement)
            raise ArgumentError(
                error.argument, requirement, error.received, described=error.described
            ) from error


def _division_of(run: Run) -> tuple[str | None, int | None]:
    """What a run was divided by, and the images that each class had to have for that."""
    return run.config.get("split_by"), run.config.get("split_min_images")


def _divided(
    store: ImageStore,
    data: PathLike,
    split: str | None = None,
    min_images: int | None = None,
    notes: list[str] | None = None,
) -> dict[str, ImageStore]:
    if split == "image":
        return _divided_by_image(store, min_images, notes)
    whole = datasets.of(store) is None and len(store.part_names) < 2
    if split in (None, "label") and whole and store.n_classes < LEAST_CLASSES:
        raise ArgumentError(
            "data",
            f"must have classes for training, validation and test: at least {LEAST_CLASSES} (`split='image'` "
            "tells fewer classes apart, on new images)",
            str(data),
            described=f"{store.n_classes} classes in {data}",
        )
    try:
        if split is None:
            return default_split(store)
        named = datasets.of(store)
        if split == "group" and named is not None and named.split_by_group is not None:
            return named.split_by_group(store)
        return store.split(split, 0, **SHARES)
    except ArgumentError as error:
        raise ArgumentError(
            "data" if split is None else "split",
            f"must have classes for training, validation and test ({error})",
            str(data) if split is None else split,
        ) from error


def _divided_by_image(
    store: ImageStore, min_images: int | None, notes: list[str] | None
) -> dict[str, ImageStore]:
    """All classes in all parts; classes with fewer than an image for each, or than `min_images`, left out."""
    least = max(min_images or 0, len(SHARES))
    small = np.flatnonzero(store.images_per_class < least)
    with renamed(n="min_images"):
        kept = store.with_min_images(least)
    if small.size and notes is not None:
        names = _listed([store.class_names[int(i)] for i in small])
        notes.append(
            f"{small.size} of the {store.n_classes} classes {'is' if small.size == 1 else 'are'} left out, "
            f"with fewer than {least} images: {names} (`min_images` sets the number)"
        )
    return kept.split("image", 0, **SHARES)


def _place_of(run: Run, data: PathLike | None) -> str:
    return run.config["data"] if data is None else place(data)


def _of_the_run(
    run: Run, at: str, data: PathLike | None, data_dir: PathLike | None, progress: Progress
) -> ImageStore:
    """All images of a place, with the size and the channels that the learner was trained with."""
    config = run.config
    check_data_dir(at, data_dir)
    if not _has_name(at):
        if not (Path(at).exists() or files_of(at)):
            raise ArgumentError(
                "run" if data is None else "data",
                f"must find its data: there is no folder {at} (`data` says where it is now)",
                str(run.folder if data is None else data),
            )
        folders.check_outside(run.folder, Path(at), "run", "; move the run out of it")
    kept = config.get("data_dir") if at == config["data"] and _has_data_dir(at) else None
    resize = (config.get("preparation") or {}).get("resize", "stretch")
    skip_broken, storage = config.get("skip_broken", False), config.get("storage", "memory")
    where = (at, data_dir or kept, config["image_size"], progress, skip_broken, resize, storage)
    with renamed(**({"data": "run"} if data is None else {})):
        store = _loaded(*where)
        expected = config.get("image_shape")
        # One coloured picture makes all of a folder coloured.
        if expected is not None and store.image_shape[2] != expected[2]:
            store = _loaded(*where, channels=expected[2])
        return store


def _unseen(run: Run, store: ImageStore, at: str) -> tuple[ImageStore, list[str]]:
    """The classes of a store that are not those of the run's training and validation, and what is new."""
    names = run.config.get("classes")
    if names is not None and {*names["test"]} <= {*names["train"]}:
        raise ArgumentError(
            "data",
            "must be as it was for a run on a closed set, or it is not known which images were trained on",
            at,
        )
    if names is None:
        raise ArgumentError(
            "run",
            f"must be of a version that keeps the names of its classes, or {at} must be as it was: otherwise "
            "it is not known which classes have been trained on",
            str(run.folder),
        )
    seen = {*names["train"], *names["val"]}
    foreign = at in datasets.names() and at != run.config["data"]
    candidates = _divided(store, at)["test"] if foreign else store
    fresh = np.array([name not in seen for name in candidates.class_names])
    if not fresh.any():
        raise ArgumentError(
            "data", "must have classes that the learner of the run has not been trained on", at
        )
    test = candidates.take(fresh[candidates.labels], f"{store.name}/test")
    return test, [_change_in_words(names, store, test, at)]


def _change_in_words(names: Mapping[str, Any], store: ImageStore, test: ImageStore, at: str) -> str:
    known = [name for part in names.values() for name in part]
    more = [name for name in store.class_names if name not in {*known}]
    gone = [name for name in known if name not in {*store.class_names}]
    parts = []
    for count, what in ((more, "more"), (gone, "fewer")):
        if count:
            parts.append(f"{counted(len(count), 'class', 'classes')} {what} ({_listed(count)})")
    difference = " and ".join(parts) or "other images in the same classes"
    return (
        f"{at} is not the data that the run was trained with: {difference}; measured on its "
        f"{test.n_classes} classes that are in neither training nor validation, {len(test)} images with the "
        f"hash {test.content_hash}"
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMES])
    return shown + (", ..." if len(names) > _MOST_NAMES else "")


def _in_words(part: Mapping[str, Any]) -> str:
    return "{images} images of {classes} classes with the hash {hash}".format(**part)

# SPDX-License-Identifier: MIT
"""The data set in a folder or an archive: manifest.csv, and the pictures that it names."""

from __future__ import annotations

import csv
import io
import os
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fslcore.arguments import ArgumentError, counted
from fslcore.data import cache
from fslcore.data.arrays import empty_images
from fslcore.data.datasets.dataset import Progress, watched
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore

MANIFEST = "manifest.csv"
_COLUMNS = ("file", "class", "style", "category")
_NAMED = 3


@dataclass(frozen=True)
class Row:
    """A picture: its file, the name of its class, who drew it, and the category."""

    file: str
    name: str
    style: str
    category: str


class Source(ABC):
    """Where the files are."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @abstractmethod
    def names(self) -> set[str]:
        """The files, as paths from the folder of the manifest."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file."""

    @abstractmethod
    def fingerprint(self, names: Sequence[str]) -> str:
        """What changes when one of these files does."""


class _Folder(Source):
    def names(self) -> set[str]:
        found = set()
        for folder, _, files in os.walk(self.place):
            at = os.path.relpath(folder, self.place)
            found |= {name if at == "." else f"{Path(at).as_posix()}/{name}" for name in files}
        return found

    def read(self, name: str) -> bytes:
        return (self.place / name).read_bytes()

    def fingerprint(self, names: Sequence[str]) -> str:
        return cache.file_fingerprint([self.place / name for name in names])


class _Archive(Source):
    def __init__(self, place: Path, members: dict[str, object]) -> None:
        super().__init__(place)
        manifests = sorted((name for name in members if name.split("/")[-1] == MANIFEST), key=len)
        # The archive may hold the folder itself.
        root = manifests[0][: -len(MANIFEST)] if manifests else ""
        self.members = {
            name[len(root) :]: member for name, member in members.items() if name.startswith(root)
        }

    def names(self) -> set[str]:
        return set(self.members)

    def fingerprint(self, names: Sequence[str]) -> str:
        del names
        return cache.file_fingerprint([self.place])


class _Zip(_Archive):
    def __init__(self, place: Path, archive: zipfile.ZipFile) -> None:
        super().__init__(place, {info.filename: info for info in archive.infolist() if not info.is_dir()})
        self.archive = archive

    def read(self, name: str) -> bytes:
        return self.archive.read(self.members[name])  # type: ignore[arg-type]


class _Tar(_Archive):
    def __init__(self, place: Path, archive: tarfile.TarFile) -> None:
        files = [member for member in archive.getmembers() if member.isfile()]
        super().__init__(place, {member.name.removeprefix("./"): member for member in files})
        self.archive = archive

    def read(self, name: str) -> bytes:
        file = self.archive.extractfile(self.members[name])  # type: ignore[arg-type]
        assert file is not None  # it is a file
        return file.read()


@contextmanager
def opened(place: Path) -> Iterator[Source]:
    """The folder or archive, open for reading.

    Raises:
        ArgumentError: A file is neither a zip nor a tar archive, or is damaged.
    """
    if place.is_dir():
        yield _Folder(place)
    elif zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            yield _Zip(place, archive)
    elif tarfile.is_tarfile(place):
        with tarfile.open(place) as tar:
            yield _Tar(place, tar)
    else:
        raise ArgumentError(
            "data_dir", "must be a folder, a zip or a tar archive", place, described=str(place)
        )


def manifest(source: Source) -> list[Row]:
    """The pictures that the manifest names, sorted by class and file.

    Raises:
        ArgumentError: There is no manifest, it has other columns, or files that it names are missing.
    """
    names = source.names()
    if MANIFEST not in names:
        raise _refused(source, f"{source.place} without it")
    text = io.StringIO(source.read(MANIFEST).decode("utf-8"), newline="")
    table = csv.DictReader(text)
    absent = [column for column in _COLUMNS if column not in (table.fieldnames or ())]
    if absent:
        raise _refused(source, f"one without the columns {', '.join(absent)}")
    rows = [Row(*(line[column] for column in _COLUMNS)) for line in table]
    missing = [row.file for row in rows if row.file not in names]
    if not rows or missing:
        first = ", ".join(missing[:_NAMED])
        raise _refused(
            source, f"{len(missing)} of {len(rows)} pictures missing" + (f": {first}" if first else "")
        )
    categories: dict[str, str] = {}
    for row in rows:
        if categories.setdefault(row.name, row.category) != row.category:
            raise _refused(source, f"the class {row.name} in two categories")
    return sorted(rows, key=lambda row: (row.name, row.file))


def read(
    source: Source, rows: Sequence[Row], image_size: int, channels: int, progress: Progress | None
) -> ImageStore:
    """The pictures as a store.

    Raises:
        ArgumentError: Pictures cannot be read; the first are named.
    """
    prepare = Preparation(image_size, channels)
    images = empty_images((len(rows), image_size, image_size, channels))
    broken = []
    for i, row in enumerate(watched(rows, len(rows), "reading emoji", progress)):
        try:
            images[i] = prepare(source.read(row.file))
        except ArgumentError as error:
            broken.append(f"{row.file} ({error.described})")
    if broken:
        many = counted(len(broken), "picture")
        raise _refused(source, f"{many} that cannot be read: {'; '.join(broken[:_NAMED])}")
    names = sorted({row.name for row in rows})
    categories = sorted({row.category for row in rows})
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[row.name] for row in rows], np.int32)
    groups = np.array([categories.index(row.category) for row in rows], np.int32)
    return ImageStore(images, labels, groups, names, categories, "emoji")


def _refused(source: Source, described: str) -> ArgumentError:
    return ArgumentError(
        "data_dir",
        f"must hold the {MANIFEST} of the data set emoji and the pictures that it names",
        source.place,
        described=f"{described}; `fslcore data build emoji` makes the data set anew",
    )

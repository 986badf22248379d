# SPDX-License-Identifier: MIT
"""Stores kept on disk: one file each, which appears when it is complete, and is checked when it is read.

`KEY.images` serves both `storage="memory"`, for which it is read, and `"mapped"`; `KEY.jpeg` is for `"jpeg"`.
`image_file.py` describes and reads them, `building.py` writes them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from fslcore.arguments import ArgumentError
from fslcore.data import building, image_file
from fslcore.data.store import ImageStore
from fslcore.data.stream import Progress, Stream

_KINDS = {"memory": "plain", "mapped": "plain", "jpeg": "jpeg"}
STORAGES = tuple(_KINDS)

_SUFFIXES = {"plain": ".images", "jpeg": ".jpeg"}


def directory(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder: the argument, else the variable FSLCORE_CACHE_DIR, else the user's cache."""
    chosen = cache_dir or os.environ.get("FSLCORE_CACHE_DIR") or platformdirs.user_cache_dir("fslcore")
    try:
        return Path(chosen).expanduser()
    except (RuntimeError, TypeError) as error:  # "~" of an unknown user; no path at all
        raise ArgumentError("cache_dir", f"must be a folder ({error})", chosen) from error


def digest(value: Any) -> str:
    """Hex digest (16 digits) of a JSON-able value; for fingerprints and file names."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).hexdigest()


def file_fingerprint(paths: list[Path]) -> str:
    """Digest of the names, sizes and modification times (nanoseconds) of files."""
    stats = ((str(path), path.stat()) for path in paths)
    return digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def content_digest(path: Path) -> str:
    """Hex digest of the content of a file; for files whose modification times change when they are copied."""
    return hashlib.blake2b(path.read_bytes()).hexdigest()


def load_or_build(
    key: str,
    source: str | None,
    build: Callable[[], ImageStore],
    cache_dir: str | os.PathLike[str] | None = None,
    notes: list[str] | None = None,
    storage: str = "memory",
    progress: Progress | None = None,
) -> ImageStore:
    """Returns the store cached under `key`, or builds and caches it.

    Args:
        key: File name without suffix. It names all that the content depends on apart from the source: the
            version of the loader and its parameters.
        source: Fingerprint of the files that the store is made from. A cached store with another one is
            rebuilt.
        build: Makes the store.
        cache_dir: See `directory`.
        notes: Sentences that `build` has appended; they are kept with the store, and appended again when it
            is read.
        storage: Where its images are to be; see `fslcore.data.load`.
        progress: Told the number of images that are written, for those that stay on the disk.

    Returns:
        The store. There is a warning if the cached file cannot be used, or if the cache cannot be written and
        the images are to be in memory.
    """

    @contextmanager
    def stream() -> Iterator[Stream]:
        yield Stream.of(build())

    writing = None if storage == "memory" else progress
    return load_or_stream(key, source, stream, storage, cache_dir, notes, writing)


def load_or_stream(
    key: str,
    source: str | None,
    stream: Callable[[], AbstractContextManager[Stream]],
    storage: str,
    cache_dir: str | os.PathLike[str] | None = None,
    notes: list[str] | None = None,
    progress: Progress | None = None,
    what: str = "writing images",
) -> ImageStore:
    """Returns the store that is cached under `key`, or writes it in one pass.

    Args:
        key: See `load_or_build`.
        source: See `load_or_build`.
        stream: Opens the images; a context manager, which is left when they have been written.
        storage: See `fslcore.data.load`.
        cache_dir: See `directory`.
        notes: Takes sentences as for `load_or_build`; those that opening the stream has appended, and those
            that it has in the end, are kept with the store.
        progress: Told the number of images that are done.
        what: What is being done, for `progress`.

    Returns:
        The store, with a warning as for `load_or_build`.

    Raises:
        ArgumentError: The images are to stay on the disk and do not fit there.
        OSError: The folder or the file cannot be written, and the images can be nowhere else.
    """
    notes = [] if notes is None else notes
    path = file_of(key, storage, cache_dir)
    in_memory = storage == "memory"
    store = image_file.read(path, source, notes, in_memory)
    if store is not None:
        return store

    def is_there() -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said already
            return image_file.read(path, source, None, in_memory) is not None

    before = list(notes)
    with stream() as images:
        labels = hashlib.blake2b(images.labels.data, digest_size=8).hexdigest()
        found = notes[len(before) :]
        try:
            building.build(
                path,
                images,
                _KINDS[storage],
                digest([key, source, labels]),
                source,
                found,
                is_there,
                progress,
                what,
            )
        except (OSError, building.NoRoomError) as error:
            if not in_memory:
                raise
            reason = error.described if isinstance(error, ArgumentError) else error.strerror or error
            warnings.warn(
                f"could not keep {images.name} in the cache {path}: {reason}; cache_dir or FSLCORE_CACHE_DIR "
                "names another folder",
                stacklevel=2,
            )
            store, said = images.in_memory(progress, what)
            notes += said
            return store
        if in_memory and images.made_of is not None:
            return images.made_of
    notes[:] = before
    store = image_file.read(path, source, notes, in_memory)
    if store is None:
        raise OSError(errno.EIO, "the file that was just written cannot be read", str(path))
    return store


def file_of(key: str, storage: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The file of the store that is cached under a key."""
    return directory(cache_dir) / f"{key}{_SUFFIXES[_KINDS[storage]]}"

# SPDX-License-Identifier: MIT
"""Stores kept on disk: one file each, written atomically, verified when read.

Those that are read into memory are `.store` files; those that stay on the disk (`storage="mapped"`, `"jpeg"`)
are described in `image_file.py`, and `building.py` writes them.

File `.store`: 8 bytes of magic, 32 bytes BLAKE2b of the rest, then an uncompressed .npz (arrays only, no
pickle). The digest is checked before anything is parsed, so damage to any byte is detected.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.data import building, image_file
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore
from fslcore.data.stream import Progress, Stream

STORAGES = ("memory", *image_file.KINDS)

_MAGIC = b"fslcore1"
_DIGEST_BYTES = 32


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
    with path.open("rb") as file:
        return _content_digest(file).hex()


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
        The store. There is a warning if the cached file cannot be used or the cache cannot be written.
    """
    if storage != "memory":

        @contextmanager
        def stream() -> Iterator[Stream]:
            yield Stream.of(load_or_build(key, source, build, cache_dir, notes))

        return load_or_stream(key, source, stream, storage, cache_dir, notes, progress)
    path = directory(cache_dir) / f"{key}.store"
    store = read(path, source, notes)
    if store is None:
        store = build()
        try:
            write(path, store, source, notes or ())
        except OSError as error:
            warnings.warn(
                f"could not keep {store.name} in the cache {path}: {error.strerror or error}; cache_dir or "
                "FSLCORE_CACHE_DIR names another folder",
                stacklevel=2,
            )
    return store


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
    """Returns the store of images on the disk that is cached under `key`, or writes it in one pass.

    Args:
        key: See `load_or_build`.
        source: See `load_or_build`.
        stream: Opens the images; a context manager, which is left when they have been written.
        storage: See `fslcore.data.load`.
        cache_dir: See `directory`.
        notes: Takes sentences as for `load_or_build`; those that opening the stream has appended, and those
            about images that could not be read, are kept with the store.
        progress: Told the number of images that are done.
        what: What is being done, for `progress`.

    Raises:
        ArgumentError: The images do not fit on the disk.
        OSError: The folder or the file cannot be written: the images can be nowhere else.
    """
    notes = [] if notes is None else notes
    if storage == "memory":
        return load_or_build(key, source, lambda: _in_memory(stream, notes, progress, what), cache_dir, notes)
    path = directory(cache_dir) / f"{key}.{storage}"
    store = image_file.read(path, source, notes)
    if store is not None:
        return store

    def is_there() -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said already
            return image_file.read(path, source) is not None

    before = list(notes)
    with stream() as images:
        labels = hashlib.blake2b(images.labels.data, digest_size=8).hexdigest()
        found = notes[len(before) :]
        building.build(
            path, images, storage, digest([key, source, labels]), source, found, is_there, progress, what
        )
    notes[:] = before
    store = image_file.read(path, source, notes)
    if store is None:
        raise OSError(errno.EIO, "the file that was just written cannot be read", str(path))
    return store


def _in_memory(
    stream: Callable[[], AbstractContextManager[Stream]],
    notes: list[str],
    progress: Progress | None,
    what: str,
) -> ImageStore:
    with stream() as images:
        store, lost = images.in_memory(progress, what)
    notes += lost
    return store


def read(path: Path, source: str | None = None, notes: list[str] | None = None) -> ImageStore | None:
    """Reads a cached store.

    Args:
        path: The file.
        source: Fingerprint that the file must carry; None accepts any.
        notes: Takes the sentences that are kept with the store.

    Returns:
        The store; None if there is no file, if it was made from another source, or (with a warning) if it
        cannot be used.
    """
    try:
        with path.open("rb") as file:
            damage = _damage(file)
            if damage:
                warnings.warn(f"the cached file {path} {damage}; it is rebuilt", stacklevel=2)
                return None
            return _parsed(file, source, notes)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        warnings.warn(f"the cached file {path} cannot be read ({error}); it is rebuilt", stacklevel=2)
        return None
    except Exception as error:  # whatever content can lead to: it was not written by this version
        warnings.warn(f"the cached file {path} has odd content ({error!r}); it is rebuilt", stacklevel=2)
        return None


def _parsed(file: BinaryIO, source: str | None, notes: list[str] | None) -> ImageStore | None:
    with np.load(file, allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        if source is not None and header["source"] != source:
            return None
        store = ImageStore(
            arrays["images"],
            arrays["labels"],
            arrays.get("groups"),
            header["class_names"],
            header["group_names"],
            header["name"],
            arrays.get("parts"),
            header.get("part_names", ()),
            Preparation.from_config(header["preparation"]) if header.get("preparation") else None,
        )
        said = [str(note) for note in header.get("notes", ())]
        if notes is not None:
            notes += said
        return store


def write(path: Path, store: ImageStore, source: str | None, notes: Sequence[str] = ()) -> None:
    """Writes a store so that other processes see either the old file or the whole new one.

    Raises:
        OSError: The folder cannot be made or written.
    """
    arrays: dict[str, Any] = {"images": store.images, "labels": store.labels}
    for name in ("groups", "parts"):
        if getattr(store, name) is not None:
            arrays[name] = getattr(store, name)
    header = {
        "source": source,
        "class_names": store.class_names,
        "group_names": store.group_names,
        "part_names": store.part_names,
        "preparation": None if store.preparation is None else store.preparation.to_config(),
        "name": store.name,
        "notes": list(notes),
    }

    def save(temporary: Path) -> None:
        with temporary.open("x+b") as file:
            file.write(_MAGIC + bytes(_DIGEST_BYTES))
            np.savez(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
            file.seek(len(_MAGIC) + _DIGEST_BYTES)
            content = _content_digest(file)
            file.seek(len(_MAGIC))
            file.write(content)

    path.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(path.parent)
    files.replace(path, save)


def _damage(file: BinaryIO) -> str | None:
    """What is wrong with a file, or None; leaves the file positioned at its content."""
    magic, expected = file.read(len(_MAGIC)), file.read(_DIGEST_BYTES)
    if magic != _MAGIC:
        return "is not a store written by fslcore"
    if _content_digest(file) != expected:
        return "is damaged or incomplete (its checksum does not match)"
    file.seek(len(_MAGIC) + _DIGEST_BYTES)
    return None


def _content_digest(file: BinaryIO) -> bytes:
    content = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    while block := file.read(1 << 20):
        content.update(block)
    return content.digest()

# SPDX-License-Identifier: MIT
"""A dataset kept on the disk: whole or not at all, and made again when what it was made from has changed.

    NAME            what is kept, as JSON: the fingerprint, the structure, the number of elements, the files
    NAME.0123abcd/  the files: those of `Dataset.cache`, or one of records
    NAME.building   locked by the process that writes them

The files are complete before NAME is moved to its place, in one step: a crash at any moment leaves the old
cache or the new one. While one process writes, others with the same name wait for it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from fslcore import files
from fslcore.arguments import ArgumentError, as_bool
from fslcore.data.exclusive import alone, remove
from fslcore.data.records import check_finite, read_blocks, write_blocks

_VERSION = 2
_BEGINNING = b'{"version"'  # of the list of a cache, which is written whole
_RECORDS = "elements.tfrecord"
_TENSORS = "elements"

Applied = Callable[[tf.data.Dataset], tf.data.Dataset]


def cache(
    filename: str | os.PathLike[str],
    *,
    clear: bool = False,
    fingerprint: Any = None,
    as_records: bool = False,
) -> Applied:
    """Keeps the elements of a dataset on the disk: `dataset.apply(cache("train"))`.

    All elements are written at once, when this is applied, unless they are there with the same structure and
    the same fingerprint. A cache that is damaged or half gone is written again, with a warning.

    Args:
        filename: The cache, a file with a folder beside it. The folder around them is made.
        clear: Whether to write it in any case.
        fingerprint: What the elements depend on, as JSON takes it: sizes, options,
            `fslcore.data.tensors.fingerprint_of(paths)`. The elements are written again when it is another
            one. Without it, changes of the files that a dataset reads go unnoticed.
        as_records: Whether to keep one TFRecord file, see `fslcore.data.records.write_blocks`, in place of
            the files of `Dataset.cache`.

    Returns:
        A function that makes a dataset with the same elements, in the same order, of known number.

    Raises:
        ArgumentError: The name or the fingerprint cannot be used, or the dataset has no end.
        OSError: The files cannot be written; the old cache stays.

    Warns:
        UserWarning: The cache that was there is damaged.
    """
    path = _path_of(filename)
    as_bool("clear", clear)
    as_bool("as_records", as_records)
    try:
        said = json.dumps(fingerprint, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            "fingerprint", f"must be a value that JSON takes ({error})", fingerprint
        ) from error

    def apply(dataset: tf.data.Dataset) -> tf.data.Dataset:
        check_finite(dataset)
        wanted = {
            "version": _VERSION,
            "fingerprint": said,
            "spec": repr(dataset.element_spec),
            "records": as_records,
        }
        kept = None if clear else _read(path, wanted, warn=True)
        if kept is None:
            kept = _write(path, dataset, wanted, clear)
        return _elements(path, dataset, kept)

    return apply


def clear_cache(filename: str | os.PathLike[str]) -> list[Path]:
    """Removes a cache, and nothing else: not those whose names begin alike.

    Args:
        filename: As for `cache`.

    Returns:
        What has been removed: the file, its folders, what killed processes have left.
    """
    path = _path_of(filename)
    is_ours = path.is_file() and _begins_as_ours(path)
    found = [*([path] if is_ours else []), *_folders(path)]
    if is_ours:
        path.unlink()  # first: without it, the folders are nothing
    for folder in _folders(path):
        shutil.rmtree(folder)
    if (lock := path.with_name(f"{path.name}.building")).exists():
        found.append(lock)
        remove(lock)
    return found


def _path_of(filename: str | os.PathLike[str]) -> Path:
    if not isinstance(filename, (str, os.PathLike)) or not os.fspath(filename):
        raise ArgumentError("filename", "must be the path of a file", filename)
    path = Path(filename).expanduser().absolute()
    if path.is_dir():
        raise ArgumentError("filename", "must be the path of a file, not of a folder", str(path))
    return path


def _begins_as_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)) == _BEGINNING


def _folders(path: Path) -> list[Path]:
    """The folders with the files of a cache, finished or not."""
    name = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}")
    entries = path.parent.iterdir() if path.parent.is_dir() else ()
    return sorted(entry for entry in entries if name.fullmatch(entry.name) and entry.is_dir())


def _read(path: Path, wanted: dict[str, Any], warn: bool) -> dict[str, Any] | None:
    """What is kept, if it is what is wanted and all of it is there."""
    try:
        kept = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        _say_damaged(path, f"it cannot be read ({error})", warn)
        return None
    if not isinstance(kept, dict) or "files" not in kept:
        _say_damaged(path, "it is no cache", warn)
        return None
    if any(kept.get(key) != value for key, value in wanted.items()):
        return None
    folder = path.parent / str(kept.get("folder"))
    for name, size in kept["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            _say_damaged(path, f"{file} is not there or not whole", warn)
            return None
    return kept


def _say_damaged(path: Path, what: str, warn: bool) -> None:
    if warn:
        warnings.warn(f"the cache {path} is written again: {what}", stacklevel=5)


def _write(path: Path, dataset: tf.data.Dataset, wanted: dict[str, Any], clear: bool) -> dict[str, Any]:
    """Writes all elements and returns what is kept."""
    found: dict[str, Any] | None = None

    def is_there() -> bool:
        nonlocal found
        # Where it is to be written in any case, another process that has just done so does not count.
        found = None if clear else _read(path, wanted, warn=False)
        return found is not None

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_name(f"{path.name}.building"), is_there) as ours:
            if ours is None and found is not None:
                return found
            old = _folders(path)
            folder = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            folder.mkdir()
            try:
                count = _write_elements(folder, dataset, wanted["records"])
                sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
                kept = {**wanted, "count": count, "folder": folder.name, "files": sizes}
                files.replace(path, lambda temporary: temporary.write_text(json.dumps(kept)))
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            finally:
                if ours is not None:
                    remove(ours[1])
            for other in old:
                shutil.rmtree(other, ignore_errors=True)
            return kept
    except OSError as error:
        raise files.named(error, path) from error


def _write_elements(folder: Path, dataset: tf.data.Dataset, as_records: bool) -> int:
    if as_records:
        return write_blocks(dataset, folder / _RECORDS)
    written = _parts(dataset).cache(str(folder / _TENSORS))
    return int(written.reduce(tf.constant(0, tf.int64), lambda count, *_: count + 1))


def _elements(path: Path, dataset: tf.data.Dataset, kept: dict[str, Any]) -> tf.data.Dataset:
    folder, spec = path.parent / kept["folder"], dataset.element_spec
    if kept["records"]:
        elements = read_blocks(folder / _RECORDS, spec)
    else:
        # The dataset itself is not asked: all of its elements are there.
        parts = _parts(dataset).cache(str(folder / _TENSORS))
        elements = parts.map(lambda *flat: _packed(spec, flat)) if _has_composites(spec) else parts
    return elements.apply(tf.data.experimental.assert_cardinality(kept["count"]))


def _parts(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The elements with ragged and sparse tensors in their parts, which `Dataset.cache` keeps."""
    if not _has_composites(dataset.element_spec):
        return dataset

    def parts(*element: Any) -> tuple[tf.Tensor, ...]:
        return tuple(tf.nest.flatten(element, expand_composites=True))

    return dataset.map(parts)


def _packed(spec: Any, flat: tuple[tf.Tensor, ...]) -> Any:
    specs = tf.nest.flatten(spec, expand_composites=True)
    tensors = [tf.ensure_shape(tensor, each.shape) for tensor, each in zip(flat, specs, strict=True)]
    return tf.nest.pack_sequence_as(spec, tensors, expand_composites=True)


def _has_composites(spec: Any) -> bool:
    return any(not isinstance(leaf, tf.TensorSpec) for leaf in tf.nest.flatten(spec))

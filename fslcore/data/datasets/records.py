# SPDX-License-Identifier: MIT
"""TFRecord files of encoded images: `tf.train.Example`s with an image and a label."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fslcore.arguments import ArgumentError
from fslcore.data import cache
from fslcore.data.datasets import encoded
from fslcore.data.datasets.dataset import Dataset, Progress, Request
from fslcore.data.datasets.encoded import Example, Examples
from fslcore.data.datasets.left_out import printable
from fslcore.data.store import ImageStore

ENDINGS = (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")

_VERSION = 1  # in the file name of the cache: raise it whenever the images change
_LONGEST_NAME = 60
# Looked for in this order where the caller does not name them; the first are those of TensorFlow's own tools.
_IMAGES = ("image/encoded", "image", "image_raw")
_LABELS = ("image/class/label", "label", "class")
_NAMES = ("image/class/text",)


def files_of(name_or_path: str | os.PathLike[str]) -> list[Path]:
    """The TFRecord files of a path or a pattern such as "data/*.tfrecord"; none if it is something else."""
    text = os.fspath(name_or_path)
    if not isinstance(text, str) or not text.endswith(ENDINGS):
        return []
    text = os.path.expanduser(text)
    return [Path(text)] if os.path.isfile(text) else sorted(map(Path, glob.glob(text)))


def dataset(files: Sequence[Path]) -> Dataset:
    """The dataset in some files, whose features have their usual names."""
    return Dataset("records", partial(load, files, {}), prepares=True)


def load_records(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    image: str | None = None,
    label: str | None = None,
    text: str | None = None,
    image_size: int = 28,
    channels: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    on_error: str = "raise",
    resize: str = "stretch",
    storage: str = "memory",
) -> ImageStore:
    """Loads TFRecord files of encoded images; `fslcore.data.load("data/*.tfrecord")` does so with defaults.

    Args:
        files: A file, a pattern such as "data/*.tfrecord", or several files; compressed if it ends in ".gz".
        image: Name of the feature with the encoded image (PNG, JPEG, or any format that Pillow reads). By
            default the first of "image/encoded", "image" and "image_raw" that there is.
        label: Name of the feature with the label, an integer or a text. By default the first of
            "image/class/label", "label" and "class".
        text: Name of a feature with the name of the class, where the label is an integer. By default
            "image/class/text" if it is there.
        image_size: See `fslcore.data.load`, also for the arguments after it.
        channels: 1 or 3; by default 1 if all images are gray.
        cache_dir: Folder of the cache.
        progress: Called as `progress(done, total, what)`.
        on_error: "raise" or "skip", for images that cannot be read.
        resize: "stretch", "crop" or "pad".
        storage: "memory", "mapped" or "jpeg".

    Returns:
        A store; classes are sorted by label, images of a class in the order of the records.

    Raises:
        ArgumentError: There are no such files, a file is damaged, a feature is not there or of another kind,
            or as for `fslcore.data.load`.
    """
    given = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    paths = [path for each in given for path in _matching(each)]
    request = Request(
        image_size=image_size,
        channels=channels,
        cache_dir=cache_dir,
        progress=progress,
        on_error=on_error,
        resize=resize,
        storage=storage,
    )
    dataset(paths).check(image_size, channels)
    names = {"image": image, "label": label, "text": text}
    return load(paths, {key: name for key, name in names.items() if name is not None}, request)


def load(files: Sequence[Path], names: Mapping[str, str], request: Request) -> ImageStore:
    """The images of TFRecord files; `names` are those of the features that have no usual one."""
    files = [path.resolve() for path in files]
    stem = printable(files[0].name.split(".")[0])[:_LONGEST_NAME]
    notes: list[str] = []
    store = encoded.load(
        f"{stem}-{cache.digest([list(map(str, files)), dict(names)])}-r{_VERSION}",
        cache.file_fingerprint(files),
        lambda: _examples(stem, files, names),
        request,
        notes,
    )
    if notes:
        warnings.warn(f"{stem}: {'; '.join(notes)}", stacklevel=3)
    return store


def _matching(path: str | os.PathLike[str]) -> list[Path]:
    text = os.path.expanduser(os.fspath(path))
    found = [Path(text)] if os.path.isfile(text) else sorted(map(Path, glob.glob(text)))
    if not found:
        raise ArgumentError("files", "must be TFRecord files that are there", str(path))
    return found


def _examples(name: str, files: Sequence[Path], names: Mapping[str, str]) -> Examples:
    features = _features(files[0], names)
    counts: list[int] = []

    def every() -> Iterator[tuple[bytes, Any, Any]]:
        counts.clear()
        for file in files:
            counts.append(0)
            for image, label, text in _parsed(file, features):
                counts[-1] += 1
                yield image, label, text

    # A class has one name, so that a label that is a number can be replaced by it.
    texts: dict[Any, str] = {}

    def labelled() -> Iterator[Example]:
        for image, label, text in every():
            value = label.decode("utf-8", "backslashreplace") if isinstance(label, bytes) else int(label)
            if text is not None:
                said = text.decode("utf-8", "backslashreplace")
                if texts.setdefault(value, said) != said:
                    raise ArgumentError(
                        "text",
                        "must be the same for all examples of a label",
                        said,
                        described=f"{said!r} and {texts[value]!r} for {value}",
                    )
                value = said
            yield image, value, 0

    def where(i: int) -> str:
        file = int(np.searchsorted(np.cumsum(counts), i, side="right"))
        return f"record {i - sum(counts[:file])} of {printable(files[file])}"

    return Examples(name, lambda first: islice(labelled(), first, None), None, where)


def _parsed(file: Path, features: Mapping[str, tuple[str, Any]]) -> Iterator[tuple[bytes, Any, Any]]:
    """The image, the label and the name of the class (or None) of each example of a file."""
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in features.values()}

    def chosen(example: Any) -> tuple[Any, ...]:
        parsed = tf.io.parse_single_example(example, spec)
        return tuple(parsed[name] for name, _ in features.values())

    records = tf.data.TFRecordDataset(str(file), compression_type="GZIP" if file.suffix == ".gz" else "")
    try:
        for values in records.map(chosen).as_numpy_iterator():
            yield (*values, None) if len(values) == 2 else values
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise ArgumentError(
            "files",
            "must be whole TFRecord files of examples with the same features",
            str(file),
            described=f"{printable(file)}: {error.message.splitlines()[0]}",
        ) from error


def _features(file: Path, names: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Name and type of the features for the image, the label and, if there is one, the name of the class."""
    import tensorflow as tf

    records = tf.data.TFRecordDataset(str(file), compression_type="GZIP" if file.suffix == ".gz" else "")
    try:
        first = next(records.take(1).as_numpy_iterator(), b"")
        there = tf.train.Example.FromString(first).features.feature
    except Exception as error:  # TensorFlow and protobuf raise errors of several types
        raise ArgumentError(
            "files", "must be TFRecord files of examples", str(file), described=f"{printable(file)}: {error}"
        ) from error
    kinds = {"bytes_list": tf.string, "int64_list": tf.int64}
    types = {name: kinds.get(feature.WhichOneof("kind")) for name, feature in there.items()}

    def chosen(role: str, usual: Sequence[str], allowed: Sequence[Any], needed: bool = True) -> Any:
        wanted = [names[role]] if role in names else [name for name in usual if name in types]
        if wanted and types.get(wanted[0]) in allowed:
            return wanted[0], types[wanted[0]]
        if not needed and role not in names:
            return None
        raise ArgumentError(
            role,
            f"must name a feature of {printable(file)} that holds {' or '.join(t.name for t in allowed)}",
            names.get(role),
            described=f"{names.get(role)!r}, where there are "
            + (
                ", ".join(f"{name!r} ({t.name if t else 'float'})" for name, t in sorted(types.items()))
                or "none"
            ),
        )

    found = {
        "image": chosen("image", _IMAGES, [tf.string]),
        "label": chosen("label", _LABELS, [tf.int64, tf.string]),
        "text": chosen("text", _NAMES, [tf.string], needed=False),
    }
    if found["label"][1] == tf.string and "text" not in names:
        found["text"] = None
    return {role: feature for role, feature in found.items() if feature is not None}

# SPDX-License-Identifier: MIT
"""Tools for datasets whose elements are dicts, as pandas has them for frames; and a cache on the disk.

dataset = dataset.apply(assign(image=read_decode_and_crop)).apply(filter_items(["image", "label"]))
dataset = dataset.apply(cache("train"))
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.data.cache import file_fingerprint
from fslcore.data.disk_cache import cache, clear_cache

__all__ = [
    "assign",
    "cache",
    "clear_cache",
    "compose",
    "filter_items",
    "fingerprint_of",
    "read_decode_and_crop",
    "transform",
]

Element = Mapping[str, Any]
# Takes a dataset of dicts, or one dict.
Operator = Callable[[Any], Any]


def assign(**functions: Callable[[Element], Any]) -> Operator:
    """Adds or replaces entries, each a function of the whole element, as `DataFrame.assign` adds columns.

    Args:
        **functions: For each name a function of the element as it was: none sees what another one has made.

    Returns:
        A function of a dataset of dicts, for `Dataset.apply`, or of one dict, for `Dataset.map`.

    Raises:
        ArgumentError: A value is no function; elements are no dicts (when it is applied).
    """
    _check_functions(functions)
    return _operator(lambda element: {**element, **{name: f(element) for name, f in functions.items()}})


def transform(**functions: Callable[[Any], Any]) -> Operator:
    """Replaces entries, each by a function of its own value.

    Args:
        **functions: For each name of an entry that there is, a function of its value.

    Returns:
        As for `assign`.

    Raises:
        ArgumentError: A value is no function; an element has no such entry (when it is applied).
    """
    _check_functions(functions)

    def replaced(element: Element) -> dict[str, Any]:
        _check_there(functions, element)
        return {**element, **{name: f(element[name]) for name, f in functions.items()}}

    return _operator(replaced)


def filter_items(items: Sequence[str]) -> Operator:
    """Keeps the entries with these names, in this order.

    Args:
        items: Names of entries.

    Returns:
        As for `assign`.

    Raises:
        ArgumentError: The names are a single string; an element has no such entry (when it is applied).
    """
    if isinstance(items, (str, bytes)):
        raise ArgumentError("items", "must be a sequence of names, not a single string", items)
    names = list(items)

    def kept(element: Element) -> dict[str, Any]:
        _check_there(names, element)
        return {name: element[name] for name in names}

    return _operator(kept)


def compose(*functions: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One function that calls these from left to right, each with the result of the one before.

    Example:
        >>> compose(str.strip, len)("  two ")
        3
    """
    for function in functions:
        if not callable(function):
            raise ArgumentError("functions", "must be functions", function)
    return functools.partial(functools.reduce, lambda value, function: function(value), functions)


def read_decode_and_crop(annotation: Element, channels: int = 3) -> tf.Tensor:
    """The picture of an annotation, or the part of it in a window; for `assign(image=read_decode_and_crop)`.

    JPEG, PNG, GIF (its first image) and BMP files are read. Of a JPEG only the window is decoded. The
    orientation that a camera notes is not heeded, as TensorFlow does not; `fslcore.data.load` does.

    Args:
        annotation: "filename", a string tensor; and "crop_window" if there is one, integers (y, x, height,
            width) in pixels.
        channels: Of the result: 1 or 3, for BMP files 3.

    Returns:
        uint8 [height, width, channels].

    Raises:
        ArgumentError: There is no "filename".
        tf.errors.InvalidArgumentError: The file is no picture, or the window is not inside it.
        tf.errors.NotFoundError: The file is not there.
    """
    _check_there(["filename"], annotation)
    content = tf.io.read_file(annotation["filename"])
    if "crop_window" not in annotation:
        return tf.io.decode_image(content, channels, expand_animations=False)
    window = tf.cast(annotation["crop_window"], tf.int32)
    return tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.image.decode_and_crop_jpeg(content, window, channels),
        lambda: _cut(tf.io.decode_image(content, channels, expand_animations=False), window),
    )


def fingerprint_of(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Digest of the names, sizes and modification times of files, for `cache(fingerprint=...)`.

    Raises:
        ArgumentError: The paths are a single string, or a file is not there.
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        raise ArgumentError("paths", "must be a sequence of files, not a single one", paths)
    found = [Path(path).expanduser() for path in paths]
    if gone := [path for path in found if not path.is_file()]:
        described = f"{gone[0]} ({len(gone)} of {len(found)} are not there)"
        raise ArgumentError("paths", "must be files that are there", gone[0], described=described)
    return file_fingerprint(found)


def _cut(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    top, left, height, width = tf.unstack(window)
    inside = (top >= 0) & (left >= 0) & (height > 0) & (width > 0)
    inside &= (top + height <= tf.shape(image)[0]) & (left + width <= tf.shape(image)[1])
    message = ["the crop_window (y, x, height, width) must lie inside the picture, received", window]
    with tf.control_dependencies([tf.debugging.Assert(inside, [*message, tf.shape(image)])]):
        return image[top : top + height, left : left + width]


def _operator(one: Callable[[Element], dict[str, Any]]) -> Operator:
    def apply(elements: Any) -> Any:
        if isinstance(elements, tf.data.Dataset):
            _check_dict(elements.element_spec)
            return elements.map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        _check_dict(elements)
        return one(elements)

    return apply


def _check_dict(element: Any) -> None:
    if not isinstance(element, Mapping):
        described = f"elements of type {type(element).__name__}"
        raise ArgumentError("dataset", "must have dicts as elements", element, described=described)


def _check_functions(functions: Mapping[str, Any]) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise ArgumentError(name, "must be a function", function)


def _check_there(names: Any, element: Element) -> None:
    if gone := [name for name in names if name not in element]:
        described = f"{gone[0]!r}, and elements have {', '.join(map(repr, element))}"
        raise ArgumentError("items", "must be names of entries", gone[0], described=described)

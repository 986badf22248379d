# SPDX-License-Identifier: MIT
"""`keras_fsl.utils.datasets` and `image_preprocessing`: caches and fields of datasets of dicts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.data import tensors
from fslcore.data.disk_cache import Applied

PathLike = str | os.PathLike[str]


def cache(filename: PathLike, clear: bool = False) -> Applied:
    """`fslcore.data.tensors.cache`.

    Args:
        filename: The cache.
        clear: Whether to write it in any case.
    """
    return tensors.cache(filename, clear=clear)


def cache_with_tf_record(filename: PathLike, clear: bool = False) -> Applied:
    """`fslcore.data.tensors.cache` with `as_records=True`, of datasets of dicts.

    Args:
        filename: The cache: it lists the TFRecord file, which lies in a folder beside it.
        clear: Whether to write it in any case.

    Raises:
        ValueError: When it is applied: the elements are no dicts.
    """

    def cached(dataset: tf.data.Dataset) -> tf.data.Dataset:
        if not isinstance(dataset.element_spec, Mapping):
            found = type(dataset.element_spec)
            raise ArgumentError(f"dataset.element_spec should be a dict but is {found} instead")
        return dataset.apply(tensors.cache(filename, clear=clear, as_records=True))

    return cached


def clear_cache(filename: PathLike) -> list[Any]:
    """`fslcore.data.tensors.clear_cache`, and the files that `Dataset.cache` has made by this name.

    Args:
        filename: The cache.

    Returns:
        What has been removed.
    """
    path = Path(os.fspath(filename)).expanduser()
    files = [*path.parent.glob(f"{path.name}.data-?????-of-?????"), path.with_name(f"{path.name}.index")]
    found = sorted(file for file in files if file.is_file())
    for file in found:
        file.unlink()
    return [*found, *tensors.clear_cache(path)]


def add_field(produce: Callable[[Any], Any], key: str) -> tensors.Operator:
    """`fslcore.data.tensors.assign` of one entry.

    Args:
        produce: A function of an element.
        key: Name of the entry.
    """
    return tensors.assign(**{key: produce})


def transform_field(transform: Callable[[Any], Any], key: str) -> tensors.Operator:
    """`fslcore.data.tensors.transform` of one entry.

    Args:
        transform: A function of its value.
        key: Name of the entry.
    """
    return tensors.transform(**{key: transform})


def load_crop_as_uint8_tensor(annotation: Mapping[str, Any]) -> tf.Tensor:
    """`fslcore.data.tensors.read_decode_and_crop` of the file `image_name`.

    Args:
        annotation: "image_name" and "crop_window" (y, x, height, width).
    """
    return tensors.read_decode_and_crop({**annotation, "filename": annotation["image_name"]})

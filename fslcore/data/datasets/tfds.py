# SPDX-License-Identifier: MIT
"""`tfds:NAME`: any image-classification dataset of TensorFlow Datasets, with its splits as parts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from fslcore.arguments import ArgumentError
from fslcore.data import cache
from fslcore.data.datasets import encoded
from fslcore.data.datasets.dataset import Dataset, Request
from fslcore.data.datasets.encoded import Example, Examples
from fslcore.data.datasets.listing import part_of
from fslcore.data.store import ImageStore

PREFIX = "tfds:"

_VERSION = 1  # in the file name of the cache: raise it whenever the images change


def dataset(name: str) -> Dataset:
    """The dataset of a name "tfds:NAME", where NAME is as in `tfds.builder`: `name/config:version`."""
    return Dataset(name, partial(load, name), has_data_dir=True, prepares=True)


def load(name: str, request: Request) -> ImageStore:
    """A dataset of TensorFlow Datasets.

    Its image and its label are what the dataset itself names as input and target, or else its only image
    feature and its only class label. The splits "train", "validation" and "test", under whatever of their
    usual names, become the parts of the store, which `default_split` follows; other splits and examples
    without a label (-1) are left out with a warning. Where no split has such a name, all are taken.

    Args:
        name: "tfds:NAME".
        request: As for a folder, and the TFDS data folder (the environment variable TFDS_DATA_DIR, then
            ~/tensorflow_datasets if None).

    Raises:
        ArgumentError: TFDS has no such dataset, it has no image or no class label, or images cannot be read.
        FileNotFoundError: It is not prepared, and it cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    chosen = request.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = Path(chosen).expanduser().resolve()
    try:
        builder = tfds.builder(name.removeprefix(PREFIX), data_dir=folder)
    except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ArgumentError(
            "name_or_path", "must name a dataset of TensorFlow Datasets", name, described=f"{name!r}: {first}"
        ) from error
    features = _features(name, builder.info)
    if not builder.info.splits:
        _prepare(builder, folder)
    splits = {split: info for split, info in builder.info.splits.items() if info.num_examples}
    sizes = {split: info.num_examples for split, info in splits.items()}
    facts = [[split, info.num_examples, info.num_bytes] for split, info in splits.items()]
    notes: list[str] = []
    full_name = builder.info.full_name.replace("/", "-")
    store = encoded.load(
        f"tfds-{full_name}-{cache.digest(str(folder))}-r{_VERSION}",
        cache.digest([features, facts]),
        lambda: _examples(name, builder, features, sizes),
        request,
        notes,
    )
    if notes:
        warnings.warn(f"{name}: {'; '.join(notes)}", stacklevel=3)
    return store


def _features(name: str, info: Any) -> tuple[str, str]:
    """The names of the image and of the label."""
    import tensorflow_datasets as tfds

    features = dict(info.features)
    given = info.supervised_keys
    if given and len(given) == 2 and all(isinstance(key, str) for key in given):
        image, label = given
    else:
        images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
        labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
        image, label = (one[0] if len(one) == 1 else "" for one in (images, labels))
    if not (
        isinstance(features.get(image), tfds.features.Image)
        and isinstance(features.get(label), tfds.features.ClassLabel)
        and features[image].dtype.name in ("uint8", "uint16")
    ):
        kinds = ", ".join(f"{key}: {type(feature).__name__}" for key, feature in features.items())
        raise ArgumentError(
            "name_or_path",
            "must name a dataset with one image of 8 or 16 bits and one class label",
            name,
            described=f"{name!r} with {kinds}",
        )
    return image, label


def _prepare(builder: Any, folder: Path) -> None:
    try:
        builder.download_and_prepare()
    except Exception as error:  # network, disk and archives raise errors of many types
        raise FileNotFoundError(
            f"data_dir must be a TFDS data folder with {builder.name}, or one into which it can be "
            f"downloaded, received {folder}, where it is not prepared, and the download failed: {error}"
        ) from error


def _examples(name: str, builder: Any, features: tuple[str, str], sizes: dict[str, int]) -> Examples:
    import tensorflow_datasets as tfds

    image, label = features
    parts = {split: part_of(split) for split in sizes}
    notes = []
    if not any(parts.values()):
        parts = dict.fromkeys(sizes, "all")
    if others := [f"{split} with {sizes[split]:,}" for split, part in parts.items() if part is None]:
        notes.append(f"left out: splits that are no training, validation or test ({', '.join(others)})")
    taken = [split for split, part in parts.items() if part is not None]
    part_names = sorted({str(parts[split]) for split in taken}, key=("train", "val", "test", "all").index)
    unlabelled: dict[str, int] = {}

    def every() -> Iterator[Example]:
        for split in taken:
            examples = builder.as_dataset(
                split=split, decoders={image: tfds.decode.SkipDecoding()}, shuffle_files=False
            )
            pairs = examples.map(lambda example: (example[image], example[label]))
            number, unlabelled[split] = part_names.index(str(parts[split])), 0
            for content, of_class in pairs.as_numpy_iterator():
                if of_class < 0:
                    unlabelled[split] += 1
                else:
                    yield content, int(of_class), number

    def left_out() -> list[str]:
        named = [f"{count:,} of {split}" for split, count in unlabelled.items() if count]
        return [*notes, *([f"left out: examples without a label ({', '.join(named)})"] if named else [])]

    return Examples(
        name,
        lambda first: islice(every(), first, None),
        sum(sizes[split] for split in taken),
        lambda i: f"example {i}",
        builder.info.features[label].names,
        part_names,
        left_out,
    )

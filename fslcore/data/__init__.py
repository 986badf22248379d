# SPDX-License-Identifier: MIT
"""Images for few-shot learning: datasets, their splits, episodes and batches.

    load(name | folder | table) ──> ImageStore ──> split ──> episodes, pk_batches (tf.data.Dataset)

`EmbeddingStore` has the same methods for embeddings of images, which `fslcore.encoders.embed_store` makes.
Loading imports no TensorFlow unless the dataset must be read through it for the first time.

    frames                 operators on pandas DataFrames: splits by group, k-shot datasets, confidences
    sequences              pairs, k-shot batches and one-shot tasks as `keras.utils.PyDataset` and tf.data
    tensors                operators on datasets of dicts, and a cache on the disk
    records                TFRecord files of any elements
"""

import importlib
from typing import Any

from fslcore.data.datasets.records import load_records
from fslcore.data.embeddings import EmbeddingStore
from fslcore.data.loading import default_split, load
from fslcore.data.one_hot import get_dummies
from fslcore.data.preparation import Preparation
from fslcore.data.store import ImageStore

__all__ = [
    "EmbeddingStore",
    "ImageStore",
    "Preparation",
    "default_split",
    "get_dummies",
    "load",
    "load_records",
]

# Imported on first use: they need TensorFlow or Keras.
_LAZY = ("frames", "records", "sequences", "tensors")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"fslcore.data.{name}")
    raise AttributeError(f"module 'fslcore.data' has no attribute {name!r}")

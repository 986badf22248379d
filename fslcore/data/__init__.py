# SPDX-License-Identifier: MIT
"""Images for few-shot learning: datasets, their splits, episodes and batches.

    load(name | folder | table) ──> ImageStore ──> split ──> episodes, pk_batches (tf.data.Dataset)

`EmbeddingStore` has the same methods for embeddings of images, which `fslcore.encoders.embed_store` makes.
Loading imports no TensorFlow unless the dataset must be read through it for the first time.
"""

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

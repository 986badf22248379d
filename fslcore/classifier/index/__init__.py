# SPDX-License-Identifier: MIT
"""Indexes: the nearest of many embeddings, with labels, behind one interface.

    ExactIndex     our kernels, in memory; up to about a million rows
    LanceIndex     on the disk, for more than the memory holds; needs the extra `lancedb`
    FaissIndex     any index of FAISS; needs the extra `faiss`
    ShardedIndex   several indexes as one, in this process or on Ray actors (extra `ray`)

Importing this imports none of these libraries, and no TensorFlow.
"""

from fslcore.classifier.index.base import Found, Index, recall
from fslcore.classifier.index.exact import ExactIndex
from fslcore.classifier.index.faiss import FaissIndex
from fslcore.classifier.index.lance import LanceIndex
from fslcore.classifier.index.shards import ShardedIndex, on_ray

__all__ = [
    "ExactIndex",
    "FaissIndex",
    "Found",
    "Index",
    "LanceIndex",
    "ShardedIndex",
    "on_ray",
    "recall",
]

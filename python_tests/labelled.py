# SPDX-License-Identifier: MIT
"""One batch of eleven labels in the forms that Keras passes, and a distance for its embeddings."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from mining import SIXTEEN_PAIRS

LABELS = SIXTEEN_PAIRS.astype(np.int64)
LABEL_FORMS = {
    "[batch] int64": LABELS,
    "[batch] float32": LABELS.astype(np.float32),
    "[batch, 1] int32": LABELS[:, None].astype(np.int32),
}
ONE_HOT = np.eye(5, dtype=np.float32)[LABELS]


@keras.saving.register_keras_serializable(package="tests")
def manhattan(embeddings):
    return tf.reduce_sum(tf.abs(embeddings[:, None] - embeddings[None, :]), axis=2)

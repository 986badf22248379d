# SPDX-License-Identifier: MIT
"""Does a cache pay? benchmark_caching_performance of keras-fsl.

Pictures in files are decoded for every epoch, or once: kept by `tensors.cache` as `tf.data` writes them, or
as TFRecords that other programs read. One pass over each is timed; no model is trained, which would hide
what is measured. The store of fslcore, which holds the pixels, stands beside them.
"""

from __future__ import annotations

import time

import tensorflow as tf
from example import begin

from fslcore.data import tensors

example = begin(__doc__, dataset="emoji", image_size=64)
frame = example.frame()
files = frame["filename"].tolist()
labels = frame["label"].astype("category").cat.codes.to_numpy()
caches = example.out / "caches"
of_files = tensors.fingerprint_of(files)


def floats(image: tf.Tensor) -> tf.Tensor:
    """Pixels of 0 to 1; all pictures have one size here."""
    size = example.options.image_size
    return tf.ensure_shape(tf.image.convert_image_dtype(image, tf.float32), (size, size, 3))


def batches(kept: tf.data.Dataset) -> tf.data.Dataset:
    """What a training reads."""
    return kept.apply(tensors.transform(image=floats)).batch(64).prefetch(tf.data.AUTOTUNE)


decoded = (
    tf.data.Dataset.from_tensor_slices({"filename": files, "label": labels})
    .map(tensors.assign(image=tensors.read_decode_and_crop), num_parallel_calls=tf.data.AUTOTUNE)
    .apply(tensors.filter_items(["image", "label"]))
)
ways = {
    "no cache": decoded,
    "cache": decoded.apply(tensors.cache(caches / "plain", fingerprint=of_files)),
    "cache of records": decoded.apply(
        tensors.cache(caches / "records", fingerprint=of_files, as_records=True)
    ),
}
rates = {}
for _ in range(example.choose(3, 1)):
    for name, dataset in ways.items():
        begun = time.perf_counter()
        count = sum(len(batch["label"]) for batch in batches(dataset))
        rates.setdefault(name, []).append(count / (time.perf_counter() - begun))

store = example.store()
begun = time.perf_counter()
count = sum(len(labels) for _, labels in store.pk_batches(classes=32, samples=2, batches=len(files) // 64))
rates["store"] = [count / (time.perf_counter() - begun)]
best = {name: round(max(each)) for name, each in rates.items()}
example.finish(pictures=len(files), pictures_per_second=best)

# SPDX-License-Identifier: MIT
"""Batches gathered from a store and warped by random affine transforms, beside Keras' own layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore import kernels, ops
from fslcore.augmentation import RandomAffine
from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.peers.augmentation import RANGES, peer_entries

_BATCHES = ((64, 28, 1), (64, 84, 3))
_STORED = 1000


def cases(quick: bool) -> Iterator[Comparison]:
    """Rotation, shift, zoom and shear, bilinear, with zeros outside of an image."""
    for batch, side, channels in ((4, 8, 1),) if quick else _BATCHES:
        store = np.random.default_rng(0).integers(0, 256, (_STORED, side, side, channels)).astype(np.uint8)
        rows = np.random.default_rng(1).integers(0, _STORED, batch)
        yield measure(
            f"{batch} images {side} x {side} x {channels} gathered and warped: rotation, shift, zoom, shear",
            entries(store, rows),
            work(batch, side, channels),
            rounds=3 if quick else 25,
            unit_count=batch,
            unit="images",
        )


def entries(store: Any, rows: Any) -> dict[str, Entry]:
    """All contenders, ours first."""
    layer = RandomAffine(**RANGES, fill="constant")
    images, indices = tf.constant(store), tf.constant(rows)
    sizes = layer.sizes(*store.shape[1:3])

    def in_one_pass(step: Any) -> Any:
        transforms = layer.drawn(len(rows), sizes, step)
        return ops.gather_affine(images, indices, transforms, fill="constant")

    def by_layer(step: Any) -> Any:
        return layer(ops.gather_images(images, indices), training=True, step=step)

    return {
        "fslcore, gathered and warped in one pass": Entry(_graph(in_one_pass)),
        "the same, XLA": Entry(_graph(in_one_pass, jit=True)),
        "fslcore, layer": Entry(_graph(by_layer)),
        "fslcore, layer, XLA": Entry(_graph(by_layer, jit=True)),
        "fslcore, NumPy": Entry(_numpy(layer, store, rows)),
        "the gather alone": Entry(_graph(lambda _: ops.gather_images(images, indices))),
    } | peer_entries(store, rows)


def work(batch: int, side: int, channels: int) -> Work:
    """The bytes of the images that are written, float32; to read them, a quarter as many, is not counted."""
    return Work(4 * batch * side**2 * channels, "B")


def _numpy(layer: RandomAffine, store: Any, rows: Any) -> Callable[[], list[Any]]:
    sizes, numbers = (*store.shape[1:3],) * 2, np.arange(len(rows))

    def call() -> list[Any]:
        transforms = kernels.affine_transforms(layer.distributions, sizes, numbers, 0, 1)
        return [kernels.gather_affine(store, rows, transforms)]

    return call


def _graph(function: Callable[[Any], Any], jit: bool = False) -> Callable[[], list[Any]]:
    traced, step = tf.function(function, jit_compile=jit, autograph=False), tf.constant(1, tf.int64)
    return lambda: [traced(step)]

# SPDX-License-Identifier: MIT
"""`embed_store`: the embeddings of a store's images, made once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.data import EmbeddingStore, ImageStore, cache, embedding_file

FloatArray = npt.NDArray[np.float32]
# Called as progress(done, total, what), as for `fslcore.data.load`.
Progress = Callable[[int, int, str], object]

_MOST_AT_A_TIME = 64
_BLOCK_ROWS = 512  # embeddings that an interruption may cost
_VERSION = 1  # in the name of the file: raise it whenever the embeddings change


def embed_store(
    encoder: keras.Layer,
    store: ImageStore,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    keep: bool = True,
    progress: Progress | None = None,
) -> EmbeddingStore:
    """Embeds every image of a store, or reads the embeddings that were made before.

    They are kept under the content of the store and of the encoder: another weight, another pixel or another
    label makes other embeddings. Embed the whole store, and divide the embeddings: they have the same
    methods, and the same parts as the images.

    Args:
        encoder: A built Keras model or layer, float images `[B, H, W, C]` of 0 to 1 -> `[B, D]`; more axes
            are flattened. It runs as a graph, at most 64 images at a time.
        store: The images.
        cache_dir: Folder of the cache; the environment variable FSLCORE_CACHE_DIR, then the user's cache if
            None.
        keep: False embeds without the cache.
        progress: Called as `progress(done, total, "embedding images")`, first with the number that an
            interrupted call has left. Not called if the cache serves them all.

    Returns:
        The embeddings float32 [N, D], a memory map where they are kept. There is a warning if the cache
        cannot be written.

    Raises:
        ArgumentError: The encoder is not built, is for images of another shape, or embeds an image as
            something else than finite numbers.

    Example:
        >>> store = fsl.data.load("emoji", image_size=64)  # doctest: +SKIP
        >>> encoder = fsl.encoders.pretrained("efficientnet-lite0", image_size=64)  # doctest: +SKIP
        >>> parts = fsl.data.default_split(embed_store(encoder, store))  # doctest: +SKIP
    """
    _check(encoder, store)
    digest = encoder_digest(encoder)
    blocks = _Blocks(encoder, store, progress)
    if not keep:
        return _stored(np.concatenate(list(blocks(0))), store, digest)
    name = f"embeddings-{store.content_hash[:16]}-{digest[:16]}-r{_VERSION}"
    path = cache.directory(cache_dir) / name
    embeddings = embedding_file.read(path, len(store))
    if embeddings is None:
        try:
            embeddings = embedding_file.write(path, len(store), blocks)
        except OSError as error:
            warnings.warn(
                f"could not keep the embeddings of {store.name} in {path}: {error.strerror or error}; "
                "cache_dir or FSLCORE_CACHE_DIR names another folder",
                stacklevel=2,
            )
            embeddings = np.concatenate(list(blocks(0)))
    return _stored(embeddings, store, digest)


def encoder_digest(encoder: keras.Layer) -> str:
    """BLAKE2b digest (32 hex digits) of the layers of an encoder and their weights.

    It depends neither on the names of layers, which count on from model to model, nor on what is trainable.
    """
    digest = hashlib.blake2b(digest_size=16)
    layers = [layer for layer in encoder._flatten_layers() if not getattr(layer, "layers", None)]
    for layer in layers:
        config = {key: value for key, value in layer.get_config().items() if key not in ("name", "trainable")}
        described = json.dumps(config, sort_keys=True, default=lambda value: type(value).__name__)
        digest.update(f"{type(layer).__name__} {described}\n".encode())
    for model in encoder._flatten_layers():
        outputs = keras.tree.flatten(getattr(model, "outputs", None) or [])
        operations = {id(operation): i for i, operation in enumerate(getattr(model, "operations", ()))}
        places = [operations.get(id(output._keras_history.operation)) for output in outputs]
        digest.update(f"{places}\n".encode())
    for variable in encoder.weights:
        value = np.ascontiguousarray(variable.value.numpy())
        digest.update(f"{value.dtype} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


class _Blocks:
    """The embeddings of a store from any row on, block by block."""

    def __init__(self, encoder: keras.Layer, store: ImageStore, progress: Progress | None) -> None:
        self.store, self.progress = store, progress
        pixels = math.prod(store.image_shape[:2])
        own = getattr(encoder, "images_at_a_time", None)
        self.at_a_time = own or max(1, min(_MOST_AT_A_TIME, 2**20 // max(1, pixels)))

        def embed(images: tf.Tensor) -> tf.Tensor:
            found = encoder(images, training=False)
            return tf.cast(tf.reshape(found, (tf.shape(found)[0], -1)), tf.float32)

        # A graph frees each activation as soon as the next layer has read it.
        spec = tf.TensorSpec([None, *store.image_shape], tf.float32)
        self.embed = tf.function(embed, autograph=False, input_signature=[spec])

    def __call__(self, first: int) -> Iterator[FloatArray]:
        total = len(self.store)
        self._tell(first, total)
        for start in range(first, total, _BLOCK_ROWS):
            end, parts = min(start + _BLOCK_ROWS, total), []
            for row in range(start, end, self.at_a_time):
                rows = np.arange(row, min(row + self.at_a_time, end))
                parts.append(_finite(self.embed(tf.constant(self.store.gather(rows))).numpy(), rows))
                self._tell(int(rows[-1]) + 1, total)
            yield np.concatenate(parts)

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(done, total, "embedding images")


def _check(encoder: Any, store: Any) -> None:
    if not isinstance(encoder, keras.Layer) or not encoder.built:
        raise ArgumentError(
            "encoder", "must be a built Keras model or layer", described=type(encoder).__name__
        )
    if not isinstance(store, ImageStore):
        raise ArgumentError("store", "must be an ImageStore", described=type(store).__name__)
    shape = getattr(encoder, "input_shape", None)
    known = shape[1:] if isinstance(shape, tuple) and len(shape) == 4 else (None, None, None)
    if any(a not in (None, b) for a, b in zip(known, store.image_shape, strict=True)):
        raise ArgumentError(
            "store",
            f"must hold images {list(known)} for this encoder",
            described=f"{list(store.image_shape)}",
        )


def _finite(embeddings: FloatArray, rows: npt.NDArray[Any]) -> FloatArray:
    wrong = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if wrong.size:
        raise ArgumentError(
            "encoder",
            "must embed every image as finite numbers",
            described=f"NaN or infinity for image {rows[wrong[0]]}",
        )
    return embeddings


def _stored(embeddings: FloatArray, store: ImageStore, digest: str) -> EmbeddingStore:
    return EmbeddingStore(
        embeddings,
        store.labels,
        store.groups,
        store.class_names,
        store.group_names,
        store.name,
        store.parts,
        store.part_names,
        store.preparation,
        digest,
    )

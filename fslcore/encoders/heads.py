# SPDX-License-Identifier: MIT
"""Heads: small networks on embeddings, and an encoder with a head.

A head takes embeddings as an `EmbeddingStore` gives them, as images of one pixel `[B, 1, 1, D]`. So a learner
is made of a head alone and trained on embeddings in seconds; `with_head` then puts it behind its encoder.
"""

from __future__ import annotations

import keras
from keras import layers

from fslcore.arguments import ArgumentError, as_float, check_at_least
from fslcore.data import EmbeddingStore
from fslcore.encoders.headed import HeadedEncoder
from fslcore.encoders.imagenet import PretrainedEncoder
from fslcore.layers import CentredPCA, Standardization, WithinClassWhitening


def pca_head(train: EmbeddingStore, components: int | None = 256, power: float = 0.25) -> keras.Sequential:
    """The head that needs no training: `layers.CentredPCA` of the embeddings of the training classes.

    Args:
        train: The embeddings; never those of the classes that are to be told apart.
        components: Number of directions, at most D; None for all.
        power: Of the eigenvalues.

    Returns:
        A frozen model, `[B, 1, 1, D]` -> `[B, components]` of length 1, for
        `Prototypical(head, metric="cosine")`.

    Raises:
        ArgumentError: As for `CentredPCA`, or `train` is no `EmbeddingStore`.
    """
    _check(train)
    pca = CentredPCA(components, power)
    head = keras.Sequential([keras.Input(train.image_shape), pca], name="pca_head")
    pca.adapt(train)
    return head


def whitening_head(train: EmbeddingStore, shrinkage: float = 1.0) -> keras.Sequential:
    """A head in closed form, from the labels of the training classes: `layers.WithinClassWhitening`.

    Args:
        train: The embeddings of the training classes.
        shrinkage: See `layers.WithinClassWhitening`.

    Returns:
        A frozen model, `[B, 1, 1, D]` -> `[B, D]` of length 1, for `Prototypical(head, metric="cosine")`.

    Raises:
        ArgumentError: As for `WithinClassWhitening`, or `train` is no `EmbeddingStore`.
    """
    _check(train)
    layer = WithinClassWhitening(shrinkage)
    head = keras.Sequential([keras.Input(train.image_shape), layer], name="whitening_head")
    layer.adapt(train)
    return head


def linear_head(train: EmbeddingStore, width: int = 256, dropout: float = 0.3) -> keras.Sequential:
    """A linear layer to train on embeddings, after `layers.Standardization`; rows of length 1.

    Args:
        train: The embeddings of the training classes, of which mean and deviation are taken.
        width: Of the new embeddings.
        dropout: Share of the coordinates that are left out while training.

    Returns:
        A model with one trainable layer, `[B, 1, 1, D]` -> `[B, width]`, for instance for
        `Siamese(head, "euclidean", output="embeddings")`.

    Raises:
        ArgumentError: A number is out of range, or `train` is no `EmbeddingStore`.
    """
    check_at_least("width", width, 1)
    if not 0 <= as_float("dropout", dropout) < 1:
        raise ArgumentError("dropout", "must be at least 0 and below 1", dropout)
    _check(train)
    stack = [
        keras.Input(train.image_shape),
        Standardization().adapt(train),
        layers.Dropout(dropout),
        layers.Dense(width, kernel_initializer="orthogonal"),
        layers.UnitNormalization(),
    ]
    return keras.Sequential(stack, name="linear_head")


def with_head(encoder: keras.Model, head: keras.Model) -> keras.Model:
    """An encoder followed by a head: images -> what the head makes of their embeddings.

    The layers are shared, not copied. A `PretrainedEncoder` stays one, and takes uint8 too; any other becomes
    a `HeadedEncoder`, which takes the encoder's own embeddings too.

    Args:
        encoder: A built model, images `[B, H, W, C]` -> `[B, D]`.
        head: A built model of embeddings, `[B, 1, 1, D]` or `[B, D]`.

    Raises:
        ArgumentError: The widths differ.
    """
    width, wanted = encoder.output_shape[-1], head.input_shape[-1]
    if width != wanted:
        raise ArgumentError(
            "head",
            f"must take embeddings of {width} numbers, as {encoder.name!r} makes them",
            described=f"{wanted}",
        )
    if isinstance(encoder, PretrainedEncoder):
        return encoder.with_head(head)
    return HeadedEncoder(encoder, head)


def _check(train: object) -> None:
    if not isinstance(train, EmbeddingStore):
        raise ArgumentError("train", "must be an EmbeddingStore", described=type(train).__name__)

# SPDX-License-Identifier: MIT
"""What a model says of images, and of pairs of them: embeddings, kernel values, scores of classes."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fslcore import kernels
from fslcore.arguments import METRICS, ArgumentError, check_one_of
from fslcore.data import ImageStore
from fslcore.data.labelling import distinct
from fslcore.layers import GramMatrix
from fslcore.layers.pairwise import is_similarity

Floats = npt.NDArray[Any]

# Those without anything to learn. All pairs of more images are no picture, and gigabytes.
KERNELS = tuple(metric for metric in METRICS if metric != "weighted_manhattan")
MOST_IMAGES = 5000
# What stands before the last layer of a model: kept, as the first prediction of a new one traces it.
_ENCODERS: weakref.WeakKeyDictionary[keras.Model, keras.Model] = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Images with labels.

    Attributes:
        images: [N, H, W, C], as the model takes them.
        labels: int [N], places in `names`.
        names: of the classes.
    """

    images: Floats
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def renumbered(self, names: tuple[str, ...]) -> Labelled:
        """The same images, with the labels as places in another list of names, which has all of these."""
        places = np.asarray([names.index(name) for name in self.names], np.int64)
        return Labelled(self.images, places[self.labels], names)


class Values(NamedTuple):
    """Values of pairs.

    Attributes:
        matrix: float32 [N, M].
        larger_is_alike: whether a larger value means more alike.
        label: what they are.
    """

    matrix: Floats
    larger_is_alike: bool
    label: str


def labelled(argument: str, data: Any, least: int = 1) -> Labelled:
    """A set of images with labels: an `ImageStore`, or (images, labels).

    Args:
        argument: name of the argument, for messages.
        data: the store, whose images are float of 0 to 1; or images [N, ...] as the model takes them, and
            labels [N], all integers or all strings.
        least: least number of images.

    Raises:
        ArgumentError: it is neither, or has too few or too many images.
    """
    if isinstance(data, ImageStore):
        count, names, labels = len(data), data.class_names, np.asarray(data.labels, np.int64)
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        names, found = distinct(argument, data[1])
        labels = found.astype(np.int64)
        count = len(labels)
        if len(data[0]) != count:
            raise ArgumentError(
                argument, "must have a label for each image", described=f"{len(data[0])} and {count}"
            )
    else:
        raise ArgumentError(argument, "must be an ImageStore or (images, labels)", type(data).__name__)
    if not least <= count <= MOST_IMAGES:
        raise ArgumentError(
            argument, f"must have {least} to {MOST_IMAGES:,} images (`take` of a store chooses some)", count
        )
    images = data.gather(np.arange(count)) if isinstance(data, ImageStore) else np.asarray(data[0])
    return Labelled(images, labels, tuple(names))


def joint_names(*sets: Labelled) -> tuple[str, ...]:
    """The names of all classes of some sets that have images, each once, in order of appearance."""
    return tuple(dict.fromkeys(each.names[label] for each in sets for label in np.unique(each.labels)))


def embeddings_of(model: keras.Model, images: Floats, encoder: keras.Layer | None = None) -> Floats:
    """Embeddings float32 [N, D], of a learner, of what stands before a `GramMatrix`, or the model's outputs.

    Args:
        model: the model that is trained.
        images: [N, ...].
        encoder: the model whose outputs are the embeddings; None: as above.

    Raises:
        ArgumentError: the outputs of the model depend on the other images of a batch, or are not one array.
    """
    if encoder is None and hasattr(model, "embed"):
        return np.asarray(model.embed(images), np.float32)
    network = encoder if encoder is not None else _before_gram(model)
    found = network.predict(images, verbose=0) if hasattr(network, "predict") else network(images)
    if isinstance(found, (dict, list, tuple)) or np.asarray(found).shape[:1] != (len(images),):
        raise ArgumentError(
            "encoder", "must return an embedding for each image", described=f"{network.name!r} with others"
        )
    return np.asarray(found, np.float32).reshape(len(images), -1)


def values_of(
    model: keras.Model,
    images: Floats,
    others: Floats | None = None,
    metric: str | None = None,
    encoder: keras.Layer | None = None,
) -> Values:
    """The kernel of a model, or a metric of embeddings, on all pairs of images.

    Args:
        model: the model that is trained.
        images: [N, ...].
        others: [M, ...]; None: the same images.
        metric: of the embeddings; None: the kernel that the model has, or its metric, or "euclidean".
        encoder: as for `embeddings_of`.
    """
    first = embeddings_of(model, images, encoder)
    second = None if others is None else embeddings_of(model, others, encoder)
    gram = _gram(model)
    if metric is None and gram is not None:
        matrix = np.asarray(
            gram.pairwise(tf.constant(first), None if second is None else tf.constant(second))
        )
        alike = bool(getattr(model, "larger_is_alike", is_similarity(gram)))
        name = gram.kernel if isinstance(gram.kernel, str) else gram.kernel.name
        return Values(matrix, alike, f"kernel {name}")
    own = getattr(model, "metric", None)
    metric = metric or (own if own in KERNELS else "euclidean")
    return Values(kernels.pairwise(first, second, metric=metric), metric == "dot", f"{metric} of embeddings")


def class_scores_of(
    model: keras.Model,
    queries: Floats,
    support: Labelled,
    metric: str | None = None,
    encoder: keras.Layer | None = None,
) -> Floats:
    """Scores [Q, C] of queries for each class of a support set, larger = more alike.

    By `class_scores` of a learner; of another model, or with a `metric`, the means of the values of pairs.

    Args:
        model: the model that is trained.
        queries: [Q, ...].
        support: at least one image of each class.
        metric: as for `values_of`.
        encoder: as for `embeddings_of`.
    """
    order = np.argsort(support.labels, kind="stable")
    counts = np.bincount(support.labels, minlength=len(support.names))
    if metric is None and encoder is None and hasattr(model, "class_scores"):
        rows = embeddings_of(model, support.images[order])
        ragged = tf.RaggedTensor.from_row_lengths(tf.constant(rows), counts)
        return np.asarray(model.class_scores(ragged, tf.constant(embeddings_of(model, queries))))
    values = values_of(model, queries, support.images[order], metric, encoder)
    sums = np.add.reduceat(values.matrix, np.r_[0, np.cumsum(counts)[:-1]], axis=1)
    return sums / counts if values.larger_is_alike else -sums / counts


def check_metric(metric: str | None) -> None:
    """Raises ArgumentError for a metric of embeddings that is none."""
    if metric is not None:
        check_one_of("metric", metric, KERNELS)


def _gram(model: keras.Model) -> GramMatrix | None:
    """The layer that compares the embeddings of a model with each other, if it has one."""
    layers = [getattr(model, "gram", None), *model.layers[-1:]]
    return next((layer for layer in layers if isinstance(layer, GramMatrix)), None)


def _before_gram(model: keras.Model) -> keras.Model:
    """The part of a model that embeds images one by one."""
    gram = _gram(model)
    if gram is not None:
        if model not in _ENCODERS:
            _ENCODERS[model] = keras.Model(model.inputs, gram.input)
        return _ENCODERS[model]
    if any(getattr(layer, "compares_batch", False) for layer in model._flatten_layers()):
        raise ArgumentError(
            "encoder",
            "must be given for a model whose outputs depend on the other images of a batch",
            described=f"none for {model.name!r}",
        )
    return model

# SPDX-License-Identifier: MIT
"""What adapting learners ask of a network: its shape, its batch normalisation, what tasks leave in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from fslcore.data import ImageStore
from fslcore.layers.normalization import FusedBatchNormalization
from fslcore.learners.inner import Tensors

NORMALIZATIONS = ("batch", "moving", "frozen")


def check_classifier(network: Any) -> None:
    """Raises ValueError unless it is a built model, images `[B, H, W, C]` -> logits `[B, n_way]`."""
    if not isinstance(network, keras.Model) or not network.built:
        raise ValueError(f"network must be a built Keras model, received network={network!r}")
    inputs, outputs = (getattr(network, f"{side}_shape", None) for side in ("input", "output"))
    if not is_known(inputs, 4) or not is_known(outputs, 2):
        raise ValueError(
            "network must map images of a known shape [B, H, W, C] to logits [B, n_way], "
            f"received {network.name!r} from {inputs} to {outputs}"
        )


def is_known(shape: Any, rank: int) -> bool:
    """Whether a shape has this rank, and no unknown size but that of the batch."""
    return isinstance(shape, tuple) and len(shape) == rank and None not in shape[1:]


def check_store(store: ImageStore, network: keras.Model) -> None:
    """Raises ValueError unless the images are of the shape that the network takes."""
    shape = network.input_shape[1:]
    if store.image_shape != shape:
        raise ValueError(
            f"store must hold images {list(shape)} for this network, received {list(store.image_shape)}"
        )


def moves_and_seeds(before: Tensors, after: Tensors) -> tuple[Tensors, Tensors]:
    """What one task does to the variables that are not trained, to be added up and kept for `settle`.

    Args:
        before: their values, the same for all tasks.
        after: their values after the task.

    Returns:
        How far the averages have moved, exactly 0 for those that stood still; the seeds of random layers.
    """
    start, _ = _by_kind(before, before)
    end, seeds = _by_kind(after, before)
    return [b - a for a, b in zip(start, end, strict=True)], seeds


def settle(variables: list[keras.Variable], before: Tensors, moves: Tensors, seeds: Tensors) -> None:
    """Gives the variables that are not trained their values after the tasks.

    Args:
        variables: the variables.
        before: their values before the tasks.
        moves: means over the tasks of how far the averages moved.
        seeds: those of the last task: a mean of random seeds would be none.
    """
    averages, generators = _by_kind(variables, before)
    for variable, move in zip(averages, moves, strict=True):
        variable.assign_add(move)
    for variable, value in zip(generators, seeds, strict=True):
        variable.assign(value)


def checked_normalization(network: keras.Model, asked: str | None) -> str | None:
    """The policy of `AdaptiveLearner` that `asked` means for the network.

    Raises:
        ValueError: there is no such policy, or it does not go with the network.
    """
    has_any = bool(batch_normalisations(network))
    if asked == "auto":
        return "batch" if has_any else None
    if asked is not None and asked not in NORMALIZATIONS:
        raise ValueError(
            f"normalization must be one of {', '.join(NORMALIZATIONS)}, auto or None, "
            f"received normalization={asked!r}"
        )
    if (asked is not None) != has_any:
        raise ValueError(
            f"normalization must be {'one of ' + ', '.join(NORMALIZATIONS) if has_any else 'None'} for the "
            f"network {network.name!r}, which has {'' if has_any else 'no '}batch normalisation, "
            f"received normalization={asked!r}"
        )
    return asked


def check_twice_differentiable(network: keras.Model, frozen: bool) -> None:
    """Raises ValueError for layers whose second derivative TensorFlow gets wrong without a word.

    They take their statistics from `tf.nn.moments`, which holds the mean fixed inside the variance: right for
    a gradient, but not for the derivative of that. `FusedBatchNormalization` does so where it is not fused.

    Args:
        network: a built model.
        frozen: whether batch normalisation goes by the moving averages.
    """
    for layer in network._flatten_layers():
        by_batch = isinstance(layer, keras.layers.BatchNormalization) and not frozen
        fused = isinstance(layer, FusedBatchNormalization) and layer.scale and layer.center
        by_image = isinstance(layer, (keras.layers.LayerNormalization, keras.layers.GroupNormalization))
        if by_image or (by_batch and not (fused and layer.input_spec.ndim == 4)):
            raise ValueError(
                f"second_order must be False for a network with the layer {layer.name!r}, received True: "
                f"TensorFlow's second derivative of {type(layer).__name__} is wrong; that of "
                "fslcore.layers.FusedBatchNormalization on images, with scale and center, is right"
            )


def batch_normalisations(network: keras.Model) -> list[keras.Layer]:
    """Every layer of the network that keeps moving averages."""
    return [layer for layer in network._flatten_layers() if hasattr(layer, "moving_mean")]


@contextlib.contextmanager
def averages_of_one_batch(network: keras.Model) -> Iterator[None]:
    """Makes the moving averages forget all but the batch they see."""
    layers = batch_normalisations(network)
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _by_kind(values: list[Any], like: Tensors) -> tuple[list[Any], list[Any]]:
    """Those that stand where `like` has averages, and those where it has the seeds of random layers."""
    kinds: tuple[list[Any], list[Any]] = [], []
    for value, tensor in zip(values, like, strict=True):
        kinds[not tensor.dtype.is_floating].append(value)
    return kinds

# SPDX-License-Identifier: MIT
"""Batch normalisation in networks that are adapted to tasks: the policies, and what they do to the averages.

| policy | inner steps are normalised by | moving averages | a query is normalised by |
|---|---|---|---|
| "batch" | the statistics of the mini-batch | stay as they are | the statistics of the support |
| "moving" | the statistics of the mini-batch | are learnt with the weights | the moving averages |
| "frozen" | the moving averages | stay as they are | the moving averages |
| None | there is no batch normalisation | | |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from fslcore.arguments import ArgumentError
from fslcore.learners.inner import Tensors

NORMALIZATIONS = ("batch", "moving", "frozen")


def checked_normalization(network: keras.Model, asked: str | None) -> str | None:
    """The policy for a network: `asked`, or for "auto" the one that suits it.

    Raises:
        ArgumentError: there is no such policy, or it does not suit the network.
    """
    has_any = bool(batch_normalizations(network))
    if asked == "auto":
        return "batch" if has_any else None
    policies = ", ".join(NORMALIZATIONS)
    if asked is not None and asked not in NORMALIZATIONS:
        raise ArgumentError("normalization", f"must be one of {policies}, auto or None", asked)
    if (asked is not None) != has_any:
        raise ArgumentError(
            "normalization",
            f"must be {f'one of {policies}' if has_any else 'None'} for the network {network.name!r}, which "
            f"has {'' if has_any else 'no '}batch normalisation",
            asked,
        )
    return asked


def kept(policy: str | None, before: Tensors, after: Tensors) -> Tensors:
    """The state after a step: the new seeds of random layers, and the new averages if they are learnt."""
    if policy == "moving":
        return after
    return [a if not a.dtype.is_floating else b for b, a in zip(before, after, strict=True)]


def batch_normalizations(network: keras.Model) -> list[keras.Layer]:
    """Every layer of the network that keeps moving averages."""
    return [layer for layer in network._flatten_layers() if hasattr(layer, "moving_mean")]


@contextlib.contextmanager
def averages_of_one_batch(network: keras.Model) -> Iterator[None]:
    """Makes each moving average take the value of the next batch alone."""
    layers = batch_normalizations(network)
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

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

from typing import Any

import keras
import tensorflow as tf

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


def averages_of_one_batch(
    network: keras.Model, weights: Tensors, state: Tensors, images: tf.Tensor
) -> Tensors:
    """The state of a network whose moving averages are the statistics of one batch.

    No layer of the network is touched: other threads may use it at the same time.

    Args:
        network: a built classifier.
        weights: values of its trainable variables.
        state: values of its others.
        images: `[B, H, W, C]`.

    Returns:
        The values of the others after the batch.
    """
    with tf.init_scope():
        forgetful = _without_momentum(network, {})
    variables = [*network.trainable_variables, *network.non_trainable_variables]
    values = zip(variables, [*weights, *state], strict=True)
    with keras.StatelessScope(state_mapping=list(values)) as scope:
        forgetful.call(images, training=True)
        return [scope.get_current_value(variable) for variable in network.non_trainable_variables]


def _without_momentum(part: Any, copies: dict[int, Any]) -> Any:
    """A copy of a layer on the same variables, or of a structure of layers, whose averages forget all before.

    Keras' own copies are new layers, with new variables and new random numbers.
    """
    if isinstance(part, (list, tuple)) and type(part).__module__ == "builtins":
        return type(part)(_without_momentum(one, copies) for one in part)
    if isinstance(part, list):  # Keras' lists
        return [_without_momentum(one, copies) for one in part]
    if isinstance(part, dict):
        return {name: _without_momentum(one, copies) for name, one in part.items()}
    if not isinstance(part, keras.Layer):
        return part
    if id(part) in copies:
        return copies[id(part)]
    if isinstance(part, keras.Model) and hasattr(part, "outputs"):
        copy = keras.models.clone_model(part, clone_function=lambda layer: _without_momentum(layer, copies))
        copies[id(part)] = copy
        return copy
    copy = copies[id(part)] = object.__new__(type(part))
    vars(copy).update(vars(part))
    vars(copy).update(_inbound_nodes=[], _outbound_nodes=[], _losses=[], _loss_ids=set())
    if hasattr(part, "moving_mean"):
        vars(copy)["momentum"] = 0.0
    for name, value in vars(part).items():
        if isinstance(value, (list, tuple, dict, keras.Layer)) and not name.endswith("_nodes"):
            vars(copy)[name] = _without_momentum(value, copies)
    return copy

# SPDX-License-Identifier: MIT
"""What the learners that adapt accept as arguments of `compile` and `fit`, and what they refuse."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.replicas import refuse_replicas


def refuse_strategy(learner: keras.Model) -> None:
    """Refuses several replicas, of the current strategy or of the one that the learner was made under.

    Raises:
        NotImplementedError: there are several.
    """
    name = type(learner).__name__
    refuse_replicas(name)
    if learner.distribute_strategy.num_replicas_in_sync > 1:
        with learner.distribute_strategy.scope():
            refuse_replicas(name)


def refuse_weights(
    learner: keras.Model, method: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]
) -> None:
    """Raises ArgumentError if a method of Keras is given weights of classes or of samples."""
    given = inspect.signature(method).bind_partial(learner, *arguments, **options).arguments
    for name in ("class_weight", "sample_weight"):
        if given.get(name) is not None:
            raise ArgumentError(
                name,
                f"must be None for {type(learner).__name__}, whose classes and images all count alike",
                described=f"{name} of the type {type(given[name]).__name__}",
            )


def without_weights(learner: keras.Model, data: Any) -> list[tf.Tensor]:
    """The tensors of a batch; `train_on_batch` appends weights that are None.

    Raises:
        ArgumentError: the batch has a third part, which Keras takes as sample weights.
    """
    parts = data if isinstance(data, (list, tuple)) else [data]
    parts = [tf.convert_to_tensor(part) for part in parts if part is not None]
    if len(parts) == 3:
        raise ArgumentError(
            "sample_weight",
            f"must be None for {type(learner).__name__}, whose classes and images all count alike",
            described=f"a batch of three tensors {', '.join(str(part.shape) for part in parts)}",
        )
    return parts


def is_cross_entropy_of_logits(loss: Any) -> bool:
    """Whether a loss is the one that the learners have anyway."""
    return type(loss) is keras.losses.SparseCategoricalCrossentropy and loss.get_config() == {
        **keras.losses.SparseCategoricalCrossentropy(from_logits=True).get_config(),
        "name": loss.name,
    }


def check_loss(loss: Any, network: keras.Model) -> None:
    """Raises ArgumentError for a loss of probabilities while the network returns logits, or for several."""
    if isinstance(loss, (list, tuple, dict)):
        raise ArgumentError("loss", "must be one loss of labels int [B] and logits [B, n_way]", loss)
    softmax = _ends_in_softmax(network)
    if takes_probabilities(loss) and not softmax:
        raise ArgumentError(
            "loss",
            f"must be a loss of logits (from_logits=True), which the network {network.name!r} returns",
            loss,
        )
    if softmax and not takes_probabilities(loss) and (loss is None or is_cross_entropy_of_logits(loss)):
        warnings.warn(
            f"the network {network.name!r} ends in a softmax, but the cross-entropy takes its outputs as "
            "logits: remove the softmax, or compile with keras.losses.SparseCategoricalCrossentropy()",
            stacklevel=4,
        )


def takes_probabilities(loss: Any) -> bool:
    """Whether a loss of Keras expects probabilities of the classes."""
    names = ("sparse_categorical_crossentropy", "crossentropy", "ce")
    function = keras.losses.sparse_categorical_crossentropy
    return (
        (isinstance(loss, str) and loss.lower() in names)
        or loss is function
        or getattr(loss, "from_logits", None) is False
    )


def check_compiled_loss(compiled: Callable[..., Any], loss: Any, n_way: int) -> None:
    """Raises ArgumentError unless the loss returns a number for labels and logits."""
    try:
        value = compiled(tf.zeros([2], tf.int32), tf.zeros([2, n_way]))
    except Exception as error:
        raise ArgumentError(
            "loss",
            f"must take labels int [B] and logits [B, {n_way}], but fails ({type(error).__name__})",
            loss,
        ) from error
    if tf.convert_to_tensor(value).shape.rank != 0:
        raise ArgumentError("loss", "must return one number for a batch", loss)


def checked_metrics(metrics: Any, own: Sequence[str]) -> list[Any]:
    """The metrics that are not among those that a learner has anyway.

    Raises:
        ArgumentError: they are not a list, or one has the name of a metric of the learner.
    """
    if metrics is None:
        return []
    if not isinstance(metrics, (list, tuple)):
        raise ArgumentError("metrics", "must be a list", metrics)
    metrics = [each for each in metrics if not (isinstance(each, str) and each in ("accuracy", "acc"))]
    for metric in metrics:
        if getattr(metric, "name", None) in own:
            raise ArgumentError(
                "metrics", f"must have names other than {', '.join(own)}, which are reported anyway", metric
            )
    return metrics


def check_rate(argument: str, optimizer: keras.Optimizer) -> None:
    """Raises ArgumentError for a learning rate that cannot train; warns of one that is 0."""
    rate = getattr(optimizer, "inner_optimizer", optimizer).get_config().get("learning_rate")
    if not isinstance(rate, float):
        return  # a schedule
    if not (math.isfinite(rate) and rate >= 0):
        raise ArgumentError(argument, "must have a learning rate that is finite and not negative", rate)
    if rate == 0:
        warnings.warn(
            f"{argument} has the learning rate 0: fit changes no weight until a callback raises it",
            stacklevel=4,
        )


def _ends_in_softmax(network: keras.Model) -> bool:
    last = network.layers[-1] if network.layers else None
    return isinstance(last, keras.layers.Softmax) or (
        getattr(last, "activation", None) is keras.activations.softmax
    )

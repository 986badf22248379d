# SPDX-License-Identifier: MIT
"""Predictions of models that compare a batch with itself are made in one batch.

`keras.Model.predict` puts the outputs of its batches one below the other. Of matrices [batch, batch] that
makes no matrix of all samples, and scores against the means of a batch are not those against the means of
all. A layer cannot see the end of a batch, so `keras.Model.predict` itself is changed for models with such a
layer: arrays are one batch, whatever `batch_size` says, and several batches of a dataset are refused.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras

from fslcore.arguments import ArgumentError
from fslcore.replicas import count_replicas


def compares_batch(model: keras.Model) -> bool:
    """Whether the outputs of a model depend on the other samples of a batch."""
    own = getattr(model, "compares_batch", None)
    if own is not None:
        return bool(own)
    return any(getattr(layer, "compares_batch", False) for layer in model._flatten_layers())


class OneBatch(keras.callbacks.Callback):
    """Ends a prediction of several batches or replicas, unless it has one number per sample.

    Args:
        is_known: Whether it is known that there is one batch.
    """

    def __init__(self, is_known: bool) -> None:
        super().__init__()
        self.is_known = is_known

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the outputs of a batch, or of `steps_per_execution` batches."""
        outputs = keras.tree.flatten((logs or {}).get("outputs"))
        matrices = [output.shape for output in outputs if len(output.shape) > 1]
        several = batch >= self.model.steps_per_execution
        if self.model.steps_per_execution > 1:  # outputs of several batches may have arrived as one
            several = several or any(shape[0] != shape[1] for shape in matrices)
        several = several and not self.is_known
        with self.model.distribute_strategy.scope():
            replicas = count_replicas()
        if matrices and (several or replicas > 1):
            raise ArgumentError(
                "x",
                f"must be arrays or one batch, as {self.model.name!r} compares the samples of a batch "
                "(or embed them and compare embeddings, as `embed` and `class_scores` of a learner do)",
                described="several batches" if several else f"a batch for {replicas} replicas",
            )


def _checked(predict: Any) -> Any:
    parameters = inspect.signature(predict)

    @functools.wraps(predict)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if not compares_batch(args[0]):
            return predict(*args, **kwargs)
        bound = parameters.bind(*args, **kwargs)
        first: Any = next(iter(keras.tree.flatten(bound.arguments["x"])), None)
        is_known = hasattr(first, "shape") and bound.arguments.get("steps") is None
        if is_known:
            bound.arguments["batch_size"] = max(int(first.shape[0]), 1)
        given = bound.arguments.get("callbacks")
        if isinstance(given, keras.callbacks.CallbackList):
            given = given.callbacks
        bound.arguments["callbacks"] = [*(keras.tree.flatten(given) if given else ()), OneBatch(is_known)]
        return predict(*bound.args, **bound.kwargs)

    vars(checked)["is_checked"] = True
    return checked


def predict_in_one_batch() -> None:
    """Changes `keras.Model.predict`; once is enough."""
    if not hasattr(keras.Model.predict, "is_checked"):
        keras.Model.predict = _checked(keras.Model.predict)

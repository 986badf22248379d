# SPDX-License-Identifier: MIT
"""Learners that adapt, such as Reptile and MAML, as a rule: a classifier fitted to the support set."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.classifier.refitted import Refitted
from fslcore.classifier.state import FloatArray, State
from fslcore.learners import MAML, AdaptiveLearner, Reptile
from fslcore.learners.inference import images_at_a_time


@dataclasses.dataclass(frozen=True, eq=False)
class Adapted:
    """The classifier that a learner makes of the support set by gradient steps; its scores are the logits.

    It is fitted to all images of all labels, and anew after a change: by `SupportSet.refit`, or by the next
    prediction, which then takes as long and warns (`Refitted`). A label with fewer images than another has
    them repeated. For another number of labels than the network was trained for, its last layer gets as many
    units, with the weights of the units that are there, in turn. The order of the images in the steps is a
    function of the set: fitted again, the classifier is the same.

    Attributes:
        learner: `Reptile` or `MAML`; any `AdaptiveLearner` for the number of labels that it was trained for.
    """

    learner: AdaptiveLearner = dataclasses.field(repr=False)
    name = "adapted"
    _lock: Any = dataclasses.field(default_factory=threading.Lock, init=False, repr=False)
    _learners: dict[int, AdaptiveLearner] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __call__(self, queries: FloatArray, state: State) -> FloatArray:
        """The logits of images float32 [n, H * W * C] of 0 to 1."""
        if not self.is_fitted(state):
            warnings.warn(
                f"the classifier is fitted anew to {len(state.labels)} labels, since the support set has "
                "changed; refit() does it before the next prediction",
                Refitted,
                stacklevel=2,
            )
        classifier = self.fitted(state)
        images = tf.constant(queries.reshape(-1, *self.learner.network.input_shape[1:]))
        at_a_time = images_at_a_time(images.shape[1:])
        parts = [
            np.asarray(classifier.predict_on_batch(images[first : first + at_a_time]), np.float32)
            for first in range(0, len(queries), at_a_time)
        ]
        return np.concatenate(parts)

    def is_fitted(self, state: State) -> bool:
        """Whether the classifier of a state is there already."""
        return state.has_derived(self)

    def fitted(self, state: State) -> keras.Model:
        """The classifier of a state, images [B, H, W, C] -> logits [B, C].

        Raises:
            ArgumentError: The set has one label only, or the network cannot have as many units.
        """
        with self._lock:  # one thread fits, the others wait for it
            return state.derived(self, lambda: self._fit(state))

    def _fit(self, state: State) -> keras.Model:
        n_way = len(state.labels)
        if n_way < 2:
            raise ArgumentError(
                "support set", "must have at least 2 labels for the rule adapted", described=f"{n_way} label"
            )
        order, starts = state.by_label()
        rows = np.arange(len(state)) if order is None else order
        turns = np.arange(state.counts.max())[np.newaxis] % state.counts[:, np.newaxis]
        images = state.rows[rows[starts[:, np.newaxis] + turns]]
        learner = self._of_width(n_way)
        return learner.adapt(images.reshape(*turns.shape, *learner.network.input_shape[1:]))

    def _of_width(self, n_way: int) -> AdaptiveLearner:
        """The learner, with a unit for each of so many labels."""
        if n_way == self.learner.n_way:
            return self.learner
        if n_way not in self._learners:
            if not isinstance(self.learner, (Reptile, MAML)):
                raise ArgumentError(
                    "support set",
                    f"must have the {self.learner.n_way} labels that this {type(self.learner).__name__} was "
                    "trained for",
                    described=f"{n_way} labels",
                )
            network = _with_units(self.learner.network, n_way)
            described = keras.saving.serialize_keras_object(network)
            learner = type(self.learner).from_config({**self.learner.get_config(), "network": described})
            learner.network.set_weights(network.get_weights())
            self._learners.clear()  # the functions of each take memory
            self._learners[n_way] = learner
        return self._learners[n_way]


def _with_units(network: keras.Model, count: int) -> keras.Model:
    """A copy of a classifier whose last layer has `count` units, with the weights of its own in turn."""
    last = network.layers[-1]
    if type(last) is not keras.layers.Dense or not network.inputs:
        raise ArgumentError(
            "support set",
            f"must have {network.output_shape[-1]} labels for the network {network.name!r}, which is no "
            "Sequential or functional model with a Dense layer at its end",
            described=f"{count} labels",
        )

    def cloned(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        return type(layer).from_config({**config, "units": count} if layer is last else config)

    copy = keras.models.clone_model(network, clone_function=cloned)
    turns = np.arange(count) % network.output_shape[-1]
    of_last = {id(variable) for variable in last.variables}
    for variable, original in zip(copy.variables, network.variables, strict=True):
        value = np.asarray(original)
        variable.assign(value[..., turns] if id(original) in of_last else value)
    return copy

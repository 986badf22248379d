# SPDX-License-Identifier: MIT
"""Optimizers of the inner loop, as pure functions of weights, gradients and state.

An inner step neither reads nor writes a variable: its weights exist for one task only. Keras' optimizers can
be used in this way too, but do more work per weight: they keep a momentum, for instance, even where it is 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from fslcore import ops, twins
from fslcore.arguments import ArgumentError, as_float
from fslcore.learners.inner.loop import Tensors


class InnerOptimizer(Protocol):
    """What the inner loop needs of an optimizer; `InnerSGD` and `InnerAdam` implement it."""

    def initial_state(self, weights: Sequence[Any]) -> Tensors:
        """State before the first step, as float32 tensors."""

    def update(self, weights: Tensors, gradients: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """New weights and new state."""

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""


# The registered names are those in saved models.
@keras.saving.register_keras_serializable(package="fslcore.inner", name="SGD")
@dataclasses.dataclass(frozen=True)
class InnerSGD:
    """Gradient descent: w <- w - learning_rate * gradient.

    Attributes:
        learning_rate: above 0 and finite.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        _check_above_zero("learning_rate", self.learning_rate)

    def initial_state(self, weights: Sequence[Any]) -> Tensors:  # noqa: ARG002
        """Returns no tensors: gradient descent has no state."""
        return []

    def update(self, weights: Tensors, gradients: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """One step."""
        new = [w - self.learning_rate * g for w, g in zip(weights, gradients, strict=True)]
        return new, state

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InnerSGD:
        """Builds the optimizer that `get_config` described."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="fslcore.inner", name="Adam")
@dataclasses.dataclass(frozen=True)
class InnerAdam:
    """Adam without momentum (beta_1 = 0; Kingma & Ba 2015, algorithm 1), as Reptile uses it.

    Its state is the running mean of the squared gradients, which Reptile carries from task to task, and
    beta_2 to the power of the number of steps so far.

    Attributes:
        learning_rate: above 0 and finite.
        beta_2: decay of the mean of squares, in [0, 1).
        epsilon: added to its root; above 0 and finite.
    """

    learning_rate: float
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _check_above_zero("learning_rate", self.learning_rate)
        _check_above_zero("epsilon", self.epsilon)
        if not 0 <= as_float("beta_2", self.beta_2) < 1:
            raise ArgumentError("beta_2", "must be in [0, 1)", self.beta_2)

    def initial_state(self, weights: Sequence[Any]) -> Tensors:
        """Returns zeros like the weights, and 1 = beta_2 to the power 0."""
        return [*(tf.zeros(w.shape) for w in weights), tf.ones(())]

    def update(self, weights: Tensors, gradients: Tensors, state: Tensors) -> tuple[Tensors, Tensors]:
        """One step."""
        *squares, power = state
        # The op runs on the CPU: beside a GPU it would fetch all weights in every step.
        adam_step = twins.adam_step if tf.config.list_physical_devices("GPU") else ops.adam_step
        step = adam_step(weights, gradients, squares, power, **self.get_config())
        # The arithmetic is float32, whatever the weights are.
        new = [tf.cast(value, weight.dtype) for value, weight in zip(step.weights, weights, strict=True)]
        return new, [*step.squares, step.power]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InnerAdam:
        """Builds the optimizer that `get_config` described."""
        return cls(**config)


def check_inner_optimizer(optimizer: Any) -> None:
    """Raises ArgumentError unless it has the methods of an `InnerOptimizer`; a Keras optimizer has not."""
    methods = ("initial_state", "update", "get_config")
    if isinstance(optimizer, type) or not all(callable(getattr(optimizer, name, None)) for name in methods):
        raise ArgumentError(
            "inner_optimizer", "must be learners.InnerSGD(...) or learners.InnerAdam(...)", optimizer
        )


INNER_OPTIMIZERS = {"adam": InnerAdam, "sgd": InnerSGD}  # by the names in presets and recipes


def _check_above_zero(argument: str, value: float) -> None:
    if not as_float(argument, value) > 0:
        raise ArgumentError(argument, "must be above 0", value)

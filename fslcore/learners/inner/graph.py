# SPDX-License-Identifier: MIT
"""The inner loop step by step, as ops of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.learners.inner.loop import Fitted, Snapshot, Tensors
from fslcore.learners.inner.optimizers import InnerOptimizer

# (weights, state, images, labels, context) -> (loss, logits, new state)
InnerLoss = Callable[
    [Tensors, Tensors, tf.Tensor, tf.Tensor, Any],
    tuple[tf.Tensor, tf.Tensor, Tensors],
]


@dataclasses.dataclass(frozen=True)
class GraphLoop:
    """An inner loop for any network and any loss. Gradients pass through it, and XLA compiles it.

    Attributes:
        loss: the function that each step descends on, as `AdaptiveLearner.inner_loss`.
        optimizer: the optimizer of the steps.
        variables: the variables that the weights are values of, for their names and constraints.
        scale: what the loss is multiplied by while it is differentiated: in float16, small derivatives of
            the loss itself would be 0.
    """

    loss: InnerLoss
    optimizer: InnerOptimizer
    variables: Sequence[keras.Variable] = ()
    scale: float = 1.0

    def step(
        self, at: Snapshot, images: tf.Tensor, labels: tf.Tensor, context: Any = None
    ) -> tuple[Snapshot, tf.Tensor, tf.Tensor]:
        """One step: the classifier after it, and the loss and the logits before it."""
        with tf.GradientTape() as tape:
            tape.watch(at.weights)
            loss, logits, state = self.loss(at.weights, at.state, images, labels, context)
            scaled = loss if self.scale == 1.0 else loss * self.scale
        gradients = all_gradients(tape, scaled, at.weights, self.variables)
        if self.scale != 1.0:
            gradients = [gradient / self.scale for gradient in gradients]
        weights, memory = self.optimizer.update(at.weights, gradients, at.memory)
        if any(variable.constraint is not None for variable in self.variables):
            weights = [
                weight if variable.constraint is None else variable.constraint(weight)
                for weight, variable in zip(weights, self.variables, strict=True)
            ]
        return Snapshot(weights, state, memory), loss, logits

    def fit(
        self, start: Snapshot, images: tf.Tensor, labels: tf.Tensor, order: tf.Tensor, context: Any = None
    ) -> Snapshot:
        """As `InnerLoop.fit`, as a loop in the graph: a new task may have many steps, traced once."""

        def step(i: tf.Tensor, at: Snapshot) -> tuple[tf.Tensor, Snapshot]:
            at, *_ = self.step(at, tf.gather(images, order[i]), tf.gather(labels, order[i]), context)
            return i + 1, at

        steps = tf.shape(order)[0]
        _, end = tf.while_loop(lambda i, _: i < steps, step, (0, start), parallel_iterations=1)
        return end

    def fit_unrolled(
        self, start: Snapshot, batches: Iterable[tuple[tf.Tensor, tf.Tensor]], context: Any = None
    ) -> Fitted:
        """The steps written out one after the other, for training.

        A loop inside a function that XLA compiles for a CPU would take its convolutions off their fast path.

        Args:
            start: the classifier before the first step.
            batches: images `[batch, H, W, C]` and labels `[batch]` of each step.
            context: what the loss needs beside them.

        Returns:
            The classifier after the last step, a list of the losses, and the logits before the last step.
        """
        at, losses, logits = start, [], None
        for images, labels in batches:
            at, loss, logits = self.step(at, images, labels, context)
            losses.append(loss)
        return Fitted(at, losses, logits)


def all_gradients(
    tape: tf.GradientTape, loss: tf.Tensor, weights: Tensors, variables: Sequence[keras.Variable]
) -> Tensors:
    """The gradient of a loss with respect to every weight.

    Raises:
        ArgumentError: the loss does not depend on a weight.
    """
    gradients = tape.gradient(loss, weights)
    missing = [i for i, gradient in enumerate(gradients) if gradient is None]
    if missing:
        names = ", ".join(variables[i].path if variables else f"number {i}" for i in missing)
        raise ArgumentError(
            "network",
            "must have logits that depend on every weight that is trained; freeze the others",
            described=f"weights without a gradient: {names}",
        )
    return [tf.convert_to_tensor(gradient) for gradient in gradients]

# SPDX-License-Identifier: MIT
"""One step of Adam for all tensors of a network in one compiled op, for inner loops on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from fslcore import twins
from fslcore.arguments import as_float
from fslcore.ops._library import raw_ops
from fslcore.ops._tensors import check_shape, real_list
from fslcore.tensors import real
from fslcore.twins import AdamStepResult

Tensor = Any


def adam_step(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    squares: Sequence[Tensor],
    power: Tensor,
    *,
    learning_rate: float,
    beta_2: float,
    epsilon: float,
) -> AdamStepResult:
    """One step of Adam without momentum for all tensors of a network at once.

    Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR 2015), algorithm 1 with beta_1 = 0:

        power'   = power * beta_2
        squares' = beta_2 * squares + (1 - beta_2) * gradients^2
        weights' = weights - learning_rate * sqrt(1 - power') * gradients / (sqrt(squares') + epsilon)

    Differentiable with respect to all tensors, more than once. The results depend neither on the number of
    threads nor on the instruction set, bit for bit.

    Args:
        weights: At least one tensor, of any shapes.
        gradients: One for each of the weights, in its shape.
        squares: The running mean of the squared gradients, likewise.
        power: Scalar, beta_2 to the power of the steps before this one.
        learning_rate: A Python number, like the next two.
        beta_2: The decay of the mean of squares.
        epsilon: Added to the root of that mean; with 0, a gradient that was always zero makes its weight NaN.

    Returns:
        An `AdamStepResult` of new float32 tensors; all arithmetic is in float32.

    Raises:
        ValueError: If lists differ in length, there are no weights, shapes known while tracing do not match,
            or options are not numbers.
    """
    weights, gradients, squares = (
        real_list(name, tensors)
        for name, tensors in (("weights", weights), ("gradients", gradients), ("squares", squares))
    )
    power = real("power", power)
    if not weights:
        raise ValueError("weights must hold at least one tensor, received none")
    for name, tensors in (("gradients", gradients), ("squares", squares)):
        if len(tensors) != len(weights):
            raise ValueError(
                f"{name} must hold a tensor for each of the {len(weights)} weights, received {len(tensors)}"
            )
        for i, (tensor, weight) in enumerate(zip(tensors, weights, strict=True)):
            check_shape(f"{name}[{i}]", tensor, weight.shape)
    check_shape("power", power, [])
    beta_2 = as_float("beta_2", beta_2)
    step = raw_ops.fslcore_adam_step(
        weights=weights,
        gradients=gradients,
        squares=squares,
        power=power,
        learning_rate=as_float("learning_rate", learning_rate),
        beta_2=beta_2,
        one_minus_beta_2=1.0 - beta_2,
        epsilon=as_float("epsilon", epsilon),
    )
    return AdamStepResult(*step)


@tf.RegisterGradient("FslcoreAdamStep")
def _adam_step_gradient(op: Any, *grads: Tensor) -> list[Tensor]:
    inputs = list(op.inputs)
    count = op.get_attr("N")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        step = twins.adam_step(
            inputs[:count],
            inputs[count : 2 * count],
            inputs[2 * count : 3 * count],
            inputs[-1],
            learning_rate=op.get_attr("learning_rate"),
            # Not the attribute beta_2: it is a float32, which near 1 has lost digits of 1 - beta_2.
            beta_2=1.0 - op.get_attr("one_minus_beta_2"),
            epsilon=op.get_attr("epsilon"),
        )
    return tape.gradient(tf.nest.flatten(step), inputs, output_gradients=list(grads))

# SPDX-License-Identifier: MIT
"""The inner loop: gradient steps that fit a classifier to one task.

    loop        what a loop takes and returns
    graph       step by step, as ops of the network: any network, any loss, differentiable
    compiled    all steps of all tasks as one op, for the networks that it knows
    optimizers  the optimizers of the steps

`AdaptiveLearner.inner_loop` chooses between the two implementations.
"""

from fslcore.learners.inner.compiled import CompiledLoop, compiled_loop
from fslcore.learners.inner.graph import GraphLoop, all_gradients
from fslcore.learners.inner.loop import Fitted, InnerLoop, Snapshot, Tensors
from fslcore.learners.inner.optimizers import (
    INNER_OPTIMIZERS,
    InnerAdam,
    InnerOptimizer,
    InnerSGD,
    check_inner_optimizer,
)

__all__ = [
    "INNER_OPTIMIZERS",
    "CompiledLoop",
    "Fitted",
    "GraphLoop",
    "InnerAdam",
    "InnerLoop",
    "InnerOptimizer",
    "InnerSGD",
    "Snapshot",
    "Tensors",
    "all_gradients",
    "check_inner_optimizer",
    "compiled_loop",
]

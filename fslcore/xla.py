# SPDX-License-Identifier: MIT
"""XLA on a machine with a GPU: a step that is compiled for it can hold no kernels that run on the CPU."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from fslcore import ops


def has_kernels() -> bool:
    """Whether XLA, where TensorFlow computes by default, has the compiled ops."""
    return not tf.config.list_physical_devices("GPU") or "cuda" in ops.native_libraries()


def refuse_missing_kernels(what: str) -> None:
    """Refuses to be compiled by XLA for a GPU that the compiled ops have no kernels for.

    Args:
        what: The subject of the sentence, such as a class.

    Raises:
        NotImplementedError: A function with `jit_compile=True` is being traced, and `has_kernels()` is False.
    """
    if not has_kernels() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        raise NotImplementedError(
            f"{what} has no kernel for a GPU in this build of fslcore, so XLA cannot compile it: use "
            "jit_compile=False, or build fslcore with CUDA"
        )

# SPDX-License-Identifier: MIT
"""Loads the compiled ops into TensorFlow: the one place that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from fslcore import _core

# Beside the compiled core, which in an editable install is not where this file is.
_DIRECTORY = Path(_core.__file__).parent


class NativeLibrary(NamedTuple):
    """One compiled library and what became of it.

    Attributes:
        path: Where it is, or was expected.
        problem: Why it is not in use, in a sentence; None if it is.
    """

    path: Path
    problem: str | None


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _load_ops() -> Any:
    built = _core.built_for_tensorflow
    if built is None:
        raise ImportError("fslcore was built without TensorFlow; install it again with tensorflow present")
    needed = _minor(built)
    if _minor(tf.__version__) != needed:
        raise ImportError(
            f"fslcore was built for TensorFlow {needed} and found TensorFlow {tf.__version__}: its ops are "
            f"tied to the minor version. Install tensorflow=={needed}.*, or install fslcore again so that it "
            "is built for the TensorFlow you have"
        )
    return tf.load_op_library(str(_DIRECTORY / "_tf_ops.so"))


def _load_xla() -> str | None:
    """Registers the ops with XLA; returns why that failed, if it did: eager and graph mode do not need it."""
    try:
        tf.load_library(str(_DIRECTORY / "_tf_xla.so"))
    except (OSError, tf.errors.OpError) as error:
        return f"the XLA kernels could not be loaded: {error}"
    return None


raw_ops = _load_ops()
xla_problem = _load_xla()


def native_libraries() -> dict[str, NativeLibrary]:
    """The compiled libraries of the package, by what they serve."""
    return {
        "core": NativeLibrary(_DIRECTORY / "libfslcore.so", None),
        "numpy": NativeLibrary(Path(_core.__file__), None),
        "tensorflow": NativeLibrary(_DIRECTORY / "_tf_ops.so", None),
        "xla": NativeLibrary(_DIRECTORY / "_tf_xla.so", xla_problem),
        **({"cuda": NativeLibrary(_DIRECTORY / "libfslcore.so", None)} if _core.built_for_cuda else {}),
    }

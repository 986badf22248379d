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
    """One compiled library and its state.

    Attributes:
        path: Where it is, or was expected.
        problem: An error message if the library is not in use; None if it is.
    """

    path: Path
    problem: str | None


def load_ops(directory: Path = _DIRECTORY) -> Any:
    """Loads the ops.

    Args:
        directory: Where `_tf_ops.so` is.

    Returns:
        The module of generated functions, one per op.

    Raises:
        ImportError: The package was built without TensorFlow, for another minor version of it, or for another
            build of the same version; or the library cannot be loaded for some other reason.
    """
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
    try:
        return tf.load_op_library(str(directory / "_tf_ops.so"))
    except (RuntimeError, tf.errors.OpError) as error:
        raise ImportError(_problem("the TensorFlow ops", error)) from error


def load_xla(directory: Path = _DIRECTORY) -> str | None:
    """Registers the ops with XLA.

    Args:
        directory: Where `_tf_xla.so` is.

    Returns:
        An error message if that failed: eager and graph mode do not need the library. None if it succeeded.
    """
    try:
        tf.load_library(str(directory / "_tf_xla.so"))
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        return _problem("the XLA kernels", error)
    return None


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _problem(what: str, error: Exception) -> str:
    """The error message of a library that the dynamic linker refused."""
    message = f"{what} could not be loaded: {error}"
    if "undefined symbol" not in message and "libtensorflow" not in message:
        return message
    minor = _minor(tf.__version__)
    return (
        f"fslcore was built for another build of TensorFlow {minor} than that in {Path(tf.__file__).parent}: "
        "the C++ interfaces of pip's and conda's differ, for example. Install pip's with `pip install "
        f"--force-reinstall tensorflow=={minor}.*`, or build fslcore for the TensorFlow you have: run `pip "
        f"install --no-build-isolation --no-deps .` in fslcore's source directory; {message}"
    )


raw_ops = load_ops()
_xla_problem = load_xla()


def native_libraries() -> dict[str, NativeLibrary]:
    """The compiled libraries of the package, by what they serve."""
    return {
        "core": NativeLibrary(_DIRECTORY / "libfslcore.so", None),
        "numpy": NativeLibrary(Path(_core.__file__), None),
        "tensorflow": NativeLibrary(_DIRECTORY / "_tf_ops.so", None),
        "xla": NativeLibrary(_DIRECTORY / "_tf_xla.so", _xla_problem),
        **({"cuda": NativeLibrary(_DIRECTORY / "libfslcore.so", None)} if _core.built_for_cuda else {}),
    }

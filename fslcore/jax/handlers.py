# SPDX-License-Identifier: MIT
"""How the functions of this package call the handlers of the compiled library."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fslcore.arguments import ArgumentError, as_array, as_integers, check_at_least

Array = Any

# The ending of a handler's symbol, and JAX's name of the platform.
_PLATFORMS = {"cpu": "cpu", "cuda": "CUDA"}


def platforms() -> list[str]:
    """Where the compiled library has kernels for: "cpu", and "cuda" if it was built with CUDA."""
    return [ending for ending in _PLATFORMS if hasattr(_library(), f"fslcore_pairwise_{ending}")]


def call(name: str, results: Any, *arrays: Any, **attributes: Any) -> Any:
    """Calls the handler of an op for the platform of the arrays; `results` are the shapes that it fills."""
    _register(name)
    types = {bool: bool, int: np.int64, float: np.float32, str: str}
    typed = {key: types[type(value)](value) for key, value in attributes.items()}
    return jax.ffi.ffi_call(f"fslcore_{name}", results, vmap_method="sequential")(*arrays, **typed)


def first_order_only(function: str) -> Callable[..., Any]:
    """The rule of a derivative that the kernels do not have: it refuses."""

    def refuse(*_: Any) -> Any:
        raise NotImplementedError(
            f"fslcore.jax.{function} has first-order gradients only; stop the gradient of its gradient, or "
            "write the function in jax.numpy"
        )

    return refuse


def like(*arrays: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """The shapes and types of arrays, as those of results."""
    return tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays)


def floats(name: str, value: Any, axes: int) -> Array:
    """The argument as a float32 array with so many axes, or a ValueError that names it."""
    try:
        array = jnp.asarray(value if _holds_jax(value) else as_array(name, value))
    except TypeError:  # text, objects
        raise ArgumentError(name, "must hold real numbers", value) from None
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"{name} must hold real numbers, received {array.dtype.name}")
    return _with_axes(name, array.astype(jnp.float32), axes)


def integers(name: str, value: Any, axes: int | None = None) -> Array:
    """The argument as an int64 array with so many axes, or a ValueError that names it."""
    if not jax.config.jax_enable_x64:
        raise ValueError(
            f"{name} must hold 64-bit integers, received a JAX without them: "
            'call jax.config.update("jax_enable_x64", True) first'
        )
    array = jnp.asarray(value if _holds_jax(value) else as_integers(name, value))
    if array.dtype == jnp.uint64 and not isinstance(array, jax.core.Tracer):
        as_integers(name, array)  # those above 2^63 would become negative
    if not jnp.issubdtype(array.dtype, jnp.integer) and array.size != 0:
        raise ValueError(f"{name} must hold integers, received {array.dtype.name}")
    return _with_axes(name, array.astype(jnp.int64), axes)


def number(name: str, value: Any) -> Array:
    """A seed or the number of a draw as an int64 scalar, or a ValueError that names it."""
    scalar = integers(name, value, 0)
    if not _holds_jax(value):  # that of a JAX array is not waited for
        check_at_least(name, int(value), 0)
    return scalar


def _holds_jax(value: Any) -> bool:
    return any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value))


def _with_axes(name: str, array: Array, axes: int | None) -> Array:
    if axes is not None and array.ndim != axes:
        plural = "1 axis" if axes == 1 else f"{axes} axes"
        raise ValueError(f"{name} must have {plural}, received shape {list(array.shape)}")
    return array


@functools.cache
def _library() -> ctypes.CDLL:
    path = os.environ.get("FSLCORE_LIBRARY")
    if not path:
        core = importlib.util.find_spec("fslcore._core")
        if core is None or core.origin is None:
            raise ImportError("fslcore is installed without its compiled library; install it again")
        path = str(Path(core.origin).parent / "libfslcore.so")
    return ctypes.CDLL(path)


@functools.cache
def _register(name: str) -> None:
    """Registers the handlers of an op with JAX, for each platform that the library has one for."""
    for ending, platform in _PLATFORMS.items():
        handler = getattr(_library(), f"fslcore_{name}_{ending}", None)
        if handler is None:
            continue
        try:
            jax.ffi.register_ffi_target(f"fslcore_{name}", jax.ffi.pycapsule(handler), platform=platform)
        except jax.errors.JaxRuntimeError as error:  # its XLA has another version of the interface
            raise ImportError(
                "fslcore.jax needs a JAX that takes handlers of version 0.2 of XLA's FFI, which no JAX for "
                f"Python 3.10 does; found jax {jax.__version__} ({str(error).splitlines()[0]})"
            ) from error

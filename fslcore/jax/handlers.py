# SPDX-License-Identifier: MIT
"""How the functions of this package call the handlers of the compiled library."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


def like(*arrays: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    """The shapes and types of arrays, as those of results."""
    return tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays)


def floats(name: str, value: Any, axes: int) -> Array:
    """The argument as a float32 array with so many axes, or a ValueError that names it."""
    array = jnp.asarray(value, jnp.float32)
    return _with_axes(name, array, axes)


def integers(name: str, value: Any, axes: int | None = None) -> Array:
    """The argument as an int64 array with so many axes, or a ValueError that names it."""
    if not jax.config.jax_enable_x64:
        raise ValueError(
            f"{name} must hold 64-bit integers, received a JAX without them: "
            'call jax.config.update("jax_enable_x64", True) first'
        )
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.integer) and array.size != 0:
        raise ValueError(f"{name} must hold integers, received {array.dtype.name}")
    return _with_axes(name, array.astype(jnp.int64), axes)


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
        if handler is not None:
            jax.ffi.register_ffi_target(f"fslcore_{name}", jax.ffi.pycapsule(handler), platform=platform)

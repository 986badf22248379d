# SPDX-License-Identifier: MIT
"""The handlers of the core as JAX functions, on the CPU and on a GPU. Needs no TensorFlow.

The library is the installed one, or that which the environment variable FSLCORE_LIBRARY names: built where
there is no TensorFlow, with JAX's own headers (see the README).
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

HANDLERS = ("pairwise", "pairwise_grad", "triplet_loss", "mine_triplets", "sample_episodes", "gather_images")
PLATFORMS = {"cpu": "cpu", "cuda": "CUDA"}  # the ending of a handler's symbol, and JAX's name of the platform


def library_path() -> Path:
    """Where libfslcore.so is."""
    named = os.environ.get("FSLCORE_LIBRARY")
    if named:
        return Path(named)
    from fslcore import _core

    return Path(_core.__file__).parent / "libfslcore.so"


def register() -> list[str]:
    """Registers all handlers with JAX; returns the endings of the platforms that the library has them for."""
    library = ctypes.CDLL(str(library_path()))
    found = []
    for ending, platform in PLATFORMS.items():
        if not hasattr(library, f"fslcore_pairwise_{ending}"):
            continue
        for name in HANDLERS:
            handler = jax.ffi.pycapsule(getattr(library, f"fslcore_{name}_{ending}"))
            jax.ffi.register_ffi_target(f"fslcore_{name}", handler, platform=platform)
        found.append(ending)
    return found


def _call(name: str, results: Any, *arrays: Any, **attributes: Any) -> Any:
    return jax.ffi.ffi_call(f"fslcore_{name}", results)(*arrays, **attributes)


def _like(*arrays: Any) -> tuple[jax.ShapeDtypeStruct, ...]:
    return tuple(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _pairwise(x: Any, y: Any, weights: Any, bias: Any, metric: str, activation: str, precision: str) -> Any:
    result = jax.ShapeDtypeStruct((x.shape[0], y.shape[0]), jnp.float32)
    attributes = {"metric": metric, "activation": activation, "precision": precision}
    return _call("pairwise", result, x, y, weights, bias, **attributes)


def _pairwise_forward(*arguments: Any) -> tuple[Any, tuple[Any, ...]]:
    out = _pairwise(*arguments)
    return out, (*arguments[:4], out)


def _pairwise_backward(metric: str, activation: str, precision: str, saved: Any, grad: Any) -> Any:
    *inputs, out = saved
    attributes = {"metric": metric, "activation": activation, "precision": precision}
    return tuple(_call("pairwise_grad", _like(*inputs), *inputs, grad, out, **attributes))


_pairwise.defvjp(_pairwise_forward, _pairwise_backward)


def pairwise(
    x: Any,
    y: Any,
    metric: str = "sqeuclidean",
    weights: Any = None,
    bias: float = 0.0,
    activation: str = "none",
    precision: str = "float32",
) -> Any:
    """As fslcore.ops.pairwise, differentiable."""
    weights = jnp.zeros(0, jnp.float32) if weights is None else weights
    return _pairwise(x, y, weights, jnp.float32(bias), metric, activation, precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def triplet_loss(x: Any, labels: Any, mining: str, metric: str, margin: float) -> Any:
    """The loss of fslcore.ops.triplet_semihard and triplet_hard, differentiable with respect to x."""
    return _triplets(x, labels, mining, metric, margin)[0]


def _triplets(x: Any, labels: Any, mining: str, metric: str, margin: float) -> Any:
    results = (jax.ShapeDtypeStruct((), jnp.float32), *_like(x), jax.ShapeDtypeStruct((), jnp.int64))
    rows = jnp.int32(x.shape[0])
    attributes = {"mining": mining, "metric": metric, "margin": np.float32(margin)}
    return _call("triplet_loss", results, x, labels, rows, **attributes)


def _triplet_forward(*arguments: Any) -> tuple[Any, Any]:
    loss, grad, _ = _triplets(*arguments)
    return loss, grad


triplet_loss.defvjp(_triplet_forward, lambda mining, metric, margin, grad, up: (up * grad, None))


def mine_triplets(x: Any, labels: Any, mining: str, metric: str = "sqeuclidean") -> tuple[Any, Any, Any, Any]:
    """(anchor, positive, negative, their number): as many entries as there could be at most."""
    batch = x.shape[0]
    most = jax.ShapeDtypeStruct((batch if mining == "hard" else batch * (batch - 1),), jnp.int32)
    results = (most, most, most, jax.ShapeDtypeStruct((), jnp.int32))
    return _call("mine_triplets", results, x, labels, jnp.int32(batch), mining=mining, metric=metric)


def sample_episodes(
    labels: Any, n_way: int, k_shot: int, n_query: int, episodes: int, seed: int, first_episode: int = 0
) -> Any:
    """As fslcore.ops.sample_episodes."""
    result = jax.ShapeDtypeStruct((episodes, n_way, k_shot + n_query), jnp.int32)
    counts = {"n_way": n_way, "k_shot": k_shot, "n_query": n_query, "episodes": episodes}
    numbers = (np.int64(value) for value in counts.values())
    attributes = dict(zip(counts, numbers, strict=True))
    return _call("sample_episodes", result, labels, jnp.int64(seed), jnp.int64(first_episode), **attributes)


def gather_images(
    store: Any, indices: Any, rotations: Any, scale: float = 1 / 255, shift: float = 0.0
) -> Any:
    """As fslcore.ops.gather_images, without resizing."""
    result = jax.ShapeDtypeStruct((*indices.shape, *store.shape[1:]), jnp.float32)
    attributes = {"height": np.int64(0), "width": np.int64(0)}
    scaling = {"scale": np.float32(scale), "shift": np.float32(shift)}
    return _call("gather_images", result, store, indices, rotations, **attributes, **scaling)

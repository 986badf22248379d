# SPDX-License-Identifier: MIT
"""Every way to run what is tested: one test body, many routes.

A mode takes a function of tensors and returns one that runs in another way; `parametrize("mode", MODES,
ids=name)`, or the fixture `mode`:

    eager          as it is
    graph          a tf.function that knows all shapes
    unknown_batch  a tf.function, traced once without the first axis of any tensor, as Keras traces
    compiled       the same in XLA

A backend has the functions of the package, which take and return NumPy arrays; fixtures of conftest.py:

    numpy                                    fslcore.kernels, which never imports TensorFlow
    eager . graph . unknown_batch . xla      fslcore.ops in these modes; `xla` knows all shapes
    cuda . cuda_xla                          `eager` and `xla` on a GPU, where there is one
    twin                                     fslcore.twins, eager
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

Function = Callable[..., Any]

# Modes ----------------------------------------------------------------------------------------------


def eager(function: Function) -> Function:
    """As it is."""
    return function


def graph(function: Function) -> Function:
    """In a tf.function that knows all shapes."""
    import tensorflow as tf

    return tf.function(function)


def unknown_batch(function: Function, jit_compile: bool = False) -> Function:
    """In a tf.function, traced once, that does not know the first axis of its arguments."""
    import tensorflow as tf

    traced = None

    def call(*arrays: Any) -> Any:
        nonlocal traced
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        if traced is None:
            traced = _traced(function, [(t.shape, t.dtype, True) for t in tensors], jit_compile)
        return traced(*tensors)

    return call


def compiled(function: Function) -> Function:
    """In XLA."""
    return unknown_batch(function, jit_compile=True)


MODES = [eager, graph, unknown_batch, compiled]


def name(mode: Function) -> str:
    """The id of a test in that mode."""
    return mode.__name__


def with_gradient(function: Function) -> Function:
    """(the value, its gradient with respect to the first argument) of a scalar function."""
    import tensorflow as tf

    def call(x: Any, *others: Any) -> tuple[Any, Any]:
        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x, *others)
        return value, tape.gradient(value, x, unconnected_gradients="zero")

    return call


def _traced(function: Function, tensors: list[tuple[Any, Any, bool]], jit_compile: bool) -> Function:
    """A tf.function of tensors, each given as its shape, its dtype and whether its first axis is unknown."""
    import tensorflow as tf

    signature = [
        tf.TensorSpec([None, *shape[1:]] if unknown and len(shape) else shape, dtype)
        for shape, dtype, unknown in tensors
    ]
    return tf.function(function, input_signature=signature, jit_compile=jit_compile)


# Backends -------------------------------------------------------------------------------------------


def _gpu_backends() -> tuple[str, ...]:
    """The backends on a GPU, where there is one and the package is installed."""
    try:
        from fslcore import _core
    except ImportError:
        return ()
    return ("cuda", "cuda_xla") if _core.cuda_devices()[0] else ()


NATIVE = ("numpy", "eager", "graph", "unknown_batch", "xla", *_gpu_backends())

# What is an array or a tensor in a call; everything else is a Python value, fixed when a graph is traced.
ARRAYS = {
    "x", "y", "queries", "rows", "grad", "weights", "bias", "labels", "y_labels", "levels", "values",
    "store", "indices", "rotations", "seed", "first_episode", "first",
    "images", "transforms", "distributions", "sizes", "numbers", "step",
    "hidden", "hidden_bias", "mixing",
}  # fmt: skip
# Arrays whose first axis is the batch, unknown to the traced graph of `unknown_batch`.
BATCHED = {
    "x", "y", "queries", "rows", "labels", "y_labels", "store", "indices", "images", "transforms", "numbers",
}  # fmt: skip


class Backend:
    """`backend.pairwise(x, y, metric="dot")`: NumPy arrays in and out, whatever runs in between."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __getattr__(self, function: str) -> Function:
        return functools.partial(self._call, function)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What a rejected argument raises."""
        if self.name == "numpy":
            return (ValueError,)
        import tensorflow as tf

        return (ValueError, tf.errors.InvalidArgumentError)

    @property
    def module(self) -> Any:
        """The module that holds the functions."""
        modules = {"numpy": "fslcore.kernels", "twin": "fslcore.twins"}
        return importlib.import_module(modules.get(self.name, "fslcore.ops"))

    @property
    def on_gpu(self) -> bool:
        """Whether the kernels run on a GPU."""
        return self.name.startswith("cuda")

    def _call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        implementation = getattr(self.module, function)
        if self.name == "numpy":
            return implementation(*args, **kwargs)
        import tensorflow as tf

        bound = inspect.signature(implementation).bind(*args, **kwargs).arguments
        arrays = {k: np.asarray(v) for k, v in bound.items() if k in ARRAYS and v is not None}
        options = {k: v for k, v in bound.items() if k not in arrays}
        with tf.device("GPU:0" if self.on_gpu else "CPU:0"):
            if self.name in ("eager", "cuda", "twin"):
                result = implementation(**{k: tf.constant(v) for k, v in arrays.items()}, **options)
            else:
                specs = tuple((k, v.shape, v.dtype.name) for k, v in arrays.items())
                traced = _graph_of(self.name, implementation, specs, tuple(options.items()))
                result = traced(*(tf.constant(v) for v in arrays.values()))
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), result)


@functools.cache
def _graph_of(
    backend: str,
    implementation: Function,
    specs: tuple[tuple[str, tuple[int, ...], str], ...],
    options: tuple[tuple[str, Any], ...],
) -> Function:
    """The op as a graph function of its tensors alone, traced once for all data of these shapes."""

    def body(*tensors: Any) -> Any:
        names = (name for name, _, _ in specs)
        return implementation(**dict(zip(names, tensors, strict=True)), **dict(options))

    unknown = BATCHED if backend == "unknown_batch" else set()
    tensors = [(shape, dtype, name in unknown) for name, shape, dtype in specs]
    return _traced(body, tensors, jit_compile=backend.endswith("xla"))

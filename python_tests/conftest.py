# SPDX-License-Identifier: MIT
"""One test body, every way to run a kernel.

    backend       numpy . eager . graph . unknown_batch . xla      the compiled core behind its bindings
                  cuda . cuda_xla                                  the same on a GPU, where there is one
    any_backend   the same, and reference                          the twin written in TensorFlow ops

`numpy` never imports TensorFlow. The tests marked `each_level` are run again by
test_levels.py at every SIMD level.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")


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
    "x", "y", "grad", "weights", "bias", "labels", "store", "indices", "rotations", "seed", "first_episode",
    "first",
}  # fmt: skip
# Arrays whose first axis is the batch, unknown to the traced graph of `unknown_batch`.
BATCHED = {"x", "y", "labels", "store", "indices"}

# Sentences about values, not shapes: a GPU would have to be waited for to raise them.
OF_VALUES = re.compile(
    "indices must be in|rotations must be 0|by odd quarter turns|must not exceed|number of classes|"
    "(seed|first_episode|first) must be at least"
)


class Backend:
    """`backend.pairwise(x, y, metric="dot")`: NumPy arrays in and out, whatever runs in between."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __getattr__(self, function: str) -> Callable[..., Any]:
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
        modules = {"numpy": "fslcore.kernels", "reference": "fslcore.twins"}
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
            if self.name in ("eager", "cuda", "reference"):
                result = implementation(**{k: tf.constant(v) for k, v in arrays.items()}, **options)
            else:
                specs = tuple((k, v.shape, v.dtype.name) for k, v in arrays.items())
                traced = _trace(self.name, implementation, specs, tuple(options.items()))
                result = traced(*(tf.constant(v) for v in arrays.values()))
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), result)


@functools.cache
def _trace(
    mode: str,
    implementation: Callable[..., Any],
    specs: tuple[tuple[str, tuple[int, ...], str], ...],
    options: tuple[tuple[str, Any], ...],
) -> Callable[..., Any]:
    """The op as a graph function of its tensors alone."""
    import tensorflow as tf

    def body(*tensors: Any) -> Any:
        names = (name for name, _, _ in specs)
        return implementation(**dict(zip(names, tensors, strict=True)), **dict(options))

    def known(name: str, shape: tuple[int, ...]) -> list[int | None]:
        unknown = mode == "unknown_batch" and name in BATCHED
        return [None, *shape[1:]] if unknown and shape else list(shape)

    signature = [tf.TensorSpec(known(name, shape), dtype) for name, shape, dtype in specs]
    return tf.function(body, input_signature=signature, jit_compile=mode.endswith("xla"))


@pytest.fixture(scope="session", autouse=True)
def away_from_the_source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Python processes that tests start must import the installed package, not the sources beside them."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(params=NATIVE, scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The compiled core through each of its bindings."""
    return Backend(request.param)


@pytest.fixture(params=(*NATIVE, "reference"), scope="session")
def any_backend(request: pytest.FixtureRequest) -> Backend:
    """Each implementation of pairwise, mine_semihard and mine_hard."""
    return Backend(request.param)


@pytest.fixture(scope="session")
def numpy_backend() -> Backend:
    """fslcore.kernels alone, for sweeps too wide for a compilation per case."""
    return Backend("numpy")


@pytest.fixture(scope="session")
def reject() -> Callable[..., None]:
    """reject(backend, match, function, *args, **kwargs): the call fails, with NumPy's sentence."""

    def check(backend: Backend, match: str, function: str, *args: Any, **kwargs: Any) -> None:
        with pytest.raises(ValueError, match=match) as numpy_caught:
            getattr(Backend("numpy"), function)(*args, **kwargs)
        sentence = str(numpy_caught.value)
        if backend.on_gpu and OF_VALUES.search(sentence):
            pytest.skip("what is wrong with values, a GPU does not tell")
        with pytest.raises(backend.errors, match=match) as caught:
            getattr(backend, function)(*args, **kwargs)
        if backend.name == "unknown_batch":  # a graph that knows a shape in part says None for the rest
            sentence, _, _ = sentence.partition(", received")
        assert sentence in str(caught.value)

    return check


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, and puts it back."""
    from fslcore import kernels

    before = kernels.num_threads()
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker that test_levels.py selects by."""
    config.addinivalue_line("markers", "each_level: run again at every SIMD level of this CPU")

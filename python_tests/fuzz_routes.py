# SPDX-License-Identifier: MIT
"""Runs a call of fuzz_calls.py by every front end, and judges the answers by the rules of fuzz_ops.py."""

from __future__ import annotations

import copy
import functools
import importlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from fuzz_calls import BIG, Call, acceptable_sizes, elements, right_results
from fuzz_networks import SPECS
from fuzz_ops import LIMIT, Arrays

Answer = Arrays | Exception

# By the framework that they need; each worker has one.
ROUTES = {"tensorflow": ("numpy", "eager", "graph", "xla"), "jax": ("numpy", "handler")}


def judge(call: Call, framework: str) -> Iterator[tuple[str, str]]:
    """Runs the call by the routes of a framework, and yields (route, problem); the problem is empty if none.

    Before each route it yields (route, "begins"): a process that dies has told where.
    """
    first: tuple[str, Arrays] | None = None
    for route in ROUTES[framework]:
        if not _has(route, call.op) or not _can_say(route, call):
            continue
        yield route, "begins"
        seen = _as_seen(route, call)
        answer = _answer(route, call)
        yield route, _problem(route, seen, answer)
        if isinstance(answer, list) and _is_plain(seen):
            first, problem = _compared(first, route, answer)
            if problem:
                yield route, problem


# What is expected -------------------------------------------------------------------------------------


def _as_seen(route: str, call: Call) -> Call:
    """The call after the conversions that a route makes: NumPy's functions cast within a kind of numbers."""
    types = call.spec.types_of(len(call.inputs))
    if route != "numpy" or len(types) != len(call.inputs):
        return call
    seen = copy.copy(call)
    if all(
        np.can_cast(array.dtype, dtype, "same_kind") for array, dtype in zip(call.inputs, types, strict=True)
    ):
        with np.errstate(all="ignore"):
            seen.inputs = [array.astype(dtype) for array, dtype in zip(call.inputs, types, strict=True)]
    return seen


def _is_plain(call: Call) -> bool:
    """Whether a handler is asked for what the op gives, for all rows."""
    return call.results is None and _all_rows(call)


def _all_rows(call: Call) -> bool:
    rows = call.spec.rows
    return rows is None or (len(call.inputs) > rows and call.inputs[rows].shape[:1] == (int(call.rows),))


def _expected(route: str, call: Call) -> bool | None:
    """Whether the call must be accepted; None if it may be."""
    right = acceptable_sizes(call)
    if route == "handler" and elements(_asked(call)) == 0:
        return right or None  # XLA drops a call without elements
    if not right:
        return right
    results = right_results(call)
    if (
        route in ("xla", "handler") and call.spec.rows is not None
    ):  # its numbers of rows and results are int32
        most = results[0][0][0] if call.spec.counts else 0
        if max(call.shapes[call.spec.rows][0], most) >= LIMIT:
            return False
    if route == "handler":
        rows = call.spec.rows
        if rows is not None and not 0 <= call.rows <= call.shapes[rows][0]:
            right = False
        if call.spec.least_rows and call.rows < call.attributes[call.spec.least_rows]:
            right = False
        if call.results is not None and [*map(_fixed, call.results)] != [*map(_fixed, results)]:
            right = False
    if not call.spec.values(call.inputs, call.attributes):
        right = False
    if route == "xla" and not right and elements(results) == 0:
        return None  # as above; the sizes are checked while compiling
    return right


def _fixed(result: tuple[Sequence[int], str]) -> tuple[tuple[int, ...], str]:
    return tuple(result[0]), result[1]


def _problem(route: str, call: Call, answer: Answer) -> str:
    """What is wrong with the answer; "" if nothing is."""
    expected = _expected(route, call)
    if isinstance(answer, Exception):
        text = f"{type(answer).__name__}: {str(answer)[:300]}"
        if _is_of_memory(answer):
            large = acceptable_sizes(call) is not False and any(
                np.prod(s, dtype=float) > 1 << 27 for s in call.shapes
            )
            return "" if large or elements(_results_or_none(call)) > BIG else f"no memory: {text}"
        if not _is_refusal(answer):
            return f"another error than that of a wrong argument: {text}"
        return f"refused, but is right: {text}" if expected else ""
    if expected is False:
        return "accepted, but is wrong"
    if expected is None or not _is_plain(call):
        return ""
    return _against_the_oracle(call, answer)


def _results_or_none(call: Call) -> Any:
    return right_results(call) if acceptable_sizes(call) else []


def _is_of_memory(error: Exception) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or ("RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower())
    )


def _is_refusal(error: Exception) -> bool:
    if isinstance(
        error, ValueError | TypeError | OverflowError | KeyError | RuntimeError | NotImplementedError
    ):
        return not _is_internal(error)
    return type(error).__name__ == "InvalidArgumentError"


def _is_internal(error: Exception) -> bool:
    """JAX's error is a RuntimeError (or ValueError) whose text begins with its code."""
    return any(str(error).startswith(code) for code in ("INTERNAL", "UNKNOWN", "UNIMPLEMENTED"))


def _against_the_oracle(call: Call, answer: Arrays) -> str:
    results = call.spec.results(call.shapes, call.attributes)
    for i, (got, (shape, dtype)) in enumerate(zip(answer, results, strict=True)):
        of_any_length = call.spec.counts or None in shape
        fits = got.shape[1:] == shape[1:] if of_any_length else got.shape == tuple(shape)
        if got.dtype.name != dtype or got.ndim != len(shape) or not fits:
            return f"result {i} is {got.dtype} {got.shape}, and not {dtype} {shape}"
    usual = all(
        array.dtype.kind != "f"
        or bool(((np.abs(array) < 1e3) & ((array == 0) | (np.abs(array) > 1e-30))).all())
        for array in call.inputs
    ) and all(not isinstance(v, float) or abs(v) < 1e3 for v in call.attributes.values())
    small = sum(array.size for array in call.inputs) < 1 << 12 and elements(results) < 1 << 14
    empty = all(array.size == 0 for array in answer)  # XLA does not even make the call then
    if call.spec.compute is None or not usual or not small or empty:
        return ""
    for i, (got, want) in enumerate(
        zip(answer, call.spec.compute(call.inputs, call.attributes), strict=True)
    ):
        if want is None:
            continue
        want = np.asarray(want)
        scale = max(1.0, float(np.abs(want).max(initial=0))) if want.dtype.kind == "f" else 0.0
        if got.shape != want.shape or not np.allclose(got, want, rtol=0, atol=5e-4 * scale, equal_nan=True):
            return f"result {i} differs from the oracle's: {got.ravel()[:5]} and {want.ravel()[:5]}"
    return ""


def _compared(
    first: tuple[str, Arrays] | None, route: str, answer: Arrays
) -> tuple[tuple[str, Arrays] | None, str]:
    if first is None:
        return (route, answer), ""
    for i, (one, other) in enumerate(zip(first[1], answer, strict=True)):
        same_nan = one.dtype.kind == "f" and np.array_equal(np.isnan(one), np.isnan(other))
        if one.shape != other.shape or not np.array_equal(one, other, equal_nan=bool(same_nan)):
            return (
                first,
                f"result {i} differs from that of {first[0]}: {one.ravel()[:5]} and {other.ravel()[:5]}",
            )
    return first, ""


# Routes -----------------------------------------------------------------------------------------------


@functools.cache
def _has(route: str, op: str) -> bool:
    if route == "numpy":
        return hasattr(importlib.import_module("fslcore._core"), op)
    if route in ("xla", "handler"):
        from fslcore import _core

        return f"fslcore_{op}_cpu".encode() in _library_of(_core.__file__)
    return True


@functools.cache
def _library_of(core: str) -> bytes:
    with open(core.rpartition("/")[0] + "/libfslcore.so", "rb") as library:
        return library.read()


def _can_say(route: str, call: Call) -> bool:
    """Whether the call can be written down for the route at all."""
    least = len(call.spec.types)
    if route in ("eager", "graph", "xla"):
        forms = call.spec.forms.items()
        if any(form is int and isinstance(call.attributes[name], float) for name, form in forms):
            return False  # TensorFlow's own wrappers cut the fraction off
        if call.spec.listed:
            return len(call.inputs) >= 4 and (len(call.inputs) - 1) % 3 == 0
        return len(call.inputs) >= least if call.op == "fit_classifiers" else len(call.inputs) == least
    # Results beyond memory are not asked for: XLA's own allocator ends the process.
    return route != "handler" or elements(_asked(call)) <= BIG


def _answer(route: str, call: Call) -> Answer:
    try:
        return [np.asarray(array) for array in _RUN[route](call)]
    except Exception as error:
        return error


def _run_numpy(call: Call) -> Sequence[Any]:
    core = importlib.import_module("fslcore._core")
    attributes = {k: v for k, v in call.attributes.items() if k != "N"}
    return getattr(core, call.op)(*call.inputs, **attributes)


def _named(call: Call, arrays: Sequence[Any]) -> dict[str, Any]:
    """The inputs by the names that TensorFlow gives them."""
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get("Fslcore" + call.op.title().replace("_", ""))
    named, at = {}, 0
    for argument in definition.input_arg:
        if not argument.number_attr:
            named[argument.name], at = arrays[at], at + 1
            continue
        count = (len(arrays) - 1) // 3 if call.spec.listed else call.attributes[argument.number_attr]
        named[argument.name], at = [*arrays[at : at + count]], at + count
    return named


def _op(call: Call, arrays: Sequence[Any]) -> list[Any]:
    import tensorflow as tf

    from fslcore.ops._library import raw_ops

    attributes = {k: v for k, v in call.attributes.items() if k not in ("N", "M", "K")}
    with tf.device("CPU:0"):
        results = getattr(raw_ops, f"fslcore_{call.op}")(**_named(call, arrays), **attributes)
    return tf.nest.flatten(results)


def _run_eager(call: Call) -> Sequence[Any]:
    import tensorflow as tf

    return [result.numpy() for result in _op(call, [*map(tf.constant, call.inputs)])]


def _run_traced(call: Call, jit_compile: bool) -> Sequence[Any]:
    """In a graph that knows all shapes, some, or not even the ranks; XLA learns them when it compiles."""
    import tensorflow as tf

    rng = np.random.default_rng(len(call.inputs) + sum(array.size for array in call.inputs))

    def spec(array: np.ndarray) -> Any:
        known = int(rng.integers(3))
        shape = (
            None if known == 0 else [None if known == 1 and rng.random() < 0.5 else n for n in array.shape]
        )
        return tf.TensorSpec(shape, array.dtype)

    signature = [spec(array) for array in call.inputs]
    function = tf.function(
        lambda *tensors: _op(call, tensors),
        input_signature=signature,
        jit_compile=jit_compile,
        autograph=False,
    )
    with tf.device("CPU:0"):
        return [result.numpy() for result in function(*map(tf.constant, call.inputs))]


def _run_handler(call: Call) -> Sequence[Any]:
    import jax

    from fslcore.jax import handlers

    shapes = tuple(jax.ShapeDtypeStruct(*result) for result in _asked(call))
    rows = [] if call.rows is None else [call.rows]
    outputs = [*map(np.asarray, handlers.call(call.op, shapes, *call.inputs, *rows, **call.attributes))]
    if call.spec.counts and call.results is None:
        *outputs, count = outputs
        if any(output[int(count) :].any() for output in outputs):
            raise AssertionError("something is behind the results")
        outputs = [output[: int(count)] for output in outputs]
    return outputs


def _asked(call: Call) -> Any:
    """The results that a handler is asked for: where nothing is right, what a careless one would fill."""
    if call.results is not None:
        return call.results
    if acceptable_sizes(call):
        return right_results(call)
    return _of_an_example(call.op)


@functools.cache
def _of_an_example(op: str) -> Any:
    examples = (Call(op, *SPECS[op].example(np.random.default_rng(seed))) for seed in itertools.count())
    return next(results for call in examples if elements(results := right_results(call)) > 8)


_RUN: dict[str, Callable[[Call], Sequence[Any]]] = {
    "numpy": _run_numpy,
    "eager": _run_eager,
    "graph": lambda call: _run_traced(call, jit_compile=False),
    "xla": lambda call: _run_traced(call, jit_compile=True),
    "handler": _run_handler,
}

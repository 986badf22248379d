# SPDX-License-Identifier: MIT
"""Calls of ops with hostile values: a function of (seed, number), so that each can be repeated alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from fuzz_networks import SPECS
from fuzz_ops import Arrays, Attributes, Results, Spec

HUGE = (2**31 - 1, 2**31, 2**40, 2**62, -(2**31) - 1, -(2**63), 2**63 - 1)
INTS = (-1, -2, -7, 0, 1, 3, 46_342, *HUGE)
FLOATS = (math.nan, math.inf, -math.inf, 0.0, -1.0, 3e38, 1e-45)
TEXTS = ("", "foo", "COSINE", "cosine\0", "float64", "hard", "dot", "tf32", "é" * 50)
NUMBERS = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-40, 1e19, 0.0)
OF_INTS = (-1, -(2**63), 2**31, 2**62, 0, 4, 1000)
TYPES = ("float64", "float16", "int32", "int64", "uint8", "uint64", "int16", "complex64", "bool")
BIG = 1 << 22  # elements of a result that is worth computing


@dataclasses.dataclass
class Call:
    """One call of an op, with what only handlers of XLA take.

    Attributes:
        op: Its name.
        inputs: As the op has them.
        attributes: Likewise.
        results: Shapes and types that a handler is asked to fill; None for the right ones.
        rows: The number of real rows for a handler, or None.
        changes: What was changed, in words.
    """

    op: str
    inputs: Arrays
    attributes: Attributes
    results: Results | None = None
    rows: np.ndarray | None = None
    changes: list[str] = dataclasses.field(default_factory=list)

    @property
    def spec(self) -> Spec:
        """The rules of the op."""
        return SPECS[self.op]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Those of the inputs."""
        return [array.shape for array in self.inputs]


def make(op: str, seed: int, number: int) -> Call:
    """Call `number` of a seed: valid, or with one or two changes."""
    rng = np.random.default_rng([seed, number, *op.encode()])
    call = Call(op, *SPECS[op].example(rng))
    if call.spec.rows is not None:
        call.rows = np.array(len(call.inputs[call.spec.rows]), np.int32)
    changes = [change_shape, change_type, change_values, change_attribute, change_attribute, change_count]
    for change in rng.choice(np.array([*changes, change_results, change_rows], object), rng.integers(0, 3)):
        change(call, rng)
    return call


def pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def change_shape(call: Call, rng: np.random.Generator) -> None:
    i = int(rng.integers(len(call.inputs)))
    array = call.inputs[i]
    shape = [*array.shape]
    kinds = ["one more axis", *(["longer", "shorter", "empty", "huge", "one axis less"] if shape else [])]
    kind = pick(rng, kinds)
    axis = int(rng.integers(len(shape))) if shape else 0
    if kind == "one more axis":
        shape.insert(axis, pick(rng, (0, 1, 2)))
    elif kind == "one axis less":
        del shape[axis]
    elif kind == "longer":
        shape[axis] += pick(rng, (1, 2, 7))
    elif kind == "shorter":
        shape[axis] = max(0, shape[axis] - 1)
    elif kind == "empty":
        shape[axis] = 0
    else:
        others = [other for other in range(len(shape)) if other != axis]
        if not others:
            return
        shape[pick(rng, others)] = 0
        shape[axis] = pick(rng, (2**31, 2**33, 2**40))
    if math.prod(shape) > 1 << 20:
        return
    call.inputs[i] = np.resize(array, shape) if array.size else np.zeros(shape, array.dtype)
    call.changes.append(f"input {i} {kind}: {shape}")


def change_type(call: Call, rng: np.random.Generator) -> None:
    i, dtype = int(rng.integers(len(call.inputs))), pick(rng, TYPES)
    with np.errstate(all="ignore"):
        call.inputs[i] = call.inputs[i].astype(dtype)
    call.changes.append(f"input {i} of type {dtype}")


def change_values(call: Call, rng: np.random.Generator) -> None:
    i = int(rng.integers(len(call.inputs)))
    array = np.array(call.inputs[i])
    if not array.size or array.dtype.kind not in "fiu":
        return
    values = NUMBERS if array.dtype.kind == "f" else OF_INTS
    value = np.array(pick(rng, values)).astype(array.dtype)
    if rng.random() < 0.2:
        array[...] = value
    else:
        array.flat[int(rng.integers(array.size))] = value
    call.inputs[i] = array
    call.changes.append(f"input {i} holds {value}")


def change_attribute(call: Call, rng: np.random.Generator) -> None:
    if not call.spec.forms:
        return
    name = pick(rng, sorted(call.spec.forms))
    form = call.spec.forms[name]
    of_type: dict[Any, tuple[Any, ...]] = {
        int: (*INTS, 1.5, "x"),
        float: (*FLOATS, "x"),
        bool: ("x", 1.5),
        list[int]: ([], [1, 1], [0], [-1], [2**62], ["x"]),
        list[float]: ([], [0.5, 0.5], [math.nan], [-1.0], ["x"]),
    }
    value = pick(rng, (*form, *TEXTS, 1.5) if isinstance(form, tuple) else of_type[form])
    call.attributes[name] = value
    call.changes.append(f"{name}={value!r}")


def change_count(call: Call, rng: np.random.Generator) -> None:
    """One input less or more: for front ends that take inputs by position."""
    if call.op == "fit_classifiers":
        return
    i = int(rng.integers(len(call.inputs)))
    if rng.random() < 0.5:
        del call.inputs[i]
    else:
        call.inputs.insert(i, call.inputs[i])
    call.changes.append(f"{len(call.inputs)} inputs")


def change_results(call: Call, rng: np.random.Generator) -> None:
    if not acceptable_sizes(call) or call.results is not None:
        return
    results = right_results(call)
    i = int(rng.integers(len(results)))
    shape, dtype = [*results[i][0]], results[i][1]
    kind = pick(rng, ("shape", "axis", "type", "missing", "twice", "huge"))
    if kind == "shape" and shape:
        shape[int(rng.integers(len(shape)))] += pick(rng, (-1, 1, 5))
    elif kind == "huge" and shape:
        shape[int(rng.integers(len(shape)))] = 1 << 16
    elif kind == "type":
        dtype = pick(rng, [other for other in ("float32", "int32", "int64", "uint8") if other != dtype])
    else:
        shape.append(pick(rng, (0, 1, 3)))
    if min(shape, default=0) < 0 or math.prod(shape) > BIG:
        return
    count = {"missing": 0, "twice": 2}.get(kind, 1)
    changed = [*results[:i], *[(tuple(shape), dtype)] * count, *results[i + 1 :]]
    if kind in ("missing", "twice"):
        changed = [*results[:i], *[results[i]] * count, *results[i + 1 :]]
    if changed:
        call.results = changed
        call.changes.append(f"results {changed}")


def change_rows(call: Call, rng: np.random.Generator) -> None:
    if call.rows is None:
        return
    batch = int(call.rows)
    wrong = (-1, -(2**31), 2**31 - 1, batch + 1, max(0, batch - 1), 0)
    call.rows = np.array(min(pick(rng, wrong), 2**31 - 1), np.int32)
    call.changes.append(f"rows={call.rows}")


# What is right ----------------------------------------------------------------------------------------


def acceptable_attributes(call: Call) -> bool:
    """Whether each is of its type, or among its names."""

    def right(value: Any, form: Any) -> bool:
        if isinstance(form, tuple):
            return value in form
        if form in (list[int], list[float]):
            return isinstance(value, list) and all(right(v, form.__args__[0]) for v in value)
        return type(value) is form and (form is not int or -(2**63) <= value < 2**63)

    return all(right(call.attributes[name], form) for name, form in call.spec.forms.items())


def acceptable_sizes(call: Call) -> bool | None:
    """Whether types, ranks, shapes and attributes fit; None where no rule says."""
    if not acceptable_attributes(call):
        return False
    spec, count = call.spec, len(call.inputs)
    least = len(spec.types) if not spec.listed else 1
    if count < least or (not spec.listed and call.op != "fit_classifiers" and count != least):
        return False
    if [array.dtype.name for array in call.inputs] != [*spec.types_of(count)]:
        return False
    if any(
        rank not in (None, array.ndim) for rank, array in zip(spec.ranks_of(count), call.inputs, strict=True)
    ):
        return False
    if any(math.prod(filter(None, shape)) >= 2**58 for shape in call.shapes):
        return False
    fits = spec.sizes(call.shapes, call.attributes)
    if fits and any(
        math.prod(filter(None, shape)) >= 2**58 for shape, _ in spec.results(call.shapes, call.attributes)
    ):
        return False
    return fits


def right_results(call: Call) -> Results:
    """What a handler must be asked for; the sizes are acceptable."""
    results = call.spec.results(call.shapes, call.attributes)
    if call.op == "conv_block":
        batch = call.shapes[0][0]
        results[1] = ((batch, *results[1][0][1:]), "float32")
    return [*results, ((), "int32")] if call.spec.counts else results


def elements(results: Results) -> int:
    """How many there are, or a few more."""
    return sum(math.prod(size or 0 for size in shape) for shape, _ in results)

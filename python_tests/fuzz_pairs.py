# SPDX-License-Identifier: MIT
"""What the reductions over pairs must accept and refuse, and what they compute: rules for the fuzzer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import oracles_pairs
from fuzz_ops import Arrays, Attributes, Spec, floats, size

from fslcore.pair_terms import PAIR_FUNCTIONS, PAIR_GROUPS, PAIR_METRICS, PAIR_REDUCTIONS

ROWS = ("batch", "apart", "leading")
MOST_ROWS = 2**24


def pairs_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    n, m, dim = size(rng, 12), size(rng, 12), size(rng, 9)
    rows, metric = str(rng.choice(ROWS)), str(rng.choice(PAIR_METRICS))
    attributes = {"metric": metric, "rows": rows}
    functions = PAIR_FUNCTIONS if rows == "batch" else PAIR_FUNCTIONS[:-1]
    for term in ("first", "second"):
        attributes[f"{term}_pairs"] = str(rng.choice(PAIR_GROUPS))
        attributes[f"{term}_function"] = str(rng.choice(functions))
        attributes[f"{term}_reduction"] = str(rng.choice(["none", *PAIR_REDUCTIONS]))
    is_lifted = "lifted" in (attributes["first_function"], attributes["second_function"])
    m = 0 if rows == "batch" else n + m if rows == "leading" else m
    return [
        floats(rng, n, dim),
        floats(rng, m, dim),
        rng.integers(-2, 3, n),
        rng.integers(-2, 3, m),
        floats(rng, dim if metric == "weighted_manhattan" else 0),
        floats(rng, 2, 4),
        floats(rng, 2 if is_lifted else int(rng.choice([0, 2])), n),
    ], attributes


def pairs_sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    x, y, x_labels, y_labels, weights, parameters, levels = shapes[:7]
    is_lifted = "lifted" in (a["first_function"], a["second_function"])
    return (
        x[1] == y[1]
        and max(x[0], y[0]) < MOST_ROWS
        and (x_labels, y_labels) == ((x[0],), (y[0],))
        and weights == ((x[1] if a["metric"] == "weighted_manhattan" else 0),)
        and parameters == (2, 4)
        and levels in ((0, x[0]), (2, x[0]))
        and (a["rows"] != "batch" or y[0] == 0)
        and (a["rows"] != "leading" or y[0] >= x[0])
        and (not is_lifted or (a["rows"] == "batch" and levels[0] == 2))
    )


def pairs_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    x, y, x_labels, y_labels, weights, parameters, levels = (np.asarray(part, np.float64) for part in inputs)
    if a["rows"] == "batch":
        y, y_labels = x, x_labels
    parts = []
    for i, term in enumerate(("first", "second")):
        names = ("scale", "offset", "gain", "shift")
        of = {k: a[f"{term}_{k}"] for k in ("pairs", "function", "reduction")}
        of |= dict(zip(names, parameters[i], strict=True))
        if of["reduction"] == "none":
            parts.append(([0.0] * len(x), [-1] * len(x), [0] * len(x)))
            continue
        level = levels[i] if len(levels) else None
        parts.append(
            oracles_pairs.reduce_term(
                x, x_labels, y, y_labels, of, a["metric"], weights, level, a["rows"] != "apart", 0
            )
        )
    # Rounding may decide whether t is above a level, or which of two values is greater.
    return [None, None, None] if len(levels) else [np.array([values for values, _, _ in parts]), None, None]


FORMS = {
    "metric": PAIR_METRICS,
    "rows": ROWS,
    **{
        f"{term}_{kind}": names
        for term in ("first", "second")
        for kind, names in (
            ("pairs", PAIR_GROUPS),
            ("function", PAIR_FUNCTIONS),
            ("reduction", ("none", *PAIR_REDUCTIONS)),
        )
    },
}
TYPES = ("float32", "float32", "int64", "int64", *("float32",) * 3)

PAIR_REDUCTIONS_SPEC = Spec(
    types=TYPES,
    ranks=(2, 2, 1, 1, 1, 2, 2),
    forms=FORMS,
    example=pairs_example,
    sizes=pairs_sizes,
    results=lambda shapes, a: [((2, shapes[0][0]), dtype) for dtype in ("float32", "int32", "float32")],
    compute=pairs_compute,
)


def grad_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    inputs, attributes = pairs_example(rng)
    return [*inputs, floats(rng, 2, len(inputs[0])) + 9.0, floats(rng, 2, len(inputs[0]))], attributes


PAIR_REDUCTIONS_GRAD_SPEC = Spec(
    types=(*TYPES, "float32", "float32"),
    ranks=(2, 2, 1, 1, 1, 2, 2, 2, 2),
    forms=FORMS,
    example=grad_example,
    sizes=lambda shapes, a: pairs_sizes(shapes, a) and shapes[7] == shapes[8] == (2, shapes[0][0]),
    results=lambda shapes, a: [
        *((shapes[i], "float32") for i in (0, 1, 6)),
        ((2, 2, shapes[0][0]), "float32"),
    ],
)


def sums_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    (x, *inputs, _), attributes = pairs_example(rng)
    for term in ("first", "second"):
        attributes[f"{term}_function"] = str(rng.choice(PAIR_FUNCTIONS[:-1]))
        attributes[f"{term}_reduction"] = str(rng.choice(["none", "sum"]))
    return [x, *inputs, floats(rng, int(rng.integers(0, 9)), len(x)), floats(rng, 2)], attributes


def sums_sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    levels, n = shapes[6], shapes[0][0]
    return (
        pairs_sizes([*shapes[:6], (0, n)], a)
        and levels[1] == n
        and levels[0] <= 8
        and shapes[7] == (2,)
        and all(a[f"{term}_function"] != "lifted" for term in ("first", "second"))
        and all(a[f"{term}_reduction"] in ("none", "sum") for term in ("first", "second"))
    )


def sums_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    x, y, x_labels, y_labels, weights, parameters, levels, factors = (
        np.asarray(part, np.float64) for part in inputs
    )
    if a["rows"] == "batch":
        y, y_labels = x, x_labels
    terms, of_terms, counts = ("first", "second"), [], np.zeros(2)
    for i, term in enumerate(terms):
        if a[f"{term}_reduction"] == "none":
            continue
        of = {k: a[f"{term}_{k}"] for k in ("pairs", "function")}
        of |= dict(zip(("scale", "offset", "gain", "shift"), parameters[i], strict=True))
        total, (counts[i],) = oracles_pairs.sum_terms(
            x,
            x_labels,
            y,
            y_labels,
            [of],
            a["metric"],
            weights,
            levels,
            [factors[i]],
            a["rows"] != "apart",
            0,
        )
        of_terms.append(total)
    return [np.array(sum(of_terms)), counts, None, None, None, None]


PAIR_SUMS_SPEC = Spec(
    types=(*TYPES, "float32"),
    ranks=(2, 2, 1, 1, 1, 2, 2, 1),
    forms=FORMS,
    example=sums_example,
    sizes=sums_sizes,
    results=lambda shapes, a: [
        *(((), "float32"), ((2,), "float32")),
        *((shapes[i], "float32") for i in (6, 0, 1)),
        ((2, 2), "float32"),
    ],
    compute=sums_compute,
)

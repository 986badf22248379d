# SPDX-License-Identifier: MIT
"""The rules of fuzz_ops.py for affine warps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import fuzz_ops
import numpy as np
import oracles_warp
from fuzz_ops import LIMIT, Arrays, Attributes, Results, Spec, floats, size

Shapes = list[tuple[int, ...]]
FORMS = {"height": int, "width": int, "fill": ("constant", "nearest"), "fill_value": float}


def transforms_of(rng: np.random.Generator, *shape: int) -> np.ndarray:
    steps = rng.integers(-8, 9, (*shape, 6)) / np.array([4, 4, 1, 4, 4, 1])
    return steps.astype(np.float32)  # exact products and sums


def warp_attributes(rng: np.random.Generator) -> Attributes:
    new = tuple(map(int, rng.integers(1, 9, 2))) if rng.random() < 0.5 else (0, 0)
    fill = str(rng.choice(FORMS["fill"]))
    return {"height": new[0], "width": new[1], "fill": fill, "fill_value": float(rng.integers(0, 9))}


def size_of(a: Attributes) -> tuple[int, int] | None:
    return (a["height"], a["width"]) if a["height"] else None


def warps(images: tuple[int, ...], a: Attributes) -> bool:
    """Whether images of these sizes can be warped."""
    right_size = a["height"] >= 0 and a["width"] >= 0 and (a["height"] == 0) == (a["width"] == 0)
    pixels = images[0] == 0 or images[3] == 0 or images[1] * images[2] > 0
    padded = (images[1] + 3) * (images[2] + 3) * images[3]
    result = math.prod(size_of(a) or images[1:3]) * images[3]
    return right_size and pixels and max(padded, result) <= 2**30


def affine_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    count, height, width, channels = size(rng, 5), *map(int, rng.integers(1, 8, 2)), size(rng, 4)
    return [floats(rng, count, height, width, channels), transforms_of(rng, count)], warp_attributes(rng)


def affine_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    return [oracles_warp.affine_images(*inputs, size_of(a), a["fill"], a["fill_value"])]


AFFINE_IMAGES = Spec(
    types=("float32", "float32"),
    ranks=(4, 2),
    forms=FORMS,
    example=affine_example,
    sizes=lambda shapes, a: shapes[1] == (shapes[0][0], 6) and warps(shapes[0], a),
    values=lambda inputs, a: bool(np.isfinite(inputs[1]).all()),
    results=lambda shapes, a: [((shapes[0][0], *(size_of(a) or shapes[0][1:3]), shapes[0][3]), "float32")],
    compute=affine_compute,
)


def gather_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    (store, indices, turns), change = fuzz_ops.gather_example(rng)
    scaled = {name: change[name] for name in ("scale", "shift")}
    return [store, indices, turns, transforms_of(rng, *indices.shape)], {**warp_attributes(rng), **scaled}


def gather_results(shapes: Shapes, a: Attributes) -> Results:
    return fuzz_ops.gather_results(shapes[:3], a)


def gather_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    store, indices, turns, transforms = inputs
    none = turns.shape == (0,) and indices.shape[:1] != (0,)
    rest = (a["scale"], a["shift"], size_of(a), a["fill"], a["fill_value"])
    return [oracles_warp.gather_affine(store, indices, transforms, None if none else turns, *rest)]


GATHER_AFFINE = Spec(
    types=("uint8", "int64", "int64", "float32"),
    ranks=(4, None, None, None),
    forms={**FORMS, "scale": float, "shift": float},
    example=gather_example,
    sizes=lambda shapes, a: (
        fuzz_ops.gather_sizes(shapes[:3], a) and shapes[3] == (*shapes[1], 6) and warps(shapes[0], a)
    ),
    values=lambda inputs, a: fuzz_ops.gather_values(inputs[:3], a) and bool(np.isfinite(inputs[3]).all()),
    results=gather_results,
    compute=gather_compute,
)


def draw_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    distributions = floats(rng, 10, 4)
    distributions[:, 2] = rng.random(10)
    numbers = rng.integers(0, LIMIT, tuple(rng.integers(0, 4, size(rng, 3))))
    places = [np.array(rng.integers(0, 2**62)), np.array(rng.integers(0, 2**40))]
    return [distributions, rng.integers(1, 99, 4), numbers, *places], {}


def draw_values(inputs: Arrays, a: Attributes) -> bool:
    distributions, sizes, numbers, seed, step = inputs
    shares = distributions[:, 2]
    known = bool(np.isfinite(distributions).all()) and bool(((shares >= 0) & (shares <= 1)).all())
    inside = bool(((sizes >= 1) & (sizes < LIMIT)).all() and ((numbers >= 0) & (numbers < LIMIT)).all())
    return known and inside and bool(seed >= 0 and step >= 0)


AFFINE_TRANSFORMS = Spec(
    types=("float32", "int64", "int64", "int64", "int64"),
    ranks=(2, 1, None, 0, 0),
    forms={},
    example=draw_example,
    sizes=lambda shapes, a: shapes[0] == (10, 4) and shapes[1] == (4,),
    values=draw_values,
    results=lambda shapes, a: [((*shapes[2], 6), "float32")],
)

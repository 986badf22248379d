# SPDX-License-Identifier: MIT
"""What an op of the compiled library must accept and refuse, and what it computes: rules for the fuzzer.

They share no code with csrc/bindings/ops. The ops of networks are in fuzz_networks.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import oracles
import oracles_search

from fslcore.arguments import METRICS, MININGS, PAIR_MININGS, SEARCH_METRICS, TRIPLET_METRICS

Arrays = list[np.ndarray]
Attributes = dict[str, Any]
Results = list[tuple[tuple[int, ...], str]]  # shapes and types

LIMIT = 2**31


@dataclasses.dataclass(frozen=True)
class Spec:
    """One op.

    Attributes:
        types: Of the inputs, by position; float32 behind them.
        ranks: Of the inputs, None for any; any behind them.
        forms: What the attributes are: a tuple of names, or a Python type.
        example: A valid call from a generator of random numbers: inputs and attributes.
        sizes: Whether shapes and attributes fit; the types and ranks do.
        values: Whether the values do; the sizes do.
        results: Shapes and types of the results of a valid call.
        compute: The results by an oracle; None if there is none.
        rows: The input whose first axis is the batch that XLA may pad, or None.
        least_rows: An attribute that the number of rows that are real must reach, or None.
        counts: Whether the number of results depends on the values; `results` is the most then.
        optional: Attributes that may be missing.
        listed: Whether the inputs are lists of equal length and one scalar.
    """

    types: tuple[str, ...]
    ranks: tuple[int | None, ...]
    forms: dict[str, Any]
    example: Callable[[np.random.Generator], tuple[Arrays, Attributes]]
    sizes: Callable[[list[tuple[int, ...]], Attributes], bool]
    results: Callable[[list[tuple[int, ...]], Attributes], Results]
    values: Callable[[Arrays, Attributes], bool] = lambda inputs, attributes: True
    compute: Callable[[Arrays, Attributes], Sequence[Any]] | None = None
    rows: int | None = None
    least_rows: str | None = None
    counts: bool = False
    optional: tuple[str, ...] = ()
    listed: bool = False

    def types_of(self, count: int) -> tuple[str, ...]:
        """Of so many inputs; a list at the end may be longer than `types`."""
        return (*self.types, *("float32",) * (count - len(self.types)))[:count]

    def ranks_of(self, count: int) -> tuple[int | None, ...]:
        """Of so many inputs."""
        if self.listed:
            return (*(None,) * (count - 1), 0)
        return (*self.ranks, *(None,) * (count - len(self.ranks)))[:count]


def size(rng: np.random.Generator, most: int = 9) -> int:
    return int(rng.integers(0, most))


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


# Pairwise ---------------------------------------------------------------------------------------------


def pairwise_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    n, m, dim = size(rng), size(rng), size(rng, 20)
    metric = str(rng.choice(METRICS))
    weighted = metric == "weighted_manhattan"
    activation = str(rng.choice(["none", "sigmoid"])) if weighted else "none"
    inputs = [floats(rng, n, dim), floats(rng, m, dim), floats(rng, dim if weighted else 0)]
    bias = np.float32(rng.normal() if weighted else 0)
    precision = str(rng.choice(["float32", "tf32", "3xtf32", "bfloat16"]))
    return [*inputs, np.array(bias)], {"metric": metric, "activation": activation, "precision": precision}


def pairwise_sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    x, y, weights = shapes[:3]
    weighted = a["metric"] == "weighted_manhattan"
    fits = weights[0] == x[1] if weighted else weights[0] == 0 and a["activation"] == "none"
    return x[1] == y[1] and fits


def pairwise_options(inputs: Arrays, a: Attributes) -> dict[str, Any]:
    if a["metric"] != "weighted_manhattan":
        return {"metric": a["metric"]}
    activation = None if a["activation"] == "none" else a["activation"]
    return {
        "metric": a["metric"],
        "weights": inputs[2],
        "bias": float(inputs[3]),
        "activation": activation,
    }


def grad_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    inputs, attributes = pairwise_example(rng)
    x, y = inputs[:2]
    out = np.asarray(oracles.pairwise(x, y, **pairwise_options(inputs, attributes)), np.float32)
    if attributes["metric"] == "chebyshev":  # the coordinate is recognised by the bits of the distance
        out = np.abs(x[:, None] - y).max(axis=-1, initial=0.0).astype(np.float32)
    return [*inputs, floats(rng, len(x), len(y)), out], attributes


def grad_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    x, y, *_, grad, out = inputs
    right = oracles.pairwise(x, y, **pairwise_options(inputs, a))
    if not np.allclose(out, right, rtol=1e-4, atol=1e-4):
        return [None] * 4  # the op trusts what it has computed before
    # float32 has lost the coordinate of the largest difference if two are nearly equal.
    got = oracles.pairwise_grad(x, y, grad, **pairwise_options(inputs, a))
    weighted = a["metric"] == "weighted_manhattan"
    return [got[0], got[1], got[2] if weighted else None, got[3] if weighted else None]


PAIRWISE_FORMS = {
    "metric": METRICS,
    "activation": ("none", "sigmoid"),
    "precision": ("float32", "tf32", "3xtf32", "bfloat16"),
}
PAIRWISE = Spec(
    types=("float32",) * 4,
    ranks=(2, 2, 1, 0),
    forms=PAIRWISE_FORMS,
    optional=("precision",),
    example=pairwise_example,
    sizes=pairwise_sizes,
    results=lambda shapes, a: [((shapes[0][0], shapes[1][0]), "float32")],
    compute=lambda inputs, a: [oracles.pairwise(*inputs[:2], **pairwise_options(inputs, a))],
)
PAIRWISE_GRAD = Spec(
    types=("float32",) * 6,
    ranks=(2, 2, 1, 0, 2, 2),
    forms=PAIRWISE_FORMS,
    optional=("precision",),
    example=grad_example,
    sizes=lambda shapes, a: (
        pairwise_sizes(shapes, a) and shapes[4] == shapes[5] == (shapes[0][0], shapes[1][0])
    ),
    results=lambda shapes, a: [(shape, "float32") for shape in shapes[:4]],
    compute=grad_compute,
)


# Triplets ---------------------------------------------------------------------------------------------


def triplet_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    n = size(rng, 14)
    inputs = [floats(rng, n, size(rng, 12)), rng.integers(-3, 3, n)]
    return inputs, {"mining": str(rng.choice(MININGS)), "metric": str(rng.choice(TRIPLET_METRICS))}


def loss_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    inputs, attributes = triplet_example(rng)
    return inputs, {**attributes, "margin": float(np.float32(rng.normal()))}


def triplet_sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    return shapes[0][0] == shapes[1][0] < LIMIT


def most_triplets(batch: int, mining: str) -> int:
    return 0 if batch == 1 else batch * (batch - 1) if mining in PAIR_MININGS else batch


def loss_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    got = oracles.triplet_loss(*inputs, a["mining"], a["margin"], a["metric"])
    return [got.loss, got.grad, got.num_pairs]


TRIPLET_FORMS = {"mining": MININGS, "metric": TRIPLET_METRICS}
TRIPLET_LOSS = Spec(
    types=("float32", "int64"),
    ranks=(2, 1),
    forms={**TRIPLET_FORMS, "margin": float},
    example=loss_example,
    sizes=triplet_sizes,
    results=lambda shapes, a: [((), "float32"), (shapes[0], "float32"), ((), "int64")],
    compute=loss_compute,
    rows=0,
)
MINE_TRIPLETS = Spec(
    types=("float32", "int64"),
    ranks=(2, 1),
    forms=TRIPLET_FORMS,
    example=triplet_example,
    sizes=triplet_sizes,
    results=lambda shapes, a: [((most_triplets(shapes[0][0], a["mining"]),), "int32")] * 3,
    compute=lambda inputs, a: oracles.mine_triplets(*inputs, a["mining"], a["metric"]),
    rows=0,
    counts=True,
)


# Search -----------------------------------------------------------------------------------------------


def nearest_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    n, m, dim = size(rng, 20), int(rng.integers(1, 30)), size(rng, 20)
    attributes = {"metric": str(rng.choice(SEARCH_METRICS)), "k": int(rng.integers(1, m + 1))}
    return [floats(rng, n, dim), floats(rng, m, dim)], attributes


def nearest_sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    queries, rows = shapes
    return queries[1] == rows[1] and 1 <= a["k"] <= rows[0] < LIMIT


NEAREST = Spec(
    types=("float32",) * 2,
    ranks=(2, 2),
    forms={"metric": SEARCH_METRICS, "k": int},
    example=nearest_example,
    sizes=nearest_sizes,
    results=lambda shapes, a: [((shapes[0][0], a["k"]), "float32"), ((shapes[0][0], a["k"]), "int32")],
    # Rounding may exchange rows that are equally near.
    compute=lambda inputs, a: [oracles_search.nearest(*inputs, a["k"], a["metric"])[0], None],
    rows=1,
    least_rows="k",
)


# Draws ------------------------------------------------------------------------------------------------


def episodes_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    k_shot, n_query = int(rng.integers(1, 4)), int(rng.integers(0, 4))
    classes = int(rng.integers(1, 6))
    labels = rng.permutation(np.repeat(np.arange(classes), k_shot + n_query + size(rng, 3)))
    inputs = [labels, np.array(rng.integers(0, 2**62)), np.array(rng.integers(0, 2**40))]
    counts = {"n_way": int(rng.integers(1, classes + 1)), "k_shot": k_shot, "n_query": n_query}
    return inputs, {**counts, "episodes": size(rng, 5)}


def episodes_sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    in_range = all(least <= a[name] < LIMIT for name, least in (("n_way", 1), ("k_shot", 1), ("n_query", 0)))
    return in_range and a["episodes"] >= 0 and shapes[0][0] < LIMIT


def episodes_values(inputs: Arrays, a: Attributes) -> bool:
    labels, seed, first = inputs
    counts = np.unique(labels, return_counts=True)[1]
    enough = len(counts) >= a["n_way"] and all(counts >= a["k_shot"] + a["n_query"])
    return bool(enough and seed >= 0 and first >= 0)


SAMPLE_EPISODES = Spec(
    types=("int64",) * 3,
    ranks=(1, 0, 0),
    forms=dict.fromkeys(("n_way", "k_shot", "n_query", "episodes"), int),
    example=episodes_example,
    sizes=episodes_sizes,
    values=episodes_values,
    results=lambda shapes, a: [((a["episodes"], a["n_way"], a["k_shot"] + a["n_query"]), "int32")],
    compute=lambda inputs, a: [
        oracles.sample_episodes(
            inputs[0], *(a[k] for k in ("n_way", "k_shot", "n_query", "episodes")), *map(int, inputs[1:])
        )
    ],
)
PERMUTATIONS = Spec(
    types=("int64",) * 2,
    ranks=(0, 0),
    forms={"n": int, "count": int},
    example=lambda rng: (
        [np.array(rng.integers(0, 2**62)), np.array(rng.integers(0, 2**40))],
        {"n": size(rng), "count": size(rng)},
    ),
    sizes=lambda shapes, a: 0 <= a["n"] < LIMIT and a["count"] >= 0,
    values=lambda inputs, a: bool(inputs[0] >= 0 and inputs[1] >= 0),
    results=lambda shapes, a: [((a["count"], a["n"]), "int32")],
    compute=lambda inputs, a: [oracles.permutations(a["n"], a["count"], int(inputs[0]), int(inputs[1]))],
)


# Images -----------------------------------------------------------------------------------------------


def gather_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    n, side, channels = int(rng.integers(1, 6)), int(rng.integers(1, 12)), int(rng.integers(1, 5))
    store = rng.integers(0, 256, (n, side, side + size(rng, 2), channels)).astype(np.uint8)
    indices = rng.integers(0, n, tuple(rng.integers(0, 4, size(rng, 3))))
    turns = rng.integers(0, 4, indices.shape[: size(rng, indices.ndim + 1)])
    if store.shape[1] != store.shape[2]:
        turns = turns // 2 * 2
    new = tuple(map(int, rng.integers(1, 9, 2))) if rng.random() < 0.5 else (0, 0)
    change = {"scale": float(np.float32(rng.normal())), "shift": float(np.float32(rng.normal()))}
    return [store, indices, turns], {"height": new[0], "width": new[1], **change}


def gather_sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    store, indices, turns = shapes
    right_size = a["height"] >= 0 and a["width"] >= 0 and (a["height"] == 0) == (a["width"] == 0)
    resizable = a["height"] == 0 or store[0] == 0 or math.prod(store) > 0
    return right_size and resizable and (turns == (0,) or indices[: len(turns)] == turns)


def gather_values(inputs: Arrays, a: Attributes) -> bool:
    store, indices, turns = inputs
    odd = turns.size > 0 and bool((turns % 2 == 1).any()) and store.shape[1] != store.shape[2]
    inside = bool(((indices >= 0) & (indices < len(store))).all())
    return inside and bool(((turns >= 0) & (turns <= 3)).all()) and not odd


def gather_results(shapes: list[tuple[int, ...]], a: Attributes) -> Results:
    store, indices, _ = shapes
    image = (a["height"], a["width"]) if a["height"] else store[1:3]
    return [((*indices, *image, store[3]), "float32")]


def gather_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    store, indices, turns = inputs
    new = (a["height"], a["width"]) if a["height"] else None
    none = turns.shape == (0,) and indices.shape[:1] != (0,)
    return [oracles.gather_images(store, indices, None if none else turns, a["scale"], a["shift"], new)]


GATHER_IMAGES = Spec(
    types=("uint8", "int64", "int64"),
    ranks=(4, None, None),
    forms={"height": int, "width": int, "scale": float, "shift": float},
    example=gather_example,
    sizes=gather_sizes,
    values=gather_values,
    results=gather_results,
    compute=gather_compute,
)

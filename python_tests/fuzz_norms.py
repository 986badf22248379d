# SPDX-License-Identifier: MIT
"""What the ops of networks on norms must accept and refuse: rules for the fuzzer, as in fuzz_ops.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import oracles_norms
from fuzz_ops import Arrays, Attributes, Spec, floats, size

# In the order of the bits.
NAMES = ("first", "second", "product", "sum", "absolute", "squared", "unit_product", "softmax")


def norms_of(mask: int) -> list[str]:
    return [name for bit, name in enumerate(NAMES) if mask >> bit & 1]


def example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    n, m, dim, filters = size(rng), size(rng), size(rng), size(rng, 5)
    mask = int(rng.integers(1, 256))
    x, y = floats(rng, n, dim), floats(rng, m, dim)
    lengths = oracles_norms.lengths(x.astype(np.float64), y.astype(np.float64), "row")
    scaled = "unit_product" in norms_of(mask)
    scales = [(1 / length if scaled else np.zeros(0)).astype(np.float32) for length in lengths]
    network = [floats(rng, filters, len(norms_of(mask))), floats(rng, filters), floats(rng, filters)]
    attributes = {"norms": mask, "activation": str(rng.choice(["none", "sigmoid"]))}
    return [x, y, *scales, *network, floats(rng, dim), np.array(np.float32(rng.normal()))], attributes


def sizes(shapes: list[tuple[int, ...]], a: Attributes) -> bool:
    x, y, x_scales, y_scales, hidden, hidden_bias, mixing, weights = shapes[:8]
    if not 1 <= a["norms"] < 256:
        return False
    norms = norms_of(a["norms"])
    scaled = "unit_product" in norms
    fits = x_scales[0] == (x[0] if scaled else 0) and y_scales[0] == (y[0] if scaled else 0)
    same = hidden_bias[0] == mixing[0] == hidden[0] and hidden[1] == len(norms)
    return fits and same and x[1] == y[1] == weights[0]


def arguments(inputs: Arrays, a: Attributes) -> dict[str, Any] | None:
    """Those of the oracle; None for scales of other lengths than the rows have."""
    x, y, *scales = inputs[:4]
    lengths = oracles_norms.lengths(x.astype(np.float64), y.astype(np.float64), "row")
    if "unit_product" in norms_of(a["norms"]) and not all(
        np.allclose(scale * length, 1, atol=1e-3) for scale, length in zip(scales, lengths, strict=True)
    ):
        return None
    hidden, hidden_bias, mixing, weights, bias = inputs[4:9]
    network = {"hidden": hidden, "hidden_bias": hidden_bias, "mixing": mixing, "weights": weights}
    activation = None if a["activation"] == "none" else a["activation"]
    return {**network, "bias": float(bias), "norms": norms_of(a["norms"]), "activation": activation}


def compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    given = arguments(inputs, a)
    return [None if given is None else oracles_norms.pairwise_norms(*inputs[:2], **given)]


def grad_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    inputs, attributes = example(rng)
    given = arguments(inputs, attributes)
    out = oracles_norms.pairwise_norms(*inputs[:2], **given)
    return [*inputs, floats(rng, *out.shape), out.astype(np.float32)], attributes


FORMS = {"norms": int, "activation": ("none", "sigmoid")}
RANKS = (2, 2, 1, 1, 2, 1, 1, 1, 0)
PAIRWISE_NORMS = Spec(
    types=("float32",) * 9,
    ranks=RANKS,
    forms=FORMS,
    example=example,
    sizes=sizes,
    results=lambda shapes, a: [((shapes[0][0], shapes[1][0]), "float32")],
    compute=compute,
)
# Near a kink of the rectifier rounding decides: the gradients are compared in test_norms.py.
PAIRWISE_NORMS_GRAD = Spec(
    types=("float32",) * 11,
    ranks=(*RANKS, 2, 2),
    forms=FORMS,
    example=grad_example,
    sizes=lambda shapes, a: sizes(shapes, a) and shapes[9] == shapes[10] == (shapes[0][0], shapes[1][0]),
    results=lambda shapes, a: [(shape, "float32") for shape in shapes[:9]],
)

# SPDX-License-Identifier: MIT
"""The rules of fuzz_ops.py for the ops of networks, and the table of all ops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import fuzz_norms
import fuzz_ops
import fuzz_pairs
import fuzz_warp
import numpy as np
import oracles_adam
import oracles_convolution
import oracles_fitting
from fuzz_ops import Arrays, Attributes, Results, Spec, floats, size

Shapes = list[tuple[int, ...]]


def conv_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    count, filters = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    images = floats(rng, count, int(rng.integers(2, 8)), int(rng.integers(2, 8)), int(rng.integers(1, 4)))
    kernel = floats(rng, 3, 3, images.shape[3], filters)
    attributes = {"strides": int(rng.integers(1, 3)), "pool_size": int(rng.integers(1, 3)), "epsilon": 0.125}
    return [images, kernel, floats(rng, filters), floats(rng, filters)], {
        **attributes,
        "precision": "float32",
    }


def conv_sizes(shapes: Shapes, a: Attributes) -> bool:
    images, kernel, gamma, beta = shapes
    options = a["strides"] in (1, 2) and a["pool_size"] in (1, 2) and 1.2e-38 < a["epsilon"] < math.inf
    return (
        options
        and images[0] < fuzz_ops.LIMIT
        and kernel[:3] == (3, 3, images[3])
        and gamma == beta == kernel[3:]
    )


def conv_results(shapes: Shapes, a: Attributes) -> Results:
    images, kernel = shapes[:2]
    maps = [-(-images[axis] // a["strides"]) for axis in (1, 2)]
    outputs = [side // a["pool_size"] for side in maps]
    of_filter = (kernel[3:], "float32")
    # The maps are kept or not, as is faster.
    return [
        ((images[0], *outputs, kernel[3]), "float32"),
        ((None, *maps, kernel[3]), "float32"),
        *[of_filter] * 2,
    ]


def conv_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    if inputs[0].size == 0 or a["precision"] != "float32":
        return [None] * 4
    got = oracles_convolution.conv_block(*inputs, a["strides"], a["pool_size"], a["epsilon"])
    return [got.outputs, None, got.mean, got.variance]


CONV_BLOCK = Spec(
    types=("float32",) * 4,
    ranks=(4, 4, 1, 1),
    forms={"strides": int, "pool_size": int, "epsilon": float, "precision": ("float32", "bfloat16")},
    optional=("precision",),
    example=conv_example,
    sizes=conv_sizes,
    results=conv_results,
    compute=conv_compute,
    rows=0,
)


def adam_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    shapes = [tuple(map(int, rng.integers(0, 5, size(rng, 4)))) for _ in range(int(rng.integers(1, 4)))]
    inputs = [floats(rng, *shape) for shape in shapes * 3]
    inputs[2 * len(shapes) :] = [array**2 for array in inputs[2 * len(shapes) :]]
    attributes = {"learning_rate": 0.5, "beta_2": 0.75, "one_minus_beta_2": 0.25, "epsilon": 0.125}
    return [*map(np.asarray, inputs), np.array(np.float32(0.5))], {"N": len(shapes), **attributes}


def adam_sizes(shapes: Shapes, a: Attributes) -> bool:
    n = (len(shapes) - 1) // 3
    return n > 0 and len(shapes) == 3 * n + 1 and shapes[:n] == shapes[n : 2 * n] == shapes[2 * n : 3 * n]


def adam_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    n = len(inputs) // 3
    if (a["beta_2"], a["one_minus_beta_2"]) != (0.75, 0.25) or not 0 <= inputs[-1] <= 1:
        return [None] * (2 * n + 1)
    options = {k: a[k] for k in ("learning_rate", "beta_2", "epsilon")}
    got = oracles_adam.adam_step(
        inputs[:n], inputs[n : 2 * n], inputs[2 * n : 3 * n], float(inputs[-1]), **options
    )
    return [*got.weights, *got.squares, got.power]


ADAM_STEP = Spec(
    types=("float32",),
    ranks=(None,),
    forms=dict.fromkeys(("learning_rate", "beta_2", "one_minus_beta_2", "epsilon"), float),
    example=adam_example,
    sizes=adam_sizes,
    results=lambda shapes, a: [(shape, "float32") for shape in [*shapes[: len(shapes) // 3] * 2, ()]],
    compute=adam_compute,
    listed=True,
)


def conv_grad_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    inputs, attributes = conv_example(rng)
    got = oracles_convolution.conv_block(
        *inputs, *(attributes[k] for k in ("strides", "pool_size", "epsilon"))
    )
    saved = [np.asarray(array, np.float32) for array in (got.maps, got.mean, got.variance)]
    return [floats(rng, *got.outputs.shape), *inputs, *saved], {
        **attributes,
        "with_images": bool(size(rng, 2)),
    }


def conv_grad_sizes(shapes: Shapes, a: Attributes) -> bool | None:
    grad, images, kernel, gamma, beta, maps, mean, variance = shapes
    if not conv_sizes([images, kernel, gamma, beta], a):
        return False
    (outputs, _), (of_maps, _), *_ = conv_results([images, kernel], a)
    if grad != outputs or maps[1:] != of_maps[1:] or not mean == variance == gamma:
        return False
    return maps[0] == images[0] or (None if maps[0] == 0 else False)


def conv_grad_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    grad, *block, maps, mean, variance = inputs
    options = a["strides"], a["pool_size"], a["epsilon"]
    nothing = [None] * 4
    if inputs[1].size == 0 or a["precision"] != "float32" or maps.size == 0:
        return nothing
    right = oracles_convolution.conv_block(*block, *options)
    # The op trusts what the block has saved; and at a tie or near 0, rounding decides what the maximum is.
    near = np.abs(right.outputs).min(initial=1.0) < 1e-3
    saved = zip((maps, mean, variance), (right.maps, right.mean, right.variance), strict=True)
    if near or not all(np.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in saved):
        return nothing
    got = oracles_convolution.conv_block_grad(*block, grad, *options)
    return [got.images if a["with_images"] else None, got.kernel, got.gamma, got.beta]


CONV_BLOCK_GRAD = Spec(
    types=("float32",) * 8,
    ranks=(4, 4, 4, 1, 1, 4, 1, 1),
    forms={**CONV_BLOCK.forms, "with_images": bool},
    optional=("precision",),
    example=conv_grad_example,
    sizes=conv_grad_sizes,
    results=lambda shapes, a: [
        ((shapes[1][0] if a["with_images"] else 0, *shapes[1][1:]), "float32"),
        *((shape, "float32") for shape in shapes[2:5]),
    ],
    compute=conv_grad_compute,
    rows=1,
)


def same_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    side = 2 * size(rng, 2) + 1
    images = floats(rng, size(rng, 3), size(rng, 5), size(rng, 5), size(rng, 4))
    return [images, floats(rng, side, side, images.shape[3], size(rng, 4))], {}


def same_grad_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    (images, kernel), _ = same_example(rng)
    wanted = {"with_images": bool(size(rng, 2)), "with_kernel": bool(size(rng, 2))}
    return [floats(rng, *images.shape[:3], kernel.shape[3]), images, kernel], wanted


def same_sizes(shapes: Shapes, a: Attributes) -> bool:
    del a
    images, kernel = shapes
    odd = kernel[0] % 2 == 1 and kernel[0] <= 31
    return odd and images[0] < fuzz_ops.LIMIT and kernel[:3] == (kernel[0], kernel[0], images[3])


def same_grad_results(shapes: Shapes, a: Attributes) -> Results:
    _, images, kernel = shapes
    return [
        ((images[0] if a["with_images"] else 0, *images[1:]), "float32"),
        ((kernel[0] if a["with_kernel"] else 0, *kernel[1:]), "float32"),
    ]


def same_grad_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    grad, images, kernel = inputs
    found = oracles_convolution.same_convolve_grad(images, kernel, grad)
    return [
        part if a[f"with_{name}"] else None for part, name in zip(found, ("images", "kernel"), strict=True)
    ]


SAME_CONVOLUTION = Spec(
    types=("float32",) * 2,
    ranks=(4, 4),
    forms={},
    example=same_example,
    sizes=same_sizes,
    results=lambda shapes, _: [((*shapes[0][:3], shapes[1][3]), "float32")],
    compute=lambda inputs, _: [oracles_convolution.same_convolve(*inputs)],
    rows=0,
)
SAME_CONVOLUTION_GRAD = Spec(
    types=("float32",) * 3,
    ranks=(4, 4, 4),
    forms={"with_images": bool, "with_kernel": bool},
    example=same_grad_example,
    sizes=lambda shapes, a: same_sizes(shapes[1:], a) and shapes[0] == (*shapes[1][:3], shapes[2][3]),
    results=same_grad_results,
    compute=same_grad_compute,
    rows=1,
)


def fit_example(rng: np.random.Generator) -> tuple[Arrays, Attributes]:
    tasks, images, classes, filters, adam = *map(int, rng.integers(1, 4, 4)), bool(size(rng, 2))
    weights = [floats(rng, 3, 3, 1, filters), floats(rng, filters), floats(rng, filters)]
    weights += [floats(rng, 4 * filters, classes), floats(rng, classes)]
    averages = [floats(rng, filters), floats(rng, filters) ** 2]
    memory = [array**2 for array in weights] + [np.array(np.float32(1))] if adam else []
    order = rng.integers(0, images, (tasks, size(rng, 2) + 1, 2))
    labels = rng.integers(0, classes, (tasks, images))
    data = [floats(rng, tasks, images, 4, 4, 1), labels.astype(np.int32), order.astype(np.int32)]
    block = {
        "strides": [2],
        "pool_sizes": [1],
        "epsilons": [0.125],
        "precisions": ["float32"],
        "momenta": [0.5],
    }
    update = {
        "learning_rate": 0.25,
        "adam": adam,
        "beta_2": 0.75,
        "one_minus_beta_2": 0.25,
        "adam_epsilon": 0.125,
    }
    counts = {"N": 5, "M": 2, "K": len(memory)}
    return [*data, *weights, *averages, *memory], {**counts, **block, **update}


def fit_sizes(shapes: Shapes, a: Attributes) -> bool:
    images, labels, order, kernel, gamma, beta, dense, bias, *others = shapes
    if any(len(a[k]) != 1 for k in ("strides", "pool_sizes", "epsilons", "precisions", "momenta")):
        return False
    options = {"strides": a["strides"][0], "pool_size": a["pool_sizes"][0], "epsilon": a["epsilons"][0]}
    batch = (*order[2:], *images[2:])
    weights = [kernel, gamma, beta, dense, bias]
    if not (
        len(images) == 5
        and len(order) == 3
        and len(kernel) == 4
        and conv_sizes([batch, kernel, gamma, beta], options)
    ):
        return False
    (outputs, _), *_ = conv_results([batch, kernel], options)
    right = labels == images[:2] and order[0] == images[0] and order[1] >= 1 and order[2] >= 1
    head = len(bias) == 1 and bias[0] >= 1 and dense == (math.prod(outputs[1:]), bias[0])
    memory = [*weights, ()] if a["adam"] else []
    return right and head and others == [kernel[3:], kernel[3:], *memory]


def fit_values(inputs: Arrays, a: Attributes) -> bool:
    images, labels, order, bias = *inputs[:3], inputs[7]
    in_range = ((labels >= 0) & (labels < len(bias))).all() and (
        (order >= 0) & (order < images.shape[1])
    ).all()
    return bool(in_range)


def fit_results(shapes: Shapes, a: Attributes) -> Results:
    images, _, order = shapes[:3]
    kept = [((images[0], *shape), "float32") for shape in shapes[3:]]
    return [*kept, (order[:2], "float32"), ((order[0], order[2], shapes[7][0]), "float32")]


def fit_compute(inputs: Arrays, a: Attributes) -> Sequence[Any]:
    nothing = [None] * (len(inputs) - 1)
    usual = (a["beta_2"], a["one_minus_beta_2"], *a["precisions"]) == (0.75, 0.25, "float32")
    if not usual or len(inputs[0]) != 1 or inputs[2].shape[1] != 1 or inputs[0].size == 0:
        return nothing
    block = (a["strides"][0], a["pool_sizes"][0], a["epsilons"][0], a["momenta"][0])
    tensors = inputs[3:8], inputs[8:10], inputs[10:]
    adam = (a["beta_2"], a["adam_epsilon"]) if a["adam"] else None
    got = oracles_fitting.fit(
        *(array[0] for array in inputs[:3]), *tensors, [block], a["learning_rate"], adam
    )
    # Near a kink of ReLU or of the root of Adam, rounding decides; forward pass and averages are sure.
    return [
        *nothing[:5],
        *(array[None] for array in got.averages),
        *nothing[7:-2],
        np.array([got.losses]),
        got.logits[None],
    ]


FIT_CLASSIFIERS = Spec(
    types=("float32", "int32", "int32"),
    ranks=(5, 2, 3),
    forms={
        **dict.fromkeys(("strides", "pool_sizes"), list[int]),
        **dict.fromkeys(("epsilons", "momenta"), list[float]),
        **dict.fromkeys(("learning_rate", "beta_2", "one_minus_beta_2", "adam_epsilon"), float),
        "adam": bool,
    },
    optional=("beta_2", "one_minus_beta_2", "adam_epsilon"),
    example=fit_example,
    sizes=fit_sizes,
    values=fit_values,
    results=fit_results,
    compute=fit_compute,
)

SPECS = {
    "pairwise": fuzz_ops.PAIRWISE,
    "pairwise_grad": fuzz_ops.PAIRWISE_GRAD,
    "pairwise_norms": fuzz_norms.PAIRWISE_NORMS,
    "pairwise_norms_grad": fuzz_norms.PAIRWISE_NORMS_GRAD,
    "triplet_loss": fuzz_ops.TRIPLET_LOSS,
    "mine_triplets": fuzz_ops.MINE_TRIPLETS,
    "nearest": fuzz_ops.NEAREST,
    "pair_reductions": fuzz_pairs.PAIR_REDUCTIONS_SPEC,
    "pair_reductions_grad": fuzz_pairs.PAIR_REDUCTIONS_GRAD_SPEC,
    "pair_sums": fuzz_pairs.PAIR_SUMS_SPEC,
    "sample_episodes": fuzz_ops.SAMPLE_EPISODES,
    "permutations": fuzz_ops.PERMUTATIONS,
    "gather_images": fuzz_ops.GATHER_IMAGES,
    "gather_affine": fuzz_warp.GATHER_AFFINE,
    "affine_images": fuzz_warp.AFFINE_IMAGES,
    "affine_transforms": fuzz_warp.AFFINE_TRANSFORMS,
    "conv_block": CONV_BLOCK,
    "conv_block_grad": CONV_BLOCK_GRAD,
    "same_convolution": SAME_CONVOLUTION,
    "same_convolution_grad": SAME_CONVOLUTION_GRAD,
    "adam_step": ADAM_STEP,
    "fit_classifiers": FIT_CLASSIFIERS,
}

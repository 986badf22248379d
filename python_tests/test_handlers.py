# SPDX-License-Identifier: MIT
"""The XLA handlers called as any front end may call them: whatever does not fit is refused.

Each case changes one thing in a call that works. JAX fills the results with memory of their own size, so a
handler that believed the call would read or write beyond it.
"""

import numpy as np
import pytest
from with_jax import require_jax

require_jax()

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)  # labels and seeds are int64

from fslcore.arguments import MININGS  # noqa: E402
from fslcore.jax import handlers  # noqa: E402

HOST = jax.devices("cpu")[0]


def f32(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


METRIC = {"metric": "sqeuclidean", "activation": "none", "precision": "float32"}
MINING = {"mining": "semihard", "metric": "sqeuclidean"}
PAIRS = {
    "metric": "weighted_manhattan", "rows": "apart",
    "first_pairs": "all", "first_function": "softplus", "first_reduction": "sum",
    "second_pairs": "all", "second_function": "hinge", "second_reduction": "sum",
}  # fmt: skip
PAIR_INPUTS = [
    f32(4, 3), f32(5, 3), i64(1, 1, 2, 2), i64(1, 2, 3, 1, 2), f32(3), np.ones((2, 4), np.float32), f32(2, 4),
]  # fmt: skip
CONV = {"strides": 1, "pool_size": 2, "epsilon": 1e-3, "precision": "float32"}
ADAM = {"N": 2, "learning_rate": 0.1, "beta_2": 0.9, "one_minus_beta_2": 0.1, "epsilon": 1e-3}
CONV_INPUTS = [f32(3, 4, 4, 8), f32(3, 3, 8, 5), f32(5), f32(5)]

NETWORK = [f32(2, 3), f32(2), f32(2), f32(3), np.float32(0)]
NORMS = {"norms": 0b1100001, "activation": "sigmoid"}  # first, squared, unit_product

# op: (inputs, shapes and types of the results, attributes)
CALLS = {
    "pairwise": (
        [f32(4, 3), f32(5, 3), f32(0), np.float32(0)],
        [((4, 5), "float32")],
        METRIC,
    ),
    "pairwise_grad": (
        [f32(4, 3), f32(5, 3), f32(0), np.float32(0), f32(4, 5), f32(4, 5)],
        [((4, 3), "float32"), ((5, 3), "float32"), ((0,), "float32"), ((), "float32")],
        METRIC,
    ),
    "pairwise_norms": (
        [f32(4, 3), f32(5, 3), f32(4), f32(5), *NETWORK],
        [((4, 5), "float32")],
        NORMS,
    ),
    "pairwise_norms_grad": (
        [f32(4, 3), f32(5, 3), f32(4), f32(5), *NETWORK, f32(4, 5), f32(4, 5)],
        [(np.shape(array), "float32") for array in (f32(4, 3), f32(5, 3), f32(4), f32(5), *NETWORK)],
        NORMS,
    ),
    "triplet_loss": (
        [f32(4, 3), i64(0, 0, 1, 1), np.int32(4)],
        [((), "float32"), ((4, 3), "float32"), ((), "int64")],
        {**MINING, "margin": 1.0},
    ),
    "mine_triplets": (
        [f32(4, 3), i64(0, 0, 1, 1), np.int32(4)],
        [((12,), "int32"), ((12,), "int32"), ((12,), "int32"), ((), "int32")],
        MINING,
    ),
    "nearest": (
        [f32(3, 3), f32(4, 3), np.int32(4)],
        [((3, 2), "float32"), ((3, 2), "int32")],
        {"metric": "sqeuclidean", "k": 2},
    ),
    "pair_reductions": (
        PAIR_INPUTS,
        [((2, 4), "float32"), ((2, 4), "int32"), ((2, 4), "float32")],
        PAIRS,
    ),
    "pair_reductions_grad": (
        [*PAIR_INPUTS, f32(2, 4), f32(2, 4)],
        [((4, 3), "float32"), ((5, 3), "float32"), ((2, 4), "float32"), ((2, 2, 4), "float32")],
        PAIRS,
    ),
    "pair_sums": (
        [*PAIR_INPUTS, f32(2)],
        [
            *(((), "float32"), ((2,), "float32"), ((2, 4), "float32")),
            *(((4, 3), "float32"), ((5, 3), "float32"), ((2, 2), "float32")),
        ],
        PAIRS,
    ),
    "sample_episodes": (
        [i64(0, 0, 1, 1), np.int64(0), np.int64(0)],
        [((6, 2, 2), "int32")],
        {"n_way": 2, "k_shot": 1, "n_query": 1, "episodes": 6},
    ),
    "permutations": ([np.int64(0), np.int64(0)], [((6, 5), "int32")], {"n": 5, "count": 6}),
    "gather_affine": (
        [np.zeros((4, 6, 6, 1), np.uint8), i64(0, 3), i64(1, 2), f32(2, 6)],
        [((2, 6, 6, 1), "float32")],
        {"height": 0, "width": 0, "fill": "constant", "fill_value": 0.0, "scale": 1.0, "shift": 0.0},
    ),
    "affine_images": (
        [f32(4, 6, 6, 1), f32(4, 6)],
        [((4, 6, 6, 1), "float32")],
        {"height": 0, "width": 0, "fill": "nearest", "fill_value": 0.0},
    ),
    "affine_transforms": (
        [f32(10, 4) * 0, i64(6, 6, 3, 4), i64(0, 3), np.int64(1), np.int64(2)],
        [((2, 6), "float32")],
        {},
    ),
    "gather_images": (
        [np.zeros((4, 6, 6, 1), np.uint8), i64(0, 3), i64(1, 2)],
        [((2, 6, 6, 1), "float32")],
        {"height": 0, "width": 0, "scale": 1.0, "shift": 0.0},
    ),
    "conv_block": (
        [*CONV_INPUTS, np.int32(3)],
        [((3, 2, 2, 5), "float32"), ((3, 4, 4, 5), "float32"), ((5,), "float32"), ((5,), "float32")],
        CONV,
    ),
    "conv_block_grad": (
        [f32(3, 2, 2, 5), *CONV_INPUTS, f32(3, 4, 4, 5), f32(5), f32(5) ** 2, np.int32(3)],
        [((3, 4, 4, 8), "float32"), ((3, 3, 8, 5), "float32"), ((5,), "float32"), ((5,), "float32")],
        {**CONV, "with_images": True},
    ),
    "same_convolution": (
        [f32(3, 4, 2, 8), f32(3, 3, 8, 5), np.int32(3)],
        [((3, 4, 2, 5), "float32")],
        {},
    ),
    "same_convolution_grad": (
        [f32(3, 4, 2, 5), f32(3, 4, 2, 8), f32(3, 3, 8, 5), np.int32(3)],
        [((3, 4, 2, 8), "float32"), ((3, 3, 8, 5), "float32")],
        {"with_images": True, "with_kernel": True},
    ),
    "adam_step": (
        [f32(2, 3), f32(4), f32(2, 3), f32(4), f32(2, 3) ** 2, f32(4) ** 2, np.float32(1)],
        [((2, 3), "float32"), ((4,), "float32"), ((2, 3), "float32"), ((4,), "float32"), ((), "float32")],
        ADAM,
    ),
}


def call(op, inputs=None, results=None, attributes=None):
    of_inputs, of_results, of_attributes = CALLS[op]
    given = {**of_attributes, **(attributes or {})}
    results = tuple(jax.ShapeDtypeStruct(*result) for result in (of_results if results is None else results))
    with jax.default_device(HOST):
        outputs = handlers.call(op, results, *(of_inputs if inputs is None else inputs), **given)
        return [np.asarray(output) for output in outputs]


def refused(match, op, **changes):
    with pytest.raises(Exception, match=match) as caught:
        call(op, **changes)
    assert "INVALID_ARGUMENT" in str(caught.value)


@pytest.mark.parametrize("op", CALLS)
def test_the_call_that_others_change_works(op):
    outputs = call(op)
    assert [(output.shape, output.dtype.name) for output in outputs] == CALLS[op][1]
    assert all(np.all(np.isfinite(output)) for output in outputs)


def each(kind):
    return [
        (op, i) for op, (inputs, results, _) in CALLS.items() for i in range(len((inputs, results)[kind]))
    ]


@pytest.mark.parametrize(("op", "index"), each(1))
@pytest.mark.parametrize(
    "change", ["one more", "one less", "another axis", "another type", "missing", "twice"]
)
def test_results_must_be_those_of_the_op(op, index, change):
    results = list(CALLS[op][1])
    shape, dtype = results[index]
    if change in ("one more", "one less"):
        if not shape or (change == "one less" and shape[0] == 0):
            pytest.skip("no axis to change")
        shape = (shape[0] + (1 if change == "one more" else -1), *shape[1:])
    if change == "another axis":
        shape = (*shape, 1)
    if change == "another type":
        dtype = "int64" if dtype == "int32" else "int32"
    results[index : index + 1] = {"missing": [], "twice": [(shape, dtype)] * 2}.get(change, [(shape, dtype)])
    if not results:
        pytest.skip("XLA drops a call without results")
    refused("must (have shape|hold)|results, received", op, results=results)


@pytest.mark.parametrize(("op", "index"), each(0))
@pytest.mark.parametrize("change", ["another axis", "another type", "missing", "twice"])
def test_inputs_must_be_those_of_the_op(op, index, change):
    inputs = list(CALLS[op][0])
    given = np.asarray(inputs[index])
    if change == "another axis":
        if (op, index) in {("gather_images", 1), ("gather_affine", 1), ("affine_transforms", 2)}:
            pytest.skip("indices may have any axes; then the results must fit")
        given = given[..., None]
    if change == "another type":
        given = given.astype(np.int16)
    inputs[index : index + 1] = {"missing": [], "twice": [given] * 2}.get(change, [given])
    refused("must|inputs, received|takes", op, inputs=inputs)


# Inputs with axes whose first one may be longer without a change of the others or of the results.
FREE = {("gather_images", 0), ("gather_affine", 0), ("sample_episodes", 0), ("nearest", 1)}


@pytest.mark.parametrize(
    ("op", "index"), [(op, i) for op, i in each(0) if np.ndim(CALLS[op][0][i]) and (op, i) not in FREE]
)
def test_inputs_must_fit_each_other_and_the_results(op, index):
    inputs = list(CALLS[op][0])
    given = inputs[index]
    inputs[index] = np.concatenate([given, given[:1]]) if given.size else np.ones(1, given.dtype)
    refused("must|weights and activation belong", op, inputs=inputs)


PADDED = ["triplet_loss", "mine_triplets", "conv_block", "conv_block_grad"]
PADDED += ["same_convolution", "same_convolution_grad"]


@pytest.mark.parametrize("op", [*PADDED, "nearest"])
@pytest.mark.parametrize("rows", [-1, -(2**31), 5, 2**31 - 1])
def test_rows_must_be_in_the_batch(op, rows):
    refused(r"rows must be from 0 to \d, received", op, inputs=[*CALLS[op][0][:-1], np.int32(rows)])


@pytest.mark.parametrize("op", PADDED)
def test_rows_behind_the_real_ones_are_padding(op):
    count = call(op, inputs=[*CALLS[op][0][:-1], np.int32(0)])
    assert not np.any(count[0])


@pytest.mark.parametrize(
    ("op", "inputs", "match"),
    [
        ("gather_images", [np.zeros((4, 6, 6, 1), np.uint8), i64(0, 4), i64(1, 2)], "indices must be in"),
        ("gather_images", [np.zeros((4, 6, 6, 1), np.uint8), i64(0, -1), i64(1, 2)], "indices must be in"),
        ("gather_images", [np.zeros((4, 6, 6, 1), np.uint8), i64(0, 3), i64(1, 4)], "rotations must be"),
        ("nearest", [f32(3, 3), f32(4, 3), np.int32(1)], r"k must be at most the number of rows \(1\)"),
        ("sample_episodes", [i64(0, 0, 1, 2), np.int64(0), np.int64(0)], "must not exceed"),
        ("sample_episodes", [i64(0, 0, 0, 0), np.int64(0), np.int64(0)], "number of classes"),
        ("sample_episodes", [i64(0, 0, 1, 1), np.int64(-1), np.int64(0)], "seed must be at least 0"),
        ("permutations", [np.int64(0), np.int64(-1)], "first must be at least 0"),
    ],
)
def test_values_must_be_in_range(op, inputs, match):
    refused(match, op, inputs=inputs)


@pytest.mark.parametrize(
    ("op", "attributes", "match"),
    [
        ("pairwise", {"metric": "cubic"}, "metric must be one of sqeuclidean, .*, received 'cubic'"),
        ("pairwise", {"activation": "sigmoid"}, "activation belong"),
        ("pairwise", {"precision": 1}, "precision is missing or of another type"),
        ("triplet_loss", {"mining": "easy"}, f"mining must be one of {', '.join(MININGS)}, received 'easy'"),
        ("mine_triplets", {"metric": "dot"}, "metric must be one of"),
        ("sample_episodes", {"episodes": -1}, "episodes must be at least 0"),
        ("sample_episodes", {"n_way": 2**62}, r"n_way must be below 2\^31"),
        ("sample_episodes", {"episodes": 2**62}, r"fewer than 2\^58 elements"),
        ("permutations", {"n": 2**40}, r"n must be below 2\^31"),
        ("gather_images", {"height": 2**31, "width": 2**31}, r"fewer than 2\^58 elements"),
        ("gather_images", {"height": 3}, "size must be a height and a width"),
        ("conv_block", {"strides": 3}, "strides must be 1 or 2"),
        ("conv_block", {"pool_size": 0}, "pool_size must be 1 or 2"),
        ("conv_block", {"epsilon": -1.0}, "epsilon must be positive"),
        ("conv_block", {"precision": "tf32"}, "precision must be one of float32, bfloat16, received tf32"),
    ],
)
def test_attributes_must_be_known(op, attributes, match):
    refused(match, op, attributes=attributes)


def test_an_attribute_may_be_missing_only_if_it_has_a_default():
    attributes = {key: value for key, value in METRIC.items() if key != "precision"}
    inputs, results, _ = CALLS["pairwise"]
    shapes = tuple(jax.ShapeDtypeStruct(*result) for result in results)
    with jax.default_device(HOST):
        np.asarray(handlers.call("pairwise", shapes, *inputs, **attributes)[0])
        del attributes["metric"]
        with pytest.raises(Exception, match="the attribute metric is missing"):
            np.asarray(handlers.call("pairwise", shapes, *inputs, **attributes)[0])

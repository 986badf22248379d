# SPDX-License-Identifier: MIT
"""pairwise_norms and its gradient on every route: exact on integers, else against loops in float64."""

import numpy as np
import oracles_norms
import pytest
from asserts import UNIT, assert_bit_identical, float32_exactly
from inputs import normal

from fslcore.arguments import MIXED_NORMS, NORMS

EXACT = ("first", "second", "product", "sum", "absolute", "squared")
NAMES = ("hidden", "hidden_bias", "mixing", "weights")


def small(seed, *shape):
    """Integers up to 2 in size, so that all sums of these tests are exact in float32."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


def network(draw, norms, filters, dim, bias=1.0):
    shapes = ((filters, len(norms)), (filters,), (filters,), (dim,))
    return {**{name: draw(10 + i, *shape) for i, (name, shape) in enumerate(zip(NAMES, shapes, strict=True))},
            "bias": bias}  # fmt: skip


# (norms, rows of x, rows of y, dim, filters): around vectors and panels, and nothing of each kind.
CASES = [
    (("first", "second"), 3, 17, 5, 4),
    (MIXED_NORMS, 9, 33, 3, 5),
    (("squared", "first", "product"), 17, 2, 9, 3),  # in an order of its own
    (EXACT, 5, 16, 7, 2),
    (("absolute",), 1, 1, 1, 1),
    (MIXED_NORMS, 0, 3, 2, 2),
    (MIXED_NORMS, 3, 0, 2, 2),
    (NORMS, 2, 3, 0, 2),
    (("sum", "absolute"), 2, 5, 3, 0),
]


def assert_exact(backend, case):
    norms, n, m, dim, filters = case
    x, y, grad = small(0, n, dim), small(1, m, dim), small(2, n, m)
    net = network(small, norms, filters, dim)
    want = oracles_norms.pairwise_norms(x, y, norms, **net)
    np.testing.assert_array_equal(backend.pairwise_norms(x, y, norms, **net), float32_exactly(want))
    if backend.name == "twin":
        return
    got = backend.pairwise_norms_grad(x, y, grad, norms, **net)
    want = oracles_norms.pairwise_norms_grad(x, y, grad, norms, **net)
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_array_equal(part, float32_exactly(wanted))


@pytest.mark.each_level
def test_integers_are_exact_at_every_size(numpy_backend):
    for case in CASES:
        assert_exact(numpy_backend, case)


def test_integers_are_exact_on_every_route(any_backend):
    for case in (CASES[2], CASES[5]):
        assert_exact(any_backend, case)


ROUNDED = [
    (NORMS, "row", "sigmoid"),
    (("unit_product", "absolute", "softmax", "squared"), "batch", None),
]


def tolerance(want):
    # A result adds up at most 19 * 11 * 6 * 5 terms, whose size the largest of an array bounds; independent
    # roundings add up like the root of their number, and the norms themselves have some 30.
    return 32 * np.sqrt(19 * 11 * 6 * 5) * UNIT * max(1.0, np.abs(want).max(initial=0.0))


@pytest.mark.parametrize("case", ROUNDED, ids=["all norms", "those of the notebooks"])
def test_numbers_are_those_of_the_loops(any_backend, case):
    norms, unit, activation = case
    x, y, grad = normal(0, 11, 6), normal(1, 19, 6), normal(2, 11, 19)
    x[3] = y[2]  # |q - s| and its softmax have slope 0 there
    net = {**network(normal, norms, 5, 6, bias=0.25), "activation": activation, "unit": unit}
    net["weights"] /= 4
    want = oracles_norms.pairwise_norms(x, y, norms, **net)
    got = any_backend.pairwise_norms(x, y, norms, **net)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(want))
    if any_backend.name == "twin":
        return
    want = oracles_norms.pairwise_norms_grad(x, y, grad, norms, **net)
    got = any_backend.pairwise_norms_grad(x, y, grad, norms, **net)
    for name, part, wanted in zip(want._fields, got, want, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=0, atol=tolerance(wanted), err_msg=name)


def test_the_twin_has_the_gradients_of_the_op():
    import tensorflow as tf

    from fslcore import ops, twins

    norms, unit, activation = ROUNDED[0]
    arguments = {"x": normal(0, 4, 3), "y": normal(1, 5, 3), **network(normal, norms, 5, 3)}
    arguments = {name: tf.constant(value) for name, value in arguments.items()}
    grads = []
    for module in (ops, twins):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            out = module.pairwise_norms(norms=norms, unit=unit, activation=activation, **arguments)
        grads.append(tape.gradient(out, arguments))
    for name, wanted in grads[1].items():
        np.testing.assert_allclose(grads[0][name], wanted, rtol=0, atol=tolerance(wanted), err_msg=name)


def test_the_bits_do_not_depend_on_the_number_of_threads(numpy_backend, threads):
    x, y, grad = normal(0, 37, 9), normal(1, 41, 9), normal(2, 37, 41)
    net = network(normal, NORMS, 6, 9)
    results = []
    for count in (1, 3):
        threads(count)
        out = numpy_backend.pairwise_norms(x, y, NORMS, **net)
        results.append([out, *numpy_backend.pairwise_norms_grad(x, y, grad, NORMS, **net)])
    for one, three in zip(*results, strict=True):
        assert_bit_identical(one, three)


def test_x_alone_meets_itself_and_a_nan_row_shows_in_its_pairs_alone(any_backend):
    x, net = normal(0, 9, 4), network(normal, NORMS, 3, 4)
    out = any_backend.pairwise_norms(x, norms=NORMS, **net)
    assert_bit_identical(out, any_backend.pairwise_norms(x, x, NORMS, **net))
    x[2, 1] = np.nan
    got = any_backend.pairwise_norms(x, norms=NORMS, **net)
    has_nan = np.zeros((9, 9), bool)
    has_nan[2] = has_nan[:, 2] = True
    np.testing.assert_array_equal(np.isnan(got), has_nan)
    np.testing.assert_allclose(got[~has_nan], out[~has_nan], rtol=1e-5, atol=1e-5)
    if any_backend.name != "twin":
        gradient = any_backend.pairwise_norms_grad(x, x, np.ones((9, 9), np.float32), NORMS, **net)
        assert np.isnan(gradient.x[2]).all()
        assert np.isnan(gradient.hidden).any()


GOOD = {"x": small(0, 3, 4), "y": small(1, 2, 4), "norms": MIXED_NORMS, **network(small, MIXED_NORMS, 5, 4)}
WRONG = {
    "an unknown norm": ({"norms": ("sum", "cube")}, "norms must be a list of different names among first, "),
    "a norm twice": ({"norms": ("sum", "sum")}, "norms must be a list of different names"),
    "no norms": ({"norms": ()}, "norms must be a list of different names"),
    "one name": ({"norms": "sum"}, "norms must be a list of different names"),
    "unit": ({"unit": "column"}, "unit must be one of row, batch"),
    "activation": ({"activation": "relu"}, "activation must be None or 'sigmoid'"),
    "hidden": ({"hidden": small(0, 5, 3)}, r"hidden must have shape \[None, 4\], received shape \[5, 3\]"),
    "hidden_bias": ({"hidden_bias": small(0, 4)}, r"hidden_bias must have shape \[5\]"),
    "mixing": ({"mixing": small(0, 6)}, r"mixing must have shape \[5\]"),
    "weights": ({"weights": small(0, 5)}, r"weights must have shape \[4\]"),
    "columns": ({"y": small(0, 2, 3)}, "x and y must have the same number of columns"),
}


def test_wrong_arguments_are_refused_alike(backend, reject):
    for changes, message in WRONG.values():
        reject(backend, message, "pairwise_norms", **{**GOOD, **changes})
    with pytest.raises(backend.errors, match=r"grad must have shape \[3, 2\], received"):
        backend.pairwise_norms_grad(**{**GOOD, "grad": small(0, 2, 3)})

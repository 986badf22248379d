# SPDX-License-Identifier: MIT
"""pair_sums: the loops of the oracle on every route, with their gradient."""

import numpy as np
import oracles_pairs
import pytest
from asserts import assert_bit_identical
from inputs import normal

from fslcore import kernels
from fslcore.kernels import NO_LABEL, PAIR_METRICS, PairTerm
from fslcore.pair_terms import PAIR_FUNCTIONS

# Rows, terms, levels, metric: every function and metric, in batches and between two sides.
CASES = [
    ("batch", (PairTerm("positive", "squared_hinge"), PairTerm("negative", "hinge", "sum", -1.0, 3.0)), 0,
     "euclidean"),
    ("batch", (PairTerm("negative", "hinge", "sum", -1.0),), 3, "cosine"),
    ("apart", (PairTerm("all", "softplus", "sum", 0.5, -1.0), PairTerm("negative", "linear", "sum", -0.5)), 0,
     "dot"),
    ("leading", (PairTerm("negative", "softplus", "sum", -0.5, 2.0),
     PairTerm("all", "circle", "sum", 0.5, 1.0, 1.5, 0.25)), 2, "sqeuclidean"),
    ("batch", (PairTerm("all", "circle", "sum", -0.5, 2.0, 2.0, 0.5),), 1, "manhattan"),
    ("apart", (PairTerm("positive", "hinge"), PairTerm("negative", "squared_hinge", "sum", -1.0, 4.0)), 0,
     "weighted_manhattan"),
]  # fmt: skip


def problem(rows, terms, levels, metric, n=5, m=6, dim=3):
    """The arguments of a call, with a row that has no label."""
    labels = np.where(np.arange(n) % 7 == 4, NO_LABEL, np.arange(n) % 3)
    arguments = {"x": normal(1, n, dim), "labels": labels, "terms": terms, "metric": metric}
    if rows != "batch":
        y, y_labels = normal(2, m, dim), np.arange(m) % 4
        if rows == "leading":
            y, y_labels = np.concatenate([arguments["x"], y]), np.concatenate([labels, y_labels])
        arguments |= {"y": y, "y_labels": y_labels, "leading": rows == "leading"}
    if metric == "weighted_manhattan":
        arguments["weights"] = normal(4, dim)
    if levels:
        arguments["levels"] = normal(9, levels, n)
    return arguments


def wanted(arguments, factors):
    """Total and counts, and by finite differences the slopes and the gradients of x and y."""
    given = {
        k: np.asarray(v, np.float64) for k, v in arguments.items() if k in ("x", "y", "levels", "weights")
    }
    terms = [term._asdict() for term in arguments["terms"]]
    labels = arguments["labels"]

    def sums(**changes):
        at = given | changes
        return oracles_pairs.sum_terms(
            at["x"], labels, at.get("y", at["x"]), arguments.get("y_labels", labels), terms,
            arguments["metric"], at.get("weights"), at.get("levels", np.zeros((0, len(labels)))), factors,
            arguments.get("leading", True), NO_LABEL,
        )  # fmt: skip

    def gradient(name):
        return oracles_pairs.numerical_gradient(lambda at: sums(**{name: at})[0], given[name])

    total, counts = sums()
    none = np.zeros((0, len(labels)))
    slopes = -gradient("levels") if "levels" in given else none
    return total, counts, slopes, gradient("x"), gradient("y") if "y" in given else given["x"][:0]


def assert_sums(got, want):
    np.testing.assert_array_equal(got.counts, want[1])
    # Finite differences of circle count its first factor as a variable, and are left out for it.
    for name, part in zip(("total", "slopes", "dx", "dy"), (want[0], *want[2:]), strict=True):
        if part is not None:
            np.testing.assert_allclose(getattr(got, name), part, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_every_backend_has_the_sums_of_loops_and_their_gradient(any_backend, case):
    arguments, factors = problem(*CASES[case]), (1.5, -0.5)[: len(CASES[case][1])]
    want = wanted(arguments, factors)
    if any(term.function == "circle" for term in CASES[case][1]):
        want = (*want[:2], None, None, None)
    assert_sums(any_backend.pair_sums(**arguments, factors=factors), want)


def test_every_name_is_tested():
    assert {term.function for _, terms, _, _ in CASES for term in terms} == set(PAIR_FUNCTIONS) - {"lifted"}
    assert {metric for *_, metric in CASES} == set(PAIR_METRICS)


def test_a_sum_is_that_of_the_reductions_with_their_gradient():
    """Also of circle, whose gradient is not that of finite differences, and of sizes beyond a stretch."""
    for rows, n, m in (
        ("batch", 300, 0),
        ("apart", 40, 300),
        ("leading", 7, 20),
        ("apart", 0, 3),
        ("batch", 1, 0),
    ):
        terms = (PairTerm("positive", "circle", "sum", 0.5, 1.0, 2.0, 0.25), PairTerm("negative", "softplus"))
        arguments = problem(rows, terms, 0, "cosine", n, m, 9)
        got = kernels.pair_sums(**arguments)
        reduced = kernels.pair_reductions(**arguments)
        dx, dy = kernels.pair_reductions_grad(**arguments, values=reduced.values, grad=np.ones((2, n)))
        np.testing.assert_array_equal(got.counts, reduced.counts.sum(1))
        # The same numbers of the pairs in other orders: relative to their number and size.
        np.testing.assert_allclose(got.total, reduced.values.sum(dtype=np.float64), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got.dx, dx, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(got.dy, dy, rtol=1e-4, atol=1e-4)


def test_nan_and_infinite_levels(any_backend):
    arguments = problem("batch", (PairTerm("negative", "hinge", "sum", -1.0, 2.0),), 2, "cosine")
    arguments["levels"][:] = np.inf  # such as those of positives that a sample does not have
    got = any_backend.pair_sums(**arguments)
    assert float(got.total) == 0.0
    for part in (got.slopes, got.dx):
        np.testing.assert_array_equal(part, 0.0)
    arguments["x"][1] = np.nan
    assert np.isnan(any_backend.pair_sums(**{**arguments, "levels": np.zeros((1, 5), np.float32)}).total)


def test_all_that_is_differentiable_has_the_gradient_of_the_twin():
    import tensorflow as tf

    from fslcore import ops, twins

    for metric, function in (("weighted_manhattan", "softplus"), ("euclidean", "squared_hinge")):
        sources = {
            "x": normal(0, 14, 6), "y": normal(3, 9, 6), "scale": 0.7, "offset": -0.3,
            "weights": normal(1, 6), "levels": normal(2, 3, 14),
        }  # fmt: skip

        def gradients(module, sources=sources, metric=metric, function=function):
            tensors = {k: tf.constant(v, tf.float32) for k, v in sources.items()}
            with tf.GradientTape() as tape:
                tape.watch(list(tensors.values()))
                terms = [
                    PairTerm(group, function, "sum", tensors["scale"], tensors["offset"])
                    for group in ("positive", "all")
                ]
                options = {"weights": tensors["weights"]} if metric == "weighted_manhattan" else {}
                sums = module.pair_sums(
                    tensors["x"], np.arange(14) % 3, terms, tensors["y"], np.arange(9) % 3, metric,
                    levels=tensors["levels"], factors=(2.0, tf.constant(0.5)), **options,
                )  # fmt: skip
                loss = tf.sin(sums.total)
            return tape.gradient(loss, tensors, unconnected_gradients="zero")

        got, want = gradients(ops), gradients(twins)
        for name, of_twin in want.items():
            np.testing.assert_allclose(got[name], of_twin, rtol=2e-4, atol=2e-3, err_msg=f"{metric}, {name}")
    factor = tf.Variable(1.0)
    with tf.GradientTape() as tape:
        total = ops.pair_sums(normal(0, 4, 3), np.arange(4), [PairTerm()], factors=[factor]).total
    with pytest.raises(LookupError, match="factors of pair_sums have no gradient"):
        tape.gradient(total, factor)


def test_the_bits_do_not_depend_on_the_threads(threads):
    arguments = {
        "x": normal(0, 600, 33),
        "labels": np.arange(600) % 60,
        "terms": [PairTerm("negative", "hinge")],
    }
    results = []
    for count in (1, 2, 5):
        threads(count)
        results.append(kernels.pair_sums(**arguments, metric="cosine", levels=normal(1, 2, 600) ** 2))
    for result in results[1:]:
        for part, first in zip(result, results[0], strict=True):
            assert_bit_identical(np.asarray(part), np.asarray(first))


X, LABELS, TERM = normal(0, 4, 3), np.arange(4), PairTerm()


@pytest.mark.parametrize(
    ("match", "changes"),
    [
        ("reduction must be one of sum, received", {"terms": (PairTerm(reduction="max"),)}),
        ("function must be one of linear", {"terms": (PairTerm(function="lifted"),)}),
        (r"factors must hold one number per term \(1\), received", {"factors": (1.0, 2.0)}),
        (r"levels must have shape \[0 to 8, 4\]", {"levels": np.zeros((9, 4), np.float32)}),
        (r"levels must have shape \[0 to 8, 4\]", {"levels": np.zeros((1, 3), np.float32)}),
        ("labels must hold one label per row of x", {"labels": np.arange(3)}),
    ],
)
def test_what_does_not_fit_is_refused(numpy_backend, match, changes):
    with pytest.raises(ValueError, match=match):
        numpy_backend.pair_sums(**{"x": X, "labels": LABELS, "terms": (TERM,), **changes})

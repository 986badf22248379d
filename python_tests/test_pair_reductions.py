# SPDX-License-Identifier: MIT
"""pair_reductions: the loops of the oracle at awkward sizes, on every route, and their gradient."""

import itertools

import numpy as np
import oracles_pairs
import pytest
from asserts import assert_bit_identical
from inputs import integers, normal

from fslcore import kernels
from fslcore.kernels import NO_LABEL, PAIR_METRICS, PairTerm
from fslcore.pair_terms import PAIR_FUNCTIONS, PAIR_GROUPS, PAIR_REDUCTIONS

SUMMED = ("linear", "hinge", "squared_hinge", "softplus", "circle")
# Every function, group and reduction.
TERMS = [
    (PairTerm("positive", "linear", "max", 0.5, -0.25), PairTerm("negative", "hinge", "min", -0.5, 3.0)),
    (
        PairTerm("all", "circle", "logsumexp", 0.25, 0.5, 1.5, 0.75),
        PairTerm("positive", "softplus", "sum", -0.5),
    ),
    (PairTerm("positive", "squared_hinge", "sum"), PairTerm("negative", "linear", "logsumexp", -0.5, 1.0)),
    (PairTerm("positive", "lifted", "sum", 0.5, 0.25),),
]


def problem(rows, terms, n, m, dim, seed=0, spread=0.25):
    """The arguments of a call, with rows that have no label."""
    labels = np.where(np.arange(n) % 7 == 5, NO_LABEL, np.arange(n) % 4)
    arguments = {"x": integers(seed, n, dim) * np.float32(spread), "labels": labels, "terms": terms}
    if rows != "batch":
        y, y_labels = integers(seed + 1, m, dim) * np.float32(spread), np.arange(m) % 5
        if rows == "leading":
            y, y_labels = np.concatenate([arguments["x"], y]), np.concatenate([labels, y_labels])
        arguments |= {"y": y, "y_labels": y_labels, "leading": rows == "leading"}
    return arguments


def wanted(arguments, metric, weights=None, levels=None):
    x, labels = arguments["x"].astype(np.float64), arguments["labels"]
    y = arguments.get("y", arguments["x"]).astype(np.float64)
    excludes_self = arguments.get("leading", True)
    return [
        oracles_pairs.reduce_term(
            x, labels, y, arguments.get("y_labels", labels), term._asdict(), metric, weights,
            None if levels is None else levels[i].astype(np.float64), excludes_self, NO_LABEL,
        )
        for i, term in enumerate(arguments["terms"])
    ]  # fmt: skip


def assert_reduced(got, want):
    for i, (values, indices, counts) in enumerate(want):
        np.testing.assert_array_equal(got.counts[i], counts)
        np.testing.assert_array_equal(got.indices[i], indices)
        # Sums of up to 300 terms of a size below 2^7 with relative errors of some 2^-20 each.
        np.testing.assert_allclose(got.values[i], values, rtol=2e-5, atol=2e-4)


def levels_of(terms, n):
    """Levels that leave some pairs out; u of lifted, of which some are -inf."""
    levels = normal(9, len(terms), n)
    if terms[0].function == "lifted":
        levels[0, ::5] = -np.inf
    return levels


@pytest.mark.each_level
@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_values_are_those_of_loops(metric):
    weights = normal(4, 9) if metric == "weighted_manhattan" else None
    sizes = itertools.cycle([(1, 3, 9), (2, 0, 9), (17, 40, 9), (40, 300, 9), (0, 4, 9), (9, 9, 9)])
    for terms, rows, (n, m, dim) in zip(
        TERMS * 3, itertools.cycle(["batch", "apart", "leading"]), sizes, strict=False
    ):
        is_lifted = terms[0].function == "lifted"
        arguments = problem("batch" if is_lifted else rows, terms, n, m, dim)
        levels = levels_of(terms, n) if is_lifted or n % 2 else None
        got = kernels.pair_reductions(**arguments, metric=metric, weights=weights, levels=levels)
        assert_reduced(got, wanted(arguments, metric, weights, levels))


def test_every_name_is_tested():
    terms = [term for pair in TERMS for term in pair]
    for names, of in ((PAIR_FUNCTIONS, "function"), (PAIR_GROUPS, "pairs"), (PAIR_REDUCTIONS, "reduction")):
        assert {getattr(term, of) for term in terms} == set(names)


@pytest.mark.parametrize("case", range(len(TERMS)))
def test_every_backend_has_these_values(any_backend, case):
    terms = TERMS[case]
    rows, metric = [
        ("batch", "sqeuclidean"),
        ("apart", "dot"),
        ("leading", "cosine"),
        ("batch", "euclidean"),
    ][case]
    arguments = problem(rows, terms, 11, 14, 5)
    levels = levels_of(terms, 11) if case in (1, 3) else None
    got = any_backend.pair_reductions(**arguments, metric=metric, levels=levels)
    assert_reduced(got, wanted(arguments, metric, None, levels))


def test_no_rows_and_no_columns_on_every_backend(any_backend):
    for n, m, dim in ((0, 3, 2), (3, 0, 2), (2, 3, 0)):
        arguments = problem("apart", TERMS[2], n, m, dim)
        assert_reduced(any_backend.pair_reductions(**arguments), wanted(arguments, "sqeuclidean"))


def test_nan_shows_where_it_counts(any_backend):
    for metric in ("cosine", "sqeuclidean", "dot"):
        for terms in TERMS[:3]:
            arguments = problem("batch", terms, 12, 0, 4)
            arguments["x"][6] = np.nan
            got = any_backend.pair_reductions(**arguments, metric=metric)
            labels = arguments["labels"]
            for i, term in enumerate(terms):
                for row, label in enumerate(labels):
                    counts = label != NO_LABEL and (row == 6 or term.pairs == "all")
                    counts |= (
                        row != 6 and (label == labels[6]) == (term.pairs == "positive") and label != NO_LABEL
                    )
                    pairs = got.counts[i, row] > 0
                    assert np.isnan(got.values[i, row]) == (counts and pairs and (row != 6 or pairs))


def gradient_wanted(arguments, metric, weights, levels, upstream):
    """By finite differences of the loops: with respect to x, and to y as if it were another array."""

    def loss(x, y):
        given = {**arguments, "x": x, **({} if y is None else {"y": y})}
        total = 0.0
        for i, (values, _, _) in enumerate(wanted(given, metric, weights, levels)):
            finite = np.asarray(values)
            total += np.sum(np.where(np.isfinite(finite), finite, 0.0) * upstream[i])
        return total

    x, y = arguments["x"].astype(np.float64), arguments.get("y")
    of_x = oracles_pairs.numerical_gradient(lambda x: loss(x, y), x)
    return of_x, None if y is None else oracles_pairs.numerical_gradient(lambda y: loss(x, y), y)


GRADIENTS = [
    (
        "batch",
        (PairTerm("positive", "squared_hinge", "sum"), PairTerm("negative", "linear", "logsumexp", -0.5)),
    ),
    (
        "apart",
        (PairTerm("all", "softplus", "sum", 0.5, -1.0), PairTerm("negative", "hinge", "sum", -0.5, 2.0)),
    ),
    ("leading", (PairTerm("all", "linear", "logsumexp", 0.5), PairTerm("positive", "linear", "sum", -1.0))),
    ("batch", (PairTerm("positive", "lifted", "sum", 0.5, 0.25),)),
]


# The C++ tests run gradients at each level.
@pytest.mark.parametrize("metric", PAIR_METRICS)
def test_gradients_are_those_of_loops(metric):
    for rows, terms in GRADIENTS:
        n, m, dim = 5, 6, 3
        # Normal numbers: no two coordinates or rows agree, where manhattan has no derivative.
        arguments = problem(rows, terms, n, m, dim)
        arguments["x"] = normal(1, n, dim)
        if "y" in arguments:
            arguments["y"] = normal(2, *arguments["y"].shape)
            if rows == "leading":
                arguments["y"][:n] = arguments["x"]
        weights = normal(4, dim) if metric == "weighted_manhattan" else None
        levels = normal(9, 1, n) if terms[0].function == "lifted" else None
        upstream = normal(5, len(terms), n)
        values = kernels.pair_reductions(**arguments, metric=metric, weights=weights, levels=levels).values
        options = {"metric": metric, "weights": weights, "levels": levels}
        got = kernels.pair_reductions_grad(**arguments, values=values, grad=upstream, **options)
        for part, want in zip(
            got, gradient_wanted(arguments, metric, weights, levels, upstream), strict=True
        ):
            if want is not None:
                np.testing.assert_allclose(part, want, rtol=1e-4, atol=1e-4)


def test_all_that_is_differentiable_has_the_gradient_of_the_twin():
    import tensorflow as tf

    from fslcore import ops, twins

    for metric, terms in (
        ("weighted_manhattan", [("positive", "softplus", "sum"), ("negative", "linear", "logsumexp")]),
        ("euclidean", [("positive", "lifted", "sum"), ("negative", "linear", "max")]),
        ("dot", [("all", "circle", "logsumexp"), ("positive", "linear", "min")]),
    ):
        is_lifted = terms[0][1] == "lifted"
        sources = {
            "x": normal(0, 14, 6), "scale": 0.7, "offset": -0.3, "weights": normal(1, 6),
            "levels": normal(2, 2, 14), **({} if is_lifted else {"y": normal(3, 9, 6)}),
        }  # fmt: skip

        def gradients(module, sources=sources, terms=terms, metric=metric, is_lifted=is_lifted):
            tensors = {k: tf.constant(v, tf.float32) for k, v in sources.items()}
            with tf.GradientTape() as tape:
                tape.watch(list(tensors.values()))
                made = [PairTerm(*term, tensors["scale"], tensors["offset"], 2.0, 0.5) for term in terms]
                options = {"levels": tensors["levels"]} if is_lifted else {}
                if metric == "weighted_manhattan":
                    options["weights"] = tensors["weights"]
                if not is_lifted:
                    options |= {"y": tensors["y"], "y_labels": np.arange(9) % 3}
                reduced = module.pair_reductions(
                    tensors["x"], np.arange(14) % 3, made, metric=metric, **options
                )
                loss = tf.reduce_sum(tf.where(tf.math.is_finite(reduced.values), tf.sin(reduced.values), 0.0))
            return tape.gradient(loss, tensors, unconnected_gradients="zero")

        got, want = gradients(ops), gradients(twins)
        for name, of_twin in want.items():
            np.testing.assert_allclose(got[name], of_twin, rtol=2e-4, atol=2e-4, err_msg=f"{metric}, {name}")


def test_the_gradient_at_distance_0_is_0_and_equal_rows_are_at_0():
    x = np.repeat(normal(0, 4, 37) * 1000, 3, axis=0)
    labels = np.repeat(np.arange(4), 3)
    term = (PairTerm("positive", "linear", "sum"),)
    for metric in ("euclidean", "sqeuclidean", "cosine", "manhattan"):
        values = kernels.pair_reductions(x, labels, term, metric=metric).values
        np.testing.assert_array_equal(values, 0.0)
        dx, _ = kernels.pair_reductions_grad(x, labels, term, values, np.ones((1, 12)), metric=metric)
        if metric in ("euclidean", "manhattan"):
            np.testing.assert_array_equal(dx, 0.0)


def test_the_bits_do_not_depend_on_the_threads(threads):
    x, labels = normal(0, 500, 33), np.arange(500) % 60
    results = []
    for count in (1, 2, 5):
        threads(count)
        values = kernels.pair_reductions(x, labels, TERMS[2], metric="cosine").values
        gradient = kernels.pair_reductions_grad(
            x, labels, TERMS[2], values, np.ones((2, 500)), metric="cosine"
        )
        results.append((values, gradient[0]))
    for values, gradient in results[1:]:
        assert_bit_identical(values, results[0][0])
        assert_bit_identical(gradient, results[0][1])


X, LABELS, TERM = normal(0, 4, 3), np.arange(4), PairTerm()


@pytest.mark.parametrize(
    ("match", "changes"),
    [
        ("metric must be one of", {"metric": "chebyshev"}),
        ("terms must be one or two of PairTerm, received", {"terms": ()}),
        ("terms must be one or two of PairTerm, received", {"terms": (TERM,) * 3}),
        ("pairs must be one of positive, negative, all, received", {"terms": (PairTerm("some"),)}),
        ("function must be one of", {"terms": (PairTerm("all", "cubic"),)}),
        ("reduction must be one of", {"terms": (PairTerm("all", "linear", "none"),)}),
        ("y_labels must be given with `y`", {"y": X}),
        ("weights belong to the metric", {"weights": np.ones(3, np.float32)}),
        ("labels must hold one label per row of x", {"labels": np.arange(3)}),
        ("y must begin with the rows of x", {"y": X[:2], "y_labels": np.arange(2), "leading": True}),
        ("leading must be False without `y`, received leading=True", {"leading": True}),
        ("leading must be True or False", {"leading": 1}),
        ("levels must have shape", {"levels": np.zeros((3, 4), np.float32)}),
        ("the function lifted needs", {"terms": (PairTerm("positive", "lifted"),)}),
    ],
)
def test_what_does_not_fit_is_refused(numpy_backend, match, changes):
    with pytest.raises(ValueError, match=match):
        numpy_backend.pair_reductions(**{"x": X, "labels": LABELS, "terms": (TERM,), **changes})


def test_the_gradient_of_an_extreme_is_refused_where_it_would_be_left_out(backend):
    values = np.zeros((1, 4), np.float32)
    for reduction in ("max", "min"):
        term = PairTerm("all", "linear", reduction)
        with pytest.raises(ValueError, match="reduction must be sum or logsumexp for pair_reductions_grad"):
            backend.pair_reductions_grad(X, LABELS, (term,), values, values)

# SPDX-License-Identifier: MIT
"""fslcore.jax on the CPU: the values of the NumPy functions, transformations, errors of every function."""

import warnings

import numpy as np
import oracles
import pytest
from inputs import normal
from kernel_calls import CALLS as NUMPY_CALLS
from kernel_calls import LABELS, STORE, WEIGHTS, X, Y
from with_jax import require_jax

require_jax()

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)  # labels and seeds are int64

import jax.numpy as jnp  # noqa: E402

import fslcore.jax as fj  # noqa: E402
from fslcore import kernels  # noqa: E402
from fslcore.arguments import METRICS, MININGS, SEARCH_METRICS, TRIPLET_METRICS  # noqa: E402

FUNCTIONS = [name for name in fj.__all__ if name.islower() and name != "platforms"]
CALLS = {name: arguments for name, arguments in NUMPY_CALLS.items() if name != "group_labels"}
ARRAYS = ("x", "y", "queries", "rows", "grad", "weights", "bias", "labels", "y_labels", "levels", "values",
          "store", "indices", "rotations", "images", "transforms", "distributions", "sizes", "numbers",
          "step", "seed", "first", "first_episode", "hidden", "hidden_bias", "mixing")  # fmt: skip


def call(function, **changes):
    return getattr(fj, function)(**{**CALLS[function], **changes})


def leaves(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result)]


def test_the_calls_are_of_all_functions():
    assert set(CALLS) == set(FUNCTIONS)


# Values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_results_are_those_of_numpy_bit_for_bit(function, traced):
    arguments = CALLS[function]
    arrays = {k: np.asarray(v) for k, v in arguments.items() if k in ARRAYS}
    rest = {k: v for k, v in arguments.items() if k not in ARRAYS}
    run = lambda arrays: getattr(fj, function)(**arrays, **rest)  # noqa: E731
    got = leaves((jax.jit(run) if traced else run)(arrays))
    want = [np.asarray(part) for part in jax.tree.leaves(getattr(kernels, function)(**arguments))]
    if function.startswith("mine"):
        *got, count = got
        assert not any(part[count:].any() for part in got)
        got = [part[:count] for part in got]
    assert len(got) == len(want)
    for part, wanted in zip(got, want, strict=True):
        np.testing.assert_array_equal(part, wanted.astype(part.dtype))


@pytest.mark.parametrize("metric", METRICS)
def test_the_gradients_of_pairwise(metric):
    options = WEIGHTS if metric == "weighted_manhattan" else {}
    upstream = normal(3, 12, 7)
    want = oracles.pairwise_grad(X, Y, upstream, metric, **options)
    given = {"x": X, "y": Y, **{k: v for k, v in options.items() if k != "activation"}}
    rest = {k: v for k, v in options.items() if k == "activation"}
    score = lambda given: jnp.sum(fj.pairwise(**given, metric=metric, **rest) * upstream)  # noqa: E731
    got = jax.grad(score)(given)
    for name, wanted in zip(given, want, strict=False):
        np.testing.assert_allclose(got[name], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("metric", TRIPLET_METRICS)
def test_the_gradient_of_the_triplet_loss(mining, metric):
    loss, grad = jax.value_and_grad(lambda x: 3 * fj.triplet_loss(x, LABELS, mining, 0.5, metric).loss)(X)
    want = kernels.triplet_loss(X, LABELS, mining, 0.5, metric)
    np.testing.assert_allclose(loss, 3 * want.loss, rtol=1e-6)
    np.testing.assert_allclose(grad, 3 * want.grad, rtol=1e-6)


@pytest.mark.parametrize("metric", SEARCH_METRICS)
def test_the_gradients_of_nearest(metric):
    upstream = normal(3, 12, 3)
    score = lambda queries, rows: jnp.sum(fj.nearest(queries, rows, 3, metric).values * upstream)  # noqa: E731
    got = jax.grad(score, (0, 1))(X, Y)
    spread = np.zeros((12, 7))
    np.put_along_axis(spread, kernels.nearest(X, Y, 3, metric).indices.astype(int), upstream, axis=1)
    want = oracles.pairwise_grad(X, Y, spread, metric)
    np.testing.assert_allclose(got[0], want.x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got[1], want.y, rtol=1e-4, atol=1e-5)
    again = jax.jit(jax.grad(lambda x: jnp.sum(jax.grad(score)(x, Y) ** 2)))(X)  # of the second order
    assert np.all(np.isfinite(again))


def test_the_gradients_of_pair_sums():
    names = ("x", "y", "weights", "levels")
    total = lambda *sources: call("pair_sums", **dict(zip(names, sources, strict=True))).total  # noqa: E731
    sources = [np.asarray(CALLS["pair_sums"][name]) for name in names]
    of_x, of_y, of_weights, of_levels = jax.grad(total, argnums=(0, 1, 2, 3))(*sources)
    want = kernels.pair_sums(**CALLS["pair_sums"])
    np.testing.assert_allclose(of_x, want.dx, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(of_y, want.dy, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(of_levels, -want.slopes, rtol=1e-6)
    step = np.float32(1e-2) * np.sign(sources[2])
    above, below = (total(*sources[:2], sources[2] + s, sources[3]) for s in (step, -step))
    np.testing.assert_allclose(np.sum(of_weights * 2 * step), above - below, rtol=1e-2)
    with pytest.raises(NotImplementedError, match="factors of pair_sums have no derivative"):
        jax.grad(lambda factor: call("pair_sums", factors=(factor,)).total)(0.5)


# Transformations --------------------------------------------------------------------------------------

SCALARS = {
    "pairwise": lambda x: fj.pairwise(x, Y, "cosine").sum(),
    "pairwise of itself": lambda x: fj.pairwise(x, metric="euclidean").sum(),
    **{mining: lambda x, mining=mining: fj.triplet_loss(x, LABELS, mining).loss for mining in MININGS},
    "pair_sums": lambda x: call("pair_sums", x=x).total,
}
each_scalar = pytest.mark.parametrize("scalar", SCALARS.values(), ids=SCALARS)


@each_scalar
def test_vmap_gives_the_results_of_single_calls(scalar):
    batch = np.stack([X, -2 * X, X**2])
    value_and_grad = jax.value_and_grad(scalar)
    want = [value_and_grad(x) for x in batch]
    of_sum = jax.grad(lambda batch: jax.vmap(scalar)(batch).sum())(batch)
    for got in (jax.vmap(value_and_grad)(batch), jax.jit(jax.vmap(value_and_grad))(batch)):
        np.testing.assert_array_equal(got[0], [value for value, _ in want])
        np.testing.assert_array_equal(got[1], [grad for _, grad in want])
    np.testing.assert_array_equal(of_sum, [grad for _, grad in want])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_vmap_of_every_function(function):
    batched = ("x", "queries", "labels", "seed", "indices", "images")
    name = next(name for name in batched if name in CALLS[function])
    array = np.asarray(CALLS[function][name])
    batch = np.stack([array, array[::-1] if array.ndim else array + 1])
    got = leaves(jax.vmap(lambda array: call(function, **{name: array}))(batch))
    want = [leaves(call(function, **{name: array})) for array in batch]
    for i, part in enumerate(got):
        np.testing.assert_array_equal(part, [single[i] for single in want])


@each_scalar
def test_gradients_inside_loops_checkpoints_and_compiled_functions(scalar):
    want = jax.grad(scalar)(X)
    np.testing.assert_array_equal(jax.grad(jax.checkpoint(scalar))(X), want)
    np.testing.assert_array_equal(jax.jit(jax.grad(jax.jit(scalar)))(X), want)
    step = lambda x, _: (x, jax.grad(scalar)(x))  # noqa: E731
    np.testing.assert_array_equal(jax.lax.scan(step, X, length=2)[1][1], want)


@each_scalar
def test_second_derivatives_are_refused(scalar):
    slope = jax.grad(scalar)
    for twice in (jax.grad(lambda x: slope(x).sum()), jax.jit(jax.grad(lambda x: (slope(x) ** 2).sum()))):
        with pytest.raises(NotImplementedError, match="has first-order gradients only"):
            twice(X)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.hessian(scalar)(X)


def test_gradients_through_gradients_as_results_are_refused():
    for of_grad in (
        lambda x: fj.triplet_loss(x, LABELS).grad.sum(),
        lambda x: fj.pairwise_grad(x, Y, normal(3, 12, 7))[0].sum(),
        lambda x: call("pair_sums", x=x).dx.sum(),
    ):
        with pytest.raises(NotImplementedError, match="has first-order gradients only"):
            jax.grad(of_grad)(X)


@each_scalar
def test_a_stopped_gradient_may_stand_in_a_derivative(scalar):
    step = lambda x: scalar(x - 0.1 * jax.lax.stop_gradient(jax.grad(scalar)(x)))  # noqa: E731
    np.testing.assert_allclose(jax.grad(step)(X), jax.grad(scalar)(X - 0.1 * jax.grad(scalar)(X)), rtol=1e-6)


# Errors -----------------------------------------------------------------------------------------------

HOSTILE = {
    "complex": lambda value: np.asarray(value).astype(np.complex64),
    "text": lambda value: "text",
    "masked": lambda value: np.ma.array(np.asarray(value), mask=np.ones(np.shape(value), bool)),
    "one more axis": lambda value: np.asarray(value)[..., None],
    "None in it": lambda value: [None],
}
PAIRWISE = "pairwise", "pairwise_grad"
OF_TRIPLETS = [f for f in FUNCTIONS if "metric" in CALLS[f] and "labels" in CALLS[f]]
COUNTS = "n_way", "k_shot", "n_query", "episodes"
OF_INTEGERS = {
    "fractions": lambda value: np.asarray(value) + 0.5,
    "beyond int64": lambda value: np.full(np.shape(value), 2**63, np.uint64),
}


def hostile_calls():
    for function, arguments in CALLS.items():
        for name in filter(ARRAYS.__contains__, arguments):
            integers = np.asarray(arguments[name]).dtype.kind in "iu" and name not in ("store", "images")
            for kind, change in {**HOSTILE, **(OF_INTEGERS if integers else {})}.items():
                # They may have any.
                if name not in ("indices", "numbers") or kind != "one more axis":
                    yield pytest.param(function, name, change, id=f"{function}, {name}, {kind}")


@pytest.mark.parametrize(("function", "name", "change"), [*hostile_calls()])
def test_every_array_is_checked_before_anything_runs(function, name, change):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"^{name} must|^rotations must have the leading axes"):
            call(function, **{name: change(CALLS[function][name])})


@pytest.mark.parametrize(
    ("function", "changes", "match"),
    [
        *[(f, {"x": X[:, :4]}, "x and y must have the same number of col") for f in PAIRWISE],
        *[(f, {"weights": [1.0]}, "weights must hold one number") for f in PAIRWISE],
        *[(f, {"metric": "cubic"}, "metric must be one of") for f in FUNCTIONS if "metric" in CALLS[f]],
        *[(f, {"labels": [0, 1]}, "labels must hold one label") for f in OF_TRIPLETS],
        *[(f, {"mining": "soft"}, "mining must be one of") for f in FUNCTIONS if "mining" in CALLS[f]],
        *[(f, {"margin": "1"}, "margin must be a number") for f in FUNCTIONS if "margin" in CALLS[f]],
        *[(f, {"seed": -1}, "seed must be at least 0") for f in ("sample_episodes", "permutations")],
        *[("sample_episodes", {n: 1.5}, f"{n} must be a whole") for n in COUNTS],
        *[("sample_episodes", {n: -1}, f"{n} must be at least") for n in (*COUNTS, "first_episode")],
        ("permutations", {"n": 2**70}, "n must be below"),
        ("permutations", {"first": -1}, "first must be at least 0"),
        ("pairwise_grad", {"grad": np.zeros((7, 12))}, r"grad must be \[12, 7\]"),
        ("nearest", {"k": 8}, r"k must be at most the number of rows \(7\)"),
        ("nearest", {"k": 0}, "k must be at least 1"),
        ("nearest", {"rows": np.zeros((4, 3))}, "queries and rows must have the same number of columns"),
        ("pairwise", {"activation": "relu"}, "activation must be"),
        ("pairwise", {"precision": "double"}, "precision must be one of"),
        ("gather_images", {"rotations": [1, 2, 3]}, "rotations must have the leading axes"),
        ("gather_images", {"store": STORE[0]}, "store must be uint8"),
        ("gather_images", {"store": STORE[:, :0]}, "store must have pixels to resize"),
        ("gather_images", {"size": (0, 3)}, "size must be"),
        ("gather_images", {"scale": "1"}, "scale must be a number"),
        ("mine_semihard", {"x": np.zeros((46_342, 1)), "labels": np.zeros(46_342, int)}, "x must have fewer"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "jit"])
def test_what_python_sees_is_a_value_error(function, changes, match, traced):
    run = lambda: call(function, **changes)  # noqa: E731
    with pytest.raises(ValueError, match=f"^{match}"):
        jax.jit(run)() if traced else run()


@pytest.mark.parametrize(
    ("function", "changes", "match"),
    [
        ("sample_episodes", {"seed": jnp.array(-1)}, "seed must be at least 0"),
        ("sample_episodes", {"n_way": 5}, "n_way must be at most the number of classes"),
        ("sample_episodes", {"k_shot": 2}, "must not exceed the images of any class"),
        ("permutations", {"first": jnp.array(-1)}, "first must be at least 0"),
        ("gather_images", {"indices": [[1, 9], [0, 3]]}, "indices must be in"),
        ("gather_images", {"rotations": [1, 4]}, "rotations must be 0, 1, 2 or 3"),
    ],
)
def test_what_values_tell_is_told_by_the_kernel(function, changes, match):
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=match) as caught:
        jax.block_until_ready(call(function, **changes))
    assert "INVALID_ARGUMENT" in str(caught.value)


def test_a_traced_option_is_named():
    with pytest.raises(ValueError, match="margin must be a number"):
        jax.jit(lambda margin: call("triplet_loss", margin=margin).loss)(1.0)


def test_the_module_is_reached_from_the_package():
    import fslcore

    assert fslcore.jax is fj
    assert "jax" in dir(fslcore)
    assert fj.platforms()[0] == "cpu"

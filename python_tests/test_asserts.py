# SPDX-License-Identifier: MIT
"""The comparisons accept what rounding explains and reject everything else."""

import numpy as np
import oracles
import pytest
from asserts import (
    UNIT,
    assert_bit_identical,
    assert_gradient_close,
    assert_mined,
    assert_mined_anchors,
    decision_gap,
    float32_exactly,
    gamma,
    gradient_magnitude,
    pairwise_tolerance,
)

KERNELS = [
    pytest.param("sqeuclidean", {}, id="sqeuclidean"),
    pytest.param("euclidean", {}, id="euclidean"),
    pytest.param("cosine", {}, id="cosine"),
    pytest.param("dot", {}, id="dot"),
    pytest.param("manhattan", {}, id="manhattan"),
    pytest.param("weighted_manhattan", {"weights": np.linspace(-1, 1, 12), "bias": 0.5}, id="weighted"),
    pytest.param(
        "weighted_manhattan",
        {"weights": np.linspace(-1, 1, 12), "bias": 0.5, "activation": "sigmoid"},
        id="weighted-sigmoid",
    ),
]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_gamma_of_one_and_of_many_roundings():
    assert gamma(0) == 0
    assert UNIT < gamma(1) < 1.0001 * UNIT
    assert 1000 * UNIT < gamma(1000) < 1.0001 * 1000 * UNIT


def test_float32_exactly_refuses_a_value_between_two_floats():
    assert float32_exactly([2.0**24, 0.5]).dtype == np.float32
    with pytest.raises(AssertionError, match="not float32"):
        float32_exactly([2.0**24 + 1])


@pytest.mark.parametrize(
    ("got", "want"),
    [
        pytest.param(np.float32([0.0]), np.float32([-0.0]), id="sign of zero"),
        pytest.param(np.float32([1.0]), np.float64([1.0]), id="dtype"),
        pytest.param(np.float32([1.0]), np.float32([[1.0]]), id="shape"),
        pytest.param(np.float32([1.0]), np.nextafter(np.float32([1.0]), np.float32(2)), id="last bit"),
        pytest.param(np.float32([np.nan]), np.float32([1.0]), id="nan"),
    ],
)
def test_bit_identical_rejects(got, want):
    assert_bit_identical(got, got.copy())
    with pytest.raises(AssertionError):
        assert_bit_identical(got, want)


@pytest.mark.parametrize(("metric", "options"), KERNELS)
def test_pairwise_tolerance_admits_float32_and_nothing_coarse(metric, options):
    x, y = normal(0, 20, 12), normal(1, 30, 12)
    exact = oracles.pairwise(x, y, metric, **options)
    tolerance = pairwise_tolerance(x, y, metric, **options)
    assert tolerance.shape == exact.shape
    assert np.all(np.abs(exact.astype(np.float32) - exact) <= tolerance)
    # bfloat16 keeps 8 bits: a kernel that computed in it must be rejected in every row.
    coarse = (exact.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert np.all(np.any(np.abs(coarse - exact) > tolerance, axis=1))


def test_euclidean_tolerance_stays_finite_where_rows_coincide():
    x = normal(0, 3, 4)
    tolerance = pairwise_tolerance(x, x, "euclidean")
    # The root of the squared tolerance: 2 gamma(7) 2 |x|^2, so about 1e-3 |x|.
    assert np.all(np.diag(tolerance) <= np.sqrt(4 * gamma(7)) * np.linalg.norm(x, axis=1) * 1.001)
    assert np.all(np.diag(tolerance) > 0)


def gradient_case(metric, options):
    x, y, grad = normal(0, 9, 12), normal(1, 7, 12), normal(2, 9, 7)
    want = oracles.pairwise_grad(x, y, grad, metric, **options)
    return want.x, gradient_magnitude(x, y, grad, metric, **options).x


@pytest.mark.parametrize(("metric", "options"), KERNELS)
def test_gradient_close_accepts_rounded_values(metric, options):
    want, magnitude = gradient_case(metric, options)
    assert_gradient_close(want.astype(np.float32), want, magnitude, roundings=40)


def zero_one_row(grad):
    grad[3] = 0


def flip_one_sign(grad):
    grad[2, 5] *= -1


def drop_one_percent(grad):
    grad *= 0.99


def shift_by_one_row(grad):
    grad[:] = np.roll(grad, 1, axis=0)


def spoil_with_nan(grad):
    grad[0, 0] = np.nan


@pytest.mark.parametrize(
    "spoil", [zero_one_row, flip_one_sign, drop_one_percent, shift_by_one_row, spoil_with_nan]
)
@pytest.mark.parametrize(("metric", "options"), KERNELS)
def test_gradient_close_rejects(metric, options, spoil):
    want, magnitude = gradient_case(metric, options)
    got = want.copy()
    spoil(got)
    with pytest.raises(AssertionError, match="element"):
        assert_gradient_close(got, want, magnitude, roundings=40)


def test_gradient_close_rejects_a_systematic_error_that_every_element_would_hide():
    want = np.ones((100, 100))
    got = want * (1 + 0.9 * gamma(400))
    assert np.all(np.abs(got - want) <= gamma(400))
    with pytest.raises(AssertionError, match="L2 error"):
        assert_gradient_close(got, want, np.ones_like(want), roundings=400)


def test_gradient_close_refuses_a_tolerance_that_proves_nothing():
    want = np.full((4, 4), 1e-6)
    with pytest.raises(AssertionError, match="proves nothing"):
        assert_gradient_close(want, want, np.ones_like(want), roundings=40)


# Anchor 0 sits at 0, its positive (row 1) at distance 4, negatives at 3, 5, 5 + 1e-6 and 9.
LABELS = np.array([0, 0, 1, 1, 1, 1])
POSITIONS = np.array([0.0, 4.0, 3.0, 5.0, 5.000001, 9.0])
DISTANCE = np.abs(POSITIONS[:, None] - POSITIONS[None, :])


def mined_with(negative_of_anchor_0):
    a, p, n = (
        part.astype(np.int32)
        for part in oracles.mine_triplets(POSITIONS[:, None], LABELS, "semihard", "manhattan")
    )
    assert (a[0], p[0], n[0]) == (0, 1, 3)
    n[0] = negative_of_anchor_0
    return a, p, n


@pytest.mark.parametrize(("negative", "tolerance"), [(3, 0.0), (3, 1e-5), (4, 1e-5), (2, 0.6)])
def test_mined_accepts_what_the_tolerance_explains(negative, tolerance):
    assert_mined(mined_with(negative), LABELS, DISTANCE, np.full_like(DISTANCE, tolerance))


@pytest.mark.parametrize(
    ("negative", "tolerance"),
    [
        pytest.param(4, 0.0, id="second nearest"),
        pytest.param(2, 1e-5, id="nearer than the positive"),
        pytest.param(5, 1e-5, id="farthest though one is beyond"),
        pytest.param(1, 1e-5, id="of the anchor's class"),
        pytest.param(-1, 1e-5, id="no row"),
        pytest.param(6, 1e-5, id="past the end"),
    ],
)
def test_mined_rejects_a_wrong_negative(negative, tolerance):
    with pytest.raises(AssertionError, match="negative"):
        assert_mined(mined_with(negative), LABELS, DISTANCE, np.full_like(DISTANCE, tolerance))


def test_mined_rejects_a_missing_pair_another_order_and_another_dtype():
    a, p, n = mined_with(3)
    nothing = np.zeros_like(DISTANCE)
    assert_mined((a, p, n), LABELS, DISTANCE, nothing)
    with pytest.raises(AssertionError):
        assert_mined((a[1:], p[1:], n[1:]), LABELS, DISTANCE, nothing)
    with pytest.raises(AssertionError):
        assert_mined((a[::-1], p[::-1], n[::-1]), LABELS, DISTANCE, nothing)
    with pytest.raises(AssertionError):
        assert_mined((a.astype(np.int64), p, n), LABELS, DISTANCE, nothing)


def test_mined_rejects_a_near_negative_where_the_farthest_is_due():
    labels = np.array([0, 0, 1, 1])
    positions = np.array([0.0, 10.0, 1.0, 2.0])
    distance = np.abs(positions[:, None] - positions[None, :])
    a, p, n = (
        part.astype(np.int32)
        for part in oracles.mine_triplets(positions[:, None], labels, "semihard", "manhattan")
    )
    assert n[0] == 3
    assert_mined((a, p, n), labels, distance, np.zeros_like(distance))
    n[0] = 2
    with pytest.raises(AssertionError, match="negative 2"):
        assert_mined((a, p, n), labels, distance, np.zeros_like(distance))


# Anchor 0 sits at 0, its positives at 4 and 4.000001, its negatives at 3, -3.000001 and 9.
HARD_LABELS = np.array([0, 0, 0, 1, 1, 1])
HARD_POSITIONS = np.array([0.0, 4.0, 4.000001, 3.0, -3.000001, 9.0])
HARD_DISTANCE = np.abs(HARD_POSITIONS[:, None] - HARD_POSITIONS[None, :])


def hard_with(**of_anchor_0):
    a, p, n = (
        part.astype(np.int32)
        for part in oracles.mine_triplets(HARD_POSITIONS[:, None], HARD_LABELS, "hard", "manhattan")
    )
    assert (a[0], p[0], n[0]) == (0, 2, 3)
    p[0], n[0] = of_anchor_0.get("positive", 2), of_anchor_0.get("negative", 3)
    return a, p, n


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [({}, 0.0), ({"positive": 1}, 1e-5), ({"negative": 4}, 1e-5), ({"negative": 5}, 3.0)],
)
def test_mined_hard_accepts_what_the_tolerance_explains(changes, tolerance):
    tolerances = np.full_like(HARD_DISTANCE, tolerance)
    assert_mined_anchors("hard", hard_with(**changes), HARD_LABELS, HARD_DISTANCE, tolerances)


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        pytest.param({"positive": 1}, 0.0, id="second farthest"),
        pytest.param({"positive": 0}, 1e-5, id="itself"),
        pytest.param({"positive": 5}, 1e-5, id="positive of another class"),
        pytest.param({"negative": 4}, 0.0, id="second nearest"),
        pytest.param({"negative": 5}, 1e-5, id="farthest"),
        pytest.param({"negative": 1}, 1e-5, id="negative of its class"),
        pytest.param({"negative": -1}, 1e-5, id="no row"),
    ],
)
def test_mined_hard_rejects_a_wrong_row(changes, tolerance):
    tolerances = np.full_like(HARD_DISTANCE, tolerance)
    with pytest.raises(AssertionError, match=f"{next(iter(changes))} .* of anchor 0"):
        assert_mined_anchors("hard", hard_with(**changes), HARD_LABELS, HARD_DISTANCE, tolerances)


def test_mined_hard_rejects_a_missing_anchor_and_another_dtype():
    a, p, n = hard_with()
    nothing = np.zeros_like(HARD_DISTANCE)
    with pytest.raises(AssertionError):
        assert_mined_anchors("hard", (a[1:], p[1:], n[1:]), HARD_LABELS, HARD_DISTANCE, nothing)
    with pytest.raises(AssertionError):
        assert_mined_anchors("hard", (a.astype(np.int64), p, n), HARD_LABELS, HARD_DISTANCE, nothing)


@pytest.mark.parametrize(
    ("margin", "gap"),
    [
        # Anchor 0 has its positive at 3 and its only negative at 7, anchor 1 has 3 and 4: the hinges are
        # margin - 4 and margin - 1; the two distances of a row differ by 4, 1 and 3 (7 - 4).
        pytest.param(10.0, 1.0, id="two distances"),
        pytest.param(1.25, 0.25, id="hinge"),
    ],
)
def test_decision_gap_is_the_nearest_tie_or_kink(margin, gap):
    assert decision_gap([[0.0], [3.0], [7.0]], [0, 0, 1], margin, "manhattan") == gap

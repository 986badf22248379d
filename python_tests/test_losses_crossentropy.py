# SPDX-License-Identifier: MIT
"""The cross-entropy of a Gram matrix: values against NumPy loops, weights of the pairs."""

import math

import numpy as np
import oracles
import pytest
from asserts import UNIT, gamma
from inputs import normal
from labelled import LABEL_FORMS, LABELS, ONE_HOT
from routes import MODES, name, with_gradient

from fslcore.losses import (
    BinaryCrossentropy,
    binary_crossentropy,
)

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)


def crossentropy(labels, scores, balanced=False):
    """The mean over all pairs, or half over each kind; float64, pair by pair."""
    batch = len(labels)
    kinds = {True: [], False: []}
    for i, j in np.ndindex(batch, batch):
        score = min(max(float(scores[i, j]), 1e-7), 1 - 1e-7)
        match = labels[i] == labels[j]
        if not balanced or i != j:
            kinds[bool(match)].append(-math.log((score if match else 1 - score) + 1e-7))
    if not balanced:
        return sum(kinds[True] + kinds[False]) / batch**2
    return sum(0.5 * np.mean(kind) for kind in kinds.values() if kind)


# A logarithm (2 ulp), a complement, a sum and the mean of 121 losses in [0.05, 3].
BCE_TOLERANCE = gamma(4 + 2 + 121 + 4)


@in_every_mode
@pytest.mark.parametrize("balanced", [False, True], ids=["plain", "balanced"])
@pytest.mark.parametrize("labels", [*LABEL_FORMS.values(), ONE_HOT], ids=[*LABEL_FORMS, "one-hot"])
def test_binary_crossentropy(mode, labels, balanced):
    scores = oracles.sigmoid(normal(0, 11, 11)).astype(np.float32)
    got = mode(BinaryCrossentropy(balanced))(labels, scores)
    # A score near 1 makes its complement, and so a loss of size 0.05, uncertain by 20 times as much.
    assert float(got) == pytest.approx(crossentropy(LABELS, scores, balanced), rel=20 * BCE_TOLERANCE)


def test_binary_crossentropy_is_one_loss_per_pair():
    losses = binary_crossentropy([1, 1, 2], np.float32([[1, 0.5, 0.5], [0, 1, 0], [1, 0, 1]]))
    half = -math.log(0.5 + 1e-7)
    want = [[0, half, half], [15.42495, 0, 0], [15.42495, 0, 0]]
    # At 1 the clipped score is 1 - 2^-23, float32's last below 1, and its complement 2^-23.
    want[2][0] = -math.log(2.0**-23 + 1e-7)
    np.testing.assert_allclose(losses, want, rtol=1e-6, atol=2 * UNIT)  # 1e-6: the digits of 15.42495


@in_every_mode
def test_the_gradient_of_the_balanced_loss_is_zero_on_the_diagonal_and_sums_alike(mode):
    scores = np.full((11, 11), 0.5, np.float32)
    loss = BinaryCrossentropy(balanced=True)
    _, grad = mode(with_gradient(lambda scores, labels: loss(labels, scores)))(scores, LABELS)
    match = LABELS[:, None] == LABELS[None, :]
    assert not np.diag(grad).any()
    # d/dp of -log(p + eps) at 1/2 is -2 (1 - 2e-7); each kind weighs one half. 121 terms are added up.
    for kind, sign in ((match, -1), (~match, 1)):
        assert float(np.sum(np.asarray(grad)[kind])) == pytest.approx(sign, rel=gamma(130) + 2e-7)


@in_every_mode
@pytest.mark.parametrize(
    ("labels", "want"), [(np.zeros(4), 0.5), (np.arange(4), 0.5), ([7], 0.0), ([], 0.0)], ids=str
)
def test_the_balanced_loss_of_one_kind_of_pairs(mode, labels, want):
    labels = np.array(labels, np.float32)
    scores = np.full((len(labels), len(labels)), 0.5, np.float32)
    want *= -math.log(0.5 + 1e-7)
    assert float(mode(BinaryCrossentropy(balanced=True))(labels, scores)) == pytest.approx(
        want, rel=BCE_TOLERANCE
    )


@in_every_mode
@pytest.mark.parametrize("balanced", [False, True], ids=["plain", "balanced"])
def test_nan_scores_show_in_the_binary_crossentropy(mode, balanced):
    scores = np.full((3, 3), 0.5, np.float32)
    scores[0, 1] = np.nan
    assert math.isnan(float(mode(BinaryCrossentropy(balanced))(np.arange(3), scores)))


def test_sample_weights_are_for_the_rows():
    scores = oracles.sigmoid(normal(0, 3, 3)).astype(np.float32)
    losses = binary_crossentropy([0, 0, 1], scores).numpy()
    weighted = BinaryCrossentropy()(np.array([0, 0, 1]), scores, np.float32([1, 0, 2]))
    assert float(weighted) == pytest.approx((losses[0].sum() + 2 * losses[2].sum()) / 9, rel=gamma(12))

# SPDX-License-Identifier: MIT
"""What migration.md says of TensorFlow Similarity: its formulas in NumPy, and the losses here."""

import numpy as np
import pytest
from inputs import normal

from fslcore import losses

X = normal(0, 24, 8)
X /= np.linalg.norm(X, axis=1, keepdims=True)
LABELS = np.r_[99, np.arange(23) % 6]  # the first is alone in its class
SAME = LABELS[:, None] == LABELS
POSITIVE, NEGATIVE = SAME & ~np.eye(24, dtype=bool), ~SAME
DISTANCE = 1.0 - X.astype(np.float64) @ X.T.astype(np.float64)
HAS_BOTH = POSITIVE.any(axis=1)


def log_one_more(values, mask):
    """log(1 + the sum of exponentials), of each row."""
    return np.logaddexp(0.0, np.logaddexp.reduce(np.where(mask, values, -np.inf), axis=1))


def greatest(mask):
    return np.where(mask, DISTANCE, -np.inf).max(axis=1)


def least(mask):
    return np.where(mask, DISTANCE, np.inf).min(axis=1)


def of_circle(gamma=80.0, margin=0.4):
    """The exponents of positives and of negatives."""
    positive = np.maximum(margin + DISTANCE, 0.0) * (DISTANCE - margin)
    negative = np.maximum(1.0 + margin - DISTANCE, 0.0) * (1.0 - margin - DISTANCE)
    return gamma * positive, gamma * negative


def multi_similarity(lmda, center, alpha=2.0, beta=40.0, epsilon=0.1):
    positive = POSITIVE & (least(NEGATIVE)[:, None] - epsilon < DISTANCE)
    negative = NEGATIVE & (greatest(POSITIVE)[:, None] + epsilon > DISTANCE)
    shifted = DISTANCE + lmda - center
    of_both = log_one_more(alpha * shifted, positive) / alpha + log_one_more(-beta * shifted, negative) / beta
    return (of_both * (positive.any(axis=1) & negative.any(axis=1))).mean()


def of_one_view(queries, keys, temperature):
    logits = np.c_[queries @ keys.T, queries @ queries.T - 1e9 * np.eye(len(queries))] / temperature
    return (np.logaddexp.reduce(logits, axis=1) - np.diag(logits)).mean()


@pytest.mark.parametrize(("lmda", "center"), [(0.5, 1.0), (0.3, 0.9)])
def test_multi_similarity(lmda, center):
    here = losses.multi_similarity_loss(LABELS, X, beta=40.0, threshold=lmda + 1.0 - center)
    np.testing.assert_allclose(here, multi_similarity(lmda, center), rtol=1e-5)


def test_circle_multiplies_the_sums():
    positive, negative = of_circle()
    there = (log_one_more(positive, POSITIVE) + log_one_more(negative, NEGATIVE)) * HAS_BOTH
    sums = [np.logaddexp.reduce(np.where(m, v, -np.inf), axis=1) for v, m in
            [(positive, POSITIVE), (negative, NEGATIVE)]]  # fmt: skip
    want = np.logaddexp(0.0, sum(sums))[HAS_BOTH].mean()
    np.testing.assert_allclose(losses.circle_loss(LABELS, X), want, rtol=1e-5)
    assert abs(there.mean() - want) > 1.0  # the two differ, as the table says


def test_soft_nearest_neighbours_without_a_positive_do_not_count():
    weights = np.exp(-2.0 * DISTANCE) * ~np.eye(24, dtype=bool)
    there = -np.log(1e-9 + (weights * POSITIVE).sum(axis=1) / weights.sum(axis=1)) * HAS_BOTH
    want = there.mean() * 24 / HAS_BOTH.sum()
    np.testing.assert_allclose(losses.soft_nearest_neighbor_loss(LABELS, X), want, rtol=1e-5)


def test_views_are_found_in_both_directions():
    first, second = X[:12], X[12:]
    want = (of_one_view(first, second, 0.5) + of_one_view(second, first, 0.5)) / 2
    here = losses.info_nce_loss(np.tile(np.arange(12), 2), X, temperature=0.5)
    np.testing.assert_allclose(here, want, rtol=1e-5)


def test_ranking_of_many_negatives():
    queries, keys = 20.0 * X[:12], X[12:]
    logits = queries.astype(np.float64) @ keys.T
    want = (np.logaddexp.reduce(logits, axis=1) - np.diag(logits)).mean()
    there = (log_one_more(logits, np.ones_like(logits, bool)) - np.diag(logits)).mean()
    np.testing.assert_allclose(losses.npairs_embeddings_loss(np.arange(12), queries, keys), want, rtol=1e-5)
    assert there > want


@pytest.mark.parametrize(("mining", "positive"), [("hard", greatest), ("easy_positive", least)])
def test_triplets_with_the_hardest_negative(mining, positive):
    want = np.maximum(positive(POSITIVE) - least(NEGATIVE) + 0.7, 0.0)[HAS_BOTH].mean()
    np.testing.assert_allclose(losses.triplet_mining_loss(LABELS, X, mining, 0.7, "angular"), want, rtol=1e-5)


def test_no_margin_is_soft():
    want = np.logaddexp(0.0, greatest(POSITIVE) - least(NEGATIVE))[HAS_BOTH].mean()
    here = losses.triplet_hard_loss(LABELS, X, soft=True, distance_metric="angular")
    np.testing.assert_allclose(here, want, rtol=1e-5)

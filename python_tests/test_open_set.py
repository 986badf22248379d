# SPDX-License-Identifier: MIT
from __future__ import annotations

import math

import numpy as np
import oracles_open_set as oracles
import pytest

from fslcore.arguments import ArgumentError
from fslcore.evaluation import intervals, open_set
from fslcore.evaluation.intervals import Estimate


def problem(kind: str, seed: int = 0):
    """(known, unknown, known labels, unknown labels) as lists; scores are small whole numbers or floats."""
    rng = np.random.default_rng(seed)
    known, unknown = rng.normal(1, 1, 40), rng.normal(0, 1, 33)
    if kind == "ties":
        known, unknown = np.round(2 * known), np.round(2 * unknown)
    elif kind == "apart":
        known, unknown = np.abs(known) + 1, -np.abs(unknown)
    elif kind == "equal":
        known, unknown = np.zeros(40), np.zeros(33)
    elif kind == "swapped":
        known, unknown = -np.abs(known) - 1, np.abs(unknown)
    labels, strange = rng.integers(0, 7, 40), rng.integers(5 if kind == "ties" else 7, 13, 33)
    return known, unknown, labels, strange


KINDS = ["floats", "ties", "apart", "equal", "swapped"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_curve_is_that_of_a_loop_over_thresholds(kind):
    known, unknown, *_ = problem(kind)
    points = np.array(oracles.roc(known.tolist(), unknown.tolist()))
    np.testing.assert_array_equal(np.stack(open_set.roc(known, unknown), axis=1), points)


@pytest.mark.parametrize("kind", KINDS)
def test_the_area_is_the_share_of_pairs_and_its_interval_that_of_the_labels(kind):
    known, unknown, labels, strange = problem(kind)
    found = open_set.auroc(known, unknown, labels, strange)
    assert found.value == pytest.approx(oracles.auroc(known.tolist(), unknown.tolist()), rel=1e-12)
    variance = oracles.auroc_variance(known.tolist(), unknown.tolist(), labels.tolist(), strange.tolist())
    fewest = min(len(set(labels.tolist())), len(set(strange.tolist())))
    images = fewest if variance < 1e-20 else found.value * (1 - found.value) / variance
    expected = oracles.wilson(found.value, images, intervals.student(fewest - 1))
    assert found[1:] == pytest.approx(expected, abs=1e-9)
    assert found.high > found.low


def test_the_area_of_two_samples_is_one_minus_that_of_the_samples_swapped():
    known, unknown, labels, strange = problem("ties")
    there = open_set.auroc(known, unknown, labels, strange)
    back = open_set.auroc(unknown, known, strange, labels)
    assert back == pytest.approx((1 - there.value, 1 - there.high, 1 - there.low), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_false_positives_at_95_percent_are_those_of_the_best_threshold_that_accepts_so_many(kind):
    known, unknown, labels, strange = problem(kind)
    found = open_set.fpr_at_tpr(known, unknown, labels, strange)
    assert found.value == oracles.false_positives_at(known.tolist(), unknown.tolist())
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("hits", [0, 1, 7, 29, 30])
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "grouped"])
def test_the_interval_of_a_share_is_the_root_of_the_score_equation(hits, grouped):
    taken, labels = np.arange(30) < hits, np.arange(30) // 4
    found = intervals.share(taken, labels if grouped else None)
    images, quantile = 30.0, oracles.NORMAL
    if grouped:
        variance = oracles.share_variance(taken.tolist(), labels.tolist())
        spread = found.value * (1 - found.value)
        images, quantile = (min(30.0, spread / variance) if variance else 8.0), intervals.student(7)
    assert found.value == hits / 30
    assert found[1:] == pytest.approx(oracles.wilson(hits / 30, images, quantile), abs=1e-9)


def test_equal_images_of_a_label_count_once():
    """Ten copies of each image are no more than the images: the interval is the same."""
    hits = np.arange(12) < 5
    once = intervals.share(hits, np.arange(12))
    copied = intervals.share(np.repeat(hits, 10), np.repeat(np.arange(12), 10))
    assert copied.value == once.value
    assert copied == pytest.approx(once, rel=1e-12)


@pytest.mark.parametrize(
    ("degrees", "exact"),
    [
        (0, 12.706205),
        (1, 12.706205),
        (2, 4.302653),
        (3, 3.182446),
        (4, 2.776445),
        (10, 2.228139),
        (60, 2.000298),
    ],
)
def test_students_quantile_is_that_of_the_tables(degrees, exact):
    assert intervals.student(degrees) == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_95_percent_of_the_intervals_hold_the_true_share(rate):
    """Labels with rates of their own, beta distributed: intervals that ignore them hold it far less often."""
    rng = np.random.default_rng(5)
    held = {"grouped": 0, "alone": 0}
    labels = np.repeat(np.arange(60), 15)
    for _ in range(400):
        hits = rng.random(900) < np.repeat(rng.beta(rate * 6, (1 - rate) * 6, 60), 15)
        for name, its in (("grouped", labels), ("alone", None)):
            found = intervals.share(hits, its)
            held[name] += found.low <= rate <= found.high
    # The standard deviation of the share of 400 intervals is 1.1 %; rates of 1 % on average, most of them 0,
    # are as hard as it gets.
    assert held["grouped"] / 400 > 0.9
    assert held["alone"] / 400 < 0.85


def test_the_difference_of_two_shares_is_newcombes():
    """His table II, example (a), method 10: 56/70 and 48/80."""
    found = intervals.difference(intervals.wilson(56 / 70, 70), intervals.wilson(48 / 80, 80))
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert not intervals.agree(intervals.wilson(0.8, 70), intervals.wilson(0.6, 80))
    assert intervals.agree(intervals.wilson(0.8, 70), intervals.wilson(0.75, 80))


# ---- thresholds


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.29, 0.5, 0.99])
@pytest.mark.parametrize("count", [99, 100, 199])
def test_a_threshold_accepts_as_many_as_the_rate_allows(rate, count):
    unknown = np.random.default_rng(2).normal(size=count).astype(np.float32)
    found = open_set.threshold_for(unknown, rate)
    assert int((unknown >= found.value).sum()) == oracles.accepted_at_most(unknown.tolist(), rate)
    assert not np.isin(np.float32(found.value), unknown)  # between two scores, as float32 too
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("sizes", [[1] * 60, [5] * 12, [20, 10, 5, 3, *[1] * 22], [30, 30]])
@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
def test_a_threshold_is_made_for_labels_that_are_left_out(rate, sizes, spread):
    """Images of a label resemble each other by `spread`; some scores are equal."""
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    unknown = np.round(rng.normal(size=len(labels)) + spread * rng.normal(size=len(sizes))[labels], 1)
    order = rng.permutation(len(labels))
    unknown, labels = unknown[order], labels[order]
    taken = oracles.accepted_of_labels(unknown.tolist(), labels.tolist(), rate)
    if taken < 0:
        with pytest.raises(ArgumentError, match=r"must be at least .* with 60 images of unknown labels"):
            open_set.threshold_for(unknown, rate, labels)
        return
    refused = np.sort(unknown)[::-1][taken]
    found = open_set.threshold_for(unknown, rate, labels)
    assert (unknown >= found.value).tolist() == (unknown > refused).tolist()


def test_images_of_new_labels_are_accepted_as_often_as_asked_for():
    """2,000 thresholds of 30 labels with 10 images each, and as many images of 30 further labels."""
    rng = np.random.default_rng(5)
    labels, rates = np.repeat(np.arange(30), 10), []
    for _ in range(2000):
        unknown, others = rng.normal(size=(2, 300)) + rng.normal(size=(2, 30))[:, labels]
        rates.append((others >= open_set.threshold_for(unknown, 0.05, labels).value).mean())
    error = np.std(rates) / math.sqrt(2000)
    # Of 301 allowed acceptances of .05, the whole number below: at least 14 / 301.
    assert 14 / 301 - 3 * error < np.mean(rates) < 0.05 + 3 * error


def test_ties_at_the_threshold_are_refused_together():
    unknown = np.array([5.0, *[3.0] * 20, *[1.0] * 79])
    found = open_set.threshold_for(unknown, 0.1)
    assert found.value == 4.0
    assert open_set.threshold_for(unknown, 0.5).value == 2.0


def test_another_image_is_accepted_with_at_most_the_probability_asked_for():
    """For any distribution: 2,000 thresholds of 99 scores, 4 above each, and 100 further scores for each."""
    rng = np.random.default_rng(3)
    rates = []
    for _ in range(2000):
        threshold = open_set.threshold_for(rng.exponential(size=99), 0.05).value
        rates.append((rng.exponential(size=100) >= threshold).mean())
    # The true rate of a threshold has a variance of .05 * .95 / 101, its share one of .05 * .95 / 100.
    error = math.sqrt(0.05 * 0.95 * (1 / 101 + 1 / 100) / 2000)
    assert 4 / 100 - 3 * error < np.mean(rates) < 5 / 100 + 3 * error


def test_the_interval_of_a_threshold_holds_the_true_quantile():
    rng, held = np.random.default_rng(4), 0
    for _ in range(300):
        found = open_set.threshold_for(rng.random(400), 0.1)
        held += found.low <= 0.9 <= found.high
    assert 0.92 < held / 300 < 1


@pytest.mark.parametrize(
    ("count", "rate", "message"),
    [
        (98, 0.01, r"at least 1/99 = 0.01 with 98 images of unknown labels \(a rate of 0.01 needs 99\)"),
        (5, 0.1, "at least 1/6 = 0.17 with 5 images"),
        (5, 0.0, "above 0 and below 1"),
        (5, 1, "above 0 and below 1"),
        (5, math.nan, "finite"),
        (5, "x", "must be a number"),
    ],
)
def test_a_rate_that_cannot_be_promised_is_refused(count, rate, message):
    with pytest.raises(ArgumentError, match=message) as error:
        open_set.threshold_for(np.arange(count), rate)
    assert error.value.argument == "false_accept_rate"


def test_a_label_that_is_better_than_all_others_is_refused():
    unknown, labels = np.array([9.0, 9, 9, *range(8)]), np.array([0, 0, 0, *range(1, 9)])
    with pytest.raises(ArgumentError, match=r"at least 3/12 .* \(3 of one label have better scores than all"):
        open_set.threshold_for(unknown, 0.2, labels)
    assert open_set.threshold_for(unknown, 0.25, labels).value > 9


# ---- the report


def test_the_report_counts_what_a_loop_counts():
    known, unknown, labels, strange = problem("ties", 1)
    right = np.random.default_rng(9).random(40) < 0.8
    found = open_set.open_set_report(known, unknown, right, labels, strange, threshold=1.0)
    taken = [bool(score >= 1) for score in known]
    correct = sum(a and b for a, b in zip(taken, right.tolist(), strict=True))
    wrongly = sum(bool(score >= 1) for score in unknown)
    assert found.accepted.value == sum(taken) / 40
    assert found.recall.value == correct / 40
    assert found.false_accepts.value == wrongly / 33
    assert found.precision.value == pytest.approx(correct / (sum(taken) + wrongly), rel=1e-15)
    assert found.accuracy.value == right.sum() / 40
    assert (found.known, found.unknown, found.known_labels) == (40, 33, len(set(labels.tolist())))
    assert found.to_dict()["recall"] == list(found.recall)
    assert "AUROC" in str(found)


def test_a_threshold_that_nothing_reaches_has_no_precision():
    found = open_set.open_set_report([1.0, 2.0], [0.0], [True, False], threshold=3)
    assert found.precision is None
    assert found.recall == found.accepted
    assert found.recall.value == 0
    assert "nothing is accepted" in str(found)


def test_without_labels_each_image_is_of_its_own():
    known, unknown, *_ = problem("floats")
    right = np.ones(40, bool)
    alone = open_set.open_set_report(known, unknown, right)
    numbered = open_set.open_set_report(known, unknown, right, np.arange(40), np.arange(40, 73))
    assert alone == numbered
    partly = open_set.open_set_report(known, unknown, right, None, np.arange(33))
    assert partly == alone
    assert alone.threshold is None
    assert alone.precision is None


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("known", [], r"scores \[N\] with N at least 1"),
        ("unknown", [0.0, math.nan], "finite scores, received nan at 1"),
        ("known", [[1.0]], r"scores \[N\]"),
        ("known", ["a"], r"scores \[N\]"),
        ("right", [1, 0], r"bool \[2\]"),
        ("right", [True], r"bool \[2\]"),
        ("known_labels", [1], r"integers \[2\]"),
        ("unknown_labels", ["a"], r"integers \[1\]"),
        ("threshold", math.inf, "finite"),
    ],
)
def test_what_is_no_score_is_refused(argument, value, message):
    arguments = {"known": [1.0, 2.0], "unknown": [0.0], "right": [True, True], argument: value}
    with pytest.raises(ArgumentError, match=message) as error:
        open_set.open_set_report(**arguments)
    assert error.value.argument == argument


def test_an_estimate_reads_as_a_percentage():
    assert str(Estimate(0.5, 0.25, 0.75)) == "50.00 % (25.00 to 75.00)"

# SPDX-License-Identifier: MIT
"""`SupportSet.calibrate`, `calibrate_probabilities`, `evaluate_open` and `check` on pictures."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from fslcore import SupportSet
from fslcore.arguments import ArgumentError
from fslcore.classifier import Nearest

SIDE = 6


@pytest.fixture(scope="module")
def pictures():
    """A hundred labels of ten pictures: a pattern for each label, and noise. uint8 [100, 10, 6, 6, 1]."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(60, 196, (100, 1, SIDE, SIDE, 1))
    return np.clip(patterns + rng.normal(0, 45, (100, 10, SIDE, SIDE, 1)), 0, 255).astype(np.uint8)


def a_set(pictures, labels=20, rule="prototype") -> SupportSet:
    encoder = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten()])
    support = SupportSet(encoder, rule)
    support.update({f"label {i}": pictures[i, :4] for i in range(labels)})
    return support


def queries(pictures, known, unknown, images):
    """Images and labels: of labels that are in the set, and of others."""
    numbers = [*known, *unknown]
    labels = [f"label {i}" for i in numbers for _ in range(len(pictures[0, images]))]
    return pictures[numbers][:, images].reshape(-1, SIDE, SIDE, 1), labels


def test_a_calibrated_set_answers_unknown_as_often_as_it_should(pictures):
    support = a_set(pictures)
    first = queries(pictures, range(20), range(20, 60), slice(4, 7))
    other = queries(pictures, range(20), range(60, 100), slice(7, 10))
    assert None not in support.predict(first[0])[0].tolist()
    found = support.calibrate(*first, false_accept_rate=0.05)
    assert support.threshold == found.threshold.value
    answers = np.array(support.predict(first[0])[0].tolist(), object)
    unknown = np.array([label is None for label in answers])
    # Of 120 unknown images 6 - 1 may be accepted, (5 + 1) / (120 + 1) <= 0.05.
    assert (~unknown[60:]).sum() == 5
    assert found.report.accepted.value == (~unknown[:60]).mean()
    assert found.report.recall.value == np.mean(
        [a == b for a, b in zip(answers[:60], first[1], strict=False)]
    )
    report = support.evaluate_open(*other)
    assert all(found.agrees_with(report).values())
    assert report.threshold == support.threshold
    assert report.false_accepts.low <= 0.05 <= report.false_accepts.high
    nameless = support.evaluate_open(other[0], [*other[1][:60], *[None] * 120])
    assert nameless.recall == report.recall
    assert nameless.unknown_labels == 120


@pytest.mark.parametrize("rule", ["prototype", "nearest"])
def test_the_support_alone_calibrates(pictures, rule):
    support = a_set(pictures, 30, rule)
    assert support.check().confusion.accuracy > 0.5
    found = support.calibrate(false_accept_rate=0.1)
    assert (found.report.known, found.report.unknown) == (120, 120)
    assert found.unknown_from == "labels left out"
    assert found.report.auroc.value > 0.6
    report = support.evaluate_open(*queries(pictures, range(30), range(30, 90), slice(4, 10)))
    assert report.false_accepts.low <= 0.1 <= report.false_accepts.high
    before = support.temperature
    tempered = support.calibrate_probabilities()
    assert support.temperature == tempered.temperature != before
    assert tempered.cross_entropy[1] < tempered.cross_entropy[0]
    _, probabilities = support.predict(pictures[:30, 4], top=30, probabilities=True)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_a_rule_that_is_fitted_is_calibrated_with_images_of_other_labels(pictures):
    pytest.importorskip("sklearn")
    support = a_set(pictures, 20, "svc")
    with pytest.raises(
        ArgumentError, match="since the scores of the rule svc change with the number of labels"
    ):
        support.calibrate(false_accept_rate=0.1)
    found = support.calibrate(*queries(pictures, [], range(20, 60), slice(4, 7)), 0.1)
    assert found.known_from == "support images, each left out of its label"
    report = support.evaluate_open(*queries(pictures, range(20), range(60, 100), slice(4, 10)))
    assert report.false_accepts.low <= 0.1 <= report.false_accepts.high
    assert support.calibrate_probabilities().images == 80
    assert support.check().confusion.matrix.sum() == 80


def test_probabilities_are_calibrated_with_other_images(pictures):
    support = a_set(pictures)
    images, labels = queries(pictures, range(20), [], slice(4, 10))
    found = support.calibrate_probabilities(images, labels)
    assert found.images == 120
    assert support.temperature == found.temperature
    with pytest.raises(
        ArgumentError, match=r"labels must be labels of this support set .* received 'x' at 1"
    ):
        support.calibrate_probabilities(images[:2], ["label 0", "x"])
    assert support.temperature == found.temperature


def test_a_set_is_checked(pictures):
    support = a_set(pictures)
    support.add("copy", pictures[3, 0])
    found = support.check()
    assert [(d.labels, d.across) for d in found.duplicates] == [(("label 3", "copy"), True)]
    assert found.alone == ("copy",)
    images, labels = queries(pictures, range(20), [], slice(3, 6))
    again = support.check(images, labels)
    assert len(again.repeated) == 20  # the fourth picture of each label is in the set
    assert {pair.labels[0] for pair in again.repeated} == {f"label {i}" for i in range(20)}
    assert again.confusion.matrix.sum() == 60
    assert support.check(similarity=1.0).duplicates[0].labels == ("label 3", "copy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": 2, "labels": None}, "labels must be a list with the label of each image"),
        ({"images": 2, "labels": "label 0"}, "labels must be a list with the label of each image"),
        (
            {"images": 2, "labels": ["label 0"]},
            "labels must be one for each of the 2 images, received 1 label",
        ),
        ({"images": 2, "labels": ["label 0", ""]}, "label must be a string that is not empty"),
        ({"images": 2, "labels": ["label 0", 1.5]}, "label must be a string that is not empty"),
        ({"labels": ["label 0"]}, "labels must be left out without `images`"),
        ({"false_accept_rate": 0.001}, "false_accept_rate must be at least 1/81"),
    ],
    ids=["none", "one", "fewer", "empty", "float", "no-images", "rate"],
)
def test_wrong_labels_and_rates_leave_the_set_as_it_was(pictures, arguments, message):
    support = a_set(pictures)
    if "images" in arguments:
        arguments = {**arguments, "images": pictures[0, : arguments["images"]]}
    version = support.snapshot().version
    with pytest.raises(ArgumentError, match=message):
        support.calibrate(**arguments)
    assert support.threshold is None
    assert support.snapshot().version == version


@pytest.mark.parametrize(
    ("rule", "refused"),
    [("prototype", True), (Nearest("euclidean"), True), (Nearest("dot"), False)],
    ids=["prototype", "nearest", "dot"],
)
def test_a_distance_is_no_threshold(pictures, rule, refused):
    support = a_set(pictures, 2, rule)
    support.threshold = -2.5
    if not refused:
        support.threshold = 2.5
        assert support.threshold == 2.5
        return
    with pytest.raises(ArgumentError, match=r"threshold must be at most 0 for the rule .* minus distances"):
        support.threshold = 2.5
    assert support.threshold == -2.5


def test_an_empty_set_is_neither_calibrated_nor_checked(pictures):
    support = SupportSet(a_set(pictures, 1).encoder)
    for method in (support.calibrate, support.calibrate_probabilities, support.check):
        with pytest.raises(ArgumentError, match="support set must have a label"):
            method()
    with pytest.raises(ArgumentError, match="images must be given"):
        support.evaluate_open(None, ["a"])

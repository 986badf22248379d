# SPDX-License-Identifier: MIT
"""Metrics of embeddings, of batches on every route and of whole sets, against loops."""

import re

import numpy as np
import oracles_metrics
import pytest
import tensorflow as tf
from asserts import gamma
from inputs import integers, normal
from routes import compiled, eager, name, unknown_batch

from fslcore import metrics
from fslcore.arguments import ArgumentError
from fslcore.kernels import SEARCH_METRICS

# Integers, of which many are equally near, so that the order of equal ones shows. Class 7 has one sample.
N = 24
TIES, LABELS = integers(0, N, 3), np.r_[np.arange(N - 1) % 4, 7]
TIES[5] = TIES[1]  # copies, of one class and of two
TIES[9] = TIES[2]


def with_nan(x):
    x = x.copy()
    x[3, 1] = np.nan
    return x


def on_a_line(count):
    """Two pairs that are far from each other, and a fifth sample alone in its class."""
    return np.float32([[0], [1], [5], [6], [9]])[:count], np.array([0, 0, 1, 1, 2])[:count]


BATCHES = {
    "ties": (TIES, LABELS),
    "NaN": (with_nan(TIES), LABELS),
    "one class": (TIES, np.zeros(N, np.int64)),
    "all alone": (TIES, np.arange(N)),
    "equal rows": (np.ones((N, 3), np.float32), LABELS),
    "zeros": (np.zeros((N, 3), np.float32), LABELS),
}
SIZES = {f"{count} rows": on_a_line(count) for count in (0, 1, 2, 5)}


def of_batch():
    ranked = [metrics.RecallAtK(1), metrics.RecallAtK(30), metrics.PrecisionAtK(3), metrics.RPrecision()]
    shape = [metrics.Silhouette("sqeuclidean"), metrics.Collapse(), metrics.EffectiveDimensions()]
    return [*ranked, metrics.MeanAveragePrecisionAtR(), *shape]


def wanted(x, labels):
    found = oracles_metrics.retrieval(x, labels, (1, 3, 30), "sqeuclidean")
    ranked = [found[key] for key in ("recall@1", "recall@30", "precision@3", "r_precision", "map@r")]
    if len(x) == 0:
        return [*ranked, 0.0, 0.0, 0.0]
    silhouette = np.mean(oracles_metrics.silhouettes(x, labels, "sqeuclidean"))
    if not np.isfinite(x).all():
        return [*ranked, silhouette, np.nan, np.nan]
    return [*ranked, silhouette, oracles_metrics.collapse(x), oracles_metrics.effective_dimensions(x)]


@pytest.mark.parametrize("mode", [eager, unknown_batch, compiled], ids=name)
def test_metrics_of_a_batch(mode):
    made = of_batch()

    def update(labels, x):
        for metric in made:
            metric.update_state(labels, x)
        return [metric.result() for metric in made]

    # XLA compiles for each size.
    sizes = {size: SIZES[size] for size in ("0 rows", "5 rows")} if mode is compiled else SIZES
    cases = {**BATCHES, **sizes}
    run = {width: mode(update) for width in (1, 3)}
    for case, (x, labels) in cases.items():
        for metric in made:
            metric.reset_state()
        got = run[x.shape[1]](labels, x)
        # Sums of at most 24 * 24 rounded terms, of which a silhouette subtracts two.
        np.testing.assert_allclose(got, wanted(x, labels), rtol=0, atol=24 * gamma(64), err_msg=case)


def test_labels_in_every_form_and_embeddings_of_every_precision():
    x, labels = BATCHES["ties"]
    want = wanted(x, labels)
    for form in (labels, labels[:, None].astype(np.float32), np.eye(8, dtype=bool)[labels]):
        for dtype in (tf.float32, tf.float16, tf.bfloat16):  # which hold these integers exactly
            for metric, value in zip(of_batch(), want, strict=True):
                metric.update_state(form, tf.cast(x, dtype))
                assert float(metric.result()) == pytest.approx(value, abs=24 * gamma(64))


def test_rows_of_unknown_width_are_classes_too():
    metric = metrics.RecallAtK(1)

    @tf.function(input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None, 3])])
    def update(labels, x):
        metric.update_state(labels, x)

    x, labels = BATCHES["ties"]
    for form in (np.eye(8)[labels], labels[:, None]):
        metric.reset_state()
        update(tf.constant(form, tf.float32), x)
        assert float(metric.result()) == pytest.approx(wanted(x, labels)[0], abs=gamma(64))


def test_batches_count_by_the_samples_that_have_anything_to_find():
    x = normal(0, 300, 4)
    labels = np.random.default_rng(1).integers(0, 60, 300)  # more rows than a block of the matrix has
    parts = [slice(0, 260), slice(260, 299), slice(299, 300)]
    for metric, key in (
        (metrics.RecallAtK(2), "recall@2"),
        (metrics.PrecisionAtK(2), "precision@2"),
        (metrics.RPrecision(), "r_precision"),
        (metrics.MeanAveragePrecisionAtR(), "map@r"),
    ):
        total, count = 0.0, 0.0
        for part in parts:
            metric.update_state(labels[part], x[part])
            found = oracles_metrics.retrieval(x[part], labels[part], (2,), "sqeuclidean")
            samples = found["measured"] * len(labels[part])
            total, count = total + samples * found[key], count + samples
        assert float(metric.result()) == pytest.approx(total / count, rel=gamma(600))


def test_a_collapse_and_nothing_to_learn_show():
    equal, line = np.full((8, 5), 0.7, np.float32), np.arange(8)[:, None] * np.ones((1, 5), np.float32)
    directions = np.concatenate([np.eye(4), -np.eye(4)]).astype(np.float32)
    for x, collapse, dimensions in ((equal, 1.0, 0.0), (line, 0.7, 1.0), (directions, 0.0, 4.0)):
        metric = metrics.Collapse()
        metric.update_state(np.zeros(8), x)
        assert float(metric.result()) == pytest.approx(collapse, abs=gamma(64))
        metric = metrics.EffectiveDimensions()
        metric.update_state(np.zeros(8), x)
        assert float(metric.result()) == pytest.approx(dimensions, abs=4 * gamma(64))


@pytest.mark.parametrize("few", [0, 10**9])  # lists of neighbours; keys of all distances
@pytest.mark.parametrize("metric", SEARCH_METRICS)
def test_retrieval_of_a_set(metric, few, monkeypatch):
    monkeypatch.setattr(metrics.sets, "_BLOCK", 100)  # blocks of a few queries
    monkeypatch.setattr(metrics.sets, "_FEW", few)
    # Cosines of integers are rounded, so that equal ones would have another order than in float64.
    sets = {"random": (normal(2, N, 3), LABELS)} if metric == "cosine" else BATCHES
    for case, (x, labels) in {**sets, **SIZES}.items():
        want = oracles_metrics.retrieval(x, labels, (1, 3, 30), metric)
        got = metrics.retrieval(x, labels, at=[1, 3, 30], metric=metric)
        assert got == pytest.approx(want, abs=gamma(64)), case
    x, labels = next(iter(sets.values()))
    queries, ids = x[::-3].copy(), (labels[::-3] + 1) % 5
    want = oracles_metrics.retrieval(queries, ids, (2,), metric, x, labels)
    got = metrics.retrieval(queries, ids, x, labels, at=(2,), metric=metric)
    assert got == pytest.approx(want, abs=gamma(64))
    assert 0 < want["measured"] < 1


@pytest.mark.parametrize("metric", metrics.sets.DISTANCES)
def test_silhouettes_of_a_set(metric, monkeypatch):
    monkeypatch.setattr(metrics.sets, "_BLOCK", 100)
    # Cosines of equal rows are rounded, and the ratio of two that should be 0 may be any.
    sets = {} if metric == "cosine" else {**BATCHES, **SIZES}
    for case, (x, labels) in {**sets, "random": (normal(3, N, 3), LABELS)}.items():
        want = oracles_metrics.silhouettes(x, labels, metric)
        got = metrics.silhouette(x, labels, metric)
        np.testing.assert_allclose(got, want, rtol=0, atol=64 * gamma(9), err_msg=case)


REFUSED = {
    "k must be at least 1": lambda: metrics.RecallAtK(0),
    "k must be a whole number": lambda: metrics.PrecisionAtK(1.5),
    "metric must be one of sqeuclidean": lambda: metrics.RPrecision("L2"),
    "metric must be one of .*, received metric='dot'": lambda: metrics.Silhouette("dot"),
    "y_pred must be embeddings [batch, dim]": lambda: metrics.RecallAtK()(LABELS, TIES[:, None]),
    "y_true must hold one label per sample": lambda: metrics.Silhouette()(LABELS[1:], TIES),
    "margin must be above 0": lambda: metrics.accuracy(0.0),
    "at must be a sequence": lambda: metrics.retrieval(TIES, LABELS, at=1),
    "at must be at least 1": lambda: metrics.retrieval(TIES, LABELS, at=[1, 0]),
    "labels must have one label for each of the 24 embeddings": lambda: metrics.retrieval(TIES, LABELS[1:]),
    "labels must hold integers": lambda: metrics.silhouette(TIES, LABELS * 0.5),
    "reference_labels must be given": lambda: metrics.retrieval(TIES, LABELS, TIES),
    "reference_labels must be None": lambda: metrics.retrieval(TIES, LABELS, None, LABELS),
    "references must have 3 columns": lambda: metrics.retrieval(TIES, LABELS, TIES[:, :2], LABELS),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message):
    pattern = message if ".*" in message else re.escape(message)
    with pytest.raises(ValueError, match=pattern) as caught:
        REFUSED[message]()
    assert isinstance(caught.value, ArgumentError) or message.startswith(("y_", "labels must hold"))


def test_ragged_labels_and_wrong_rows_are_refused():
    ragged = tf.ragged.constant([[0], [1, 2]] * 12)
    with pytest.raises((ValueError, TypeError)):
        metrics.RecallAtK().update_state(ragged, TIES)
    two_ones = np.ones((N, 2), np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="single 1 per row"):
        metrics.Silhouette().update_state(two_ones, TIES)
    metric = metrics.RPrecision()
    update = compiled(lambda *batch: (metric.update_state(*batch), metric.result())[1])
    assert np.isnan(float(update(two_ones, TIES)))

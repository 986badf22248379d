# SPDX-License-Identifier: MIT
"""Metrics of a batch against itself, on matrices whose right answer is plain to see."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from asserts import gamma
from inputs import normal
from routes import MODES, name

from fslcore import metrics
from fslcore.layers import GramMatrix
from fslcore.losses import BinaryCrossentropy, binary_crossentropy
from fslcore.metrics import MinEigenvalue, classification_accuracy, min_eigenvalue

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)

LABELS = np.array([0, 0, 1, 1, 2])
LABEL_FORMS = {
    "ids": LABELS,
    "[batch, 1] float32": LABELS[:, None].astype(np.float32),
    "one-hot": np.eye(3, dtype=np.float32)[LABELS],
}
# Row by row the nearest other sample is 1, 0, 3, 0 (wrong) and 0 (alone in its class: always wrong).
SIMILARITIES = np.float32(
    [
        [9, 5, 1, 1, 1],
        [5, 9, 1, 1, 1],
        [1, 1, 9, 5, 1],
        [6, 1, 5, 9, 1],
        [3, 1, 1, 1, 9],
    ]
)


@in_every_mode
@pytest.mark.parametrize("labels", LABEL_FORMS.values(), ids=LABEL_FORMS.keys())
@pytest.mark.parametrize("ascending", [False, True], ids=["similarities", "distances"])
def test_accuracy_of_the_nearest_other_sample(mode, labels, ascending):
    matrix = -SIMILARITIES if ascending else SIMILARITIES
    got = mode(classification_accuracy(ascending))(labels, matrix)
    np.testing.assert_array_equal(got, np.float32([1, 1, 1, 0, 0]), strict=True)


@in_every_mode
@pytest.mark.parametrize("offset", [-1e30, -10.0, 0.0, 1e30], ids=str)
def test_a_sample_is_never_its_own_neighbour(mode, offset):
    # On the diagonal stands the best score of all, even where all scores are negative or huge.
    matrix = np.full((4, 4), offset, np.float32)
    np.fill_diagonal(matrix, np.inf)
    # Every other sample ties: the first one counts, and it is of another class for all but row 1.
    got = mode(classification_accuracy())(np.array([0, 0, 1, 1]), matrix)
    np.testing.assert_array_equal(got, np.float32([1, 1, 0, 0]))


@in_every_mode
def test_nan_is_never_nearest(mode):
    matrix = SIMILARITIES.copy()
    matrix[0, 3] = np.nan
    matrix[2] = np.nan  # no neighbour at all
    matrix[4, 0] = matrix[3, 0] = np.nan
    got = mode(classification_accuracy())(LABELS, matrix)
    np.testing.assert_array_equal(got, np.float32([1, 1, 0, 1, 0]))


@in_every_mode
@pytest.mark.parametrize("batch", [0, 1])
def test_a_batch_without_neighbours_has_no_hit(mode, batch):
    got = mode(classification_accuracy())(np.zeros(batch), np.ones((batch, batch), np.float32))
    np.testing.assert_array_equal(got, np.zeros(batch, np.float32), strict=True)


SPECTRA = {
    "identity": (np.eye(3), 1.0),
    "minus identity": (-np.eye(3), -1.0),  # its least singular value is 1
    "swap": ([[0, 1], [1, 0]], -1.0),
    "not symmetric": ([[1, 4], [0, 1]], -1.0),  # symmetric part [[1, 2], [2, 1]]
    "one sample": ([[-3]], -3.0),
    "none": (np.zeros((0, 0)), math.inf),
    "NaN": ([[1, math.nan], [0, 1]], math.nan),
    "infinity": ([[1, 0], [math.inf, 1]], math.nan),
}


@in_every_mode
@pytest.mark.parametrize(("matrix", "want"), SPECTRA.values(), ids=SPECTRA.keys())
def test_least_eigenvalue_of_the_symmetric_part(mode, matrix, want):
    matrix = np.array(matrix, np.float32)
    got = float(mode(lambda matrix: min_eigenvalue(None, matrix))(matrix))
    # A backward stable decomposition errs by a modest multiple of u times the norm, here at most 4.
    assert got == pytest.approx(want, abs=4 * gamma(8), nan_ok=True)


@pytest.mark.parametrize(
    "metric", [classification_accuracy(), min_eigenvalue], ids=["accuracy", "eigenvalue"]
)
@pytest.mark.parametrize("shape", [(5, 3), (5,), (5, 5, 1)], ids=str)
def test_anything_but_a_square_matrix_is_refused(metric, shape):
    with pytest.raises(ValueError, match=r"y_pred must be one matrix \[batch, batch\]"):
        metric(LABELS, np.zeros(shape, np.float32))


def test_min_eigenvalue_keeps_the_least_of_all_batches():
    metric = MinEigenvalue()
    assert float(metric.result()) == math.inf
    for value in (2.0, -3.0, 1.0):
        metric.update_state(None, value * np.eye(2))
    assert float(metric.result()) == pytest.approx(-3.0, abs=4 * gamma(8))
    metric.update_state(None, np.full((2, 2), np.nan))
    metric.update_state(None, np.eye(2))
    assert math.isnan(float(metric.result()))
    metric.reset_state()
    assert float(metric.result()) == math.inf


def test_accuracy_in_keras_is_the_mean_over_samples_not_batches():
    metric = keras.metrics.MeanMetricWrapper(classification_accuracy())
    metric.update_state(LABELS, SIMILARITIES)  # 3 of 5
    metric.update_state(np.zeros(2), np.eye(2))  # 2 of 2
    assert float(metric.result()) == pytest.approx(5 / 7, rel=gamma(2))


def siamese():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), GramMatrix()])


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_metrics_in_fit_have_the_names_of_their_functions(jit_compile):
    model = siamese()
    of_batch = [classification_accuracy(), min_eigenvalue, MinEigenvalue(name="least")]
    model.compile("sgd", BinaryCrossentropy(), metrics=of_batch, jit_compile=jit_compile)
    history = model.fit(normal(0, 12, 3), np.arange(12) % 3, batch_size=6, verbose=0).history
    assert set(history) == {"loss", "classification_accuracy", "min_eigenvalue", "least"}
    assert history["least"] <= history["min_eigenvalue"]


def test_a_compiled_model_is_saved_with_its_metrics(tmp_path):
    model = siamese()
    model.compile(
        "sgd",
        BinaryCrossentropy(),
        metrics=[classification_accuracy(True), min_eigenvalue, MinEigenvalue(name="least")],
    )
    x, labels = normal(0, 12, 3), np.arange(12) % 3
    values = model.evaluate(x, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").evaluate(x, labels, verbose=0) == values


def test_accuracy_is_one_function_per_direction():
    assert classification_accuracy() is classification_accuracy(False)
    assert classification_accuracy(True) is not classification_accuracy(False)
    assert tf.is_tensor(classification_accuracy()(LABELS, SIMILARITIES))


# Row by row the class with the best mean over others is 0, 0, 1, 1 and 0 (alone: always wrong).
@in_every_mode
@pytest.mark.parametrize("ascending", [False, True], ids=["similarities", "distances"])
def test_accuracy_of_the_class_with_the_best_mean(mode, ascending):
    function = mode(metrics.mean_score_classification_accuracy(ascending))
    sign = -1 if ascending else 1
    for labels in LABEL_FORMS.values() if mode is MODES[0] else [LABELS]:
        got = function(labels, sign * SIMILARITIES)
        np.testing.assert_array_equal(got, np.float32([1, 1, 1, 1, 0]), strict=True)
    missing = sign * SIMILARITIES.copy()
    missing[0, 1] = np.nan  # no mean of class 0 is left, and class 2 is as good as class 1
    missing[2, 0] = -sign * np.inf
    np.testing.assert_array_equal(function(LABELS, missing), np.float32([0, 1, 1, 1, 0]))
    if not ascending:
        function = mode(metrics.mean_score_classification_accuracy())
        got = function(np.zeros(0, np.int64), np.ones((0, 0), np.float32))
        np.testing.assert_array_equal(got, np.zeros(0, np.float32), strict=True)


def test_a_perfect_matrix_has_a_perfect_mean():
    labels = np.array([0, 0, 1, 1, 2, 2])
    perfect = np.float32(labels[:, None] == labels)
    got = metrics.mean_score_classification_accuracy()(labels, perfect)
    np.testing.assert_array_equal(got, np.ones(6))  # keras-fsl's own has 1/3
    got = metrics.mean_score_classification_accuracy()(labels[:1], perfect[:1, :1])
    np.testing.assert_array_equal(got, [0])


@in_every_mode
def test_scores_against_their_targets(mode):
    scores = np.float32([[0, 0.9, 0.6], [0.75, 1, 0.25], [0.5, 0.1, np.nan]])
    labels = np.array([0, 0, 1])
    got = mode(metrics.accuracy())(labels, scores)
    np.testing.assert_array_equal(got, np.float32([0.5, 1, 0.5]), strict=True)  # 0.5 is no match
    np.testing.assert_array_equal(metrics.accuracy(0.25)(labels, scores), np.float32([0.5, 0, 0.5]))
    np.testing.assert_array_equal(metrics.accuracy()(labels[:1], scores[:1, :1]), [0])
    of_self = mode(lambda matrix: metrics.same_image_score(None, matrix))(scores)
    np.testing.assert_array_equal(of_self, np.float32([0, 1, np.nan]), strict=True)
    differences = mode(lambda matrix: metrics.asymmetry(None, matrix))
    for matrix, want in (
        (SIMILARITIES, 5.0),
        (np.eye(5), 0.0),
        (SIMILARITIES * [np.nan, 1, 1, 1, 1], np.nan),
    ):
        np.testing.assert_array_equal(differences(np.float32(matrix)), np.float32(want))
    assert float(metrics.asymmetry(None, np.zeros((0, 0), np.float32))) == 0.0


def test_the_greatest_asymmetry_of_all_batches():
    metric = metrics.MaxAsymmetry()
    assert float(metric.result()) == 0.0
    for value in (1.0, 3.0, 2.0):
        metric.update_state(None, value * np.eye(3, k=1))
    assert float(metric.result()) == 3.0
    metric.update_state(None, np.full((2, 2), np.nan))
    metric.update_state(None, np.eye(2))
    assert math.isnan(float(metric.result()))


def test_a_loss_is_a_metric_too():
    model = siamese()
    loss = BinaryCrossentropy()
    model.compile("sgd", loss, metrics=[binary_crossentropy, metrics.accuracy(), metrics.same_image_score])
    found = model.evaluate(normal(0, 12, 3), np.arange(12) % 3, verbose=0, return_dict=True)
    assert set(found) == {"loss", "binary_crossentropy", "accuracy", "same_image_score"}
    assert found["binary_crossentropy"] == pytest.approx(found["loss"], rel=gamma(16))

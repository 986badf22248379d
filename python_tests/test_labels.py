# SPDX-License-Identifier: MIT
"""The forms in which labels may come, and the ones that are refused."""

import numpy as np
import pytest
import tensorflow as tf
from routes import MODES, name

from fslcore.labels import class_ids, same_class

in_every_mode = pytest.mark.parametrize("mode", MODES, ids=name)
REFUSED = (ValueError, tf.errors.InvalidArgumentError)

IDS = np.array([4, 0, 4, -7, 0])
SAME = IDS[:, None] == IDS[None, :]
ONE_HOT = np.eye(3)[[1, 0, 1, 2, 0]]
MATRIX = np.zeros((5, 5), np.float32)

ID_FORMS = {
    "[batch] int64": IDS,
    "[batch] int32": IDS.astype(np.int32),
    "[batch] int8": IDS.astype(np.int8),
    "[batch] float32": IDS.astype(np.float32),
    "[batch] float16": IDS.astype(np.float16),
    "[batch, 1] int64": IDS[:, None],
    "[batch, 1] float32": IDS[:, None].astype(np.float32),
}
ROW_FORMS = {
    "one-hot float32": ONE_HOT.astype(np.float32),
    "one-hot int64": ONE_HOT.astype(np.int64),
    "one-hot bool": ONE_HOT.astype(bool),
}


@in_every_mode
@pytest.mark.parametrize("labels", [*ID_FORMS.values(), *ROW_FORMS.values()], ids=[*ID_FORMS, *ROW_FORMS])
def test_same_class_takes_every_form(mode, labels):
    np.testing.assert_array_equal(mode(same_class)(labels, MATRIX), SAME)


@in_every_mode
@pytest.mark.parametrize("labels", ID_FORMS.values(), ids=ID_FORMS.keys())
def test_class_ids_are_equal_where_the_labels_are(mode, labels):
    ids = mode(class_ids)(labels, MATRIX)
    assert ids.dtype == tf.int64
    np.testing.assert_array_equal(ids[:, None] == ids[None, :], SAME)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
@pytest.mark.parametrize(
    "labels", [ID_FORMS["[batch, 1] int64"], ROW_FORMS["one-hot int64"]], ids=["ids", "rows"]
)
def test_rows_of_unknown_width_may_be_either(jit_compile, labels):
    # What get_dummies in a tf.data pipeline gives Keras to trace.
    signature = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None, None], tf.float32)]
    function = tf.function(same_class, input_signature=signature, jit_compile=jit_compile)
    np.testing.assert_array_equal(function(labels, MATRIX), SAME)


@in_every_mode
def test_a_single_class_in_one_hot_rows_is_one_class(mode):
    np.testing.assert_array_equal(
        mode(same_class)(np.ones((5, 1), np.float32), MATRIX), np.ones((5, 5), bool)
    )


@in_every_mode
def test_neighbouring_integers_beyond_float32_stay_apart(mode):
    labels = np.array([2**24, 2**24 + 1, 2**53, 2**53 + 1, 2**24])
    assert len(set(labels.astype(np.float32))) == 2  # what a cast would leave
    want = labels[:, None] == labels[None, :]
    np.testing.assert_array_equal(mode(same_class)(labels, MATRIX), want)


WRONG_SHAPES = {
    "a scalar": 3,
    "too few": [1, 2, 3],
    "one": [1],
    "three axes": np.zeros((5, 1, 1)),
    "rows for other samples": np.eye(4),
    "no rows": np.zeros((0, 3)),
}


@in_every_mode
@pytest.mark.parametrize("labels", WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
@pytest.mark.parametrize("function", [same_class, class_ids])
def test_labels_that_do_not_match_the_batch_are_refused(mode, function, labels):
    with pytest.raises(REFUSED):
        mode(function)(np.array(labels, np.float32), MATRIX)


@pytest.mark.parametrize("function", [same_class, class_ids])
def test_the_refusal_says_what_was_expected(function):
    with pytest.raises(
        ValueError, match=r"y_true must hold one label per sample \(5\).*received shape \[3\]"
    ):
        function(np.zeros(3), MATRIX)


@in_every_mode
def test_class_ids_refuse_one_hot_rows(mode):
    with pytest.raises(REFUSED, match=r"one class id per sample.*received shape \[.*, 3\].*argmax"):
        mode(class_ids)(ROW_FORMS["one-hot float32"], MATRIX)


def test_class_ids_refuse_one_hot_rows_of_unknown_width():
    signature = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None, None], tf.float32)]
    for jit_compile in (False, True):
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.function(class_ids, input_signature=signature, jit_compile=jit_compile)(
                ROW_FORMS["one-hot int64"], MATRIX
            )


NOT_IDS = {
    "fractions": [0.5, 1, 2, 3, 4],
    "NaN": [np.nan, 1, 2, 3, 4],
    "infinity": [np.inf, 1, 2, 3, 4],
    "2^24 as float32": [2.0**24, 1, 2, 3, 4],
}
NOT_ONE_HOT = {
    "two ones": [[1, 1], [1, 0], [1, 0], [1, 0], [1, 0]],
    "no one": [[0, 0], [1, 0], [1, 0], [1, 0], [1, 0]],
    "probabilities": [[0.5, 0.5], [1, 0], [1, 0], [1, 0], [1, 0]],
    "NaN": [[np.nan, 1], [1, 0], [1, 0], [1, 0], [1, 0]],
}


@pytest.mark.parametrize("mode", MODES[:3], ids=name)
@pytest.mark.parametrize("labels", NOT_IDS.values(), ids=NOT_IDS.keys())
def test_floats_that_are_no_ids_are_refused(mode, labels):
    with pytest.raises(tf.errors.InvalidArgumentError, match="y_true must hold integers"):
        mode(class_ids)(np.array(labels, np.float32), MATRIX)


@pytest.mark.parametrize("mode", MODES[:3], ids=name)
@pytest.mark.parametrize("labels", NOT_ONE_HOT.values(), ids=NOT_ONE_HOT.keys())
def test_rows_that_are_not_one_hot_are_refused(mode, labels):
    with pytest.raises(tf.errors.InvalidArgumentError, match="a single 1 per row"):
        mode(same_class)(np.array(labels, np.float32), MATRIX)


def test_in_xla_which_has_no_assertions_fractions_are_ids_of_their_own():
    labels = np.array([0.5, 0.25, 0.5, -1, 0], np.float32)  # a cast to integers would make four of them 0
    want = labels[:, None] == labels[None, :]
    np.testing.assert_array_equal(MODES[3](same_class)(labels, MATRIX), want)


def test_strings_are_refused():
    with pytest.raises(ValueError, match="y_true must hold numbers, received string"):
        class_ids(tf.constant(["a"] * 5), MATRIX)


@pytest.mark.parametrize("shape", [(5,), (5, 4), (5, 5, 1)], ids=str)
def test_predictions_must_be_square(shape):
    with pytest.raises(ValueError, match=r"y_pred must be one matrix \[batch, batch\]"):
        same_class(IDS, np.zeros(shape))

# SPDX-License-Identifier: MIT
"""Labels, groups and names: what is missing or mixed never becomes a class."""

from __future__ import annotations

import decimal

import numpy as np
import pytest

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore, get_dummies

IMAGES = np.zeros((4, 8, 8), np.uint8)
NAN, NAT = float("nan"), np.datetime64("NaT")

MISSING = {
    "None in a list": ["a", None, "b", None],
    "NaN in a list of strings": ["a", NAN, "b", NAN],
    "NaN in a list of integers": [1, NAN, 2, NAN],
    "NaN in floats": np.array([1, NAN, 2, NAN]),
    "NaN in objects": np.array([1, NAN, 2, NAN], object),
    "float32 NaN in objects": np.array(["a", np.float32("nan"), "b", np.float16("nan")], object),
    "decimal NaN": [1, decimal.Decimal("NaN"), 2, decimal.Decimal("NaN")],
    "NaT in a list": ["a", NAT, "b", NAT],
    "NaT in dates": np.array(["2024-01-01", "NaT", "2024-01-02", "NaT"], "M8[D]"),
    "masked integers": np.ma.array([1, 1, 2, 2], mask=[0, 1, 0, 1]),
    "masked strings": np.ma.array(["a", "b", "b", "a"], mask=[0, 1, 0, 1]),
    "masked in a list": ["a", np.ma.masked, "b", np.ma.masked],
    "empty strings": ["a", "", "b", ""],
    "blank strings": np.array(["a", " ", "b", "\t"]),
    "empty strings in objects": np.array(["a", "", "b", ""], object),
    "None in a tuple": ("a", None, "b", None),
}


def of_pandas():
    pandas = pytest.importorskip("pandas")
    yield pandas.Series(["a", None, "b", None])
    yield pandas.Series([1, None, 2, None])
    yield pandas.Series([1, None, 2, None], dtype="Int64")
    yield pandas.Series(["a", pandas.NA, "b", pandas.NA], dtype="string")
    yield pandas.Categorical(["a", None, "b", None])
    yield pandas.Categorical([1, None, 2, None])
    yield ["a", pandas.NA, "b", pandas.NaT]


@pytest.mark.parametrize("argument", ["labels", "groups"])
@pytest.mark.parametrize("values", MISSING.values(), ids=MISSING)
def test_missing_values_are_counted_and_named(argument, values):
    arguments = {"labels": [0, 0, 1, 1], argument: values}
    with pytest.raises(ArgumentError, match=rf"{argument} must hold .*received 2 missing of 4 .* at 1, 3"):
        ImageStore.from_arrays(IMAGES, **arguments)


def test_missing_values_of_tables_are_named():
    for values in of_pandas():
        with pytest.raises(ArgumentError, match=r"labels must hold .* 2 missing of 4 .* at 1, 3"):
            ImageStore.from_arrays(IMAGES, values)


def test_only_the_first_positions_are_named():
    with pytest.raises(ArgumentError, match=r"100 missing of 100 .* at 0, 1, 2, 3, 4, \.\.\.;"):
        ImageStore.from_arrays(np.zeros((100, 8, 8), np.uint8), [None] * 100)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1", 1, "1", 1], r"strings \(labels\[0\]='1'\) and integers \(labels\[1\]=1\)"),
        (np.array([1, "1", 1, "1"], object), r"integers .*and strings"),
        ([True, 1, 1, True], r"bool \(labels\[0\]=True\) and integers"),
        ([True, False, True, False], "received bool"),
        (np.array([True, False, True, False]), "received bool"),
        (["a", 1.5, "b", 1.5], r"strings .*and float"),
        ([1, 2.0, 1, 2], "received float64"),
        (np.array([1, 2.0, 1, 2], object), "integers .*and float"),
        (np.array([b"a", b"b", b"a", b"b"]), "received [|]S1"),
        ([b"a", "a", b"a", "a"], "received bytes .*and strings"),
        ([(1,), (2, 3), (1,), (1,)], "integers or strings"),
        (3, "integers or strings"),
        (np.array([1, 2, 1, 2], "M8[D]"), "received datetime64"),
    ],
)
def test_kinds_are_not_mixed(labels, message):
    with pytest.raises(ArgumentError, match=message):
        ImageStore.from_arrays(IMAGES, labels)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", "b", "a"], ("a", "b")),
        (np.array(["b", "a", "b", "a"], object), ("a", "b")),
        ([10, 9, 10, 9], ("9", "10")),
        (np.array([10, 9, 10, 9], object), ("9", "10")),
        (["10", "9", "10", "9"], ("10", "9")),
        ([2**70, -1, 2**70, 0], ("-1", "0", str(2**70))),
        (np.array([2**64 - 1, 1, 1, 1], np.uint64), ("1", str(2**64 - 1))),
        ((np.int8(3), 2, np.uint64(3), 2), ("2", "3")),
        (np.ma.array([1, 2, 1, 2]), ("1", "2")),
    ],
)
def test_integers_and_strings_keep_their_order(labels, names):
    assert ImageStore.from_arrays(IMAGES, labels).class_names == names


@pytest.mark.parametrize("text", ["nan", "None", "<NA>", "NaT"])
def test_text_that_may_stand_for_missing_values_is_said(text):
    with pytest.warns(UserWarning, match=f"labels hold the text '{text}', which becomes a class"):
        ImageStore.from_arrays(IMAGES, ["a", text, "b", "b"])


@pytest.mark.parametrize("field", ["class_names", "group_names"])
@pytest.mark.parametrize("names", [["a", None], ["a", NAN], ["", "b"], "ab"])
def test_names_are_not_missing(field, names):
    with pytest.raises(ArgumentError, match=field):
        ImageStore(IMAGES[..., None], [0, 0, 1, 1], [0, 0, 1, 1], **{field: names})


def test_labels_beyond_32_bits_do_not_wrap():
    with pytest.raises(ArgumentError, match="labels must be integers of 32 bits"):
        ImageStore(IMAGES[..., None], [0, 0, 1, 2**32 + 1])
    with pytest.raises(ArgumentError, match="groups must be integers of 32 bits"):
        ImageStore(IMAGES[..., None], [0, 0, 1, 1], [0, 0, 0, 2**32])
    with pytest.raises(ArgumentError, match="labels must have no masked values"):
        ImageStore(IMAGES[..., None], np.ma.array([0, 0, 1, 1], mask=[0, 0, 0, 1]))


@pytest.mark.parametrize("labels", [[1.0, NAN, 1.0], np.array([NAN], np.float32)])
def test_one_hot_rows_have_no_column_for_missing_values(labels):
    import tensorflow as tf

    with pytest.raises(ArgumentError, match=r"labels must not be missing, received .* NaN"):
        get_dummies(labels)
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        tf.function(get_dummies)(tf.constant(labels))
    one_hot, classes = tf.function(get_dummies)(tf.constant([2.0, 1.0, 2.0]))
    assert classes.numpy().tolist() == [2.0, 1.0]
    assert one_hot.numpy().tolist() == [[1, 0], [0, 1], [1, 0]]

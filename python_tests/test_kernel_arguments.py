# SPDX-License-Identifier: MIT
"""The NumPy functions: no array or number loses anything on its way to the core; grouped labels are whole."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from kernel_calls import CALLS, STORE, X

from fslcore import _core, kernels

FLOATS = ("x", "y", "grad", "weights")
INTEGERS = ("labels", "indices", "rotations")
NUMBERS = ("bias", "margin", "scale", "shift")
COUNTS = ("n_way", "k_shot", "n_query", "episodes", "seed", "first_episode", "n", "count", "first")

AS_ARRAY = {
    "complex": lambda value: np.asarray(value).astype(np.complex64),
    "text": lambda value: np.asarray(value).astype(str),
    "objects": lambda value: np.full(np.shape(value), None),
    "masked": lambda value: np.ma.array(np.asarray(value), mask=np.ones(np.shape(value), bool)),
    "one entry masked": lambda value: np.ma.array(
        np.asarray(value), mask=np.arange(np.size(value)).reshape(np.shape(value)) == 1
    ),
}
AS_INTEGERS = {
    **AS_ARRAY,
    "fractions": lambda value: np.asarray(value) + 0.5,
    "whole floats": lambda value: np.asarray(value).astype(np.float64),
    "beyond int64": lambda value: np.full(np.shape(value), 2**63, np.uint64),
}
AS_NUMBER = {
    "complex": lambda value: 1j,
    "text": lambda value: "0.5",
    "bytes": lambda value: b"0.5",
    "masked": lambda value: np.ma.masked,
    "None": lambda value: None,
}
AS_COUNT = {
    "fraction": lambda value: 1.5,
    "whole float": lambda value: 2.0,
    "text": lambda value: "2",
    "beyond int64": lambda value: 2**63,
}


def hostile(names, changes):
    return [
        pytest.param(function, name, change, id=f"{function}, {name}, {kind}")
        for function, arguments in CALLS.items()
        for name in arguments
        if name in names
        for kind, change in changes.items()
    ]


def test_the_calls_are_of_all_functions():
    settings = {"num_threads", "set_num_threads", "simd_level"}
    assert set(CALLS) == {name for name in kernels.__all__ if name.islower()} - settings


@pytest.mark.parametrize("function", CALLS)
def test_the_calls_that_others_change_work(function):
    getattr(kernels, function)(**CALLS[function])


@pytest.mark.parametrize(
    ("function", "name", "change"),
    [
        *hostile(FLOATS, AS_ARRAY),
        *hostile(INTEGERS, AS_INTEGERS),
        *hostile(("store",), AS_ARRAY),
        *hostile(NUMBERS, AS_NUMBER),
        *hostile(COUNTS, AS_COUNT),
    ],
)
def test_what_would_lose_something_is_refused_by_name(function, name, change):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"^{name} must"):
            getattr(kernels, function)(**{**CALLS[function], name: change(CALLS[function][name])})


@pytest.mark.parametrize("function", CALLS)
def test_masks_that_hide_nothing_and_integers_of_any_width_are_taken(function):
    arguments = CALLS[function]
    plain = {k: np.ma.array(v, mask=False) for k, v in arguments.items() if k in (*FLOATS, "store")}
    unsigned = {k: np.asarray(v).astype(np.uint64) for k, v in arguments.items() if k in INTEGERS}
    for got, want in zip(
        _leaves(getattr(kernels, function)(**{**arguments, **plain, **unsigned})),
        _leaves(getattr(kernels, function)(**arguments)),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)


def _leaves(result):
    if isinstance(result, kernels.Classes):
        return [result.count]
    return result if isinstance(result, tuple) else (result,)


def test_no_images_cost_nothing_whatever_their_size():
    none = kernels.gather_images(STORE, np.zeros((3, 0), int), size=(2**24, 2**24))
    assert none.shape == (3, 0, 2**24, 2**24, 2)


# The compiled functions -------------------------------------------------------------------------------

ATTRIBUTES = {"metric": "dot", "activation": "none"}


@pytest.mark.parametrize(
    ("inputs", "attributes", "error", "match"),
    [
        (
            [X.astype(complex), X, X[0, :0], 0.0],
            ATTRIBUTES,
            ValueError,
            "x must be of a type that can be cast",
        ),
        ([X, X, X[0, :0], 1j], ATTRIBUTES, ValueError, "bias must be of a type that can be cast"),
        ([X, X, X[0, :0], 0.0], {**ATTRIBUTES, "extra": 1}, TypeError, "no such attribute"),
        ([X, X, X[0, :0], 0.0], {"metric": "dot"}, KeyError, "activation"),
        ([X, X], ATTRIBUTES, TypeError, "takes 4 arrays"),
    ],
)
def test_a_raw_call_is_checked_too(inputs, attributes, error, match):
    with pytest.raises(error, match=match):
        _core.pairwise(*inputs, **attributes)


# Grouped labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [[5, 5, 3, 3, 9, 9], [1, 1, 2, 2], [-4, 7, 7, -4], []], ids=str)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_grouped_labels_can_be_copied(labels, copied):
    classes = kernels.group_labels(labels)
    again = copied(classes)
    assert again.count == classes.count
    if not labels:
        return
    for n_way in range(1, classes.count + 1):
        want = kernels.sample_episodes(labels, n_way, 1, 1, 20, seed=4)
        np.testing.assert_array_equal(kernels.sample_episodes(again, n_way, 1, 1, 20, seed=4), want)


def test_an_object_without_labels_is_no_grouping():
    empty = kernels.Classes.__new__(kernels.Classes)
    for use in (
        lambda: empty.count,
        lambda: kernels.sample_episodes(empty, 1, 1, 1, 1, 0),
        lambda: pickle.dumps(empty),
        lambda: copy.copy(empty),
    ):
        with pytest.raises(TypeError, match="classes must be made by group_labels"):
            use()

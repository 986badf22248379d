# SPDX-License-Identifier: MIT
"""The checks that kernels, ops and twins share."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from fslcore import arguments
from fslcore.arguments import ArgumentError
from fslcore.data.checks import check_count


def test_the_metrics_and_the_rules_of_mining_are_those_of_the_compiled_core():
    from fslcore import _core

    assert tuple(_core.metrics) == arguments.METRICS
    assert tuple(_core.minings) == arguments.MININGS
    assert set(arguments.PAIR_MININGS) <= set(arguments.MININGS)
    assert set(arguments.TRIPLET_METRICS) <= set(arguments.METRICS)
    assert set(arguments.CONV_PRECISIONS) <= set(arguments.PRECISIONS)


def test_neither_the_core_nor_tensorflow_is_imported():
    script = (
        "import sys, fslcore.arguments; print(sorted({'fslcore._core', 'tensorflow'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_argument_error_names_the_argument_and_what_was_received():
    with pytest.raises(ArgumentError, match="n_way must be at least 1, received n_way=0") as caught:
        arguments.check_episode_counts(0, 1, 1, 1)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.argument, caught.value.received) == ("n_way", 0)


def test_an_argument_error_stays_one_when_it_is_copied():
    error = ArgumentError("n_way", "must be at least 1", 0)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (ArgumentError, str(error))
    assert (copy.argument, copy.requirement, copy.received) == ("n_way", "must be at least 1", 0)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "compiled"])
def test_an_argument_error_stays_one_in_a_traced_function(jit_compile):
    import tensorflow as tf

    @tf.function(jit_compile=jit_compile)
    def traced():
        arguments.check_at_least("n_way", 0, 1)

    with pytest.raises(ArgumentError, match="n_way must be at least 1, received n_way=0"):
        traced()


def test_an_argument_error_stays_one_in_a_keras_layer():
    import keras
    import numpy as np

    class Refusing(keras.Layer):
        def call(self, inputs):
            arguments.check_at_least("n_way", 0, 1)
            return inputs

    with pytest.raises(ArgumentError, match="n_way must be at least 1, received n_way=0"):
        Refusing()(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: arguments.as_int64("seed", 1.5), "seed must be a whole number, received seed=1.5"),
        (lambda: arguments.as_int64("seed", 2**63), f"seed must be below 2\\^63, received seed={2**63}"),
        (lambda: arguments.as_float("scale", "big"), "scale must be a number, received scale='big'"),
        (lambda: arguments.as_size(5), r"size must be \(height, width\) or None, received size=5"),
        (lambda: arguments.as_size((0, 5)), r"of at least 1, received size=\(0, 5\)"),
        (
            lambda: arguments.check_pairwise("weighted_manhattan", False, False, None),
            "weights must be given for weighted_manhattan, received weights=None",
        ),
    ],
    ids=["fraction", "beyond 64 bits", "word", "one length", "no height", "no weights"],
)
def test_wrong_arguments_are_argument_errors(check, message):
    with pytest.raises(ArgumentError, match=message):
        check()


# What is no integer and no number, and what is, for every checker of one.
NO_INTEGER = [
    True,
    False,
    np.True_,
    1.0,
    2.5,
    np.float32(1),
    float("nan"),
    float("inf"),
    "1",
    b"1",
    None,
    [1],
    1j,
]
NO_NUMBER = [
    *(True, False, np.True_, "1", b"1", None, [1.0], 1j),
    *(float("nan"), float("inf"), -float("inf"), np.float32("nan"), 10**400),
]
INTEGERS = [1, np.int8(1), np.uint64(1), np.array(1)]

OF_INTEGERS = {
    "as_int64": lambda value: arguments.as_int64("n", value),
    "check_at_least": lambda value: arguments.check_at_least("n", value, 1),
    "check_episode_counts, ways": lambda value: arguments.check_episode_counts(value, 1, 1, 1),
    "check_episode_counts, shots": lambda value: arguments.check_episode_counts(1, value, 1, 1),
    "check_episode_counts, queries": lambda value: arguments.check_episode_counts(1, 1, value, 1),
    "check_episode_counts, episodes": lambda value: arguments.check_episode_counts(1, 1, 1, value),
    "check_permutations, n": lambda value: arguments.check_permutations(value, 1),
    "check_permutations, count": lambda value: arguments.check_permutations(1, value),
    "as_size, height": lambda value: arguments.as_size((value, 1)),
    "as_size, width": lambda value: arguments.as_size([1, value]),
    "check_conv_block, strides": lambda value: arguments.check_conv_block(value, 1, 1e-3, "float32"),
    "check_conv_block, pool_size": lambda value: arguments.check_conv_block(1, value, 1e-3, "float32"),
    "check_count": lambda value: check_count("n", value, 1),
}
OF_NUMBERS = {
    "as_float": lambda value: arguments.as_float("x", value),
    "check_conv_block, epsilon": lambda value: arguments.check_conv_block(1, 1, value, "float32"),
}
OF_WORDS = {
    "check_one_of": lambda value: arguments.check_one_of("word", value, ("1", "nan")),
    "check_metric": lambda value: arguments.check_metric(value, arguments.METRICS),
    "check_mining": arguments.check_mining,
    "check_triplets": lambda value: arguments.check_triplets("hard", value),
    "check_precision": arguments.check_precision,
    "check_activation": arguments.check_activation,
    "check_conv_block, precision": lambda value: arguments.check_conv_block(1, 1, 1e-3, value),
}


@pytest.mark.parametrize("check", OF_INTEGERS.values(), ids=OF_INTEGERS)
def test_every_checker_of_integers_takes_the_same(check):
    for value in (*NO_INTEGER, 2**63, 2**70):
        with pytest.raises(ArgumentError):
            check(value)
    for value in INTEGERS:
        check(value)


@pytest.mark.parametrize("check", OF_NUMBERS.values(), ids=OF_NUMBERS)
def test_every_checker_of_numbers_takes_the_same(check):
    for value in NO_NUMBER:
        with pytest.raises(ArgumentError):
            check(value)
    for value in (*INTEGERS, 0.5, np.float32(0.5), np.float64(2)):
        check(value)


@pytest.mark.parametrize("check", OF_WORDS.values(), ids=OF_WORDS)
def test_every_checker_of_words_takes_words_alone(check):
    for value in (
        1,
        float("nan"),
        True,
        b"hard",
        ["hard"],
        np.array(["hard", "easy"]),
        np.array(1),
        "Hard",
        "",
    ):
        with pytest.raises(ArgumentError):
            check(value)


def test_counts_beyond_64_bits_are_refused_as_such():
    with pytest.raises(ArgumentError, match=r"first must be below 2\^63"):
        check_count("first", 2**63, 0)
    with pytest.raises(ArgumentError, match="first must be an integer of 0 or more"):
        check_count("first", -(2**63), 0)


@pytest.mark.parametrize(
    "shape",
    [(28, 28), 28, None, "abc", (28, 28, 0), (28, 28, True), (28.0, 28, 1), ("28", 28, 1), (8, 28, 1)],
)
def test_shapes_of_images(shape):
    with pytest.raises(ArgumentError, match="shape must be"):
        arguments.check_image_shape("shape", shape, 16)
    arguments.check_image_shape("shape", [np.int64(16), None, 3], 16)

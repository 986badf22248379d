# SPDX-License-Identifier: MIT
"""The checks that kernels, ops and twins share."""

import pickle
import subprocess
import sys

import pytest

from fslcore import arguments
from fslcore.arguments import ArgumentError


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

# SPDX-License-Identifier: MIT
"""Thread layouts: set in processes of their own, for TensorFlow's threads can be set only once."""

import pytest
import warm

from fslcore import set_threads

REPORT = """
import tensorflow as tf
from fslcore.threads import one_thread_per_op, parallel_tasks, set_threads
count = {call}
threading = tf.config.threading
within, between = threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()
print(count, within, between, parallel_tasks(), one_thread_per_op())
"""


def in_a_process(call: str) -> str:
    run = warm.run(["-c", REPORT.format(call=call)])
    return run.stdout.strip() or run.stderr.strip().splitlines()[-1]


def test_layouts_share_the_threads_within_or_between_ops():
    assert in_a_process("set_threads(3, 'ops')") == "3 3 1 1 False"
    assert in_a_process("set_threads(3, 'tasks')") == "3 1 3 3 True"
    assert in_a_process("set_threads(1, 'tasks')") == "1 1 1 1 False"


def test_importing_the_library_sets_nothing():
    assert in_a_process("__import__('fslcore').learners and 0").startswith("0 0 0 ")


def test_threads_of_a_running_tensorflow_cannot_be_changed():
    assert "RuntimeError" in in_a_process("tf.constant(1) + 1 is not None and set_threads(3)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "both"}, "layout must be one of ops, tasks, received layout='both'"),
        ({"threads": 0}, "threads must be at least 1, received threads=0"),
    ],
    ids=["layout", "threads"],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        set_threads(**arguments)

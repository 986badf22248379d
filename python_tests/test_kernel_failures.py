# SPDX-License-Identifier: MIT
"""Without memory, without threads, at the end of the process: the kernels fail as Python and TensorFlow do.

Each case has a process of its own, which must end with its own exit code.
"""

import os
import subprocess
import sys

import pytest
from with_jax import require_jax

LIMIT = """
import resource

def limit(megabytes):
    '''Lets the process take so much more memory.'''
    now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (megabytes << 20), resource.RLIM_INFINITY))

def unlimit():
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def run(script, **environment):
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )
    return done.returncode, done.stdout.strip(), done.stderr


def succeeds(script, **environment):
    code, out, err = run(script, **environment)
    assert code == 0, f"exit code {code}\n{out}\n{err}"
    return out


# Memory -----------------------------------------------------------------------------------------------

# Some limits are met before the parallel loop, others by the scratch memory of its blocks, 16 MB each.
NUMPY = (
    LIMIT
    + """
import numpy as np, fslcore.kernels as k
k.set_num_threads(3)
x = np.random.default_rng(0).normal(size=(64, 1 << 18)).astype(np.float32)
labels = np.arange(64) // 4
calls = {
    "pairwise": lambda: [k.pairwise(x)],
    "pairwise_grad": lambda: k.pairwise_grad(x, None, np.ones((64, 64), np.float32), "cosine"),
    "triplet_loss": lambda: [k.triplet_loss(x, labels, "semihard", 1.0, "cosine").grad],
    "mine_triplets": lambda: k.mine_triplets(x, labels, "hard"),
}
for name, call in calls.items():
    want = [part.tobytes() for part in call()]
    failed = worked = 0
    for megabytes in [*range(0, 240, 12), 2000]:
        limit(megabytes)
        try:
            got = call()
        except MemoryError:
            failed += 1
        else:
            worked += 1
        finally:
            unlimit()
    assert failed > 0 and worked > 0, (name, failed, worked)
    assert [part.tobytes() for part in call()] == want
print("alive")
"""
)


def test_numpy_functions_raise_memory_error_and_work_again():
    assert succeeds(NUMPY) == "alive"


# 256 MB before the loop and 64 MB in each of its four blocks: the limits cut off either.
OPS = (
    LIMIT
    + """
import numpy as np, tensorflow as tf, fslcore.ops as ops
tf.config.threading.set_intra_op_parallelism_threads(3)
x = tf.constant(np.random.default_rng(0).normal(size=(64, 1 << 20)).astype(np.float32))
for mode in ({}, {"jit_compile": True}):
    call = tf.function(lambda x: ops.pairwise(x), **mode)
    want = call(x).numpy()
    for megabytes in (100, 296):
        limit(megabytes)
        try:
            call(x)
        except tf.errors.ResourceExhaustedError as error:
            assert "memory" in error.message, error.message
        else:
            raise AssertionError("there was memory")
        finally:
            unlimit()
    assert np.array_equal(call(x), want)
print("alive")
"""
)


def test_tensorflow_ops_report_resource_exhausted_and_work_again():
    assert succeeds(OPS) == "alive"


JAX = (
    LIMIT
    + """
import jax, numpy as np, fslcore.jax as fj
x = jax.numpy.asarray(np.random.default_rng(0).normal(size=(64, 1 << 20)).astype(np.float32))
call = jax.jit(fj.pairwise)
want = np.asarray(call(x))
for megabytes in (100, 296):
    limit(megabytes)
    try:
        np.asarray(call(x))
    except Exception as error:
        assert "RESOURCE_EXHAUSTED" in str(error), error
    else:
        raise AssertionError("there was memory")
    finally:
        unlimit()
assert np.array_equal(call(x), want)
print("alive")
"""
)


def test_jax_functions_report_resource_exhausted_and_work_again():
    require_jax()
    assert succeeds(JAX, JAX_PLATFORMS="cpu") == "alive"


# Threads ----------------------------------------------------------------------------------------------

THREADS = (
    LIMIT
    + """
import numpy as np, fslcore.kernels as k
k.set_num_threads(2)
limit(200)  # 8 MB for the stack of a thread
try:
    k.set_num_threads(3000)
except RuntimeError as error:
    assert str(error).startswith("threads must be as many as the system allows"), error
    assert "received 3000" in str(error)
else:
    raise AssertionError("there were threads")
assert k.num_threads() == 2
assert k.pairwise(np.ones((300, 50), np.float32)).max() == 0
unlimit()
k.set_num_threads(3)
print("alive")
"""
)


def test_too_many_threads_are_an_error_and_the_pool_stays():
    assert succeeds(THREADS) == "alive"


@pytest.mark.parametrize(
    ("value", "match"),
    [(0, "at least 1"), (2.5, "a whole number"), ("2", "a whole number"), (1 << 17, "at most 65536")],
)
def test_a_wrong_number_of_threads_is_named(threads, value, match):
    with pytest.raises(ValueError, match=f"threads must be {match}, received threads="):
        threads(value)


DEFAULT = (
    LIMIT
    + """
import warnings
import fslcore.cpus, fslcore._core
fslcore.cpus.available_cpus = lambda: 3000
limit(300)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import fslcore.kernels as k
assert k.num_threads() == 1
assert ["use one thread" in str(w.message) for w in told if w.category is RuntimeWarning] == [True]
"""
)


def test_a_default_that_the_system_refuses_leaves_one_thread_and_a_warning():
    succeeds(DEFAULT, FSLCORE_NUM_THREADS="")


# The end of the process -------------------------------------------------------------------------------

EXIT = """
import sys, threading, time
import numpy as np, fslcore.kernels as k
k.set_num_threads({threads})
x = np.random.default_rng(0).random((2000, 64), np.{dtype})
labels, store = np.arange(2000) // 4, np.zeros((50, 28, 28, 1), np.uint8)
classes = k.group_labels(labels)
calls = [
    lambda: k.pairwise(x, metric="manhattan"),
    lambda: k.pairwise_grad(x, None, np.zeros((2000, 2000), np.float32)),
    lambda: k.triplet_loss(x, labels),
    lambda: k.mine_triplets(x, labels, "hard"),
    lambda: k.nearest(x, x, 10),
    lambda: k.sample_episodes(labels, 5, 1, 1, 20_000, 0),
    lambda: k.sample_episodes(classes, 5, 1, 1, 20_000, 0),
    lambda: k.permutations(10_000, 50, 0),
    lambda: k.gather_images(store, np.arange(20_000) % 50),
]
def work(call):
    while True:
        call()
for call in calls:
    threading.Thread(target=work, args=(call,), daemon=True).start()
time.sleep({seconds})
sys.exit(7)
"""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])  # the second is converted, also without the GIL
@pytest.mark.parametrize("seconds", [0.3, 0.55])
def test_a_process_that_ends_while_kernels_run_has_its_own_exit_code(threads, dtype, seconds):
    code, _, err = run(EXIT.format(threads=threads, dtype=dtype, seconds=seconds))
    assert code == 7, err
    assert not err


CONVERSIONS = """
import sys, threading, time
import ml_dtypes, numpy as np, fslcore.kernels as k
from fslcore import _core
sys.setswitchinterval(1e-6)
x, labels = np.random.default_rng(0).random((40, 8)), np.arange(40) // 4
store = np.zeros((5, 8, 8, 1), np.uint8)
calls = [
    lambda: k.pairwise(x, metric="manhattan"),
    lambda: k.pairwise(x.tolist()),
    lambda: k.pairwise(x > 0.5),
    lambda: k.pairwise(x.astype(ml_dtypes.bfloat16)),
    lambda: k.triplet_loss(x, labels),
    lambda: k.sample_episodes(labels.tolist(), 5, 1, 1, 20, 0),
    lambda: k.gather_images(store, [0, 1]),
    lambda: refused(k.pairwise, x + 1j),
    lambda: refused(_core.pairwise, x + 1j, x, np.zeros(0, np.float32), 0.0, metric="dot", activation="none"),
]
def refused(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception:
        pass
def work(call):
    while True:
        call()
for call in 2 * calls:
    threading.Thread(target=work, args=(call,), daemon=True).start()
time.sleep({seconds})
sys.exit(7)
"""


@pytest.mark.parametrize("seconds", [0.2, 0.31, 0.42, 0.53])
def test_a_process_that_ends_while_arguments_are_converted_has_its_own_exit_code(seconds):
    # Python code that a conversion calls, such as numpy.can_cast, gives the GIL away.
    code, _, err = run(CONVERSIONS.format(seconds=seconds))
    assert code == 7, err
    assert not err


# The instruction set ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["foo", "AVX2", "avx"])
def test_an_unknown_instruction_set_is_told(value):
    script = "import fslcore.kernels as k; print(k.simd_level() == k.settings._core.best_simd_level())"
    code, out, err = run(script, FSLCORE_SIMD=value)
    assert (code, out) == (0, "True")
    assert err.startswith("fslcore: FSLCORE_SIMD must be portable, avx2, avx512, avx512bf16 or neon, rec")
    assert f"'{value}'" in err


def test_a_known_instruction_set_is_not_talked_about():
    assert run("import fslcore.kernels as k; k.simd_level()", FSLCORE_SIMD="portable") == (0, "", "")

# SPDX-License-Identifier: MIT
"""Every SIMD level is right; threads, forks and floating-point mode have no side effects; memory stays small.

FSLCORE_SIMD and FSLCORE_NUM_THREADS are read once per process, so these tests start new ones.
"""

import functools
import os
import pathlib
import platform
import subprocess
import sys
import threading

import numpy as np
import pytest
from asserts import assert_bit_identical
from inputs import normal

from fslcore import kernels

HERE = pathlib.Path(__file__).parent
ARM = platform.machine() in ("aarch64", "arm64")
# Each includes those before it.
LEVELS = ("portable", "neon") if ARM else ("portable", "avx2", "avx512", "avx512bf16")
MARK = "each_level"
# The traced and compiled routes to a kernel know nothing of levels: the other tests take them, at one level.
CALLED_AS_THEY_ARE = "not (graph or unknown_batch or compiled or xla)"
SUITES = [path for path in sorted(HERE.glob("test_*.py")) if f"mark.{MARK}" in path.read_text()]
CPUINFO = pathlib.Path("/proc/cpuinfo")


def run(*arguments, **environment):
    """A new Python process; its output, or a failure that shows it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FSLCORE_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=800,  # other tests run beside these, and the limit of a test is 900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def ask(expression, **environment):
    return run("-c", f"import fslcore.kernels as k; print({expression})", **environment)


# SIMD levels ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def best_level():
    return ask("k.simd_level()")


@pytest.fixture(params=LEVELS, scope="module")
def level(request, best_level):
    if LEVELS.index(request.param) > LEVELS.index(best_level):
        pytest.skip(f"this CPU has no {request.param}, its best level is {best_level}")
    return request.param


def test_the_level_asked_for_is_used(level):
    assert ask("k.simd_level()", FSLCORE_SIMD=level) == level


def test_the_kernels_are_right_at_each_level(level):
    assert SUITES
    if level == kernels.simd_level():
        pytest.skip("these tests run at it themselves")
    # One failure is enough to know; the cache provider would write beside the outer run's.
    options = ("-qx", "-m", MARK, "-k", CALLED_AS_THEY_ARE, "-p", "no:cacheprovider")
    summary = run("-m", "pytest", *options, *SUITES, FSLCORE_SIMD=level)
    assert " passed" in summary
    assert "skipped" not in summary


def test_a_level_that_this_cpu_lacks_is_lowered_to_its_best(best_level):
    assert ask("k.simd_level()", FSLCORE_SIMD=LEVELS[-1]) == best_level


@pytest.mark.skipif(ARM, reason="every such CPU has NEON")
@pytest.mark.skipif(not CPUINFO.exists(), reason="no /proc/cpuinfo to compare with")
def test_the_best_level_is_what_the_cpu_has(best_level):
    lines = CPUINFO.read_text().splitlines()
    flags = set(next((s for s in lines if s.startswith("flags")), "").split())
    amd = any(s.startswith("vendor_id") and "AuthenticAMD" in s for s in lines)
    if amd and {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_bf16"} <= flags:
        assert best_level == "avx512bf16"
    elif {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        assert best_level == "avx512"
    elif {"avx2", "fma"} <= flags:
        assert best_level == "avx2"
    else:
        assert best_level == "portable"


# Threads --------------------------------------------------------------------------------------------

# Sizes of several blocks for every kernel, none of them a multiple of a block.
X, Y = normal(0, 257, 33), normal(1, 131, 33)
GRAD = normal(2, 257, 131)
WEIGHTS = {"weights": normal(3, 33), "bias": 0.5, "activation": "sigmoid"}
PAIRS = np.arange(257) // 2
HALVES = np.arange(601) % 2
LARGE, TRIPLES = normal(7, 1100, 33), np.arange(1100) // 3
STORE = np.random.default_rng(4).integers(0, 256, (40, 28, 28, 1), np.uint8)
DRAWN = np.random.default_rng(5).integers(0, 40, (50, 5))

TRIPLET_CASES = {
    "mined": lambda mining: kernels.mine_triplets(X, PAIRS, mining),
    "loss, few positives": lambda mining: kernels.triplet_loss(X, PAIRS, mining),
    "loss, many positives": lambda mining: kernels.triplet_loss(normal(6, 601, 9), HALVES, mining),
    "loss, cosine": lambda mining: kernels.triplet_loss(X, PAIRS, mining, 0.3, "cosine"),
    "loss, large batch": lambda mining: kernels.triplet_loss(LARGE, TRIPLES, mining),
}
CASES = {
    **{
        f"pairwise {metric}": lambda metric=metric: [
            kernels.pairwise(X, Y, metric, **(WEIGHTS if metric == "weighted_manhattan" else {}))
        ]
        for metric in kernels.METRICS
    },
    **{
        f"pairwise_grad {metric}": lambda metric=metric: kernels.pairwise_grad(
            X, Y, GRAD, metric, **(WEIGHTS if metric == "weighted_manhattan" else {})
        )
        for metric in kernels.METRICS
    },
    **{
        f"{mining} {case}": functools.partial(call, mining)
        for mining in kernels.MININGS
        for case, call in TRIPLET_CASES.items()
    },
    "nearest": lambda: kernels.nearest(X, np.concatenate([Y] * 5), 7),
    "sample_episodes": lambda: [kernels.sample_episodes(np.arange(400) % 40, 5, 1, 5, 300, 1)],
    "gather_images": lambda: [kernels.gather_images(STORE, DRAWN, DRAWN % 4)],
    "gather_affine": lambda: [
        kernels.gather_affine(STORE, DRAWN, normal(8, 50, 5, 6), DRAWN % 4),
        kernels.affine_transforms(np.ones((10, 4)), (28, 28, 28, 28), np.arange(300), 3, 4),
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_results_do_not_depend_on_threads(threads, case):
    threads(1)
    want = [np.asarray(part) for part in CASES[case]()]
    # Several runs each: which thread takes which block differs from run to run.
    for count in (2, 2, 2, 3, 3, 3):
        threads(count)
        assert kernels.num_threads() == count
        for part, wanted in zip(CASES[case](), want, strict=True):
            assert_bit_identical(part, wanted)


def test_calls_from_several_python_threads_do_not_disturb_each_other(threads):
    threads(2)
    names = ["pairwise euclidean", "semihard loss, few positives", "hard loss, large batch", "gather_images"]
    want = {name: [np.asarray(part) for part in CASES[name]()] for name in names}
    wrong = []

    def work(name):
        for _ in range(10):
            for part, wanted in zip(CASES[name](), want[name], strict=True):
                if np.asarray(part).tobytes() != wanted.tobytes():
                    wrong.append(name)

    workers = [threading.Thread(target=work, args=(name,)) for name in names]
    for worker in workers:
        worker.start()
    for count in (1, 3, 2, 1, 2):  # the pool is replaced while they run
        threads(count)
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.parametrize("count", [1, 3])
def test_the_environment_sets_the_number_of_threads(count):
    assert ask("k.num_threads()", FSLCORE_NUM_THREADS=str(count)) == str(count)


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_thread_is_rejected(threads, count):
    with pytest.raises(ValueError, match=f"must be at least 1, received threads={count}"):
        threads(count)


FORK = """
import os, signal, sys, warnings
import numpy as np
import fslcore.kernels as k
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
k.set_num_threads(3)
x = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
before = k.pairwise(x)
child = os.fork()
if child == 0:
    signal.alarm(30)  # ends a child that waits forever
    {action}
    sys.exit(0 if np.array_equal(k.pairwise(x), before) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("action", ["pass", "k.set_num_threads(2)"], ids=["same pool", "new pool"])
def test_a_forked_process_computes_and_ends_without_the_threads_that_it_lost(action):
    # The child has the pool's queue but none of its threads: nobody may wait for them.
    assert run("-c", FORK.format(action=action)) == "0"


# Memory ---------------------------------------------------------------------------------------------

PEAK = """
import resource
import numpy as np
import fslcore.kernels as k
k.set_num_threads(2)
x = np.random.default_rng(0).normal(size=({batch}, {dim})).astype(np.float32)
grad, labels, w = np.ones(({rows}, {rows}), np.float32), np.arange({batch}) // 4, np.ones({dim}, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{call}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts KiB on Linux alone")
@pytest.mark.parametrize(
    ("batch", "dim", "call"),
    [
        # The matrix of distances would take 256 MiB.
        pytest.param(
            8192, 32, "k.triplet_semihard(x, labels)", id="triplet loss without a matrix of distances"
        ),
        pytest.param(8192, 32, "k.mine_semihard(x, labels)", id="mining without a matrix of distances"),
        pytest.param(8192, 32, "k.triplet_hard(x, labels)", id="hard triplets without a matrix of distances"),
        pytest.param(8192, 32, "k.nearest(x, x, 10)", id="nearest rows without a matrix of distances"),
        # The rows take 49 MiB.
        pytest.param(200_000, 64, "k.nearest(x[:1], x, 10)", id="nearest rows without a copy of them"),
        # The differences of all pairs would take 2 GiB.
        pytest.param(512, 2048, "k.pairwise(x, metric='manhattan')", id="pairwise without differences"),
        pytest.param(
            512,
            2048,
            "k.pairwise_grad(x, None, grad, 'weighted_manhattan', weights=w)",
            id="gradient without differences",
        ),
    ],
)
def test_memory_beside_inputs_and_outputs_stays_small(batch, dim, call):
    rows = batch if "grad" in call else 0
    kib = int(run("-c", PEAK.format(batch=batch, dim=dim, rows=rows, call=call)))
    # Results, packed copies of x, and at most 768 KiB of distances per thread: below 32 MiB in each case.
    assert kib < 32 * 1024


# Floating-point mode --------------------------------------------------------------------------------


def test_denormals_of_the_caller_survive_a_call():
    denormal = np.float32(1e-40)
    kernels.pairwise(X, Y)
    assert np.add(denormal, np.float32(0)) == denormal > 0


def test_denormal_results_are_flushed_on_every_thread(threads):
    # 1e-20 squared is 1e-40, below the smallest normal float32: zero, as on TensorFlow's threads.
    x = np.full((257, 1), 1e-20, np.float32)
    for count in (1, 3):
        threads(count)
        assert not kernels.pairwise(x, metric="dot").any()

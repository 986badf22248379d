# SPDX-License-Identifier: MIT
"""How many instructions the kernels take, counted by valgrind: a guard that no load of the machine disturbs.

Valgrind knows AVX2 and no AVX-512, so that is the level. The kernels are called on one thread.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from fslcore import _core

# Counted with GCC 12. Of the first, which `pairwise_grad` needs too, 4.2 million are the register tiles: two
# loads, six broadcasts, twelve multiply-adds and three for the loop. Other compilers may take more or less.
RECORDED = {
    "Pairwise": 5_922_170,
    "PairwiseGrad": 5_596_282,
    "TripletLossAndGrad": 3_851_920,
    "GatherImages": 1_249_750,
}
HEADROOM = 1.25

CALLS = """
import numpy as np
from fslcore import kernels

generator = np.random.default_rng(0)
x, y = generator.normal(size=(2, 256, 128)).astype(np.float32)
kernels.pairwise(x, y)
kernels.pairwise_grad(x, y, np.ones((256, 256), np.float32))
kernels.triplet_semihard(x, np.arange(256) % 64)
store = np.zeros((2000, 28, 28, 1), np.uint8)
drawn = kernels.sample_episodes(np.arange(2000) // 20, 5, 5, 15, 8, seed=0)
kernels.gather_images(store, drawn, drawn[:, :, 0] % 4)
"""


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.skipif(_core.best_simd_level() == "portable", reason="the counts are those of AVX2")
def test_no_kernel_takes_more_instructions_than_it_did(tmp_path):
    environment = {**os.environ, "FSLCORE_SIMD": "avx2", "FSLCORE_NUM_THREADS": "1"}
    profile = tmp_path / "callgrind.out"
    subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", sys.executable, "-c", CALLS],
        env=environment,
        check=True,
        capture_output=True,
    )
    listing = subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", "--threshold=100", profile],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    counts = {
        name: int(count.replace(",", ""))
        for count, name in re.findall(r"^\s*([\d,]+) .*?fslcore::(\w+)\(fslcore::Executor", listing, re.M)
    }
    counted = {name: counts[name] for name in RECORDED}
    assert all(counted[name] <= HEADROOM * RECORDED[name] for name in RECORDED), counted

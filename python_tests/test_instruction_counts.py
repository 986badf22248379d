# SPDX-License-Identifier: MIT
"""How many instructions the kernels take, counted by valgrind: the load of the machine does not change it.

Valgrind knows AVX2 and no AVX-512, so that is the level. The kernels are called on one thread.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fslcore import _core

# By the major version of GCC. A change beyond the tolerance, either way, has a reason: find it, then record
# the new counts, which the failing test prints. Of `Pairwise`, which `PairwiseGrad` needs too, 3.8 million
# are the register tiles: in four steps eight loads, 24 broadcasts, 48 multiply-adds and three for the loop.
RECORDED = {
    12: {
        "Pairwise": 4_910_544,
        "PairwiseGrad": 4_888_589,
        "TripletLossAndGrad": 3_485_017,
        "GatherImages": 1_288_226,
    },
}
TOLERANCE = 0.05

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


def gcc() -> int | None:
    """The major version of the GCC that compiled the core; None for another compiler."""
    note = re.search(rb"GCC: \([^)]*\) (\d+)\.", Path(_core.__file__).read_bytes())
    return int(note[1]) if note else None


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.skipif(_core.best_simd_level() == "portable", reason="the counts are those of AVX2")
@pytest.mark.skipif(gcc() not in RECORDED, reason=f"no counts are recorded for this compiler (GCC {gcc()})")
def test_the_kernels_take_as_many_instructions_as_recorded(tmp_path):
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
    recorded = RECORDED[gcc()]
    assert {name: counts[name] for name in recorded} == pytest.approx(recorded, rel=TOLERANCE)

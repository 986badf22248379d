# SPDX-License-Identifier: MIT
"""The core on ARM: its C++ tests, compiled for AArch64 and run in an emulator.

The kernels of all families at the levels "neon" and "portable".
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "csrc" / "core"
GOOGLETEST = Path("/usr/src/googletest/googletest")
COMPILER = shutil.which("aarch64-linux-gnu-g++")
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
LIBRARIES = "/usr/aarch64-linux-gnu"
TESTS = ("simd", "manhattan", "pairwise")
# Without optimisation the emulated tests take longer than their compilation saves.
OPTIONS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall"]


def compiled(source: Path, folder: Path) -> Path:
    target = folder / f"{source.stem}.o"
    includes = [f"-I{ROOT / 'csrc'}", "-isystem", str(GOOGLETEST / "include"), f"-I{GOOGLETEST}"]
    werror = [] if GOOGLETEST in source.parents else ["-Werror"]
    command = [COMPILER, *OPTIONS, *werror, *includes, "-c", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.skipif(COMPILER is None, reason="no compiler for ARM: g++-aarch64-linux-gnu is not installed")
@pytest.mark.skipif(EMULATOR is None, reason="no emulator of ARM: qemu-user is not installed")
@pytest.mark.skipif(not GOOGLETEST.exists(), reason="no sources of GoogleTest: googletest is not installed")
def test_the_kernels_are_right_on_arm(tmp_path):
    sources = [
        *sorted(CORE.glob("*/*.cc")),
        *(CORE / "simd" / "levels" / f"kernels_{level}.cc" for level in ("neon", "portable")),
        *(ROOT / "csrc" / "tests" / f"{name}_test.cc" for name in TESTS),
        *(GOOGLETEST / "src" / name for name in ("gtest-all.cc", "gtest_main.cc")),
    ]
    with ThreadPoolExecutor(2) as threads:
        objects = list(threads.map(lambda source: compiled(source, tmp_path), sources))
    program = tmp_path / "tests"
    subprocess.run([COMPILER, *map(str, objects), "-pthread", "-o", str(program)], check=True)
    run = [EMULATOR, "-L", LIBRARIES, str(program)]
    environment = {k: v for k, v in os.environ.items() if k != "FSLCORE_SIMD"}
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Levels/SimdTest.Dot/neon" in done.stdout

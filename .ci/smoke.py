# SPDX-License-Identifier: MIT
"""What an installed wheel must do on a machine without a compiler: one kernel through each front end."""

import shutil
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

import fslcore
from fslcore import kernels

assert "tensorflow" not in sys.modules
assert metadata.version("fslcore") == fslcore.__version__
assert Path(fslcore.__file__).is_relative_to(sys.prefix), fslcore.__file__
found = [
    name for name in ("cc", "c++", "gcc", "g++", "clang", "nvcc", "cmake", "ninja") if shutil.which(name)
]
assert not found, f"not a machine without a compiler: {found} on the PATH"
assert (Path(fslcore.__file__).parent / "py.typed").exists()

x = np.arange(12, dtype=np.float32).reshape(4, 3)
want = ((x[:, None] - x) ** 2).sum(2)
assert np.array_equal(kernels.pairwise(x), want)

import tensorflow as tf  # noqa: E402

for jit_compile in (False, True):
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        got = tf.function(fslcore.ops.pairwise, jit_compile=jit_compile)(variable)
    assert np.array_equal(got, want), jit_compile
    assert tape.gradient(got, variable).shape == x.shape
print(f"fslcore {fslcore.__version__}, {kernels.simd_level()}: NumPy, TensorFlow and XLA agree")

# SPDX-License-Identifier: MIT
"""What the benchmarks compare with: NumPy, plain TensorFlow, and libraries if they are installed.

gram_arrays  gram_tensors  triplets  episodes  folders  augmentation   the contenders, by family
libraries                                     the optional ones, of the extra `bench`
"""

from fslcore.bench.peers.libraries import installed, missing, share_threads

__all__ = ["installed", "missing", "share_threads"]

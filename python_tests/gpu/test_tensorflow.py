# SPDX-License-Identifier: MIT
"""What can be known of a package built for GPUs where there is none; on one, conftest.py runs all bodies."""

import ctypes

import pytest

pytest.importorskip("tensorflow", reason="the package is not installed")

from tensorflow.python.framework import kernels as registered

from fslcore import _core, ops

pytestmark = pytest.mark.skipif(not _core.built_for_cuda, reason="the package was built without CUDA")

OPS = {
    "Pairwise": "pairwise",
    "PairwiseGrad": "pairwise_grad",
    "TripletLoss": "triplet_loss",
    "MineTriplets": "mine_triplets",
    "SampleEpisodes": "sample_episodes",
    "GatherImages": "gather_images",
    "GatherAffine": "gather_affine",
    "AffineImages": "affine_images",
    "AffineTransforms": "affine_transforms",
}


@pytest.mark.parametrize("op", OPS)
def test_tensorflow_and_its_xla_have_a_kernel_for_gpus(op):
    kernels = registered.get_registered_kernels_for_op(f"Fslcore{op}").kernel
    assert {"CPU", "XLA_CPU_JIT", "GPU", "XLA_GPU_JIT"} <= {kernel.device_type for kernel in kernels}


@pytest.mark.parametrize("handler", OPS.values())
def test_the_core_hands_out_its_handlers(handler):
    library = ctypes.CDLL(str(ops.native_libraries()["cuda"].path))
    assert hasattr(library, f"fslcore_{handler}_cuda")


def test_a_machine_without_a_gpu_says_why():
    names, problem = _core.cuda_devices()
    assert bool(names) != bool(problem)

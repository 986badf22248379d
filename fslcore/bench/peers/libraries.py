# SPDX-License-Identifier: MIT
"""Optional libraries to compare with: each takes part if it is installed."""

from __future__ import annotations

import importlib.util

from fslcore import kernels

# Module and distribution, as in the extra `bench` of pyproject.toml.
OPTIONAL = {
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "torchvision": "torchvision",
    "pytorch_metric_learning": "pytorch-metric-learning",
    "faiss": "faiss-cpu",
}


def installed(module: str) -> bool:
    """Whether an optional peer can be imported."""
    return importlib.util.find_spec(module) is not None


def missing() -> list[str]:
    """The distributions among `OPTIONAL` that are not installed."""
    return [name for module, name in OPTIONAL.items() if not installed(module)]


def share_threads() -> None:
    """Gives the installed peers as many threads as `kernels.num_threads()`.

    TensorFlow's are set when it starts; NumPy's and SciPy's only where scikit-learn brings threadpoolctl.
    """
    threads = kernels.num_threads()
    if installed("torch"):
        import torch

        torch.set_num_threads(threads)
    if installed("faiss"):
        import faiss

        faiss.omp_set_num_threads(threads)
    if installed("threadpoolctl"):
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads)

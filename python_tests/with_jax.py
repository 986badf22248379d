# SPDX-License-Identifier: MIT
"""What tests of `fslcore.jax` need."""

import pytest


def require_jax() -> None:
    """Skips a test, or a module, without a JAX that takes the handlers of the library."""
    pytest.importorskip("jax", reason="JAX is not installed")
    import numpy as np

    import fslcore.jax

    try:
        fslcore.jax.pairwise(np.zeros((1, 1), np.float32))
    except ImportError as error:
        pytest.skip(str(error), allow_module_level=True)

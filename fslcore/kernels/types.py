# SPDX-License-Identifier: MIT
"""Types of the arrays that the kernels return."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

# SPDX-License-Identifier: MIT
"""keras-fsl's names for what this package has, so that its programs run with one line added.

import fslcore.compat.keras_fsl       # from here on, `import keras_fsl` finds this package
from keras_fsl.layers import GramMatrix

keras_fsl   importing it installs the names
names       each name of keras-fsl, and where it is found here
adapted     what has other arguments or results here, in the form of keras-fsl
hook        modules made from a table of names
"""

from __future__ import annotations

from fslcore import registration
from fslcore.compat import hook
from fslcore.compat.names import KERAS_FSL

__all__ = ["install", "uninstall"]


def install(*, replace: bool = False) -> None:
    """Makes `import keras_fsl` find this package, in this process; a second call does nothing.

    Args:
        replace: Whether to take the place of keras-fsl itself, where that is installed or imported.

    Raises:
        ImportError: It is installed or imported, and `replace` is False.
    """
    hook.install(KERAS_FSL, replace=replace)
    registration.add("compat.adapted.layers", "compat.adapted.metrics")  # for saved models


def uninstall() -> None:
    """Undoes `install`: `import keras_fsl` finds what it found before, if anything."""
    hook.uninstall(KERAS_FSL.package)

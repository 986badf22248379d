# SPDX-License-Identifier: MIT
"""Importing this module makes `import keras_fsl` find this package: see `fslcore.compat.install`."""

from fslcore.compat import install

install()

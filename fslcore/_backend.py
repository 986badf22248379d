# SPDX-License-Identifier: MIT
"""Checks that Keras runs on TensorFlow. The modules that define Keras classes import this before Keras."""

from fslcore._tensorflow import require_backend

require_backend()

# SPDX-License-Identifier: MIT
"""The exit codes of `fslcore` other than 0."""

FAILED, WRONG_ARGUMENT, INTERRUPTED = 1, 2, 130

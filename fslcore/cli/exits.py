# SPDX-License-Identifier: MIT
"""What `fslcore` exits with when it does not exit with 0."""

FAILED, WRONG_ARGUMENT, INTERRUPTED = 1, 2, 130

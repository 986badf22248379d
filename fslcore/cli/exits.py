# SPDX-License-Identifier: MIT
"""The exit codes of `fslcore` other than 0."""

FAILED, WRONG_ARGUMENT, UNKNOWN, INTERRUPTED = 1, 2, 3, 130  # UNKNOWN: of an image that was to be classified


def by_signal(number: int) -> int:
    """The exit code of a program that a signal has ended, as shells say it: 143 for SIGTERM."""
    return 128 + number

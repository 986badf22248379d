# SPDX-License-Identifier: MIT
"""The threads of a run: the same number in the same layout give the same bits."""

from __future__ import annotations

from fslcore.arguments import ArgumentError


def fix_threads(threads: int | None, layout: str, required: bool = False) -> int:
    """Fixes the threads of TensorFlow and of the kernels for the rest of the process.

    If TensorFlow has started already with others, its threads stay as they are.

    Args:
        threads: number of CPU threads; None: as many as this process may run on.
        layout: as for `fslcore.set_threads`.
        required: whether threads that cannot be changed any more are an error.

    Returns:
        The number of threads.

    Raises:
        ArgumentError: as `required` says.
    """
    from fslcore import kernels
    from fslcore.threads import set_threads

    number = threads or kernels.num_threads()
    try:
        set_threads(number, layout)
    except RuntimeError as error:
        if required:
            raise ArgumentError(
                "threads",
                "must be None once TensorFlow has started with other threads: they can no longer be changed",
                threads,
            ) from error
    kernels.set_num_threads(number)
    return number

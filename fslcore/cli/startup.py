# SPDX-License-Identifier: MIT
"""Starting TensorFlow: quietly, and with a fixed number of threads."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


def start_tensorflow(threads: int | None, layout: str = "ops") -> int:
    """Imports TensorFlow, quietly, and fixes its threads and those of the kernels; returns their number.

    Args:
        threads: number of CPU threads; None: as many as this process may run on.
        layout: as for `fslcore.set_threads`.

    Returns:
        The number of threads.
    """
    from fslcore import kernels

    threads = threads or kernels.num_threads()
    kernels.set_num_threads(threads)
    with quietly():
        from fslcore.threads import set_threads

        return set_threads(threads, layout)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and gives it out only if there is an exception.

    TensorFlow 2.21 logs there from C++ before it has read TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)

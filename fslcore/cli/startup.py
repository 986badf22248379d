# SPDX-License-Identifier: MIT
"""Starting TensorFlow: quietly, and with a fixed number of threads."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


def start_tensorflow(threads: int | None) -> int:
    """Imports TensorFlow, quietly, and fixes the number of threads; returns it."""
    from fslcore import kernels

    threads = threads or kernels.num_threads()
    kernels.set_num_threads(threads)
    with quietly():
        from fslcore.cli.training import set_up_tensorflow

        set_up_tensorflow(threads)
    return threads


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

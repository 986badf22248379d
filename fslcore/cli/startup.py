# SPDX-License-Identifier: MIT
"""Starting TensorFlow quietly."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from fslcore.arguments import ArgumentError


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and writes it only if there is an error that needs it.

    TensorFlow 2.21 logs there from C++ before it has read TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except ArgumentError:  # says by itself what is wrong
            raise
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)

# SPDX-License-Identifier: MIT
"""What is said in one warning."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def told(words: str = "") -> Iterator[None]:
    """Expects one warning with these words (a regular expression), or none for an empty string."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [str(one.message) for one in caught]
    assert len(said) == bool(words), said
    assert not words or re.search(words, said[0]), said

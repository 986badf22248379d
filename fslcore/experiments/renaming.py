# SPDX-License-Identifier: MIT
"""Errors about arguments in the names that the caller knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fslcore.arguments import ArgumentError


@contextlib.contextmanager
def renamed(**names: str) -> Iterator[None]:
    """Raises an ArgumentError about one of these arguments again under another name.

    Args:
        **names: the name of the argument in the function called -> its name for the caller.
    """
    try:
        yield
    except ArgumentError as error:
        if error.argument not in names:
            raise
        name, described = names[error.argument], error.described
        if described == f"{error.argument}={error.received!r}":
            described = f"{name}={error.received!r}"
        raise ArgumentError(name, error.requirement, error.received, described=described) from error

# SPDX-License-Identifier: MIT
"""Errors about arguments in the names that the caller knows."""

from __future__ import annotations

import contextlib
import re
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
        # An argument may be a sum, "k_shot + n_query", and a requirement may name others in backticks.
        name = re.sub(r"[a-z_]+", lambda found: names.get(found[0], found[0]), error.argument)
        requirement = re.sub(
            r"`([a-z_]+)", lambda found: f"`{names.get(found[1], found[1])}", error.requirement
        )
        if (name, requirement) == (error.argument, error.requirement):
            raise
        described = error.described
        if described == f"{error.argument}={error.received!r}":
            described = f"{name}={error.received!r}"
        raise ArgumentError(name, requirement, error.received, described=described) from error

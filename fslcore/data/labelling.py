# SPDX-License-Identifier: MIT
"""Labels of any kind as class numbers; a missing label is an error, never a class."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError
from fslcore.data.checks import checked_indices, form

_NAMED = 5  # positions in a message
# What NumPy makes of missing values when it turns a list of strings and other things into an array.
_SUSPICIOUS = ("nan", "NaN", "None", "<NA>", "NaT")
_KINDS = "integers", "strings"


def distinct(argument: str, values: Any) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """The sorted distinct values as strings, and the index of each value among them.

    Args:
        argument: Name of the argument, for messages.
        values: [N], all integers or all strings: a list, an array, a column of a table.

    Returns:
        The distinct values, and int32 [N].

    Raises:
        ArgumentError: Values are missing (None, NaN, NA, NaT, masked, an empty string), they are of another
            kind or of several kinds, or they are not [N].
    """
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    array = _as_array(argument, values)
    if array.ndim != 1:
        raise _wrong(argument, form(array))
    check_none_missing(argument, array, mask)
    if array.dtype.kind in "OT":
        array = _of_one_kind(argument, array)
    elif array.dtype.kind not in "iuU":
        raise _wrong(argument, form(array))
    names, index = np.unique(array, return_inverse=True)
    _warn_of_text_for_missing(argument, names.tolist())
    return tuple(str(name) for name in names), index.astype(np.int32)


def names_of(argument: str, names: Sequence[Any]) -> tuple[str, ...]:
    """Names as strings, or an ArgumentError if one is missing or they are a single string."""
    if isinstance(names, (str, bytes)):
        raise ArgumentError(argument, "must be a sequence of names, not a single string", names)
    if len(names):
        check_none_missing(argument, _as_array(argument, list(names)))
    return tuple(str(name) for name in names)


def indices_of_names(
    argument: str, values: npt.ArrayLike | None, names: Sequence[Any], n_images: int
) -> tuple[npt.NDArray[np.int32] | None, tuple[str, ...]]:
    """The groups or the parts of a store, checked.

    Args:
        argument: "groups" or "parts".
        values: Indices into the names [n_images], or None.
        names: Their names; without names, "0", "1", ... where there are values.
        n_images: Number of images.

    Raises:
        ArgumentError: There are names without values, or values without names.
    """
    argument_of_names = f"{argument.removesuffix('s')}_names"
    known = names_of(argument_of_names, names)
    if values is None:
        if known:
            raise ArgumentError(
                argument_of_names, f"must be empty without {argument}", known, described=f"{len(known)} names"
            )
        return None, ()
    indices = checked_indices(argument, values, n_images)
    known = known or tuple(str(i) for i in range(int(indices.max()) + 1))
    if indices.min() < 0 or indices.max() >= len(known):
        raise ArgumentError(
            argument,
            f"must be indices into the {len(known)} {argument_of_names}",
            indices,
            described=f"values from {indices.min()} to {indices.max()}",
        )
    return indices, known


def names_at(
    rows: npt.NDArray[Any], values: npt.NDArray[np.int32] | None, names: Sequence[str]
) -> tuple[npt.NDArray[np.int32] | None, tuple[str, ...]]:
    """The groups or the parts of some rows: those that occur, renumbered from 0, with their names."""
    if values is None:
        return None, ()
    kept, indices = np.unique(values[rows], return_inverse=True)
    return indices.astype(np.int32), tuple(names[i] for i in kept)


def check_none_missing(argument: str, array: npt.NDArray[Any], mask: Any = None) -> None:
    """Raises ArgumentError, with the first positions, if a value of [N] is missing or masked."""
    missing = _missing(array)
    if mask is not None:
        missing = missing | np.reshape(mask, missing.shape)
    if not missing.any():
        return
    at = np.flatnonzero(missing)
    first = ", ".join(map(str, at[:_NAMED])) + (", ..." if at.size > _NAMED else "")
    raise ArgumentError(
        argument,
        "must hold a value for every image",
        array,
        described=f"{at.size} missing of {array.size} (None, NaN, NA, masked or empty), at {first}; leave "
        "these images out, or give them a class of their own",
    )


def _as_array(argument: str, values: Any) -> npt.NDArray[Any]:
    """The values as an array that still shows the type of each."""
    # NumPy would make strings of a list with strings and anything else, integers of True, floats of integers
    # beyond 63 bits.
    if isinstance(values, (list, tuple)) and not (
        any(isinstance(value, (list, tuple)) or _is_array(value) for value in values)
        or (all(map(_is_number, values)) and any(isinstance(v, (float, np.floating)) for v in values))
    ):
        return np.fromiter(values, object, len(values))
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of unequal lengths
        raise _wrong(argument, str(error)) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") and not isinstance(value, np.generic) and value is not np.ma.masked


def _missing(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if array.dtype.kind in "OT":
        return np.fromiter(map(_is_missing, array.ravel()), np.bool_, array.size)
    flat = array.ravel()
    if array.dtype.kind in "fc":
        return np.isnan(flat)
    if array.dtype.kind in "mM":
        return np.isnat(flat)
    if array.dtype.kind == "U":
        return np.asarray(np.char.strip(flat) == "")
    return np.zeros(array.size, np.bool_)


def _is_missing(value: Any) -> bool:
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, (np.ndarray, Iterable)):
        return False
    try:
        return bool(value != value)  # NaN and NaT, of whatever type
    except TypeError:
        return True  # pandas.NA has no truth value


def _of_one_kind(argument: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array of objects that are all Python integers or all strings."""
    first: dict[str, int] = {}
    for i, value in enumerate(array):
        if isinstance(value, str):
            kind = "strings"
        elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            kind = "integers"
        else:
            kind = type(value).__name__
        first.setdefault(kind, i)
    if len(first) > 1 or not set(first) <= set(_KINDS):
        found = [f"{kind} ({argument}[{i}]={array[i]!r})" for kind, i in first.items()]
        raise _wrong(argument, " and ".join(found[:_NAMED]))
    return np.fromiter((v if "strings" in first else int(v) for v in array), object, array.size)


def _warn_of_text_for_missing(argument: str, names: list[Any]) -> None:
    suspicious = [name for name in names if name in _SUSPICIOUS]
    if suspicious:
        warnings.warn(
            f"{argument} hold the text {' and '.join(map(repr, suspicious))}, which becomes a class; if it "
            "stands for missing values, leave these images out",
            stacklevel=4,
        )


def _wrong(argument: str, described: str) -> ArgumentError:
    return ArgumentError(argument, "must be integers or strings [N]", described=described)

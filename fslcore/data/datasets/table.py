# SPDX-License-Identifier: MIT
"""The user's own images in a table: a pandas DataFrame, or a .csv or .tsv file that pandas reads.

filename                                        the path of a picture
label                                           its class
group                                           optional: the day of a photograph, the alphabet of a letter
split                                           optional: train, val or test
crop_y, crop_x, crop_height, crop_width         optional: the part of the upright picture to take, in pixels
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, counted
from fslcore.data import cache
from fslcore.data.datasets.dataset import Dataset, Request
from fslcore.data.datasets.folder import cache_key
from fslcore.data.datasets.left_out import printable
from fslcore.data.datasets.listing import PARTS, Listing, part_of
from fslcore.data.datasets.streaming import load_listing
from fslcore.data.labelling import distinct
from fslcore.data.store import ImageStore

ENDINGS = (".csv", ".tsv")

_CROP = ("crop_y", "crop_x", "crop_height", "crop_width")
_REQUIRED = ("filename", "label")
_COLUMNS = (*_REQUIRED, "group", "split", *_CROP)
_SEPARATORS = (",", ";", "\t")
_NAMED = 5


def dataset(table: Any) -> Dataset:
    """The dataset of a DataFrame, or of the path of a file."""
    return Dataset("a table", partial(load, table), has_data_dir=True, prepares=True)


def is_table(value: Any) -> bool:
    """Whether a value is a DataFrame, or the path of a file that is read as one."""
    if isinstance(value, (str, os.PathLike)):
        path = Path(value).expanduser()
        return path.suffix.lower() in ENDINGS and path.is_file()
    return all(hasattr(value, name) for name in ("columns", "iloc", "dtypes"))


def load(table: Any, request: Request) -> ImageStore:
    """Reads the pictures that a table names.

    Labels and groups are integers, strings, truth values, categories or dates, of any dtype of pandas; none
    may be missing. One warning names the columns that are not used and the rows that repeat others.

    Args:
        table: A DataFrame, or the path of a file with the columns above, separated by commas, semicolons or
            tabulators.
        request: As for a folder. Relative file names begin at `data_dir`; without one, at the folder of the
            file, or at the working folder for a DataFrame.

    Returns:
        A store; classes are sorted by label, images of a class as in the table. The column `split` becomes
        its parts.

    Raises:
        ArgumentError: A column is missing or holds a value that it must not, which is named by its row;
            pictures cannot be read, or would not fit into memory.
        ImportError: pandas is not installed.
    """
    if isinstance(table, (str, os.PathLike)):
        path = Path(table).expanduser().resolve()
        frame, root, name, rows = _read(path), path.parent, printable(path.stem), _lines
    else:
        frame, root, name, rows = table, Path.cwd(), "table", partial(_rows_of, table.index)
    if request.data_dir is not None:
        root = Path(request.data_dir).expanduser().resolve()
    notes: list[str] = []
    listing, _ = _Table(frame, root, str(name), rows).listing(request.on_error, notes)
    key = cache_key(str(name), Path(cache.digest([str(file) for file in listing.files])), request)
    store = load_listing(f"table-{key}", listing, root, str(name), request, notes)
    if notes:
        warnings.warn(f"{name}: {'; '.join(notes)}", stacklevel=3)
    return store


def listing_of(
    frame: Any, root: Path, argument: str, least_classes: int = 1
) -> tuple[Listing, npt.NDArray[np.int64]]:
    """The pictures that a DataFrame names, and the row of each: they are sorted by class.

    Args:
        frame: The DataFrame, with the columns above; others are not looked at.
        root: Where relative file names begin.
        argument: What errors call the frame.
        least_classes: How many labels there must be.

    Raises:
        ArgumentError: As for `load`.
    """
    table = _Table(frame, root, "the frame", partial(_rows_of, frame.index), argument)
    return table.listing("raise", [], least_classes)


class _Table:
    """A DataFrame, whose errors name rows.

    Args:
        frame: The DataFrame.
        root: Where relative file names begin.
        name: What the table is called in messages.
        rows: Says in words which some rows, counted from 0, are.
        argument: What errors call the table.
    """

    def __init__(
        self,
        frame: Any,
        root: Path,
        name: str,
        rows: Callable[[Sequence[Any]], str],
        argument: str = "name_or_path",
    ) -> None:
        self._frame, self._root, self._name, self._rows = frame, root, name, rows
        self._argument = argument
        missing = [column for column in _REQUIRED if column not in frame.columns]
        if missing:
            has = ", ".join(map(repr, frame.columns))
            raise self._wrong(
                f"no column {missing[0]!r} among {has}", "must have the columns filename and label"
            )
        if not len(frame):
            raise self._wrong("no rows", "must have rows")

    def listing(
        self, on_error: str, notes: list[str], least_classes: int = 2
    ) -> tuple[Listing, npt.NDArray[np.int64]]:
        """The files with their classes, sorted by class, and the row of each; `notes` takes sentences."""
        files = [os.path.join(self._root, os.path.expanduser(name)) for name in self._texts("filename")]
        kept = self._found(files, on_error, notes)
        class_names, labels = self._values("label", kept)
        order = kept[np.argsort(labels, kind="stable")]
        labels = np.sort(labels, kind="stable")
        boxes = self._boxes()
        self._note_repeated([files[i] for i in order], None if boxes is None else boxes[order], notes)
        if unused := [repr(column) for column in self._frame.columns if column not in _COLUMNS]:
            notes.append(f"columns that are not used: {', '.join(unused)}")
        if len(class_names) < least_classes:
            raise self._wrong(f"the only label {class_names[0]!r}", "must have two labels or more")
        groups: tuple[Sequence[str], npt.NDArray[np.int32] | None] = ((), None)
        if "group" in self._frame.columns:
            groups = self._values("group", order)
        part_names, parts = self._parts(order)
        listing = Listing(
            [files[i] for i in order],
            labels,
            class_names,
            groups[1],
            groups[0],
            parts,
            part_names,
            None if boxes is None else boxes[order],
        )
        return listing, order

    def _column(self, column: str) -> list[Any]:
        """The values of a column; an ArgumentError names the rows where it has none."""
        series = self._frame[column]
        values = series.astype(object).tolist()
        missing = [
            i
            for i, (value, absent) in enumerate(zip(values, series.isna().tolist(), strict=True))
            if absent or (isinstance(value, str) and not value.strip())
        ]
        if missing:
            self._fail(column, missing, "has no value")
        return values

    def _texts(self, column: str) -> list[str]:
        values = self._column(column)
        if wrong := [i for i, value in enumerate(values) if not isinstance(value, (str, os.PathLike))]:
            self._fail(column, wrong, f"is no path, but {values[wrong[0]]!r}")
        return [os.fspath(value) for value in values]

    def _values(self, column: str, rows: npt.NDArray[Any]) -> tuple[Sequence[str], npt.NDArray[np.int32]]:
        """The distinct values of a column in some rows, and the index of each."""
        every = self._column(column)
        values = [every[i] for i in rows]
        if all(isinstance(value, (float, np.floating)) and float(value).is_integer() for value in values):
            values = [
                int(value) for value in values
            ]  # integers, where rows without a value have been dropped
        elif all(isinstance(value, str) and str(_integer(value)) == value.strip() for value in values):
            values = [int(value) for value in values]  # of a file
        kinds = [_kind(value) for value in values]
        if fractions := [int(i) for i, kind in zip(rows, kinds, strict=True) if kind == "fraction"]:
            self._fail(column, fractions, f"is {every[fractions[0]]!r}, which is no class")
        if others := [int(i) for i, kind in zip(rows, kinds, strict=True) if kind != kinds[0]]:
            said = f"is {every[others[0]]!r}, of another kind than {values[0]!r},"
            self._fail(column, others, said)
        return distinct(column, values if kinds[0] == "whole" else [str(value).strip() for value in values])

    def _found(self, files: Sequence[str], on_error: str, notes: list[str]) -> npt.NDArray[np.int64]:
        """The rows whose files are there."""
        there = np.fromiter(map(os.path.isfile, files), np.bool_, len(files))
        gone = np.flatnonzero(~there).tolist()
        if gone:
            said = f"is not there: {printable(files[gone[0]])}"
            if on_error == "raise" or not there.any():
                can_skip = bool(there.any()) and self._argument == "name_or_path"
                self._fail("filename", gone, said, " (on_error='skip' leaves these out)" * can_skip)
            which = counted(len(gone), "file that is not there", "files that are not there")
            notes.append(f"left out: {which}, the first {printable(files[gone[0]])}")
        return np.flatnonzero(there)

    def _parts(self, rows: npt.NDArray[Any]) -> tuple[Sequence[str], npt.NDArray[np.int32] | None]:
        if "split" not in self._frame.columns:
            return (), None
        values = [str(value) for value in self._column("split")]
        parts = [part_of(value) for value in values]
        if wrong := [i for i, part in enumerate(parts) if part is None]:
            self._fail("split", wrong, f"is {values[wrong[0]]!r}, and not train, val or test")
        chosen = [parts[i] for i in rows]
        names = [part for part in PARTS if part in chosen]
        return names, np.array([names.index(str(part)) for part in chosen], np.int32)

    def _boxes(self) -> npt.NDArray[np.int64] | None:
        """The crops of all rows; 0 for rows that have none."""
        there = [column for column in _CROP if column in self._frame.columns]
        if not there:
            return None
        if len(there) < len(_CROP):
            gone = ", ".join(column for column in _CROP if column not in there)
            raise self._wrong(f"no column {gone}", f"must have all of {', '.join(_CROP)} or none")
        boxes = np.zeros((len(self._frame), len(_CROP)), np.int64)
        absent = np.stack([self._frame[column].isna().to_numpy() for column in _CROP], axis=1)
        if partly := np.flatnonzero(absent.any(axis=1) & ~absent.all(axis=1)).tolist():
            self._fail("crop", partly, "has only some of its four numbers")
        for at, column in enumerate(_CROP):
            for i, value in enumerate(self._frame[column].astype(object).tolist()):
                if absent[i, at]:
                    continue
                number = _integer(value)
                if number is None or number < (1 if column in ("crop_height", "crop_width") else 0):
                    self._fail(column, [i], f"is {value!r}, and no number of pixels")
                boxes[i, at] = number or 0
        return boxes

    def _note_repeated(
        self, files: Sequence[str], boxes: npt.NDArray[np.int64] | None, notes: list[str]
    ) -> None:
        keys = [(file, () if boxes is None else tuple(boxes[i].tolist())) for i, file in enumerate(files)]
        if repeated := len(keys) - len(set(keys)):
            rows = counted(repeated, "row names", "rows name")
            notes.append(f"{rows} a picture that another row names, too, with the same crop")

    def _fail(self, column: str, rows: Sequence[int], what: str, remedy: str = "") -> None:
        """Raises the ArgumentError about a column in some rows."""
        count = f"in {len(rows)} of {len(self._frame):,} rows ({self._rows(rows)})"
        raise self._wrong(f"{column} {what} {count}{remedy}", f"must have a valid {column} in every row")

    def _wrong(self, described: str, requirement: str) -> ArgumentError:
        return ArgumentError(self._argument, requirement, self._name, described=f"{self._name}: {described}")


def _read(path: Path) -> Any:
    """The table in a file: all values are texts, but for those of the crops; empty ones are missing."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "name_or_path needs the package pandas for a table: pip install 'fslcore[tables]'"
        ) from error
    try:
        with path.open(encoding="utf-8-sig") as file:
            heading = file.readline()
        separator = max(_SEPARATORS, key=heading.count)
        frame = pandas.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ArgumentError(
            "name_or_path",
            "must be a table that pandas reads, in UTF-8",
            path,
            described=f"{printable(path)}: {' '.join(str(error).split())}",
        ) from error
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame


def _integer(value: Any) -> int | None:
    """A whole number, also if it is a text or a float; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() and not isinstance(value, bool) else None


def _kind(value: Any) -> str:
    """What a label is: "whole", "fraction", "text", or the name of another type."""
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, (int, np.integer)):
        return "whole"
    if isinstance(value, (float, np.floating)):
        return "fraction"
    return "text" if isinstance(value, str) else type(value).__name__


def _lines(rows: Sequence[int]) -> str:
    """Rows of a file: its heading is line 1."""
    return _listed("line", [row + 2 for row in rows])


def _rows_of(index: Any, rows: Sequence[int]) -> str:
    """Rows of a DataFrame by their index."""
    return _listed("index", [index[row] for row in rows[: _NAMED + 1]], len(rows))


def _listed(what: str, names: Sequence[Any], count: int | None = None) -> str:
    more = ", ..." if (count or len(names)) > _NAMED else ""
    return f"{what} {', '.join(str(name) for name in names[:_NAMED])}{more}"

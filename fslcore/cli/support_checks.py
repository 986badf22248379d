# SPDX-License-Identifier: MIT
"""`fslcore support check` and `fslcore support calibrate`: what pictures with known labels say of a set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from fslcore import files
from fslcore.arguments import ArgumentError
from fslcore.cli import classifiers, shared
from fslcore.cli.flags import Command
from fslcore.cli.support import Set, known_labels

if TYPE_CHECKING:
    import numpy as np

    from fslcore.classifier import SupportSet
    from fslcore.classifier.checks import Checks
    from fslcore.classifier.confusion import Confusion

_MOST_ROWS = 20  # labels in a table
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def add_to(app: typer.Typer) -> None:
    """Adds the two commands to those of `fslcore support`."""
    app.command("check", cls=Command)(check)
    app.command("calibrate", cls=Command)(calibrate)


def check(
    folder: Set,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Other pictures of the labels, one sub-folder each, to be asked for. [default: the support "
            "pictures, each left out of its label]",
            show_default=False,
        ),
    ] = None,
    similarity: Annotated[
        float | None,
        typer.Option(
            help="Pictures whose correlation reaches this are near-duplicates, above 0 and at most 1. "
            "[default: 0.96]",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="A folder for confusion.png, mistakes.png and duplicates.png.", show_default=False),
    ] = None,
    json_: Json = False,
) -> None:
    """Look for faults: near-duplicates within and across labels, and labels that are taken for each other.

    Pictures among --images that are nearly support pictures are told, too. The set is not changed.
    """
    from fslcore.classifier.checks import SIMILARITY

    support = classifiers.opened(folder)
    asked, labels = _labelled(support, images) if images is not None else (None, None)
    found = support.check(asked, labels, similarity=SIMILARITY if similarity is None else similarity)
    drawn = [] if pictures is None else _draw(found, pictures)
    if json_:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return
    asked_for = f"{len(found.confusion.true):,} {found.asked}"
    if len(found.confusion.true):
        classifiers.show(f"{100 * found.confusion.accuracy:.1f} % of {asked_for} get their label")
        shared.console.print(_table(found.confusion))
    classifiers.show(str(found))
    if drawn:
        classifiers.show(f"drawn: {', '.join(map(str, drawn))}")


def calibrate(
    folder: Set,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Pictures with their labels, one sub-folder each; those of labels that the set does not "
            "have are unknown. What is missing comes from the support pictures. [default: these alone]",
            show_default=False,
        ),
    ] = None,
    false_accept_rate: Annotated[
        float, typer.Option(help="The share of unknown pictures that may get a label.")
    ] = 0.01,
    json_: Json = False,
) -> None:
    """Set the threshold below which the answer is "unknown", and calibrate the probabilities.

    The threshold holds for the labels that the set has now: calibrate again when there are many more.
    """
    with classifiers.alone(folder):
        support = classifiers.opened(folder)
        asked, labels = _labelled(support, images) if images is not None else (None, None)
        found = support.calibrate(asked, labels, false_accept_rate)
        probable, why = None, ""
        known = [] if labels is None else [i for i, each in enumerate(labels) if each in support.counts]
        try:
            if known:
                assert asked is not None
                assert labels is not None
                probable = support.calibrate_probabilities(asked[known], [labels[i] for i in known])
            else:
                probable = support.calibrate_probabilities()
        except ArgumentError as error:  # the threshold is worth keeping without them
            why = str(error)
        support.save(folder)
    if json_:
        said = {**found.to_dict(), "temperature": support.temperature, "note": why or None}
        print(json.dumps(said, indent=2, allow_nan=False))
        return
    classifiers.show(str(found))
    classifiers.show(f"probabilities are as they were: {why}" if probable is None else str(probable))


def _labelled(support: SupportSet, folder: Path) -> tuple[np.ndarray, list[Any]]:
    """The prepared pictures of a folder, and their labels as the set has them."""
    from fslcore.classifier.reading import labelled_files

    try:
        found, left_out = labelled_files(folder)
    except ArgumentError as error:
        raise ArgumentError("images", error.requirement, described=error.described) from error
    classifiers.note(left_out)
    found = known_labels(support.snapshot(), found)
    prepared = classifiers.in_steps(support, [path for paths in found.values() for path in paths])
    return prepared, [label for label, paths in found.items() for _ in paths]


def _table(confusion: Confusion) -> Table:
    """The labels with the lowest F1 first, at most 20 of them."""
    table = Table()
    for heading in ("label", "images", "precision", "recall", "F1"):
        table.add_column(heading, justify="left" if heading == "label" else "right", overflow="fold")
    images = confusion.matrix.sum(axis=1)
    rates = (confusion.precision, confusion.recall, confusion.f1)
    order = sorted(range(len(images)), key=lambda i: (images[i] == 0, rates[2][i]))
    for i in order[:_MOST_ROWS]:
        shown = ("-" if each[i] != each[i] else f"{100 * each[i]:.1f} %" for each in rates)
        table.add_row(escape(str(confusion.labels[i])), f"{images[i]:,}", *shown)
    if len(order) > _MOST_ROWS:
        table.caption = f"and {len(order) - _MOST_ROWS:,} more labels, with a higher F1"
    return table


def _draw(found: Checks, folder: Path) -> list[Path]:
    """Draws what there is to see; the paths of the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"confusion.png": found.confusion_figure}
    if any(mistake.answer is not None for mistake in found.confusion.mistakes()) and found.compared:
        figures["mistakes.png"] = found.mistakes_figure
    if found.duplicates:
        figures["duplicates.png"] = found.duplicates_figure
    for name, figure in figures.items():
        files.replace(
            folder / name,
            lambda temporary, figure=figure: figure().savefig(  # type: ignore[misc]
                temporary, bbox_inches="tight", pad_inches=0.15
            ),
        )
    return [folder / name for name in figures]

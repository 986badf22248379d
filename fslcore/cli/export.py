# SPDX-License-Identifier: MIT
"""`fslcore export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fslcore.arguments import counted
from fslcore.cli import classifiers, exits
from fslcore.cli.startup import quietly

_FORMATS = "saved_model, onnx or litert"


def export(
    classifier: Annotated[
        Path,
        typer.Argument(help="A support set, or a run or a .keras file with --support.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="The folder to make, or an earlier export, which is replaced. TensorFlow Serving wants a "
            "number as its name, such as served/1.",
            show_default=False,
        ),
    ],
    support: classifiers.Support = None,
    rule: classifiers.Rule = None,
    format: Annotated[
        str,
        typer.Option(
            help=f"{_FORMATS}. A SavedModel takes pictures of any size and files; the others take pictures "
            "that are prepared.",
        ),
    ] = "saved_model",
) -> None:
    """Write a classifier for production without this package: it needs TensorFlow alone, or another runtime.

    What is written is run on some pictures and compared with the support set before it is moved to its place.
    """
    opened = classifiers.opened(classifier, support, rule)
    with quietly():
        from fslcore.classifier import export as exporting

        try:
            written = exporting.write(opened, out, format)
        except exporting.Differs as error:
            classifiers.note(str(error))
            raise typer.Exit(exits.FAILED) from error
    classifiers.show(
        f"{written.format} with {counted(written.labels, 'label')} in {written.folder}\n"
        f"compared on {written.compared} pictures: the same labels, scores within {written.difference:.1e}"
    )

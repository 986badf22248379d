# SPDX-License-Identifier: MIT
"""`fslcore support`: makes, changes and lists support sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fslcore.arguments import ArgumentError
from fslcore.cli import classifiers, shared
from fslcore.cli.flags import Command, Group
from fslcore.cli.startup import quietly

if TYPE_CHECKING:
    from fslcore.classifier.state import State

app = typer.Typer(
    cls=Group,
    help="Make, change and list support sets: classifiers by a few pictures of each label.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Set = Annotated[Path, typer.Argument(metavar="SET", help="The folder of a support set.", show_default=False)]
From = Annotated[
    Path | None,
    typer.Option("--from", help="A folder with a sub-folder of pictures for each label.", show_default=False),
]


@app.command("create", cls=Command)
def create(
    folder: Annotated[
        Path, typer.Argument(metavar="SET", help="The folder to make, new or empty.", show_default=False)
    ],
    encoder: Annotated[
        Path, typer.Option(help="What embeds pictures: a run, or a .keras file.", show_default=False)
    ],
    from_: From = None,
    rule: classifiers.Rule = None,
) -> None:
    """Make a support set, empty or with the pictures of a folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError("folder", "must be new or empty", described=str(folder))
    support = classifiers.empty(encoder, rule)
    if from_ is not None:
        classifiers.add_folder(support, from_)
    support.save(folder)
    classifiers.show(f"{_in_words(support.snapshot())}, rule {support.rule.name}, in {folder}")


@app.command("add", cls=Command)
def add(
    folder: Set,
    label: Annotated[
        str | None, typer.Argument(help="The label; a new one is made.", show_default=False)
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Argument(help="Its pictures, or folders of them.", show_default=False)
    ] = None,
    from_: From = None,
) -> None:
    """Add pictures to a label, or those of a folder to its labels: all of them or none."""
    files = _files(label, images, from_)
    _change(folder, lambda support: classifiers.add(support, known_labels(support.snapshot(), files)))


@app.command("replace", cls=Command)
def replace(
    folder: Set,
    label: Annotated[str, typer.Argument(help="A label of the set.", show_default=False)],
    images: Annotated[
        list[Path], typer.Argument(help="Its new pictures, or folders of them.", show_default=False)
    ],
) -> None:
    """Give a label other pictures."""
    files = _files(label, images, None)

    def change(support: Any) -> None:
        ((known, paths),) = known_labels(support.snapshot(), files).items()
        support.replace(known, classifiers.in_steps(support, paths))

    _change(folder, change)


@app.command("remove", cls=Command)
def remove(
    folder: Set,
    labels: Annotated[list[str], typer.Argument(help="Labels of the set.", show_default=False)],
) -> None:
    """Remove labels and their pictures: all of them or none."""

    def change(support: Any) -> None:
        for label in labels:
            support.remove(next(iter(known_labels(support.snapshot(), {label: []}))))

    _change(folder, change)


@app.command("list", cls=Command)
def list_(
    folder: Set,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the labels of a support set, and how many pictures each has."""
    from fslcore.classifier import saving

    state, described = saving.read(folder)
    rule = described.get("rule", {}).get("name")
    if json_:
        labels = [
            {"label": label, "pictures": count}
            for label, count in zip(state.labels, state.counts.tolist(), strict=True)
        ]
        said = {"rule": rule, "threshold": state.threshold, "temperature": state.temperature}
        print(json.dumps({"labels": labels, **said}, indent=2))
        return
    table = Table()
    table.add_column("label", overflow="fold")
    table.add_column("pictures", justify="right")
    for label, count in zip(state.labels, state.counts.tolist(), strict=True):
        table.add_row(_escaped(label), str(count))
    shared.console.print(table)
    threshold = "none" if state.threshold is None else f"{state.threshold:.6g}"
    classifiers.show(f"{_in_words(state)}, rule {rule}, threshold of unknown pictures: {threshold}")


def _change(folder: Path, change: Any) -> None:
    """Changes a support set on the disk, whole or not at all, and says what it holds then."""
    if not classifiers.is_support_set(folder):
        raise ArgumentError(
            "folder",
            "must be that of a support set, as fslcore support create makes it",
            described=str(folder),
        )
    with classifiers.alone(folder):
        with quietly():
            from fslcore.classifier import SupportSet

            support = SupportSet.load(folder)
        change(support)
        support.save(folder)
    classifiers.show(f"{folder} has {_in_words(support.snapshot())} now")


def _files(label: str | None, images: list[Path] | None, from_: Path | None) -> dict[str, list[str]]:
    """The pictures to add, by label."""
    from fslcore.classifier.reading import files_of, labelled_files

    if from_ is not None:
        if label is not None:
            raise ArgumentError(
                "from_", "must be left out where a label is given", described=f"--from {from_}"
            )
        files, left_out = labelled_files(from_)
    elif label is None or not images:
        raise ArgumentError(
            "images", "must be given after a label, or a folder with --from", described="none"
        )
    else:
        paths, left_out = files_of(images)
        files = {label: paths}
    classifiers.note(left_out)
    return files


def known_labels(state: State, files: dict[str, list[str]]) -> dict[Any, list[str]]:
    """The labels as the set has them: one that Python code has given as an integer is found by its digits."""
    numbers = {str(label): label for label in state.labels if isinstance(label, int)}
    return {
        label if state.number(label) is not None else numbers.get(label, label): paths
        for label, paths in files.items()
    }


def _in_words(state: State) -> str:
    labels, images = len(state.labels), len(state)
    of_labels = f"{labels:,} {'label' if labels == 1 else 'labels'}"
    return f"{of_labels} with {images:,} {'picture' if images == 1 else 'pictures'}"


def _escaped(label: Any) -> str:
    from rich.markup import escape

    return escape(str(label))

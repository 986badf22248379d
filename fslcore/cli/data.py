# SPDX-License-Identifier: MIT
"""`fslcore data`: builds data sets that the package does not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fslcore.cli import shared
from fslcore.cli.flags import Command, Group
from fslcore.cli.progress import Bar

app = typer.Typer(
    cls=Group,
    help="Build data sets that the package does not hold.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
build = typer.Typer(
    cls=Group,
    help="Build a data set from packages of pictures.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(build, name="build")


@build.command("emoji", cls=Command)
def emoji(
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder to make. [default: where fsl.data.load('emoji') looks for it]",
            show_default=False,
        ),
    ] = None,
    packages: Annotated[
        Path | None,
        typer.Option(
            help="Where the archives of the packages are; those that are missing are fetched with npm. "
            "[default: in the cache]",
            show_default=False,
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=8, help="Height and width of the pictures.")] = 64,
    min_styles: Annotated[int, typer.Option(min=1, help="Designers that an emoji must have.")] = 4,
) -> None:
    """Build the data set emoji: 1,337 emoji, each drawn by up to nine designers.

    The icons come from ten npm packages, 14 MB; their licences and authors are listed in ATTRIBUTION.txt. A
    second call goes on where an interrupted one has ended.
    """
    from fslcore.data.datasets import emoji as dataset
    from fslcore.data.datasets.emoji import building

    with Bar(Console(stderr=True)) as bar:
        built = building.build(out or dataset.default_folder(), packages, size, min_styles, bar.show)
    said = [
        f"{built.classes:,} classes, {built.images:,} pictures in {built.folder}",
        f"left out: {built.few:,} emoji with fewer than {min_styles} designs, {len(built.alike)} alike",
    ]
    if (size, min_styles) == (64, 4):
        same = built.digest == building.REFERENCE
        other = f"not those of the published figures (another resvg-py? {built.digest})"
        said.append(f"the pixels are {'those of the published figures' if same else other}")
    if out is not None:
        said.append(f"load it with --data emoji --data-dir {built.folder}")
    shared.console.print("\n".join(said), soft_wrap=True, markup=False)

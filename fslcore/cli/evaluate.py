# SPDX-License-Identifier: MIT
"""`fslcore evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fslcore import experiments
from fslcore.cli import exits, shared
from fslcore.cli.console import RunConsole


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    way: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Classes to choose from. [default: 5 and 20; those of its tasks for reptile, maml and "
            "metagan]",
        ),
    ] = None,
    shot: Annotated[int | None, typer.Option(min=1, help="Examples per class. [default: 1 and 5]")] = None,
    query: Annotated[
        int | None, typer.Option(min=1, help="Queries per class. [default: 15, or what there is]")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help=shared.EPISODES_HELP)] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the episodes.")] = 0,
    transductive: Annotated[
        bool,
        typer.Option(
            "--transductive",
            help="Normalise the images of an episode together, queries included; for reptile, maml and "
            "metagan, the queries by their own common statistics. Such figures are not comparable with "
            "others.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Another run on the same data: measure it on the same episodes, and how much better RUN is, "
            "with the confidence interval of the paired difference.",
            show_default=False,
        ),
    ] = None,
    data: shared.Data = None,
    data_dir: shared.DataDir = None,
    min_images: shared.MinImages = None,
    threads: shared.Threads = None,
) -> None:
    """Measure the learner of RUN on its test classes, beside nearest neighbours on pixels and chance.

    The figures are printed and kept in the run's metrics.json. A run that was killed is measured by its last
    checkpoint. With other data than that of the training, the classes that it was trained on are left out.
    """
    with RunConsole(shared.console) as observer:
        experiments.evaluate(
            run,
            way=way,
            shot=shot,
            query=query,
            episodes=episodes,
            seed=seed,
            transductive=transductive,
            against=against,
            data=data,
            data_dir=data_dir,
            min_images=min_images,
            threads=threads,
            observer=observer,
        )
    if observer.failed:
        raise typer.Exit(exits.FAILED)
    shared.console.print(f"kept in {run / 'metrics.json'}", soft_wrap=True, markup=False)

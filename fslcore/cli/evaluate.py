# SPDX-License-Identifier: MIT
"""`fslcore evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fslcore import experiments
from fslcore.arguments import ArgumentError
from fslcore.cli import exits, shared
from fslcore.cli.console import RunConsole

_UNKNOWN = "Unknown classes"
_EPISODES = {False: 1000, True: 100}  # without and with unknown classes


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    way: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Classes to choose from. [default: 5 and 20; those of its tasks for reptile, maml and "
            "metagan; half of the test classes with --unknown]",
        ),
    ] = None,
    shot: Annotated[int | None, typer.Option(min=1, help="Examples per class. [default: 1 and 5]")] = None,
    query: Annotated[
        int | None, typer.Option(min=1, help="Queries per class. [default: 15, or what there is]")
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, help=f"{shared.EPISODES_HELP} [default: 1000; 100 with --unknown]"),
    ] = None,
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
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown",
            help="Show the learner half of the test classes only, and measure how well it tells them from "
            "the others: AUROC, false acceptances where 95 % of the known are accepted, and what a threshold "
            "for --false-accept-rate keeps.",
            rich_help_panel=_UNKNOWN,
        ),
    ] = False,
    false_accept_rate: Annotated[
        float | None,
        typer.Option(
            help="With --unknown: the share of unknown images that may be accepted. [default: 0.01]",
            show_default=False,
            rich_help_panel=_UNKNOWN,
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
    With --unknown, a picture is left too, unknown.png.
    """
    if unknown:
        _check_known_options(transductive, against)
    elif false_accept_rate is not None:
        raise ArgumentError("false_accept_rate", "must be left out without `unknown`", false_accept_rate)
    options: dict[str, Any] = {
        "way": way,
        "shot": shot,
        "query": query,
        "episodes": _EPISODES[unknown] if episodes is None else episodes,
        "seed": seed,
        "data": data,
        "data_dir": data_dir,
        "min_images": min_images,
        "threads": threads,
    }
    with RunConsole(shared.console) as observer:
        if unknown:
            rate = 0.01 if false_accept_rate is None else false_accept_rate
            experiments.evaluate_unknown(run, false_accept_rate=rate, observer=observer, **options)
        else:
            experiments.evaluate(
                run, transductive=transductive, against=against, observer=observer, **options
            )
    if observer.failed:
        raise typer.Exit(exits.FAILED)
    shared.console.print(f"kept in {run / 'metrics.json'}", soft_wrap=True, markup=False)


def _check_known_options(transductive: bool, against: Path | None) -> None:
    """Raises ArgumentError for an option that does not go with --unknown."""
    if transductive:
        raise ArgumentError(
            "transductive", "must be left out with `unknown`: each query is scored by itself", transductive
        )
    if against is not None:
        raise ArgumentError("against", "must be left out with `unknown`", str(against))

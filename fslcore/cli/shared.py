# SPDX-License-Identifier: MIT
"""The console, and the options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console(highlight=False)

RUN = "Run"
EPISODES_HELP = "Test episodes for each figure; four times as many halve the confidence interval."

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where TensorFlow Datasets keeps omniglot (default: TFDS_DATA_DIR, or ~/tensorflow_datasets), "
        "or where emoji lies (default: FSLCORE_EMOJI_DIR, or where 'fslcore data build emoji' puts it).",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Where the data is now: a folder that has moved, or a dataset. [default: where it was]",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
MinImages = Annotated[
    int | None,
    typer.Option(min=1, help="Leave out the classes with fewer images.", rich_help_panel=RUN),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: all]", rich_help_panel=RUN)]

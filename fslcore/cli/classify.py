# SPDX-License-Identifier: MIT
"""`fslcore classify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from fslcore.cli import classifiers, exits, shared

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def classify(
    classifier: Annotated[
        Path,
        typer.Argument(help="A support set, or a run or a .keras file with --support.", show_default=False),
    ],
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, or folders of pictures.", show_default=False)
    ],
    support: classifiers.Support = None,
    rule: classifiers.Rule = None,
    top: Annotated[int, typer.Option(min=1, help="Labels to show for each picture.")] = 1,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what pictures show, by the labelled pictures of a support set.

    The probabilities of all labels sum to 1. A picture whose score is below the threshold of the support set
    is unknown: the exit code is 3 then.
    """
    from fslcore.classifier.reading import files_of

    paths, left_out = files_of(images)
    classifiers.note(left_out)
    opened = classifiers.opened(classifier, support, rule)
    prepared = classifiers.in_steps(opened, paths)
    scores = opened.scores(opened.embed(prepared))
    answers = _answers(scores, opened.snapshot(), top)
    if json_:
        print(
            json.dumps(
                [{"image": path, **answer} for path, answer in zip(paths, answers, strict=True)], indent=2
            )
        )
    else:
        _print(paths, answers)
    if not all(answer["known"] for answer in answers):
        raise typer.Exit(exits.UNKNOWN)


def _answers(scores: npt.NDArray[np.float32], state: Any, top: int) -> list[dict[str, Any]]:
    """What JSON says of each picture."""
    from fslcore.classifier import answering

    chances = answering.as_probabilities(scores, state.temperature)
    order = answering.ranked(scores, top)
    # Those of an unknown picture are None; the nearest ones are shown beside that answer.
    labels, _ = answering.answers(scores, state, None, probabilities=False)
    return [
        {
            "label": label,
            "known": label is not None,
            "nearest": [
                {
                    "label": state.labels[place],
                    "score": float(scores[row, place]),
                    "probability": float(chances[row, place]),
                }
                for place in places
            ],
        }
        for row, (label, places) in enumerate(zip(labels, order, strict=True))
    ]


def _print(paths: list[str], answers: list[dict[str, Any]]) -> None:
    table = Table()
    for heading in ("picture", "label", "probability", "score"):
        table.add_column(
            heading, justify="left" if heading in ("picture", "label") else "right", overflow="fold"
        )
    for path, answer in zip(paths, answers, strict=True):
        for i, near in enumerate(answer["nearest"]):
            name = str(near["label"])
            label = name if answer["known"] else f"unknown (nearest: {name})" if i == 0 else f"({name})"
            table.add_row(
                _escaped(path) if i == 0 else "",
                _escaped(label),
                f"{100 * near['probability']:.1f} %",
                f"{near['score']:.4g}",
            )
    shared.console.print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    from fslcore.data.datasets.left_out import printable

    return escape(printable(text))

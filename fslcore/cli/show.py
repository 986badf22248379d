# SPDX-License-Identifier: MIT
"""`fslcore show`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from fslcore.arguments import ArgumentError
from fslcore.cli import shared
from fslcore.experiments import RECIPES, Run, runs
from fslcore.experiments.checkpoints import Progress, best_row, is_measurable, load_progress
from fslcore.experiments.results import kept_open_set

_BASELINES = {"PixelNearestNeighbour": "1-NN on pixels"}


def show(run: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]) -> None:
    """Tell what RUN was trained with, how far it has come, and its figures.

    Nothing is trained, measured or changed. A field of the recipe that is not the default of its learner on
    its data is shown beside the default.
    """
    opened = Run.open(run)
    # Everything is read before anything is printed: a damaged file is an error, not half of an answer.
    progress = load_progress(opened.folder)
    results = opened.results if (opened.folder / runs.METRICS).exists() else []
    open_set = kept_open_set(opened.folder)
    with _reading(opened, runs.CONFIG):
        data, recipe = _data(opened), _recipe(opened)
    with _reading(opened, runs.METRICS):
        figures, differences = _figures(opened, results), _differences(results)
        unknown = [_unknown(entry) for entry in open_set]
    _print(data)
    shared.console.print(recipe)
    _print(_training(opened, progress))
    if results:
        _print(["", "accuracy on the test classes, ± 95 % confidence"])
        shared.console.print(figures)
    if unknown:
        _print(["", "half of the test classes known, half unknown, ± 95 % confidence", *unknown])
    _print([*differences, *_next(opened, progress, results)])


@contextlib.contextmanager
def _reading(run: Run, name: str) -> Iterator[None]:
    """Turns what an entry that is missing or of another type raises into an error about the file."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        path = run.folder / name
        raise ArgumentError(
            "run", f"must have a {name} as fslcore writes it: {path} is damaged ({error!r})", str(run.folder)
        ) from error


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        shared.console.print(line, soft_wrap=True, markup=False)


def _data(run: Run) -> list[str]:
    """Learner, data, seed and versions."""
    config = run.config
    size, threads = config.get("image_size"), config.get("threads")
    lines = [f"{run.recipe.learner} on {_dataset(run)}, run folder {run.folder}"]
    if size is not None:
        lines.append(f"images    {size} x {size} pixels")
    for part, found in config.get("split", {}).items():
        lines.append(f"{part:9} {found['classes']:,} classes, {found['images']:,} images")
    lines.append(f"seed      {run.recipe.seed}" + ("" if threads is None else f", {threads} threads"))
    versions = ", ".join(f"{name} {version}" for name, version in config.get("versions", {}).items())
    return [*lines, f"versions  {versions}"]


def _recipe(run: Run) -> Table:
    """The fields of the recipe, each with its default where that differs."""
    default = RECIPES[run.recipe.learner].default(_dataset(run)).to_json()
    table = Table()
    for heading in ("recipe", "", "default"):
        table.add_column(heading)
    for name, value in run.recipe.to_json().items():
        if name not in ("learner", "seed"):
            table.add_row(name, str(value), "" if value == default[name] else str(default[name]))
    return table


def _training(run: Run, progress: Progress) -> list[str]:
    """How far the training has come."""
    recipe, history = run.recipe, progress.history
    if not progress.step:
        return ["training  no checkpoint yet"]
    state = "complete" if progress.step >= recipe.steps else "not complete"
    lines = [
        f"training  {state}: {len(history):,} of {recipe.epochs:,} epochs, "
        f"{progress.step:,} of {recipe.steps:,} steps"
    ]
    if progress.partial:
        lines.append(f"loss      {progress.partial['loss']:.4f} so far in epoch {len(history) + 1}")
    elif history:
        lines.append(f"loss      {history[-1]['loss']:.4f} in epoch {len(history)}")
    best = best_row(history)
    if best is not None:
        last = [row for row in history if "val_accuracy" in row][-1]
        kept = ", which is kept" if state == "complete" and recipe.keep == "best" else ""
        lines.append(
            f"validated {_percent(last['val_accuracy'], last.get('val_ci95'))}; "
            f"best {_percent(best['val_accuracy'], best.get('val_ci95'))} in epoch {best['epoch']:.0f}{kept}"
        )
    return lines


def _figures(run: Run, results: Sequence[dict[str, Any]]) -> Table:
    """The results in `metrics.json`, one row for each protocol."""
    table = Table()
    names = list(dict.fromkeys(name for result in results for name in result["baselines"]))
    headings = (_BASELINES.get(name, name) for name in names)
    for heading in ("", "episodes", "seed", run.recipe.learner, *headings, "chance"):
        table.add_column(heading, justify="right")
    for result in results:
        baselines = (result["baselines"].get(name) for name in names)
        table.add_row(
            _protocol(result),
            f"{result['episodes']:,}",
            str(result["seed"]),
            _percent(result["accuracy"], result["ci95"]),
            *("" if found is None else _percent(found["accuracy"], found["ci95"]) for found in baselines),
            f"{100 * result['chance']:.1f} %",
        )
    return table


def _differences(results: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each comparison with another run."""
    lines = []
    for result in results:
        if "against" in result:
            other, width = result["against"], result["against"]["difference_ci95"]
            lines.append(
                f"{_protocol(result)}: {other['run']} has {_percent(other['accuracy'], other['ci95'])} on "
                f"the same episodes, difference {100 * other['difference']:+.2f}"
                + ("" if width is None else f" ± {100 * width:.2f}")
            )
    return lines


def _unknown(entry: dict[str, Any]) -> str:
    """The figures of a result on known and unknown classes."""
    text = (
        f"{entry['n_way']}-way {entry['k_shot']}-shot, {entry['episodes']:,} episodes: AUROC "
        f"{_percent(*entry['auroc'])}, FPR at 95 % TPR {_percent(*entry['fpr_at_95_tpr'])}"
    )
    if entry["false_accepts"] is None:
        return text
    return (
        f"{text}; at a rate of {100 * entry['false_accept_rate']:g} %: unknown accepted "
        f"{_percent(*entry['false_accepts'])}, known {_percent(*entry['accepted'])}"
    )


def _next(run: Run, progress: Progress, results: Sequence[dict[str, Any]]) -> list[str]:
    """What is left to do, with the command that does it."""
    lines = []
    if progress.step < run.recipe.steps:
        lines.append(f"continue:   fslcore train --resume {run.folder}")
    if not results:
        measurable = is_measurable(run.folder)
        lines.append(
            f"measure it: fslcore evaluate {run.folder}" if measurable else "not measured: no weights"
        )
    return lines


def _dataset(run: Run) -> str:
    return str(run.config.get("data", "unknown data"))


def _protocol(result: dict[str, Any]) -> str:
    unlabelled = result.get("n_unlabelled", 0)
    return (
        f"{result['n_way']}-way {result['k_shot']}-shot"
        + (f", {unlabelled} unlabelled" if unlabelled else "")
        + (", transductive" if result["transductive"] else "")
    )


def _percent(accuracy: float, ci95: float | None) -> str:
    return f"{100 * accuracy:.2f} %" + ("" if ci95 is None else f" ± {100 * ci95:.2f}")

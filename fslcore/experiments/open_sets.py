# SPDX-License-Identifier: MIT
"""Open sets: a trained learner is shown half of the test classes, and should call the others unknown."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fslcore import files
from fslcore.arguments import ArgumentError, as_int64, check_at_least
from fslcore.data import ImageStore
from fslcore.evaluation import OpenReport, PixelNearestNeighbour, evaluate_open
from fslcore.experiments import completion, folders, memory, runs
from fslcore.experiments import parts as data_parts
from fslcore.experiments.recipes.sizing import smallest_class, smallest_in_words
from fslcore.experiments.renaming import renamed
from fslcore.experiments.reporting import Observer
from fslcore.experiments.runs import Run
from fslcore.experiments.starting import fix_threads

if TYPE_CHECKING:
    from fslcore.experiments.results import OpenResult

PathLike = str | os.PathLike[str]

PICTURE = "unknown.png"


def evaluate_unknown(
    run: Run | PathLike,
    *,
    way: int | None = None,
    shot: int | None = None,
    query: int | None = None,
    episodes: int = 100,
    seed: int = 0,
    false_accept_rate: float = 0.01,
    data: PathLike | None = None,
    data_dir: PathLike | None = None,
    min_images: int | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
) -> list[OpenResult]:
    """Measures how well the learner of a run tells new classes that it is shown from others.

    Each episode draws known and unknown classes among the test classes, as many of each. The results are also
    kept in the run's `metrics.json`, under "open_set", and drawn in `unknown.png`.

    Args:
        run: the run, or its folder.
        way: known classes, and as many unknown ones; None: half of the test classes each, or those of a task
            if the learner is fitted to tasks.
        shot: examples per known class; None: 1 and 5.
        query: queries per class; None: 15, or what there is.
        episodes: episodes for each result.
        seed: seed of the episodes.
        false_accept_rate: the share of unknown images that may be accepted, for which thresholds are made.
        data: as for `evaluate`.
        data_dir: as for `evaluate`.
        min_images: as for `evaluate`.
        threads: as for `train`.
        observer: is told what happens.

    Returns:
        A result for each number of examples.

    Raises:
        ArgumentError: an argument is wrong, the run is damaged, or its test classes are those that it was
            trained on.
    """
    observer = observer or Observer()
    run = run if isinstance(run, Run) else Run.open(run)
    for name, value, least in (
        ("way", way, 2),
        ("shot", shot, 1),
        ("query", query, 1),
        ("episodes", episodes, 1),
        ("seed", seed, 0),
        ("threads", threads, 1),
        ("min_images", min_images, 1),
    ):
        if value is not None:
            check_at_least(name, as_int64(name, value), least)
    with observer.starting():
        fix_threads(threads, run.recipe.layout, required=threads is not None)
    test, support, changes = data_parts.measured_part_of_run(
        run, data, data_dir, min_images, observer.loading
    )
    if support is not None:
        raise ArgumentError(
            "unknown",
            "must be measured on classes that are new to the learner: this run was split by image, and knows "
            "all classes of its test (`data` names other data)",
            str(run.folder),
        )
    from fslcore.experiments import checkpoints, results

    results.kept_results(run.folder)  # a damaged file is an error before the measuring, not after it
    results.kept_open_set(run.folder)
    shots = [shot] if shot is not None else sorted({each for _, each in run.recipe.protocols(test)})
    _check_images(test, max(shots), query)
    memory.check(run.recipe, {"test": test})
    learner = checkpoints.trained_learner(run, test.image_shape)
    for sentence in changes:
        observer.noticed(sentence)
    measured: list[OpenResult] = []
    for number, examples in enumerate(shots):
        n_query = query or run.recipe.queries(test, examples)

        def progress(done: int, before: int = number * episodes) -> None:
            observer.measuring(before + done, episodes * len(shots))

        progress(0)
        with renamed(n_way="way", k_shot="shot", n_query="query"):
            arguments = (test, way, examples, n_query, episodes, seed, false_accept_rate)
            report = evaluate_open(learner, *arguments, progress=progress)
            arguments = (test, report.n_way, *arguments[2:])
            measured.append(results.OpenResult(report, evaluate_open(PixelNearestNeighbour(), *arguments)))
    observer.measured_open(run, measured)
    for sentence in filter(None, (_about_thresholds(result.report) for result in measured)):
        observer.noticed(sentence)
    with completion.unsaved_if_failing(run.folder / runs.METRICS, observer):
        write_open(run, measured)
    _draw(run, measured, observer)
    return measured


def write_open(run: Run, measured: Sequence[OpenResult]) -> None:
    """Adds results to `metrics.json`, in place of those that they repeat.

    Raises:
        ArgumentError: the file is damaged.
        OSError: it cannot be written.
    """
    from fslcore.experiments import results

    entries = [
        {**each.report.to_dict(), "baselines": {"PixelNearestNeighbour": each.baseline.to_dict()}}
        for each in measured
    ]
    with folders.locked(run.folder / runs.CONFIG, wait=True):
        new = {_protocol(entry) for entry in entries}
        kept = [entry for entry in results.kept_open_set(run.folder) if _protocol(entry) not in new]
        results.write_content(run, results.kept_results(run.folder), [*kept, *entries])


def _about_thresholds(report: OpenReport) -> str | None:
    """A sentence if there are episodes without a threshold."""
    if report.thresholds == report.episodes:
        return None
    rate, half = report.false_accept_rate, report.n_way // 2
    needed = math.ceil(1 / rate - 1 - 1e-9)
    return (
        f"{report.thresholds:,} of {report.episodes:,} {report.k_shot}-shot episodes have a threshold: a "
        f"rate of {rate:g} takes {needed:,} images of unknown classes, or more where those of a class are "
        f"alike, and half of those of an episode have {half * report.n_query:,}, of {half:,} classes"
    )


def _protocol(entry: dict[str, Any]) -> tuple[Any, ...]:
    names = ("dataset", "n_way", "k_shot", "n_query", "episodes", "seed", "false_accept_rate")
    return tuple(entry[name] for name in names)


def _draw(run: Run, measured: Sequence[OpenResult], observer: Observer) -> None:
    path = run.folder / PICTURE
    try:
        from fslcore import plots

        last = measured[-1]
        curves = {f"{run.recipe.learner}, {each.report.k_shot}-shot": each.report.first for each in measured}
        curves[f"1-NN on pixels, {last.report.k_shot}-shot"] = last.baseline.first
        title = (
            f"{last.report.n_way} known and {last.report.n_way} unknown classes of {last.report.dataset}, "
            f"{last.report.k_shot}-shot: the first of {last.report.episodes:,} episodes"
        )
        figure = plots.open_set(curves, *last.report.scores, title=title)
        files.replace(path, lambda temporary: figure.savefig(temporary, bbox_inches="tight", pad_inches=0.15))
    except Exception as error:  # whatever it is: the results do not depend on a picture
        observer.undrawn(Path(path), error)


def _check_images(test: ImageStore, shot: int, query: int | None) -> None:
    most = smallest_class(test) - 1
    if shot > most:
        raise ArgumentError(
            "shot",
            f"must be at most {most} to measure the learner on {test!r}: {smallest_in_words(test)}",
            shot,
        )
    if query is not None and query > smallest_class(test) - shot:
        raise ArgumentError(
            "query",
            f"must be at most {smallest_class(test) - shot} beside `shot={shot}` on {test!r}: "
            f"{smallest_in_words(test)}",
            query,
        )

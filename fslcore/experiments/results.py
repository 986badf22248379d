# SPDX-License-Identifier: MIT
"""The results of a run: its accuracy beside the baselines, kept in `metrics.json`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fslcore.data import ImageStore
from fslcore.evaluation import OpenReport, PixelNearestNeighbour, Report, evaluate, paired_difference
from fslcore.experiments import checkpoints, closed, folders, runs
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.runs import Run


@dataclasses.dataclass(frozen=True)
class Result:
    """Reports on a learner, the baseline and perhaps the learner of another run, all on the same episodes."""

    report: Report
    baseline: Report
    other: Report | None = None

    @property
    def difference(self) -> tuple[float, float] | None:
        """How much better the learner is than the other, and half the width of the 95 % interval."""
        return None if self.other is None else paired_difference(self.report, self.other)


@dataclasses.dataclass(frozen=True)
class OpenResult:
    """Reports on a learner and on the baseline that is shown half of the classes, on the same episodes."""

    report: OpenReport
    baseline: OpenReport


def validator(learner: Any, recipe: Recipe, store: ImageStore) -> Callable[[], Report] | None:
    """The evaluation that `Recipe.validation` plans; None if the store is too small for one."""
    plan = recipe.validation(store)
    if plan is None:
        return None
    return lambda: evaluate(
        learner,
        store,
        plan.way,
        plan.shot,
        plan.query,
        plan.episodes,
        recipe.key("validation"),
        n_unlabelled=recipe.unlabelled_images,
    )


def measure(
    learner: Any,
    recipe: Recipe,
    store: ImageStore,
    protocols: Sequence[tuple[int, int]],
    episodes: int,
    seed: int,
    *,
    query: int | None = None,
    transductive: bool = False,
    against: tuple[Any, Recipe] | None = None,
    support: ImageStore | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Result]:
    """Evaluates a learner and, on the same episodes, nearest neighbours on pixels.

    Args:
        learner: the trained learner.
        recipe: its recipe.
        store: images of unseen classes; in a closed set, unseen images.
        protocols: (way, shot) of each result.
        episodes: number of episodes for each.
        seed: seed of the episodes.
        query: queries per class; None: as `Recipe.queries` says.
        transductive: as for `evaluate`; the baseline ignores it.
        against: another trained learner with its recipe, to be evaluated on the same episodes.
        support: in a closed set, the images that examples are drawn from.
        progress: called as `progress(done, total)` with numbers of episodes, of all learners and protocols.

    Returns:
        A result for each protocol.

    Raises:
        ValueError: as for `evaluate`.
    """
    trained = [(learner, recipe), *([] if against is None else [against])]
    total, before = episodes * len(protocols) * len(trained), 0

    def report_progress(done: int) -> None:
        if progress is not None:
            progress(before + done, total)

    report_progress(0)
    results = []
    for way, shot in protocols:
        n_query = query or min(
            its.queries(store, shot) if support is None else closed.queries(store, its) for _, its in trained
        )
        sizes = (way, shot, n_query, episodes, seed)
        reports = []
        for one, its in trained:
            reports.append(
                evaluate(
                    one,
                    store,
                    *sizes,
                    transductive,
                    n_unlabelled=its.unlabelled_images,
                    support=support,
                    progress=report_progress,
                )
            )
            before += episodes
        report, *other = reports
        baseline = evaluate(PixelNearestNeighbour(), store, *sizes, support=support)
        results.append(Result(report, baseline, *other))
    return results


def write_metrics(run: Run, results: Sequence[Result], keep: bool, against: Path | None = None) -> None:
    """Writes `metrics.json`.

    Args:
        run: the run; what its learner was made of is written too.
        results: what was measured.
        keep: whether to keep the results in the file of which none of these is a repetition.
        against: the run folder of the other learner, if there was one.

    Raises:
        ArgumentError: the file is to be kept but is damaged.
        OSError: it cannot be written.
    """
    entries, folder = [_entry(result, against) for result in results], run.folder
    # Two processes that measure a run at the same time must not forget each other's results.
    with folders.locked(folder / runs.CONFIG, wait=True):
        if keep:
            new = {_protocol(entry) for entry in entries}
            entries = [entry for entry in kept_results(folder) if _protocol(entry) not in new] + entries
        write_content(run, entries, kept_open_set(folder) if keep else [])


def write_content(run: Run, entries: Sequence[dict[str, Any]], open_set: Sequence[dict[str, Any]]) -> None:
    """Writes `metrics.json` with these entries alone; the caller has locked the folder.

    Raises:
        OSError: it cannot be written.
    """
    folders.sweep(run.folder, runs.METRICS)
    content: dict[str, Any] = {"results": list(entries)}
    if open_set:
        content["open_set"] = list(open_set)
    content |= {"trained": _trained(run), "versions": runs.versions()}
    runs.write_json(run.folder / runs.METRICS, {"format": runs.FORMAT, **content})


def _trained(run: Run) -> dict[str, Any]:
    """What the learner of a run was made of: network, images, phases, and the epoch that is kept."""
    recipe, progress = run.recipe, checkpoints.load_progress(run.folder)
    best = checkpoints.best_row(progress.history) if recipe.keep == "best" else None
    kept = progress.history[-1] if progress.history else None
    if best is not None and progress.step >= recipe.steps:
        kept = best
    return {
        "encoder": recipe.encoder,
        "image_shape": run.config.get("image_shape"),
        "augment": recipe.augment,
        "phases": [dataclasses.asdict(stage) for stage in recipe.stages()],
        "steps": progress.step,
        "keep": recipe.keep,
        "kept_epoch": None if kept is None else kept["epoch"],
    }


def kept_results(run: Path) -> list[dict[str, Any]]:
    """The results in `metrics.json`; none if there is no such file.

    Raises:
        ArgumentError: the file is damaged.
    """
    path = run / runs.METRICS
    if not path.exists():
        return []
    try:
        results = list(runs.read_json(path)["results"])
        for entry in results:
            _protocol(entry)
    except (KeyError, TypeError) as error:
        raise runs.damaged(path, repr(error)) from error
    return results


def kept_open_set(run: Path) -> list[dict[str, Any]]:
    """The results on unknown classes in `metrics.json`; none if there are none.

    Raises:
        ArgumentError: the file is damaged.
    """
    path = run / runs.METRICS
    entries = runs.read_json(path).get("open_set", []) if path.exists() else []
    if not isinstance(entries, list) or not all(isinstance(e, dict) and "auroc" in e for e in entries):
        raise runs.damaged(path, "its 'open_set' holds no results")
    return entries


def _entry(result: Result, against: Path | None) -> dict[str, Any]:
    """A result as JSON takes it."""
    entry = {**result.report.to_dict(), "baselines": {"PixelNearestNeighbour": result.baseline.to_dict()}}
    if result.other is not None and result.difference is not None:
        difference, ci95 = result.difference
        entry["against"] = {
            "run": str(against),
            **result.other.to_dict(),
            "difference": difference,
            "difference_ci95": None if math.isnan(ci95) else ci95,
        }
    return entry


def _protocol(entry: dict[str, Any]) -> tuple[Any, ...]:
    names = ("dataset", "n_way", "k_shot", "n_query", "episodes", "seed", "transductive")
    # Files from before unlabelled images have no such entry.
    return (*(entry[name] for name in names), entry.get("n_unlabelled", 0))

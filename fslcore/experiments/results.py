# SPDX-License-Identifier: MIT
"""What a run amounts to: its accuracy beside the baselines, kept in `metrics.json`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fslcore.data import ImageStore
from fslcore.evaluation import PixelNearestNeighbour, Report, evaluate, paired_difference
from fslcore.experiments import runs
from fslcore.experiments.defaults import option, option_and_value
from fslcore.experiments.recipes import AdaptiveRecipe, Recipe

PROTOCOLS = ((5, 1), (5, 5), (20, 1), (20, 5))
# Of a learner that is fitted to each task, whose network has a fixed number of classes.
_SHOTS = (1, 5)
_MOST_QUERIES, _VALIDATION_QUERIES = 15, 5
_VALIDATION_EPISODES = 200
# An episode costs Reptile 1.3 times what a training step does, with 1 query per class or with 5: 60 of them
# are 4 % of an epoch of 2,000 steps.
_ADAPTED_EPISODES = 60


@dataclasses.dataclass(frozen=True)
class Result:
    """A learner, the baseline and perhaps the learner of another run, all on the same episodes."""

    report: Report
    baseline: Report
    other: Report | None = None

    @property
    def difference(self) -> tuple[float, float] | None:
        """How much better the learner is than the other, and half the width of the 95 % interval."""
        return None if self.other is None else paired_difference(self.report, self.other)


@dataclasses.dataclass(frozen=True)
class Validation:
    """The quick evaluation after every epoch."""

    n_way: int
    k_shot: int
    n_query: int
    episodes: int


def protocols_for(recipe: Recipe, store: ImageStore) -> list[tuple[int, int]]:
    """The (n_way, k_shot) to measure a learner by that the store has the classes and images for; never none.

    Raises:
        ValueError: the store has a single class or a class with a single image, or too few of either for a
            learner whose tasks have a fixed size.
    """
    smallest = int(store.images_per_class.min())
    if store.n_classes < 2 or smallest < 2:
        raise ValueError(
            f"an evaluation needs at least 2 classes with 2 images each, received {store!r}, whose smallest "
            f"class has {smallest}"
        )
    if not isinstance(recipe, AdaptiveRecipe):
        possible = [(way, shot) for way, shot in PROTOCOLS if way <= store.n_classes and shot < smallest]
        return possible or [(min(store.n_classes, 5), 1)]
    most = {"way": store.n_classes, "shot": smallest - recipe.unlabelled_images - 1}
    for name, limit in most.items():
        if getattr(recipe, name) > limit:
            raise ValueError(
                f"{option(name)} must be at most {limit} to measure the learner on {store!r}, received "
                f"{option_and_value(name, getattr(recipe, name))}"
            )
    return [(recipe.way, shot) for shot in sorted({*_SHOTS, recipe.shot}) if shot <= most["shot"]]


def chosen_protocols(
    recipe: Recipe, store: ImageStore, way: int | None, shot: int | None
) -> list[tuple[int, int]]:
    """The (n_way, k_shot) that were asked for; `protocols_for` what was not.

    Raises:
        ValueError: the learner's network is for another number of classes.
    """
    if isinstance(recipe, AdaptiveRecipe):
        if way not in (None, recipe.way):
            raise ValueError(
                f"--way must be {recipe.way}, the classes that the learner's network can tell apart, "
                f"received --way {way}"
            )
        way = recipe.way if shot else None
    return protocols_for(recipe, store) if way is None and shot is None else [(way or 5, shot or 1)]


def queries_for(recipe: Recipe, store: ImageStore, k_shot: int) -> int:
    """Queries per class beside `k_shot` examples: 15, or what the smallest class has."""
    spare = int(store.images_per_class.min()) - k_shot - recipe.unlabelled_images
    return max(1, min(_MOST_QUERIES, spare))


def validation_for(recipe: Recipe, store: ImageStore) -> Validation | None:
    """How to validate on a store; None if it is too small for that."""
    spare = int(store.images_per_class.min()) - recipe.unlabelled_images
    if isinstance(recipe, AdaptiveRecipe):
        way, shot, episodes = recipe.way, min(recipe.shot, spare - 1), _ADAPTED_EPISODES
    else:
        way, shot, episodes = max(2, min(20, store.n_classes)), 1, _VALIDATION_EPISODES
    if store.n_classes < way or not 1 <= shot < spare:
        return None
    return Validation(way, shot, min(_VALIDATION_QUERIES, spare - shot), episodes)


def validator(learner: Any, recipe: Recipe, store: ImageStore) -> Callable[[], Report] | None:
    """The evaluation that `validation_for` plans; None if the store is too small for one."""
    plan = validation_for(recipe, store)
    if plan is None:
        return None
    return lambda: evaluate(
        learner,
        store,
        plan.n_way,
        plan.k_shot,
        plan.n_query,
        plan.episodes,
        recipe.seed,
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
    progress: Callable[[], object] = lambda: None,
) -> list[Result]:
    """Evaluates a learner and, on the same episodes, nearest neighbours on pixels.

    Args:
        learner: the trained learner.
        recipe: its recipe.
        store: images of unseen classes.
        protocols: (n_way, k_shot) of each result.
        episodes: number of episodes for each.
        seed: seed of the episodes.
        query: queries per class; None: as `queries_for` says.
        transductive: as for `evaluate`; the baseline has no use for it.
        against: another trained learner with its recipe, to be evaluated on the same episodes.
        progress: called after each episode of a learner.

    Returns:
        A result for each protocol.

    Raises:
        ValueError: as for `evaluate`.
    """
    trained = [(learner, recipe), *([] if against is None else [against])]
    results = []
    for way, shot in protocols:
        n_query = query or min(queries_for(its, store, shot) for _, its in trained)
        sizes = (way, shot, n_query, episodes, seed)
        report, *other = (
            evaluate(
                one,
                store,
                *sizes,
                transductive,
                n_unlabelled=its.unlabelled_images,
                progress=lambda _: progress(),
            )
            for one, its in trained
        )
        results.append(Result(report, evaluate(PixelNearestNeighbour(), store, *sizes), *other))
    return results


def write_metrics(run: Path, results: Sequence[Result], keep: bool, against: Path | None = None) -> None:
    """Writes `metrics.json`.

    Args:
        run: the run folder.
        results: what was measured.
        keep: whether to keep the results in the file of which none of these is a repetition.
        against: the run folder of the other learner, if there was one.

    Raises:
        ValueError: the file is to be kept but is damaged.
    """
    entries = [_entry(result, against) for result in results]
    if keep and (run / runs.METRICS).exists():
        new = {_protocol(entry) for entry in entries}
        old = runs.read_json(run / runs.METRICS)["results"]
        entries = [entry for entry in old if _protocol(entry) not in new] + entries
    runs.write_json(
        run / runs.METRICS, {"format": runs.FORMAT, "results": entries, "versions": runs.versions()}
    )


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
    # Files of before unlabelled images have no such entry.
    return (*(entry[name] for name in names), entry.get("n_unlabelled", 0))

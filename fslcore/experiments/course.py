# SPDX-License-Identifier: MIT
"""A run from its recipe to its results: `train`, `resume` and `evaluate`.

    recipe, data ──> learner, run folder ──> training ──> results and pictures, in the run folder

TensorFlow, which takes seconds to import, is imported once the arguments have been checked.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.experiments import parts as data_parts
from fslcore.experiments import runs
from fslcore.experiments.choices import planned_recipe
from fslcore.experiments.recipes import Recipe
from fslcore.experiments.recipes.recipe import smallest_class
from fslcore.experiments.renaming import renamed
from fslcore.experiments.reporting import Diverged, Interrupted, Observer
from fslcore.experiments.runs import Run
from fslcore.experiments.starting import fix_threads

if TYPE_CHECKING:
    import keras

    from fslcore.experiments.results import Result

PathLike = str | os.PathLike[str]

_MOST_EPISODES_OF_A_CURVE = 400
_EPISODES, _QUICK_EPISODES = 1000, 200


def train(
    recipe: Recipe | str,
    data: PathLike = "glyphs",
    out: PathLike | None = None,
    *,
    data_dir: PathLike | None = None,
    image_size: int = 28,
    quick: bool = False,
    tensorboard: bool = False,
    eval_episodes: int | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **chosen: Any,
) -> Run:
    """Trains a learner and measures it on classes that it has never seen, as `fslcore train` does.

    Args:
        recipe: a recipe, which is trained as it is; or the name of a learner, a key of `RECIPES`, for its
            default recipe on this data.
        data: the name of a dataset, such as "glyphs", or a folder with one sub-folder per class.
        out: run folder, new or empty; None: `runs/<learner>-<data>-<date-time>`.
        data_dir: where TensorFlow Datasets keeps omniglot; None: TFDS_DATA_DIR, or ~/tensorflow_datasets.
        image_size: height and width that the images are resized to.
        quick: with the name of a learner, take small sizes, for a trial.
        tensorboard: also write the curves for TensorBoard, into the run folder.
        eval_episodes: test episodes for each result; None: 1000, or 200 for a quick trial.
        threads: CPU threads; None: all, or those with which TensorFlow has started. The bits of the result
            depend on their number and on `recipe.layout`.
        observer: is told what happens.
        callbacks: more Keras callbacks for the training.
        **chosen: with the name of a learner, fields of its recipe in place of the defaults, such as `way=20`.

    Returns:
        The run; its folder holds configuration, weights, results and pictures.

    Raises:
        ArgumentError: an argument is wrong. No folder is left behind.
        Interrupted: by Ctrl-C in the training; `resume` continues.
        Diverged: the loss or a weight has become infinite or NaN.

    Example:
        >>> run = train("siamese", "glyphs", quick=True)  # doctest: +SKIP
        >>> run.results[0]["accuracy"]  # doctest: +SKIP
        0.97
    """
    observer = observer or Observer()
    given = {name: value for name, value in chosen.items() if value is not None}
    if isinstance(recipe, str):
        recipe = planned_recipe(recipe, data_parts.place(data), quick, **given)
        fit = True
    elif quick or given:
        name, value = next(iter({**given, "quick": quick}.items()))
        raise ArgumentError(name, "must be left out with a recipe, which has all its fields", value)
    else:
        fit = False
    _check_counts(eval_episodes=eval_episodes, threads=threads)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ImportError("`tensorboard` needs the package tensorboard: pip install tensorboard")
    folder = Path(out) if out is not None else _default_folder(recipe.learner, data)
    runs.check_new(folder)
    with observer.starting():
        number = fix_threads(threads, recipe.layout, required=threads is not None)
    parts = data_parts.load_parts(data, data_dir, image_size, observer.loading)
    if fit:
        recipe = recipe.fitted(parts, given)
    # What cannot be trained, or measured in the end, must not leave a folder behind.
    recipe.check(parts["train"])
    recipe.protocols(parts["test"])
    learner = recipe.build(parts["train"].image_shape)
    recipe.batches(learner, parts["train"], first=0)
    config = {
        "recipe": recipe.to_json(),
        "data": data_parts.place(data),
        "data_dir": None if data_dir is None else str(data_dir),
        "image_size": image_size,
        "split": data_parts.described(parts),
        "eval_episodes": eval_episodes or (_QUICK_EPISODES if quick else _EPISODES),
        "threads": number,
        "tensorboard": tensorboard,
    }
    runs.create(folder, config)
    run = Run.open(folder)
    _carry_through(run, learner, parts, observer, callbacks)
    return run


def resume(
    run: Run | PathLike,
    *,
    data_dir: PathLike | None = None,
    observer: Observer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Continues a run exactly as it would have gone on, and measures it.

    The weights are those of a run that was never stopped, bit for bit, if TensorFlow has the threads of the
    run: those that `train` gave it, or, in a process that has not started it yet, those that this call does.

    Args:
        run: the run, or its folder.
        data_dir: where TensorFlow Datasets keeps omniglot now; None: where it did.
        observer: is told what happens.
        callbacks: more Keras callbacks for the training.

    Returns:
        The run.

    Raises:
        ArgumentError: there is no such run, it is damaged, or its data is not what it was.
        Interrupted: as for `train`.
        Diverged: as for `train`.
    """
    observer = observer or Observer()
    run = run if isinstance(run, Run) else Run.open(run)
    with observer.starting():
        fix_threads(run.config["threads"], run.recipe.layout)
    parts = data_parts.parts_of_run(run, data_dir, observer.loading)
    learner = run.recipe.build(parts["train"].image_shape)
    _carry_through(run, learner, parts, observer, callbacks)
    return run


def evaluate(
    run: Run | PathLike,
    *,
    way: int | None = None,
    shot: int | None = None,
    query: int | None = None,
    episodes: int = _EPISODES,
    seed: int = 0,
    transductive: bool = False,
    against: Run | PathLike | None = None,
    data_dir: PathLike | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
) -> list[Result]:
    """Measures the learner of a run on its test classes, beside nearest neighbours on pixels.

    The results are also kept in the run's `metrics.json`.

    Args:
        run: the run, or its folder.
        way: classes to choose from; None: 5 and 20, or those of a task if the learner is fitted to tasks.
        shot: examples per class; None: 1 and 5.
        query: queries per class; None: 15, or what there is.
        episodes: episodes for each result.
        seed: seed of the episodes.
        transductive: normalise the images of an episode together, queries included; for learners that are
            fitted to tasks, the queries by their own common statistics. Such results are not comparable with
            others.
        against: another run on the same data, to be measured on the same episodes.
        data_dir: where TensorFlow Datasets keeps omniglot now; None: where it did.
        threads: as for `train`.
        observer: is told what happens.

    Returns:
        A result for each protocol.

    Raises:
        ArgumentError: an argument is wrong, or a run is damaged.
    """
    observer = observer or Observer()
    run = run if isinstance(run, Run) else Run.open(run)
    _check_counts(query=query, episodes=episodes, threads=threads)
    others = [] if against is None else [_on_same_data(against, run)]
    with observer.starting():
        fix_threads(threads, run.recipe.layout, required=threads is not None)
    test = data_parts.parts_of_run(run, data_dir, observer.loading)["test"]
    from fslcore.experiments import checkpoints, results

    protocols = run.recipe.protocols(test, way, shot)
    for recipe in (run.recipe, *(other.recipe for other in others)):
        _check_queries(recipe, test, query, max(shot for _, shot in protocols))
    learner = checkpoints.trained_learner(run, test.image_shape)
    rivals = []
    for other in others:
        for protocol in protocols:
            other.recipe.protocols(test, *protocol)
        with renamed(run="against"):
            rivals.append((checkpoints.trained_learner(other, test.image_shape), other.recipe))
    measured = results.measure(
        learner,
        run.recipe,
        test,
        protocols,
        episodes,
        seed,
        query=query,
        transductive=transductive,
        against=rivals[0] if rivals else None,
        progress=observer.measuring,
    )
    results.write_metrics(run.folder, measured, keep=True, against=others[0].folder if others else None)
    observer.measured(run, measured, test)
    return measured


def _carry_through(
    run: Run,
    learner: Any,
    parts: Mapping[str, ImageStore],
    observer: Observer,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    """Trains a run from where it is to its end, measures it and draws its pictures."""
    from fslcore.experiments import checkpoints, pictures, results, training

    folder, recipe, test = run.folder, run.recipe, parts["test"]
    title = f"{recipe.learner} on {Path(run.config['data']).name}"
    observer.begun(run, parts)
    started = time.monotonic()
    try:
        history = training.train(
            learner,
            recipe,
            parts["train"],
            folder,
            results.validator(learner, recipe, parts["val"]),
            (*_curves(run), *callbacks),
            observer,
        )
    except Interrupted as stop:
        checkpoints.save_weights(folder, learner)
        pictures.draw_history(folder, recipe, stop.progress.history, title)
        raise
    except Diverged as stop:
        stop.kept = checkpoints.load_checkpoint(folder, learner)
        if stop.kept.step:
            checkpoints.save_weights(folder, learner)
            pictures.draw_history(folder, recipe, stop.kept.history, title)
        raise
    checkpoints.save_weights(folder, learner)
    pictures.draw_history(folder, recipe, history, title)
    observer.trained(run, time.monotonic() - started, test)
    episodes = run.config["eval_episodes"]
    measured = results.measure(
        learner,
        recipe,
        test,
        recipe.protocols(test),
        episodes,
        recipe.key("test"),
        progress=observer.measuring,
    )
    results.write_metrics(folder, measured, keep=False)
    pictures.draw(folder, learner, recipe, parts["train"], test, min(episodes, _MOST_EPISODES_OF_A_CURVE))
    observer.measured(run, measured, test)


def _curves(run: Run) -> list[keras.callbacks.Callback]:
    """The callback that writes the curves for TensorBoard, if they were asked for."""
    # Runs from before the option have no such entry.
    if not run.config.get("tensorboard"):
        return []
    import keras

    return [keras.callbacks.TensorBoard(run.folder / "tensorboard", write_graph=False)]


def _on_same_data(against: Run | PathLike, run: Run) -> Run:
    with renamed(run="against"):
        other = against if isinstance(against, Run) else Run.open(against)
    if other.config["split"] != run.config["split"]:
        raise ArgumentError(
            "against", f"must be a run on the same classes and images as {run.folder}", str(other.folder)
        )
    return other


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ArgumentError(name, "must be at least 1", value)


def _check_queries(recipe: Recipe, test: ImageStore, query: int | None, shot: int) -> None:
    most = smallest_class(test) - shot - recipe.unlabelled_images
    if query is not None and query > most:
        raise ArgumentError("query", f"must be at most {most} beside `shot={shot}` on {test!r}", query)


def _default_folder(learner: str, data: PathLike) -> Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{learner}-{Path(data).name}-{now}"

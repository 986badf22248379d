# SPDX-License-Identifier: MIT
"""A run from its recipe to its results: `train`, `resume` and `evaluate`.

    recipe, data ──> learner, run folder ──> training ──> results and pictures, in the run folder

TensorFlow, which takes seconds to import, is imported once the arguments have been checked.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fslcore.arguments import ArgumentError, as_bool, as_int64, check_at_least, check_one_of
from fslcore.data import ImageStore, datasets
from fslcore.experiments import closed, completion, folders, memory, pixels, runs, selection
from fslcore.experiments import parts as data_parts
from fslcore.experiments.choices import planned_recipe
from fslcore.experiments.recipes import Recipe, networks
from fslcore.experiments.recipes.sizing import smallest_class, smallest_in_words
from fslcore.experiments.renaming import renamed
from fslcore.experiments.reporting import Observer
from fslcore.experiments.runs import Run
from fslcore.experiments.starting import fix_threads

if TYPE_CHECKING:
    import keras

    from fslcore.experiments.results import Result

PathLike = str | os.PathLike[str]

_EPISODES, _QUICK_EPISODES = 1000, 200


def train(
    recipe: Recipe | str,
    data: PathLike = "glyphs",
    out: PathLike | None = None,
    *,
    data_dir: PathLike | None = None,
    image_size: int | None = None,
    quick: bool = False,
    tensorboard: bool = False,
    skip_broken: bool = False,
    min_images: int | None = None,
    small_classes: str = "drop",
    resize: str = "stretch",
    split: str | None = None,
    storage: str = "memory",
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
        data: the name of a dataset, such as "glyphs", a folder with one sub-folder per class, or a table of
            files and labels, a .csv file.
        out: run folder, new or empty, outside of the data; None: `runs/<learner>-<data>-<date-time>`.
        data_dir: where omniglot or emoji is kept; None: see `fslcore.data.load`.
        image_size: height and width that the images are resized to; None: 28, or 64 for a folder with
            colours, and more for the networks that need it, as `networks.sizes` says.
        quick: with the name of a learner, take small sizes, for a trial.
        tensorboard: also write the curves for TensorBoard, into the run folder.
        skip_broken: leave out the files of a folder that cannot be read, with a warning, also in `resume` and
            `evaluate`; otherwise they are an error.
        min_images: leave out the classes with fewer images; None: those from which the learner cannot learn,
            and the few that have less than half of what is usual and than a step takes. The observer is told.
        small_classes: "drop" leaves out the classes that have too few images; "error" refuses them.
        resize: how pictures that are not square become so: "stretch", "crop" or "pad".
        split: "label": new classes for validation and test; "group": those of new groups; "image": all
            classes are trained on and measured, on new images (a closed set). None: as the data says, or
            "label".
        storage: "memory", "mapped" or "jpeg", as for `fslcore.data.load`; also in `resume` and `evaluate`.
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
        Interrupted: by Ctrl-C, SIGTERM or SIGHUP in the training; `resume` continues.
        Diverged: the loss or a weight has become infinite or NaN.
        NotSaved: a checkpoint cannot be written; `resume` continues from the one before.

    Example:
        >>> run = train("siamese", "glyphs", quick=True)  # doctest: +SKIP
        >>> run.results[0]["accuracy"]  # doctest: +SKIP
        0.97
    """
    observer = observer or Observer()
    for name, switch in (("quick", quick), ("tensorboard", tensorboard), ("skip_broken", skip_broken)):
        as_bool(name, switch)
    given = {name: value for name, value in chosen.items() if value is not None}
    if isinstance(recipe, str):
        recipe = planned_recipe(recipe, data_parts.place(data), quick, **given)
        fixed: set[str] | None = recipe.fixed(given)
    elif quick or given:
        name, value = next(iter({**given, "quick": quick}.items()))
        raise ArgumentError(name, "must be left out with a recipe, which has all its fields", value)
    else:
        recipe.check_learnable()
        fixed = None
    _check_counts(eval_episodes=eval_episodes, threads=threads, min_images=min_images)
    check_one_of("small_classes", small_classes, ("drop", "error"))
    if split is not None:
        check_one_of("split", split, data_parts.SPLITS)
    data_parts.check_data_dir(data, data_dir)
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ImportError("`tensorboard` needs the package tensorboard: pip install tensorboard")
    folder = Path(out).expanduser() if out is not None else _default_folder(recipe.learner, data)
    if out is not None:
        runs.check_new(folder)
    if str(data) not in datasets.names():
        hint = "" if out is not None else "; give another one, or train in another folder"
        folders.check_outside(folder, Path(data).expanduser(), "out", hint)
    with observer.starting():
        number = fix_threads(threads, recipe.layout, required=threads is not None)
        recipe.check_encoder()
    if image_size is None:
        image_size = pixels.usual_size(recipe.encoder, data)
    left_out: list[str] = []
    whole = data_parts.load_parts(
        data,
        data_dir,
        image_size,
        observer.loading,
        skip_broken,
        resize,
        split,
        min_images,
        left_out,
        storage,
    )
    known = closed.is_closed(whole)
    chosen_least = None if split == "image" else min_images  # which has been heeded already
    least = selection.least_images(recipe, whole, fixed, chosen_least, known)
    parts = selection.selected(whole, least, known)
    left_out += selection.left_out_in_words(whole, least)
    selection.check_none_left_out(left_out, small_classes)
    for sentence in left_out:
        observer.left_out(sentence)
    support = closed.support_of(parts)
    if few := networks.too_small_in_words(recipe.encoder, image_size, parts["train"].image_shape[2]):
        observer.noticed(few)
    if fixed is not None:
        recipe = recipe.fitted(parts if support is None else {**parts, "test": support}, given)
    # What cannot be trained, or measured in the end, must not leave a folder behind.
    recipe.check(parts["train"])
    if support is None:
        recipe.protocols(parts["test"])
    else:
        closed.protocols(recipe, support, parts["test"])
    memory.check(recipe, parts)
    learner = recipe.build(parts["train"].image_shape)
    with renamed(**recipe.samplers):
        recipe.batches(learner, parts["train"], first=0)
    config = {
        "recipe": recipe.to_json(),
        "data": data_parts.place(data),
        "data_dir": None if data_dir is None else str(data_dir),
        "image_size": image_size,
        "image_shape": list(parts["train"].image_shape),
        "skip_broken": skip_broken,
        "storage": storage,
        "min_images": least,
        "classes": {name: list(part.class_names) for name, part in whole.items()},
        "split": data_parts.described(parts),
        "split_by": split,
        "split_min_images": min_images if split == "image" else None,
        "preparation": None if (made := parts["train"].preparation) is None else made.to_config(),
        "eval_episodes": eval_episodes or (_QUICK_EPISODES if quick else _EPISODES),
        "threads": number,
        "tensorboard": tensorboard,
    }
    # Runs that start in the same second with a default name get different ones.
    run = Run.open((runs.create if out is not None else runs.create_numbered)(folder, config))
    completion.carry_through(run, learner, parts, observer, callbacks)
    return run


def resume(
    run: Run | PathLike,
    *,
    data: PathLike | None = None,
    data_dir: PathLike | None = None,
    observer: Observer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Continues a run exactly as it would have gone on, and measures it.

    The weights are those of a run that was never stopped, bit for bit, if TensorFlow has the threads of the
    run: those that `train` gave it, or, in a process that has not started it yet, those that this call does.

    Args:
        run: the run, or its folder.
        data: where its data is now, unchanged; None: where it was.
        data_dir: where omniglot or emoji is kept now; None: where it was.
        observer: is told what happens.
        callbacks: more Keras callbacks for the training.

    Returns:
        The run.

    Raises:
        ArgumentError: there is no such run, it is damaged, or its data is not what it was.
        Interrupted: as for `train`.
        Diverged: as for `train`.
        NotSaved: as for `train`.
    """
    observer = observer or Observer()
    run = run if isinstance(run, Run) else Run.open(run)
    with observer.starting():
        fix_threads(run.config.get("threads"), run.recipe.layout)
    parts = data_parts.parts_of_run(run, data, data_dir, observer.loading)
    memory.check(run.recipe, parts)
    from fslcore.experiments import checkpoints

    fresh = checkpoints.load_progress(run.folder).step == 0
    learner = run.recipe.build(parts["train"].image_shape, fresh)
    completion.carry_through(run, learner, parts, observer, callbacks)
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
    data: PathLike | None = None,
    data_dir: PathLike | None = None,
    min_images: int | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
) -> list[Result]:
    """Measures the learner of a run on its test classes, beside nearest neighbours on pixels.

    The results are also kept in the run's `metrics.json`. A run that was killed is measured by its last
    checkpoint.

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
        data: where the data is now, or other data; None: where it was. If it is not as it was, the learner is
            measured on those of its classes that it was not trained or validated on, by their names; the
            observer is told.
        data_dir: where omniglot or emoji is kept now; None: where it was.
        min_images: leave out the test classes with fewer images; None: as in the training.
        threads: as for `train`.
        observer: is told what happens.

    Returns:
        A result for each protocol.

    Raises:
        ArgumentError: an argument is wrong, or a run is damaged.
    """
    observer = observer or Observer()
    run = run if isinstance(run, Run) else Run.open(run)
    _check_counts(shot=shot, query=query, episodes=episodes, threads=threads, min_images=min_images)
    _check_counts(2, way=way)
    _check_counts(0, seed=seed)
    others = [] if against is None else [_on_same_data(against, run)]
    with observer.starting():
        fix_threads(threads, run.recipe.layout, required=threads is not None)
    test, support, changes = data_parts.measured_part_of_run(
        run, data, data_dir, min_images, observer.loading
    )
    from fslcore.experiments import checkpoints, results

    def protocols_of(recipe: Recipe, way: int | None, shot: int | None) -> list[tuple[int, int]]:
        if support is not None:
            return closed.protocols(recipe, support, test, way, shot)
        return recipe.protocols(test, way, shot)

    results.kept_results(run.folder)  # a damaged file is an error before the measuring, not after it
    protocols = protocols_of(run.recipe, way, shot)
    for recipe in (run.recipe, *(other.recipe for other in others)):
        _check_queries(recipe, test, query, 0 if support is not None else max(shot for _, shot in protocols))
    memory.check(run.recipe, {"test": test})
    learner = checkpoints.trained_learner(run, test.image_shape)
    step = checkpoints.load_progress(run.folder).step
    if 0 < step < run.recipe.steps:
        changes.append(f"the training is not complete: measured after {step:,} of {run.recipe.steps:,} steps")
    for sentence in changes:
        observer.noticed(sentence)
    rivals = []
    for other in others:
        for protocol in protocols:
            protocols_of(other.recipe, *protocol)
        with renamed(run="against"):
            rivals.append((checkpoints.trained_learner(other, test.image_shape), other.recipe))
    with renamed(n_way="way", k_shot="shot", n_query="query", n_unlabelled="unlabelled"):
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
            support=support,
            progress=observer.measuring,
        )
    observer.measured(run, measured, test)
    usual = run.recipe.usual_protocols(test) if way is None and shot is None else protocols
    if support is None:
        for sentence in selection.shortfalls(run.recipe, test, protocols, usual, query):
            observer.noticed(sentence)
    with completion.unsaved_if_failing(run.folder / runs.METRICS, observer):
        results.write_metrics(run, measured, keep=True, against=others[0].folder if others else None)
    return measured


def _on_same_data(against: Run | PathLike, run: Run) -> Run:
    with renamed(run="against"):
        other = against if isinstance(against, Run) else Run.open(against)
    # Runs of different learners may have left out different classes of the same training part.
    shared = "classes" if "classes" in run.config and "classes" in other.config else "split"
    mine, its = run.config, other.config
    if its["split"]["test"] != mine["split"]["test"] or its[shared] != mine[shared]:
        raise ArgumentError(
            "against", f"must be a run on the same classes and images as {run.folder}", str(other.folder)
        )
    return other


def _check_counts(least: int = 1, /, **counts: int | None) -> None:
    for name, value in counts.items():
        if value is None:
            continue
        check_at_least(name, as_int64(name, value), least)


def _check_queries(recipe: Recipe, test: ImageStore, query: int | None, shot: int) -> None:
    most = smallest_class(test) - shot - recipe.unlabelled_images
    if query is not None and query > most:
        raise ArgumentError(
            "query",
            f"must be at most {most}{f' beside `shot={shot}`' if shot else ''} on {test!r}: "
            f"{smallest_in_words(test)}",
            query,
        )


def _default_folder(learner: str, data: PathLike) -> Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{learner}-{Path(data).expanduser().resolve().name}-{now}"

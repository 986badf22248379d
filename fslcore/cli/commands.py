# SPDX-License-Identifier: MIT
"""The commands `fslcore train`, `evaluate`, `bench` and `doctor`.

TensorFlow, which takes seconds to import, is imported inside the commands: `--help` and a wrong argument
answer at once.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fslcore.cli import runs, startup

if TYPE_CHECKING:
    from fslcore.data import ImageStore

app = typer.Typer(
    help="Few-shot learning: train a learner, and measure it on classes that it has never seen.",
    epilog="FSLCORE_TRACEBACK=1 in the environment shows where an error comes from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_console = Console(highlight=False)
_WRONG_ARGUMENT, _FAILED, _INTERRUPTED = 2, 1, 130

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where TensorFlow Datasets keeps omniglot. [default: TFDS_DATA_DIR, or ~/tensorflow_datasets]"
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: all]")]
_EPISODES_HELP = "Test episodes for each figure; four times as many halve the confidence interval."


def main() -> None:
    """Runs the command line; exits with 0, 1 for a failure, 2 for a wrong argument, 130 after Ctrl-C."""
    # Before TensorFlow is imported: it reads them then, and would fill the screen with its start-up messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("interrupted", _INTERRUPTED)
    except (ValueError, OSError) as error:
        if os.environ.get("FSLCORE_TRACEBACK"):
            raise
        code = _complain(str(error), _WRONG_ARGUMENT)
    except ImportError as error:
        code = _complain(str(error), _FAILED)
    except Exception as error:
        # Typer's own errors, whose class depends on its version, know how to say what was wrong.
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message(), _WRONG_ARGUMENT)
    sys.exit(code or 0)


@app.command()
def train(
    context: typer.Context,
    learner: Annotated[
        str, typer.Argument(help="siamese or prototypical; not with --resume.", show_default=False)
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            help="glyphs (drawn here, no download), omniglot, or a folder with one sub-folder per class."
        ),
    ] = "glyphs",
    data_dir: DataDir = None,
    image_size: Annotated[
        int, typer.Option(help="Height and width that the images are brought to, in pixels.")
    ] = 28,
    way: Annotated[
        int | None,
        typer.Option(help="Classes of a training episode or batch. Many make it hard, and the net good."),
    ] = None,
    shot: Annotated[
        int | None,
        typer.Option(help="Examples per class of an episode; for siamese, images per class of a batch."),
    ] = None,
    query: Annotated[
        int | None,
        typer.Option(help="prototypical only. Images per class of an episode that are to be classified."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="siamese only. triplet: semi-hard triplets of embeddings. crossentropy: same class or not? "
            "asked for every pair of the batch, with a trainable kernel. [default: triplet]"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs; each ends with validation and a checkpoint.")
    ] = None,
    steps_per_epoch: Annotated[int | None, typer.Option(help="Episodes or batches of an epoch.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Adam's, at the start; it falls to 0 along half a cosine. [default: 0.001 to 0.004]"
        ),
    ] = None,
    rotations: Annotated[
        bool | None,
        typer.Option(
            help="Count each training class turned by 90, 180 and 270 degrees as three more classes."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the weights, the batches and the test episodes.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder, new or empty. [default: runs/<learner>-<data>-<date-time>]", show_default=False
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Continue this run exactly as it would have gone on; its options are taken from it."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, done in a minute: does it work here?")
    ] = False,
    eval_episodes: Annotated[
        int | None, typer.Option(min=1, help=f"{_EPISODES_HELP} [default: 1000]")
    ] = None,
    threads: Threads = None,
) -> None:
    """Train LEARNER and measure it on classes that it has never seen.

    What it was trained with, its accuracy, its weights and pictures are left in the run folder. The numbers
    without a default depend on learner and data. Ctrl-C keeps what has been trained, and --resume goes on
    from there.
    """
    if resume is not None:
        _refuse_with_resume(context)
        run, config = resume, runs.read_config(resume)
        startup.start_tensorflow(config["threads"])
        parts = _load(config["data"], data_dir or config["data_dir"], config["image_size"])
        _check_split(config, parts, run)
    else:
        threads = startup.start_tensorflow(threads)
        parts = _load(data, data_dir, image_size)
        from fslcore.cli import results, training
        from fslcore.cli.recipes import recipe

        chosen = recipe(
            learner,
            data,
            parts["train"],
            quick,
            loss=loss,
            way=way,
            shot=shot,
            query=query,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            learning_rate=learning_rate,
            rotations=rotations,
            seed=seed,
        )
        config = {
            "recipe": dataclasses.asdict(chosen),
            "data": data if data in ("glyphs", "omniglot") else str(Path(data).resolve()),
            "data_dir": None if data_dir is None else str(data_dir),
            "image_size": image_size,
            "split": {name: _described(part) for name, part in parts.items()},
            "eval_episodes": eval_episodes or (200 if quick else 1000),
            "threads": threads,
        }
        # What cannot be trained, or measured in the end, must not leave a folder behind.
        training.batches(chosen, parts["train"], first_step=0)
        results.protocols_for(parts["test"])
        run = runs.create(out or _default_folder(learner, data), config)
    _train(run, config, parts)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)],
    way: Annotated[
        int | None, typer.Option(min=2, help="Classes to choose from. [default: 5 and 20]")
    ] = None,
    shot: Annotated[int | None, typer.Option(min=1, help="Examples per class. [default: 1 and 5]")] = None,
    query: Annotated[
        int | None, typer.Option(min=1, help="Queries per class. [default: 15, or what there is]")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help=_EPISODES_HELP)] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the episodes.")] = 0,
    transductive: Annotated[
        bool,
        typer.Option(
            "--transductive",
            help="Normalise the images of an episode together, queries included. It flatters: do not compare "
            "such figures with others.",
        ),
    ] = False,
    data_dir: DataDir = None,
    threads: Threads = None,
) -> None:
    """Measure the learner of RUN on its test classes, beside nearest neighbours on pixels and chance.

    The figures are printed and kept in the run's metrics.json.
    """
    config = runs.read_config(run)
    startup.start_tensorflow(threads)
    parts = _load(config["data"], data_dir or config["data_dir"], config["image_size"])
    _check_split(config, parts, run)
    from fslcore.cli import results, training
    from fslcore.cli.console import show
    from fslcore.cli.recipes import Recipe

    test = parts["test"]
    learner = training.build_learner(Recipe(**config["recipe"]), test.image_shape)
    runs.load_weights(run, learner)
    protocols = results.protocols_for(test) if way is None and shot is None else [(way or 5, shot or 1)]
    measured = [
        results.compare(
            learner, test, n, k, query or results.queries_for(test, k), episodes, seed, transductive
        )
        for n, k in protocols
    ]
    results.write_metrics(run, measured, keep=True)
    show(_console, measured, config["recipe"]["learner"], test.n_classes)
    _console.print(f"kept in {run / runs.METRICS}")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="gram, triplets, episodes, or all.")] = "all",
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, to see that it works.")] = False,
    threads: Threads = None,
) -> None:
    """Time the kernels beside what one would write instead, interleaved in the same run.

    Median and spread of the times, each time as a multiple of ours, and the memory that one call takes beyond
    what the process had.
    """
    from fslcore.bench import BENCHMARKS, run

    names = list(BENCHMARKS) if what == "all" else [what]
    if what not in ("all", *BENCHMARKS):
        raise ValueError(f"what must be one of {', '.join(BENCHMARKS)}, all, received {what!r}")
    startup.start_tensorflow(threads)
    # Every contender is traced once, on purpose; TensorFlow takes that for a mistake and says so.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from fslcore.bench.report import print_comparison, write_json

    comparisons = []
    for name in names:
        for comparison in run(name, quick):
            print_comparison(comparison, _console)
            comparisons.append(comparison)
    if out is not None:
        write_json(comparisons, out)
        _console.print(f"written to {out}")


@app.command()
def doctor() -> None:
    """Tell what works on this machine, what does not, and why."""
    from fslcore.cli.doctor import diagnose

    with startup.quietly():
        findings = diagnose()
    for finding in findings:
        _console.print(
            f"{finding.state:8} {finding.subject:20} {finding.detail}", soft_wrap=True, markup=False
        )
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(_FAILED)


def _train(run: Path, config: dict[str, Any], parts: dict[str, ImageStore]) -> None:
    from fslcore.cli import results, training
    from fslcore.cli.console import TrainingProgress, announce, show
    from fslcore.cli.recipes import Recipe

    recipe = Recipe(**config["recipe"])
    test = parts["test"]
    protocols = results.protocols_for(test)
    learner = training.build_learner(recipe, test.image_shape)
    announce(_console, run, recipe, parts)
    title = f"{recipe.learner} on {Path(config['data']).name}"
    started = time.monotonic()
    try:
        with TrainingProgress(_console, recipe.epochs, recipe.steps) as bar:
            validate = results.validation(learner, parts["val"], recipe.seed)
            history = training.train(learner, recipe, parts["train"], run, validate, (bar,))
    except training.Interrupted as stop:
        runs.save_weights(run, learner)
        results.draw_history(run, stop.progress.history, title)
        _console.print(
            f"\ninterrupted after {stop.progress.step:,} of {recipe.steps:,} steps, which are kept in {run}\n"
            f"  go on:       fslcore train --resume {run}\n"
            f"  measure it:  fslcore evaluate {run}"
        )
        raise typer.Exit(_INTERRUPTED) from None
    runs.save_weights(run, learner)
    results.draw_history(run, history, title)
    _console.print(
        f"trained in {time.monotonic() - started:.0f} s; measuring on {test.n_classes} unseen classes"
    )
    try:
        episodes = config["eval_episodes"]
        measured = [
            results.compare(learner, test, way, shot, results.queries_for(test, shot), episodes, recipe.seed)
            for way, shot in protocols
        ]
        results.write_metrics(run, measured, keep=False)
        results.draw(run, learner, recipe.learner, parts["train"], test, min(episodes, 400), recipe.seed)
    except KeyboardInterrupt:
        _console.print(f"\ninterrupted; training is complete. Measure it with: fslcore evaluate {run}")
        raise typer.Exit(_INTERRUPTED) from None
    show(_console, measured, recipe.learner, test.n_classes)
    files = ", ".join(sorted(path.name for path in run.iterdir()))
    _console.print(f"in {run}: {files}")


def _load(data: str, data_dir: str | Path | None, image_size: int) -> dict[str, ImageStore]:
    from fslcore.data import default_split, load

    return default_split(load(data, image_size=image_size, data_dir=data_dir))


def _described(part: ImageStore) -> dict[str, Any]:
    return {"classes": part.n_classes, "images": len(part), "hash": part.content_hash}


def _check_split(config: dict[str, Any], parts: dict[str, ImageStore], run: Path) -> None:
    for name, part in parts.items():
        expected, found = config["split"][name], _described(part)
        if found != expected:
            raise ValueError(
                f"the data must be what {run} was trained with: its {name} part must have "
                f"{_in_words(expected)}, received {_in_words(found)}"
            )


def _in_words(part: dict[str, Any]) -> str:
    return "{images} images of {classes} classes with the hash {hash}".format(**part)


def _refuse_with_resume(context: typer.Context) -> None:
    """Raises ValueError for options that would make the rest of a run another run."""
    sources = {name: str(context.get_parameter_source(name)) for name in context.params}
    given = [
        name
        for name, source in sources.items()
        if source.endswith("COMMANDLINE") and name not in ("resume", "data_dir")
    ]
    if given:
        raise ValueError(
            "--resume must be given alone or with --data-dir, for the run has its options, "
            f"received also: {', '.join(given)}"
        )


def _default_folder(learner: str, data: str) -> Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{learner}-{Path(data).name}-{now}"


def _complain(message: str, code: int) -> int:
    print(f"fslcore: {' '.join(message.split())}", file=sys.stderr)
    return code

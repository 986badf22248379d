# SPDX-License-Identifier: MIT
"""The commands `fslcore train`, `evaluate`, `bench` and `doctor`.

TensorFlow, which takes seconds to import, is imported inside the commands: `--help` and a wrong argument
answer at once.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from fslcore.cli import exits, options, startup
from fslcore.data import ImageStore
from fslcore.experiments import defaults, recipes, runs
from fslcore.experiments.parts import described, load_parts, parts_of_run

app = typer.Typer(
    help="Few-shot learning: train a learner, and measure it on classes that it has never seen.",
    epilog="FSLCORE_TRACEBACK=1 in the environment shows where an error comes from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_console = Console(highlight=False)


def main() -> None:
    """Runs the command line; exits with 0, 1 for a failure, 2 for a wrong argument, 130 after Ctrl-C."""
    # Before TensorFlow is imported: it reads them then, and would fill the screen with its start-up messages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("interrupted", exits.INTERRUPTED)
    except (ValueError, OSError) as error:
        if os.environ.get("FSLCORE_TRACEBACK"):
            raise
        code = _complain(str(error), exits.WRONG_ARGUMENT)
    except ImportError as error:
        code = _complain(str(error), exits.FAILED)
    except Exception as error:
        # Typer's own errors, whose class depends on its version, know how to say what was wrong.
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message(), exits.WRONG_ARGUMENT)
    sys.exit(code or 0)


@app.command(cls=options.GroupedCommand)
def train(
    context: typer.Context,
    learner: options.Learner = "",
    data: options.Data = "glyphs",
    data_dir: options.DataDir = None,
    image_size: options.ImageSize = 28,
    way: options.Way = None,
    shot: options.Shot = None,
    query: options.Query = None,
    rotations: options.Rotations = None,
    epochs: options.Epochs = None,
    steps_per_epoch: options.StepsPerEpoch = None,
    learning_rate: options.LearningRate = None,
    precision: options.Precision = None,
    seed: options.Seed = 0,
    quick: options.Quick = False,
    loss: options.Loss = None,
    inner_steps: options.InnerSteps = None,
    adapt_steps: options.AdaptSteps = None,
    inner_learning_rate: options.InnerLearningRate = None,
    meta_batch: options.MetaBatch = None,
    normalization: options.Normalization = None,
    preset: options.Preset = None,
    train_shots: options.TrainShots = None,
    inner_batch: options.InnerBatch = None,
    adapt_batch: options.AdaptBatch = None,
    meta_step: options.MetaStep = None,
    sequential: options.Sequential = None,
    generator: options.Generator = None,
    generator_learning_rate: options.GeneratorLearningRate = None,
    adversary_weight: options.AdversaryWeight = None,
    unlabelled: options.Unlabelled = None,
    out: options.Out = None,
    resume: options.Resume = None,
    tensorboard: options.TensorBoard = False,
    eval_episodes: options.EvalEpisodes = None,
    threads: options.Threads = None,
) -> None:
    """Train LEARNER and measure it on classes that it has never seen.

    siamese and prototypical learn to compare images: classes may be added later without training. reptile
    and metagan learn weights that a few gradient steps fit to a task of --way new classes.

    What it was trained with, its accuracy, its weights and pictures are left in the run folder. The numbers
    without a default depend on learner and data. Ctrl-C keeps what has been trained, and --resume goes on
    from there.
    """
    if resume is not None:
        _refuse_with_resume(context)
        config = runs.read_config(resume)
        recipe = recipes.from_json(config["recipe"])
        startup.start_tensorflow(config["threads"], recipe.layout)
        parts = parts_of_run(resume, config, data_dir)
        _carry_through(resume, config, recipe, parts)
        return
    chosen: dict[str, Any] = {
        "way": way,
        "shot": shot,
        "query": query,
        "rotations": rotations,
        "epochs": epochs,
        "steps_per_epoch": steps_per_epoch,
        "learning_rate": learning_rate,
        "precision": precision,
        "seed": seed,
        "loss": loss,
        "inner_steps": inner_steps,
        "adapt_steps": adapt_steps,
        "inner_learning_rate": inner_learning_rate,
        "meta_batch": meta_batch,
        "normalization": normalization,
        "preset": preset,
        "train_shots": train_shots,
        "inner_batch": inner_batch,
        "adapt_batch": adapt_batch,
        "meta_step": meta_step,
        "sequential": sequential,
        "generator": generator,
        "generator_learning_rate": generator_learning_rate,
        "adversary_weight": adversary_weight,
        "unlabelled": unlabelled,
    }
    layout = defaults.unfitted_recipe(learner, data, quick, **chosen).layout
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ImportError("--tensorboard needs the package tensorboard: pip install tensorboard")
    threads = startup.start_tensorflow(threads, layout)
    parts = load_parts(data, data_dir, image_size)
    recipe = defaults.recipe(learner, data, parts, quick, **chosen)
    config = {
        "recipe": recipes.to_json(recipe),
        "data": data if data in ("glyphs", "omniglot") else str(Path(data).resolve()),
        "data_dir": None if data_dir is None else str(data_dir),
        "image_size": image_size,
        "split": described(parts),
        "eval_episodes": eval_episodes or (200 if quick else 1000),
        "threads": threads,
        "tensorboard": tensorboard,
    }
    _carry_through(out or _default_folder(learner, data), config, recipe, parts, new=True)


@app.command()
def evaluate(
    run: options.Run,
    way: options.TestWay = None,
    shot: options.TestShot = None,
    query: options.TestQuery = None,
    episodes: options.TestEpisodes = 1000,
    seed: options.TestSeed = 0,
    transductive: options.Transductive = False,
    against: options.Against = None,
    data_dir: options.DataDir = None,
    threads: options.Threads = None,
) -> None:
    """Measure the learner of RUN on its test classes, beside nearest neighbours on pixels and chance.

    The figures are printed and kept in the run's metrics.json.
    """
    config = runs.read_config(run)
    recipe = recipes.from_json(config["recipe"])
    other = None if against is None else recipes.from_json(_same_data(against, run, config)["recipe"])
    startup.start_tensorflow(threads, recipe.layout)
    test = parts_of_run(run, config, data_dir)["test"]
    from fslcore.cli.console import evaluation_progress, show
    from fslcore.experiments import builders, results

    protocols = results.chosen_protocols(recipe, test, way, shot)
    learner = builders.trained_learner(run, recipe, test.image_shape)
    rival = None
    if against is not None and other is not None:
        rival = builders.trained_learner(against, other, test.image_shape), other
    with evaluation_progress(_console, episodes * len(protocols) * (2 if rival else 1)) as advance:
        measured = results.measure(
            learner,
            recipe,
            test,
            protocols,
            episodes,
            seed,
            query=query,
            transductive=transductive,
            against=rival,
            progress=advance,
        )
    results.write_metrics(run, measured, keep=True, against=against)
    show(_console, measured, recipe.learner, test.n_classes)
    _console.print(f"kept in {run / runs.METRICS}", soft_wrap=True)


@app.command()
def bench(
    what: options.Benchmark = "all",
    out: options.BenchOut = None,
    against: options.BenchAgainst = None,
    plots: options.BenchPlots = None,
    quick: options.BenchQuick = False,
    threads: options.Threads = None,
) -> None:
    """Time the kernels beside what one would write or install instead, interleaved in the same run.

    First the limits of the machine are measured: multiply-adds per second, and bytes copied. Then for each
    case and contender the median and the spread of the times, the time as a multiple of ours, the rate of
    work, for ours also as a share of the limit (measured anew next to each case), and the memory that one
    call takes beyond what the process had. Contenders whose temporaries would take more than half of the
    free memory are listed with what they need instead of being run.

    The exit code is 0 whatever --against finds: how much slower is too slow depends on how quiet the machine
    was.
    """
    from fslcore.cli.benchmarks import run_benchmarks

    run_benchmarks(_console, what, quick=quick, threads=threads, out=out, against=against, plots=plots)


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
        raise typer.Exit(exits.FAILED)


def _same_data(against: Path, run: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The config of the run to compare with.

    Raises:
        ValueError: it is no run, or its data are others.
    """
    other = runs.read_config(against)
    if other["split"] != config["split"]:
        raise ValueError(
            f"--against must be a run on the same classes and images as {run}, received {against}"
        )
    return other


def _carry_through(
    run: Path, config: dict[str, Any], recipe: recipes.Recipe, parts: dict[str, ImageStore], new: bool = False
) -> None:
    from fslcore.experiments import builders, course, results

    learner = builders.build_learner(recipe, parts["train"].image_shape)
    if new:
        # What cannot be trained, or measured in the end, must not leave a folder behind.
        builders.batches(recipe, learner, parts["train"], first_step=0)
        results.protocols_for(recipe, parts["test"])
        runs.create(run, config)
    course.carry_through(_console, run, config, recipe, learner, parts)


def _refuse_with_resume(context: typer.Context) -> None:
    """Raises ValueError for options that would make the rest of a run another run."""
    sources = {name: str(context.get_parameter_source(name)) for name in context.params}
    given = [
        context.params[name] if name == "learner" else defaults.option(name, context.params[name])
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

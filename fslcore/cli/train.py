# SPDX-License-Identifier: MIT
"""`fslcore train`: one sub-command per learner, whose options are made from the fields of its recipe."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fslcore import experiments
from fslcore.arguments import ArgumentError
from fslcore.cli import exits, shared, signals
from fslcore.cli.console import RunConsole
from fslcore.cli.flags import Command, Group, WrongArgument, flag, in_flags
from fslcore.data import datasets
from fslcore.experiments import RECIPES, Recipe, Run
from fslcore.experiments.choices import learners_of, listed, nearest, owners_of
from fslcore.experiments.recipes import fields
from fslcore.experiments.recipes.adaptive import AdaptiveRecipe
from fslcore.experiments.recipes.embedding import EmbeddingRecipe
from fslcore.experiments.renaming import renamed

_EXAMPLES = f"""
{listed(learners_of(EmbeddingRecipe))} learn to compare images: classes can be added later without training.
{listed(learners_of(AdaptiveRecipe))} learn weights that a few gradient steps fit to a task of --way new
classes.

\b
  fslcore train siamese --quick                 a trial of a minute, no download
  fslcore train prototypical --data my/photos   one sub-folder per class
  fslcore train maml --shot 1                   5 classes with 1 example each
  fslcore train --resume runs/mine              continue after Ctrl-C
  fslcore train siamese --help                  the options of a learner
"""
_PANELS = (fields.TASKS, fields.TRAINING, fields.NETWORK, fields.INNER_LOOP, fields.GENERATOR, shared.RUN)
_TYPES: dict[str, Any] = {"int": int | None, "float": float | None, "bool": bool | None, "str": str | None}
# The datasets that have defaults of their own, and any other.
_DATASETS = ("glyphs", "omniglot", "other data")


class _Learners(Group):
    """`fslcore train`: explains learners that do not exist, and options at the wrong place."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        given = list(args)  # the parser takes them away
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = _unknown_option(error)
            if option is not None and "--resume" in given:
                raise _resumes_alone(option) from error
            if option is not None and _owners(option):
                raise WrongArgument(
                    f"{option} must follow the learner, as in: fslcore train siamese {option}"
                ) from error
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if ctx.params.get("resume") is not None:
            raise _resumes_alone(args[0])
        for name in ("data", "data_dir"):
            if ctx.params.get(name) is not None:
                raise WrongArgument(
                    f"{flag(name)} must follow the learner, as in: fslcore train siamese {flag(name)}"
                )
        if args[0] not in RECIPES:
            raise _no_learner(args[0])
        return super().resolve_command(ctx, args)


class _Learner(Command):
    """`fslcore train LEARNER`: says which learners have an option that this one does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = _unknown_option(error)
            if option == "--resume":
                raise _resumes_alone(str(self.name)) from error
            if option is not None and _owners(option):
                raise WrongArgument(
                    f"{option} belongs to {listed(_owners(option))}, received {option} for {self.name}"
                ) from error
            raise


app = typer.Typer(cls=_Learners, invoke_without_command=True, subcommand_metavar="LEARNER [OPTIONS]")


@app.callback(epilog=_EXAMPLES)
def train(
    context: typer.Context,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Continue this run exactly as it would have gone on; its options are taken from it.",
            show_default=False,
        ),
    ] = None,
    data: shared.Data = None,
    data_dir: shared.DataDir = None,
) -> None:
    """Train LEARNER and measure it on classes that it has never seen.

    Configuration, accuracy, weights and pictures are left in the run folder. Ctrl-C keeps what has been
    trained, and --resume continues from there.
    """
    if context.invoked_subcommand is not None:
        return
    if resume is None:
        raise _no_learner("")
    with renamed(run="resume"):
        _carry_out(
            lambda observer: experiments.resume(resume, data=data, data_dir=data_dir, observer=observer)
        )


def _command(learner: str, kind: type[Recipe]) -> Callable[..., None]:
    """The command that trains a learner: the options below, and the fields of its recipe."""

    def command(
        *,
        data: Annotated[
            str,
            typer.Option(
                help=f"{', '.join(datasets.names())}, or a folder with one sub-folder per class. glyphs is "
                "drawn here, without a download.",
                rich_help_panel=fields.TASKS,
            ),
        ] = "glyphs",
        image_size: Annotated[
            int | None,
            typer.Option(
                help="Height and width that the images are resized to. [default: 28; 64 for a folder with "
                "colours, 128 with a pretrained network; 105 for koch; 64 and 128 for darknet]",
                show_default=False,
                rich_help_panel=fields.TASKS,
            ),
        ] = None,
        resize: Annotated[
            str,
            typer.Option(
                help="How pictures that are not square become so: stretched, cut to their middle, or put on "
                "a white square.",
                metavar="stretch|crop|pad",
                rich_help_panel=fields.TASKS,
            ),
        ] = "stretch",
        split: Annotated[
            str | None,
            typer.Option(
                help="What training and test differ in: their classes (label), the groups of these, or only "
                "the images of classes that are the same. [default: as the folders train and test say, or "
                "label]",
                metavar="label|group|image",
                show_default=False,
                rich_help_panel=fields.TASKS,
            ),
        ] = None,
        quick: Annotated[
            bool,
            typer.Option(
                "--quick",
                help="Small sizes, done in a minute, to see that it works here.",
                rich_help_panel=fields.TRAINING,
            ),
        ] = False,
        out: Annotated[
            Path | None,
            typer.Option(
                help="Run folder, new or empty. [default: runs/LEARNER-DATA-TIME]",
                rich_help_panel=shared.RUN,
            ),
        ] = None,
        tensorboard: Annotated[
            bool,
            typer.Option(
                "--tensorboard",
                help="Also write the curves for TensorBoard, into the run folder.",
                rich_help_panel=shared.RUN,
            ),
        ] = False,
        eval_episodes: Annotated[
            int | None,
            typer.Option(min=1, help=f"{shared.EPISODES_HELP} [default: 1000]", rich_help_panel=shared.RUN),
        ] = None,
        data_dir: shared.DataDir = None,
        skip_broken: Annotated[
            bool,
            typer.Option(
                "--skip-broken",
                help="Leave out the files of a folder that cannot be read.",
                rich_help_panel=shared.RUN,
            ),
        ] = False,
        storage: Annotated[
            str,
            typer.Option(
                help="Where the images are kept: in memory, in a file from which they are read when they are "
                "needed (mapped), or the same as JPEG; for sets larger than the memory.",
                metavar="memory|mapped|jpeg",
                rich_help_panel=shared.RUN,
            ),
        ] = "memory",
        min_images: shared.MinImages = None,
        small_classes: Annotated[
            str,
            typer.Option(
                help="What to do about classes with too few images: leave them out, or refuse to train.",
                metavar="drop|error",
                rich_help_panel=shared.RUN,
            ),
        ] = "drop",
        threads: shared.Threads = None,
        **chosen: Any,
    ) -> None:
        _carry_out(
            lambda observer: experiments.train(
                learner,
                data,
                out,
                data_dir=data_dir,
                image_size=image_size,
                quick=quick,
                tensorboard=tensorboard,
                skip_broken=skip_broken,
                min_images=min_images,
                small_classes=small_classes,
                resize=resize,
                split=split,
                storage=storage,
                eval_episodes=eval_episodes,
                threads=threads,
                observer=observer,
                **chosen,
            )
        )

    command.__doc__ = kind.summary
    own = inspect.signature(command, eval_str=True)
    parameters = [p for p in own.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    parameters += [
        _parameter(kind, field, about, {*own.parameters, *fields.options(kind)})
        for field, about in fields.options(kind).values()
    ]
    parameters.sort(key=lambda p: _PANELS.index(p.annotation.__metadata__[0].rich_help_panel))
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


def _parameter(
    kind: type[Recipe], field: dataclasses.Field[Any], about: fields.About, options: set[str]
) -> inspect.Parameter:
    """The option for a field of a recipe."""
    notes = ["" if about.choices else about.requirement, _default(kind, field.name)]
    option = typer.Option(
        help=f"{in_flags(about.help, options)} [{'; '.join(filter(None, notes))}]",
        metavar="|".join(about.choices) or None,
        rich_help_panel=about.panel,
    )
    annotation: Any = Annotated[_TYPES[str(field.type).removesuffix(" | None")], option]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _default(kind: type[Recipe], name: str) -> str:
    """The default of a field in words, for each dataset where it differs."""
    values = {dataset: getattr(kind.default(dataset), name) for dataset in _DATASETS}
    shown = {
        dataset: flag(name, value) if isinstance(value, bool) else "none" if value is None else str(value)
        for dataset, value in values.items()
    }
    if len(set(shown.values())) == 1:
        return f"default: {shown[_DATASETS[0]]}"
    return "default: " + ", ".join(f"{value} on {dataset}" for dataset, value in shown.items())


def _carry_out(start: Callable[[RunConsole], Run]) -> None:
    """Trains with the console as observer; says how to continue if training ends early."""
    observer = RunConsole(shared.console)
    try:
        with observer:
            start(observer)
    except experiments.Interrupted as stop:
        observer.interrupted(stop)
        raise typer.Exit(exits.by_signal(stop.signal)) from None
    except experiments.Diverged as stop:
        observer.diverged(stop)
        raise typer.Exit(exits.FAILED) from None
    except experiments.NotSaved as stop:
        observer.not_saved(stop)
        raise typer.Exit(exits.FAILED) from None
    except KeyboardInterrupt as stop:
        if not observer.complete:
            raise
        observer.interrupted_after_training()
        raise typer.Exit(signals.exit_code(stop)) from None
    if observer.failed:
        raise typer.Exit(exits.FAILED)


def _unknown_option(error: Exception) -> str | None:
    """The option that a command does not have, if that is the error; its class depends on typer's version."""
    return error.option_name if hasattr(error, "option_name") and hasattr(error, "possibilities") else None


def _owners(option: str) -> list[str]:
    """The learners that have an option."""
    name = option.lstrip("-").replace("-", "_")
    return owners_of(name) or owners_of(name.removeprefix("no_"))


def _no_learner(received: str) -> ArgumentError:
    return ArgumentError("learner", f"must be one of {', '.join(RECIPES)}{nearest(received)}", received)


def _resumes_alone(received: str) -> WrongArgument:
    return WrongArgument(
        "--resume must be given alone or with --data-dir or --data, because the run has its options, "
        f"received also: {received}"
    )


for _name, _kind in RECIPES.items():
    app.command(_name, cls=_Learner)(_command(_name, _kind))

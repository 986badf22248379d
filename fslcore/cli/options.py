# SPDX-License-Identifier: MIT
"""The options of the commands, and the help that lists them under headings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

_TASKS, _TRAINING, _RUN = "Classes and images", "Training", "Run"
_SIAMESE, _REPTILE, _METAGAN = "siamese", "reptile", "metagan"
_ADAPTIVE = "reptile and metagan"


class GroupedCommand(TyperCommand):
    """A command whose help lists the options under the headings that they name as their panel."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options, those without a heading first."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


_EPISODES_HELP = "Test episodes for each figure; four times as many halve the confidence interval."

Learner = Annotated[
    str,
    typer.Argument(help="siamese, prototypical, reptile or metagan; not with --resume.", show_default=False),
]
Data = Annotated[
    str,
    typer.Option(
        help="glyphs (drawn here, no download), omniglot, or a folder with one sub-folder per class.",
        rich_help_panel=_TASKS,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Where TensorFlow Datasets keeps omniglot. [default: TFDS_DATA_DIR, or ~/tensorflow_datasets]",
        rich_help_panel=_TASKS,
    ),
]
ImageSize = Annotated[
    int,
    typer.Option(help="Height and width that the images are brought to, in pixels.", rich_help_panel=_TASKS),
]
Rotations = Annotated[
    bool | None,
    typer.Option(
        help="Count each training class turned by 90, 180 and 270 degrees as three more classes.",
        rich_help_panel=_TASKS,
    ),
]
Way = Annotated[
    int | None,
    typer.Option(
        help="Classes of a training episode, batch or task. siamese and prototypical: many make it hard, and "
        "the net good. reptile and metagan: just these can be told apart in the end.",
        rich_help_panel=_TASKS,
    ),
]
Shot = Annotated[
    int | None,
    typer.Option(
        help="Examples per class of an episode or task. siamese: images per class of a batch. reptile: of a "
        "test task; see --train-shots.",
        rich_help_panel=_TASKS,
    ),
]
Query = Annotated[
    int | None,
    typer.Option(
        help="prototypical and metagan. Images per class of an episode or task that are to be classified.",
        rich_help_panel=_TASKS,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(help="Epochs; each ends with validation and a checkpoint.", rich_help_panel=_TRAINING),
]
StepsPerEpoch = Annotated[
    int | None,
    typer.Option(
        help="Training steps of an epoch. A step is an episode, a batch, or a meta-iteration, of which there "
        "are thus EPOCHS x STEPS_PER_EPOCH.",
        rich_help_panel=_TRAINING,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        help="Adam's, at the start; it falls to 0 along half a cosine. Not for reptile. "
        "[default: 0.001 to 0.004]",
        rich_help_panel=_TRAINING,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, help="Seed of the weights, the batches and the test episodes.", rich_help_panel=_TRAINING
    ),
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick", help="Small sizes, done in a minute: does it work here?", rich_help_panel=_TRAINING
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Of the factors in the encoder's convolutions; with metagan, of all the arithmetic of the "
        "generator and the task encoder. bfloat16 shortens training on CPUs that multiply it faster: AMD's "
        "from Zen 4 on, for metagan also Intel's with AMX; on others it takes longer. [default: float32]",
        rich_help_panel=_TRAINING,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        help="triplet: semi-hard triplets of embeddings. crossentropy: same class or not? asked for every "
        "pair of the batch, with a trainable kernel. [default: triplet]",
        rich_help_panel=_SIAMESE,
    ),
]
InnerSteps = Annotated[
    int | None,
    typer.Option(help="Gradient steps on a training task.", rich_help_panel=_ADAPTIVE),
]
AdaptSteps = Annotated[
    int | None,
    typer.Option(help="Gradient steps on the examples of a test task.", rich_help_panel=_ADAPTIVE),
]
InnerLearningRate = Annotated[
    float | None,
    typer.Option(help="Rate of the steps on a task.", rich_help_panel=_ADAPTIVE),
]
MetaBatch = Annotated[
    int | None,
    typer.Option(help="Tasks of a training step.", rich_help_panel=_ADAPTIVE),
]
Normalization = Annotated[
    str | None,
    typer.Option(
        help="What batch normalisation goes by. batch: the batch at hand; for a query, the examples of its "
        "task. moving: learnt moving averages for a query. frozen: moving averages that never move. "
        "[default: batch]",
        rich_help_panel=_ADAPTIVE,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="A published setting: 5w1s, 5w5s, 20w1s, 20w5s (100,000 or 200,000 steps) or keras-example. It "
        "decides everything but the length of the training (--epochs, --steps-per-epoch, --quick), --seed, "
        "--precision, --sequential and --normalization. [default: the sizes of 5w1s; off omniglot with fewer "
        "steps]",
        rich_help_panel=_REPTILE,
    ),
]
TrainShots = Annotated[
    int | None, typer.Option(help="Images per class of a training task.", rich_help_panel=_REPTILE)
]
InnerBatch = Annotated[
    int | None,
    typer.Option(help="Images of a gradient step on a training task.", rich_help_panel=_REPTILE),
]
AdaptBatch = Annotated[
    int | None,
    typer.Option(help="Images of a gradient step on a test task.", rich_help_panel=_REPTILE),
]
MetaStep = Annotated[
    float | None,
    typer.Option(
        help="Share of the way to the weights of the tasks that a step goes, at the start; it falls to 0 "
        "linearly.",
        rich_help_panel=_REPTILE,
    ),
]
Sequential = Annotated[
    bool | None,
    typer.Option(
        "--sequential",
        help="Pass the memory of the inner optimizer from task to task within a step, too, as the authors' "
        "program does; slower, for the tasks then wait for each other.",
        rich_help_panel=_REPTILE,
    ),
]
Generator = Annotated[
    bool | None,
    typer.Option(
        help="Learn to tell the images of a task from generated ones, too; without, it is first-order MAML. "
        "[default: generator]",
        rich_help_panel=_METAGAN,
    ),
]
Unlabelled = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Images per class of a task that are given without their labels, to help. [default: 0]",
        rich_help_panel=_METAGAN,
    ),
]
GeneratorLearningRate = Annotated[
    float | None,
    typer.Option(
        help="Like --learning-rate, which is the network's: that of generator and task encoder. "
        "[default: 0.001]",
        rich_help_panel=_METAGAN,
    ),
]
AdversaryWeight = Annotated[
    float | None,
    typer.Option(
        help="Weight of telling real from generated images, beside the 1 of telling the classes. "
        "[default: 0.1; as published: 1]",
        rich_help_panel=_METAGAN,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Run folder, new or empty. [default: runs/<learner>-<data>-<date-time>]",
        show_default=False,
        rich_help_panel=_RUN,
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        help="Continue this run exactly as it would have gone on; its options are taken from it.",
        rich_help_panel=_RUN,
    ),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Also write the curves for TensorBoard, into the run folder.",
        rich_help_panel=_RUN,
    ),
]
EvalEpisodes = Annotated[
    int | None, typer.Option(min=1, help=f"{_EPISODES_HELP} [default: 1000]", rich_help_panel=_RUN)
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: all]", rich_help_panel=_RUN)]

Run = Annotated[Path, typer.Argument(help="The folder of a run.", show_default=False)]
TestWay = Annotated[
    int | None,
    typer.Option(
        min=2, help="Classes to choose from. [default: 5 and 20; those of its tasks for reptile and metagan]"
    ),
]
TestShot = Annotated[int | None, typer.Option(min=1, help="Examples per class. [default: 1 and 5]")]
TestQuery = Annotated[
    int | None, typer.Option(min=1, help="Queries per class. [default: 15, or what there is]")
]
TestEpisodes = Annotated[int, typer.Option(min=1, help=_EPISODES_HELP)]
TestSeed = Annotated[int, typer.Option(min=0, help="Seed of the episodes.")]
Transductive = Annotated[
    bool,
    typer.Option(
        "--transductive",
        help="Normalise the images of an episode together, queries included; for reptile and metagan, the "
        "queries by their own common statistics. It flatters: do not compare such figures with others.",
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        help="Another run on the same data: measure it on the same episodes, and how much better RUN is, "
        "with the confidence interval of the paired difference.",
        show_default=False,
    ),
]

Benchmark = Annotated[str, typer.Argument(help="gram, triplets, episodes, overhead, blocks, steps, or all.")]
BenchOut = Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")]
BenchAgainst = Annotated[
    Path | None,
    typer.Option(
        help="A JSON file of an earlier run: also tell which medians differ by more than both spreads and "
        "10 %.",
        show_default=False,
    ),
]
BenchPlots = Annotated[
    Path | None,
    typer.Option(
        help="Also draw time and memory against the batch size, into this folder.", show_default=False
    ),
]
BenchQuick = Annotated[bool, typer.Option("--quick", help="Small sizes, to see that it works.")]

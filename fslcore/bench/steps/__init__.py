# SPDX-License-Identifier: MIT
"""Training steps beside the published programs, plain TensorFlow graphs, and XLA."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from fslcore.bench import Comparison
from fslcore.bench.comparison import compared
from fslcore.bench.workers import Contender, Workers


def cases(quick: bool) -> Iterator[Comparison]:
    """Each learner in its thread layout, the others with TensorFlow's default.

    The quick forms leave out what XLA compiles for more than a few seconds, all but the first case.
    """
    with Workers() as workers:
        yield _reptile_example(workers, quick)
        yield _reptile(workers, quick)
        yield _prototypical(workers, quick)
        yield _metagan(workers, quick)


def _reptile_example(workers: Workers, quick: bool) -> Comparison:
    from fslcore.bench.steps import reptile
    from fslcore.bench.steps.networks import convolution_work

    inner_steps, steps = (1, 1) if quick else (16, 20)
    preset = "keras-example"
    ours = partial(reptile.ours, preset, inner_steps, steps=steps, resident=False)
    plain = partial(reptile.plain, preset, inner_steps, resident=False)
    contenders = [
        Contender("fslcore", ours, "ops", steps),
        Contender("fslcore in bfloat16", partial(ours, precision="bfloat16"), "ops", steps),
        Contender("published program, eager", partial(reptile.published, inner_steps)),
        Contender("TensorFlow, graph", partial(plain, jit=False)),
        Contender("TensorFlow, XLA", partial(plain, jit=True)),
    ]
    return compared(
        f"Reptile step, 1 task of {inner_steps} inner steps on 25 images, SGD; drawing the task included",
        partial(workers.compare, contenders, rounds=2 if quick else 9),
        convolution_work(inner_steps * 25, stride=2),
    )


def _reptile(workers: Workers, quick: bool) -> Comparison:
    from fslcore.bench.steps import reptile
    from fslcore.bench.steps.networks import convolution_work

    inner_steps, steps = (1, 1) if quick else (5, 20)
    ours = partial(reptile.ours, "5w1s", inner_steps, steps=steps, resident=True)
    plain = partial(reptile.plain, "5w1s", inner_steps, resident=True)
    contenders = [
        Contender("fslcore", ours, "ops", steps),
        Contender("fslcore in bfloat16", partial(ours, precision="bfloat16"), "ops", steps),
        Contender("TensorFlow, graph", partial(plain, jit=False)),
        Contender("TensorFlow, XLA", partial(plain, jit=True)),
    ]
    return compared(
        f"Reptile step, 5 tasks of {inner_steps} inner steps on 10 images, Adam; images in memory",
        partial(workers.compare, _without_xla(contenders) if quick else contenders, rounds=2 if quick else 9),
        convolution_work(5 * inner_steps * 10, stride=2),
    )


def _prototypical(workers: Workers, quick: bool) -> Comparison:
    from fslcore.bench.steps import prototypical
    from fslcore.bench.steps.networks import convolution_work

    n_way, k_shot, n_query, steps = (5, 1, 1, 1) if quick else (60, 5, 5, 5)
    sizes = (n_way, k_shot, n_query)
    ours = partial(prototypical.ours, *sizes, steps=steps)
    plain = partial(prototypical.plain, *sizes)
    contenders = [
        Contender("fslcore, graph", ours, "ops", steps),
        Contender("fslcore, graph, bfloat16", partial(ours, precision="bfloat16"), "ops", steps),
        Contender("fslcore, XLA", partial(ours, jit=True), "ops", steps),
        Contender("TensorFlow, eager", partial(plain, mode="eager")),
        Contender("TensorFlow, graph", partial(plain, mode="graph")),
        Contender("Keras layers, graph", partial(prototypical.keras_layers, *sizes)),
        Contender("TensorFlow, XLA", partial(plain, mode="xla")),
    ]
    return compared(
        f"Prototypical step, conv4, {n_way}-way {k_shot}-shot {n_query}-query, Adam; images in memory",
        partial(workers.compare, _without_xla(contenders) if quick else contenders, rounds=2 if quick else 9),
        convolution_work(n_way * (k_shot + n_query), stride=1),
    )


def _metagan(workers: Workers, quick: bool) -> Comparison:
    from fslcore.bench.steps import metagan

    k_shot, n_query, inner_steps, tasks, unrolled = (1, 1, 1, 1, 1) if quick else (5, 15, 5, 32, 2)
    sizes = (k_shot, n_query, inner_steps)
    ours = partial(metagan.ours, tasks, *sizes)
    # The published program writes out all of its 32 tasks in one graph, which takes minutes to trace.
    published = partial(metagan.published, unrolled, *sizes)
    contenders = [
        Contender("fslcore, graph", partial(ours, jit=False), "tasks", tasks),
        Contender(
            "fslcore, graph, generator in bfloat16",
            partial(ours, jit=False, dtype="mixed_bfloat16"),
            "tasks",
            tasks,
        ),
        Contender("fslcore, XLA", partial(ours, jit=True), "tasks", tasks),
        Contender("published program, graph", published, steps=unrolled),
    ]
    return compared(
        f"MetaGAN step, time per task of 5-way {k_shot}-shot {n_query}-query, {inner_steps} inner steps; "
        f"{tasks} tasks per call, of the published graph {unrolled}",
        partial(workers.compare, _without_xla(contenders) if quick else contenders, rounds=2 if quick else 5),
    )


def _without_xla(contenders: list[Contender]) -> list[Contender]:
    return [contender for contender in contenders if "XLA" not in contender.name]

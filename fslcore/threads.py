# SPDX-License-Identifier: MIT
"""How TensorFlow uses the cores: all of them for one op, or several ops at a time on one core each."""

from __future__ import annotations

import tensorflow as tf

from fslcore.arguments import ArgumentError
from fslcore.cpus import available_cpus

LAYOUTS = ("ops", "tasks")


def set_threads(threads: int | None = None, layout: str = "ops") -> int:
    """Sets TensorFlow's threads for the rest of the process; the library never does so by itself.

    Each layout gives the same bits in every run. With several ops at a time *and* several threads for each,
    the gradient of a convolution's filter differs by up to 4e-6 from run to run.

    Args:
        threads: number of CPU threads; None: as many as this process may run on, or its
            container gives it time for.
        layout: "ops": one op at a time, on all threads. Best for large batches, those of `Siamese` and
            `Prototypical`, and for `Reptile` if `fslcore.ops.fit_classifiers` runs all its tasks as one op.
            "tasks": as many ops at a time as there are threads, each on one. Best for the many small steps of
            `MAML` and `MetaGAN`, several tasks of which then run side by side.

    Returns:
        The number of threads.

    Raises:
        ArgumentError: an argument is out of range.
        RuntimeError: TensorFlow has already run an op; its threads can no longer be changed.

    Example:
        >>> set_threads(layout="tasks")  # doctest: +SKIP
        2
    """
    if layout not in LAYOUTS:
        raise ArgumentError("layout", f"must be one of {', '.join(LAYOUTS)}", layout)
    if threads is not None and threads < 1:
        raise ArgumentError("threads", "must be at least 1", threads)
    threads = threads or available_cpus()
    within, between = (threads, 1) if layout == "ops" else (1, threads)
    tf.config.threading.set_intra_op_parallelism_threads(within)
    tf.config.threading.set_inter_op_parallelism_threads(between)
    tf.config.list_logical_devices()  # starts the runtime, after which these settings cannot be changed
    return threads


def parallel_tasks() -> int:
    """How many tasks a learner runs side by side: as many as TensorFlow runs ops side by side."""
    return tf.config.threading.get_inter_op_parallelism_threads() or available_cpus()


def one_thread_per_op() -> bool:
    """Whether several ops at a time have one thread each, as in the layout "tasks"."""
    return tf.config.threading.get_intra_op_parallelism_threads() == 1 and parallel_tasks() > 1

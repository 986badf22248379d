# SPDX-License-Identifier: MIT
"""Timing contenders in processes of their own: TensorFlow's threads are fixed for the life of a process.

    Workers ──────────> worker "tasks":    contenders 0, 1
      one contender     worker "default":  contenders 2, 3, 4
      at a time

The workers wait for each other: rounds are interleaved, and only one of them computes. A turn ends when
the worker's threads sleep.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fslcore import kernels
from fslcore.bench.timing import Measurement, interleaved, milliseconds, settle


@dataclass(frozen=True)
class Contender:
    """One way to take a step, built and timed in a worker.

    Attributes:
        name: Who.
        build: Makes the function to time: a function of some module, or a `functools.partial` of one.
        layout: How TensorFlow shares the threads: "tasks" or "ops" as in `fslcore.set_threads`, or "default",
            as it does by itself, all of them for each op and as many ops at a time.
        steps: How many steps one call takes; its time is divided by that.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    layout: str = "default"
    steps: int = 1


class Workers:
    """One worker process for each thread layout; a context manager that ends them.

    They use as many threads as `kernels.num_threads()` says here.
    """

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.end()

    def compare(self, contenders: Sequence[Contender], rounds: int = 7) -> list[Measurement]:
        """Times contenders interleaved, as `timing.compare` does. Each is called twice before.

        Args:
            contenders: Each with a name of its own.
            rounds: How many times each is timed.

        Returns:
            One `Measurement` each, in the order given: milliseconds per step, and the seconds of the first
            call. Not the memory: one that has been freed in the same worker would hide it.

        Raises:
            RuntimeError: A contender failed, or its worker died; with what it wrote.
        """
        timers, first_calls = {}, {}
        for contender in contenders:
            worker = self._worker(contender.layout)
            index, first_calls[contender.name] = worker.ask("build", contender.build)
            timers[contender.name] = partial(worker.ask, "time", index)
        steps = {contender.name: contender.steps for contender in contenders}
        samples = interleaved(timers, rounds)
        for worker in self._workers.values():
            worker.ask("forget")
        return [
            Measurement.of(
                name, [sample / steps[name] for sample in samples[name]], first_call_seconds=first_calls[name]
            )
            for name in samples
        ]

    def _worker(self, layout: str) -> _Worker:
        if layout not in self._workers:
            self._workers[layout] = _Worker(layout, kernels.num_threads())
        return self._workers[layout]


class _Worker:
    """This process' end of a worker."""

    def __init__(self, layout: str, threads: int) -> None:
        self._layout = layout
        self._stderr = tempfile.NamedTemporaryFile()  # noqa: SIM115 (closed by end)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, layout, threads, self._stderr.name), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, operation: str, argument: Any = None) -> Any:
        try:
            self._connection.send((operation, argument))
            failure, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise RuntimeError(
                f"the worker of layout {self._layout!r} ended with exit code {self._process.exitcode}:\n"
                + Path(self._stderr.name).read_text(errors="replace")
            ) from None
        if failure:
            raise RuntimeError(f"a contender of layout {self._layout!r} failed:\n{failure}")
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._stderr.close()


def _serve(connection: Connection, layout: str, threads: int, stderr: str) -> None:
    """The life of a worker: answers requests until the other end of the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes: the other one decides
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND), 2)  # TensorFlow logs a lot while it starts
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _set_threads(layout, threads)
    calls: list[Callable[[], Any]] = []
    while True:
        try:
            connection.send(("", _answer(calls, *connection.recv())))
        except EOFError:
            return
        except Exception:
            connection.send((traceback.format_exc(), None))


def _answer(calls: list[Callable[[], Any]], operation: str, argument: Any) -> Any:
    if operation == "time":
        taken = milliseconds(calls[argument])
        settle()  # before the next contender, of this worker or of another
        return taken
    if operation == "forget":
        calls.clear()
        return gc.collect()
    call = argument()
    calls.append(call)
    first_call = milliseconds(call) / 1e3
    call()
    return len(calls) - 1, first_call


def _set_threads(layout: str, threads: int) -> None:
    import tensorflow as tf

    from fslcore.threads import set_threads

    if layout != "default":
        set_threads(threads, layout)
        return
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _end_with_parent() -> None:
    """Ends the worker with its parent, even in the middle of a call that takes minutes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

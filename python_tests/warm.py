# SPDX-License-Identifier: MIT
"""New processes with TensorFlow, which takes longer to import than most of them run.

A process that has imported TensorFlow, Keras and the package, and has used none of them, forks for each
program. What a program finds is as in a new process, but for what imports leave behind: neither devices and
threads of TensorFlow nor threads of the kernels are there yet. Programs that are about imports, start-up or
variables that are read at that time are run in a new process instead, by `subprocess`.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO, Any

IMPORTED = (
    "tensorflow", "keras", "fslcore.cli.train", "fslcore.cli.evaluate", "fslcore.learners", "fslcore.losses",
    "fslcore.metrics", "fslcore.encoders", "fslcore.data", "fslcore.evaluation", "fslcore.classifier",
    "fslcore.experiments", "fslcore.plots",
)  # fmt: skip
FSLCORE = "from fslcore.cli import main; main()"


def run(
    arguments: Sequence[object],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS...`: a script or "-c" with a program, and what follows; with all that it printed."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _start(arguments, cwd, env, str(out), str(err))
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(
                list(map(str, arguments)), timeout, out.read_text(), err.read_text()
            )
        return subprocess.CompletedProcess(
            list(map(str, arguments)), process.exitcode, out.read_text(), err.read_text()
        )


class Running:
    """`python ARGUMENTS...` beside this process, for a `with`; standard error goes where its output goes.

    Attributes:
        stdout: what it prints.
        returncode: its exit code, or minus the signal that ended it; None until `with` has waited for it.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        reading, writing = multiprocessing.Pipe(duplex=False)
        self._process = _start(arguments, cwd, env, writing, writing)
        writing.close()  # so that the output ends with the process
        self.stdout: IO[str] = os.fdopen(os.dup(reading.fileno()))
        reading.close()
        self.returncode: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.join()
        self.stdout.close()
        self.returncode = self._process.exitcode


def context() -> ForkServerContext:
    """What makes processes with TensorFlow, for who has functions of modules to be called in them."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(IMPORTED))
    return found


def _start(
    arguments: Sequence[object], cwd: Path | None, env: Mapping[str, str] | None, *outputs: str | Connection
) -> Any:
    options = (list(map(str, arguments)), str(cwd or os.getcwd()), dict(env or os.environ), *outputs)
    process = context().Process(target=_enter, args=options)
    process.start()
    return process


def _enter(
    arguments: list[str], cwd: str, env: dict[str, str], out: str | Connection, err: str | Connection
) -> None:
    """The life of a process: as if Python had just been started, in a terminal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    for descriptor, to in ((1, out), (2, err)):
        os.dup2(os.open(to, os.O_WRONLY | os.O_CREAT) if isinstance(to, str) else to.fileno(), descriptor)
    for to in (out, err):
        if not isinstance(to, str) and not to.closed:
            to.close()
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    if arguments[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = arguments, str(Path(arguments[0]).parent)
        runpy.run_path(arguments[0], run_name="__main__")

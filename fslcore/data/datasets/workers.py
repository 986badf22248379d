# SPDX-License-Identifier: MIT
"""Pictures read by processes of their own: threads wait for the interpreter's lock for half of the time.

A worker is a fresh interpreter, not a fork: TensorFlow may have started its threads in this process. It reads
pickled tasks from its standard input and writes pickled answers to its standard output; both ends are this
program. The images do not go that way: a worker writes them into the file of the cache, whose lock it holds
as long as it lives. It ends with its input, so that none outlives a process that is killed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.data import pictures
from fslcore.data.image_file import digest_of
from fslcore.data.pictures import Header
from fslcore.data.preparation import Box, Preparation, prepared

_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from fslcore.data.datasets.workers import serve; serve({descriptor}, {processes}, {pixels!r})"
)
_CRASHED = "the program that reads it crashed"


class Job(NamedTuple):
    """A picture to be read.

    Attributes:
        file: Its file.
        box: The part of it to take; None for all of it.
        wrong: What is wrong with it, if that is known already.
    """

    file: str
    box: Box | None = None
    wrong: str | None = None


@dataclass(frozen=True)
class Way:
    """How pictures are read.

    Attributes:
        preparation: What becomes of each.
        guessed: Whether the preparation comes from some of the pictures only.
        free: Whether colours are wanted where there are any.
    """

    preparation: Preparation
    guessed: bool
    free: bool

    def read(self, job: Job) -> tuple[Header | None, npt.NDArray[np.uint8]]:
        """A picture uint8 [S, S, C], and what is known of it if the preparation is guessed.

        Raises:
            GuessError: The guess is wrong.
            Exception: What Pillow raises, or a ValueError with what is known to be wrong.
        """
        if job.wrong is not None:
            raise ValueError(job.wrong)
        if not self.guessed:
            return None, prepared(job.file, self.preparation, job.box)
        seen: list[Header] = []

        def check(header: Header) -> None:
            self.check(header)
            seen.append(header)

        image = prepared(job.file, self.preparation, job.box, check)
        return seen[0], image

    def check(self, header: Header) -> None:
        """Raises GuessError for a picture that shows that a guess is wrong."""
        colours = self.free and self.preparation.channels == 1 and not header.gray
        if self.guessed and (header.kind or colours):
            raise GuessError


class GuessError(Exception):
    """A picture is of another kind than those that the preparation was guessed from."""


@dataclass
class Share:
    """What became of pictures that lie one behind the other in a file.

    Attributes:
        digest: Of their bytes; those of one that cannot be read are 0.
        broken: Messages of errors by number, from 0.
        headers: How many pictures there are of each kind; none if the preparation is not guessed.
        wrong: Whether the guess is wrong; there is nothing else then.
    """

    digest: bytes = b""
    broken: dict[int, str] = field(default_factory=dict)
    headers: Counter[Header] = field(default_factory=Counter)
    wrong: bool = False


def write(descriptor: int, at: int, jobs: Sequence[Job], way: Way) -> Share:
    """Reads pictures and writes them into a file, from a place on."""
    size, channels = way.preparation.image_size, way.preparation.channels
    images = np.zeros((len(jobs), size, size, channels), np.uint8)
    share = Share()
    for i, job in enumerate(jobs):
        try:
            header, images[i] = way.read(job)
        except GuessError:
            return Share(wrong=True)
        # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
        except Exception as error:
            share.broken[i] = message_of(error)
        else:
            if header is not None:
                share.headers[header] += 1
    _put(descriptor, images, at)
    share.digest = digest_of(images.data)
    return share


def _put(descriptor: int, images: npt.NDArray[np.uint8], at: int) -> None:
    rest = images.data.cast("B")
    while rest:
        count = os.pwrite(descriptor, rest, at)
        rest, at = rest[count:], at + count


def message_of(error: Exception) -> str:
    """What an error says, as text that can be printed."""
    return (str(error) or type(error).__name__).encode("utf-8", "backslashreplace").decode()


class Crew:
    """Worker processes that write into a file; a context manager, which ends them.

    Args:
        processes: How many.
        descriptor: Of the file.

    Raises:
        OSError: They cannot be started.
    """

    def __init__(self, processes: int, descriptor: int) -> None:
        self.processes = processes
        self._descriptor = descriptor
        self._all: list[subprocess.Popen[bytes]] = []
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()

    def __enter__(self) -> Crew:
        try:
            for _ in range(self.processes):
                self._free.put(self._start())
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.kill()
            for pipe in (worker.stdin, worker.stdout):
                with contextlib.suppress(OSError):  # what was still to be written
                    pipe.close()  # type: ignore[union-attr]
            worker.wait()

    def write(self, at: int, jobs: Sequence[Job], way: Way) -> Share:
        """As the function `write`, in the next worker that is free; to be called by as many threads.

        Raises:
            OSError: The file cannot be written.
        """
        worker = self._free.get()
        try:
            answer = _asked(worker, (at, jobs, way))
        except (OSError, EOFError, pickle.UnpicklingError):  # killed, or crashed in the decoder of a picture
            worker.kill()
            worker = self._start()
            answer = None
        finally:
            self._free.put(worker)
        if isinstance(answer, OSError):
            raise answer
        return self._one_by_one(at, jobs, way) if answer is None else answer

    def _one_by_one(self, at: int, jobs: Sequence[Job], way: Way) -> Share:
        """The share of pictures of which at least one makes a worker crash."""
        preparation = way.preparation
        shape = (len(jobs), preparation.image_size, preparation.image_size, preparation.channels)
        whole = Share()
        if len(jobs) == 1:
            _put(self._descriptor, np.zeros(shape, np.uint8), at)
            whole.broken[0] = _CRASHED
        else:
            size = int(np.prod(shape[1:]))
            for i, job in enumerate(jobs):
                share = self.write(at + i * size, [job], way)
                if share.wrong:
                    return share
                if share.broken:
                    whole.broken[i] = share.broken[0]
                whole.headers += share.headers
        whole.digest = digest_of(os.pread(self._descriptor, int(np.prod(shape)), at))
        return whole

    def _start(self) -> subprocess.Popen[bytes]:
        code = _CODE.format(
            path=sys.path,
            descriptor=self._descriptor,
            processes=self.processes,
            pixels=Image.MAX_IMAGE_PIXELS,
        )
        worker = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._descriptor,),
        )
        self._all.append(worker)
        return worker


@contextlib.contextmanager
def crew(processes: int, descriptor: int) -> Iterator[Crew | None]:
    """A crew, or None where no processes can be started."""
    try:
        runs = bool(sys.executable) and not getattr(sys, "frozen", False)
        started = Crew(processes, descriptor).__enter__() if runs else None
    except OSError:
        started = None
    try:
        yield started
    finally:
        if started is not None:
            started.__exit__()


def serve(descriptor: int, processes: int, pixels: int | None) -> None:
    """The main function of a worker, of so many; `pixels` is Pillow's limit against bombs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has started this one
    Image.MAX_IMAGE_PIXELS = pixels
    warnings.simplefilter("ignore")
    pictures.share_room(processes)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        answer: Share | OSError
        try:
            answer = write(descriptor, *request)
        except OSError as error:  # of the file that is written
            answer = error
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _asked(worker: subprocess.Popen[bytes], request: Any) -> Any:
    requests: BinaryIO = worker.stdin  # type: ignore[assignment]
    answers: BinaryIO = worker.stdout  # type: ignore[assignment]
    pickle.dump(request, requests, pickle.HIGHEST_PROTOCOL)
    requests.flush()
    return pickle.load(answers)

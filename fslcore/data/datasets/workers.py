# SPDX-License-Identifier: MIT
"""Pictures read by processes of their own: threads wait for the interpreter's lock for half of the time.

A worker is a fresh interpreter, not a fork: TensorFlow may have started its threads in this process. It reads
pickled requests from its standard input and writes pickled answers to its standard output; both ends are this
program. It ends with its input, so that none outlives a process that is killed.
"""

from __future__ import annotations

import contextlib
import pickle
import queue
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from fslcore.data import pictures
from fslcore.data.pictures import Header
from fslcore.data.preparation import Box, first_look

# What is known of a picture and its pixels, or the message of an error.
Look = tuple[Header, npt.NDArray[np.uint8] | None] | str
Job = tuple[str, Box | None]

_CODE = (
    "import sys; sys.path[:] = {path!r}; "
    "from fslcore.data.datasets.workers import serve; serve({processes}, {pixels!r})"
)
_CRASHED = "the program that reads it crashed"


def look(jobs: Sequence[Job], image_size: int, channels: int | None, resize: str) -> list[Look]:
    """Some pictures as `first_look` sees them, each with the message of its error if it has one."""
    found: list[Look] = []
    for file, box in jobs:
        try:
            found.append(first_look(file, image_size, channels, resize, box))
        # A damaged file raises OSError, SyntaxError, struct.error ..., depending on its format.
        except Exception as error:
            found.append(message_of(error))
    return found


def message_of(error: Exception) -> str:
    """What an error says, as text that can be printed."""
    return (str(error) or type(error).__name__).encode("utf-8", "backslashreplace").decode()


class Crew:
    """Worker processes; a context manager, which ends them.

    Args:
        processes: How many.

    Raises:
        OSError: They cannot be started.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
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

    def look(self, jobs: Sequence[Job], image_size: int, channels: int | None, resize: str) -> list[Look]:
        """As the function `look`, in the next worker that is free; to be called by as many threads."""
        worker = self._free.get()
        try:
            answer = _asked(worker, (jobs, image_size, channels, resize))
        except (OSError, EOFError, pickle.UnpicklingError):  # killed, or crashed in the decoder of a picture
            worker.kill()
            worker = self._start()
            answer = None
        finally:
            self._free.put(worker)
        if answer is not None:
            return answer
        if len(jobs) == 1:
            return [_CRASHED]
        return [self.look([job], image_size, channels, resize)[0] for job in jobs]

    def _start(self) -> subprocess.Popen[bytes]:
        code = _CODE.format(path=sys.path, processes=self.processes, pixels=Image.MAX_IMAGE_PIXELS)
        worker = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._all.append(worker)
        return worker


@contextlib.contextmanager
def crew(processes: int) -> Iterator[Crew | None]:
    """A crew, or None where no processes can be started."""
    try:
        started = (
            Crew(processes).__enter__() if sys.executable and not getattr(sys, "frozen", False) else None
        )
    except OSError:
        started = None
    try:
        yield started
    finally:
        if started is not None:
            started.__exit__()


def serve(processes: int, pixels: int | None) -> None:
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
        found = [_packed(one) for one in look(*request)]
        pickle.dump(found, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _packed(found: Look) -> Any:
    """What takes less time to be pickled: bytes instead of arrays."""
    if isinstance(found, str):
        return found
    header, image = found
    return found if image is None else (header, image.tobytes(), image.shape)


def _unpacked(found: Any) -> Look:
    if isinstance(found, str) or found[1] is None:
        return found
    header, pixels, shape = found
    return header, np.frombuffer(pixels, np.uint8).reshape(shape)


def _asked(worker: subprocess.Popen[bytes], request: Any) -> list[Look]:
    requests: BinaryIO = worker.stdin  # type: ignore[assignment]
    answers: BinaryIO = worker.stdout  # type: ignore[assignment]
    pickle.dump(request, requests, pickle.HIGHEST_PROTOCOL)
    requests.flush()
    return [_unpacked(found) for found in pickle.load(answers)]

# SPDX-License-Identifier: MIT
"""A service that can be killed two hundred times: a process that starts it in forks of itself.

`serving_program.py FOLDER PORT` serves the set in FOLDER once for each line of its standard input, and writes
the number of the process that serves. There is no TensorFlow in it, whose start would take all the time: an
image is its own embedding. Everything else is as `fslcore serve` has it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import uvicorn

from fslcore.classifier import Prototype, SupportSet, saving
from fslcore.classifier.state import State
from fslcore.data import pictures
from fslcore.data.preparation import Preparation
from fslcore.serving.app import create_app
from fslcore.serving.served import Served


class Pixels:
    """In place of the encoder."""

    width = 16

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """float32 [n, 16]."""
        return pictures.reshape(len(pictures), -1).astype(np.float32)


class PixelSet(SupportSet):
    """A support set without TensorFlow."""

    def __init__(self, state: State) -> None:
        self._encoder, self.preparation, self.rule = Pixels(), Preparation(4, 1), Prototype()
        self._lock, self._state, self._before_publishing = threading.RLock(), state, None


def main(folder: Path, port: int) -> None:
    """Serves once for each line that comes in."""
    pictures.formats()  # takes a while the first time
    for _ in sys.stdin:
        process = os.fork()
        if process:
            print(process, flush=True)
            os.waitpid(process, 0)
        else:
            serve(folder, port)


def serve(folder: Path, port: int) -> None:
    """Serves the set in the folder until it is killed."""
    there = (folder / saving.SUPPORT).exists()
    support = PixelSet(saving.read(folder)[0] if there else State.empty(16))
    support._before_publishing = lambda state: saving.write(folder, state, {})
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    config = uvicorn.Config(create_app(Served(support)), log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

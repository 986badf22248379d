# SPDX-License-Identifier: MIT
"""`fslcore` run as its users run it, or in this process, where no second TensorFlow must be started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import warm
from PIL import Image

from fslcore import cli
from fslcore.experiments import course

# The least that the networks can be made of: images of 8 pixels, tasks of 3 classes.
_TASKS = ("--data", "letters", "--image-size", 8, "--way", 3, "--meta-batch", 2, "--eval-episodes", 10)
_INNER = ("--inner-steps", 2, "--inner-batch", 3, "--adapt-steps", 2, "--adapt-batch", 3)
REPTILE = ("train", "reptile", *_TASKS, *_INNER)
METAGAN = ("train", "metagan", *_TASKS, "--shot", 1, "--query", 1, "--inner-steps", 1)
MAML = ("train", "maml", *METAGAN[2:])
SHORT = ("--epochs", 2, "--steps-per-epoch", 4)


def command(*arguments: object) -> list[str]:
    """What starts `fslcore` in a process of its own."""
    return [sys.executable, "-c", warm.FSLCORE, *map(str, arguments)]


def environment(folder: Path) -> dict[str, str]:
    """That of a user, with the caches in the folder."""
    variables = {**os.environ, "FSLCORE_CACHE_DIR": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
    variables.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return variables


def fslcore(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `fslcore` in a folder, in a process that has imported TensorFlow before."""
    program = ("-c", warm.FSLCORE, *arguments)
    return warm.run(program, cwd=folder, env=environment(folder), timeout=300)


def fslcore_beside(*arguments: object, folder: Path) -> warm.Running:
    """`fslcore` that runs in a folder beside this process, for a `with`."""
    return warm.Running(("-c", warm.FSLCORE, *arguments), cwd=folder, env=environment(folder))


def fslcore_anew(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `fslcore` in a folder, in a new process as its users do, with all that is said at its start."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=300
    )


def letters(folder: Path) -> Path:
    """Makes the data folder `letters`: 30 classes of 6 images, split 18 / 6 / 6."""
    rng = np.random.default_rng(0)
    for c in range(30):
        (folder / "letters" / f"class{c:02}").mkdir(parents=True)
        shape = rng.integers(0, 2, (4, 4)).repeat(5, axis=0).repeat(5, axis=1) * 30
        for i in range(6):
            noisy = shape + rng.integers(0, 226, (20, 20))
            Image.fromarray(noisy.astype(np.uint8)).save(folder / "letters" / f"class{c:02}" / f"{i}.png")
    return folder


class Fslcore:
    """`fslcore("train", "reptile")` in this process, in a folder: its exit code, and what it printed.

    Attributes:
        layouts: the layouts of threads that were requested, one for each time TensorFlow would have started.
    """

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setenv("FSLCORE_CACHE_DIR", str(folder / "cache"))
        self.layouts: list[str] = []
        # TensorFlow has started in this process: its threads stay as they are.
        for module in (course, cli.bench, cli.serve):
            monkeypatch.setattr(module, "fix_threads", self._fix_threads)

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["fslcore", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        captured = self.capsys.readouterr()
        return int(exit_info.value.code or 0), captured.out, captured.err

    def complaint(self, *arguments: object) -> str:
        """The one line that a wrong argument is answered with."""
        code, _, err = self(*arguments)
        assert code == 2
        assert err.startswith("fslcore: ")
        assert err.count("\n") == 1
        return err

    def _fix_threads(self, threads: int | None, layout: str, required: bool = False) -> int:
        self.layouts.append(layout)
        return threads or 1

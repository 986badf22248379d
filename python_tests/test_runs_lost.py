# SPDX-License-Identifier: MIT
"""Nothing that has been computed is lost: full disks, pictures, other writers, kills and signals."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from breaking import At, columns

from fslcore import experiments, files
from fslcore.arguments import ArgumentError
from fslcore.experiments import PrototypicalRecipe, checkpoints, folders, pictures, runs

RECIPE = PrototypicalRecipe(way=4, shot=1, query=2, epochs=2, steps_per_epoch=2, seed=5)
OPTIONS = ("--data", "letters", "--image-size", 16, "--way", 4, "--query", 2, "--eval-episodes", 5)
SHORT = (*OPTIONS, "--epochs", 2, "--steps-per-epoch", 2, "--seed", 5, "--learning-rate", 2e-3)


@pytest.fixture
def whole(in_process, folder) -> Path:
    if not (folder / "whole").exists():
        train("whole")
    return folder / "whole"


def train(out: str, **options: object) -> experiments.Run:
    return experiments.train(RECIPE, "letters", out, image_size=16, eval_episodes=5, **options)


def assert_same(run: Path, expected: Path) -> None:
    with np.load(run / checkpoints.CHECKPOINT) as found, np.load(expected / checkpoints.CHECKPOINT) as wanted:
        assert found.files == wanted.files
        for name in wanted.files:
            if name != "header":  # which holds the times
                np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
    histories = [columns(checkpoints.load_progress(path).history) for path in (run, expected)]
    assert histories[0] == histories[1]
    assert runs.read_json(run / runs.METRICS) == runs.read_json(expected / runs.METRICS)
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


@contextlib.contextmanager
def failing(number: int, *names: str) -> Iterator[None]:
    """Files of these names, or all, cannot be written, for the reason of an error number."""
    replace = files.replace

    def writing(path: Path, write: Callable[[Path], object]) -> None:
        if not names or path.name in names:
            raise OSError(number, os.strerror(number))
        replace(path, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "replace", writing)
        yield


# ---- files that cannot be written


@pytest.mark.parametrize("name", [checkpoints.CHECKPOINT, runs.HISTORY])
def test_a_full_disk_in_the_training_names_the_file_and_the_remedy(in_process, folder, whole, name):
    out = f"full-{name}"
    with failing(errno.ENOSPC, name):
        code, _, err = in_process("train", "prototypical", *SHORT, "--out", out)
    assert code == 1
    assert f"{out}/{name} could not be written: no space left on device" in err
    assert f"fslcore train --resume {out}" in err
    assert_same(experiments.resume(folder / out).folder, whole)


def test_results_are_shown_where_nothing_can_be_saved_any_more(in_process, folder):
    number, out = errno.ENOSPC, "late"
    with failing(number, checkpoints.WEIGHTS, runs.METRICS, "training.png", "episode.png"):
        code, shown, err = in_process("train", "prototypical", *SHORT, "--out", out)
    assert code == 1
    assert "5-way 1-shot" in shown
    for name in (checkpoints.WEIGHTS, runs.METRICS):
        assert f"fslcore: {out}/{name} could not be written: {os.strerror(number).lower()}" in err
    for name in ("training.png", "episode.png"):
        assert f"fslcore: warning: {out}/{name} could not be drawn" in err
    assert (folder / out / "distances.png").exists()
    # The checkpoint has the weights.
    assert in_process("evaluate", out, "--way", 3, "--episodes", 4)[0] == 0


def test_evaluate_on_a_run_that_is_read_only_shows_its_figures(in_process, whole):
    before = (whole / runs.METRICS).read_bytes()
    with failing(errno.EROFS):
        code, out, err = in_process("evaluate", "whole", "--way", 3, "--episodes", 4)
    assert code == 1
    assert "3-way 1-shot" in out
    assert "kept in" not in out
    assert err == "fslcore: whole/metrics.json could not be written: read-only file system\n"
    assert (whole / runs.METRICS).read_bytes() == before


def test_in_python_results_are_returned_with_a_warning(in_process, whole):
    with (
        failing(errno.ENOSPC),
        pytest.warns(UserWarning, match=r"metrics\.json could not be written: no space left on device"),
    ):
        (result,) = experiments.evaluate(whole, way=3, shot=1, episodes=4)
    assert result.report.episodes == 4


@pytest.mark.parametrize("name", ["training.png", "episode.png"])
def test_a_picture_that_cannot_be_drawn_is_a_warning_after_the_figures(
    in_process, folder, whole, monkeypatch, name
):
    save = pictures._save

    def broken(figure: object, path: Path) -> None:
        if path.name == name:
            raise ValueError("ParseException: Expected end of text, found '$'\nin its title")
        save(figure, path)

    monkeypatch.setattr(pictures, "_save", broken)
    out = f"no-{name}"
    code, shown, err = in_process("train", "prototypical", *SHORT, "--out", out)
    assert code == 0
    assert "5-way 1-shot" in shown
    assert err.startswith(f"fslcore: warning: {out}/{name} could not be drawn: ParseException")
    assert err.count("\n") == 1
    missing = {path.name for path in whole.iterdir()} - {path.name for path in (folder / out).iterdir()}
    assert missing == {name}


# ---- several writers


def test_only_one_of_two_writers_gets_a_folder(tmp_path, monkeypatch):
    # Both have seen that it is empty.
    monkeypatch.setattr(runs, "check_new", lambda _: None)
    run = runs.create(tmp_path / "run", {"writer": 1})
    with pytest.raises(ArgumentError, match="out must be a new or an empty folder"):
        runs.create(tmp_path / "run", {"writer": 2})
    assert runs.read_config(run)["writer"] == 1
    assert [path.name for path in run.iterdir()] == [runs.CONFIG]


def test_default_names_of_one_second_differ(tmp_path):
    names = [runs.create_numbered(tmp_path / "siamese-glyphs-1", {}).name for _ in range(3)]
    assert names == ["siamese-glyphs-1", "siamese-glyphs-1-2", "siamese-glyphs-1-3"]


def test_a_run_is_trained_by_one_process_at_a_time(in_process, whole, tmp_path):
    with folders.locked(whole):
        message = in_process.complaint("train", "--resume", "whole")
    assert "--resume must not be in training by another process at the same time" in message


# ---- kills


class Killed(BaseException):
    """No handler catches it, as none sees SIGKILL."""


def test_a_run_that_is_killed_at_any_write_is_resumed_or_begun_again(in_process, folder, whole, monkeypatch):
    """`os.replace` and `os.link` are the moments at which files appear; a kill comes before one of them."""
    for name in ("draw", "draw_history"):  # they take most of the time
        monkeypatch.setattr(pictures, name, lambda *_: None)

    def dying(real: Callable[..., None], at: int, count: Iterator[int]) -> Callable[..., None]:
        def call(source: object, target: object, **options: object) -> None:
            if str(target).startswith(str(folder / "killed")) and next(count) == at:
                raise Killed
            real(source, target, **options)

        return call

    for number in itertools.count(1):
        out, count = folder / f"killed-{number}", itertools.count(1)
        with monkeypatch.context() as patch:
            for name in ("replace", "link"):
                patch.setattr(os, name, dying(getattr(os, name), number, count))
            try:
                train(str(out))
                break
            except Killed:
                pass
        if (out / runs.CONFIG).exists():
            (out / ".0123abcd.metrics.json").write_text("ha")  # what a kill leaves
            run = experiments.resume(out)
        else:
            (out / ".0123abcd.config.json").write_text("ha")
            run = train(str(out))
        assert_same(run.folder, whole)
    assert number == 1 + len(["config", *2 * ["checkpoint", "history"], "weights", "metrics"])


def test_a_folder_from_before_the_first_write_says_so(in_process, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".0123abcd.config.json").write_text("{")
    assert "this one ended before that: begin it again" in in_process.complaint(
        "train", "--resume", tmp_path / "run"
    )


# ---- signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_keeps_the_step_and_has_its_exit_code(in_process, folder, whole, monkeypatch, name):
    number, train_ = getattr(signal, name), experiments.train
    callback = At(3, lambda: signal.raise_signal(number))
    monkeypatch.setattr(experiments, "train", lambda *a, **k: train_(*a, **k, callbacks=[callback]))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    code, out, _ = in_process("train", "prototypical", *SHORT, "--out", name)
    assert code == 128 + number
    assert "interrupted after 4 of 4 steps" in out
    assert checkpoints.load_progress(folder / name).step == 4
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before
    assert_same(experiments.resume(folder / name).folder, whole)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_after_the_training_says_what_is_left(in_process, folder, monkeypatch, name):
    number = getattr(signal, name)
    monkeypatch.setattr(pictures, "draw", lambda *_: signal.raise_signal(number))
    code, out, _ = in_process("train", "prototypical", *SHORT, "--out", f"late-{name}")
    assert code == 128 + number
    assert "training is complete" in out
    assert (folder / f"late-{name}" / runs.METRICS).exists()


def test_a_signal_that_is_ignored_stays_so(in_process, monkeypatch, folder):
    """As under nohup."""
    train_ = experiments.train
    callback = At(1, lambda: signal.raise_signal(signal.SIGHUP))
    monkeypatch.setattr(experiments, "train", lambda *a, **k: train_(*a, **k, callbacks=[callback]))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert in_process("train", "prototypical", *SHORT, "--out", "nohup")[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)

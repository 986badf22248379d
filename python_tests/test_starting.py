# SPDX-License-Identifier: MIT
"""Threads and memory that the machine does not have: an error, before anything ends the process."""

from __future__ import annotations

import threading

import pytest
from noise import noise_parts

from fslcore.arguments import ArgumentError
from fslcore.experiments import RECIPES, choices, memory, starting


def test_threads_that_can_be_started_are_ended_again():
    before = threading.active_count()
    starting._check_startable(2)
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
def test_threads_that_the_system_does_not_allow_are_an_error(monkeypatch, error):
    before, real, count = threading.active_count(), threading.Thread.start, iter(range(100))

    def limited(thread: threading.Thread) -> None:
        if next(count) >= 41:
            raise error
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(
        ArgumentError, match=r"threads must be at most 3 here: the system allows 41 more threads .*threads=8"
    ):
        starting._check_startable(8)
    assert threading.active_count() == before


def test_a_number_that_no_machine_has_is_refused_without_a_trial(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("it was tried"))
    with pytest.raises(ArgumentError, match="threads must be at most 512, or 4 for each of the"):
        starting._check_startable(2_000_000)


@pytest.mark.parametrize("learner", RECIPES)
def test_images_that_do_not_fit_into_the_memory_are_refused(monkeypatch, learner):
    parts = noise_parts(n_classes=8, images=20, size=64)
    recipe = choices.recipe(learner, "folder", parts)
    memory.check(recipe, parts)
    for free in (None, 1 << 40):
        monkeypatch.setattr(memory, "free_bytes", lambda free=free: free)
        memory.check(recipe, parts)
    monkeypatch.setattr(memory, "free_bytes", lambda: 1 << 20)
    for some in (parts, {"test": parts["test"]}):
        with pytest.raises(
            ArgumentError,
            match=r"image_size must be smaller: .* 64 x 64 pixels takes more than .*memory are free",
        ):
            memory.check(recipe, some)


def test_the_free_memory_is_known_here():
    free = memory.free_bytes()
    assert free is None or 1 << 20 < free < 1 << 50


def test_a_limit_of_the_address_space_counts(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    assert memory.free_bytes() == 0

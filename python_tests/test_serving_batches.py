# SPDX-License-Identifier: MIT
"""Micro-batching alone: what waits becomes a batch, and every task has its own answer or error."""

import asyncio
import threading

import pytest

from fslcore.serving.batching import Batcher, Full


class Gate:
    """A computation that waits to be let through, and keeps the batches that it was given."""

    def __init__(self):
        self.open, self.begun, self.batches = threading.Event(), threading.Event(), []

    def __call__(self, tasks):
        self.batches.append(list(tasks))
        self.begun.set()
        assert self.open.wait(60)
        return [ValueError(f"no {task}") if task < 0 else 10 * task for task in tasks]


async def begun(gate):
    while not gate.begun.is_set():
        await asyncio.sleep(0.001)


def run(scenario, **options):
    gate = Gate()
    batcher = Batcher(gate, **options)
    try:
        return asyncio.run(asyncio.wait_for(scenario(gate, batcher), 60)), gate.batches
    finally:
        gate.open.set()
        batcher.close()


async def all_of(gate, batcher, tasks):
    """The first task is computed alone, since nothing else waits; the others wait meanwhile."""
    first = asyncio.ensure_future(batcher(tasks[0]))
    await begun(gate)
    others = [asyncio.ensure_future(batcher(task)) for task in tasks[1:]]
    await asyncio.sleep(0)
    gate.open.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


@pytest.mark.parametrize(
    ("most", "batches"), [(1, [[1], [2], [3], [4]]), (2, [[1], [2, 3], [4]]), (64, [[1], [2, 3, 4]])]
)
def test_what_waits_is_the_next_batch(most, batches):
    answers, computed = run(lambda gate, batcher: all_of(gate, batcher, [1, 2, 3, 4]), most=most)
    assert answers == [10, 20, 30, 40]
    assert computed == batches


def test_a_task_larger_than_a_batch_is_one_of_its_own():
    _, computed = run(
        lambda gate, batcher: all_of(gate, batcher, [1, 1, 9, 1]), most=4, size=lambda task: task
    )
    assert computed == [[1], [1], [9], [1]]


def test_an_error_reaches_its_sender_alone():
    answers, computed = run(lambda gate, batcher: all_of(gate, batcher, [1, -2, 3]))
    assert computed == [[1], [-2, 3]]
    assert answers[::2] == [10, 30]
    assert isinstance(answers[1], ValueError)
    assert str(answers[1]) == "no -2"


def test_a_computation_that_fails_or_forgets_a_task_fails_the_batch_and_not_the_thread():
    results = iter([ZeroDivisionError("lost"), [], [7]])

    def compute(_):
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    async def scenario():
        with pytest.raises(ZeroDivisionError, match="lost"):
            await batcher(1)
        with pytest.raises(RuntimeError, match="0 results for 1 tasks"):
            await batcher(1)
        return await batcher(1)

    batcher = Batcher(compute)
    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == 7
    batcher.close()


def test_more_than_may_wait_is_refused_and_the_rest_is_answered():
    async def scenario(gate, batcher):
        first = asyncio.ensure_future(batcher(1))
        await begun(gate)
        waiting = [asyncio.ensure_future(batcher(task)) for task in (2, 3)]
        await asyncio.sleep(0)
        assert batcher.waiting == 2
        with pytest.raises(Full, match="2 pictures wait"):
            await batcher(4)
        gate.open.set()
        return await asyncio.gather(first, *waiting)

    answers, _ = run(scenario, waiting=2)
    assert answers == [10, 20, 30]


def test_a_sender_that_has_gone_leaves_the_others_their_answers():
    async def scenario(gate, batcher):
        first = asyncio.ensure_future(batcher(1))
        await begun(gate)
        gone, there = (asyncio.ensure_future(batcher(task)) for task in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        gate.open.set()
        return await asyncio.gather(first, there)

    answers, computed = run(scenario)
    assert answers == [10, 30]
    assert computed == [[1], [2, 3]]

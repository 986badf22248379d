# SPDX-License-Identifier: MIT
"""Micro-batching: what waits while a batch is computed becomes the next batch.

There is no time of waiting to set: a request that comes alone is computed at once, and the busier the
service is, the larger its batches are.
"""

from __future__ import annotations

import asyncio
import collections
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Full(Exception):
    """So much waits already that this would wait too long."""


class Batcher(Generic[Task, Result]):
    """Gathers the tasks of concurrent requests for one thread that computes them together.

    Args:
        compute: Tasks -> for each its result, or the exception that is raised to its sender alone.
        size: Task -> how many pictures it has.
        most: Pictures of a batch; a task that has more is a batch of its own. 1: no micro-batching.
        waiting: Pictures that may wait, else `Full` is raised.
        seen: Called with the pictures of each batch.
    """

    def __init__(
        self,
        compute: Callable[[list[Task]], Sequence[Result | BaseException]],
        *,
        size: Callable[[Task], int] = lambda _: 1,
        most: int = 64,
        waiting: int = 1024,
        seen: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._compute, self._size, self._most, self._waiting = compute, size, most, waiting
        self._seen = seen
        self._tasks: collections.deque[tuple[Task, int, asyncio.Future[Result]]] = collections.deque()
        self._pictures = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="fslcore-batches", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pictures that wait now."""
        return self._pictures

    async def __call__(self, task: Task) -> Result:
        """The result of a task, once a batch with it is done.

        Raises:
            Full: Too much waits.
            Exception: What the computation gave for this task.
        """
        size = self._size(task)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the service is closing")
            if self._tasks and self._pictures + size > self._waiting:
                raise Full(f"{self._pictures} pictures wait already")
            self._tasks.append((task, size, future))
            self._pictures += size
            self._changed.notify()
        return await future

    def close(self) -> None:
        """Answers what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while taken := self._next():
            tasks = [task for task, _, _ in taken]
            self._seen(sum(size for _, size, _ in taken))
            results: Sequence[Result | BaseException]
            try:
                results = self._compute(tasks)
                if len(results) != len(tasks):
                    raise RuntimeError(f"{len(results)} results for {len(tasks)} tasks")
            except BaseException as error:
                results = [error] * len(tasks)
            # One wake-up of the event loop for all that wait there.
            by_loop: dict[Any, list[Any]] = {}
            for (_, _, future), result in zip(taken, results, strict=True):
                by_loop.setdefault(future.get_loop(), []).append((future, result))
            for loop, pairs in by_loop.items():
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_resolve, pairs)

    def _next(self) -> list[tuple[Task, int, asyncio.Future[Result]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._closed)
            taken: list[tuple[Task, int, asyncio.Future[Result]]] = []
            pictures = 0
            while self._tasks and (not taken or pictures + self._tasks[0][1] <= self._most):
                taken.append(self._tasks.popleft())
                pictures += taken[-1][1]
            self._pictures -= pictures
            return taken


def _resolve(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in pairs:
        if future.done():  # its sender has gone
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

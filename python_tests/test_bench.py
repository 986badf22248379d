# SPDX-License-Identifier: MIT
import functools
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
import warm
from rich.console import Console

from fslcore import bench, kernels
from fslcore.bench import workers
from fslcore.bench.records import write_json
from fslcore.bench.report import print_comparison
from fslcore.bench.timing import compare, interleaved, peak_extra_megabytes, settle
from fslcore.bench.workers import Contender, Workers


def test_contenders_are_called_in_turn():
    calls = []

    def caller(name):
        def call():
            time.sleep(0.012)  # a call below ten milliseconds is repeated
            calls.append(name)

        return call

    measurements = compare({"a": caller("a"), "b": caller("b")}, rounds=3)
    assert "".join(calls) == "aaa" + "bbb" + "aaabbb" * 3  # in each turn, two calls are not timed
    assert [(m.name, m.rounds) for m in measurements] == [("a", 3), ("b", 3)]
    assert all(m.milliseconds > 0 for m in measurements)


def test_a_turn_begins_when_the_threads_of_others_sleep():
    """A thread that spins on another core, as those of OpenBLAS and OpenMP do after their work."""
    end = threading.Event()

    def spin():
        array = np.ones(1 << 23, np.float32)
        while not end.is_set():
            np.sqrt(array, out=array)  # without the lock of the interpreter

    spinning = threading.Thread(target=spin)
    spinning.start()
    threading.Timer(0.2, end.set).start()
    settle()
    assert end.is_set()
    spinning.join()


def test_short_calls_are_repeated_and_long_ones_stop_at_their_budget():
    calls = []
    (short,) = compare({"short": lambda: calls.append(0)}, rounds=1)
    assert len(calls) > 20
    assert short.milliseconds < 1
    times = {"very slow": 101.0, "slow": 60.0, "middling": 30.0, "fast": 1.0}
    timers = {name: functools.partial(float, time) for name, time in times.items()}
    used = interleaved(timers, rounds=9, budget=100.0)
    assert [len(samples) for samples in used.values()] == [1, 3, 4, 9]


def test_memory_that_tensorflow_keeps_for_later_is_seen_each_time():
    import tensorflow as tf

    def call():
        return float(tf.reduce_sum(tf.ones([16 << 20]) * 2.0))  # 64 MB

    call()
    assert peak_extra_megabytes(call) >= 60
    assert peak_extra_megabytes(call) >= 60


def test_memory_of_a_call_is_seen_and_only_that():
    before = np.ones(32 << 20, np.uint8)
    # 64 MB are touched. Linux counts pages in batches per CPU, and the interpreter may take a few more.
    assert 60 <= peak_extra_megabytes(lambda: np.ones(64 << 20, np.uint8)) < 80
    assert peak_extra_megabytes(lambda: before.sum()) < 16


@pytest.fixture
def workers_with_tensorflow(monkeypatch):
    """Workers are forks of a process that has imported TensorFlow."""
    context = warm.context()
    monkeypatch.setattr(workers, "multiprocessing", types.SimpleNamespace(get_context=lambda method: context))


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_every_benchmark_runs_and_puts_ours_first(name, monkeypatch, workers_with_tensorflow):
    from fslcore.bench import gram, gram_problem  # which import TensorFlow

    # That each contender computes each of the other metrics is tested in test_bench_contenders.py.
    some = ("euclidean", gram_problem.HEAD)
    monkeypatch.setattr(gram, "TITLES", {metric: gram_problem.TITLES[metric] for metric in some})
    for comparison in bench.run(name, quick=True):
        ours, *peers = comparison.measurements
        assert ours.name.startswith("fslcore")
        assert any(not peer.name.startswith("fslcore") for peer in peers)


def test_an_unknown_benchmark_is_named_in_the_error():
    with pytest.raises(
        ValueError,
        match=r"one of gram, triplets, losses, search, .*, steps, received 'speed'",
    ):
        bench.run("speed")


def test_report_on_the_terminal_and_as_json(tmp_path):
    measurements = [
        bench.Measurement("ours", 2.0, 0.1, 3.0, 5),
        bench.Measurement("theirs", 5.0, 0.2, None, 5),
    ]
    comparison = bench.Comparison("a problem", measurements, 10, "episodes")
    console = Console(record=True, width=120, force_terminal=False)
    print_comparison(comparison, console)
    text = console.export_text()
    assert "2.50" in text  # theirs over ours
    assert "5,000" in text  # 10 episodes in 2 ms
    assert "extra MB" in text
    assert "first call s" not in text  # nobody has measured it
    write_json([comparison], tmp_path / "bench.json")
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["cases"][0]["measurements"][1]["milliseconds"] == 5.0
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


def test_report_shows_first_calls_where_they_were_measured():
    measurements = [bench.Measurement("ours", 2.0, 0.1, None, 5, 12.5), bench.Measurement("o", 1, 0, None, 1)]
    console = Console(record=True, width=120, force_terminal=False)
    print_comparison(bench.Comparison("a problem", measurements), console)
    text = console.export_text()
    assert "first call s" in text
    assert "12.5" in text
    assert "extra MB" not in text


def write_threads(path, name):
    """Appends the name and TensorFlow's threads within and between ops with each call."""
    import tensorflow as tf

    def call():
        within = tf.config.threading.get_intra_op_parallelism_threads()
        between = tf.config.threading.get_inter_op_parallelism_threads()
        with open(path, "a") as file:
            file.write(f"{name}{within}{between} ")

    return call


def fail():
    raise ValueError("the images are upside down")


def die():
    print("out of paper", file=sys.stderr, flush=True)
    os._exit(3)


def sleep(path):
    def call():
        Path(path).write_text(str(os.getpid()))
        time.sleep(600)

    return call


def test_workers_take_turns_each_with_its_threads(tmp_path, workers_with_tensorflow):
    threads = kernels.num_threads()
    kernels.set_num_threads(3)
    path = tmp_path / "calls"
    try:
        with Workers() as workers:
            measurements = workers.compare(
                [
                    Contender("a", functools.partial(write_threads, path, "a"), "tasks"),
                    Contender("b", functools.partial(write_threads, path, "b")),
                ],
                rounds=2,
            )
            with pytest.raises(RuntimeError, match=r"'tasks' failed(?s:.)*the images are upside down"):
                workers.compare([Contender("c", fail, "tasks")])
            with pytest.raises(RuntimeError, match=r"exit code 3(?s:.)*out of paper"):
                workers.compare([Contender("d", die, "tasks")])
    finally:
        kernels.set_num_threads(threads)
    assert path.read_text().split() == ["a13", "a13", "b33", "b33", "a13", "b33", "a13", "b33"]
    assert [(m.name, m.rounds, m.extra_megabytes) for m in measurements] == [("a", 2, None), ("b", 2, None)]
    assert all(m.milliseconds > 0 and m.first_call_seconds > 0 for m in measurements)
    assert multiprocessing.active_children() == []


# A group of its own, as a terminal gives it. The worker is a fork, which has TensorFlow as its parent has it.
PARENT = """
import functools, multiprocessing, os, sys, types
sys.path.insert(0, sys.argv[2])
from fslcore.bench import workers
from test_bench import sleep
os.setsid()
workers.multiprocessing = types.SimpleNamespace(
    get_context=lambda method: multiprocessing.get_context("fork"),
    parent_process=multiprocessing.parent_process,
)
print(os.getpid(), flush=True)
with workers.Workers() as started:
    started.compare([workers.Contender("sleeper", functools.partial(sleep, sys.argv[1]))])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_worker_does_not_outlive_its_parent(tmp_path, how):
    path = tmp_path / "pid"
    with warm.Running(["-c", PARENT, path, Path(__file__).parent]) as parent:
        first = parent.stdout.readline()
        assert first.strip().isdigit(), first + parent.stdout.read()
        number = int(first)
        wait_until(lambda: path.exists() and path.read_text())
        # Ctrl-C reaches every process of the terminal.
        (os.killpg if how == signal.SIGINT else os.kill)(number, how)
        worker = Path("/proc", path.read_text(), "stat")
        wait_until(lambda: not worker.exists() or ") Z" in worker.read_text())  # a zombie has ended
        assert ("KeyboardInterrupt" in parent.stdout.read()) == (how == signal.SIGINT)
    assert parent.returncode == (1 if how == signal.SIGINT else -how)


def wait_until(true):
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError(f"still waiting for {true} after a minute")

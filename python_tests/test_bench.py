# SPDX-License-Identifier: MIT
import json

import numpy as np
import pytest
from rich.console import Console

from fslcore import bench
from fslcore.bench.report import print_comparison, write_json
from fslcore.bench.timing import compare, peak_extra_megabytes


def test_contenders_are_called_in_turn():
    calls = []
    measurements = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert "".join(calls) == "aa" + "bb" + "ab" * 3
    assert [(m.name, m.rounds) for m in measurements] == [("a", 3), ("b", 3)]
    assert all(m.milliseconds > 0 for m in measurements)


def test_memory_of_a_call_is_seen_and_only_that():
    before = np.ones(32 << 20, np.uint8)
    # 64 MB are touched. Linux counts pages in batches per CPU, and the interpreter may take a few more.
    assert 60 <= peak_extra_megabytes(lambda: np.ones(64 << 20, np.uint8)) < 80
    assert peak_extra_megabytes(lambda: before.sum()) < 16


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_every_benchmark_runs_and_puts_ours_first(name):
    for comparison in bench.run(name, quick=True):
        ours, *peers = comparison.measurements
        assert ours.name.startswith("fslcore")
        assert any(not peer.name.startswith("fslcore") for peer in peers)


def test_an_unknown_benchmark_is_named_in_the_error():
    with pytest.raises(ValueError, match="one of gram, triplets, episodes, received 'speed'"):
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
    write_json([comparison], tmp_path / "bench.json")
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["cases"][0]["measurements"][1]["milliseconds"] == 5.0
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]

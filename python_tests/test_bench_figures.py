# SPDX-License-Identifier: MIT
"""Limits, what does not fit, files, changes since an earlier run, and pictures."""

import json
from pathlib import Path

import pytest
from commandline import Fslcore
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from rich.console import Console

from fslcore import bench, kernels
from fslcore.bench import comparison, limits
from fslcore.bench.changes import changes, print_changes
from fslcore.bench.comparison import Comparison, Entry, Work, measure
from fslcore.bench.curves import draw_curves, series
from fslcore.bench.peers import libraries
from fslcore.bench.records import Record, read_json, records_of, write_json
from fslcore.bench.report import print_comparison
from fslcore.cli.bench import draw_all

PUBLISHED = Path(__file__).parent.parent / "fslcore" / "docs" / "bench.json"


def printed(show, *arguments):
    console = Console(record=True, width=120, force_terminal=False)
    show(*arguments, console)
    return console.export_text()


def case(batch, times, *, extra=50.0, too_large=(), title="dot", work=None, limit=None):
    measurements = [bench.Measurement(name, ms, 0.05, extra, 5) for name, ms in times.items()]
    return Comparison(
        f"{title} {batch}",
        measurements,
        series=title,
        batch=batch,
        work=work,
        limit=limit,
        too_large=dict.fromkeys(too_large, 12 * 10**9),
    )


# ---- limits


def test_limits_are_positive_and_a_kernel_is_below_its_own():
    flops, copied = limits.fma_peak(), limits.copy_bandwidth(1 << 20)
    assert flops > 1e8
    assert copied > 1e6
    assert 0 < limits.spare_bytes() < 2**50


def test_copies_of_nothing_are_refused():
    with pytest.raises(ValueError, match="size must be at least 1 byte, received 0"):
        limits.copy_bandwidth(0)


def test_a_case_has_the_better_of_the_limits_before_and_after(monkeypatch):
    measured = iter([3.0, 7.0, 7.0, 3.0])
    monkeypatch.setitem(comparison._LIMITS, "FLOP", lambda: next(measured))
    for _ in range(2):
        assert measure("t", {"fslcore": Entry(list)}, Work(1, "FLOP"), rounds=1).limit == 7.0
    assert measure("t", {"fslcore": Entry(list)}, rounds=1).limit is None


def test_what_does_not_fit_is_named_and_not_called():
    def fail():
        raise AssertionError("called")

    entries = {"fslcore": Entry(list), "tight": Entry(list, 1000), "wide": Entry(fail, 1001)}
    found = measure("t", entries, rounds=1, spare=1000)
    assert [m.name for m in found.measurements] == ["fslcore", "tight"]
    assert found.too_large == {"wide": 1001}


def test_the_table_tells_rates_shares_and_walls():
    times = {"fslcore, graph": 2.0, "theirs": 4.0}
    found = case(8, times, too_large=["huge"], work=Work(6 * 10**9, "FLOP"), limit=4e12)
    text = printed(print_comparison, found)
    ours, theirs = (next(line for line in text.splitlines() if name in line) for name in times)
    assert "GFLOP/s" in text
    assert "3,000" in ours
    assert "75 %" in ours
    assert "1,500" in theirs
    assert theirs.count("%") == 1  # the spread
    assert "huge: does not fit (needs 12.0 GB)" in text


def test_peers_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(libraries, "installed", lambda module: module != "torch")
    assert libraries.missing() == ["torch"]


# ---- files


def test_figures_survive_the_file(tmp_path):
    cases = [
        case(8, {"fslcore": 2.0}, work=Work(5, "B"), limit=3.0, too_large=["huge"]),
        case(16, {"o": 1.5}),
    ]
    write_json(cases, tmp_path / "bench.json")
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["format"] == 2
    assert content["machine"]["threads"] == kernels.num_threads()
    first = content["cases"][0]
    assert (first["work"], first["unit"], first["limit"], first["batch"]) == (5, "B", 3.0, 8)
    assert first["too_large"] == {"huge": 12 * 10**9}
    assert read_json(tmp_path / "bench.json") == records_of(cases)


def test_files_of_the_first_format_are_read(tmp_path):
    """They had no number of the format, and nothing but titles and measurements."""
    measured = {
        "name": "fslcore, graph",
        "milliseconds": 5.25,
        "spread": 0.25,
        "extra_megabytes": 10.5,
        "rounds": 7,
    }
    content = {"machine": {}, "cases": [{"title": "dot 8 x 8", "measurements": [measured]}]}
    (tmp_path / "old.json").write_text(json.dumps(content))
    found = read_json(tmp_path / "old.json")
    assert found["dot 8 x 8", "fslcore, graph"].milliseconds == 5.25


def test_the_published_figures_are_read():
    assert ("dot 1024 x 1024, dim 512, forward", "fslcore, NumPy") in read_json(PUBLISHED)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("not JSON", "written by `fslcore bench --out`"),
        ("[1]", "holds no cases"),
        ('{"format": 3, "cases": []}', "of a format up to 2, received .* of format 3"),
        ('{"format": "2", "cases": []}', "of format '2'"),
        ('{"cases": [{"title": "t"}]}', "incomplete: KeyError"),
        ('{"cases": 5}', "incomplete: TypeError"),
    ],
)
def test_bad_files_are_refused_before_anything_is_timed(content, complaint, tmp_path, capsys, monkeypatch):
    (tmp_path / "old.json").write_text(content)
    fslcore = Fslcore(tmp_path, capsys, monkeypatch)
    message = fslcore.complaint("bench", "gram", "--against", "old.json")
    assert message.startswith("fslcore: --against must be")
    with pytest.raises(ValueError, match=complaint):
        read_json(tmp_path / "old.json")
    assert fslcore.layouts == []
    assert "none.json" in fslcore.complaint("bench", "gram", "--against", "none.json")


# ---- changes


def test_changes_beyond_both_spreads_and_ten_percent():
    before = {("t", name): Record(10.0, 0.05) for name in "abcde"} | {("t", "noisy"): Record(10.0, 0.6)}
    now = {
        ("t", "a"): Record(20.0, 0.05),
        ("t", "b"): Record(5.0, 0.05),
        ("t", "c"): Record(10.9, 0.05),
        ("t", "d"): Record(13.0, 0.4),
        ("t", "noisy"): Record(15.0, 0.0),
        ("t", "new"): Record(99.0, 0.0),
        ("other", "a"): Record(99.0, 0.0),
    }
    assert [(c.name, c.multiple) for c in changes(before, now)] == [("a", 2.0), ("b", 0.5)]
    text = printed(print_changes, before, now)
    assert "2.00" in text
    assert "slower" in text
    assert "faster" in text
    assert "5 of 7 figures" in text


def test_no_change_and_nothing_in_common_are_said():
    now = {("t", "a"): Record(10.0, 0.05)}
    assert "no change beyond the spread and 10 %; 1 of 1 figures" in printed(print_changes, now, now)
    assert "nothing to compare" in printed(print_changes, {("u", "a"): Record(1.0, 0.0)}, now)


def test_a_regression_is_told_and_is_no_failure(tmp_path, capsys, monkeypatch):
    quick = case(8, {"fslcore": 30.0, "theirs": 4.0}, title="gram")
    monkeypatch.setattr("fslcore.bench.run", lambda name, quick_sizes: iter([quick]))
    write_json([case(8, {"fslcore": 3.0, "theirs": 4.0}, title="gram")], tmp_path / "old.json")
    fslcore = Fslcore(tmp_path, capsys, monkeypatch)
    code, out, _ = fslcore("bench", "gram", "--against", "old.json", "--out", "new.json")
    assert code == 0
    assert "slower" in out
    assert "10.00" in out
    assert "GFLOP/s of fused multiply-adds" in out
    code, out, _ = fslcore("bench", "gram", "--against", "new.json")
    assert code == 0
    assert "no change" in out


# ---- pictures


CASES = [
    case(64, {"fslcore, graph": 1.0, "theirs": 2.0, "huge": 9.0}),
    case(256, {"fslcore, graph": 4.0, "theirs": 20.0}, extra=0.0, too_large=["huge"]),
]


def test_series_are_drawn_from_two_sizes_on():
    assert list(series([*CASES, case(8, {"fslcore": 1.0}, title="alone")])) == ["dot"]
    assert [c.batch for c in series(CASES[::-1])["dot"]] == [64, 256]


def test_curves_hold_every_contender_and_mark_the_walls():
    figure = draw_curves(CASES, "dot")
    time, memory = figure.axes
    assert (time.get_xscale(), time.get_yscale(), memory.get_yscale()) == ("log", "log", "log")
    lines = {line.get_label(): line for line in time.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["fslcore, graph", "theirs", "huge"]
    assert lines["theirs"].get_xydata().tolist() == [[64, 2.0], [256, 20.0]]
    assert lines["fslcore, graph"].get_linewidth() > lines["theirs"].get_linewidth()
    crosses = [line.get_xydata().tolist() for line in time.lines if line.get_marker() == "x"]
    assert [[64, 9.0]] in crosses
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*lines, "does not fit beyond"]
    assert all(y >= 1 for line in memory.lines for y in line.get_ydata())
    FigureCanvasAgg(figure).draw()
    with pytest.raises(ValueError, match="cases must hold at least one comparison, received none"):
        draw_curves([], "dot")


def test_pictures_are_written_whole(tmp_path):
    (path,) = draw_all([*CASES, case(8, {"fslcore": 1.0}, title="alone")], tmp_path)
    assert path.name == "dot.png"
    assert [found.name for found in tmp_path.iterdir()] == ["dot.png"]
    with Image.open(path) as picture:
        assert picture.width > 1000

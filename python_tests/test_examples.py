# SPDX-License-Identifier: MIT
"""The example programs run, in their quick forms, and write their results."""

import json
import pathlib
import re
import runpy
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "fslcore" / "docs" / "examples"
# What a program needs beside --quick, on data that is drawn here.
OPTIONS = {
    "triplet_kernels": ["--image-size", "28"],
    "gram_matrix": ["--image-size", "28", "--network", "conv4"],
    "transfer_learning": ["--image-size", "28", "--network", "conv4"],
    "unsupervised": ["--image-size", "28"],
    "caching": ["--image-size", "28"],
}
OF_A_MODEL = ("evaluate", "serving")
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "example")


def run(name, out, monkeypatch, *options):
    """Runs a program in this process, in which TensorFlow is there already; returns what it has written."""
    monkeypatch.syspath_prepend(EXAMPLES)
    path = EXAMPLES / f"{name}.py"
    monkeypatch.setattr(
        sys, "argv", [str(path), "--quick", "--dataset", "glyphs", "--out", str(out), *options]
    )
    runpy.run_path(str(path), run_name="__main__")
    return json.loads((out / "results.json").read_text())


@pytest.fixture(scope="module")
def proto_nets(tmp_path_factory):
    """The results of proto_nets.py, whose learner others use, and their folder."""
    out = tmp_path_factory.mktemp("proto_nets")
    with pytest.MonkeyPatch.context() as monkeypatch:
        return run("proto_nets", out, monkeypatch), out


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # by Keras, of its own default
@pytest.mark.parametrize("name", PROGRAMS)
def test_example(name, proto_nets, tmp_path, monkeypatch):
    if name == "serving":
        pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    if name in ("gram_matrix", "caching"):
        pytest.importorskip("pandas", reason="the extra tables is not installed")
    options = OPTIONS.get(name, [])
    if name in OF_A_MODEL:
        options = ["--model", str(proto_nets[1] / "learner.keras")]
    written = proto_nets[0] if name == "proto_nets" else run(name, tmp_path, monkeypatch, *options)
    assert written["results"]
    assert written["options"]["quick"] is True
    numbers = list(numbers_in(written["results"]))
    assert numbers
    assert all(number == number for number in numbers)  # none is NaN


def numbers_in(results):
    """All numbers of some results."""
    if isinstance(results, dict):
        results = results.values()
    if isinstance(results, (int, float)):
        yield results
    elif not isinstance(results, str) and results is not None:
        for each in results:
            yield from numbers_in(each)


def figures_in(results):
    """All accuracies of some results with their intervals, as the page writes them."""
    if isinstance(results, dict) and results.get("ci95") is not None:
        yield f"{100 * results['accuracy']:.2f} ± {100 * results['ci95']:.2f}"
    elif isinstance(results, dict):
        for each in results.values():
            yield from figures_in(each)


def test_the_figures_of_the_page_are_those_of_full_runs():
    page = (EXAMPLES.parent / "examples.md").read_text()
    listed = set(re.findall(r"^\| \[(\w+)\.py\]", page, re.MULTILINE))
    assert listed == set(PROGRAMS)
    rows = dict(re.findall(r"^\| `(\w+)` (\|.*)$", page, re.MULTILINE))
    assert rows.keys() == {path.stem for path in EXAMPLES.glob("results/*.json")}
    for name, row in rows.items():
        written = json.loads((EXAMPLES / "results" / f"{name}.json").read_text())
        assert not written["options"]["quick"]
        shown = re.findall(r"\d+\.\d\d ± \d+\.\d\d", row)
        assert set(shown) <= set(figures_in(written["results"]))
        assert shown or not list(figures_in(written["results"]))

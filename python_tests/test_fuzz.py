# SPDX-License-Identifier: MIT
"""A short run of the fuzzer, and that it finds what it looks for. fuzz.py says how to run it for longer."""

import fuzz
import fuzz_calls
import fuzz_routes
import numpy as np
import pytest
from fuzz_networks import SPECS
from with_jax import require_jax

CALLS = {"tensorflow": 140, "jax": 260}  # about twenty seconds each on an idle core


def test_every_op_of_the_library_has_its_rules():
    assert fuzz.ops() == sorted(SPECS)


@pytest.mark.parametrize("framework", fuzz_routes.ROUTES)
def test_hostile_calls_are_refused_and_others_are_right(framework):
    if framework == "jax":
        require_jax()
    report = fuzz.fuzz(framework, seed=20, numbers=range(CALLS[framework]))
    assert not report.findings
    assert set(report.calls) == {*fuzz_routes.ROUTES[framework]}
    assert min(report.calls.values()) > CALLS[framework] / 3  # NumPy has fewer ops


# What the fuzzer finds --------------------------------------------------------------------------------


def a_call(accepted):
    """A call of pairwise, changed so that it must be refused, or not."""
    numbers = (fuzz_calls.make("pairwise", 0, number) for number in range(1000))
    calls = (call for call in numbers if call.inputs and call.results is None)
    return next(
        call
        for call in calls
        if (fuzz_calls.acceptable_sizes(call) is True) == accepted and all(call.shapes[0])
    )


def problems(call, monkeypatch, answer):
    monkeypatch.setitem(fuzz_routes._RUN, "numpy", answer)
    monkeypatch.setitem(fuzz_routes.ROUTES, "tensorflow", ("numpy",))
    return [problem for _, problem in fuzz_routes.judge(call, "tensorflow") if problem not in ("", "begins")]


def raises(error):
    def answer(call):
        raise error

    return answer


def test_a_right_answer_is_no_finding(monkeypatch):
    right = fuzz_routes._run_numpy
    assert not problems(a_call(accepted=True), monkeypatch, right)
    assert not problems(a_call(accepted=False), monkeypatch, raises(ValueError("x must")))


def test_wrong_answers_are_findings(monkeypatch):
    call = a_call(accepted=True)
    (out,) = fuzz_routes._run_numpy(call)
    assert problems(call, monkeypatch, lambda call: [out + 1])[0].startswith(
        "result 0 differs from the oracle"
    )
    assert "(1," in problems(call, monkeypatch, lambda call: [out[None]])[0]
    assert "float64" in problems(call, monkeypatch, lambda call: [out.astype(float)])[0]
    assert "refused, but is right" in problems(call, monkeypatch, raises(ValueError("x must")))[0]
    assert "no memory" in problems(call, monkeypatch, raises(MemoryError()))[0]
    assert "another error" in problems(call, monkeypatch, raises(AssertionError()))[0]


def test_a_wrong_acceptance_is_a_finding(monkeypatch):
    answer = lambda call: [np.zeros((1, 1), np.float32)]  # noqa: E731
    assert problems(a_call(accepted=False), monkeypatch, answer) == ["accepted, but is wrong"]


DIES = """
import json, os, sys, time

def tell(number, problem):
    about = {"op": "pairwise", "number": number, "route": "numpy", "changes": [], "problem": problem}
    print(json.dumps(about), flush=True)

for number in range(int(sys.argv[4]), int(sys.argv[5])):
    tell(number, "begins")
    if number == 3:
        os.abort()
    if number == 5:
        time.sleep(60)
    tell(number, "")
"""


def test_a_process_that_dies_or_hangs_is_a_finding_and_the_others_go_on(monkeypatch, tmp_path):
    (tmp_path / "dies.py").write_text(DIES)
    monkeypatch.setattr(fuzz, "__file__", str(tmp_path / "dies.py"))
    monkeypatch.setattr(fuzz, "SECONDS", 5)
    report = fuzz.fuzz("tensorflow", 0, range(8))
    assert [(finding.number, finding.problem.split(":")[0]) for finding in report.findings] == [
        (3, "ended the process with -6"),
        (5, "took more than 5 s"),
    ]
    assert report.calls["numpy"] == 6


def test_a_call_can_be_repeated():
    one, other = (fuzz_calls.make("gather_images", 4, 17) for _ in range(2))
    assert (one.attributes, one.changes) == (other.attributes, other.changes)
    for array, same in zip(one.inputs, other.inputs, strict=True):
        np.testing.assert_array_equal(array, same)

# SPDX-License-Identifier: MIT
"""Raw calls of every op by every front end, with hostile values; each in a process that may die.

A call must neither end the process nor hang, must be refused if the rules of fuzz_ops.py refuse it, and must
give what the oracles and the other front ends give. By hand:

    python python_tests/fuzz.py --calls 2000 [--seed 1] [--op pairwise] [--framework jax] [--number 17]

makes 2000 calls, each by all front ends; `--number` repeats one of them.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading

SECONDS = 400  # without a word from a worker; its imports take minutes on a machine that is too busy
HUNG = "nothing was printed for so long"
MEMORY = 6 << 30  # beyond which a worker gets no more


@dataclasses.dataclass(frozen=True)
class Finding:
    """One call that went wrong.

    Attributes:
        op: The op.
        number: Of the call; with the seed it can be repeated.
        route: The front end.
        changes: What is hostile about the call.
        problem: What happened.
    """

    op: str
    number: int
    route: str
    changes: list[str]
    problem: str


@dataclasses.dataclass
class Report:
    """What many calls gave: how many calls by route, and what went wrong."""

    calls: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    findings: list[Finding] = dataclasses.field(default_factory=list)


def ops() -> list[str]:
    """All ops of the compiled library, from what it has registered with TensorFlow."""
    from fslcore.ops._library import raw_ops

    names = (name.removeprefix("fslcore_") for name in dir(raw_ops) if name.startswith("fslcore_"))
    # A data set computes nothing when it is called; test_episode_dataset.py has what it refuses.
    return sorted(name for name in names if not name.endswith(("eager_fallback", "_dataset")))


def fuzz(framework: str, seed: int, numbers: range, only: str | None = None) -> Report:
    """Makes the calls of these numbers in worker processes, a new one after each that died."""
    report = Report()
    at = numbers.start
    while at < numbers.stop:
        last, ending = _watch(framework, [str(seed), str(at), str(numbers.stop), only or ""], report)
        if not ending:
            break
        of = {key: last[key] for key in ("op", "number", "route", "changes")}
        report.findings.append(Finding(**of, problem=ending))
        at = of["number"] + 1
    return report


def _watch(framework: str, numbers: list[str], report: Report) -> tuple[dict, str]:
    """Fills the report with what a worker says. Returns its last message, and how it went down, if it did."""
    last = {"op": "none", "number": int(numbers[1]), "route": "none", "changes": []}
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, "--work", framework, *numbers]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as worker,
    ):
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=_read, args=(worker, lines))
        reader.start()
        hung = False
        while line := _next(lines):
            if line == HUNG:
                hung = True
                worker.kill()
                break
            if not line.startswith("{"):
                continue
            last = json.loads(line)
            report.calls[last["route"]] += last["problem"] == ""
            if last["problem"] not in ("", "begins"):
                report.findings.append(Finding(**last))
        code = worker.wait()
        reader.join()
        errors.seek(0)
        what = f"took more than {SECONDS} s" if hung else f"ended the process with {code}" if code else ""
        return last, what and f"{what}: {errors.read()[-600:].strip()}"


def _next(lines: queue.Queue[str]) -> str:
    try:
        return lines.get(timeout=SECONDS)
    except queue.Empty:
        return HUNG


def _read(worker: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Hands on what a worker prints, and an empty line at its end."""
    for line in worker.stdout:
        lines.put(line)
    lines.put("")


def _work(framework: str, seed: int, start: int, stop: int, only: str) -> None:
    """The worker: prints one line before each call and one for each problem."""
    import resource
    import warnings

    warnings.simplefilter("ignore")
    import fuzz_calls
    import fuzz_routes
    from fuzz_networks import SPECS

    if framework == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        import fslcore.jax
    else:
        import fslcore.ops  # noqa: F401
    now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    known = sorted(SPECS)
    for number in range(start, stop):
        op = only or known[number % len(known)]
        call = fuzz_calls.make(op, seed, number)
        about = {"op": op, "number": number, "changes": call.changes}
        for route, problem in fuzz_routes.judge(call, framework):
            print(json.dumps({**about, "route": route, "problem": problem}), flush=True)


def main() -> int:
    """The command; its exit code is 1 if anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--op")
    parser.add_argument("--number", type=int)
    parser.add_argument("--framework", choices=("tensorflow", "jax"))
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        framework, seed, start, stop, only = arguments.work
        _work(framework, int(seed), int(start), int(stop), only)
        return 0
    numbers = (
        range(arguments.calls) if arguments.number is None else range(arguments.number, arguments.number + 1)
    )
    found = 0
    for framework in [arguments.framework] if arguments.framework else ["tensorflow", "jax"]:
        report = fuzz(framework, arguments.seed, numbers, arguments.op)
        for finding in report.findings:
            print(finding)
        print(f"{framework}: {dict(report.calls)} calls, {len(report.findings)} findings")
        found += len(report.findings)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())

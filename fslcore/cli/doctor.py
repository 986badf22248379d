# SPDX-License-Identifier: MIT
"""What works on this machine, what does not, and why: `fslcore doctor`. Every check may fail."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable
from importlib import metadata

from fslcore import _tensorflow

_PACKAGES = ("fslcore", "keras", "numpy", "tensorflow-datasets", "matplotlib")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        subject: What was checked.
        state: "ok", "missing" (the rest works without it) or "broken".
        detail: What was found, or why it does not work.
    """

    subject: str
    state: str
    detail: str


def diagnose() -> list[Finding]:
    """Checks versions, the compiled libraries, threads, XLA and CUDA. Never raises."""
    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("versions", _versions),
        ("Keras backend", _backend),
        ("compiled core", _core),
        ("TensorFlow ops", _libraries),
        ("XLA", _xla),
        ("CUDA", _cuda),
    ]
    findings = []
    for subject, check in checks:
        try:
            findings += check()
        except Exception as error:  # the other checks must run whatever is broken
            findings.append(Finding(subject, "broken", f"{type(error).__name__}: {error}"))
    return findings


def _versions() -> list[Finding]:
    findings = [Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")]
    for name in _PACKAGES:
        try:
            findings.append(Finding(name, "ok", metadata.version(name)))
        except metadata.PackageNotFoundError:
            findings.append(Finding(name, "broken", "is not installed"))
    return [*findings, _tensorflow_version()]


def _tensorflow_version() -> Finding:
    found = _tensorflow.find()
    if found is None:
        return Finding("tensorflow", "broken", "is not installed")
    other = f" ({found.distribution})" if found.distribution not in ("tensorflow", "") else ""
    return Finding("tensorflow", "ok", (found.version or f"of unknown version in {found.directory}") + other)


def _backend() -> list[Finding]:
    found = _tensorflow.wrong_backend()
    if found is None:
        return [Finding("Keras backend", "ok", "tensorflow")]
    return [Finding("Keras backend", "broken", _tensorflow.BACKEND_REQUIREMENT.format(found))]


def _core() -> list[Finding]:
    from fslcore import kernels
    from fslcore.cpus import cpu_quota

    forced = os.environ.get("FSLCORE_SIMD")
    simd = kernels.simd_level()
    if forced:
        simd += f" (FSLCORE_SIMD={forced}{'' if forced == simd else ' is not one that this CPU has'})"
    quota = cpu_quota()
    limit = "" if quota is None else f", of which a quota allows the time of {quota:g}"
    return [
        Finding("SIMD level", "ok", simd),
        Finding("threads", "ok", f"{kernels.num_threads()} of {os.cpu_count()} CPUs" + limit),
    ]


def _libraries() -> list[Finding]:
    from fslcore import ops

    return [
        Finding(
            f"library {name}", "broken" if library.problem else "ok", library.problem or str(library.path)
        )
        for name, library in ops.native_libraries().items()
    ]


def _xla() -> list[Finding]:
    import tensorflow as tf

    from fslcore import ops

    x = tf.constant([[0.0], [3.0]])
    compiled = tf.function(lambda: ops.pairwise(x), jit_compile=True)()
    if compiled.numpy().tolist() != [[0.0, 9.0], [9.0, 0.0]]:
        return [Finding("XLA", "broken", f"pairwise compiled by XLA gave {compiled.numpy().tolist()}")]
    return [Finding("XLA", "ok", "the ops compile and run inside jit_compile=True")]


def _cuda() -> list[Finding]:
    import tensorflow as tf

    from fslcore import _core

    built = _core.built_for_cuda
    names, problem = _core.cuda_devices()
    devices = ", ".join(names) if names else problem or "no GPU"
    for_cuda = "with CUDA" if tf.test.is_built_with_cuda() else "without CUDA"
    visible = len(tf.config.list_physical_devices("GPU"))
    return [
        Finding(
            "CUDA kernels",
            "ok" if built and names else "missing",
            f"built with CUDA {built}; {devices}" if built else "not built: no CUDA compiler was found",
        ),
        Finding(
            "CUDA in TensorFlow",
            "ok" if visible else "missing",
            f"TensorFlow is built {for_cuda} and sees {visible} GPUs"
            + ("" if visible and built else "; everything runs on the CPU"),
        ),
    ]


def doctor() -> None:
    """Tell what works on this machine, what does not, and why."""
    import typer

    from fslcore.cli import exits, shared, startup

    with startup.quietly():
        findings = diagnose()
    for finding in findings:
        shared.console.print(
            f"{finding.state:8} {finding.subject:20} {finding.detail}", soft_wrap=True, markup=False
        )
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(exits.FAILED)

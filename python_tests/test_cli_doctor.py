# SPDX-License-Identifier: MIT
"""`fslcore doctor`."""

from __future__ import annotations

import sys

import pytest

from fslcore import cli
from fslcore.cli import doctor


def test_doctor_finds_this_machine_well():
    findings = {finding.subject: finding for finding in doctor.diagnose()}
    assert {finding.state for finding in findings.values()} <= {"ok", "missing"}
    assert findings["SIMD level"].detail.split()[0] in ("avx512bf16", "avx512", "avx2", "neon", "portable")
    assert {"python", "tensorflow", "threads", "library core", "XLA", "CUDA kernels"} <= set(findings)


def test_doctor_tells_a_quota_and_an_instruction_set_that_is_not_used(monkeypatch):
    monkeypatch.setattr("fslcore.cpus.cpu_quota", lambda: 1.5)
    monkeypatch.setenv("FSLCORE_SIMD", "foo")
    findings = {finding.subject: finding.detail for finding in doctor._core()}
    assert findings["threads"].endswith("CPUs, of which a quota allows the time of 1.5")
    assert findings["SIMD level"].endswith("(FSLCORE_SIMD=foo is not one that this CPU has)")


def test_doctor_survives_what_is_broken(monkeypatch):
    def broken() -> list[doctor.Finding]:
        raise ImportError("undefined symbol: _ZN10tensorflow")

    monkeypatch.setattr(doctor, "_libraries", broken)
    findings = {finding.subject: finding for finding in doctor.diagnose()}
    assert findings["TensorFlow ops"].state == "broken"
    assert findings["TensorFlow ops"].detail == "ImportError: undefined symbol: _ZN10tensorflow"
    assert "XLA" in findings


def test_doctor_tells_its_findings(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fslcore", "doctor"])
    monkeypatch.setattr(doctor, "diagnose", lambda: [doctor.Finding("XLA", "broken", "why it is [so]")])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 1
    assert capsys.readouterr().out.split() == ["broken", "XLA", "why", "it", "is", "[so]"]

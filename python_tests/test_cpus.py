# SPDX-License-Identifier: MIT
"""The CPUs that a process may use: affinity, and the quotas of control groups of both versions."""

import os
import subprocess
import sys

import pytest

from fslcore import cpus

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
V1 = "32 31 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"


def machine(root, groups, mounts, files):
    """A file system with these control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(groups) + "\n")
    (root / "proc/self/mountinfo").write_text("\n".join(mounts) + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "quota"),
    [
        pytest.param(["0::/"], [V2], {"cpu.max": "150000 100000"}, 1.5, id="v2, a container"),
        pytest.param(["0::/"], [V2], {"cpu.max": "max 100000"}, None, id="v2, no quota"),
        pytest.param(
            ["0::/user/shell"], [V2], {"user/cpu.max": "200000 100000", "user/shell/cpu.max": "max 100000"},
            2.0, id="v2, of the group above",
        ),
        pytest.param(
            ["0::/a/b"], [V2], {"a/cpu.max": "300000 100000", "a/b/cpu.max": "50000 100000"},
            0.5, id="v2, the least counts",
        ),
        pytest.param(
            ["4:cpu,cpuacct:/docker/1f"], [V1.format(shown="/docker/1f")],
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            2.5, id="v1, a container",
        ),
        pytest.param(
            ["4:cpu,cpuacct:/job"], [V1.format(shown="/")],
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "400000", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
            4.0, id="v1, a group of the machine",
        ),
        pytest.param(
            ["4:cpu,cpuacct:/"], [V1.format(shown="/")],
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            None, id="v1, no quota",
        ),
        pytest.param(
            ["7:cpuset:/x", "4:cpu,cpuacct:/", "0::/"], [V1.format(shown="/"), V2],
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "50000"},
            2.0, id="both",
        ),
        pytest.param(["0::/"], [], {}, None, id="nothing is mounted"),
        pytest.param(["0::/"], [V2], {"cpu.max": "nonsense"}, None, id="not understood"),
    ],
)  # fmt: skip
def test_the_quota_of_a_process(tmp_path, groups, mounts, files, quota):
    assert cpus.cpu_quota(machine(tmp_path, groups, mounts, files)) == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path):
    assert cpus.cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("allowed", "quota", "count"), [(8, None, 8), (8, 1.5, 2), (8, 0.25, 1), (2, 16.0, 2), (8, 3.0, 3)]
)
def test_the_quota_bounds_the_number_of_threads(monkeypatch, allowed, quota, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)))
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    assert cpus.available_cpus() == count


SCRIPT = """
import fslcore.cpus
fslcore.cpus.cpu_quota = lambda: 1.0
from fslcore import kernels
print(kernels.num_threads())
"""


def test_the_kernels_count_a_quota():
    environment = {k: v for k, v in os.environ.items() if k != "FSLCORE_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "1", done.stderr


def test_the_threads_of_tensorflow_count_a_quota(monkeypatch):
    threads = pytest.importorskip("fslcore.threads")
    assert threads.available_cpus is cpus.available_cpus

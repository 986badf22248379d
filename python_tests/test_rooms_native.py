# SPDX-License-Identifier: MIT
"""The house rules of csrc that a reviewer should not have to remember: who may include whom, and threads.

Each rule is a function of a source tree that returns the violations. It holds for csrc, and it is shown to
find a violation where there is one.
"""

import pathlib
import re

import pytest

CSRC = pathlib.Path(__file__).parent.parent / "csrc"

NATIVE_SUFFIXES = {".h", ".cc", ".cu", ".cuh", ".inl"}
FRAMEWORKS = ("pybind11", "Python.h", "tensorflow/", "xla/", "absl/", "tsl/")
# Core <- cuda <- bindings; tests see the core and cuda, and so do benchmarks, which run the tests first.
FORBIDDEN = {
    "core": (*FRAMEWORKS, "cuda", "bindings/", "tests/", "bench/"),
    "cuda": (*FRAMEWORKS, "bindings/", "tests/", "bench/"),
    "bindings": ("tests/", "bench/"),
    "tests": (*FRAMEWORKS, "bindings/", "bench/"),
    "bench": (*FRAMEWORKS, "bindings/"),
}
# The families of kernels, lowest first: each knows itself and those of the lines above.
FAMILIES = (
    {"arrays"},
    {"threads"},
    {"simd", "random"},
    {"pairwise", "episodes", "images"},
    {"triplets", "convolution", "norms", "reductions", "search"},
    {"fitting"},
)
LAYER = {family: layer for layer, families in enumerate(FAMILIES) for family in families}
# Names of metrics, with library code that no file built for one instruction set calls.
NOT_USED_BY_BODIES = "core/pairwise/metric.h"

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
# The threads are the caller's: kernels start none, and only core/threads waits for any.
STARTS_THREADS = re.compile(
    r"<(thread|future|execution|pthread\.h|omp\.h)>|\bstd::(thread|jthread|async)\b|\bpthread_create\b"
    r"|#\s*pragma\s+omp\b"
)
WAITS_FOR_THREADS = re.compile(
    r"<(mutex|shared_mutex|condition_variable|semaphore|latch|barrier)>"
    r"|\bstd::(\w*mutex|condition_variable)\b"
)


def files(csrc, *rooms):
    """The source files of these rooms, as paths within csrc."""
    found = (path for room in rooms for path in sorted((csrc / room).rglob("*")))
    return [path.relative_to(csrc) for path in found if path.suffix in NATIVE_SUFFIXES]


def included(csrc, *rooms):
    """(file, header) for each #include of these rooms."""
    return [(path, h) for path in files(csrc, *rooms) for h in INCLUDE.findall((csrc / path).read_text())]


def family(path):
    """The family of a file, or of a header as it is included; None for what lies directly in a room.

    A binding belongs to the family of its folder, or in bindings/ops to that of its name.
    """
    room, *folders, name = pathlib.PurePath(path).parts
    if (room, *folders) == ("bindings", "ops"):
        return pathlib.PurePath(name).stem
    return folders[0] if folders else None


def is_vocabulary(csrc, header):
    """Whether a header of the core needs arrays and vocabulary alone: constants, structs, small functions."""
    path = csrc / header
    if not path.exists():
        return False
    core = [h for h in INCLUDE.findall(path.read_text()) if h.startswith("core/")]
    return all(family(h) == "arrays" or is_vocabulary(csrc, h) for h in core)


def forbidden_includes(csrc):
    rooms = [room for room in FORBIDDEN if (csrc / room).exists()]
    return [
        f"{path}: {h}" for room in rooms for path, h in included(csrc, room) if h.startswith(FORBIDDEN[room])
    ]


def includes_of_higher_families(csrc):
    def may(path, header):
        own, other = family(path), family(header)
        if own is None or other in (None, own) or (own == "simd" and is_vocabulary(csrc, header)):
            return True
        return LAYER[other] < LAYER[own]

    kernels = [(p, h) for p, h in included(csrc, "core", "cuda") if h.startswith(("core/", "cuda/"))]
    return [f"{path}: {header}" for path, header in kernels if not may(path, header)]


def folders_in_no_layer(csrc):
    rooms = [csrc / room for room in ("core", "cuda")]
    folders = [path for room in rooms if room.exists() for path in room.iterdir() if path.is_dir()]
    return [str(path.relative_to(csrc)) for path in folders if path.name not in LAYER]


def includes_of_other_bindings(csrc):
    """A family knows itself and what lies directly in csrc/bindings, of which one file lists the families.

    That file is for the front ends: through it, a family would know the others.
    """
    bindings = [(path, h) for path, h in included(csrc, "bindings") if h.startswith("bindings/")]
    lists = sorted({p.as_posix() for p, h in bindings if family(p) is None and family(h) is not None})
    others = [
        f"{path}: {h}"
        for path, h in bindings
        if family(path) is not None and (h in lists or family(h) not in (None, family(path)))
    ]
    return others + [f"{path}: lists families, as {lists[0]} does" for path in lists[1:]]


def threads_of_kernels(csrc):
    texts = {path: (csrc / path).read_text() for path in files(csrc, "core", "cuda")}
    starting = [f"{path}: {m[0]}" for path, text in texts.items() if (m := STARTS_THREADS.search(text))]
    others = {path: text for path, text in texts.items() if not path.is_relative_to("core/threads")}
    return starting + [
        f"{path}: {m[0]}" for path, text in others.items() if (m := WAITS_FOR_THREADS.search(text))
    ]


def library_code_in_files_built_for_one_instruction_set(csrc):
    # A function template of the library instantiated in an AVX-512 file may be the copy that the linker keeps
    # for all files, and then crash an older CPU.
    allowed = {"immintrin.h", "math.h", "stdint.h", "cmath", "cstdint"}
    found = [path.relative_to(csrc).as_posix() for path in (csrc / "core" / "simd").rglob("*avx*.cc")]
    bad = []
    for path in found:  # grows by what each file includes
        text = (csrc / path).read_text()
        headers = INCLUDE.findall(text)
        bad += [f"{path}: {h}" for h in headers if h not in allowed and not h.startswith("core/")]
        bad += [f"{path}: uses std::"] if "std::" in text else []
        found += [h for h in headers if (csrc / h).exists() and h not in (*found, NOT_USED_BY_BODIES)]
    return bad


RULES = [
    forbidden_includes,
    includes_of_higher_families,
    folders_in_no_layer,
    includes_of_other_bindings,
    threads_of_kernels,
    library_code_in_files_built_for_one_instruction_set,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_sources_keep(rule):
    assert {"core", "cuda", "bindings"} <= {path.name for path in CSRC.iterdir()}
    assert not rule(CSRC)


VIOLATIONS = [
    (forbidden_includes, "core/pairwise/pairwise.cc", '#include "cuda/launch.h"'),
    (forbidden_includes, "cuda/pairwise/pairwise.cu", "#include <pybind11/pybind11.h>"),
    (includes_of_higher_families, "core/pairwise/pairwise.h", '#include "core/triplets/mining.h"'),
    (includes_of_higher_families, "cuda/images/images.cu", '#include "cuda/pairwise/tile.h"'),
    (includes_of_higher_families, "core/simd/kernels.h", '#include "core/pairwise/pairwise.h"'),
    (folders_in_no_layer, "core/misc/misc.h", ""),
    (includes_of_other_bindings, "bindings/pairwise/tf.cc", '#include "bindings/triplets/attributes.h"'),
    (includes_of_other_bindings, "bindings/ops/pairwise.h", '#include "bindings/ops/triplets.h"'),
    (threads_of_kernels, "core/threads/team.h", "#include <thread>"),
    (threads_of_kernels, "core/images/images.cc", "#pragma omp parallel for"),
    (threads_of_kernels, "core/images/images.cc", "auto result = std::async(work);"),
    (threads_of_kernels, "cuda/images/images.cu", "#include <condition_variable>"),
    (
        library_code_in_files_built_for_one_instruction_set,
        "core/simd/levels/k_avx2.cc",
        "#include <algorithm>",
    ),
    (library_code_in_files_built_for_one_instruction_set, "core/simd/levels/k_avx2.cc", "std::sort(a, b);"),
]


@pytest.mark.parametrize(
    ("rule", "path", "line"), VIOLATIONS, ids=[f"{path} {line}" for _, path, line in VIOLATIONS]
)
def test_a_violation_is_found(tmp_path, rule, path, line):
    assert not rule(tmp_path)
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(line + "\n")
    (found,) = rule(tmp_path)
    assert found.startswith((path, str(file.parent.relative_to(tmp_path))))


def test_one_file_lists_the_families_of_bindings(tmp_path):
    folder = tmp_path / "bindings"
    (folder / "ops").mkdir(parents=True)
    (folder / "ops" / "pairwise.h").touch()
    (folder / "ops.h").write_text('#include "bindings/ops/pairwise.h"\n')
    (folder / "tf.cc").write_text('#include "bindings/ops.h"\n')
    assert not includes_of_other_bindings(tmp_path)
    (folder / "tf.cc").write_text('#include "bindings/ops/pairwise.h"\n')
    assert includes_of_other_bindings(tmp_path) == ["bindings/tf.cc: lists families, as bindings/ops.h does"]
    (folder / "tf.cc").unlink()
    (folder / "ops" / "pairwise.h").write_text('#include "bindings/ops.h"\n')
    assert includes_of_other_bindings(tmp_path) == ["bindings/ops/pairwise.h: bindings/ops.h"]


def test_library_code_is_found_in_what_the_files_include(tmp_path):
    levels = tmp_path / "core" / "simd" / "levels"
    levels.mkdir(parents=True)
    (levels / "kernels_avx2.cc").write_text('#include "core/simd/rows.inl"\n')
    (levels.parent / "rows.inl").write_text("#include <algorithm>\n")
    (found,) = library_code_in_files_built_for_one_instruction_set(tmp_path)
    assert found == "core/simd/rows.inl: algorithm"

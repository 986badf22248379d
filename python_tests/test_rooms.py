# SPDX-License-Identifier: MIT
"""The house rules that a reviewer should not have to remember: imports, sizes, licences, public names."""

import ast
import inspect
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def described(path, text):
    return f"{path.relative_to(ROOT)}: {text}"


HAND_WRITTEN = [
    path
    for folder in ("csrc", "fslcore", "python_tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".h", ".cc", ".cu", ".cuh", ".inl"}
]


def test_files_stay_within_400_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in HAND_WRITTEN}
    assert not [described(path, f"{length} lines") for path, length in lengths.items() if length > 400]


def test_files_name_their_licence_first():
    first_lines = {path: path.read_text().partition("\n")[0] for path in HAND_WRITTEN}
    assert not [str(path) for path, line in first_lines.items() if "SPDX-License-Identifier: MIT" not in line]


def imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def test_the_oracles_share_nothing_with_the_package():
    oracles = [*(ROOT / "python_tests").glob("oracles*.py")]
    allowed = {*sys.stdlib_module_names, "numpy", *(path.stem for path in oracles)}
    imported = {name.partition(".")[0] for path in oracles for name in imported_by(path)}
    assert imported <= allowed


def test_ops_and_twins_know_no_keras():
    package = ROOT / "fslcore"
    rooms = {"kernels", "kernels.py", "ops", "twins"}
    files = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] in rooms]
    assert files
    assert not [
        described(path, name) for path in files for name in imported_by(path) if name.startswith("keras")
    ]


@pytest.mark.parametrize("module", ["fslcore", "fslcore.kernels"])
def test_tensorflow_is_not_imported_by(module):
    script = (
        f"import sys, {module}; print(sorted({{'tensorflow', 'keras', 'matplotlib'}} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


KERNELS = [
    "affine_images",
    "affine_transforms",
    "gather_affine",
    "gather_images",
    "mine_hard",
    "mine_semihard",
    "mine_triplets",
    "nearest",
    "pair_reductions",
    "pair_reductions_grad",
    "pair_sums",
    "pairwise",
    "pairwise_grad",
    "pairwise_norms",
    "pairwise_norms_grad",
    "permutations",
    "sample_episodes",
    "triplet_hard",
    "triplet_loss",
    "triplet_semihard",
]


def test_public_names_of_the_kernels():
    from fslcore import arguments, kernels

    others = [
        *(
            "AFFINE_PARAMETERS",
            "METRICS",
            "MININGS",
            "MIXED_NORMS",
            "NORMS",
            "PAIR_METRICS",
            "SEARCH_METRICS",
            "TRIPLET_METRICS",
        ),
        *("Classes", "NO_LABEL", "NearestResult", "NormsGradient", "PairReductions", "PairSums", "PairTerm"),
        "TripletResult",
        *("group_labels", "num_threads", "set_num_threads", "simd_level"),
    ]
    assert sorted(kernels.__all__) == sorted(KERNELS + others)
    assert kernels.METRICS == arguments.METRICS
    assert kernels.TRIPLET_METRICS == ("sqeuclidean", "euclidean", "cosine")
    assert kernels.TripletResult._fields == ("loss", "grad", "num_pairs")


@pytest.mark.parametrize("function", KERNELS)
def test_ops_take_the_arguments_of_the_kernels(function):
    from fslcore import kernels, ops

    def arguments(module):
        parameters = inspect.signature(getattr(module, function)).parameters.values()
        # The arrays of the kernels never leave the CPU, which has one precision.
        return [(p.name, p.default, p.kind) for p in parameters if p.name != "precision"]

    assert function in ops.__all__
    assert arguments(ops) == arguments(kernels)


SIGNATURES = {
    "pairwise": "x y=None metric='sqeuclidean' weights=None bias=0.0 activation=None",
    "pairwise_grad": "x y grad metric='sqeuclidean' weights=None bias=0.0 activation=None out=None",
    "pairwise_norms": "x y=None norms=('product', 'sum', 'absolute', 'squared') hidden hidden_bias mixing "
    "weights bias=0.0 activation=None unit='row'",
    "pairwise_norms_grad": "x y grad norms=('product', 'sum', 'absolute', 'squared') hidden hidden_bias "
    "mixing weights bias=0.0 activation=None unit='row'",
    "nearest": "queries rows k metric='sqeuclidean'",
    "pair_reductions": (
        "x labels terms y=None y_labels=None metric='sqeuclidean' weights=None levels=None leading=False"
    ),
    "pair_reductions_grad": (
        "x labels terms values grad y=None y_labels=None metric='sqeuclidean' weights=None levels=None "
        "leading=False"
    ),
    "pair_sums": (
        "x labels terms y=None y_labels=None metric='sqeuclidean' weights=None levels=None leading=False "
        "factors=None"
    ),
    "mine_triplets": "x labels mining='semihard' metric='sqeuclidean'",
    "triplet_loss": "x labels mining='semihard' margin=1.0 metric='sqeuclidean'",
    "mine_semihard": "x labels metric='sqeuclidean'",
    "mine_hard": "x labels metric='sqeuclidean'",
    "triplet_semihard": "x labels margin=1.0 metric='sqeuclidean'",
    "triplet_hard": "x labels margin=1.0 metric='sqeuclidean'",
    "sample_episodes": "labels n_way k_shot n_query episodes seed first_episode=0",
    "permutations": "n count seed first=0",
    "affine_images": "images transforms size=None fill='constant' fill_value=0.0",
    "affine_transforms": "distributions sizes numbers seed step",
    "gather_affine": (
        f"store indices transforms rotations=None scale={1 / 255} shift=0.0 size=None fill='constant' "
        "fill_value=0.0"
    ),
    "gather_images": f"store indices rotations=None scale={1 / 255} shift=0.0 size=None",
}


@pytest.mark.parametrize("function", KERNELS)
def test_signatures_are_the_published_ones(function):
    from fslcore import kernels

    def text(parameter):
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        return parameter.name + default

    parameters = inspect.signature(getattr(kernels, function)).parameters.values()
    assert " ".join(text(parameter) for parameter in parameters) == SIGNATURES[function]

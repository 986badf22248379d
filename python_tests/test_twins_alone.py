# SPDX-License-Identifier: MIT
"""The twins run where the package has no compiled library: a copy of its sources alone."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import oracles
import oracles_adam
import oracles_convolution
import pytest
from asserts import float32_exactly, gamma
from inputs import integers, normal
from mining import METRICS, MININGS, SIXTEEN_PAIRS
from pairwise_cases import EXACT, WEIGHTED

SOURCES = pathlib.Path(__file__).parent.parent / "fslcore"

# Runs in the copy: reads the arrays of inputs.npz, and writes what the twins return to results.npz.
SCRIPT = """
import pathlib
import sys

sys.path.insert(0, ".")
# An editable installation would be found before the copy.
sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]

import numpy as np

from fslcore import arguments, twins

assert pathlib.Path(twins.__file__).is_relative_to(pathlib.Path.cwd()), twins.__file__
inputs = np.load("inputs.npz")
x, labels, same = inputs["x"], inputs["labels"], inputs["labels"][:, None] == inputs["labels"]
results = {}
for metric in arguments.METRICS:
    options = {"weights": x[0], "bias": 2.0} if metric == "weighted_manhattan" else {}
    results[f"pairwise {metric}"] = twins.pairwise(x, metric=metric, **options)
for mining in arguments.MININGS:
    for metric in arguments.TRIPLET_METRICS:
        results[f"mine {mining} {metric}"] = twins.mine_triplets(x, labels, mining, metric)
        results[f"loss {mining} {metric}"] = twins.triplet_loss(x, labels, mining, 24.0, metric)
    of_distances = twins.triplet_loss_of_distances(inputs["distances"], same, mining, 24.0)
    results[f"loss {mining} of distances"] = of_distances
names = ("images", "kernel", "gamma", "beta")
block = twins.conv_block(*(inputs[name] for name in names), strides=1, pool_size=2, epsilon=0.25)
results["conv_block"], results["conv_block mean"] = block.outputs, block.mean
step = twins.adam_step(
    [inputs["kernel"]], [inputs["gradient"]], [inputs["square"]], 0.5,
    learning_rate=0.5, beta_2=0.75, epsilon=1.0,
)
results["adam weights"], results["adam squares"] = step.weights[0], step.squares[0]
np.savez("results.npz", **{name: np.asarray(result) for name, result in results.items()})
print(*sorted(name for name in sys.modules if name.startswith("fslcore.")))
"""

INPUTS = {
    "x": integers(1, 11, 3),
    "labels": SIXTEEN_PAIRS,
    "distances": integers(2, 11, 11),
    "images": integers(3, 3, 6, 7, 2),
    "kernel": integers(4, 3, 3, 2, 5),
    "gamma": normal(5, 5),
    "beta": normal(6, 5),
    "gradient": integers(7, 3, 3, 2, 5),
    "square": np.float32(0.5) + np.square(integers(8, 3, 3, 2, 5)),
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The arrays that the script computed, and the modules of the package that it imported."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copytree(SOURCES, folder / "fslcore", ignore=lambda _, names: {n for n in names if ".so" in n})
    assert not list(folder.rglob("*.so"))
    np.savez(folder / "inputs.npz", **INPUTS)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "results.npz") as results:
        return dict(results), done.stdout.split()


def test_no_compiled_library_is_imported(alone):
    _, modules = alone
    assert "fslcore.twins" in modules
    assert not {"fslcore._core", "fslcore.kernels", "fslcore.ops"} & set(modules)


@pytest.mark.parametrize("metric", [metric for metric in EXACT if metric != "euclidean"])
def test_pairwise_is_exact_on_integers(alone, metric):
    x = INPUTS["x"]
    options = {"weights": x[0], "bias": 2.0} if metric == WEIGHTED else {}
    want = oracles.pairwise(x, metric=metric, **options)
    np.testing.assert_array_equal(alone[0][f"pairwise {metric}"], float32_exactly(want), strict=True)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_pairwise_with_roots(alone, metric):
    want = oracles.pairwise(INPUTS["x"], metric=metric)
    # Integers: only roots, quotients and the few sums of a cosine round, of numbers up to 28.
    np.testing.assert_allclose(alone[0][f"pairwise {metric}"], want, rtol=gamma(32), atol=gamma(32))


@pytest.mark.parametrize("mining", MININGS)
def test_triplets_are_exact_on_integers(alone, mining):
    x, labels = INPUTS["x"], INPUTS["labels"]
    mined = oracles.mine_triplets(x, labels, mining)
    np.testing.assert_array_equal(alone[0][f"mine {mining} sqeuclidean"], np.stack(mined))


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("metric", METRICS)
def test_triplet_losses(alone, mining, metric):
    want = oracles.triplet_loss(INPUTS["x"], INPUTS["labels"], mining, 24.0, metric).loss
    assert float(alone[0][f"loss {mining} {metric}"]) == pytest.approx(want, rel=gamma(64))


@pytest.mark.parametrize("mining", MININGS)
def test_losses_of_distances(alone, mining):
    distances, labels = INPUTS["distances"], INPUTS["labels"]
    anchor, positive, negative = oracles.mine_triplets_of_distances(distances, labels, mining)
    terms = np.maximum(distances[anchor, positive] - distances[anchor, negative] + 24, 0)
    assert float(alone[0][f"loss {mining} of distances"]) == pytest.approx(np.mean(terms), rel=gamma(2))


def test_conv_block(alone):
    names = ("images", "kernel", "gamma", "beta")
    want = oracles_convolution.conv_block(*(INPUTS[name] for name in names), 1, 2, 0.25)
    # 126 positions of integers up to 18 * 64 are averaged; a variance of thousands leaves digits to spare.
    bound = gamma(4 * 126 + 64)
    np.testing.assert_allclose(alone[0]["conv_block mean"], want.mean, rtol=0, atol=bound * 18 * 64)
    np.testing.assert_allclose(alone[0]["conv_block"], want.outputs, rtol=0, atol=bound * 16)


def test_adam_step(alone):
    options = {"learning_rate": 0.5, "beta_2": 0.75, "epsilon": 1.0}
    arrays = [[INPUTS[name]] for name in ("kernel", "gradient", "square")]
    weights, squares, _ = oracles_adam.adam_step(*arrays, 0.5, **options)
    np.testing.assert_allclose(alone[0]["adam weights"], weights[0], rtol=0, atol=gamma(16) * 8)
    np.testing.assert_allclose(alone[0]["adam squares"], squares[0], rtol=gamma(4))

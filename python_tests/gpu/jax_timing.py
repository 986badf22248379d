# SPDX-License-Identifier: MIT
"""Times the handlers on JAX's first device beside jnp formulations, torch.cdist and PyTorch Metric Learning.

python python_tests/gpu/jax_timing.py [--quick]

Medians of interleaved rounds, forward and backward together; what is not installed is left out. On a GPU
torch runs there too. All contenders of a case are compared with the first before they are timed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)  # labels are int64

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import fslcore.jax as ops  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

Call = Callable[[], Any]


def main() -> None:
    """Prints a table of each case."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    quick = parser.parse_args().quick
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}, torch {torch and torch.__version__}")
    for metric, rows, dim in [("sqeuclidean", 4096, 512), ("euclidean", 4096, 512), ("manhattan", 4096, 256)]:
        rows, dim = (200, 30) if quick else (rows, dim)
        report(f"{metric} {rows} x {dim}, forward + backward", pairwise_calls(metric, rows, dim), quick)
    for batch in (120,) if quick else (256, 4096):
        report(f"triplet_semihard {batch} x 128, 4 per class", triplet_calls(batch), quick)


def report(title: str, calls: dict[str, Call], quick: bool) -> None:
    """Checks that all give the same gradient, then times them in turns."""
    results = {name: _on_host(call()) for name, call in calls.items()}
    first = next(iter(results.values()))
    for name, result in results.items():
        if name != "PyTorch Metric Learning":  # whose semi-hard triplets are others
            np.testing.assert_allclose(
                result, first, rtol=1e-2, atol=1e-3 * np.abs(first).max(), err_msg=name
            )
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(3 if quick else 30):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    print(f"\n{title}")
    ours = statistics.median(next(iter(times.values())))
    for name, taken in times.items():
        print(
            f"  {name:28} {statistics.median(taken):9.3f} ms  {statistics.median(taken) / ours:7.2f} x ours"
        )


def _on_host(result: Any) -> Any:
    return np.asarray(result.cpu() if torch and isinstance(result, torch.Tensor) else result)


def _finished(result: Any) -> Any:
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


def _jax_call(score: Callable[..., Any], *arrays: Any) -> Call:
    gradient = jax.jit(jax.grad(score))
    device_arrays = [jnp.asarray(array) for array in arrays]
    return lambda: jax.block_until_ready(gradient(*device_arrays))


def pairwise_calls(metric: str, rows: int, dim: int) -> dict[str, Call]:
    """The gradient, with respect to x, of the sum of all pairs' distances to y."""
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(rows, dim)).astype(np.float32) for _ in range(2))

    def by_products(x: Any, y: Any) -> Any:
        square = jnp.sum(x * x, 1)[:, None] + jnp.sum(y * y, 1) - 2 * jnp.matmul(x, y.T, precision="highest")
        square = jnp.maximum(square, 0)
        return jnp.sum(jnp.sqrt(square) if metric == "euclidean" else square)

    def by_rows(x: Any, y: Any) -> Any:
        return jnp.sum(jax.lax.map(lambda row: jnp.sum(jnp.abs(row - y), axis=1), x, batch_size=64))

    calls = {
        "fslcore": _jax_call(lambda x, y: jnp.sum(ops.pairwise(x, y, metric)), x, y),
        "jnp": _jax_call(by_rows if metric == "manhattan" else by_products, x, y),
    }
    if torch:
        calls["torch.cdist"] = _torch_cdist(metric, x, y)
    return calls


def _torch_cdist(metric: str, x: Any, y: Any) -> Call:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    given, other = torch.tensor(x, device=device, requires_grad=True), torch.tensor(y, device=device)

    def call() -> Any:
        distances = torch.cdist(given, other, p=1.0 if metric == "manhattan" else 2.0)
        total = (distances**2).sum() if metric == "sqeuclidean" else distances.sum()
        return _finished(torch.autograd.grad(total, given)[0])

    return call


def triplet_calls(batch: int) -> dict[str, Call]:
    """The gradient of the semi-hard loss."""
    x = np.random.default_rng(0).normal(size=(batch, 128)).astype(np.float32)
    labels = np.arange(batch) % (batch // 4)

    def sorted_search(x: Any, labels: Any) -> Any:
        square = jnp.sum(x * x, 1)[:, None] + jnp.sum(x * x, 1) - 2 * jnp.matmul(x, x.T, precision="highest")
        same = labels[:, None] == labels
        of_negatives = jnp.where(same, jnp.inf, square)
        order = jnp.argsort(of_negatives, axis=1)
        ranked = jnp.take_along_axis(of_negatives, order, axis=1)
        beyond = jax.vmap(lambda row, limits: jnp.searchsorted(row, limits, side="right"))(ranked, square)
        last = jnp.sum(~same, axis=1)[:, None] - 1
        negative = jnp.take_along_axis(order, jnp.minimum(beyond, last), axis=1)
        margins = square - jnp.take_along_axis(square, negative, axis=1) + 1.0
        pairs = same & ~jnp.eye(batch, dtype=bool)
        return jnp.sum(jnp.where(pairs, jnp.maximum(margins, 0.0), 0.0)) / jnp.sum(pairs)

    ours = lambda x, labels: ops.triplet_semihard(x, labels).loss  # noqa: E731
    calls = {"fslcore": _jax_call(ours, x, labels), "jnp, sorted": _jax_call(sorted_search, x, labels)}
    if torch and batch <= 256:  # its triplets are listed by comparing all with all: batch^3 of them
        with contextlib.suppress(ImportError):
            calls["PyTorch Metric Learning"] = _metric_learning(x, labels)
    return calls


def _metric_learning(x: Any, labels: Any) -> Call:
    from pytorch_metric_learning import losses, miners

    device = "cuda" if torch.cuda.is_available() else "cpu"
    given = torch.tensor(x, device=device, requires_grad=True)
    labels = torch.tensor(labels, device=device)
    miner, loss = (
        miners.TripletMarginMiner(margin=1.0, type_of_triplets="semihard"),
        losses.TripletMarginLoss(1.0),
    )

    def call() -> Any:
        return _finished(torch.autograd.grad(loss(given, labels, miner(given, labels)), given)[0])

    return call


if __name__ == "__main__":
    main()

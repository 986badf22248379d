# SPDX-License-Identifier: MIT
# The compiled module; its documented face is fslcore.kernels.
from typing import Any

import numpy as np
import numpy.typing as npt

metrics: tuple[str, ...]
built_for_tensorflow: str | None
built_for_cuda: str | None

def cuda_devices() -> tuple[list[str], str]: ...
def simd_level() -> str: ...
def best_simd_level() -> str: ...
def num_threads() -> int: ...
def set_num_threads(threads: int, /) -> None: ...
def pairwise(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    metric: str,
    weights: npt.NDArray[Any],
    bias: float,
    activation: str,
    /,
) -> npt.NDArray[np.float32]: ...
def pairwise_grad(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    grad: npt.NDArray[Any],
    metric: str,
    weights: npt.NDArray[Any],
    bias: float,
    activation: str,
    /,
) -> tuple[Any, ...]: ...
def mine_triplets(
    x: npt.NDArray[Any], labels: npt.NDArray[Any], mining: str, metric: str, /
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]: ...
def triplet_loss(
    x: npt.NDArray[Any], labels: npt.NDArray[Any], mining: str, margin: float, metric: str, /
) -> tuple[float, npt.NDArray[np.float32], int]: ...

class Classes:
    def __init__(self, labels: npt.NDArray[Any], /) -> None: ...
    @property
    def count(self) -> int: ...

def sample_episodes(
    classes: Classes,
    n_way: int,
    k_shot: int,
    n_query: int,
    episodes: int,
    seed: int,
    first_episode: int,
    /,
) -> npt.NDArray[np.int32]: ...
def gather_images(
    store: npt.NDArray[np.uint8],
    indices: npt.NDArray[Any],
    rotations: npt.NDArray[Any],
    height: int,
    width: int,
    scale: float,
    shift: float,
    /,
) -> npt.NDArray[np.float32]: ...
def multiply_add_rate() -> float: ...
def copy_rate(bytes: int, /) -> float: ...

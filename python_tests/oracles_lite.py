# SPDX-License-Identifier: MIT
"""EfficientNet-Lite0 in NumPy, from the tensors of the published file; one loop per kernel position."""

import numpy as np

# Repeats, kernel, first stride, expansion: table 1 of Tan and Le (2019), without squeeze-and-excitation.
BLOCKS = [(1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6)]


def convolution(x, weight, stride, depthwise=False):
    """Images [B, H, W, C], weight [O, I, k, k] of PyTorch, padding of TensorFlow's "same"."""
    k = weight.shape[2]
    sizes = [-(-n // stride) for n in x.shape[1:3]]
    pads = [max((m - 1) * stride + k - n, 0) for m, n in zip(sizes, x.shape[1:3], strict=True)]
    x = np.pad(x, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
    total = 0.0
    for i in range(k):
        for j in range(k):
            part = x[
                :, i : i + stride * (sizes[0] - 1) + 1 : stride, j : j + stride * (sizes[1] - 1) + 1 : stride
            ]
            w = weight[:, :, i, j]
            total = total + (part * w[:, 0] if depthwise else part @ w.T)
    return total


def normalised(x, state, name):
    scale, shift, mean, variance = (
        np.float64(state[f"{name}.{part}"]) for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-3) * scale + shift


def relu6(x):
    return np.clip(x, 0, 6)


def lite0_stages(state, pixels):
    """What the stem, each block and the head return, for pixels of 0 to 255 [B, S, S, 3], in float64."""

    def step(x, name, norm, stride=1, depthwise=False):
        return normalised(convolution(x, np.float64(state[f"{name}.weight"]), stride, depthwise), state, norm)

    x = relu6(step((np.float64(pixels) - 127) / 128, "_conv_stem", "_bn0", 2))
    stages, number = [x], 0
    for repeats, _, first_stride, expansion in BLOCKS:
        for repeat in range(repeats):
            at, before = f"_blocks.{number}.", x
            if expansion > 1:
                x = relu6(step(x, f"{at}_expand_conv", f"{at}_bn0"))
            stride = first_stride if repeat == 0 else 1
            x = relu6(step(x, f"{at}_depthwise_conv", f"{at}_bn1", stride, True))
            x = step(x, f"{at}_project_conv", f"{at}_bn2")
            x = x + before if repeat else x
            stages.append(x)
            number += 1
    stages.append(relu6(step(x, "_conv_head", "_bn1")))
    return stages


def within_class_whitening(train, labels, x, shrinkage):
    """Centred, times the inverse root of the covariance within classes plus a multiple of the identity."""
    train = np.float64(train)
    scatter = np.zeros((train.shape[1], train.shape[1]))
    for label in set(labels.tolist()):
        rows = train[labels == label]
        for row in rows - rows.mean(axis=0):
            scatter += np.outer(row, row)
    scatter /= len(train) - len(set(labels.tolist()))
    scatter += shrinkage * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    u, s, vt = np.linalg.svd(scatter)
    z = (np.float64(x) - train.mean(axis=0)) @ (u / np.sqrt(s) @ vt)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def centred_pca(train, x, components, power):
    """Centred, projected to the main directions times eigenvalue^-power, divided by the length."""
    mean = np.mean(np.float64(train), axis=0)
    _, spread, directions = np.linalg.svd(np.float64(train) - mean, full_matrices=False)
    eigenvalues = spread**2 / (len(train) - 1)
    z = (np.float64(x) - mean) @ directions[:components].T * eigenvalues[:components] ** -power
    return z / np.linalg.norm(z, axis=1, keepdims=True)

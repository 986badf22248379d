# SPDX-License-Identifier: MIT
"""Weights of EfficientNet-Lite0 that are made up, in memory and in a file of PyTorch's old format."""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict

import numpy as np

from fslcore.encoders.imagenet import lite


def made_up(seed=0):
    """A state dict of the right names and shapes, whose activations stay of order one."""
    rng = np.random.default_rng(seed)
    state = {}

    def convolution(name, norm, out, into, k):
        state[f"{name}.weight"] = rng.normal(0, (2 / (into * k * k)) ** 0.5, (out, into, k, k)).astype("f4")
        state[f"{norm}.weight"] = rng.uniform(0.5, 1.5, out).astype("f4")
        state[f"{norm}.bias"] = rng.normal(0, 0.5, out).astype("f4")
        state[f"{norm}.running_mean"] = rng.normal(0, 0.3, out).astype("f4")
        state[f"{norm}.running_var"] = rng.uniform(0.5, 2, out).astype("f4")
        state[f"{norm}.num_batches_tracked"] = np.int64(7)

    convolution("_conv_stem", "_bn0", lite.STEM, 3, 3)
    number, channels = 0, lite.STEM
    for repeats, kernel, _, expansion, filters in lite.STAGES:
        for _ in range(repeats):
            at, wide = f"_blocks.{number}.", channels * expansion
            if expansion > 1:
                convolution(f"{at}_expand_conv", f"{at}_bn0", wide, channels, 1)
            convolution(f"{at}_depthwise_conv", f"{at}_bn1", wide, 1, kernel)
            convolution(f"{at}_project_conv", f"{at}_bn2", filters, wide, 1)
            number, channels = number + 1, filters
    convolution("_conv_head", "_bn1", lite.DIM, channels, 1)
    return state


class _Global:
    """Pickles as a name of a module that need not exist."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class _Storage:
    def __init__(self, key, values):
        self.key, self.values = key, values


class _Call:
    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments


class _Pickler(pickle._Pickler):
    """The pickler in Python, which can write names of PyTorch where there is no PyTorch."""

    def persistent_id(self, value):
        if not isinstance(value, _Storage):
            return None
        kind = {"f4": "FloatStorage", "i8": "LongStorage"}[value.values.dtype.str[1:]]
        return "storage", _Global("torch", kind), value.key, "cpu", value.values.size, None

    def save(self, value, save_persistent_id=True):
        if isinstance(value, _Global):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, _Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def write(path, state, call=("torch._utils", "_rebuild_tensor_v2"), transposed=()):
    """A file as `torch.save` wrote it before PyTorch 1.6.

    Args:
        path: the file.
        state: tensors by name.
        call: the function that puts a tensor together, as (module, name).
        transposed: names of matrices that are kept as transposed views of their storage.
    """
    storages, tensors = [], OrderedDict()
    for name, value in state.items():
        value = np.asarray(value)
        strides = (
            [step // value.itemsize for step in np.ascontiguousarray(value).strides] if value.ndim else []
        )
        flat = np.ascontiguousarray(value).ravel()
        if name in transposed:
            flat, strides = np.ascontiguousarray(value.T).ravel(), [1, value.shape[0]]
        storages.append(_Storage(str(len(storages)), flat))
        arguments = (storages[-1], 0, tuple(value.shape), tuple(strides), False, OrderedDict())
        tensors[name] = _Call(_Global(*call), arguments)
    with open(path, "wb") as file:
        for value in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
            pickle.dump(value, file, 2)
        _Pickler(file, 2).dump(tensors)
        pickle.dump([storage.key for storage in storages], file, 2)
        for storage in storages:
            file.write(struct.pack("<q", storage.values.size) + storage.values.tobytes())

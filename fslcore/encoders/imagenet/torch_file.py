# SPDX-License-Identifier: MIT
"""Reads the weights in a file of `torch.save` before PyTorch 1.6, without PyTorch.

The file is a row of pickles (a magic number, the protocol, the machine, the weights, the keys of the
storages) and then the numbers of each storage. A pickle can call anything that it names. This one may name an
ordered dictionary, the function that puts a tensor together and two types of storage: ours stand in for all
of them, and any other name is an error.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError

Array = npt.NDArray[Any]

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read(path: Path, sha256: str | None = None) -> dict[str, Array]:
    """The tensors of a file by their names.

    Args:
        path: The file.
        sha256: The SHA-256 that the file must have, in hex; None: any. It is compared before anything is
            read.

    Returns:
        Contiguous arrays, float32 or int64.

    Raises:
        ArgumentError: The file cannot be read, has another SHA-256, is of another form, is damaged, or names
            what weights do not need.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArgumentError(
            "weights", "must be a file that can be read", path, described=f"{path}: {error.strerror}"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise ArgumentError(
            "weights",
            f"must be the file with the SHA-256 {sha256}",
            path,
            described=f"{path} with {found}",
        )
    try:
        return _parsed(io.BytesIO(data))
    # Damage can lead the unpickler anywhere within what it allows.
    except Exception as error:
        raise ArgumentError(
            "weights",
            "must be a whole file of torch.save before PyTorch 1.6, with nothing but weights",
            path,
            described=f"{path}: {error}",
        ) from error


def _parsed(stream: BinaryIO) -> dict[str, Array]:
    if (_load(stream), _load(stream)) != (_MAGIC, _PROTOCOL):
        raise ValueError("it begins otherwise")
    if not _load(stream)["little_endian"]:
        raise ValueError("its numbers are big-endian")
    storages: dict[str, _Storage] = {}
    state = _load(stream, storages)
    for key in _load(stream):
        storages[key].fill(stream)
    if stream.read(1):
        raise ValueError("it goes on after its last number")
    return {str(name): tensor.array() for name, tensor in state.items()}


class _Storage:
    """Numbers that tensors are views of."""

    def __init__(self, dtype: np.dtype[Any], count: int) -> None:
        self.dtype, self.count, self.values = dtype, count, np.zeros(0, dtype)

    def fill(self, stream: BinaryIO) -> None:
        """Reads the numbers."""
        count = int.from_bytes(stream.read(8), "little")
        data = stream.read(self.count * self.dtype.itemsize)
        if count != self.count or len(data) != self.count * self.dtype.itemsize:
            raise ValueError(f"a storage of {self.count} numbers has {count}, or fewer")
        self.values = np.frombuffer(data, self.dtype)


class _Tensor:
    """What a tensor is put together from; stands in for `torch._utils._rebuild_tensor_v2`."""

    def __init__(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        requires_grad: Any = None,
        hooks: Any = None,
    ) -> None:
        del requires_grad, hooks
        numbers = (offset, *shape, *strides)
        if type(storage) is not _Storage or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError("a tensor has an odd place")
        self.storage, self.offset, self.shape, self.strides = storage, offset, tuple(shape), tuple(strides)

    def array(self) -> Array:
        """The numbers; a tensor may be a transposed view of its storage."""
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * step for size, step in steps)
        if not math.prod(self.shape) or last >= len(self.storage.values):
            raise ValueError(f"a tensor {self.shape} leaves its storage")
        dtype = self.storage.dtype
        view = np.lib.stride_tricks.as_strided(
            self.storage.values[self.offset :],
            self.shape,
            [step * dtype.itemsize for step in self.strides],
            writeable=False,
        )
        return np.array(view, dtype.newbyteorder("="), order="C")


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, storages: dict[str, _Storage] | None) -> None:
        super().__init__(stream)
        self.storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which weights do not need")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, count, view = pid
        known = kind == "storage" and view is None and isinstance(dtype, np.dtype)
        if not known or self.storages is None or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("it refers to something else than a storage")
        return self.storages.setdefault(key, _Storage(dtype, count))


def _load(stream: BinaryIO, storages: dict[str, _Storage] | None = None) -> Any:
    return _Unpickler(stream, storages).load()

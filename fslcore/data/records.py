# SPDX-License-Identifier: MIT
"""TFRecord files of `tf.train.Example`s for elements of any structure, dtype and rank.

    dataset ──> write_examples(dataset, "data.tfrecord")
    read_examples("data.tfrecord", dataset.element_spec) ──> the same elements

`write_blocks` and `read_blocks` hold several elements in a record, which is read faster. `example_codec` has
both directions as functions for `Dataset.map`: they are graphs, without a call of Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from fslcore import files
from fslcore.arguments import ArgumentError

_FLOATS = (tf.float32, tf.float16, tf.bfloat16)  # float32 holds all of them exactly
_SMALL = (tf.bool, tf.uint8, tf.int8)
_INTEGERS = (*_SMALL, tf.int16, tf.uint16, tf.int32, tf.uint32, tf.int64, tf.uint64)
_AT_A_TIME = 256  # records that are handed to the writer together
# Elements of a block: so many, or fewer if they have more bytes than a block should.
_MOST_IN_BLOCK, _BLOCK_BYTES = 1024, 2**20


class ExampleCodec(NamedTuple):
    """Both directions between elements and records.

    Attributes:
        encode: Makes a `tf.train.Example`, serialised, of an element.
        decode: Makes an element of such a string.
        names: The features, in the order of the tensors of an element.
    """

    encode: Callable[..., tf.Tensor]
    decode: Callable[[tf.Tensor], Any]
    names: tuple[str, ...]


class _Field(NamedTuple):
    """One tensor of an element.

    Attributes:
        name: Of its feature: the keys and positions that lead to it, joined by "/".
        spec: Its dtype and shape.
        kind: "int64", "float" or "bytes", or "tensor" for one that is kept as a serialised tensor.
    """

    name: str
    spec: tf.TensorSpec
    kind: str

    @property
    def has_shape(self) -> bool:
        """Whether the shape stands in a feature of its own."""
        shape = self.spec.shape
        return self.kind != "tensor" and not shape.is_fully_defined() and shape.rank != 1


def example_codec(spec: Any) -> ExampleCodec:
    """How elements with a structure become `tf.train.Example`s, and are read again.

    Integers, up to 64 bits, become an `int64_list`, floats of at most 32 bits a `float_list`, strings a
    `bytes_list`; where the shape varies in more than one axis, "NAME/shape" holds it. What these lists do not
    hold exactly, or hold badly, becomes one string of `tf.io.serialize_tensor`: float64, complex numbers, and
    matrices of bytes and truth values, such as images. Ragged and sparse tensors become their parts.

    Args:
        spec: The `element_spec` of a dataset: `tf.TensorSpec`s, ragged or sparse ones, in any nest of dicts,
            tuples and lists.

    Returns:
        The codec. Every element is read again with all its bits.

    Raises:
        ArgumentError: A part of an element is no tensor of values, or two parts have the same name.
    """
    fields = _fields_of(spec)
    features: dict[str, Any] = {}
    for field in fields:
        features[field.name] = _feature_of(field)
        if field.has_shape:
            features[f"{field.name}/shape"] = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)

    def encode(*element: Any) -> tf.Tensor:
        # Dataset.map spreads the parts of a tuple over the arguments.
        value = element if isinstance(spec, tuple) and len(element) == len(spec) > 1 else element[0]
        tensors = tf.nest.flatten(value, expand_composites=True)
        entries = []
        for field, tensor in zip(fields, tensors, strict=True):
            entries.append(_entry(field.name, *_packed(field, tensor)))
            if field.has_shape:
                entries.append(_entry(f"{field.name}/shape", "int64", tf.shape(tensor, tf.int64)))
        packed = _message("Features", "feature", tf.stack(entries))
        return _message("Example", "features", packed[tf.newaxis])

    def decode(record: tf.Tensor) -> Any:
        found = tf.io.parse_single_example(record, features)
        tensors = [_unpacked(field, found) for field in fields]
        return tf.nest.pack_sequence_as(spec, tensors, expand_composites=True)

    convert = tf.autograph.experimental.do_not_convert
    return ExampleCodec(convert(encode), convert(decode), tuple(field.name for field in fields))


def write_examples(dataset: tf.data.Dataset, path: str | os.PathLike[str]) -> int:
    """Writes all elements of a dataset into a TFRecord file, which appears when it is complete.

    Args:
        dataset: A finite dataset.
        path: The file; compressed if it ends in ".gz". Its folder is made.

    Returns:
        The number of elements.

    Raises:
        ArgumentError: The dataset has no end, or as for `example_codec`.
        OSError: The file cannot be written; the old one stays.
    """
    check_finite(dataset)
    codec = example_codec(dataset.element_spec)
    encoded = dataset.map(codec.encode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _write(encoded.batch(_AT_A_TIME).map(lambda records: (records, tf.size(records))), path)


def _write(encoded: tf.data.Dataset, path: str | os.PathLike[str]) -> int:
    """Writes records [n] and returns the sum of the numbers beside them."""
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    count = 0

    def write(temporary: Path) -> None:
        nonlocal count
        with tf.io.TFRecordWriter(str(temporary), _compression(target)) as writer:
            for records, size in encoded.prefetch(1).as_numpy_iterator():
                for record in records:
                    writer.write(record)
                count += int(size)

    files.replace(target, write)
    return count


def read_examples(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], spec: Any
) -> tf.data.Dataset:
    """The elements of TFRecord files, in order.

    Args:
        paths: A file or several; all compressed or none.
        spec: The `element_spec` of the dataset that was written.

    Returns:
        A dataset with that `element_spec`.

    Raises:
        ArgumentError: A file is not there, or as for `example_codec`.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    found = [Path(path).expanduser() for path in given]
    gone = [path for path in found if not path.is_file()]
    if gone or not found:
        described = f"{gone[0]} ({len(gone)} of {len(found)} are not there)" if gone else "no files"
        raise ArgumentError("paths", "must be TFRecord files that are there", given, described=described)
    codec = example_codec(spec)
    records = tf.data.TFRecordDataset([str(path) for path in found], _compression(found[0]))
    return records.map(codec.decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def write_blocks(dataset: tf.data.Dataset, path: str | os.PathLike[str]) -> int:
    """Writes all elements of a dataset into a TFRecord file, many to a record where their shapes are known.

    A record is the `tf.train.Example` of a batch of up to 1024 elements, fewer if these have more than 1 MB.
    Elements of unknown shape, without numbers, ragged and sparse ones are written one by one, as by
    `write_examples`.

    Args:
        dataset: A finite dataset.
        path: The file; compressed if it ends in ".gz". Its folder is made.

    Returns:
        The number of elements.

    Raises:
        ArgumentError: As for `write_examples`.
        OSError: The file cannot be written; the old one stays.
    """
    check_finite(dataset)
    count = _in_block(dataset.element_spec)
    if count == 1:
        return write_examples(dataset, path)
    blocks = dataset.batch(count)
    codec = example_codec(blocks.element_spec)

    def encode(*block: Any) -> tuple[tf.Tensor, tf.Tensor]:
        return codec.encode(*block)[tf.newaxis], tf.shape(tf.nest.flatten(block)[0])[0]

    return _write(blocks.map(encode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True), path)


def read_blocks(path: str | os.PathLike[str], spec: Any) -> tf.data.Dataset:
    """The elements of a file that `write_blocks` has written, in order.

    Args:
        path: The file.
        spec: The `element_spec` of the dataset that was written.

    Returns:
        A dataset with that `element_spec`.

    Raises:
        ArgumentError: As for `read_examples`.
    """
    if _in_block(spec) == 1:
        return read_examples(path, spec)
    of_blocks = tf.nest.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape], leaf.dtype), spec)
    return read_examples(path, of_blocks).unbatch()


def _in_block(spec: Any) -> int:
    """How many elements a block holds; 1 if they have no shape in common, or hold nothing."""
    leaves = tf.nest.flatten(spec)
    if not all(isinstance(leaf, tf.TensorSpec) and leaf.shape.is_fully_defined() for leaf in leaves):
        return 1
    # Dataset.unbatch of TensorFlow 2.21 ends the process on rows without numbers.
    if not all(leaf.shape.num_elements() for leaf in leaves):
        return 1
    size = sum(leaf.shape.num_elements() * max(leaf.dtype.size, 1) for leaf in leaves)
    return max(1, min(_MOST_IN_BLOCK, _BLOCK_BYTES // max(size, 1)))


def check_finite(dataset: Any) -> None:
    """Raises ArgumentError for what is no dataset, or one without end."""
    if not isinstance(dataset, tf.data.Dataset):
        raise ArgumentError("dataset", "must be a tf.data.Dataset", dataset, described=type(dataset).__name__)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ArgumentError("dataset", "must have an end", dataset, described="one that is repeated for ever")


def _compression(path: Path) -> str:
    return "GZIP" if path.suffix == ".gz" else ""


def _fields_of(spec: Any) -> list[_Field]:
    fields = []
    for name, leaf in _leaves(spec, ()):
        parts = tf.nest.flatten(leaf, expand_composites=True)
        for i, part in enumerate(parts):
            dtype = getattr(part, "dtype", None)
            if not isinstance(part, tf.TensorSpec) or dtype in (tf.variant, tf.resource):
                raise ArgumentError(
                    "spec",
                    "must have tensors of numbers, truth values or strings",
                    leaf,
                    described=f"{leaf!r} at {name!r}",
                )
            own = name if len(parts) == 1 and part is leaf else f"{name}/{i}"
            fields.append(_Field(own, part, _kind_of(part)))
    if len({field.name for field in fields}) < len(fields) or not fields:
        names = [field.name for field in fields]
        raise ArgumentError("spec", "must have one or more parts, each with a name of its own", names)
    return fields


def _leaves(spec: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """The specs and their names, in the order of tf.nest.flatten."""
    if isinstance(spec, Mapping):
        for key in sorted(spec):
            yield from _leaves(spec[key], (*path, str(key)))
    elif isinstance(spec, (tuple, list)):
        names = getattr(spec, "_fields", range(len(spec)))
        for name, part in zip(names, spec, strict=True):
            yield from _leaves(part, (*path, str(name)))
    else:
        yield "/".join(path) or "value", spec


def _kind_of(spec: tf.TensorSpec) -> str:
    if spec.dtype == tf.string:
        return "bytes"
    if spec.dtype in _FLOATS:
        return "float"
    few = spec.shape.rank is not None and spec.shape.rank < 2
    return "int64" if spec.dtype in _INTEGERS and (few or spec.dtype not in _SMALL) else "tensor"


def _feature_of(field: _Field) -> Any:
    if field.kind == "tensor":
        return tf.io.FixedLenFeature([], tf.string)
    dtype = {"int64": tf.int64, "float": tf.float32, "bytes": tf.string}[field.kind]
    return tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)


def _packed(field: _Field, tensor: tf.Tensor) -> tuple[str, tf.Tensor]:
    """The list that a tensor becomes, and its values [n]."""
    if field.kind == "tensor":
        return "bytes", tf.io.serialize_tensor(tensor)[tf.newaxis]
    flat = tf.reshape(tensor, [-1])
    if field.kind == "int64":
        flat = tf.bitcast(flat, tf.int64) if flat.dtype == tf.uint64 else tf.cast(flat, tf.int64)
    elif field.kind == "float":
        flat = tf.cast(flat, tf.float32)
    return field.kind, flat


def _unpacked(field: _Field, found: Mapping[str, tf.Tensor]) -> tf.Tensor:
    value, spec = found[field.name], field.spec
    if field.kind == "tensor":
        return tf.ensure_shape(tf.io.parse_tensor(value, spec.dtype), spec.shape)
    if field.has_shape:
        value = tf.ensure_shape(tf.reshape(value, found[f"{field.name}/shape"]), spec.shape)
    elif spec.shape.is_fully_defined():
        value = tf.reshape(value, spec.shape)
    if spec.dtype == tf.uint64:
        return tf.bitcast(value, tf.uint64)
    return value if value.dtype == spec.dtype else tf.cast(value, spec.dtype)


def _entry(name: str, kind: str, values: tf.Tensor) -> tf.Tensor:
    """An entry of the map of features, serialised."""
    message = {"int64": "Int64List", "float": "FloatList", "bytes": "BytesList"}[kind]
    feature = _message("Feature", f"{kind}_list", _message(message, "value", values)[tf.newaxis])
    return tf.io.encode_proto(
        [[1, 1]],
        [tf.constant([[name]]), feature[tf.newaxis, tf.newaxis]],
        ["key", "value"],
        "tensorflow.Features.FeatureEntry",
    )[0]


def _message(message: str, field: str, values: tf.Tensor) -> tf.Tensor:
    """A message of tensorflow/core/example with values [n] in one field, serialised."""
    sizes = tf.reshape(tf.size(values), [1, 1])
    return tf.io.encode_proto(sizes, [values[tf.newaxis]], [field], f"tensorflow.{message}")[0]

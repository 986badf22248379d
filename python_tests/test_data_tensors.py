# SPDX-License-Identifier: MIT
"""Operators on datasets of dicts, TFRecord files of any elements, and the cache on the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import records, tensors

ELEMENT = {
    "image": tf.constant(np.arange(24).reshape(2, 3, 4), tf.uint8),
    "pair": (tf.constant(-3, tf.int64), (tf.constant([1.1, -np.inf], tf.float64),)),
    "texts": tf.constant([[b"a", b"b"], [b"c\0d\xff", b""]]),
    "ragged": tf.ragged.constant([[1], [2, 3], []]),
    "sparse": tf.sparse.from_dense([[0, 1], [2, 0]]),
    "uint64": tf.constant([2**64 - 1, 0], tf.uint64),
    "half": tf.constant([1, np.nan, 6e-8], tf.float16),
    "bfloat16": tf.constant(1.5, tf.bfloat16),
    "truth": tf.constant(True),
    "truths": tf.constant([[True], [False]]),
    "complex": tf.constant(1 + 2j),
    "empty": tf.zeros([0, 3], tf.int32),
    **{f"int{n}": tf.constant([-1, 2], f"int{n}") for n in (8, 16, 32)},
    **{f"uint{n}": tf.constant([2**n - 1], f"uint{n}") for n in (8, 16, 32)},
    "float32": tf.constant([[1e-40, 3e38]]),
}


def same(found, expected):
    found, expected = (tf.nest.flatten(each, expand_composites=True) for each in (found, expected))
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def varying(count=4):
    """Elements whose sizes differ; a float and a string without any known shape among them."""

    def elements():
        for i in range(count):
            yield np.full((i, 2), i, np.int32), [b"x" * i] * i, np.full((1,) * i, i, np.float32)

    shapes = ([None, None], [None], None)
    dtypes = (tf.int32, tf.string, tf.float32)
    signature = tuple(tf.TensorSpec(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True))
    return tf.data.Dataset.from_generator(elements, output_signature=signature)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_records_hold_every_dtype_rank_and_structure(tmp_path, ending):
    path = tmp_path / f"new/data.tfrecord{ending}"
    dataset = tf.data.Dataset.from_tensors(ELEMENT).repeat(3)
    assert records.write_examples(dataset, path) == 3
    found = records.read_examples(path, dataset.element_spec)
    assert found.element_spec == dataset.element_spec
    assert sum(1 for element in found if same(element, ELEMENT) is None) == 3
    assert records.write_examples(varying(), tmp_path / "varying") == 4
    again = records.read_examples([tmp_path / "varying"] * 2, varying().element_spec)
    for element, expected in zip(again, varying().repeat(2), strict=True):
        same(element, expected)


def test_blocks_hold_many_elements_in_a_record(tmp_path):
    path = tmp_path / "new/blocks"
    dense = {name: value for name, value in ELEMENT.items() if name not in ("ragged", "sparse", "empty")}
    dataset = tf.data.Dataset.range(1100).map(lambda i: {**dense, "number": i})
    assert records.write_blocks(dataset, path) == 1100
    assert sum(1 for _ in tf.data.TFRecordDataset(str(path))) == 2
    found = records.read_blocks(path, dataset.element_spec)
    assert found.element_spec == dataset.element_spec
    for i, element in enumerate(found):
        if i in (0, 1023, 1024, 1099):
            same(element, {**dense, "number": tf.constant(i, tf.int64)})
    assert i == 1099
    # At most 1 MB, and one by one where shapes differ.
    large = tf.data.Dataset.from_tensors(tf.zeros([2**18], tf.uint8)).repeat(6)
    empty = tf.data.Dataset.from_tensors((ELEMENT["empty"], 1)).repeat(3)
    for each, number in (
        (large, 2),
        (varying(), 4),
        (empty, 3),
        (large.map(lambda x: tf.repeat(x, 5)[: 2**20 + 1]), 6),
    ):
        records.write_blocks(each, path)
        assert sum(1 for _ in tf.data.TFRecordDataset(str(path))) == number
        for element, expected in zip(records.read_blocks(path, each.element_spec), each, strict=True):
            same(element, expected)


def test_records_are_what_other_programs_read(tmp_path):
    spec = {"x": tf.TensorSpec([2], tf.int32), "y": (tf.TensorSpec([None, 2]), tf.TensorSpec([], tf.string))}
    codec = records.example_codec(spec)
    assert codec.names == ("x", "y/0", "y/1")
    element = {"x": tf.constant([1, -2]), "y": (tf.constant([[1.0, 2.0]]), tf.constant("s"))}
    features = tf.train.Example.FromString(codec.encode(element).numpy()).features.feature
    assert features["x"].int64_list.value == [1, -2]
    assert features["y/0"].float_list.value == [1, 2]
    assert features["y/0/shape"].int64_list.value == [1, 2]
    assert features["y/1"].bytes_list.value == [b"s"]
    # A record that another program has written.
    example = tf.train.Example()
    example.features.feature["value"].float_list.value.extend([1, 2, 3])
    with tf.io.TFRecordWriter(str(tmp_path / "other")) as writer:
        writer.write(example.SerializeToString())
    (found,) = records.read_examples(tmp_path / "other", tf.TensorSpec([None]))
    assert found.numpy().tolist() == [1, 2, 3]


def test_what_records_cannot_hold_is_refused(tmp_path):
    endless = tf.data.Dataset.range(3).repeat()
    with pytest.raises(ArgumentError, match="dataset must have an end"):
        records.write_examples(endless, tmp_path / "x")
    with pytest.raises(ArgumentError, match=r"dataset must be a tf\.data\.Dataset, received list"):
        records.write_examples([1], tmp_path / "x")
    with pytest.raises(ArgumentError, match=r"spec must have tensors of numbers.*at 'a'"):
        records.example_codec({"a": tf.TensorSpec([], tf.variant)})
    with pytest.raises(ArgumentError, match="each with a name of its own"):
        records.example_codec({"a": {"b": tf.TensorSpec([])}, "a/b": tf.TensorSpec([])})
    with pytest.raises(ArgumentError, match=r"gone \(1 of 1 are not there\)"):
        records.read_examples(tmp_path / "gone", tf.TensorSpec([]))
    assert not list(tmp_path.iterdir())


def counted(dataset):
    """The dataset, and a list that grows with each element that it is asked for."""
    asked = []

    def ask(value):
        asked.append(int(value))
        return value

    return dataset.map(lambda i: tf.ensure_shape(tf.numpy_function(ask, [i], tf.int64), [])), asked


def values(dataset):
    return [int(value) for value in dataset]


@pytest.mark.parametrize("as_records", [False, True], ids=["tensors", "records"])
def test_a_cache_is_written_once_and_again_when_its_sources_change(tmp_path, as_records):
    dataset, asked = counted(tf.data.Dataset.range(5))
    path = tmp_path / "deep/down/numbers.v1"

    def cached(**options):
        return dataset.apply(tensors.cache(path, as_records=as_records, **options))

    def written():
        times = len(asked) // 5
        assert asked == list(range(5)) * times
        asked.clear()
        return times

    found = cached()
    assert written() == 1
    assert (found.element_spec, int(found.cardinality())) == (dataset.element_spec, 5)
    assert values(found) == values(found) == values(cached()) == list(range(5))
    assert written() == 0
    for options, times in (
        ({"fingerprint": {"size": 28}}, 1),
        ({"fingerprint": {"size": 28}}, 0),
        ({"fingerprint": {"size": 32}}, 1),
        ({"fingerprint": {"size": 32}, "clear": True}, 1),
        ({"fingerprint": {"size": 32}}, 0),
    ):
        assert values(cached(**options)) == list(range(5))
        assert written() == times
    # Another structure under the same name.
    other = tf.data.Dataset.range(2).map(lambda i: {"i": i})
    assert len(list(other.apply(tensors.cache(path, as_records=as_records)))) == 2
    # What is half gone is written again, and said.
    for damage in ("file", "folder", "list"):
        cached()
        written()
        kept = json.loads(path.read_text())
        folder = path.parent / kept["folder"]
        if damage == "file":
            largest = max(folder.iterdir(), key=lambda file: file.stat().st_size)
            os.truncate(largest, largest.stat().st_size // 2)
        elif damage == "folder":
            folder.rename(folder.with_name("elsewhere"))
        else:
            path.write_text('{"version"')
        with pytest.warns(UserWarning, match="is written again") as warned:
            found = cached()
        assert warned[0].filename == __file__
        assert values(found) == list(range(5))
        assert written() == 1
    assert len([file for file in path.parent.iterdir() if file.name.startswith(path.name)]) == 2


@pytest.mark.parametrize("as_records", [False, True], ids=["tensors", "records"])
def test_a_cache_keeps_every_structure_and_an_empty_dataset(tmp_path, as_records):
    for number, dataset in enumerate(
        (tf.data.Dataset.from_tensors(ELEMENT), varying(), tf.data.Dataset.range(0), tf.data.Dataset.range(3))
    ):
        found = dataset.apply(tensors.cache(tmp_path / str(number), as_records=as_records))
        assert found.element_spec == dataset.element_spec
        for element, expected in zip(found, dataset, strict=True):
            same(element, expected)


@pytest.mark.parametrize("as_records", [False, True], ids=["tensors", "records"])
def test_a_failure_leaves_the_old_cache(tmp_path, as_records):
    def fails(i):
        with tf.control_dependencies([tf.debugging.Assert(i < 3, ["broken"])]):
            return tf.identity(i)

    tf.data.Dataset.range(2).apply(tensors.cache(tmp_path / "a", as_records=as_records))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.data.Dataset.range(5).map(fails).apply(
            tensors.cache(tmp_path / "a", clear=True, as_records=as_records)
        )
    assert sorted(tmp_path.iterdir()) == before
    assert values(tf.data.Dataset.range(2).apply(tensors.cache(tmp_path / "a", as_records=as_records))) == [
        0,
        1,
    ]
    with pytest.raises(OSError, match="File exists"):
        tf.data.Dataset.range(2).apply(tensors.cache(tmp_path / "a/b"))


def test_clear_cache_removes_only_its_own(tmp_path):
    for name in ("a", "a.b", "ab"):
        tf.data.Dataset.range(2).apply(tensors.cache(tmp_path / name))
    (tmp_path / "a.txt").write_text("of somebody else")
    removed = tensors.clear_cache(tmp_path / "a")
    assert [path.name.split(".")[0] for path in removed] == ["a", "a"]
    left = sorted(path.name[:4] for path in tmp_path.iterdir())
    assert len(left) == 5
    assert left.count("a.b") == 1
    assert tensors.clear_cache(tmp_path / "a") == []
    assert values(tf.data.Dataset.range(2).apply(tensors.cache(tmp_path / "a.b"))) == [0, 1]


KILLED = """
import sys, time
import tensorflow as tf
from fslcore.data import tensors

def slow(i):
    print(int(i), flush=True)
    time.sleep(0.05)
    return i

dataset = tf.data.Dataset.range(1000)
dataset = dataset.map(lambda i: tf.ensure_shape(tf.numpy_function(slow, [i], tf.int64), []))
dataset.apply(tensors.cache(sys.argv[1], clear=True))
"""


def test_a_process_that_is_killed_leaves_the_old_cache(tmp_path):
    path, old = tmp_path / "numbers", tf.data.Dataset.range(7)
    old.apply(tensors.cache(path))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 5:
                break
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) > 2
    assert values(old.apply(tensors.cache(path))) == list(range(7))
    # The next one who writes takes away what was left.
    old.apply(tensors.cache(path, clear=True))
    assert len(list(tmp_path.iterdir())) == 2


def test_cache_refuses_what_it_cannot_keep(tmp_path):
    with pytest.raises(ArgumentError, match="dataset must have an end"):
        tf.data.Dataset.range(2).repeat().apply(tensors.cache(tmp_path / "a"))
    for filename, message in (
        (3, "path of a file"),
        ("", "path of a file"),
        (tmp_path, "path of a file, not of a folder"),
    ):
        with pytest.raises(ArgumentError, match=f"filename must be the {message}"):
            tensors.cache(filename)
    with pytest.raises(ArgumentError, match="fingerprint must be a value that JSON takes"):
        tensors.cache(tmp_path / "a", fingerprint=object())
    with pytest.raises(ArgumentError, match="clear must be True or False"):
        tensors.cache(tmp_path / "a", clear="no")
    assert not list(tmp_path.iterdir())


def test_operators_on_dicts():
    dataset = tf.data.Dataset.range(3).map(lambda i: {"a": i, "b": 10 * i})
    found = dataset.apply(tensors.assign(c=lambda e: e["a"] + e["b"], a=lambda e: -e["a"]))
    assert [{k: int(v) for k, v in e.items()} for e in found][2] == {"a": -2, "b": 20, "c": 22}
    found = dataset.apply(tensors.transform(b=lambda b: b + 1)).apply(tensors.filter_items(["b"]))
    assert [{k: int(v) for k, v in e.items()} for e in found] == [{"b": 1}, {"b": 11}, {"b": 21}]
    mapped = dataset.map(
        tensors.compose(tensors.assign(c=lambda e: e["a"]), tensors.filter_items(["c", "a"]))
    )
    assert sorted(mapped.element_spec) == ["a", "c"]
    assert tensors.filter_items(["c", "a"])({"a": 1, "b": 2, "c": 3}) == {"c": 3, "a": 1}
    assert tensors.compose()(5) == 5
    for call, message in (
        (lambda: tensors.assign(a=3), "a must be a function"),
        (lambda: tensors.transform(x=abs)({"a": 1}), "received 'x', and elements have 'a'"),
        (lambda: tensors.filter_items("ab"), "not a single string"),
        (lambda: tensors.filter_items(["x"])({"a": 1}), "received 'x', and elements have 'a'"),
        (lambda: tf.data.Dataset.range(2).apply(tensors.filter_items(["a"])), "must have dicts as elements"),
        (lambda: tensors.compose(len, 3), "functions must be functions"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_pictures_are_read_and_cropped(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    smooth = np.add.outer(np.arange(16), np.arange(24))[..., None] * np.array([1, 2, 3])
    Image.fromarray(smooth.astype(np.uint8)).save(file, quality=100, subsampling=0)
    whole = tensors.read_decode_and_crop({"filename": str(file)})
    assert whole.shape == (16, 24, 3)
    dataset = tf.data.Dataset.from_tensors({"filename": str(file), "crop_window": [8, 3, 6, 5]})
    (found,) = dataset.apply(tensors.assign(image=tensors.read_decode_and_crop))
    assert np.array_equal(found["image"], whole[8:14, 3:8])
    if ending != "bmp":
        assert tensors.read_decode_and_crop({"filename": str(file)}, channels=1).shape == (16, 24, 1)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tensors.read_decode_and_crop({"filename": str(file), "crop_window": [8, 3, 9, 5]})
    with pytest.raises(ArgumentError, match="'filename', and elements have 'file'"):
        tensors.read_decode_and_crop({"file": str(file)})


def test_fingerprints_follow_the_files(tmp_path):
    file = tmp_path / "a"
    file.write_text("1")
    first = tensors.fingerprint_of([file])
    assert first == tensors.fingerprint_of([str(file)])
    file.write_text("22")
    assert tensors.fingerprint_of([file]) != first
    with pytest.raises(ArgumentError, match=r"b \(1 of 2 are not there\)"):
        tensors.fingerprint_of([file, tmp_path / "b"])
    with pytest.raises(ArgumentError, match="not a single one"):
        tensors.fingerprint_of(str(file))

# SPDX-License-Identifier: MIT
"""Data sets of TensorFlow Datasets and TFRecord files, made here without a network."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from picture_files import png_of_16_bits
from PIL import Image

import fslcore as fsl
from fslcore.arguments import ArgumentError
from fslcore.data import cache
from fslcore.experiments import parts

NAMES = ["oak", "beech", "birch"]


def picture(i, size=(20, 24)):
    """Gray in one corner; the number of the picture is its brightness."""
    pixels = np.full((*size, 3), 10 * (i % 25), np.uint8)
    pixels[: size[0] // 2] = 0
    return pixels


class LittleShapes(tfds.core.GeneratorBasedBuilder):
    """Three classes in splits of which some have usual names."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "kind": tfds.features.ClassLabel(names=NAMES),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        return {"train": self._some(0, 12), "validation": self._some(12, 15), "extra": self._some(15, 19)}

    def _generate_examples(self):
        raise NotImplementedError

    def _some(self, first, last):
        for i in range(first, last):
            kind = -1 if i == 3 else NAMES[(i * 2) % 3]
            yield i, {"id": str(i), "image": picture(i, (20 + i, 24)), "kind": kind}


class LittleNumbers(tfds.core.GeneratorBasedBuilder):
    """No image."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"x": tfds.features.Scalar(np.int64)})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {"train": iter([(0, {"x": 1})])}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        LittleShapes(data_dir=folder).download_and_prepare()
    return folder


@pytest.mark.parametrize("storage", cache.STORAGES)
def test_a_dataset_of_tfds_is_loaded_with_its_splits(data_dir, tmp_path, storage):
    options = {"image_size": 16, "data_dir": data_dir, "cache_dir": tmp_path, "storage": storage}
    for _ in range(2):  # built, then from the cache
        with pytest.warns(UserWarning, match="extra with 4") as caught:
            store = fsl.data.load("tfds:little_shapes", **options)
        assert any("examples without a label (1 of train)" in str(one.message) for one in caught)
        assert (store.class_names, store.part_names) == (tuple(NAMES), ("train", "val"))
        assert (store.name, store.image_shape, len(store)) == ("tfds:little_shapes", (16, 16, 3), 14)
        brightness = np.asarray(store.images)[:, -1, 8, 0].astype(int)
        numbers = np.rint(brightness / 10).astype(int)
        assert sorted(numbers) == [i for i in range(15) if i != 3]
        assert [store.class_names[n] for n in store.labels] == [NAMES[(i * 2) % 3] for i in numbers]
        assert [store.part_names[n] for n in store.parts] == ["train" if i < 12 else "val" for i in numbers]
    assert store.preparation.image_size == 16


def test_what_tfds_does_not_have_is_said(data_dir, tmp_path):
    with pytest.raises(ArgumentError, match="of TensorFlow Datasets, received 'tfds:no_such"):
        fsl.data.load("tfds:no_such_data", data_dir=tmp_path)
    with pytest.raises(ArgumentError, match=r"one image of 8 or 16 bits and one class label.*x: Scalar"):
        fsl.data.load("tfds:little_numbers", data_dir=tmp_path)


# ---- records


def encoded(pixels, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def feature(value):
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    if isinstance(value, float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write(path, examples, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for example in examples:
            features = tf.train.Features(feature={name: feature(value) for name, value in example.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


def usual(i):
    return {
        "image/encoded": encoded(picture(i)),
        "image/class/label": i % 3,
        "image/class/text": NAMES[i % 3].encode(),
        "image/height": 20,
    }


@pytest.fixture
def records(tmp_path):
    write(tmp_path / "a-0.tfrecord", [usual(i) for i in range(7)])
    write(tmp_path / "a-1.tfrecord", [usual(i) for i in range(7, 12)])
    return tmp_path


@pytest.mark.parametrize("storage", cache.STORAGES)
def test_records_with_the_usual_features(records, storage):
    load = {"image_size": 16, "cache_dir": records / "cache", "storage": storage}
    told = []
    store = fsl.data.load(str(records / "a-*.tfrecord"), **load, progress=lambda *p: told.append(p))
    assert store.class_names == tuple(sorted(NAMES))
    assert told[-1][:2] == (12, 12)
    numbers = np.rint(np.asarray(store.images)[:, -1, 8, 0] / 10).astype(int)
    assert [store.class_names[n] for n in store.labels] == [NAMES[i % 3] for i in numbers]
    assert sorted(numbers) == list(range(12))
    assert all(np.diff(numbers[store.labels == n]).min() > 0 for n in range(3))  # the order of the records
    told.clear()
    again = fsl.data.load(str(records / "a-*.tfrecord"), **load, progress=lambda *p: told.append(p))
    assert (again.content_hash, told) == (store.content_hash, [])


def test_features_may_be_named_and_files_compressed(tmp_path):
    examples = [
        {"picture": encoded(picture(i)[..., 0], "JPEG"), "kind": NAMES[i % 3].encode()} for i in range(6)
    ]
    write(tmp_path / "b.tfrecord.gz", examples, "GZIP")
    options = {"image_size": 16, "cache_dir": tmp_path / "cache"}
    store = fsl.data.load_records(tmp_path / "b.tfrecord.gz", image="picture", label="kind", **options)
    assert (store.class_names, store.image_shape) == (tuple(sorted(NAMES)), (16, 16, 1))
    with pytest.raises(ArgumentError, match=r"image must name a .*'kind' \(string\), 'picture' \(string\)"):
        fsl.data.load_records(tmp_path / "b.tfrecord.gz", **options)
    with pytest.raises(ArgumentError, match=r"label must name a feature .* received 'picture2'"):
        fsl.data.load_records(tmp_path / "b.tfrecord.gz", image="picture", label="picture2", **options)
    with pytest.raises(ArgumentError, match="files must be TFRecord files that are there"):
        fsl.data.load_records(tmp_path / "none-*.tfrecord", **options)


def test_deep_colours_keep_their_levels(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (16, 16, 3)).astype(np.uint16)
    values[0, 0] = 4095
    write(tmp_path / "c.tfrecord", [{**usual(i), "image/encoded": png_of_16_bits(values)} for i in range(3)])
    with pytest.warns(UserWarning, match="taken for images of 12 bits"):
        store = fsl.data.load_records(tmp_path / "c.tfrecord", image_size=16, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(store.images, np.stack([(values >> 4).astype(np.uint8)] * 3))
    np.testing.assert_array_equal(store.preparation(png_of_16_bits(values)), store.images[0])


def test_broken_images_and_files_are_named(records):
    broken = [{**usual(i), "image/encoded": b"\x89PNG no"} if i in (1, 4) else usual(i) for i in range(8)]
    write(records / "c.tfrecord", broken)
    paths = [records / "a-0.tfrecord", records / "c.tfrecord"]
    options = {"image_size": 16, "cache_dir": records / "cache"}
    with pytest.raises(ArgumentError, match=r"2 broken of 15: record 1 of .*c\.tfrecord: .*record 4 of"):
        fsl.data.load_records(paths, **options)
    with pytest.warns(UserWarning, match="2 of 15 images cannot be read"):
        assert len(fsl.data.load_records(paths, on_error="skip", **options)) == 13
    content = bytearray(paths[0].read_bytes())
    content[len(content) // 2] ^= 1
    paths[0].write_bytes(content)
    with pytest.raises(ArgumentError, match=r"files must be whole TFRecord files .*a-0\.tfrecord"):
        fsl.data.load_records(paths, **options)
    write(
        records / "d.tfrecord",
        [{**usual(0), "image/class/text": b"oak"}, {**usual(3), "image/class/text": b"ash"}],
    )
    with pytest.raises(ArgumentError, match="text must be the same for all examples of a label"):
        fsl.data.load_records(records / "d.tfrecord", **options)


def test_a_run_names_a_dataset_of_tfds_and_its_folder():
    assert parts.place("tfds:little_shapes") == "tfds:little_shapes"
    parts.check_data_dir("tfds:little_shapes", "folder")
    with pytest.raises(ArgumentError, match="data_dir must be left out"):
        parts.check_data_dir("photos", "folder")

# SPDX-License-Identifier: MIT
"""Sequences, frames, datasets, records and callbacks under the names of keras-fsl, with its arguments."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from fslcore import compat
from fslcore.arguments import ArgumentError

LABELS = list("abcab") * 4


@pytest.fixture(scope="module", autouse=True)
def keras_fsl():
    compat.install()
    yield
    compat.uninstall()


@pytest.fixture
def frame(tmp_path):
    """The picture of row i is all i, but for its first column, which the crop leaves out."""
    files = [str(tmp_path / f"{i}.png") for i in range(len(LABELS))]
    for i, file in enumerate(files):
        pixels = np.full((4, 5, 3), i, np.uint8)
        pixels[:, 0] = 255
        Image.fromarray(pixels).save(file)
    boxes = [(1, 0, 5, 3)] * len(files)
    return pd.DataFrame({"image_name": files, "label": LABELS, "crop_coordinates": boxes, "split": "x"})


def rows(images):
    """The row of each picture, all of whose pixels say it."""
    assert images.shape[1:] == (3, 4, 3)
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].astype(int)


class Augmenter:
    """As imgaug has them: it takes and returns a list of images."""

    def augment_images(self, images):
        assert isinstance(images, list)
        return [image + 100 for image in images]


def test_sequences_of_pairs_take_annotations(frame):
    from keras_fsl.sequences.training.pairs import (
        BalancedPairsSequence,
        RandomBalancedPairsSequence,
        RandomPairsSequence,
    )

    before, labels = frame.copy(), np.array(LABELS)
    for sequence, share in (
        (RandomPairsSequence(frame, batch_size=8), None),
        (RandomBalancedPairsSequence(frame, 8, preprocessings=None), 0.5),
        (BalancedPairsSequence(frame, batch_size=8, pairs_per_query=4, seed=3), 0.5),
    ):
        (queries, supports), targets = sequence[0]
        assert queries.dtype == np.uint8
        query, support = rows(queries), rows(supports)
        assert (query != support).all()
        np.testing.assert_array_equal(targets, labels[query] == labels[support])
        assert share is None or targets.mean() == share
    assert len(BalancedPairsSequence(frame, batch_size=8, pairs_per_query=4)) == 10
    two = RandomPairsSequence([frame, frame[:3]], 8, preprocessings=[Augmenter(), lambda images: images / 2])
    (queries, supports), _ = two[0]
    assert queries.min() >= 100
    assert supports.max() <= 1
    pd.testing.assert_frame_equal(frame, before)


def test_sequences_of_arrays_and_products():
    from keras_fsl.sequences.prediction.pairs import ProductSequence
    from keras_fsl.sequences.training.pairs import RandomProductSequence

    images = np.arange(6.0)[:, None] * [1, 1]
    pairs = RandomProductSequence(images, [0, 0, 1, 1, 2, 2], batch_size=36)
    (first, second), target = pairs[0]
    assert len({(a, b) for a, b in zip(first[:, 0], second[:, 0], strict=True)}) == 36
    np.testing.assert_array_equal(target, first[:, 0] // 2 == second[:, 0] // 2)
    product = ProductSequence(images[:3], images, ["x", "y", "z"], list("xyzxyz"), batch_size=10)
    ((query, support),) = product[1]
    found = product.pairs_indexes.iloc[10:18]
    np.testing.assert_array_equal(query[:8, 0], found.query_index)
    np.testing.assert_array_equal(support[:8, 0], found.support_index)
    assert product.pairs_indexes.target.sum() == 6
    assert list(product.pairs_indexes.columns) == [
        "query_index", "support_index", "query_label", "support_label", "target",
    ]  # fmt: skip
    unknown = ProductSequence(images[:3], images, ["x", "y", "z"])
    assert unknown.pairs_indexes.query_label.isna().all()
    assert not unknown.pairs_indexes.target.any()
    head = keras.models.Model([a := keras.Input((2,)), b := keras.Input((2,))], a + b)
    assert head.predict(product, verbose=0).shape == (18, 2)


def test_sequences_of_single_images(frame):
    from keras_fsl.sequences import prediction, training

    sequence = training.single.DeterministicSequence(frame, 8, classes=["c", "b", "a"])
    images, labels = sequence[2]
    np.testing.assert_array_equal(rows(images), [16, 17, 18, 19])
    codes = np.array(["cba".index(label) for label in LABELS])
    np.testing.assert_array_equal(labels.argmax(1), codes[16:])
    np.testing.assert_array_equal(sequence.targets.argmax(1), codes)
    assert sequence.classes == ["c", "b", "a"]
    both = training.single.DeterministicSequence([frame], 8, labels_in_input=True, to_categorical=False)
    (images, labels), targets = both[0]
    np.testing.assert_array_equal(labels, targets)
    (images,) = prediction.single.DeterministicSequence(frame, 8, preprocessings=Augmenter())[0]
    np.testing.assert_array_equal(rows(images), np.arange(8) + 100)
    with pytest.warns(UserWarning, match=r"batch_size is k_shot \* n_way = 6, not 16"):
        k_shot = training.single.KShotNWaySequence(frame, 16, k_shot=2, n_way=3, target_size=(4, 5))
    images, labels = k_shot[0]
    assert labels.argmax(1).reshape(3, 2).std(1).max() == 0
    assert len({*labels.argmax(1)}) == 3
    np.testing.assert_array_equal(
        [LABELS[row] for row in rows(images)], np.array(list("abc"))[labels.argmax(1)]
    )


def test_what_annotations_lack_is_refused(frame):
    from keras_fsl.sequences.prediction.single import DeterministicSequence
    from keras_fsl.sequences.training.pairs import RandomPairsSequence
    from keras_fsl.sequences.training.single import KShotNWaySequence

    for wrong, said in (
        (frame.drop(columns="label"), "annotations must have the columns filename and label"),
        (frame.assign(image_name=lambda df: df.image_name + "x"), "is not there"),
        (frame.assign(crop_coordinates=[(3, 0, 1, 1)] * 20), r"crop_coordinates must be \(left, upper"),
        ([frame] * 3, "annotations must be one, or a list of one or two, received 3"),
        ("frame.csv", "annotations must be a DataFrame"),
    ):
        with pytest.raises(ArgumentError, match=said):
            RandomPairsSequence(wrong, 8)
    mixed = DeterministicSequence(frame.assign(crop_coordinates=[(0, 0, 2, 2), None] * 10), 8)
    with pytest.raises(ArgumentError, match=r"must have pictures of one size, or target_size"):
        mixed[0]
    with pytest.raises(ArgumentError, match="labels_in_input must be False: batches are drawn anew"):
        KShotNWaySequence(frame, None, 2, 3, labels_in_input=True)


def test_operators_of_frames(frame):
    from keras_fsl.dataframe.operators import NaiveMaxProba, RandomAssignment, ToKShotDataset
    from keras_fsl.dataframe.operators.abstract_operator import AbstractOperator

    crops = frame.assign(crop_y=0, crop_x=1, crop_height=3, crop_width=4)
    with pytest.warns(UserWarning, match="cache='somewhere' is not used"):
        operator = ToKShotDataset(2, lambda image: image, cache="somewhere", reset_cache=True)
    assert isinstance(operator, AbstractOperator)
    pictures, labels = next(crops.pipe(operator).batch(6).as_numpy_iterator())
    np.testing.assert_array_equal(
        [LABELS[row] for row in rows(pictures)], np.array(list("abc"))[np.argmax(labels, 1)]
    )
    numbers = ToKShotDataset(2, tf.identity, "code", dataset_mode="raw")
    _, codes = next(iter(crops.assign(code=range(20)).pipe(numbers).batch(6)))
    assert codes.dtype == tf.float32
    with pytest.raises(ArgumentError, match="dataset_mode must be one of with_tf_record, with_cache, raw"):
        ToKShotDataset(2, dataset_mode="cached")
    scores = pd.DataFrame({"image_name": "i", "label": list("xxyy"), "score": [0.1, 0.9, 0.5, 0.6]})
    found = scores.pipe(NaiveMaxProba(bins=10, density=True, range=(0, 1)))
    assert found.confidence.tolist() == [0.5, 0.5]
    for kwargs, said in (
        ({"density": False}, "density must be True"),
        ({"weights": 1}, "weights must be left out"),
    ):
        with pytest.raises(ArgumentError, match=said):
            NaiveMaxProba(**kwargs)
    parts = frame.pipe(RandomAssignment("label", column_name="part"))
    assert set(parts.part) <= {"train", "val", "test"}
    assert (parts.groupby("label").part.nunique() == 1).all()


def test_fields_caches_and_codecs(frame, tmp_path):
    from keras_fsl.utils import datasets, image_preprocessing, tfrecord_utils
    from keras_fsl.utils.training import compose

    source = tf.data.Dataset.from_tensor_slices({"key": [2, 3]})
    squares = source.map(
        compose(datasets.assign(new=lambda x: x["key"] ** 2), datasets.filter_items(["new"]))
    )
    assert [int(element["new"]) for element in squares] == [4, 9]
    added = source.map(image_preprocessing.add_field(lambda x: x["key"] + 1, "more"))
    added = added.map(image_preprocessing.transform_field(lambda x: -x, "key"))
    assert [{k: int(v) for k, v in element.items()} for element in added] == [
        {"key": -2, "more": 3},
        {"key": -3, "more": 4},
    ]
    annotation = {"image_name": frame.image_name[7], "crop_window": [0, 1, 3, 4]}
    np.testing.assert_array_equal(
        rows(image_preprocessing.load_crop_as_uint8_tensor(annotation)[None].numpy()), [7]
    )

    for make in (datasets.cache, datasets.cache_with_tf_record):
        path = tmp_path / make.__name__ / "numbers"
        assert source.apply(make(path)).element_spec == source.element_spec
        other = source.map(datasets.transform(key=lambda x: 10 * x))
        assert [int(x["key"]) for x in other.apply(make(path))] == [2, 3]
        assert [int(x["key"]) for x in other.apply(make(path, clear=True))] == [20, 30]
        assert len(datasets.clear_cache(path)) == 2
        assert not list(path.parent.iterdir())
    with pytest.raises(
        ValueError, match=r"dataset.element_spec should be a dict but is <class '.*TensorSpec'> instead"
    ):
        tf.data.Dataset.range(3).apply(datasets.cache_with_tf_record(tmp_path))
    # Those of Dataset.cache are removed, and nothing else that is called alike.
    of_tensorflow = tmp_path / "tensorflow"
    list(tf.data.Dataset.range(4).cache(str(of_tensorflow)))
    of_tensorflow.write_text("of somebody else")
    assert sorted(file.name.partition(".")[2][:5] for file in tfrecord_utils.clear_cache(of_tensorflow)) == [
        "data-",
        "index",
    ]
    assert of_tensorflow.read_text() == "of somebody else"

    sample = {"a": tf.constant([1, 2]), "b": tf.constant("text"), "c": tf.zeros([2, 2], tf.float64)}
    encode, decode = tfrecord_utils.infer_tfrecord_encoder_decoder_from_sample(sample)
    assert isinstance(encode(sample), bytes)
    again = decode(encode(sample))
    assert all(
        (again[key] == sample[key]).numpy().all() and again[key].dtype == sample[key].dtype for key in sample
    )
    encode, _ = tfrecord_utils.build_tfrecord_encoder_decoder_from_spec(source.element_spec)
    assert [tf.train.Example.FromString(record).features.feature["key"].int64_list.value[0]
            for record in source.map(encode).as_numpy_iterator()] == [2, 3]  # fmt: skip


def test_callbacks_write_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from keras_fsl.callbacks import BinaryStatistics, TensorBoardSaveFigures
    from matplotlib.figure import Figure

    drawn = []
    x, y = np.ones((6, 1)), np.array([0, 1, 1, 0, 0, 1])
    callbacks = [
        TensorBoardSaveFigures(
            tmp_path / "a", {"mine": lambda model, epoch: drawn.append(epoch) or Figure()}
        ),
        BinaryStatistics((x, y), tmp_path / "b"),
    ]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks)
    assert drawn == [0, 1]
    assert all(list((tmp_path / name).glob("events*")) for name in "ab")
    wrong = BinaryStatistics((x, y[:5]), tmp_path / "b")
    wrong.set_model(model)
    with pytest.raises(ArgumentError, match=r"truth value for each output of the model, received \[5\]"):
        wrong.draw(1)
    with pytest.raises(ArgumentError, match="figure_producers must be functions"):
        TensorBoardSaveFigures(tmp_path, {"mine": 1})

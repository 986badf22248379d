# SPDX-License-Identifier: MIT
"""Callbacks that draw what a model has learnt: what they compare, and where it is written."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image
from tiny_encoders import identity_encoder, images, tiny_encoder

from fslcore import callbacks, plots
from fslcore.arguments import ArgumentError
from fslcore.callbacks import values
from fslcore.data import ImageStore
from fslcore.layers import CentroidsMatrix, GramMatrix
from fslcore.learners import Prototypical, Siamese

IMAGES = images(6)
LABELS = np.array([1, 0, 1, 2, 0, 2])
ROWS = IMAGES.reshape(6, -1).astype(np.float64)
EUCLIDEAN = np.sqrt(((ROWS[:, None] - ROWS) ** 2).sum(-1))
COSINE = (ROWS @ ROWS.T) / np.linalg.norm(ROWS, axis=1) / np.linalg.norm(ROWS, axis=1)[:, None]
UPPER = np.triu_indices(6, 1)


def close(found, expected):
    # Sums of 16 float32 numbers below 1, and distances made of them.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


# ---- what a model says of images and pairs


@pytest.mark.parametrize(
    ("model", "metric", "expected", "alike"),
    [
        (identity_encoder, None, EUCLIDEAN, False),
        (identity_encoder, "dot", ROWS @ ROWS.T, True),
        (
            lambda: keras.Sequential([identity_encoder(), GramMatrix("sqeuclidean")]),
            None,
            EUCLIDEAN**2,
            False,
        ),
        (
            lambda: keras.Sequential([identity_encoder(), GramMatrix("cosine_similarity")]),
            None,
            (1 + COSINE) / 2,
            True,
        ),
        (lambda: keras.Sequential([identity_encoder(), GramMatrix("dot")]), "euclidean", EUCLIDEAN, False),
        (lambda: Siamese(identity_encoder(), "cosine_similarity"), None, (1 + COSINE) / 2, True),
        (lambda: Siamese(identity_encoder(), "cosine", output="embeddings"), None, 1 - COSINE, False),
        (lambda: Prototypical(identity_encoder()), None, EUCLIDEAN**2, False),
        (lambda: Prototypical(identity_encoder(), "cosine"), None, 1 - COSINE, False),
    ],
    ids=[
        *("model", "metric", "gram", "gram-similarity", "gram-metric"),
        *("siamese", "siamese-embeddings", "prototypical", "prototypical-cosine"),
    ],
)
def test_pairs_are_compared_as_the_model_does(model, metric, expected, alike):
    model = model()
    found = values.values_of(model, IMAGES, metric=metric)
    close(found.matrix, expected)
    assert found.larger_is_alike is alike
    close(values.values_of(model, IMAGES[:2], IMAGES[3:], metric).matrix, expected[:2, 3:])
    close(values.embeddings_of(model, IMAGES), ROWS)


def test_a_model_that_compares_a_batch_needs_its_encoder():
    encoder, images, labels = identity_encoder(), keras.Input(IMAGES.shape[1:]), keras.Input((3,))
    model = keras.Model([images, labels], CentroidsMatrix("sqeuclidean")([encoder(images), labels]))
    with pytest.raises(
        ArgumentError, match="encoder must be given for a model whose outputs depend on the other"
    ):
        values.embeddings_of(model, IMAGES)
    close(values.values_of(model, IMAGES, encoder=encoder).matrix, EUCLIDEAN)


def test_scores_of_classes_are_the_learners_own_or_means():
    support = values.labelled("support", (IMAGES, LABELS))
    members = [np.flatnonzero(label == LABELS) for label in range(3)]
    means = np.stack([ROWS[rows].mean(0) for rows in members])
    own = values.class_scores_of(Prototypical(identity_encoder()), IMAGES[:2], support)
    close(own, -((ROWS[:2, None] - means) ** 2).sum(-1))
    of_pairs = np.stack([EUCLIDEAN[:2, rows].mean(1) for rows in members], axis=1)
    close(values.class_scores_of(identity_encoder(), IMAGES[:2], support), -of_pairs)
    close(
        values.class_scores_of(Prototypical(identity_encoder()), IMAGES[:2], support, "euclidean"), -of_pairs
    )


def test_a_similarity_is_no_distance_to_a_siamese_learner():
    learner = Siamese(identity_encoder(), "cosine_similarity")
    assert learner.larger_is_alike
    rows = ROWS.astype(np.float32)
    assert np.asarray(learner.class_scores(rows[:, None], rows)).argmax(axis=1).tolist() == [*range(6)]


# ---- the figures


def drawn(callback, model=None, epoch=3):
    callback.set_model(model or identity_encoder())
    return callback.figure(callback.model, epoch)


def spans(figure):
    """The least and the greatest number of each box."""
    return [tuple(line.get_ydata()) for line in figure.axes[0].lines if line.get_marker() == "o"]


def test_boxes_are_of_each_pair_once(tmp_path):
    same = (LABELS[:, None] == LABELS)[UPPER]
    of_pairs = EUCLIDEAN[UPPER]
    expected = [(part.min(), part.max()) for part in (of_pairs[same], of_pairs[~same])]
    figure = drawn(callbacks.BinaryStatistics((IMAGES, LABELS), folder=tmp_path))
    close(spans(figure), expected)
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["one class\nn = 3", "two classes\nn = 12"]
    assert figure.get_suptitle() == "Scores of pairs after 3 epochs"
    # A model of pairs, and two sets by their names.
    left, right, target = IMAGES[UPPER[0]], IMAGES[UPPER[1]], same.astype(int)
    data = {"training": ((left, right), target), "test": (IMAGES, LABELS)}
    figure = drawn(
        callbacks.BinaryStatistics(data, folder=tmp_path), Siamese(identity_encoder(), "euclidean")
    )
    close(spans(figure), expected * 2)
    assert {"training", "test"} <= {text.get_text() for text in figure.axes[0].texts}


def test_distances_are_sorted_by_class(tmp_path):
    figure = drawn(callbacks.DistanceMatrix((IMAGES, [*"bacbac"]), folder=tmp_path))
    order = [1, 4, 0, 3, 2, 5]
    close(figure.axes[0].images[0].get_array(), EUCLIDEAN[np.ix_(order, order)])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]


def test_queries_and_support_have_their_labels_in_common(tmp_path):
    queries, support = (IMAGES[:3], [*"ywy"]), (IMAGES, [*"xyzzyx"])
    callback = callbacks.QueriesVersusSupport(queries, support, folder=tmp_path)
    axes = drawn(callback).axes[0]
    order = [0, 5, 1, 4, 2, 3]
    close(axes.images[0].get_array(), EUCLIDEAN[:3, order])
    # Each is its own nearest, one of x, of y and of z: none is right.
    (wrong,) = [marks for marks in axes.collections if len(marks.get_offsets())]
    assert wrong.get_offsets().tolist() == [[0, 0], [2, 1], [4, 2]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["y", "w", "y"]
    with pytest.raises(
        ArgumentError, match="support must have images of every class of the queries, received none of 'w'"
    ):
        callbacks.ConfusionMatrix(queries, support, folder=tmp_path)


def test_answers_are_counted(tmp_path):
    support = ImageStore.from_arrays((IMAGES * 255).astype(np.uint8), np.array(["p", "q", "r"])[LABELS])
    queries = (IMAGES[[0, 1, 2, 3]], ["q", "p", "p", "r"])
    figure = drawn(
        callbacks.ConfusionMatrix(queries, support, folder=tmp_path), Prototypical(identity_encoder())
    )
    assert figure.get_suptitle() == "3 of 4 right after 3 epochs"
    close(figure.axes[0].images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    assert "F1" in [text.get_text() for text in figure.axes[0].texts]


def test_a_map_of_embeddings(tmp_path):
    figure = drawn(callbacks.EmbeddingMap((IMAGES, LABELS), folder=tmp_path))
    expected = plots.plane(ROWS).points
    for label, marks in enumerate(figure.axes[0].collections):
        close(np.abs(marks.get_offsets()), np.abs(expected[label == LABELS]))


# ---- when and where they are written


def fitted(given, epochs=3, **options):
    model = keras.Sequential([tiny_encoder(2), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(IMAGES, LABELS, epochs=epochs, verbose=0, callbacks=given, **options)
    return model


def recorded(folder):
    """The pictures in TensorBoard's files, by name and step."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = {}
    for path in sorted(folder.glob("events.out.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                width, height, *pictures = value.tensor.string_val
                found[value.tag, event.step] = (int(width), int(height), *pictures)
    return found


def test_figures_are_written_for_the_epochs_asked_for(tmp_path):
    seen = []

    def size(model, epoch):
        seen.append((epoch, model))
        return plots.boxes({"a": [epoch, 2]})

    files, board = tmp_path / "pictures" / "deep", tmp_path / "board"
    callback = callbacks.SaveFigures({"my size": size}, board, files, every=2, at_start=True)
    model = fitted([callback])
    assert [epoch for epoch, _ in seen] == [0, 2, 3]
    assert all(each is model for _, each in seen)
    assert sorted(path.name for path in files.iterdir()) == [f"my size-000{i}.png" for i in (0, 2, 3)]
    pictures = recorded(board)
    assert sorted(pictures) == [("my size", 0), ("my size", 2), ("my size", 3)]
    with Image.open(files / "my size-0002.png") as file:
        width, height, encoded = pictures["my size", 2]
        assert file.size == (width, height)
        np.testing.assert_array_equal(tf.io.decode_png(encoded), np.asarray(file.convert("RGB")))
    # A second training begins with the number of its epoch.
    seen.clear()
    fitted([callback], 5, initial_epoch=3)
    assert [epoch for epoch, _ in seen] == [3, 4, 5]


def test_the_figure_that_is_returned_is_written_and_closed(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    others = pyplot.figure()

    def plain(model, epoch):
        figure = pyplot.figure(figsize=(2, 1))
        figure.patch.set_facecolor("red")
        pyplot.figure(others.number)  # the current figure is another one
        return figure

    fitted([callbacks.SaveFigures({"red": plain}, folder=tmp_path)], 1)
    with Image.open(tmp_path / "red-0001.png") as file:
        assert file.convert("RGB").getpixel((5, 5)) == (255, 0, 0)
    assert pyplot.get_fignums() == [others.number]
    pyplot.close(others)


def test_a_training_draws_and_is_not_changed(tmp_path):
    store = ImageStore.from_arrays((IMAGES * 255).astype(np.uint8), LABELS)

    def train(*given):
        keras.utils.set_random_seed(1)
        learner = Siamese(tiny_encoder(2, batch_norm=True), "euclidean", output="embeddings")
        learner.compile("adam")
        batches = store.pk_batches(3, 2, seed=1)
        learner.fit(batches, steps_per_epoch=2, epochs=2, verbose=0, callbacks=[*given], shuffle=False)
        return [np.asarray(variable) for variable in learner.variables]

    given = [
        callbacks.BinaryStatistics(store, folder=tmp_path),
        callbacks.DistanceMatrix(store, folder=tmp_path),
        callbacks.QueriesVersusSupport(store, store, folder=tmp_path),
        callbacks.ConfusionMatrix(store, store, folder=tmp_path),
        callbacks.EmbeddingMap(store, folder=tmp_path),
        callbacks.EmbeddingProjector(store, tmp_path / "board"),
    ]
    for plain, watched in zip(train(), train(*given), strict=True):
        np.testing.assert_array_equal(watched, plain)
    names = {
        f"{name}-000{i}.png" for name in ("pairs", "distances", "support", "confusion", "map") for i in (1, 2)
    }
    assert {path.name for path in tmp_path.glob("*.png")} == names
    assert (tmp_path / "board" / "embeddings.tsv").exists()


# ---- the projector


def test_tensorboard_reads_the_projector(tmp_path):
    config_of = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    plugin = pytest.importorskip("tensorboard.plugins.projector.projector_plugin")
    from google.protobuf import text_format

    columns = {"letter": ["a\tb", 'c"', "", "é", "e", "f"], "number": LABELS}
    path = callbacks.write_projector(tmp_path / "a" / "b", ROWS, columns, IMAGES, 'a "name"')
    entry = text_format.Parse(path.read_text(), config_of.ProjectorConfig()).embeddings[0]
    assert entry.tensor_name == 'a "name"'
    table = plugin._read_tensor_tsv_file(str(path.parent / entry.tensor_path))
    np.testing.assert_array_equal(np.asarray(table, np.float32), ROWS.astype(np.float32))
    lines = (path.parent / entry.metadata_path).read_text(encoding="utf-8").split("\n")
    assert lines == ["letter\tnumber", "a b\t1", 'c"\t0', " \t1", "é\t2", "e\t0", "f\t2", ""]
    width, height = entry.sprite.single_image_dim
    with Image.open(path.parent / entry.sprite.image_path) as sprite:
        assert (width, height, sprite.size) == (4, 4, (12, 12))  # six pictures in a square of three by three
        pixels = np.asarray(sprite)
    for number in range(6):
        row, column = divmod(number, 3)
        part = pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        np.testing.assert_array_equal(part, np.repeat(np.round(IMAGES[number] * 255), 3, axis=-1))
    assert pixels[8:].min() == 255
    # Of one column the first row is a label.
    callbacks.write_projector(tmp_path, ROWS, LABELS)
    assert (tmp_path / "labels.tsv").read_text() == "1\n0\n1\n2\n0\n2\n"
    assert "sprite" not in (tmp_path / "projector_config.pbtxt").read_text()


def test_large_pictures_become_small_ones(tmp_path):
    callbacks.write_projector(tmp_path, np.ones((2, 3)), [0, 1], np.ones((2, 256, 128, 3), np.uint8))
    assert "single_image_dim: 32 single_image_dim: 64" in (tmp_path / "projector_config.pbtxt").read_text()
    with Image.open(tmp_path / "sprite.png") as sprite:
        assert sprite.size == (64, 128)


# ---- arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda at: callbacks.SaveFigures({}, folder=at), "figures must be one or more functions of"),
        (
            lambda at: callbacks.SaveFigures({"a/b": len}, folder=at),
            "figures must have names that files can have",
        ),
        (lambda at: callbacks.SaveFigures({"a": len}), "folder must be given, or `log_dir`"),
        (lambda at: callbacks.SaveFigures({"a": len}, folder=at, every=0), "every must be at least 1"),
        (
            lambda at: callbacks.DistanceMatrix(IMAGES, folder=at),
            r"data must be an ImageStore or \(images, labels\)",
        ),
        (
            lambda at: callbacks.DistanceMatrix((IMAGES, LABELS[:5]), folder=at),
            "data must have a label for each image",
        ),
        (
            lambda at: callbacks.DistanceMatrix((IMAGES[:1], [1]), folder=at),
            "data must have 2 to 5,000 images",
        ),
        (lambda at: callbacks.DistanceMatrix((IMAGES, [*"abcde", None]), folder=at), "data must"),
        (
            lambda at: callbacks.DistanceMatrix((IMAGES, LABELS), folder=at, metric="l3"),
            "metric must be one of sqeu",
        ),
        (
            lambda at: callbacks.DistanceMatrix((IMAGES, LABELS), folder=at, encoder=3),
            "encoder must be a Keras model",
        ),
        (
            lambda at: callbacks.BinaryStatistics((IMAGES, [1] * 6), folder=at),
            "of two classes, received 15 and 0",
        ),
        (lambda at: callbacks.BinaryStatistics({}, folder=at), "data must hold one or more sets"),
        (
            lambda at: callbacks.BinaryStatistics(((IMAGES, IMAGES), LABELS), folder=at),
            "data must have 1 for pairs of one class and 0 for others",
        ),
        (
            lambda at: callbacks.BinaryStatistics(((IMAGES, IMAGES), LABELS[:3]), folder=at),
            r"data must be \(\(left, right\), alike\) of as many each",
        ),
        (
            lambda at: callbacks.EmbeddingMap((IMAGES, LABELS), folder=at, method="tsne"),
            "method must be one of pca",
        ),
        (
            lambda at: callbacks.EmbeddingProjector((IMAGES * 9, LABELS), at),
            "images must be uint8 or float of 0 to 1",
        ),
        (lambda at: callbacks.write_projector(at, [[np.nan]], [0]), "embeddings must be finite numbers"),
        (
            lambda at: callbacks.write_projector(at, [[1.0]], [0, 1]),
            "labels must have a value for each embedding",
        ),
        (
            lambda at: callbacks.write_projector(at, [[1.0]], [0], np.ones((1, 2, 2, 2))),
            r"images must be \[1, H, W, 1 or 3\], received shape \[1, 2, 2, 2\]",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_arguments_are_refused_before_the_training(tmp_path, make, message):
    with pytest.raises(ArgumentError, match=message):
        make(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_what_is_no_figure_ends_the_training(tmp_path):
    with pytest.raises(
        ArgumentError, match="figures must be functions that return a matplotlib Figure, received None"
    ):
        fitted([callbacks.SaveFigures({"nothing": lambda model, epoch: None}, folder=tmp_path)])


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"`log_dir` needs the package tensorboard: pip install 'fslcore\[tens"
    ):
        callbacks.SaveFigures({"a": lambda model, epoch: Figure()}, tmp_path)

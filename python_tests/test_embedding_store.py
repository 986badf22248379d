# SPDX-License-Identifier: MIT
"""Embeddings of stores: the cache, the store, heads on it, and learners of both."""

import subprocess
import sys

import embedding_writer
import keras
import numpy as np
import pytest
from inputs import normal
from oracles_lite import centred_pca, within_class_whitening
from stores import pixel_store

import fslcore as fsl
from fslcore import Prototypical, Siamese, evaluate
from fslcore.arguments import ArgumentError
from fslcore.data import EmbeddingStore, ImageStore, embedding_file
from fslcore.encoders import embed_store, linear_head, pca_head, whitening_head, with_head
from fslcore.encoders.embedding import encoder_digest
from fslcore.layers import CentredPCA, Standardization, WithinClassWhitening

DIM = 6


def encoder(seed=1):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(DIM, activation="tanh")]
    return keras.Sequential(layers)


@pytest.fixture(scope="module")
def store():
    """60 images of 10 classes in 3 groups."""
    rng = np.random.default_rng(0)
    means = rng.integers(0, 150, (10, 1, 8, 8, 1))
    images = (means + rng.integers(0, 100, (10, 6, 8, 8, 1))).astype(np.uint8).reshape(60, 8, 8, 1)
    return ImageStore.from_arrays(images, np.repeat(np.arange(10), 6), np.arange(60) % 3, name="toys")


@pytest.fixture(scope="module")
def embedded(store):
    return embed_store(encoder(), store, keep=False)


# ---- made once


def test_embeddings_are_those_of_the_encoder(store, embedded):
    want = encoder()(store.images / np.float32(255))
    np.testing.assert_allclose(embedded.embeddings, want, rtol=0, atol=1e-6)
    assert embedded.class_names == store.class_names
    assert embedded.group_names == store.group_names
    np.testing.assert_array_equal(embedded.groups, store.groups)
    assert embedded.encoder == encoder_digest(encoder())
    assert repr(embedded) == "EmbeddingStore('toys': 60 embeddings of 6 numbers, 10 classes in 3 groups)"


def test_the_cache_serves_them_and_another_encoder_or_store_does_not(store, tmp_path):
    calls = []
    options = {"cache_dir": tmp_path, "progress": lambda *call: calls.append(call)}
    first = embed_store(encoder(), store, **options)
    assert calls[0] == (0, 60, "embedding images")
    assert calls[-1] == (60, 60, "embedding images")
    calls.clear()
    again = embed_store(encoder(), store, **options)
    assert not calls
    np.testing.assert_array_equal(again.embeddings, first.embeddings)
    assert isinstance(again.embeddings, np.memmap)
    embed_store(encoder(2), store, **options)
    embed_store(encoder(), store.take(np.arange(59)), **options)
    assert len(list(tmp_path.iterdir())) == 3
    assert [call[0] for call in calls if call[0] == 0] == [0, 0]


def test_the_digest_knows_weights_and_layers_but_no_names():
    same, frozen = encoder(), encoder()
    frozen.trainable = False
    assert encoder_digest(same) == encoder_digest(frozen) == encoder_digest(encoder())
    assert encoder_digest(encoder(2)) != encoder_digest(same)
    relu = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(DIM, "relu")])
    relu.set_weights(same.get_weights())
    assert encoder_digest(relu) != encoder_digest(same)
    images = keras.Input((8, 8, 1))
    first = keras.layers.Flatten()(images)
    second = keras.layers.Dense(64)(first)
    models = [keras.Model(images, [first, second][i]) for i in range(2)]
    assert encoder_digest(models[0]) != encoder_digest(models[1])


@pytest.mark.parametrize("damage", ["a byte", "short", "header", "empty"])
def test_a_damaged_file_is_made_anew(store, tmp_path, damage):
    want = embed_store(encoder(), store, cache_dir=tmp_path).embeddings.copy()
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    broken = {"a byte": data, "short": data[:-4], "header": bytes(64) + data[64:], "empty": b""}
    path.write_bytes(broken[damage])
    with pytest.warns(UserWarning, match="are damaged or incomplete; they are made anew"):
        again = embed_store(encoder(), store, cache_dir=tmp_path)
    np.testing.assert_array_equal(again.embeddings, want)


def rows(first, last):
    return normal(3, 40, 5)[first:last]


def interrupted(first):
    yield rows(first, 16)
    yield rows(16, 24)
    raise KeyboardInterrupt


@pytest.mark.parametrize("damage", ["none", "last block", "journal"])
def test_an_interrupted_call_is_continued(tmp_path, damage):
    path = tmp_path / "e"
    with pytest.raises(KeyboardInterrupt):
        embedding_file.write(path, 40, interrupted)
    assert not path.exists()
    partial, journal = tmp_path / "e.partial", tmp_path / "e.journal"
    data = bytearray(partial.read_bytes())
    if damage == "last block":
        data[-1] ^= 1
        partial.write_bytes(data)
    if damage == "journal":
        journal.write_text("nonsense\n")
    began = []

    def rest(first):
        began.append(first)
        yield rows(first, 40)

    np.testing.assert_array_equal(embedding_file.write(path, 40, rest), rows(0, 40))
    assert began == [{"none": 24, "last block": 16, "journal": 0}[damage]]
    assert [each.name for each in tmp_path.iterdir()] == ["e"]


def test_of_several_processes_one_writes(tmp_path):
    command = [sys.executable, embedding_writer.__file__, str(tmp_path / "e")]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = "".join(writer.communicate(timeout=100)[0] for writer in writers).splitlines()
    assert said.count("began 0") == 1
    assert sorted(said) == ["began 0", *3 * [f"sum {float(embedding_writer.rows(0, 40).sum())}"]]


def test_a_cache_that_cannot_be_written_is_warned_of(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="could not keep the embeddings of toys"):
        found = embed_store(encoder(), store, cache_dir=tmp_path / "file")
    assert len(found) == 60


def test_what_cannot_be_embedded_is_refused(store):
    with pytest.raises(ArgumentError, match="encoder must be a built Keras model or layer, received int"):
        embed_store(3, store)
    with pytest.raises(ArgumentError, match="store must be an ImageStore, received list"):
        embed_store(encoder(), [])
    with pytest.raises(ArgumentError, match=r"store must hold images \[8, 8, 1\] for this encoder"):
        embed_store(encoder(), pixel_store(2, (4, 4, 1)))
    bad = encoder()
    bad.set_weights([np.full_like(w, np.nan) for w in bad.get_weights()])
    with pytest.raises(ArgumentError, match="encoder must embed every image as finite numbers, received NaN"):
        embed_store(bad, store, keep=False)


# ---- the store


@pytest.mark.parametrize("by", ["label", "group"])
def test_parts_are_those_of_the_images(store, embedded, by):
    sizes = {"train": 2, "test": 1}
    of_images, parts = store.split(by, seed=3, **sizes), embedded.split(by, seed=3, **sizes)
    for name, part in parts.items():
        assert part.class_names == of_images[name].class_names
        assert part.group_names == of_images[name].group_names
        assert part.name == of_images[name].name
        np.testing.assert_array_equal(part.labels, of_images[name].labels)
    default = fsl.data.default_split(embedded)
    assert {name: part.n_classes for name, part in default.items()} == {"train": 6, "val": 2, "test": 2}


def test_episodes_and_batches_are_those_of_the_images(store, embedded):
    embed = encoder()
    for images, vectors in zip(
        store.episodes(3, 2, 1, seed=5, episodes=2), embedded.episodes(3, 2, 1, seed=5), strict=False
    ):
        for left, right in zip(images, vectors, strict=True):
            assert right.shape[2:] == (1, 1, DIM)
            flat = embed(np.reshape(left, (-1, 8, 8, 1)))
            np.testing.assert_allclose(np.reshape(right, (-1, DIM)), flat, rtol=0, atol=1e-6)
    images, labels = next(iter(store.pk_batches(4, 2, seed=5)))
    vectors, same = next(iter(embedded.pk_batches(4, 2, seed=5)))
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_allclose(np.reshape(vectors, (-1, DIM)), embed(images), rtol=0, atol=1e-6)


def test_refused(embedded):
    for call in (
        lambda: embedded.episodes(2, 1, 1, rotations=True),
        lambda: embedded.pk_batches(2, 2, rotations=True),
    ):
        with pytest.raises(ArgumentError, match="rotations must be left out for embeddings"):
            call()
    with pytest.raises(ArgumentError, match=r"embeddings must be float32 \[N, D\], not empty"):
        EmbeddingStore(np.zeros((3, 4)), np.zeros(3, np.int32))
    with pytest.raises(ArgumentError, match="rows must be one or more distinct numbers of 0"):
        embedded.take([60])
    with pytest.raises(ArgumentError, match="n must be at most 6"):
        embedded.with_min_images(7)
    assert embedded.with_min_images(6) is embedded


# ---- heads


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_centred_pca_is_that_of_the_oracle(power):
    train, x = normal(0, 50, 7) * np.arange(1, 8, dtype=np.float32), normal(1, 9, 7)
    layer = CentredPCA(4, power).adapt(train)
    got, want = np.asarray(layer(x)), centred_pca(train, x, 4, power)
    signs = np.sign((got * want).sum(axis=0))  # of a direction, which is arbitrary
    np.testing.assert_allclose(got, want * signs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(layer(x[:, None, None]), got, rtol=0, atol=1e-6)


def test_directions_beyond_the_rank_are_zero():
    flat = np.concatenate([normal(0, 20, 3), np.zeros((20, 4), np.float32)], axis=1)
    assert not np.asarray(CentredPCA(None).adapt(flat)(normal(1, 5, 7)))[:, 3:].any()


@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
def test_within_class_whitening_is_that_of_the_oracle(shrinkage):
    labels = np.repeat(np.arange(12), 5)
    train = normal(0, 60, 6) * np.arange(1, 7, dtype=np.float32) + normal(2, 12, 6)[labels]
    x = normal(1, 9, 6)
    layer = WithinClassWhitening(shrinkage).adapt(train, labels)
    want = within_class_whitening(train, labels, x, shrinkage)
    np.testing.assert_allclose(layer(x), want, rtol=0, atol=1e-5)
    np.testing.assert_allclose(layer(x[:, None, None]), want, rtol=0, atol=1e-5)


def test_standardization():
    train = normal(0, 50, 5) * [1, 2, 3, 4, 0] + [0, 1, 2, 3, 4]
    layer = Standardization().adapt(train)
    got = np.asarray(layer(train))
    np.testing.assert_allclose(got[:, :4].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(got[:, :4].std(axis=0), 1, atol=1e-5)
    # What does not vary in training is not blown up later: at most by 1 / sqrt(0.001 of the mean variance).
    least = (1e-3 * train.var(axis=0).mean()) ** -0.5
    np.testing.assert_allclose(layer(train + 1)[:, 4], least, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CentredPCA(0), "components must be at least 1"),
        (lambda: CentredPCA(4, -1.0), "power must be at least 0"),
        (lambda: CentredPCA(9).adapt(normal(0, 20, 7)), "components must be at most 7"),
        (lambda: CentredPCA(2).adapt(np.ones((5, 4))), "embeddings must differ"),
        (lambda: Standardization().adapt(np.ones((5, 4))), "embeddings must differ"),
        (
            lambda: CentredPCA(2).adapt(np.full((5, 4), np.nan)),
            "embeddings must be two or more rows of finite",
        ),
        (
            lambda: CentredPCA(2).adapt(normal(0, 20, 7)).adapt(normal(0, 20, 6)),
            r"embeddings must be \[N, 7\]",
        ),
        (lambda: WithinClassWhitening(0), "shrinkage must be above 0"),
        (
            lambda: WithinClassWhitening().adapt(normal(0, 4, 7), np.arange(4)),
            "labels must have classes with two",
        ),
        (
            lambda: WithinClassWhitening().adapt(np.ones((4, 7)), [0, 0, 1, 1]),
            "labels must have classes with two",
        ),
        (
            lambda: WithinClassWhitening().adapt(normal(0, 4, 7), [0, 1]),
            r"labels must be \[4\], received \[2\]",
        ),
        (lambda: pca_head(np.ones((5, 4))), "train must be an EmbeddingStore, received ndarray"),
        (lambda: Prototypical(encoder(), "manhattan"), "metric must be one of sqeuclidean, cosine"),
        (lambda: Prototypical(encoder(), temperature=0), "temperature must be a finite number above 0"),
    ],
)
def test_wrong_arguments_of_heads(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize("make", [lambda train: pca_head(train, 4), whitening_head], ids=["pca", "whitening"])
def test_a_head_scores_embeddings_as_the_whole_scores_images(store, embedded, tmp_path, make):
    images, vectors = store.split(seed=1, train=5, test=5), embedded.split(seed=1, train=5, test=5)
    head = make(vectors["train"])
    of_vectors = evaluate(Prototypical(head, metric="cosine"), vectors["test"], 3, 2, 2, episodes=40)
    whole = Prototypical(with_head(encoder(), head), metric="cosine")
    of_images = evaluate(whole, images["test"], 3, 2, 2, episodes=40)
    np.testing.assert_array_equal(of_images.episode_accuracies, of_vectors.episode_accuracies)
    assert of_vectors.accuracy > 0.5  # chance is 0.33
    whole.save(tmp_path / "whole.keras")
    loaded = keras.models.load_model(tmp_path / "whole.keras")
    x = store.images[:4] / np.float32(255)
    np.testing.assert_array_equal(loaded.embed(x), whole.embed(x))


def test_cosine_scores():
    learner = Prototypical(encoder(), "cosine", temperature=3.0)
    support, query = normal(0, 4, 2, 5), normal(1, 3, 5)
    prototypes = support.mean(axis=1)
    unit = [each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (query, prototypes)]
    np.testing.assert_allclose(
        learner.class_scores(support, query), 3 * unit[0] @ unit[1].T, rtol=0, atol=1e-5
    )
    assert Prototypical.from_config(learner.get_config()).get_config() == learner.get_config()


def test_a_linear_head_is_trained_on_embeddings(embedded):
    keras.utils.set_random_seed(0)
    head = linear_head(embedded, 5, dropout=0.1)
    assert len(head.trainable_weights) == 2
    learner = Siamese(head, "euclidean", output="embeddings")
    learner.compile("adam")
    history = learner.fit(embedded.pk_batches(5, 3), steps_per_epoch=5, epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    np.testing.assert_allclose(np.linalg.norm(learner.embed(embedded.gather([0, 3])), axis=1), 1, atol=1e-5)


def test_episodes_of_embeddings_train_a_prototypical_network(embedded):
    keras.utils.set_random_seed(0)
    learner = Prototypical(linear_head(embedded, 5), metric="cosine")
    learner.compile("adam")
    history = learner.fit(embedded.episodes(5, 1, 2), steps_per_epoch=20, epochs=3, shuffle=False, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_widths_must_fit(embedded):
    head = linear_head(EmbeddingStore(normal(0, 4, 9), np.arange(4, dtype=np.int32)))
    with pytest.raises(ArgumentError, match=f"head must take embeddings of {DIM} numbers, .* received 9"):
        with_head(encoder(), head)

# SPDX-License-Identifier: MIT
"""Operators on DataFrames, and sequences of the pictures that a frame names."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import frames, load, sequences

pandas = pytest.importorskip("pandas", reason="pandas, of the extra 'tables', is not installed")

LABELS = [3, 1, 3, 1, 2, 2, 1, 3, 1, 2, 1, 1]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Pictures 0.png to 11.png, 16 x 16, the i-th 10 * i bright, its lower right 8 x 8 10 * i + 5."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(len(LABELS)):
        values = np.full((16, 16), 10 * i, np.uint8)
        values[8:, 8:] += 5
        Image.fromarray(values).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def frame():
    files = [f"{i}.png" for i in range(len(LABELS))]
    return pandas.DataFrame({"filename": files, "label": LABELS}, index=range(100, 112))


def brightness(image):
    return int(np.rint(np.asarray(image).ravel()[0] * 255))


def test_the_pictures_of_a_frame_are_those_of_its_store_in_its_order(root, frame):
    before = frame.copy(deep=True)
    samples = sequences.frame_images(frame, image_size=12, channels=1, data_dir=root)
    store = load(frame, image_size=12, channels=1, data_dir=root)
    order = np.argsort(LABELS, kind="stable")
    rows = np.arange(len(LABELS))
    assert np.array_equal(samples.read(order), store.gather(rows))
    assert samples.class_names == ("1", "2", "3")
    assert samples.labels.tolist() == [label - 1 for label in LABELS]
    images, labels = sequences.Deterministic(samples, 5).batch(1, 0)
    assert [brightness(image) for image in images] == [50, 60, 70, 80, 90]
    assert labels.tolist() == [1, 0, 2, 0, 1]
    crops = frame.assign(crop_y=8, crop_x=8, crop_height=8, crop_width=8, group=["x", "y"] * 6)
    within = sequences.OneShotTasks(
        sequences.frame_images(crops, image_size=8, channels=1, data_dir=root), 2, tasks=3, within_groups=True
    )
    (query, support), _ = within.batch(4, 0)
    assert brightness(query[0]) % 10 == 5
    assert {brightness(image) // 10 % 2 for image in [query[0], *support[0]]} == {1}  # group "y"
    (first, second), target = sequences.BalancedPairs(samples, 4, pairs_per_query=4).batch(0, 0)
    rows = [[brightness(image) // 10 for image in side] for side in (first, second)]
    assert [LABELS[a] == LABELS[b] for a, b in zip(*rows, strict=True)] == target.astype(bool).tolist()
    pandas.testing.assert_frame_equal(frame, before)


def test_frames_that_cannot_be_served_are_refused(root, frame, tmp_path, monkeypatch):
    def refused(message, table, **options):
        with pytest.raises(ArgumentError, match=message):
            sequences.frame_images(table, data_dir=root, **options)
        with pytest.raises(ArgumentError, match=message):
            frames.ToKShotDataset(2, data_dir=root)(table)

    refused("frame must have the columns filename and label.*no column 'filename'", frame[["label"]])
    refused("no column 'label' among 'filename'", frame[["filename"]])
    gone = frame.assign(filename=["nowhere.png", *frame["filename"][1:]])
    refused(r"is not there: .*nowhere.png in 1 of 12 rows \(index 100\)", gone)
    mixed = frame.assign(label=pandas.Series(["a", 1] * 6, index=frame.index, dtype=object))
    refused(r"label is 1, of another kind than 'a', in 6 of 12 rows \(index 101", mixed)
    refused("label has no value in 1 of 12 rows", frame.assign(label=[None, *LABELS[1:]]))
    refused("frame must have rows", frame[:0])
    with pytest.raises(ArgumentError, match="frame must be a DataFrame, received frame of type str"):
        sequences.frame_images("pictures.csv")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = frame.assign(filename=[str(tmp_path / "broken.png"), *frame["filename"][1:]])
    with pytest.raises(ArgumentError, match=r"pictures that can be read, received .*broken.png \(row 0"):
        sequences.Deterministic(sequences.frame_images(broken, data_dir=root), 2).batch(0, 0)
    monkeypatch.chdir(root)
    assert len(sequences.Deterministic(frame, 5)) == 3  # relative to the working folder


def test_a_k_shot_dataset_reaches_every_picture_and_has_k_of_a_class_in_a_row(root, frame):
    before = frame.copy(deep=True)

    def bright(image):
        return image[0, 0, 0]

    dataset = frame.pipe(frames.ToKShotDataset(2, bright, channels=1, data_dir=root))
    assert int(dataset.cardinality()) == 6
    seen, orders = collections.Counter(), set()
    for _ in range(6):
        rows, labels = zip(
            *[(int(value) // 10, tuple(label.numpy())) for value, label in dataset], strict=True
        )
        assert [tuple(np.eye(3)[LABELS[row] - 1]) for row in rows] == list(labels)
        classes = [LABELS[row] for row in rows]
        assert classes[::2] == classes[1::2]
        assert sorted(classes[::2]) == [1, 2, 3]
        assert len(set(rows)) == 6
        seen.update(rows)
        orders.add(tuple(classes))
    # Six passes of two: each picture of a class of 6 twice, of a class of 3 four times.
    assert {row: seen[row] for row in range(12)} == {
        row: 12 // LABELS.count(LABELS[row]) for row in range(12)
    }
    assert len(orders) > 1
    pandas.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_the_circle_of_a_class_has_no_row_twice(size):
    for k_shot in range(1, size + 1):
        epochs = [frames.rows_of_epoch(np.array([size, size]), k_shot, 7, epoch) for epoch in range(4 * size)]
        assert all(len(set(rows.tolist())) == 2 * k_shot for rows in epochs)
        for start in range(0, 3 * size, -(-size // k_shot) if size % k_shot == 0 else 3 * size):
            enough = epochs[start : start + -(-size // k_shot)]
            assert set(np.concatenate(enough).tolist()) == set(range(2 * size))


def test_a_k_shot_dataset_crops_resizes_caches_and_takes_other_labels(root, frame, tmp_path):
    crops = frame.assign(crop_y=8, crop_x=8, crop_height=8, crop_width=[8, 7] * 6, weight=np.arange(12) / 2)
    for options in ({}, {"image_size": 8}, {"image_size": 8, "cache": tmp_path / "kept"}):
        made = frames.ToKShotDataset(1, label_column="weight", channels=1, data_dir=root, **options)
        for image, weight in crops.pipe(made):
            value = image.numpy().ravel()[0]
            assert int(np.rint(value * 255 if options else value)) == int(20 * weight) + 5
            assert image.shape == (8, 8 if options or int(2 * weight) % 2 == 0 else 7, 1)
    assert list((tmp_path / "kept").glob("*.images"))
    with pytest.raises(ArgumentError, match="k_shot = 4: class '2' has 3; 2 of 3 classes"):
        frame.pipe(frames.ToKShotDataset(4, data_dir=root))
    with pytest.raises(ArgumentError, match="image_size must be given where pictures are cached"):
        frames.ToKShotDataset(1, cache=tmp_path)
    with pytest.raises(ArgumentError, match="label_column must be 'label_one_hot' or a column of numbers"):
        frame.pipe(frames.ToKShotDataset(1, label_column="filename", data_dir=root))
    with pytest.raises(ArgumentError, match="no column 'weight'"):
        frame.pipe(frames.ToKShotDataset(1, label_column="weight", data_dir=root))


def naive(scores, edges):
    """P(max_i X_i = X_label) of one picture, bin by bin; scores: {label: [...]}."""
    found = {}
    for label in scores:
        total = 0.0
        for b in range(len(edges) - 1):

            def is_in(score, b=b):
                last = b == len(edges) - 2
                return edges[b] <= score < edges[b + 1] or (last and score == edges[-1])

            share = sum(map(is_in, scores[label])) / len(scores[label])
            for other, values in scores.items():
                if other != label:
                    below = sum(score < edges[b + 1] or is_in(score) for score in values)
                    share *= below / len(values)
            total += share
        found[label] = total
    return found


@pytest.mark.parametrize(
    ("options", "edges", "spread"),
    [
        ({}, np.linspace(0, 1, 26), (0, 1)),
        ({"bins": 4, "range": (-3, 5)}, np.linspace(-3, 5, 5), (-3, 5)),
        ({"bins": [0, 0.5, 2, 2.25]}, np.array([0, 0.5, 2, 2.25]), (0, 2.25)),
    ],
    ids=["default", "wide", "edges"],
)
def test_naive_max_proba_is_the_chance_of_the_highest_score(options, edges, spread):
    draw = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "image_name": draw.choice(["y", "x"], 60),
            "label": draw.choice(["b", "c", "a"], 60),
            "score": draw.uniform(*spread, 60),
        }
    )
    table.loc[0, "score"] = spread[1]  # the last bin has its upper edge
    before = table.copy(deep=True)
    found = table.pipe(frames.NaiveMaxProba(**options))
    assert list(found.columns) == ["image_name", "label", "score", "confidence"]
    assert found[["image_name", "label"]].to_numpy().tolist() == [[i, j] for i in "xy" for j in "abc"]
    for image in "xy":
        of_image = table[table["image_name"] == image]
        scores = {label: of_image[of_image["label"] == label]["score"].tolist() for label in "abc"}
        expected = naive(scores, edges)
        rows = found[found["image_name"] == image]
        assert rows["score"].tolist() == [scores[label] for label in "abc"]
        np.testing.assert_allclose(rows["confidence"], [expected[label] for label in "abc"], rtol=1e-12)
    pandas.testing.assert_frame_equal(table, before)


def test_naive_max_proba_by_hand():
    # Two labels of two scores, in bins of width 1 from 0 to 2: the range that the original got wrong.
    table = pandas.DataFrame(
        {"image_name": "x", "label": ["a", "a", "b", "b"], "score": [0.5, 1.5, 0.2, 0.7]}
    )
    found = table.pipe(frames.NaiveMaxProba(bins=2, range=(0, 2)))
    assert found["confidence"].tolist() == [1.0, 0.5]
    with pytest.raises(
        ArgumentError, match=r"score must be from 0 to 1.*received 1 of 4 beyond, the first 1\.5 at"
    ):
        table.pipe(frames.NaiveMaxProba())
    with pytest.raises(ArgumentError, match="no column 'score' among"):
        table[["image_name", "label"]].pipe(frames.NaiveMaxProba())
    with pytest.raises(ArgumentError, match="score must have a value in every row, received 1 without one"):
        table.assign(score=[np.nan, 1, 1, 1]).pipe(frames.NaiveMaxProba(range=(0, 2)))
    with pytest.raises(ArgumentError, match="score must be numbers"):
        table.assign(score=list("abcd")).pipe(frames.NaiveMaxProba())
    for options in ({"bins": 0}, {"bins": [1, 1]}, {"range": (1, 0)}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            frames.NaiveMaxProba(**options)


def test_a_random_assignment_keeps_groups_together_and_the_frame_as_it_is():
    table = pandas.DataFrame({"day": np.arange(3000) // 3, "value": range(3000)}, index=range(3000)[::-1])
    before = table.copy(deep=True)
    found = table.pipe(frames.RandomAssignment("day"))
    pandas.testing.assert_frame_equal(table, before)
    pandas.testing.assert_frame_equal(found[["day", "value"]], before)
    assert found.groupby("day")["random_split"].nunique().max() == 1
    shares = found["random_split"].value_counts(normalize=True)
    for part, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
        assert abs(shares[part] - share) < 5 * np.sqrt(share * (1 - share) / 1000)
    # A group keeps its part in any order, and beside any others; another seed divides otherwise.
    again = before.iloc[::-7].pipe(frames.RandomAssignment("day"))
    assert (again["random_split"] == found["random_split"].loc[again.index]).all()
    other = table.pipe(frames.RandomAssignment("day", seed=1))
    assert (other["random_split"] != found["random_split"]).any()
    two = table.assign(place=table["value"] % 2).pipe(
        frames.RandomAssignment(["day", "place"], choices=[1, 2, 3], column_name="fold")
    )
    assert set(two["fold"]) == {1, 2, 3}
    assert two.groupby(["day", "place"])["fold"].nunique().max() == 1
    all_in_one = table.pipe(frames.RandomAssignment("day", choices=["a", "b"], p=[0, 1]))
    assert set(all_in_one["random_split"]) == {"b"}
    with pytest.raises(ArgumentError, match="no column 'night' among 'day', 'value'"):
        table.pipe(frames.RandomAssignment("night"))
    with pytest.raises(
        ArgumentError, match=r"day must have a value in every row.*1 without one \(index 2999"
    ):
        table.assign(day=[None, *[1.0] * 2999]).pipe(frames.RandomAssignment("day"))
    for options in ({"p": [1]}, {"p": [0.5, 0.5, 0.5]}, {"p": [2, -1, 0]}, {"choices": []}):
        with pytest.raises(ArgumentError, match=next(iter(options))):
            frames.RandomAssignment("day", **options)

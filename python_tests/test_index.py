# SPDX-License-Identifier: MIT
"""One contract for all indexes, with plain loops as the truth; recall where an index approximates."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import oracles_search
import pytest
from asserts import pairwise_tolerance
from inputs import integers, normal

from fslcore.classifier.index import (
    ExactIndex,
    FaissIndex,
    LanceIndex,
    ShardedIndex,
    on_ray,
    recall,
)

DIM = 12
LABELS = ("cat", 1, "1", "it's", "naïve")


def of_shards(_, metric):
    return ShardedIndex([ExactIndex(DIM, metric) for _ in range(3)])


KINDS = {
    "exact": lambda folder, metric: ExactIndex(DIM, metric),
    "lance": lambda folder, metric: LanceIndex(folder / "made", DIM, metric),
    "faiss": lambda folder, metric: FaissIndex(DIM, metric),
    "faiss ivf": lambda folder, metric: FaissIndex(DIM, metric, "IVF1,Flat"),
    "shards": of_shards,
}
LOADS = {"exact": ExactIndex, "lance": LanceIndex, "faiss": FaissIndex, "shards": ShardedIndex}
NEEDS = {"lance": "lancedb", "faiss": "faiss"}


def require(kind):
    module = NEEDS.get(kind.partition(" ")[0])
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


@pytest.fixture(params=KINDS)
def kind(request):
    require(request.param)
    return request.param


def filled(kind, folder, metric="sqeuclidean", count=90, seed=0):
    """An index, and what is in it: ids, vectors, labels."""
    index = KINDS[kind](folder, metric)
    ids, vectors = np.arange(count) * 7 + 3, normal(seed, count, DIM)
    labels = [LABELS[i % 5] for i in range(count)]
    index.add(ids, vectors, labels)
    return index, ids, vectors, labels


def assert_found(found, queries, ids, vectors, labels, k, metric, skip=()):
    """What a search must find among rows of which those at the places `skip` are gone."""
    kept = np.array([i for i in range(len(ids)) if i not in skip], int)
    present = min(k, len(kept))
    values, places = oracles_search.nearest(queries, vectors[kept], present, metric)
    tolerance = pairwise_tolerance(queries, vectors, metric).max() * 4
    assert found.ids.shape == found.values.shape == (len(queries), k)
    assert (found.ids.dtype, found.values.dtype) == (np.int64, np.float32)
    # Normal numbers: no two distances are as near as the tolerance, but for a few that chance brings.
    np.testing.assert_array_equal(found.ids[:, :present], np.asarray(ids)[kept[places]])
    np.testing.assert_allclose(found.values[:, :present], values, rtol=0, atol=tolerance)
    assert [row[:present] for row in found.labels] == [
        tuple(labels[i] for i in row) for row in kept[places].tolist()
    ]
    assert (found.ids[:, present:] == -1).all()
    assert np.all(found.values[:, present:] == (-np.inf if metric == "dot" else np.inf))
    assert all(row[present:] == (None,) * (k - present) for row in found.labels)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine", "dot"])
def test_a_search_finds_the_nearest(kind, metric, tmp_path):
    index, ids, vectors, labels = filled(kind, tmp_path, metric)
    assert (len(index), index.counts) == (90, dict.fromkeys(LABELS, 18))
    queries = normal(1, 6, DIM)
    assert_found(index.search(queries, 4), queries, ids, vectors, labels, 4, metric)
    assert_found(index.search(queries[:1], 100), queries[:1], ids, vectors, labels, 100, metric)
    assert index.search(np.zeros((0, DIM)), 3).ids.shape == (0, 3)


@pytest.mark.parametrize("metric", ["manhattan", "chebyshev"])
@pytest.mark.parametrize("kind", ["exact", "faiss", "shards"])
def test_the_other_metrics(kind, metric, tmp_path):
    require(kind)
    index, ids, vectors, labels = filled(kind, tmp_path, metric)
    queries = normal(1, 6, DIM)
    assert_found(index.search(queries, 4), queries, ids, vectors, labels, 4, metric)


def test_a_search_among_some_labels(kind, tmp_path):
    index, ids, vectors, labels = filled(kind, tmp_path)
    queries = normal(2, 3, DIM)
    for where, wanted in ((1, {1}), (["it's", "1", "none"], {"it's", "1"}), ([], set()), ("none", set())):
        skip = {i for i, label in enumerate(labels) if label not in wanted}
        found = index.search(queries, 20, where)
        assert_found(found, queries, ids, vectors, labels, 20, "sqeuclidean", skip)


def test_what_was_removed_never_comes_back(kind, tmp_path):
    index, ids, vectors, labels = filled(kind, tmp_path)
    queries = vectors[:10]
    assert index.remove(label="1") == 18
    gone = {i for i, label in enumerate(labels) if label == "1"}
    assert index.remove([ids[0], ids[3]]) == 2
    gone |= {0, 3}
    assert len(index) == 70
    assert_found(index.search(queries, 80), queries, ids, vectors, labels, 80, "sqeuclidean", gone)
    # In the place of one of them something else, under its id.
    index.add([ids[0]], [vectors[0] + 100], "new")
    assert index.search(vectors[:1], 71).labels[0].count("new") == 1
    assert "1" not in index.counts
    index.save(tmp_path / "saved")
    loaded = LOADS[kind.partition(" ")[0]].load(tmp_path / "saved")
    for label in ("1", "new"):
        got = loaded.search(queries, 90, where=label)
        assert np.count_nonzero(got.ids != -1) == (10 if label == "new" else 0)


def test_random_changes(kind, tmp_path):
    rng = np.random.default_rng(7)
    index, held = KINDS[kind](tmp_path, "sqeuclidean"), {}
    for step in range(12):
        count = int(rng.integers(1, 12))
        fresh = [int(i) for i in rng.permutation(200) if i not in held][:count]
        vectors, label = normal(step, count, DIM), LABELS[step % 5]
        index.add(fresh, vectors, label)
        held.update({i: (vector, label) for i, vector in zip(fresh, vectors, strict=True)})
        if step % 3 == 2:
            removed = [int(i) for i in rng.permutation(list(held))[: len(held) // 2]]
            assert index.remove(removed) == len(removed)
            for i in removed:
                del held[i]
        assert len(index) == len(held)
    ids = sorted(held)
    vectors, labels = np.stack([held[i][0] for i in ids]), [held[i][1] for i in ids]
    queries = normal(99, 5, DIM)
    assert_found(index.search(queries, 9), queries, ids, vectors, labels, 9, "sqeuclidean")


def test_save_and_load(kind, tmp_path):
    index, ids, vectors, labels = filled(kind, tmp_path, "cosine")
    index.save(tmp_path / "saved")
    loaded = LOADS[kind.partition(" ")[0]].load(tmp_path / "saved")
    assert (len(loaded), loaded.dim, loaded.metric, loaded.counts) == (90, DIM, "cosine", index.counts)
    queries = normal(3, 4, DIM)
    assert_found(loaded.search(queries, 5), queries, ids, vectors, labels, 5, "cosine")
    loaded.add([1], normal(4, 1, DIM), "more")  # and goes on
    loaded.remove(ids=ids[:3])
    assert (len(loaded), len(index)) == (88, 90)
    assert not [path for path in tmp_path.rglob(".*")]


def test_an_empty_index(kind, tmp_path):
    index = KINDS[kind](tmp_path, "sqeuclidean")
    index.save(tmp_path / "saved")
    for empty in (index, LOADS[kind.partition(" ")[0]].load(tmp_path / "saved")):
        found = empty.search(normal(0, 2, DIM), 3)
        assert (len(empty), empty.counts) == (0, {})
        assert (found.ids == -1).all()
        assert found.labels == [(None,) * 3] * 2
    index.add([], np.zeros((0, DIM)), [])
    assert len(index) == 0


ROWS = np.zeros((2, DIM))
WRONG = {
    "an id that is there": (lambda i: i.add([3, 4], ROWS, "a"), "ids must not be in the index yet"),
    "an id twice": (lambda i: i.add([4, 4], ROWS, "a"), "ids must be different"),
    "an id below 0": (lambda i: i.add([4, -1], ROWS, "a"), "ids must be at least 0"),
    "an id of no integer": (lambda i: i.add([0.5, 1.5], ROWS, "a"), "ids must hold integers"),
    "fewer vectors": (lambda i: i.add([4, 5, 6], ROWS, "a"), r"vectors must be one for each id \(3\)"),
    "fewer labels": (lambda i: i.add([4, 5], ROWS, ["a"]), r"labels must be one for each id \(2\)"),
    "an empty label": (lambda i: i.add([4, 5], ROWS, ["a", ""]), "label must be a string that is not empty"),
    "a true label": (lambda i: i.add([4, 5], ROWS, ["a", True]), "label must be a string"),
    "columns": (lambda i: i.add([4], np.zeros((1, 5)), "a"), "vectors must have 12 columns"),
    "NaN": (lambda i: i.add([4], np.full((1, DIM), np.nan), "a"), "vectors must be finite"),
    "to remove what is not there": (lambda i: i.remove([3, 5]), "ids must be in the index, received 5"),
    "to remove a label that is not there": (lambda i: i.remove(label="dog"), "label must be in the index"),
    "to remove nothing": (lambda i: i.remove(), "ids or `label` must be given"),
    "k": (lambda i: i.search(ROWS, 0), "k must be at least 1"),
    "NaN to search": (lambda i: i.search(np.full((1, DIM), np.inf), 1), "vectors must be finite"),
}


def test_wrong_arguments_leave_the_index_unchanged(kind, tmp_path):
    index, ids, vectors, labels = filled(kind, tmp_path)
    for what, (call, message) in WRONG.items():
        with pytest.raises(ValueError, match=message):
            call(index)
        assert len(index) == 90, what
    queries = normal(5, 3, DIM)
    assert_found(index.search(queries, 5), queries, ids, vectors, labels, 5, "sqeuclidean")


@pytest.mark.parametrize("kind", LOADS)
def test_folders_that_are_none(kind, tmp_path):
    require(kind)
    with pytest.raises(ValueError, match=r"folder must be that of an? .*index"):
        LOADS[kind].load(tmp_path)


def test_a_damaged_or_other_file(tmp_path):
    index, *_ = filled("exact", tmp_path)
    index.save(tmp_path)
    path = tmp_path / "index.fsl"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:30], b"", whole[:200] + b"\xff" + whole[201:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="which is damaged"):
            ExactIndex.load(tmp_path)
    path.write_bytes(whole)
    assert len(ExactIndex.load(tmp_path)) == 90
    if importlib.util.find_spec("faiss"):
        with pytest.raises(ValueError, match="kind 'faiss', received 'exact'"):
            FaissIndex.load(tmp_path)


# What belongs to one of them -----------------------------------------------------------------------------


def test_equal_distances_are_found_in_the_order_of_adding():
    index = ExactIndex(2)
    index.add([9, 4], [[0, 1], [1, 0]], "a")
    index.add([7, 2], [[0, -1], [-1, 0]], "b")
    assert index.search([[0, 0]], 4).ids.tolist() == [[9, 4, 7, 2]]
    index.remove([4])
    assert index.search([[0, 0]], 4).ids.tolist() == [[9, 7, 2, -1]]


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_shards_find_what_one_index_finds(shards):
    vectors, ids = integers(0, 300, DIM), np.arange(300)  # with many equal distances
    one, many = ExactIndex(DIM), ShardedIndex([ExactIndex(DIM) for _ in range(shards)])
    for index in (one, many):
        index.add(ids, vectors, [int(i) % 4 for i in ids])
        index.remove(label=3)
    for where in (None, [0, 2]):
        wanted, got = (index.search(integers(1, 20, DIM), 25, where) for index in (one, many))
        np.testing.assert_array_equal(got.ids, wanted.ids)
        np.testing.assert_array_equal(got.values, wanted.values)
        assert got.labels == wanted.labels


def test_recall_of_an_index_by_partitions(tmp_path):
    require("lance")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16)) * 3
    vectors = (centres[rng.integers(0, 40, 4000)] + rng.normal(size=(4000, 16))).astype(np.float32)
    queries = vectors[:50] + np.float32(0.01)
    exact, lance = ExactIndex(16), LanceIndex(tmp_path / "lance", 16, probes=4)
    for index in (exact, lance):
        index.add(np.arange(4000), vectors, [int(i) % 7 for i in range(4000)])
    lance.train(partitions=16)
    assert lance.is_trained
    wanted, found = exact.search(queries, 10), lance.search(queries, 10)
    share = recall(found.ids, wanted.ids)
    assert 0.7 < share <= 1.0
    # What is found has the values of the exact index.
    same = found.ids == wanted.ids
    assert same.any()
    np.testing.assert_array_equal(found.values[same], wanted.values[same])
    lance.remove(label=3)
    assert 3 not in {label for row in lance.search(queries, 50).labels for label in row}


def test_recall():
    assert recall([[1, 2, 3]], [[3, 2, 4]]) == 2 / 3
    assert recall([[1, -1]], [[1, -1]]) == 1.0
    assert recall([[-1, -1]], [[5, -1]]) == 0.0


ON_RAY = """
import json, sys
import numpy as np
from fslcore.classifier.index import ExactIndex, ShardedIndex, on_ray
vectors, queries = (np.random.default_rng(s).integers(-8, 9, (n, 6)) for s, n in ((0, 200), (1, 9)))
assert "tensorflow" not in sys.modules
index = ShardedIndex(on_ray(lambda: ExactIndex(6), 2, num_cpus=0))
index.add(np.arange(200), vectors, [int(i) % 3 for i in range(200)])
index.remove(label=2)
found = index.search(queries, 15)
index.save(sys.argv[1])
print(json.dumps([found.ids.tolist(), found.values.tolist(), found.labels, len(index)]))
"""


def test_two_shards_on_ray(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, str(tmp_path / "saved")], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    ids, values, labels, count = json.loads(done.stdout.splitlines()[-1])
    vectors, queries = (np.random.default_rng(s).integers(-8, 9, (n, 6)) for s, n in ((0, 200), (1, 9)))
    one = ExactIndex(6)
    one.add(np.arange(200), vectors, [int(i) % 3 for i in range(200)])
    one.remove(label=2)
    wanted = one.search(queries, 15)
    assert (ids, values) == (wanted.ids.tolist(), wanted.values.tolist())
    assert [tuple(row) for row in labels] == wanted.labels
    assert count == len(one) == len(ShardedIndex.load(tmp_path / "saved"))


def test_what_is_not_installed_is_named(monkeypatch, tmp_path):
    for module in ("lancedb", "faiss", "ray"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'fslcore\[lancedb\]'"):
        LanceIndex(tmp_path, DIM)
    with pytest.raises(ImportError, match=r"pip install 'fslcore\[faiss\]'"):
        FaissIndex(DIM)
    with pytest.raises(ImportError, match=r"pip install 'fslcore\[ray\]'"):
        on_ray(lambda: ExactIndex(DIM), 2)

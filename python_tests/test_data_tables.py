# SPDX-License-Identifier: MIT
"""Tables of pictures: which columns and values they may have, and what is said of the others."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from PIL import Image
from warned import told

from fslcore.arguments import ArgumentError
from fslcore.data import default_split, load

pandas = pytest.importorskip("pandas", reason="pandas, of the extra 'tables', is not installed")


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FSLCORE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path):
    """Pictures 0.png to 5.png, the i-th of brightness i with a right half of 100 + i."""
    for i in range(6):
        values = np.full((16, 32), i, np.uint8)
        values[:, 16:] = 100 + i
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    return tmp_path


def frame(**columns):
    return pandas.DataFrame({"filename": [f"{i}.png" for i in range(6)], **columns})


LABELS = ["b", "a", "b", "a", "c", "c"]


def brightness(store):
    return store.images[:, 0, 0, 0].tolist()


def test_a_frame_and_its_files_are_the_same_store(root, monkeypatch):
    table = frame(label=LABELS)
    for ending, separator in ((".csv", ","), (".tsv", "\t"), (".CSV", ";")):
        table.to_csv(root / f"table{ending}", index=False, sep=separator, encoding="utf-8-sig")
        with told():
            store = load(root / f"table{ending}", image_size=8)
        assert (store.name, store.class_names, store.groups, store.parts) == (
            "table",
            ("a", "b", "c"),
            None,
            None,
        )
        assert brightness(store) == [1, 3, 0, 2, 4, 5]
    with told():
        again = load(table, image_size=8, data_dir=root)
    monkeypatch.chdir(root)
    assert again.content_hash == load(table, image_size=8).content_hash == store.content_hash
    monkeypatch.setattr(Image, "open", None)
    assert load(table, image_size=8).content_hash == store.content_hash  # from the cache


NOON = datetime.datetime(2026, 1, 1, 12)
DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([2, 10, 2, 10, 1, 1], ("1", "2", "10")),
        ([2.0, 10.0, 2.0, 10.0, 1.0, 1.0], ("1", "2", "10")),
        (["2", "10", "2", "10", "1", "1"], ("1", "2", "10")),
        (["02", "10", "02", "10", "1", "1"], ("02", "1", "10")),
        ([True, False, True, False, True, True], ("False", "True")),
        (pandas.array([2, 10, 2, 10, 1, 1], dtype="Int64"), ("1", "2", "10")),
        (pandas.array(LABELS, dtype="string"), ("a", "b", "c")),
        (pandas.Categorical(LABELS, categories=["c", "b", "a", "unused"]), ("a", "b", "c")),
        ([NOON + DAY * i for i in (0, 1, 0, 1, 0, 1)], ("2026-01-01 12:00:00", "2026-01-02 12:00:00")),
        ([" b", "a", "b ", "a", "c", "c"], ("a", "b", "c")),
    ],
    ids=["integers", "floats", "texts", "zeros", "truth", "Int64", "string", "categories", "dates", "spaces"],
)
def test_labels_are_of_any_kind(root, labels, names):
    with told():
        assert load(frame(label=labels), image_size=8, data_dir=root).class_names == names


@pytest.mark.parametrize(
    "labels",
    [
        ["b", None, "b", "a", np.nan, "c"],
        ["b", pandas.NA, "b", "a", "  ", "c"],
        [1, np.nan, 1, 2, None, 2],
        pandas.array([1, None, 1, 2, None, 2], dtype="Int64"),
        pandas.Categorical(["b", None, "b", "a", None, "c"]),
        [NOON, pandas.NaT, NOON, NOON, pandas.NaT, NOON],
    ],
    ids=["objects", "NA and spaces", "floats", "Int64", "categories", "dates"],
)
def test_missing_labels_are_named_by_row(root, labels):
    table = frame(label=labels).set_index(pandas.Index(list("uvwxyz")))
    with pytest.raises(ArgumentError, match=r"label has no value in 2 of 6 rows \(index v, y\)"):
        load(table, image_size=8, data_dir=root)


def test_rows_of_a_file_are_named_by_line(root):
    (root / "a.csv").write_text("filename,label\n0.png,a\n1.png,\n2.png,b\n")
    with pytest.raises(ArgumentError, match=r"received a: label has no value in 1 of 3 rows \(line 3\)"):
        load(root / "a.csv")


def test_texts_for_missing_values_are_labels_of_a_file_with_a_warning(root):
    (root / "a.csv").write_text("filename,label\n0.png,None\n1.png,NA\n")
    with told("label hold the text 'None'"):
        assert load(root / "a.csv", image_size=8).class_names == ("NA", "None")


def test_groups_parts_and_crops(root):
    crops = {
        "crop_y": [4] * 6,
        "crop_x": [16, 0, 16, 0, 16, None],
        "crop_height": [12] * 6,
        "crop_width": [16] * 6,
    }
    table = frame(label=LABELS, group=[1, 1, 2, 2, 1, 2], split=["train"] * 4 + ["Test", "test"], **crops)
    table.loc[5, list(crops)] = None
    with told():
        store = load(table, image_size=8, data_dir=root)
    assert brightness(store) == [1, 3, 100, 102, 104, 5]
    assert store.images[-1, 0, -1, 0] == 105  # whole
    assert (store.group_names, store.groups.tolist()) == (("1", "2"), [0, 1, 0, 1, 0, 1])
    assert (store.part_names, store.parts.tolist()) == (("train", "test"), [0, 0, 0, 0, 1, 1])
    with pytest.raises(ArgumentError, match="val must get at least one of the 2"):
        default_split(store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": None}, "no column 'label' among 'filename'"),
        ({"label": ["a"] * 6}, "the only label 'a'"),
        (
            {"label": ["a", 1, "a", 1, "a", "a"]},
            r"label is 1, of another kind than 'a', in 2 of 6 rows \(index 1, 3\)",
        ),
        ({"label": [0.5, 1, 1, 1, 1, 1]}, r"label is 0\.5, which is no class in"),
        ({"split": ["train", "nope"] * 3}, r"split is 'nope', and not train, val or test in 3 of 6 rows"),
        ({"split": ["train", None] * 3}, "split has no value in 3 of 6"),
        ({"group": ["a", None] * 3}, "group has no value in 3 of 6"),
        ({"crop_y": [1] * 6}, "no column crop_x, crop_height, crop_width"),
        ({"filename": [1, *("0.png",) * 5]}, "filename is no path, but 1 in 1 of 6"),
        (
            {"filename": ["gone.png", *("0.png",) * 5]},
            r"filename is not there: .*gone\.png in 1 of 6 rows \(index 0\) \(on_error='skip'",
        ),
        (
            {"crop_y": [0] * 6, "crop_x": [0] * 6, "crop_height": [5, None] * 3, "crop_width": [5] * 6},
            r"crop has only some of its four numbers in 3 of 6 rows \(index 1, 3, 5\)",
        ),
        (
            {"crop_y": [0] * 6, "crop_x": [0] * 6, "crop_height": [5, 0] * 3, "crop_width": [5] * 6},
            r"crop_height is 0.*, and no number of pixels in 1 of 6 rows \(index 1\)",
        ),
        (
            {"crop_y": [0] * 6, "crop_x": [30] * 6, "crop_height": [5] * 6, "crop_width": [5] * 6},
            r"6 broken of 6: .*the crop from y=0, x=30 with height 5 and width 5 is not inside its 16 x 32",
        ),
    ],
)
def test_what_is_wrong_is_named(root, change, message):
    columns = {"label": LABELS, **change}
    table = frame(**{name: value for name, value in columns.items() if value is not None})
    with pytest.raises(ArgumentError, match=f"name_or_path must .*{message}"):
        load(table, image_size=8, data_dir=root)


def test_files_that_are_not_there_can_be_skipped(root):
    table = frame(label=LABELS)
    table.loc[0, "filename"] = "gone.png"
    (root / "1.png").write_bytes(b"broken")
    with told(r"left out: 1 file that is not there, .*gone\.png; left out: 1 image that cannot be read"):
        store = load(table, image_size=8, data_dir=root, on_error="skip")
    assert brightness(store) == [3, 2, 4, 5]


def test_repeated_rows_and_unused_columns_are_said(root):
    table = frame(label=LABELS, note=["x"] * 6)
    table.loc[0, "filename"] = "2.png"
    with told(
        "1 row names a picture that another row names, too, with the same crop; columns .* used: 'note'"
    ):
        load(table, image_size=8, data_dir=root)


def test_a_file_that_is_no_table_is_refused(root):
    (root / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        ArgumentError, match=r"must be a table that pandas reads, in UTF-8, received .*a\.csv"
    ):
        load(root / "a.csv")
    (root / "b.csv").write_text("filename,label\n")
    with pytest.raises(ArgumentError, match="received b: no rows"):
        load(root / "b.csv")

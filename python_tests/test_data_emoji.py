# SPDX-License-Identifier: MIT
"""The dataset `emoji`: loaded from folders and archives, and built from packages of icons."""

import csv
import importlib.util
import shutil
import tarfile
import zipfile
from pathlib import Path

import icon_packages
import numpy as np
import pytest
from commandline import Fslcore
from PIL import Image

from fslcore.arguments import ArgumentError
from fslcore.data import datasets, default_split, load
from fslcore.data.datasets import emoji
from fslcore.data.datasets.emoji import building, drawing, matching, packages

needs_resvg = pytest.mark.skipif(
    importlib.util.find_spec("resvg_py") is None, reason="resvg-py is not installed"
)
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
SHARED = Path(__file__).parents[2] / "shared" / "emoji"

CATEGORIES = ["Activities", "Animals & Nature", "Food & Drink", "Objects", "Symbols"]


@pytest.fixture
def folder(tmp_path):
    """Twenty classes of three pictures, four classes for each of five categories."""
    rng = np.random.default_rng(0)
    rows = []
    for c in range(20):
        name = f"{0x1F600 + c:x}_thing-{c}"
        (tmp_path / "set" / "emoji" / name).mkdir(parents=True)
        for style in ("a", "b", "c"):
            file = f"emoji/{name}/{style}.png"
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "set" / file)
            rows.append([file, name, style, CATEGORIES[c % 5]])
    with (tmp_path / "set" / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "class", "style", "category"], *rows[::-1]])
    return tmp_path / "set"


def pack(folder, kind):
    path = folder.parent / f"packed.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*.*")):
                archive.write(file, file.relative_to(folder.parent))
    else:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, "." if kind == "tgz" else "set")
    return path


# ---- loading


@pytest.mark.parametrize("form", ["folder", "its parent", "zip", "tar.gz", "tgz", "variable"])
def test_a_folder_or_an_archive(folder, tmp_path, form, monkeypatch):
    place = folder
    if form in ("zip", "tar.gz", "tgz"):
        place = pack(folder, form)
        shutil.rmtree(folder)
    if form == "its parent":
        place = folder.rename(tmp_path / "emoji").parent
    if form == "variable":
        monkeypatch.setenv(emoji.VARIABLE, str(folder))
        place = None
    calls = []
    options = {"image_size": 16, "data_dir": place, "cache_dir": tmp_path / "cache"}
    store = load("emoji", **options, progress=lambda *call: calls.append(call))
    assert calls == [(i, 60, "reading emoji") for i in range(61)]
    assert repr(store) == "ImageStore('emoji': 60 images 16x16x3, 20 classes in 5 groups)"
    assert store.class_names[0] == "1f600_thing-0"
    assert list(store.group_names) == CATEGORIES
    np.testing.assert_array_equal(store.groups, store.labels % 5)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(
        store.images, [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(60)]
    )
    again = load("emoji", **options, progress=None)
    assert again.content_hash == store.content_hash


def test_size_channels_and_splits(folder, tmp_path):
    store = load("emoji", image_size=8, channels=1, data_dir=folder, cache_dir=tmp_path)
    assert store.image_shape == (8, 8, 1)
    by_class = default_split(store)
    assert [part.n_classes for part in by_class.values()] == [12, 4, 4]
    by_category = default_split(store, by="group")
    assert by_category["test"].group_names == ("Animals & Nature", "Food & Drink")
    assert by_category["val"].group_names == ("Activities",)
    assert by_category["train"].group_names == ("Objects", "Symbols")
    with pytest.raises(
        ArgumentError, match="by must be None, or 'group' for a dataset that has such a split"
    ):
        default_split(store, by="label")
    with pytest.raises(ArgumentError, match="by must be None, or 'group'"):
        default_split(store.take(range(30), "mine"), by="group")


def test_a_changed_picture_is_read_again(folder, tmp_path):
    options = {"image_size": 16, "data_dir": folder, "cache_dir": tmp_path / "cache"}
    before = load("emoji", **options)
    Image.new("RGB", (17, 16), "red").save(folder / "emoji" / "1f600_thing-0" / "a.png")
    after = load("emoji", **options)
    assert (after.images[0] == [255, 0, 0]).all()
    np.testing.assert_array_equal(after.images[1:], before.images[1:])


@pytest.mark.parametrize(
    "fault", ["no folder", "no manifest", "columns", "missing", "broken", "two categories", "text"]
)
def test_what_is_not_the_data_set_is_refused(folder, tmp_path, fault):
    place, manifest = folder, folder / "manifest.csv"
    picture = folder / "emoji" / "1f601_thing-1" / "b.png"
    match fault:
        case "no folder":
            place, message = tmp_path / "none", "`fslcore data build emoji` makes one, and FSLCORE_EMOJI_DIR"
        case "no manifest":
            manifest.unlink()
            message = "data_dir must be a folder or an archive with the manifest.csv"
        case "columns":
            manifest.write_text(manifest.read_text().replace("category", "kind"))
            message = "one without the columns category; `fslcore data build emoji`"
        case "missing":
            picture.unlink()
            message = "1 of 60 pictures missing: emoji/1f601_thing-1/b.png; `fslcore"
        case "broken":
            picture.write_bytes(b"no picture")
            message = r"1 picture that cannot be read: emoji/1f601_thing-1/b.png \(.* bytes: cannot identify"
        case "two categories":
            manifest.write_text(manifest.read_text().replace("b,Objects", "b,Symbols"))
            message = "the class 1f603_thing-3 in two categories|the class .* in two categories"
        case "text":
            place = tmp_path / "text"
            place.write_text("no archive")
            message = "data_dir must be a folder, a zip or a tar archive, received"
    with pytest.raises((ArgumentError, FileNotFoundError), match=message):
        load("emoji", image_size=16, data_dir=place, cache_dir=tmp_path / "cache")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the prepared copy of emoji is not here")
def test_the_prepared_copy():
    store = load("emoji", image_size=64, data_dir=SHARED)
    assert (len(store), store.n_classes, store.n_groups) == (9184, 1337, 8)
    assert [part.n_classes for part in default_split(store).values()] == [802, 268, 267]
    assert [part.n_classes for part in default_split(store, by="group").values()] == [964, 85, 288]


# ---- building


@pytest.fixture
def archives(tmp_path, monkeypatch):
    icon_packages.write(tmp_path / "archives", monkeypatch)
    return tmp_path / "archives"


@needs_resvg
def test_build_and_load(archives, tmp_path):
    calls = []
    out = tmp_path / "out" / "emoji"
    built = building.build(out, archives, 32, 3, lambda *call: calls.append(call))
    # The globe is drawn as the ball is, and the flag is none of the data set.
    assert (built.classes, built.images, built.few) == (4, 12, 0)
    assert built.alike == (("ball", "globe"),) or built.alike == (("globe", "ball"),)
    assert calls[:5] == [(i, 4, "fetching packages") for i in range(5)]
    assert calls[5:] == [(i, 15, "drawing emoji") for i in range(16)]
    assert {path.name for path in out.iterdir()} == {"emoji", "manifest.csv", "ATTRIBUTION.txt"}
    assert [path.name for path in out.parent.iterdir()] == ["emoji"]  # nothing temporary is left
    store = load("emoji", image_size=32, data_dir=out, cache_dir=tmp_path / "cache")
    assert "1f408_cat" in store.class_names
    cat = store.images[store.labels == store.class_names.index("1f408_cat")]
    # Its bars are black on white, from the left edge, wider from designer to designer.
    widths = sorted((cat[:, 8, :, 0] < 128).sum(axis=1))
    assert widths == [4, 4, 5]
    assert (cat[:, :, -1] == 255).all()
    attribution = (out / "ATTRIBUTION.txt").read_text()
    assert "Nameless Icons, A. Nybody. Licence: MIT. 4 pictures. (@made-up/nameless 1.0.0)" in attribution
    assert "Changes: drawn as 32 x 32 pixels on white." in attribution
    again = building.build(out, archives, 32, 3)
    assert again.digest == built.digest


@needs_resvg
def test_an_interrupted_build_goes_on(archives, tmp_path, monkeypatch):
    drawn, draw = [], drawing.draw

    def stopped(icons, names, size, done):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(len(names))
        return draw(icons, names, size, done)

    monkeypatch.setattr(drawing, "draw", stopped)
    with pytest.raises(KeyboardInterrupt):
        building.build(tmp_path / "out", archives, 32, 3)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(drawing, "draw", lambda *arguments: drawn.append("again") or draw(*arguments))
    built = building.build(tmp_path / "out", archives, 32, 3)
    assert drawn == [5, 5, "again"]
    assert built.images == 12


@needs_npm
def test_packages_are_fetched_once_by_npm(archives, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    wanted = [packages.NAMES, *packages.STYLES.values()]
    with icon_packages.served(archives) as (address, asked):
        monkeypatch.setenv("npm_config_registry", address)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
        packages.fetch(wanted[:2], kept)
        first = len(asked)
        packages.fetch(wanted[:2], kept)
        assert len(asked) == first
        assert {path.name for path in kept.iterdir()} == {each.archive for each in wanted[:2]}
        unknown = packages.Package("made-up-nothing", "1.0.0", "")
        with pytest.raises(RuntimeError, match=r"npm could not fetch made-up-nothing@1\.0\.0: .*404"):
            packages.fetch([unknown], kept)


def test_another_archive_is_refused(archives):
    (archives / packages.NAMES.archive).write_bytes(b"something else")
    with pytest.raises(
        ArgumentError, match=r"packages must hold made-up-names-1\.0\.0\.tgz with the SHA-256"
    ):
        packages.fetch([packages.NAMES], archives)


def test_without_npm_the_missing_archive_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"npm pack unicode-emoji-json@0\.9\.0 makes it"):
        packages.fetch([packages.NAMES], tmp_path)


@needs_resvg
def test_a_folder_with_something_else_is_not_replaced(archives, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(ArgumentError, match=r"out must be a new folder, .* received .*out with diary\.txt"):
        building.build(tmp_path / "out", archives)
    assert (tmp_path / "out" / "diary.txt").read_text() == "mine"


def test_icons_are_matched_by_code_and_by_name():
    listed = {
        "\N{RED APPLE}": {"name": "red apple", "group": "Food & Drink"},
        "\N{CLOCK FACE ONE OCLOCK}": {"name": "one o\N{RIGHT SINGLE QUOTATION MARK}clock", "group": "Travel"},
        "\N{HEAVY BLACK HEART}\ufe0f": {"name": "red heart", "group": "Smileys & Emotion"},
        "\N{BLACK SMALL SQUARE}": {"name": "black small square", "group": "Symbols"},
    }
    wanted = matching.wanted(listed)
    assert {key: value.folder for key, value in wanted.items()} == {
        "1f34e": "1f34e_red-apple",
        "2764": "2764_red-heart",
    }
    sets = {
        "coded": (
            {"icons": {"apple": {}, "heart": {}}},
            {"1f34e": "apple", "2764-fe0f": "heart", "1f550": "x"},
        ),
        "named": ({"icons": {"red_apple": {}, "heavy-black-heart": {}, "car": {}}}, {}),
    }
    assert matching.matched(wanted, sets) == {
        "1f34e": {"coded": "apple", "named": "red_apple"},
        "2764": {"coded": "heart", "named": "heavy-black-heart"},
    }


def test_of_two_classes_that_look_alike_the_first_stays():
    rng = np.random.default_rng(0)
    looks = rng.uniform(0, 255, (3, 12)).astype(np.float32)
    thumbnails = {
        "a": {"x": looks[0], "y": looks[1], "z": looks[2]},
        "b": {"x": looks[0] + 3, "y": looks[1] - 3, "z": looks[1]},  # two of three alike
        "c": {"x": looks[0] + 3, "y": looks[2], "z": looks[0]},  # one of three
    }
    assert drawing.doubles(thumbnails) == {"b": "a"}
    assert drawing.is_blank(np.full(12, 255.0, np.float32))
    assert not drawing.is_blank(looks[0])


@needs_resvg
def test_the_command(archives, tmp_path, capsys, monkeypatch):
    run = Fslcore(tmp_path, capsys, monkeypatch)
    code, out, err = run(
        "data", "build", "emoji", "--out", "made", "--packages", archives, "--size", 16, "--min-styles", 2
    )
    assert code == 0, err
    assert "4 classes, 12 pictures in" in out
    assert "load it with --data emoji --data-dir" in out
    assert "drawing emoji (15)" in err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    complaint = run.complaint("data", "build", "emoji", "--out", "full", "--packages", archives)
    assert "--out must be a new folder, or one with a data set that was built before" in complaint


def test_registered():
    dataset = datasets.get("emoji")
    assert dataset.has_data_dir
    assert dataset.grouped

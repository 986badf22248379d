# SPDX-License-Identifier: MIT
"""The atomic writer: a file is replaced as a whole, or stays as it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from fslcore import files


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_new_file_is_written(tmp_path):
    files.replace(tmp_path / "a.json", lambda temporary: temporary.write_text("new"))
    assert (tmp_path / "a.json").read_text() == "new"
    assert names(tmp_path) == ["a.json"]


def test_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("new")
        assert path.read_text() == "old"

    files.replace(path, write)
    assert path.read_text() == "new"


def test_temporary_file_has_folder_and_suffix_of_the_path(tmp_path):
    def write(temporary):
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".h5"
        assert temporary.name.endswith("model.weights.h5")
        assert temporary.name.startswith(".")
        temporary.touch()

    files.replace(tmp_path / "model.weights.h5", write)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("ha")
        raise error

    with pytest.raises(type(error)):
        files.replace(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_failure_before_the_temporary_file_exists(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.replace(tmp_path / "nowhere" / "a.json", lambda temporary: temporary.write_text("new"))
    assert names(tmp_path) == []


def test_path_that_cannot_be_replaced(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match=r"a\.json"):
        files.replace(tmp_path / "a.json", lambda temporary: temporary.write_text("new"))
    assert names(tmp_path) == ["a.json"]


def test_two_writers_at_once_leave_one_complete_file(tmp_path):
    path = tmp_path / "a.txt"
    contents = [letter * 100_000 for letter in "abcdefgh"]

    def write(content):
        files.replace(path, lambda temporary: temporary.write_text(content))
        return path.read_text()

    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(write, contents))
    assert set(seen) <= set(contents)
    assert names(tmp_path) == ["a.txt"]

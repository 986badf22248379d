# SPDX-License-Identifier: MIT
"""The atomic writer: a file is replaced as a whole, or stays as it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "No space left on device; free space or choose another folder: '{path}'"),
        (errno.EDQUOT, "; free space or choose another folder: '{path}'"),
        (errno.EROFS, "Read-only file system; choose a folder that can be written: '{path}'"),
        (errno.EACCES, "Permission denied; choose a folder that can be written: '{path}'"),
        (errno.EIO, "error: '{path}'"),
    ],
    ids=errno.errorcode.get,
)
@pytest.mark.parametrize("step", ["write", "sync", "move"])
def test_an_error_names_the_path_and_what_would_help(tmp_path, monkeypatch, number, message, step):
    path = tmp_path / "model.weights.h5"
    path.write_text("old")

    def fails(*_):
        raise OSError(number, os.strerror(number))

    if step != "write":
        monkeypatch.setattr(os, {"sync": "fsync", "move": "replace"}[step], fails)
    if step == "sync" and number == errno.EACCES:
        return  # not an error there: the folder may be written but not read
    with pytest.raises(OSError, match="model") as caught:
        files.replace(path, fails if step == "write" else lambda temporary: temporary.write_text("new"))
    assert caught.value.errno == number
    assert str(caught.value).endswith(message.format(path=path))
    assert type(caught.value) is type(OSError(number, ""))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["model.weights.h5"]


def test_file_and_folder_are_on_the_disk_before_replace_returns(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(number):
        synced.append(os.readlink(f"/proc/self/fd/{number}"))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    files.replace(tmp_path / "a.json", lambda temporary: temporary.write_text("new"))
    file, folder = synced
    assert os.path.dirname(file) == str(tmp_path)
    assert file.endswith(".a.json")
    assert folder == str(tmp_path)


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch):
    def fsync(number):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    files.replace(tmp_path / "a.json", lambda temporary: temporary.write_text("new"))
    assert (tmp_path / "a.json").read_text() == "new"


KILLED = """
import os, pathlib, signal, sys
from fslcore import files

def write(temporary):
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

files.replace(pathlib.Path(sys.argv[1]), write)
"""


def test_what_a_killed_writer_left_is_swept_by_the_next_one(tmp_path):
    path = tmp_path / "a.json"
    for name in (path, tmp_path / "b.json"):
        assert subprocess.run([sys.executable, "-c", KILLED, str(name)], check=False).returncode == -9
    assert len(names(tmp_path)) == 2
    files.replace(path, lambda temporary: temporary.write_text("new"))
    assert [name for name in names(tmp_path) if name.endswith("a.json")] == ["a.json"]
    files.sweep(tmp_path)
    assert names(tmp_path) == ["a.json"]


def test_only_abandoned_temporaries_are_swept(tmp_path):
    path = tmp_path / "a.json"

    def write(temporary):
        files.replace(path, lambda other: other.write_text("other"))
        files.sweep(tmp_path)
        temporary.write_text("new")
        files.sweep(tmp_path)

    for name in (".hidden.a.json", ".a.json", ".1234567.a.json", "12345678.a.json"):
        (tmp_path / name).write_text("a file of someone else")
        os.utime(tmp_path / name, (0, 0))
    for name, age in (
        (".00000001.a.json", 1e5),
        (".00000002.1-00000000.a.json", 1e5),
        (".00000003.a.json", 10),
    ):
        (tmp_path / name).write_text("of an older version, or of another machine")
        os.utime(tmp_path / name, (os.stat(tmp_path).st_mtime - age,) * 2)
    files.replace(path, write)
    assert path.read_text() == "new"
    assert names(tmp_path) == sorted(
        [".00000003.a.json", ".1234567.a.json", ".a.json", ".hidden.a.json", "12345678.a.json", "a.json"]
    )

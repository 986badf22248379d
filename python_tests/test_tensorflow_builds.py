# SPDX-License-Identifier: MIT
"""Other TensorFlows: other distributions of the same package, and other builds of the same version."""

import runpy
import sys

import pytest

from fslcore import _core, _tensorflow
from fslcore.cli import doctor
from fslcore.ops import _library


def install(site, name, version="2.21.4"):
    """A package `tensorflow` with the metadata of a distribution of that name; returns its directory."""
    package = site / "tensorflow"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("raise RuntimeError('TensorFlow must not be imported')\n")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "top_level.txt").write_text("tensorflow\n")
    return package


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty site directory, the only place in which packages are found."""
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow-cpu", "tf-nightly"])
def test_every_distribution_of_tensorflow_is_found(site, name):
    package = install(site, name)
    assert _tensorflow.find() == _tensorflow.Installed(package, name, "2.21.4")


def test_a_package_directory_has_the_version_beside_it(tmp_path):
    package = install(tmp_path, "tensorflow-cpu", "2.19.1")
    assert _tensorflow.find(package) == (package, "tensorflow-cpu", "2.19.1")


def test_the_absence_of_tensorflow_is_found(site):
    assert _tensorflow.find() is None
    assert doctor._tensorflow_version() == doctor.Finding("tensorflow", "broken", "is not installed")


def test_a_package_without_metadata_has_no_version(site):
    (site / "tensorflow").mkdir()
    (site / "tensorflow" / "__init__.py").touch()
    assert _tensorflow.find() == (site / "tensorflow", "", "")
    assert "unknown version" in doctor._tensorflow_version().detail


@pytest.mark.parametrize(
    ("name", "detail"), [("tensorflow", "2.21.4"), ("tensorflow-cpu", "2.21.4 (tensorflow-cpu)")]
)
def test_doctor_names_the_distribution(site, name, detail):
    install(site, name)
    assert doctor._tensorflow_version() == doctor.Finding("tensorflow", "ok", detail)


def test_the_build_is_told_directory_and_version(site, capsys, monkeypatch):
    package = install(site, "tensorflow-cpu")
    for arguments in ([], [str(package)]):
        monkeypatch.setattr(sys, "argv", [_tensorflow.__file__, *arguments])
        runpy.run_path(_tensorflow.__file__, run_name="__main__")
        assert capsys.readouterr().out == f"{package};2.21.4"


@pytest.fixture
def other_build(tmp_path):
    """The libraries of the package, which need functions that this TensorFlow does not have."""
    for library in _library._DIRECTORY.glob("*.so"):
        if library.name.startswith("_tf"):
            content = library.read_bytes()
            assert b"_ZN10tensorflow" in content
            # Of equal length, so that everything stays in its place.
            (tmp_path / library.name).write_bytes(content.replace(b"_ZN10tensorflow", b"_ZN10tensorslow"))
        else:
            (tmp_path / library.name).symlink_to(library)
    return tmp_path


OTHER_BUILD = r"built for another build of TensorFlow 2\..*conda.*--no-build-isolation.*undefined symbol"


def test_ops_for_another_build_are_refused_with_an_explanation(other_build):
    with pytest.raises(ImportError, match=OTHER_BUILD):
        _library.load_ops(other_build)


def test_xla_kernels_for_another_build_are_reported_with_an_explanation(other_build):
    problem = _library.load_xla(other_build)
    with pytest.raises(ImportError, match=OTHER_BUILD):
        raise ImportError(problem)


def test_a_library_that_is_not_there_is_called_that(tmp_path):
    with pytest.raises(ImportError, match=r"the TensorFlow ops could not be loaded: .*_tf_ops\.so"):
        _library.load_ops(tmp_path)
    assert "the XLA kernels could not be loaded" in _library.load_xla(tmp_path)


def test_another_minor_version_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(_library.tf, "__version__", "2.99.0")
    needed = _library._minor(_core.built_for_tensorflow)
    with pytest.raises(ImportError, match=rf"found TensorFlow 2\.99\.0.*Install tensorflow=={needed}\.\*"):
        _library.load_ops()

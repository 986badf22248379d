# SPDX-License-Identifier: MIT
"""`import fslcore` makes every saved model with classes, functions and ops of the package loadable."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import saved_models

import fslcore

TESTS = Path(__file__).parent


def run(*arguments: object) -> str:
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


# Prints what is registered in a process that has imported the package and Keras, and then what is registered
# when it has imported all modules that register something.
REGISTRY = """
import keras, fslcore, importlib, json, sys
def registered():
    return sorted(name for name in keras.saving.get_custom_objects() if name.startswith("fslcore"))
first = registered()
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps([first, registered()]))
"""


def modules_that_register() -> list[str]:
    package = Path(fslcore.__file__).parent
    return [
        ".".join(("fslcore", *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(package.rglob("*.py"))
        if package / "docs" not in path.parents  # programs to read, which register objects of their own
        and "@keras.saving.register_keras_serializable" in path.read_text(encoding="utf-8")
    ]


@pytest.fixture(scope="module")
def registry() -> tuple[list[str], list[str]]:
    modules = modules_that_register()
    assert len(modules) > 10
    return tuple(json.loads(run("-c", REGISTRY, json.dumps(modules))))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    saved_models.save(folder)
    return folder


def test_importing_the_package_registers_everything(registry):
    at_once, in_all_modules = registry
    assert at_once == in_all_modules


def test_every_registered_object_is_in_a_saved_model(registry, saved):
    configs = "".join(zipfile.ZipFile(path).read("config.json").decode() for path in saved.glob("*.keras"))
    missing = [name for name in registry[1] if not re.search(rf'"{re.escape(name)}"', configs)]
    # What is found by its name alone is the same in another package.
    assert not missing


def test_another_process_loads_every_model_as_it_was(saved):
    loaded = run(TESTS / "saved_models.py", saved)
    assert loaded.count("loaded") == len(saved_models.cases())


@pytest.mark.parametrize(
    "imports",
    [
        "import tensorflow as tf, fslcore.kernels",
        "import fslcore.kernels, sys; assert 'tensorflow' not in sys.modules; import tensorflow as tf",
        # The frameworks are imported in the middle of one of our own packages.
        "import fslcore.learners.inner.optimizers, tensorflow as tf",
    ],
)
def test_tensorflow_alone_loads_a_saved_model(saved, imports):
    index = json.loads((saved / "names.json").read_text()).index("pairs")
    run("-c", f"{imports}; tf.saved_model.load({str(saved / str(index))!r})")


def test_without_the_compiled_libraries_both_can_be_imported_and_say_so_when_used():
    script = """
import sys, warnings
sys.modules["fslcore._core"] = None   # as if the library were missing
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import fslcore, keras
assert any("fslcore cannot be loaded in this process" in str(w.message) for w in caught)
try:
    fslcore.losses
except ImportError as error:
    print(error)
"""
    assert "fslcore._core" in run("-c", script)

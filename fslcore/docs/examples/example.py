# SPDX-License-Identifier: MIT
"""What the examples share: their options, their data, and the folder of their results.

example = begin(__doc__, "omniglot")   --quick --out --dataset --data-dir --image-size --seed
parts = example.parts()                train, val and test, without a class in common
example.save(picture=figure)           picture.png
example.finish(accuracy=report)        results.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import keras
import tensorflow as tf
from PIL import Image

import fslcore as fsl

T = TypeVar("T")
_QUICK_CLASSES = 24
_PLACES = ("out", "data_dir", "model")  # of files, which are no part of the results


@dataclasses.dataclass
class Example:
    """One run of a program, with its options."""

    options: argparse.Namespace
    started: float

    @property
    def out(self) -> Path:
        """The folder of the results."""
        return self.options.out

    def choose(self, full: T, quick: T) -> T:
        """The first, or the second with --quick."""
        return quick if self.options.quick else full

    def store(self) -> fsl.ImageStore:
        """All images."""
        given = self.options
        return fsl.data.load(given.dataset, image_size=given.image_size, data_dir=given.data_dir)

    def parts(self, store: Any = None) -> dict[str, Any]:
        """Images for training, validation and test, those of a store if given; few classes with --quick."""
        parts = fsl.data.default_split(self.store() if store is None else store)
        if not self.options.quick:
            return parts
        return {name: part.take(part.labels < _QUICK_CLASSES) for name, part in parts.items()}

    def frame(self) -> Any:
        """Pictures as files and the DataFrame that names them, in place of a table of your own."""
        import pandas as pd

        store, rows = self.store(), []
        if self.options.quick:
            store = store.take(store.labels < 2 * _QUICK_CLASSES)
        (self.out / "pictures").mkdir(exist_ok=True)
        for row, (pixels, label) in enumerate(zip(store.images, store.labels, strict=True)):
            path = self.out / "pictures" / f"{row:05}.png"
            Image.fromarray(pixels.squeeze()).save(path)
            rows.append({"filename": str(path), "label": store.class_names[label]})
        return pd.DataFrame(rows)

    def save(self, **figures: Any) -> None:
        """Writes pictures."""
        for name, figure in figures.items():
            figure.savefig(self.out / f"{name}.png", bbox_inches="tight")

    def finish(self, **results: Any) -> None:
        """Prints the results and writes them, with what they depend on."""
        given = {name: value for name, value in vars(self.options).items() if name not in _PLACES}
        versions = {"fslcore": fsl.__version__, "tensorflow": tf.__version__, "keras": keras.__version__}
        seconds = round(time.process_time() - self.started)
        content = {"options": given, "versions": versions, "cpu_seconds": seconds, "results": _plain(results)}
        (self.out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
        for name, value in results.items():
            print(f"{name}: {value}")
        print(f"{seconds} s of processor time, results in {self.out}")


def begin(description: str, dataset: str, image_size: int = 28, **more: Any) -> Example:
    """Reads the options of a program and prepares its run.

    Args:
        description: What the program does.
        dataset: Name for `fsl.data.load`, unless --dataset gives another one.
        image_size: Height and width of the images.
        **more: Further options of the program, with their defaults.
    """
    name = Path(sys.argv[0]).stem
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(name, description=description, formatter_class=form)
    parser.add_argument("--quick", action="store_true", help="a few steps on a few classes, to see it run")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/examples") / name, help="folder of the results"
    )
    parser.add_argument(
        "--dataset", default=dataset, help=f"as for fsl.data.load, such as tfds:cifar10 ({dataset})"
    )
    parser.add_argument("--data-dir", help="where the dataset is, if it is not where it is by default")
    parser.add_argument("--image-size", type=int, default=image_size, help=f"pixels ({image_size})")
    parser.add_argument("--seed", type=int, default=0)
    for option, value in more.items():
        parser.add_argument(f"--{option}", type=type(value), default=value, help=f"({value})")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(options.seed)
    return Example(options, time.process_time())


def _plain(value: Any) -> Any:
    """Results as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value.to_dict() if isinstance(value, fsl.Report) else getattr(value, "tolist", lambda: value)()

# SPDX-License-Identifier: MIT
"""Any Keras model trained in phases: a network frozen first, then thawed, each phase at its own rate.

This is the training of the talk "Few-shot learning in production" and of the notebooks of keras-fsl. The
recipes of `experiments.train` have phases of their own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fslcore import files
from fslcore.arguments import ArgumentError, check_one_of
from fslcore.experiments.recipes.phases import Phase, parsed, written
from fslcore.experiments.recipes.thawing import chosen_layers, thaw
from fslcore.experiments.renaming import renamed

if TYPE_CHECKING:
    import keras

PathLike = str | os.PathLike[str]
Row = dict[str, float]

CHECKPOINT = "phases.npz"
_FORMAT = 1
_OURS = ("x", "epochs", "initial_epoch", "callbacks")


@dataclasses.dataclass
class _Progress:
    """How far a training has come.

    Attributes:
        phase: index of the phase.
        done: complete epochs of this phase.
        ended: whether the phase is over, after all its epochs or because a callback stopped it.
        history: a row for each complete epoch.
        best: the variables of the best epoch.
        value: what it was the best by.
    """

    phase: int = 0
    done: int = 0
    ended: bool = False
    history: list[Row] = dataclasses.field(default_factory=list)
    best: list[Any] = dataclasses.field(default_factory=list)
    value: float | None = None


def fit_in_phases(
    model: keras.Model,
    phases: Sequence[Phase] | str,
    data: Any,
    *,
    network: keras.Model,
    folder: PathLike | None = None,
    compile_options: Mapping[str, Any] | None = None,
    optimizer: Callable[[Any], keras.optimizers.Optimizer] | None = None,
    monitor: str | None = None,
    mode: str = "min",
    callbacks: Callable[[], Sequence[keras.callbacks.Callback]] | None = None,
    **fit_options: Any,
) -> list[Row]:
    """Trains a model in phases; each begins with the weights of the best epoch so far, and so does the end.

    Args:
        model: a built model, such as `Sequential([network, GramMatrix()])`. Every phase compiles it anew.
        phases: a list of `Phase`, or the text of one, such as "frozen:3:1e-4,top=20%:7:1e-5,all:5:1e-6".
        data: what `fit` takes as `x`; or a function of the number of complete epochs that returns it, from
            that epoch on. With such a function, whose batches depend on the epoch alone, a training that was
            interrupted goes on bit for bit.
        network: the part of the model that is frozen and thawed. Its batch normalisation is never trained,
            and stays in inference mode. What else the model has is trained in every phase.
        folder: where the training is kept after every epoch, in `phases.npz`; it is made. The same call goes
            on after the last complete epoch. None: nowhere.
        compile_options: arguments of `compile` but the optimizer, such as {"loss": ..., "metrics": [...]}.
        optimizer: called with the rate of each phase; None: `keras.optimizers.Adam`.
        monitor: the entry of the logs by which an epoch is best, of equal ones the last; None: "val_loss"
            with `validation_data`, else "loss".
        mode: "min" or "max", which values of it are best.
        callbacks: called before each phase for its callbacks, such as `EarlyStopping`, which then ends its
            phase alone. What they have counted is not kept in the folder.
        **fit_options: more arguments of `fit`, such as `steps_per_epoch` and `validation_data`.

    Returns:
        A row for each epoch: "epoch" from 1, "phase" from 1, and the logs.

    Raises:
        ArgumentError: an argument is wrong, a phase names layers that the network does not have, the folder
            holds another training, or the logs have no number `monitor`.

    Example:
        >>> import fslcore as fsl
        >>> network = fsl.encoders.pretrained("efficientnet-lite0", image_size=64)  # doctest: +SKIP
        >>> model = keras.Sequential([network, fsl.layers.GramMatrix()])  # doctest: +SKIP
        >>> fit_in_phases(
        ...     model,
        ...     [Phase("frozen", 3, 1e-4), Phase("top=20%", 7, 1e-5), Phase("all", 5, 1e-6)],
        ...     store.pk_batches(8, 4),
        ...     network=network,
        ...     compile_options={"loss": fsl.losses.BinaryCrossentropy()},
        ...     steps_per_epoch=50,
        ... )  # doctest: +SKIP
    """
    import keras

    stages = parsed(phases if isinstance(phases, str) else written(phases))
    if not stages:
        raise ArgumentError("phases", "must be one or more", phases)
    check_one_of("mode", mode, ("min", "max"))
    if not isinstance(network, keras.Layer) or not any(each is network for each in model._flatten_layers()):
        raise ArgumentError("network", "must be a part of the model", network)
    if callbacks is not None and not callable(callbacks):
        raise ArgumentError("callbacks", "must be a function that returns those of a phase", callbacks)
    for name in _OURS:
        if name in fit_options:
            raise ArgumentError(name, "must be left out: `data` and `phases` say it", fit_options[name])
    options = dict(compile_options or {})
    if "optimizer" in options:
        raise ArgumentError("compile_options", "must have no optimizer, which `optimizer` makes", options)
    with renamed(trained="phases"):
        for stage in stages:
            chosen_layers(network, stage.trained)
    watched = monitor or ("val_loss" if fit_options.get("validation_data") is not None else "loss")
    path = None if folder is None else Path(os.fspath(folder)) / CHECKPOINT
    plan = {"phases": written(stages), "monitor": watched, "mode": mode}
    progress, arrays = _read(path, plan)

    begin = 0
    for number, stage in enumerate(stages):
        first, begin = begin, begin + stage.epochs
        if number < progress.phase or (number == progress.phase and progress.ended):
            continue
        if number > progress.phase:
            progress.phase, progress.done, progress.ended, arrays = number, 0, False, {}
            _assign(model.variables, progress.best)
        thaw(network, stage.trained)
        model.compile((optimizer or keras.optimizers.Adam)(stage.learning_rate), **options)
        model.optimizer.build(model.trainable_variables)
        if arrays:
            _restore(path, model, arrays)
            arrays = {}
        done = first + progress.done
        model.fit(
            data(done) if callable(data) else data,
            initial_epoch=done,
            epochs=begin,
            callbacks=[_recorder(progress, path, plan, stage.epochs), *(callbacks() if callbacks else [])],
            **fit_options,
        )
        progress.ended = True
        _save(path, model, progress, plan)
    _assign(model.variables, progress.best)
    return progress.history


def _recorder(progress: _Progress, path: Path | None, plan: dict[str, str], epochs: int) -> Any:
    """A callback that keeps rows, the best epoch and the checkpoint."""
    import keras

    class Recorder(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            given = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
            value = given.get(plan["monitor"])
            if value is None or np.isnan(value):
                found = "NaN" if value is not None else f"no such entry among {', '.join(given)}"
                raise ArgumentError(
                    "monitor", f"must be a number in the logs, not {plan['monitor']}", described=found
                )
            progress.history.append({"epoch": epoch + 1, "phase": progress.phase + 1, **given})
            before = progress.value
            if before is None or (value <= before if plan["mode"] == "min" else value >= before):
                progress.value = value
                progress.best = [np.asarray(variable).copy() for variable in self.model.variables]
            progress.done += 1
            progress.ended = progress.done == epochs
            _save(path, self.model, progress, plan)

    return Recorder()


def _state(model: Any) -> dict[str, Any]:
    """Every variable that training changes, by the names of the arrays of a checkpoint."""
    parts = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {f"{part}-{i:04}": v for part, variables in parts.items() for i, v in enumerate(variables)}


def _save(path: Path | None, model: Any, progress: _Progress, plan: dict[str, str]) -> None:
    if path is None:
        return
    entries = {name: getattr(progress, name) for name in ("phase", "done", "ended", "history", "value")}
    header = json.dumps({"format": _FORMAT, **plan, **entries}).encode()
    arrays: dict[str, Any] = {name: np.asarray(variable) for name, variable in _state(model).items()}
    arrays |= {f"best-{i:04}": value for i, value in enumerate(progress.best)}
    arrays["header"] = np.frombuffer(header, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, lambda temporary: np.savez(temporary, **arrays))


def _read(path: Path | None, plan: dict[str, str]) -> tuple[_Progress, dict[str, Any]]:
    """What a checkpoint holds; a new beginning if there is none."""
    if path is None or not path.exists():
        return _Progress(), {}
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        found = {name: header.pop(name) for name in plan}
        if header.pop("format") != _FORMAT:
            raise ValueError("it is of another version")
        best = [arrays.pop(name) for name in sorted(arrays) if name.startswith("best-")]
        progress = _Progress(**header, best=best)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(
            "folder",
            f"must have a {CHECKPOINT} that can be read, or none",
            described=f"{path}, which is damaged ({error})",
        ) from error
    for name, value in found.items():
        if value != plan[name]:
            raise ArgumentError(
                "folder",
                f"must be new, or of a training with this `{name}`, {plan[name]}",
                described=f"{path}, with {value}",
            )
    return progress, arrays


def _restore(path: Path | None, model: Any, arrays: dict[str, Any]) -> None:
    state = _state(model)
    if {name: value.shape for name, value in arrays.items()} != {n: tuple(v.shape) for n, v in state.items()}:
        raise ArgumentError(
            "folder", "must be new, or of a training of this model", described=f"{path}, of another model"
        )
    for name, variable in state.items():
        variable.assign(arrays[name])


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    if values and [tuple(v.shape) for v in variables] != [value.shape for value in values]:
        raise ArgumentError(
            "folder", "must be new, or of a training of this model", described="the weights of another model"
        )
    for variable, value in zip(variables, values, strict=False):
        variable.assign(value)

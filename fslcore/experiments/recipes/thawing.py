# SPDX-License-Identifier: MIT
"""Which layers of a pretrained network are trained.

    frozen           none
    top              the last fifth of the layers with weights
    top=50%, top=12  the last half of them, the last 12
    from=block5      the first one of this name, and all after it
    name=block5*     those of a name; several with + between
    all              all

A name is that of a layer, or of a model around layers, with * and ? as in names of files. Batch
normalisation is never trained, and stays in inference mode: a batch of few classes has other statistics than
the images that the network was trained on.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

from fslcore.arguments import ArgumentError

FROZEN, TOP, ALL = "frozen", "top", "all"
_FROM, _NAME = "from", "name"
# As in the published notebook of keras-fsl: the first 80 % of the layers stay frozen in the second phase.
_TOP_SHARE = 0.2
_SHOWN = 8  # names in a message

# A layer with the names of the models around it and its own.
Leaf = tuple[tuple[str, ...], Any]


def is_part(text: object) -> bool:
    """Whether a text says which layers are trained."""
    if not isinstance(text, str):
        return False
    kind, equals, value = text.partition("=")
    if not equals:
        return kind in (FROZEN, TOP, ALL)
    if kind == TOP:
        amount = _amount(value)
        return amount is not None and amount > 0 and (isinstance(amount, int) or amount <= 1)
    return kind in (_FROM, _NAME) and all(value.split("+")) and (kind == _NAME or "+" not in value)


def thaw(network: Any, trained: str) -> None:
    """Makes layers of a network trainable, and the others not. Its model has to be compiled anew after it.

    Args:
        network: a built Keras model.
        trained: which layers, as above.

    Raises:
        ArgumentError: `trained` says nothing of this, or there are no such layers.
    """
    chosen = {id(layer) for layer in chosen_layers(network, trained)}
    network.trainable = bool(chosen)
    if chosen:
        for _, layer in _distinct_leaves(network):
            layer.trainable = id(layer) in chosen


def chosen_layers(network: Any, trained: str) -> list[Any]:
    """The layers that `thaw` makes trainable.

    Raises:
        ArgumentError: as `thaw`.
    """
    import keras

    if not is_part(trained):
        raise ArgumentError(
            "trained",
            "must be frozen, top, top=50%, top=12, from=NAME, name=PATTERN or all",
            trained,
        )
    if trained == FROZEN:
        return []
    leaves = _distinct_leaves(network)
    found = _found(leaves, trained)
    layers = [layer for _, layer in found if not isinstance(layer, keras.layers.BatchNormalization)]
    if not layers and trained != ALL:
        names = [
            names[-1] for names, layer in leaves if not isinstance(layer, keras.layers.BatchNormalization)
        ]
        some = ", ".join(names if len(names) <= _SHOWN else [names[0], "...", *names[1 - _SHOWN :]])
        why = "of which only batch normalisation is, which is never trained" if found else "of which none is"
        raise ArgumentError(
            "trained",
            f"must choose layers of the network, such as {some}",
            described=f"{trained!r}, {why}",
        )
    return layers


def _found(leaves: list[Leaf], trained: str) -> list[Leaf]:
    kind, _, value = trained.partition("=")
    if kind == ALL:
        return leaves
    if kind == TOP:
        amount = _amount(value) if value else _TOP_SHARE
        first = len(leaves) - amount if isinstance(amount, int) else round((1 - (amount or 0)) * len(leaves))
        return leaves[max(0, first) :]
    patterns = value.split("+")

    def fits(pattern: str, names: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for name in names)

    lost = [each for each in patterns if not any(fits(each, names) for names, _ in leaves)]
    if lost:
        return []  # a name that is misspelt is no reason to train the others
    places = [place for place, (names, _) in enumerate(leaves) if any(fits(each, names) for each in patterns)]
    return leaves[places[0] :] if kind == _FROM else [leaves[place] for place in places]


def _amount(text: str) -> int | float | None:
    """A number of layers, or a share of them written as 50%; None for anything else."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else int(text)
    except ValueError:
        return None


def _distinct_leaves(network: Any) -> list[Leaf]:
    # A model may hold the same layer twice, as an attribute and as a part of its graph.
    return list({id(leaf[1]): leaf for leaf in _leaves(network, ())}.values())


def _leaves(layer: Any, around: tuple[str, ...]) -> Iterator[Leaf]:
    """The layers with weights and without layers of their own, in the order of their models."""
    # The name of the network itself would choose all of it.
    if not layer._layers and layer.weights:
        yield (*around, layer.name), layer
    for inner in layer._layers:
        yield from _leaves(inner, (*around, inner.name) if inner._layers else around)

# SPDX-License-Identifier: MIT
"""Switches take True or False alone, and margins finite numbers: text is refused, not believed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from stores import pixel_store

import fslcore as fsl
from fslcore import encoders, layers, learners, losses, metrics
from fslcore.arguments import ArgumentError

LABELS, X = np.array([0, 0, 1, 1]), np.eye(4, dtype=np.float32)
SGD = learners.InnerSGD(0.1)
STORE = pixel_store(16, (8, 8, 1))


def encoder() -> keras.Model:
    return encoders.conv4((16, 16, 1))


def network() -> keras.Model:
    return encoders.conv4_classifier(3, (16, 16, 1))


def on_batch(loss: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    return partial(loss, LABELS, X, *arguments)


# What is called with (keyword=value), by the public name and its argument.
CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("triplet_hard_loss", "soft"): on_batch(losses.triplet_hard_loss),
    ("TripletHardLoss", "soft"): losses.TripletHardLoss,
    ("binary_crossentropy", "balanced"): on_batch(losses.binary_crossentropy),
    ("BinaryCrossentropy", "balanced"): losses.BinaryCrossentropy,
    ("classification_accuracy", "ascending"): metrics.classification_accuracy,
    ("mean_score_classification_accuracy", "ascending"): metrics.mean_score_classification_accuracy,
    ("ClippedBinaryCrossentropy", "of_kept"): losses.ClippedBinaryCrossentropy,
    ("MeanScoreClassificationLoss", "leave_one_out"): losses.MeanScoreClassificationLoss,
    ("mean_score_classification_loss", "leave_one_out"): on_batch(losses.mean_score_classification_loss),
    ("TripletBatchAllLoss", "active_only"): partial(losses.TripletBatchAllLoss, 1),
    ("triplet_batch_all_loss", "active_only"): on_batch(losses.triplet_batch_all_loss, 1),
    ("pair_crossentropy_loss", "balanced"): on_batch(losses.pair_crossentropy_loss),
    ("PairCrossentropy", "balanced"): losses.PairCrossentropy,
    ("DenseSigmoid", "use_bias"): layers.DenseSigmoid,
    ("LearntNorms", "use_bias"): layers.LearntNorms,
    ("LearntNorms", "symmetric"): layers.LearntNorms,
    ("MixedNorms", "use_bias"): layers.MixedNorms,
    ("Siamese", "larger_is_alike"): lambda **one: fsl.Siamese(encoder(), **one),
    ("MatchingNetwork", "learn_temperature"): lambda **one: fsl.MatchingNetwork(encoder(), **one),
    ("Reptile", "sequential"): lambda **one: fsl.Reptile(network(), SGD, inner_steps=1, inner_batch=1, **one),
    ("MAML", "second_order"): lambda **one: fsl.MAML(network(), SGD, adapt_steps=1, **one),
    ("evaluate", "transductive"): lambda **one: fsl.evaluate(fsl.PixelNearestNeighbour(), STORE, **one),
}
MARGINS: dict[str, Callable[..., Any]] = {
    "triplet_loss": on_batch(losses.triplet_loss),
    "TripletLoss": losses.TripletLoss,
    "triplet_semihard_loss": on_batch(losses.triplet_semihard_loss),
    "TripletSemiHardLoss": losses.TripletSemiHardLoss,
    "triplet_hard_loss": on_batch(losses.triplet_hard_loss),
    "TripletHardLoss": losses.TripletHardLoss,
    "triplet_mining_loss": on_batch(losses.triplet_mining_loss),
    "TripletMiningLoss": losses.TripletMiningLoss,
    "triplet_batch_all_loss": on_batch(losses.triplet_batch_all_loss, 1),
    "TripletBatchAllLoss": partial(losses.TripletBatchAllLoss, 1),
    "contrastive_loss": lambda **one: losses.contrastive_loss(X[0], X[1], **one),
    "ContrastiveLoss": losses.ContrastiveLoss,
    "batch_contrastive_loss": on_batch(losses.batch_contrastive_loss),
    "BatchContrastiveLoss": losses.BatchContrastiveLoss,
    "lifted_struct_loss": on_batch(losses.lifted_struct_loss),
    "LiftedStructLoss": losses.LiftedStructLoss,
    "circle_loss": on_batch(losses.circle_loss),
    "CircleLoss": losses.CircleLoss,
    "arcface_loss": on_batch(losses.arcface_loss, X),
    "ArcFace": partial(losses.ArcFace, 2),
    "proxy_anchor_loss": on_batch(losses.proxy_anchor_loss, X),
    "ProxyAnchor": partial(losses.ProxyAnchor, 2),
    "ActiveTriplets": metrics.ActiveTriplets,
    "accuracy": metrics.accuracy,
}


def public() -> dict[str, Any]:
    """Every public function and class of the Keras side."""
    found = {name: getattr(module, name) for module in (losses, metrics, layers) for name in module.__all__}
    own = {name: getattr(fsl, name) for name in fsl.__all__ if name != "Report"}  # a result
    return {name: made for name, made in {**own, **found}.items() if callable(made)}


def arguments_of(kind: Callable[[inspect.Parameter], bool]) -> set[tuple[str, str]]:
    return {
        (name, parameter.name)
        for name, made in public().items()
        for parameter in inspect.signature(made).parameters.values()
        if kind(parameter)
    }


def test_every_switch_and_margin_is_tested():
    assert arguments_of(lambda p: str(p.annotation).startswith("bool")) == set(CALLS)
    assert arguments_of(lambda p: p.name == "margin") == {(name, "margin") for name in MARGINS}


@pytest.mark.parametrize("value", ["no", 1, 2.0, np.array([True, False])], ids=str)
@pytest.mark.parametrize(("name", "argument"), CALLS)
def test_a_switch_is_true_or_false(name, argument, value):
    with pytest.raises(ArgumentError, match=f"{argument} must be True or False, received {argument}="):
        CALLS[name, argument](**{argument: value})


@pytest.mark.parametrize("value", [True, np.False_])
def test_switches_of_numpy_are_switches(value):
    assert isinstance(losses.TripletHardLoss(soft=value).get_config()["soft"], bool)


@pytest.mark.parametrize("value", ["1", None, float("nan"), float("inf"), True], ids=str)
@pytest.mark.parametrize("name", MARGINS)
def test_a_margin_is_a_finite_number(name, value):
    with pytest.raises(ArgumentError, match=r"margin must be a (finite )?number, received margin="):
        MARGINS[name](margin=value)

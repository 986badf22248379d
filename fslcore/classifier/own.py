# SPDX-License-Identifier: MIT
"""The rules that learners bring with them: what they were trained for, as functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from fslcore import kernels
from fslcore.arguments import ArgumentError
from fslcore.classifier.adapted import Adapted
from fslcore.classifier.comparing import DISTANCES, PLAIN_METRICS, alike
from fslcore.classifier.rules import OF_METRIC, Kernel, Prototype, Rule
from fslcore.classifier.state import FloatArray
from fslcore.classifier.svc import Svc
from fslcore.layers import DenseSigmoid
from fslcore.learners import AdaptiveLearner, MatchingNetwork, Prototypical, Siamese

Compare = Callable[[FloatArray, FloatArray], FloatArray]


def default_rule(model: Any) -> str:
    """The name of the rule that a learner was trained for; "prototype" for another Keras model."""
    if isinstance(model, AdaptiveLearner):
        return "adapted"
    return "kernel" if isinstance(model, (Siamese, MatchingNetwork)) else "prototype"


def metric_of(model: Any) -> str:
    """The metric of a learner's embeddings; "sqeuclidean" for one that says none."""
    if isinstance(model, Prototypical):
        return model.metric
    if isinstance(model, MatchingNetwork):
        return "cosine"
    if isinstance(model, Siamese) and model.gram.kernel in PLAIN_METRICS:
        return str(model.gram.kernel)
    return "sqeuclidean"


def temperature_of(model: Any) -> float:
    """What scores are divided by to be the logits that a learner was trained with."""
    return 1 / model.temperature if isinstance(model, Prototypical) and model.metric == "cosine" else 1.0


def rule_of(name: str, model: Any, options: Mapping[str, Any]) -> Rule:
    """The rule "kernel", "svc" or "adapted" of a learner.

    Raises:
        ArgumentError: The model has no such rule.
        ImportError: scikit-learn is not installed.
    """
    if name == "adapted" or isinstance(model, AdaptiveLearner):
        if name != "adapted" or not isinstance(model, AdaptiveLearner):
            known = "adapted" if isinstance(model, AdaptiveLearner) else "another"
            raise ArgumentError("rule", f"must be {known} for this {type(model).__name__}", name)
        return Adapted(model)
    if name == "svc" and not isinstance(model, (Siamese, MatchingNetwork)):
        metric = metric_of(model)
        return Svc(
            **options, compare=partial(alike, metric=metric), measure=metric, is_distance=metric != "dot"
        )
    if isinstance(model, Prototypical):
        return Prototype(model.metric)
    compare, measure, shots = _comparison(name, model)
    if name == "svc":
        return Svc(**options, compare=compare, measure=measure, is_distance=measure in DISTANCES)
    return Kernel(**{"shots": shots, **options}, compare=compare, measure=measure)


def _comparison(name: str, model: Any) -> tuple[Compare, str, str]:
    """How a learner compares two embeddings, what that is called, and how it combines the values."""
    if isinstance(model, MatchingNetwork):
        temperature = np.float32(model.temperature)
        return lambda q, rows: temperature * (1 + alike(q, rows, "cosine")), "cosine similarity", "attention"
    if not isinstance(model, Siamese):
        raise ArgumentError(
            "rule",
            f"must be one of {', '.join(OF_METRIC)} for an encoder without a kernel of its own",
            name,
        )
    kernel: Any = model.gram.kernel
    if isinstance(kernel, str):
        if model.larger_is_alike == (kernel == "dot"):
            return partial(alike, metric=kernel), kernel, model.shots
        return lambda q, rows: -alike(q, rows, kernel), f"minus {kernel}", model.shots
    sign = np.float32(1 if model.larger_is_alike else -1)
    if type(kernel) is DenseSigmoid and kernel.built:
        weights = np.array(kernel.kernel.numpy(), np.float32)
        bias = 0.0 if kernel.bias is None else float(kernel.bias.numpy())

        def weighted(queries: FloatArray, rows: FloatArray) -> FloatArray:
            # The core divides the rows of its first argument among the threads; the kernel is symmetric.
            swapped = len(queries) < len(rows)
            first, second = (rows, queries) if swapped else (queries, rows)
            values = sign * kernels.pairwise(
                first,
                second,
                "weighted_manhattan",
                weights=weights,
                bias=bias,
                activation=kernel.activation,
            )
            return values.T if swapped else values

        return weighted, kernel.name, model.shots

    def of_layer(queries: FloatArray, rows: FloatArray) -> FloatArray:
        values = model.gram.pairwise(tf.constant(queries), tf.constant(rows))
        return np.asarray(sign * values)

    return of_layer, kernel.name, model.shots

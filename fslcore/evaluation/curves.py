# SPDX-License-Identifier: MIT
"""Accuracy against the number of classes to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fslcore.arguments import ArgumentError
from fslcore.data import ImageStore
from fslcore.evaluation.episodes import Episodes
from fslcore.evaluation.protocol import Adapter, Embedder, check_learner, embed_all, scores_of_embeddings
from fslcore.evaluation.report import Report


def accuracy_versus_way(
    learners: Mapping[str, Embedder],
    store: ImageStore,
    ways: Sequence[int] = (2, 5, 10, 20, 30, 40, 50, 60),
    k_shot: int = 1,
    n_query: int = 1,
    episodes: int = 400,
    seed: int = 0,
    *,
    batch_size: int = 256,
) -> dict[str, list[Report]]:
    """Evaluates several learners for several numbers of classes; each learner embeds each image once.

    Args:
        learners: name -> learner.
        store: as for `evaluate`.
        ways: the values of `n_way`; those beyond the number of classes of `store` are left out.
        k_shot: labelled examples per class.
        n_query: queries per class.
        episodes: number of episodes for each `n_way`.
        seed: seed of the episodes, the same for all learners.
        batch_size: images embedded at a time.

    Returns:
        name -> one report per `n_way`, in the order of `ways`.

    Raises:
        ArgumentError: no `n_way` is possible, or as for `evaluate`.
    """
    possible = [n_way for n_way in ways if n_way <= store.n_classes]
    if not possible:
        raise ArgumentError(
            "ways", f"must hold a number up to the {store.n_classes} classes of the store", ways
        )
    drawn = [Episodes(store, n_way, k_shot, n_query, 0, episodes, seed) for n_way in possible]
    curves = {}
    for learner in learners.values():
        check_learner(learner, store)
        if isinstance(learner, Adapter):
            raise ArgumentError(
                "learners", "must compare embeddings: one that adapts has one `n_way`", learner
            )
    for name, learner in learners.items():
        embeddings = embed_all(learner, store, batch_size)
        curves[name] = [
            each.report(
                learner,
                scores_of_embeddings(learner, (embeddings[table] for (table,) in each.tables()), k_shot),
            )
            for each in drawn
        ]
    return curves

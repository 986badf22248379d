# SPDX-License-Identifier: MIT
"""`evaluate`: how well a learner classifies queries of new classes, measured over episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, as_bool
from fslcore.data import EmbeddingStore, ImageStore
from fslcore.evaluation.baselines import PixelNearestNeighbour
from fslcore.evaluation.episodes import Episodes, check_whole_number
from fslcore.evaluation.report import Report

FloatArray = npt.NDArray[np.float32]

# Episodes given to a learner that adapts in one call: enough for it to work on several side by side, as long
# as their images take no more than this many bytes.
_ADAPTED_AT_A_TIME = 50
_ADAPTED_BYTES = 2**26


class Embedder(Protocol):
    """What `evaluate` needs of a learner that compares embeddings.

    `Siamese`, `Prototypical` and `PixelNearestNeighbour` implement it.
    """

    def embed(self, images: Any, training: bool = False) -> Any:
        """Embeds float images `[B, H, W, C]` as `[B, D]`; `training` uses the batch's own statistics."""

    def class_scores(self, support: Any, query: Any) -> Any:
        """Scores `[Q, n_way]` of queries `[Q, D]` for support `[n_way, k_shot, D]`; larger = more alike."""


@runtime_checkable
class Adapter(Protocol):
    """What `evaluate` needs of a learner that is fitted to each episode.

    `Reptile`, `MAML` and `MetaGAN` implement it.
    """

    n_way: int

    def score_episodes(
        self,
        support: Any,
        query: Any,
        *,
        unlabelled: Any = None,
        transductive: bool = False,
        seed: int = 0,
        first: int = 0,
    ) -> Any:
        """Adapts to each episode and scores its queries.

        Args:
            support: images `[episodes, n_way, k_shot, H, W, C]`.
            query: images `[episodes, n_way, n_query, H, W, C]`.
            unlabelled: images `[episodes, n_way, n_unlabelled, H, W, C]`, or None.
            transductive: whether the queries of an episode are normalised together.
            seed: seed of what is random in adapting.
            first: index of the first episode, for the same purpose.

        Returns:
            Scores `[episodes, n_way * n_query, n_way]`, the queries class by class; larger = more alike.
        """


def evaluate(
    learner: Embedder | Adapter,
    store: ImageStore | EmbeddingStore,
    n_way: int = 5,
    k_shot: int = 1,
    n_query: int = 15,
    episodes: int = 1000,
    seed: int = 0,
    transductive: bool = False,
    *,
    n_unlabelled: int = 0,
    support: ImageStore | None = None,
    batch_size: int = 256,
    progress: Callable[[int], Any] | None = None,
) -> Report:
    """Measures how well a learner classifies queries of classes of which it is shown `k_shot` examples.

    A query counts 1 if its class alone has the highest score, and 1/m if m classes share it, so that a
    learner that gives the same answer for everything scores at chance. A query with a NaN among its scores
    counts 0.

    Args:
        learner: a trained learner, or `PixelNearestNeighbour()`.
        store: images of classes that the learner has not been trained on; or their embeddings, for a learner
            of embeddings, which then takes seconds.
        n_way: classes of an episode, at least 2: of one class every answer is right.
        k_shot: labelled examples per class.
        n_query: queries per class, at least 1.
        episodes: number of episodes, at least 1.
        seed: seed of the episodes.
        transductive: `False`: every image is embedded once, alone (BatchNormalization uses its moving
            averages); a learner that adapts classifies each query by itself. `True`: the images of an episode
            are normalised with the statistics of that episode, queries included (of its queries alone, for a
            learner that adapts); such figures are not comparable with the others. Nothing in the learner
            changes either way.
        n_unlabelled: images per class that a learner is given without their labels; for `MetaGAN`. Support
            and queries are the same as without them.
        support: where the labelled examples come from, with the classes of `store`; None: from `store`, too.
            For classes that the learner knows: `support` holds the images that it was trained on, `store` new
            ones.
        batch_size: images embedded at a time, or fewer where the learner divides them to save memory.
        progress: called with the number of episodes done, after each.

    Returns:
        The report.

    Raises:
        ArgumentError: an argument is out of range, `store` has fewer classes than `n_way` or a class with
            fewer images than an episode needs, `learner` is no learner, is for images of another shape or
            embeds an image as something else than finite numbers, it cannot be evaluated transductively, or
            it adapts and its network is for another `n_way`.
    """
    check_whole_number("batch_size", batch_size, 1)
    transductive = as_bool("transductive", transductive)
    # Drawn first, so that a protocol that the store cannot serve does not cost the embedding of all images.
    drawn = Episodes(store, n_way, k_shot, n_query, n_unlabelled, episodes, seed, transductive, support)
    check_learner(learner, store)
    if isinstance(learner, Adapter):
        if n_way != learner.n_way:
            raise ArgumentError(
                "n_way", f"must be {learner.n_way}, the classes of the learner's network", n_way
            )
        scores = scores_after_adapting(learner, drawn)
    elif n_unlabelled:
        raise ArgumentError(
            "n_unlabelled",
            f"must be 0 for {type(learner).__name__}, which compares embeddings of labelled images",
            n_unlabelled,
        )
    elif transductive:
        embedded = (_embed_together(learner, drawn, table) for (table,) in drawn.tables())
        scores = scores_of_embeddings(learner, embedded, k_shot)
    else:
        stores = [store] if support is None else [support, store]
        embeddings = np.concatenate([embed_all(learner, one, batch_size) for one in stores])
        tables = (table for (table,) in drawn.tables())
        if isinstance(learner, PixelNearestNeighbour) and len(embeddings) < embeddings.shape[1]:
            scores = learner.scores_of_tables(embeddings, tables, k_shot)
        else:
            scores = scores_of_embeddings(learner, (embeddings[table] for table in tables), k_shot)
    return drawn.report(learner, _counted(scores, progress, episodes))


def check_learner(learner: Any, store: ImageStore | EmbeddingStore) -> None:
    """Raises ArgumentError unless it is a learner, and for images of the shape of the store's."""
    embeds = all(callable(getattr(learner, name, None)) for name in ("embed", "class_scores"))
    if isinstance(learner, type) or not (embeds or isinstance(learner, Adapter)):
        raise ArgumentError(
            "learner",
            "must have the methods `embed` and `class_scores`, or `score_episodes` and `n_way`",
            described=f"the class {learner.__name__}"
            if isinstance(learner, type)
            else type(learner).__name__,
        )
    network = getattr(learner, "encoder", None) if embeds else getattr(learner, "network", None)
    shape = getattr(network, "input_shape", None)
    known = shape if isinstance(shape, tuple) and len(shape) == 4 else (None, *store.image_shape)
    if any(a not in (None, b) for a, b in zip(known[1:], store.image_shape, strict=True)):
        raise ArgumentError(
            "store", f"must hold images {list(known[1:])} for this learner", list(store.image_shape)
        )


def embed_all(learner: Embedder, store: ImageStore | EmbeddingStore, batch_size: int) -> FloatArray:
    """Every image of the store embedded alone, float32 `[N, D]`."""
    starts = range(0, len(store), batch_size)
    rows = (np.arange(start, min(start + batch_size, len(store))) for start in starts)
    return np.concatenate([_checked(learner.embed(store.gather(part)), part) for part in rows])


def _checked(embeddings: Any, rows: npt.NDArray[Any]) -> FloatArray:
    """The embeddings of rows of a store, float32 `[B, D]`, or an ArgumentError."""
    embeddings = np.asarray(embeddings, np.float32)
    if embeddings.ndim != 2 or len(embeddings) != len(rows):
        raise ArgumentError(
            "learner",
            f"must embed {len(rows)} images as [{len(rows)}, D]",
            described=f"shape {list(embeddings.shape)}",
        )
    wrong = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if wrong.size:
        raise ArgumentError(
            "learner",
            "must embed every image as finite numbers",
            described=f"NaN or infinity for {wrong.size} of {len(rows)} images, such as {rows[wrong[0]]}",
        )
    return embeddings


def scores_of_embeddings(
    learner: Embedder, episodes: Iterable[FloatArray], k_shot: int
) -> Iterator[npt.NDArray[Any]]:
    """Scores of each episode from its embeddings `[n_way, k_shot + n_query, D]`."""
    for rows in episodes:
        yield learner.class_scores(rows[:, :k_shot], rows[:, k_shot:].reshape(-1, rows.shape[-1]))


def scores_after_adapting(learner: Adapter, episodes: Episodes) -> Iterator[npt.NDArray[Any]]:
    """Scores of each episode by a learner that is fitted to it."""
    parts = [episodes.k_shot, episodes.k_shot + episodes.n_query]
    at_a_time = adapted_at_a_time(episodes)
    for chunk, rows in enumerate(episodes.tables(at_a_time)):
        images = episodes.gather(rows)
        support, query, unlabelled = np.split(images, parts, axis=2)
        yield from np.asarray(
            learner.score_episodes(
                support,
                query,
                unlabelled=unlabelled if unlabelled.shape[2] else None,
                transductive=episodes.transductive,
                seed=episodes.seed,
                first=chunk * at_a_time,
            )
        )


def adapted_at_a_time(episodes: Episodes) -> int:
    """How many episodes a learner that adapts is given in one call."""
    height, width, channels = episodes.store.image_shape
    per_class = episodes.k_shot + episodes.n_query + episodes.n_unlabelled
    of_one = 4 * episodes.n_way * per_class * height * width * channels
    return max(1, min(_ADAPTED_AT_A_TIME, _ADAPTED_BYTES // of_one))


def _embed_together(learner: Embedder, drawn: Episodes, table: npt.NDArray[np.int32]) -> FloatArray:
    """The images of one episode embedded as one batch, float32 `[*table.shape, D]`."""
    images = drawn.gather(table)
    images = images.reshape(-1, *images.shape[2:])
    try:
        embeddings = learner.embed(images, training=True)
    except ArgumentError as error:
        if error.argument != "training":
            raise
        # The caller of `evaluate` knows it by this name.
        raise ArgumentError("transductive", error.requirement, True) from error
    return _checked(embeddings, table.ravel()).reshape(*table.shape, -1)


def _counted(
    scores: Iterable[Any], progress: Callable[[int], Any] | None, episodes: int
) -> Iterator[npt.NDArray[Any]]:
    """The scores one by one; `progress` is called with the number of those done."""
    for done, values in zip(range(1, episodes + 1), scores, strict=True):
        if progress is not None:
            progress(done)
        yield values

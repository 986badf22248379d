# SPDX-License-Identifier: MIT
"""`SupportSet`: a classifier whose classes are a few example images each, added and removed at any time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fslcore.arguments import ArgumentError, check_at_least
from fslcore.classifier import answering, saving
from fslcore.classifier.calibrating import Calibrating
from fslcore.classifier.changing import Changing
from fslcore.classifier.explaining import Explanation, explained
from fslcore.classifier.growing import Label
from fslcore.classifier.preparing import as_label, prepared_embeddings, prepared_images
from fslcore.classifier.rules import Rule, config_of
from fslcore.classifier.state import Examples, State
from fslcore.data.preparation import Preparation

if TYPE_CHECKING:
    from fslcore.classifier.export import Export

FloatArray = npt.NDArray[np.float32]


class SupportSet(Changing, Calibrating):
    """Classifies images by a few labelled ones: the support images, which can change at any time.

    A new label counts at once; nothing is trained. Adding costs as much as what is added. A change is made
    whole or not at all, and readers in other threads see the set before it or after it.

    Args:
        encoder: A learner such as `Siamese` or `Prototypical`, or a built Keras model or layer, images
            [B, H, W, C] of 0 to 1 -> embeddings [B, D].
        rule: How queries are scored: "prototype", "nearest", "k-nearest", "class-mean", "kernel" (the
            learner's own), "svc" (on that kernel; needs scikit-learn), "adapted" (`Reptile` and `MAML`), or a
            rule of `fslcore.classifier`. None: what the learner was trained for, and "prototype" for other
            Keras models.
        preparation: How images were prepared for the training of the encoder, as `ImageStore.preparation` or
            the `config.json` of a run says; None: stretched to the size of the encoder's input.

    Raises:
        ArgumentError: The encoder, the rule or the preparation is none of these, or they do not go together.

    Example:
        >>> support = fsl.SupportSet(learner)  # doctest: +SKIP
        >>> support.add("cat", ["cat1.jpg", "cat2.jpg"])  # doctest: +SKIP
        >>> support.add("dog", ["dog1.jpg"])  # doctest: +SKIP
        >>> labels, scores = support.predict("new.jpg")  # doctest: +SKIP
    """

    def __init__(
        self, encoder: Any, rule: str | Rule | None = None, *, preparation: Preparation | None = None
    ) -> None:
        from fslcore.classifier.encoding import Encoder  # TensorFlow

        self._encoder = Encoder(encoder)
        self.preparation = self._encoder.preparation(preparation)
        self.rule = self._encoder.rule(rule)
        super().__init__(self._encoder.width or 0, self._encoder.temperature)

    def __repr__(self) -> str:
        state = self._state
        return f"SupportSet({len(state)} images of {len(state.labels)} labels, rule {self.rule.name!r})"

    @property
    def encoder(self) -> Any:
        """The learner or the Keras model that was given."""
        return self._encoder.model

    def prepare(self, images: Any) -> npt.NDArray[np.uint8]:
        """Images as the encoder gets them, before they are scaled.

        Args:
            images: As for `add`.

        Returns:
            uint8 [n, S, S, C].

        Raises:
            ArgumentError: An image cannot be used.
        """
        return prepared_images(images, self.preparation)

    def embed(self, images: Any) -> FloatArray:
        """Embeds images: one function for the support, queries, export and service.

        Args:
            images: As for `add`.

        Returns:
            float32 [n, D].

        Raises:
            ArgumentError: An image cannot be used, or its embedding is not finite.
        """
        return self._encoder.embed(self.prepare(images))

    def scores(self, embeddings: npt.ArrayLike, *, state: State | None = None) -> FloatArray:
        """How near queries are to each label, by the rule.

        Args:
            embeddings: Queries [n, D] or [D], as `embed` returns them.
            state: The snapshot to compare with; None: the set as it is now.

        Returns:
            float32 [n, C], in the order of `labels`. Larger is nearer, always: distances are negated.

        Raises:
            ArgumentError: The set is empty, or the embeddings are not finite or not as wide as its own.
        """
        return answering.scored(self.rule, prepared_embeddings(embeddings), state or self._state)

    def predict(
        self, images: Any, top: int | None = None, probabilities: bool = False
    ) -> tuple[npt.NDArray[np.object_], FloatArray]:
        """Classifies images.

        Args:
            images: As for `add`.
            top: How many labels to return for each image, the nearest first; all, if there are fewer. None:
                the nearest one, without an axis for it.
            probabilities: Whether to return probabilities, which sum to 1 over all labels, instead of scores.

        Returns:
            Labels, an array of objects [n] or [n, top], and their scores float32 of the same shape. Of equal
            labels, the one that was added first comes first. The labels of an image whose best score is below
            `threshold` are None: it is unknown.

        Raises:
            ArgumentError: An image cannot be used, or the set is empty.
        """
        answering.check_not_empty(self._state)
        return self.predict_embeddings(self.embed(images), top, probabilities)

    def predict_embeddings(
        self,
        embeddings: npt.ArrayLike,
        top: int | None = None,
        probabilities: bool = False,
        *,
        state: State | None = None,
    ) -> tuple[npt.NDArray[np.object_], FloatArray]:
        """`predict` for images that are embedded already.

        Args:
            embeddings: [n, D] or [D], as `embed` returns them.
            top: As for `predict`.
            probabilities: As for `predict`.
            state: The snapshot to compare with; None: the set as it is now.

        Returns:
            As `predict`.

        Raises:
            ArgumentError: As for `scores`.
        """
        if top is not None:
            check_at_least("top", top, 1)
        state = state or self._state
        return answering.answers(self.scores(embeddings, state=state), state, top, probabilities)

    def explain(self, image: Any, k: int = 5) -> Explanation:
        """Why an image gets its label: the support images that are nearest to it.

        Args:
            image: One image, as for `add`.
            k: How many support images; all, if there are fewer.

        Returns:
            Their labels, distances and pictures; `.figure()` draws them.

        Raises:
            ArgumentError: The image cannot be used, or the set is empty.
        """
        check_at_least("k", k, 1)
        state = self._state
        answering.check_not_empty(state)
        pictures = self.prepare(image)
        if len(pictures) != 1:
            raise ArgumentError("image", "must be one image", described=f"{len(pictures)} images")
        query = self._encoder.embed(pictures)
        labels, _ = self.predict_embeddings(query, state=state)
        return explained(self.rule, query, state, k, pictures[0], labels[0])

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Saves the set and its encoder in a folder, each file whole or not at all.

        Args:
            folder: A new folder, or one that holds a set of the same encoder, which is replaced.

        Raises:
            ArgumentError: The folder holds a set of another encoder, the weights of the encoder have changed
                since the set was made, or the encoder or the rule cannot be saved.
            OSError: The folder cannot be written; a set that was there stays.
        """
        with self._lock:
            self._save(Path(folder), self._state)

    def keep_in(self, folder: str | os.PathLike[str]) -> None:
        """Saves the set now, and from now on with every change, before anybody sees the change.

        A change that cannot be saved is not made.

        Args:
            folder: As for `save`.

        Raises:
            ArgumentError: As for `save`.
            OSError: As for `save`.
        """
        path = Path(folder)
        with self._lock:
            self._save(path, self._state)
            described = self._described()
            self._before_publishing = lambda state: saving.write(path, state, described)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SupportSet:
        """Opens a set that `save` or `keep_in` has written.

        Args:
            folder: The folder.

        Returns:
            The set as it was saved, which is not kept in the folder unless `keep_in` says so.

        Raises:
            ArgumentError: There is none, it is damaged, of another version, or of another encoder.
        """
        from fslcore.classifier import encoder_file  # TensorFlow

        path = Path(folder)
        state, described = saving.read(path)
        encoder = encoder_file.read(path / saving.ENCODER, described.get("encoder"))
        try:
            rule = dict(described["rule"])
            support = cls(encoder, preparation=Preparation.from_config(described["preparation"]))
            support.rule = support._encoder.rule(rule.pop("name"), rule)
        except (KeyError, TypeError) as error:
            raise ArgumentError(
                "folder",
                f"must hold a {saving.SUPPORT} with the entries that this fslcore knows",
                described=f"{path}: {error!r}",
            ) from error
        support._state = state
        return support

    def export(self, folder: str | os.PathLike[str], format: str = "saved_model") -> Export:
        """Writes the classifier as it is now for production without this package.

        Args:
            folder: A new or empty folder, or an earlier export, which is replaced.
            format: "saved_model", which plain TensorFlow loads; "onnx" or "litert", for prepared images.

        Returns:
            What was written, and how its scores compare with those of the set.

        Raises:
            ArgumentError: As for `fslcore.classifier.export.write`.
            OSError: The folder cannot be written; what was there stays.
        """
        from fslcore.classifier import export  # TensorFlow

        return export.write(self, folder, format)

    def _save(self, folder: Path, state: State) -> None:
        from fslcore.classifier import encoder_file

        described = self._described()
        encoder_file.check(self.encoder, self._encoder.digest)
        there = (folder / saving.SUPPORT).exists()
        if there and saving.read(folder)[1].get("encoder") != described["encoder"]:
            raise ArgumentError(
                "folder", "must be new, or hold a support set of the same encoder", described=str(folder)
            )
        folder.mkdir(parents=True, exist_ok=True)
        if not there or not (folder / saving.ENCODER).exists():
            encoder_file.write(folder / saving.ENCODER, self.encoder)
        saving.write(folder, state, described)

    def _described(self) -> dict[str, Any]:
        """What is saved beside the state."""
        return {
            "encoder": self._encoder.digest,
            "rule": config_of(self.rule),
            "preparation": self.preparation.to_config(),
        }

    @property
    def needs_refit(self) -> bool:
        """Whether the rule has a classifier ("adapted", "svc") that is not fitted to the set as it is."""
        is_fitted = getattr(self.rule, "is_fitted", None)
        state = self._state
        return is_fitted is not None and len(state) > 0 and not is_fitted(state)

    def refit(self) -> bool:
        """Fits the classifier of the rules "adapted" and "svc" to the set as it is.

        Otherwise the first prediction after a change does it, and takes longer. Other rules fit nothing.

        Returns:
            Whether something was fitted: False if nothing has changed since.

        Raises:
            ArgumentError: The set has fewer than 2 labels.
        """
        fitted = self.needs_refit
        if fitted:
            self.rule.fitted(self._state)  # type: ignore[attr-defined]
        return fitted

    def _examples(self, images_by_label: Mapping[Label, Any]) -> list[Examples]:
        """Prepared and embedded images, those of all labels in one call of the encoder."""
        if not isinstance(images_by_label, Mapping) or not images_by_label:
            raise ArgumentError(
                "images_by_label",
                "must map at least one label to images",
                described=repr(images_by_label)[:80]
                if isinstance(images_by_label, Mapping)
                else type(images_by_label).__name__,
            )
        labels = [as_label(label) for label in images_by_label]
        pictures = [
            prepared_images(images, self.preparation, f" of label {label!r}")
            for label, images in zip(labels, images_by_label.values(), strict=True)
        ]
        ends = np.cumsum([len(each) for each in pictures])[:-1]
        rows = np.split(self._encoder.embed(np.concatenate(pictures)), ends)
        return [Examples(*parts) for parts in zip(labels, rows, pictures, strict=True)]

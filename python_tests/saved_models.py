# SPDX-License-Identifier: MIT
"""Trained and compiled models that hold every class and function of the package that Keras saves.

Run as a program with a folder, it loads what `save` wrote there and compares; it imports no class by name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (8, 8, 1)
N_WAY = 3


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


X, LABELS = numbers(12, 5), np.repeat(np.arange(N_WAY), 4)
SEVERAL, SAME = np.eye(N_WAY, dtype=np.float32)[LABELS], (LABELS == 0).astype(np.float32)
IMAGES = numbers(12, *SHAPE)
EPISODE = (numbers(N_WAY, 1, *SHAPE), numbers(N_WAY, 3, *SHAPE))
# One step of a small model takes less than its trace. The learners' steps are traced, and every export is.
EAGER = {"run_eagerly": True}


def of_user() -> Callable[[Any, Any], Any]:
    """A function of two embeddings as a user registers it."""
    import keras

    @keras.saving.register_keras_serializable("user")
    def product(a: Any, b: Any) -> Any:
        return keras.ops.sum(a * b, axis=-1)

    return product


def cases() -> dict[str, Callable[[], Any]]:
    """By name, what makes a trained model."""
    import keras

    import fslcore as fsl
    from fslcore import losses, metrics
    from fslcore.augmentation import (
        Chain,
        RandomAffine,
        RandomColour,
        RandomCrop,
        RandomLetterbox,
        RandomNoise,
    )
    from fslcore.encoders.imagenet.preparing import PretrainedInput
    from fslcore.encoders.koch import Float32L2
    from fslcore.layers import (
        CentredPCA,
        CentroidsMatrix,
        ConvBlock,
        DropBlock,
        FusedBatchNormalization,
        GramMatrix,
        PairFunction,
        Standardization,
        UpsampledConv2D,
        WithinClassWhitening,
    )
    from fslcore.layers.upsampling import Conv2D

    def fitted(
        stack: list[Any], loss: Any, x: np.ndarray = X, y: np.ndarray = LABELS, **options: Any
    ) -> keras.Model:
        model = keras.Sequential([keras.Input(x.shape[1:]), *stack])
        model.compile(keras.optimizers.Adam(0.01), loss, **options, **EAGER)
        model.fit(x, y, batch_size=12, epochs=2, verbose=0)
        return model

    def on_matrix(kernel: Any, loss: Any, **options: Any) -> Callable[[], keras.Model]:
        return lambda: fitted([keras.layers.Dense(4), GramMatrix(kernel)], loss, **options)

    def on_embeddings(loss: Any, **options: Any) -> Callable[[], keras.Model]:
        return lambda: fitted([keras.layers.Dense(4)], loss, **options)

    def on_outputs(head: Any, *several: Any) -> Callable[[], keras.Model]:
        """One output for each loss, all of the same embeddings."""

        def make() -> keras.Model:
            inputs = keras.Input(X.shape[1:])
            output = head(keras.layers.Dense(4)(inputs))
            outputs = [keras.layers.Activation("linear")(output) for _ in several]
            model = keras.Model(inputs, outputs)
            model.compile(keras.optimizers.Adam(0.01), list(several), **EAGER)
            model.fit(X, [LABELS] * len(several), batch_size=12, epochs=2, verbose=0)
            return model

        return make

    def tables() -> keras.Model:
        inputs, labels = keras.Input(X.shape[1:]), keras.Input((), dtype="int64")
        embeddings = keras.layers.Dense(4)(inputs)
        for layer in (
            losses.ArcFace(N_WAY),
            losses.ProxyAnchor(N_WAY),
            losses.PairCrossentropy("weighted_manhattan"),
            losses.CrossBatchMemory(losses.CircleLoss(), 20),
        ):
            embeddings = layer([embeddings, labels])
        model = keras.Model([inputs, labels], embeddings)
        model.compile("adam", **EAGER)
        model.fit([X, LABELS], batch_size=12, epochs=2, verbose=0)
        return model

    def layers_on_images() -> keras.Model:
        box = RandomLetterbox(SHAPE[:2], 1.1, RandomAffine(rotation=9, fill="constant"))
        varying = Chain([box, RandomCrop(), RandomColour(0.1), RandomNoise()])
        stack = [varying, UpsampledConv2D(16), Conv2D(3, 3, padding="same"), ConvBlock(4, 1, 2)]
        stack += [FusedBatchNormalization(), DropBlock(0.2, 2), ConvBlock(4)]
        dense = keras.layers.Dense(4, kernel_regularizer=Float32L2(0.01))
        return fitted([*stack, keras.layers.Flatten(), dense], losses.TripletSemiHardLoss(), IMAGES)

    def centroids() -> keras.Model:
        embeddings, labels = keras.Input((5,)), keras.Input((N_WAY,))
        scores = CentroidsMatrix("sqeuclidean", "softmax")([keras.layers.Dense(4)(embeddings), labels])
        model = keras.Model([embeddings, labels], scores)
        model.compile("adam", "sparse_categorical_crossentropy", **EAGER)
        model.fit([X, np.eye(N_WAY, dtype=np.float32)[LABELS]], LABELS, batch_size=12, verbose=0)
        return model

    def network() -> keras.Model:
        head = [keras.layers.Flatten(), keras.layers.Dense(N_WAY)]
        return keras.Sequential([keras.Input(SHAPE), ConvBlock(4), *head])

    def encoder() -> keras.Model:
        return keras.Sequential([keras.Input(SHAPE), ConvBlock(4), keras.layers.Flatten()])

    store = fsl.ImageStore.from_arrays(
        np.random.default_rng(0).integers(0, 256, (48, *SHAPE), dtype=np.uint8), np.arange(48) // 8
    )

    def trained(learner: Any, batches: Any = None) -> keras.Model:
        learner.compile(keras.optimizers.Adam(0.01))
        learner.fit(batches(learner), steps_per_epoch=2, shuffle=False, verbose=0)
        return learner

    def of_episodes(make: Callable[[keras.Model], Any]) -> Callable[[], keras.Model]:
        return lambda: trained(make(encoder()), lambda _: store.episodes(N_WAY, 1, 3))

    def of_tasks(make: Callable[[keras.Model], Any], *counts: int) -> Callable[[], keras.Model]:
        return lambda: trained(make(network()), lambda learner: learner.tasks(store, *counts))

    def metagan(classifier: keras.Model) -> keras.Model:
        noise, code = keras.Input((4,)), keras.Input((6,))
        pixels = keras.layers.Dense(64, "sigmoid")(keras.layers.Concatenate()([noise, code]))
        generator = keras.Model([noise, code], keras.layers.Reshape(SHAPE)(pixels))
        task_encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(6)])
        return fsl.MetaGAN(classifier, generator, task_encoder, noise_dim=4, adapt_steps=2, meta_batch=2)

    def pretrained() -> keras.Model:
        network = keras.Sequential([keras.Input((*SHAPE[:2], 3)), keras.layers.Conv2D(6, 3)])
        encoder = fsl.encoders.pretrained(
            network, SHAPE[0], channels=1, preprocessing="torch", trainable=True
        )
        embeddings = encoder(IMAGES)
        head = keras.Sequential([keras.Input((6,)), Standardization(), CentredPCA(4), WithinClassWhitening()])
        for layer in head.layers:
            layer.adapt(*([embeddings, LABELS] if isinstance(layer, WithinClassWhitening) else [embeddings]))
            embeddings = layer(embeddings)
        return fsl.encoders.with_head(encoder, head)

    def headed(network: keras.Model) -> keras.Model:
        width = network.output_shape[-1]
        head = keras.Sequential([keras.Input((width,)), keras.layers.Dense(4)])
        return fsl.Prototypical(fsl.encoders.HeadedEncoder(network, head), metric="cosine")

    sgd, adam = fsl.learners.InnerSGD(0.1), fsl.learners.InnerAdam(0.01)
    matrix_metrics = [
        *(metrics.classification_accuracy(), metrics.MinEigenvalue(), metrics.min_eigenvalue),
        *(metrics.mean_score_classification_accuracy(), metrics.same_image_score, metrics.accuracy(0.25)),
        *(metrics.asymmetry, metrics.MaxAsymmetry()),
    ]
    batch_metrics = [
        *(metrics.ActiveTriplets(0.5, "hard", "squared-L2"), metrics.AnchorsWithoutPositive()),
        *(metrics.RecallAtK(2), metrics.PrecisionAtK(3, "dot"), metrics.RPrecision("cosine")),
        *(metrics.MeanAveragePrecisionAtR(), metrics.Silhouette("manhattan")),
        *(metrics.Collapse(), metrics.EffectiveDimensions()),
    ]
    return {
        "pairs": on_matrix("DenseSigmoid", losses.BinaryCrossentropy(balanced=True), metrics=matrix_metrics),
        "pairs, function": on_matrix("weighted_manhattan", losses.binary_crossentropy),
        "triplets": on_matrix(
            "euclidean",
            losses.TripletLoss(0.5),
            metrics=[
                metrics.classification_accuracy(ascending=True),
                metrics.mean_score_classification_accuracy(ascending=True),
            ],
        ),
        "triplets, function": on_matrix("cosine", losses.triplet_loss),
        "semihard": on_embeddings(losses.TripletSemiHardLoss(0.5, "angular")),
        "semihard, function": on_embeddings(losses.triplet_semihard_loss),
        "hard": on_embeddings(losses.TripletHardLoss(0.5, "squared-L2", soft=True), metrics=batch_metrics),
        "hard, function": on_embeddings(losses.triplet_hard_loss),
        "mining": on_embeddings(losses.TripletMiningLoss("easy_positive", 0.5)),
        "mining, function": on_embeddings(losses.triplet_mining_loss),
        "embeddings": on_outputs(
            keras.layers.Identity(),
            *(losses.BatchContrastiveLoss(0.5), losses.InfoNCELoss(0.2), losses.SoftNearestNeighborLoss()),
            *(losses.LiftedStructLoss(), losses.MultiSimilarityLoss(), losses.CircleLoss()),
            losses.TripletBatchAllLoss(3),
        ),
        "embeddings, function": on_outputs(
            keras.layers.Identity(),
            *(losses.batch_contrastive_loss, losses.info_nce_loss, losses.soft_nearest_neighbor_loss),
            *(losses.lifted_struct_loss, losses.multi_similarity_loss, losses.circle_loss),
            losses.pair_crossentropy_loss,
        ),
        "matrices": on_outputs(
            GramMatrix("MixedNorms"),
            losses.BinaryCrossentropy(reduction=losses.Percentile(30)),
            *(losses.MaxBinaryCrossentropy(), losses.StdBinaryCrossentropy()),
            *(losses.PercentileBinaryCrossentropy(70), losses.ClippedBinaryCrossentropy(0.1, 0.9)),
            *(losses.MeanScoreClassificationLoss(), losses.ClassConsistencyLoss(), losses.NpairsLoss()),
        ),
        "matrices, function": on_outputs(
            GramMatrix("LearntNorms"),
            *(losses.clipped_binary_crossentropy, losses.mean_score_classification_loss),
            *(losses.class_consistency_loss, losses.npairs_loss),
        ),
        "own function": on_matrix(PairFunction(of_user()), losses.TripletLoss()),
        "several labels": on_matrix("dot", losses.NpairsMultilabelLoss(), y=SEVERAL),
        "several labels, function": on_matrix("dot", losses.npairs_multilabel_loss, y=SEVERAL),
        "distances": lambda: fitted([keras.layers.Dense(1)], losses.ContrastiveLoss(0.5), y=SAME),
        "distances, function": lambda: fitted([keras.layers.Dense(1)], losses.contrastive_loss, y=SAME),
        "tables": tables,
        "images": layers_on_images,
        "images, prepared": lambda: fitted(
            [PretrainedInput(None, "torch"), keras.layers.Flatten(), keras.layers.Dense(4)],
            losses.TripletSemiHardLoss(),
            IMAGES,
        ),
        "centroids": centroids,
        "Siamese": lambda: trained(fsl.Siamese(encoder()), lambda _: store.pk_batches(N_WAY, 2)),
        "Siamese, pretrained": lambda: trained(
            fsl.Siamese(pretrained(), "euclidean", output="embeddings"), lambda _: store.pk_batches(N_WAY, 2)
        ),
        "Prototypical": of_episodes(fsl.Prototypical),
        "Prototypical, headed": of_episodes(headed),
        "MatchingNetwork": of_episodes(lambda net: fsl.MatchingNetwork(net, learn_temperature=True)),
        "Reptile": of_tasks(
            lambda net: fsl.Reptile(net, adam, inner_steps=2, inner_batch=3, meta_batch=2), 2
        ),
        "MAML": of_tasks(lambda net: fsl.MAML(net, sgd, adapt_steps=2, meta_batch=2), 1, 3),
        "MetaGAN": of_tasks(metagan, 1, 3),
    }


def targets_of(name: str, model: Any) -> Any:
    if name.startswith("several labels"):
        return SEVERAL
    if name.startswith("distances"):
        return SAME
    return [LABELS] * len(model.outputs) if len(model.outputs) > 1 else LABELS


def state(name: str, model: Any) -> dict[str, np.ndarray]:
    """Outputs, weights, and the state of the optimizers and of what was compiled."""
    inputs, optimizers = inputs_of(name), getattr(model, "optimizers", [model.optimizer])
    values = {
        "outputs": np.asarray(model(inputs)),
        # Keras keeps no state of random numbers.
        **{
            f"weight {i}": np.asarray(v)
            for i, v in enumerate(model.variables)
            if v.name != "seed_generator_state"
        },
        **{
            f"optimizer {i} {j}": np.asarray(v)
            for i, optimizer in enumerate(optimizers)
            for j, v in enumerate(optimizer.variables)
        },
    }
    if not hasattr(model, "encoder") and not hasattr(model, "network"):
        targets = targets_of(name, model)
        results = model.evaluate(inputs, targets, batch_size=12, verbose=0, return_dict=True)
        values |= {f"result {name}": np.asarray(value) for name, value in results.items()}
        measured = len(model._compile_metrics.metrics if model._compile_metrics else ())
        assert len(results) == 1 + measured + (len(targets) if isinstance(targets, list) else 0)
    return values


def inputs_of(name: str) -> Any:
    if name == "tables":
        return [X, LABELS]
    if name == "centroids":
        return [X, np.eye(N_WAY, dtype=np.float32)[LABELS]]
    return IMAGES if name.startswith("images") or name[0].isupper() else X


def save(folder: Path) -> None:
    """Writes each case as `.keras`, weights and SavedModel, and its state."""
    names = list(cases())
    for i, (name, make) in enumerate(cases().items()):
        model = make()
        model.save(folder / f"{i}.keras")
        model.save_weights(folder / f"{i}.weights.h5")
        if "function" not in name:
            model.export(folder / f"{i}", verbose=False)
        np.savez(folder / f"{i}.npz", **state(name, model))
    (folder / "names.json").write_text(json.dumps(names))


def check(folder: Path) -> None:
    """Loads everything in this process and compares it with its state when it was saved."""
    import keras
    import tensorflow as tf

    of_user()
    for i, name in enumerate(json.loads((folder / "names.json").read_text())):
        inputs = inputs_of(name)
        with np.load(folder / f"{i}.npz") as expected:
            model = keras.models.load_model(folder / f"{i}.keras")
            assert model.compiled, name
            loaded = state(name, model)
            assert loaded.keys() == set(expected.files), name
            for key in expected.files:
                np.testing.assert_array_equal(loaded[key], expected[key], f"{name}: {key}")
            for variable in model.weights:
                variable.assign(tf.zeros_like(variable))
            model.load_weights(folder / f"{i}.weights.h5")
            np.testing.assert_array_equal(model(inputs), expected["outputs"], name)
            print("loaded", name)
            if "function" in name:
                continue
            exported = tf.saved_model.load(str(folder / f"{i}"))
            # Graphs round otherwise than eager convolutions.
            near = {"rtol": 1e-4, "atol": 1e-5, "err_msg": name}
            np.testing.assert_allclose(exported.serve(inputs), expected["outputs"], **near)
            layer = keras.layers.TFSMLayer(folder / f"{i}", call_endpoint="serve")
            np.testing.assert_allclose(layer(inputs), expected["outputs"], **near)


if __name__ == "__main__":
    import fslcore  # noqa: F401  nothing but the package itself, before Keras

    check(Path(sys.argv[1]))

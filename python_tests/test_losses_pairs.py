# SPDX-License-Identifier: MIT
"""Losses over the pairs of embeddings: loops of their papers, numerical gradients, bad input, Keras."""

import itertools

import keras
import numpy as np
import oracles
import oracles_pairs
import pytest
import tensorflow as tf
from inputs import normal
from routes import MODES, eager, with_gradient

from fslcore import losses, twins
from fslcore.losses.pairs import References

LABELS = np.array([0, 0, 1, 1, 1, 2, 0, 3, 2])  # 3 is alone
WEIGHTS = np.abs(normal(7, 4)) * np.float32(0.5)
PROXIES = normal(8, 5, 4)  # class 4 has no sample

# By name: the loss of labels and embeddings, and its loops.
LOSSES = {
    "contrastive": (
        losses.BatchContrastiveLoss(1.5),
        lambda x, y: oracles_pairs.batch_contrastive(x, y, 1.5, "euclidean"),
    ),
    "contrastive, manhattan": (
        losses.BatchContrastiveLoss(4.0, "manhattan"),
        lambda x, y: oracles_pairs.batch_contrastive(x, y, 4.0, "manhattan"),
    ),
    "all triplets": (
        losses.TripletBatchAllLoss(3, 0.5),
        lambda x, y: oracles_pairs.batch_all(x, y, 0.5, "euclidean", True),
    ),
    "all triplets, angular": (
        losses.TripletBatchAllLoss(5, 0.25, "angular", active_only=False),
        lambda x, y: oracles_pairs.batch_all(x, y, 0.25, "cosine", False),
    ),
    "infonce": (losses.InfoNCELoss(0.2), lambda x, y: oracles_pairs.info_nce(x, y, 0.2, "cosine")),
    "infonce, dot": (
        losses.InfoNCELoss(0.7, "dot"),
        lambda x, y: oracles_pairs.info_nce(x, y, 0.7, "dot"),
    ),
    "soft nearest": (
        losses.SoftNearestNeighborLoss(2.0),
        lambda x, y: oracles_pairs.soft_nearest(x, y, 2.0, "sqeuclidean"),
    ),
    "lifted": (losses.LiftedStructLoss(0.7), lambda x, y: oracles_pairs.lifted(x, y, 0.7)),
    "multi-similarity": (
        losses.MultiSimilarityLoss(2.0, 10.0, 0.3, 0.2),
        lambda x, y: oracles_pairs.multi_similarity(x, y, 2.0, 10.0, 0.3, 0.2),
    ),
    "circle": (losses.CircleLoss(8.0, 0.25), lambda x, y: oracles_pairs.circle(x, y, 8.0, 0.25)),
    "crossentropy, dot": (
        lambda y, x: losses.pair_crossentropy_loss(y, x, scale=0.5, bias=-0.25),
        lambda x, y: oracles_pairs.pair_crossentropy(x, y, "dot", None, 0.5, -0.25, False),
    ),
    "crossentropy, manhattan": (
        lambda y, x: losses.pair_crossentropy_loss(
            y, x, "weighted_manhattan", weights=WEIGHTS, scale=-1.0, bias=1.0, balanced=True
        ),
        lambda x, y: oracles_pairs.pair_crossentropy(
            x, y, "weighted_manhattan", WEIGHTS.astype(np.float64), -1.0, 1.0, True
        ),
    ),
    "proxies": (
        lambda y, x: losses.proxy_anchor_loss(y, x, PROXIES, 8.0, 0.1),
        lambda x, y: oracles_pairs.proxy_anchor(x, y, PROXIES.astype(np.float64), 8.0, 0.1),
    ),
    "arcface": (
        lambda y, x: losses.arcface_loss(y, x, PROXIES, 4.0, 0.4),
        lambda x, y: oracles_pairs.arcface(x, y, PROXIES.astype(np.float64), 4.0, 0.4),
    ),
}
OF_PAIRS = [name for name, (loss, _) in LOSSES.items() if isinstance(loss, losses.pairs.PairsLoss)]
# Each mode for some of them: test_pair_reductions.py runs what they are made of in all.
MODE_OF = dict(zip([*LOSSES][::2], itertools.cycle(MODES[1:]), strict=False))


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_are_those_of_loops(name):
    loss, loops = LOSSES[name]
    x = normal(0, 9, 4)
    at = x.astype(np.float64)
    want = loops(at, LABELS)
    if name == "circle":
        frozen = lambda x: oracles_pairs.circle(x, LABELS, 8.0, 0.25, at)  # noqa: E731
        of_x = oracles_pairs.numerical_gradient(frozen, at)
    else:
        of_x = oracles_pairs.numerical_gradient(lambda x: loops(x, LABELS), at)
    function = with_gradient(lambda x: loss(LABELS, x))
    for mode in {eager, MODE_OF.get(name, eager)}:
        value, gradient = mode(function)(x)
        assert float(value) == pytest.approx(want, rel=1e-5, abs=1e-6)
        np.testing.assert_allclose(gradient, of_x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_batches_that_teach_nothing_have_a_value(name):
    loss, loops = LOSSES[name]
    batches = {
        "one class": np.zeros(4, int),
        "no positive": np.arange(4),
        "one sample": np.zeros(1, int),
        "no sample": np.zeros(0, int),
    }
    for case, labels in batches.items():
        x = normal(1, len(labels), 4)
        value, gradient = with_gradient(lambda x, labels=labels: loss(labels, x))(x)
        assert float(value) == pytest.approx(loops(x.astype(np.float64), labels), rel=1e-5, abs=1e-6), case
        assert np.all(np.isfinite(gradient)), case
        if name in ("infonce", "lifted", "circle", "soft nearest") and case != "one class":
            assert float(value) == 0.0
            assert not np.any(gradient)
    x = normal(2, 6, 4)
    x[2] = np.nan
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert np.isnan(loss(labels, x))
    if name in ("infonce", "multi-similarity", "crossentropy, manhattan"):  # a compilation each
        assert np.isnan(tf.function(lambda x: loss(labels, x), jit_compile=True)(x))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_cast_and_wrong_arguments_are_refused(name):
    loss, _ = LOSSES[name]
    x = normal(0, 9, 4)
    for dtype in ("float16", "bfloat16"):
        narrow = tf.cast(x, dtype)
        value = loss(LABELS, narrow)
        assert value.dtype == tf.float32
        assert float(value) == float(loss(LABELS, tf.cast(narrow, tf.float32)))
    with pytest.raises(ValueError, match=r"y_true must hold one (class id per sample|label per sample)"):
        loss(LABELS[:5], x)
    with pytest.raises(ValueError, match="y_true must hold one class id per sample"):
        loss(np.eye(4)[LABELS], x)
    with pytest.raises(ValueError, match=r"y_pred must be embeddings \[batch, dim\]"):
        loss(LABELS, x[:, None])


def test_values_and_gradients_are_those_of_the_dense_twin(monkeypatch):
    """What is left of the difference is rounding: relative to the largest entry 2^-18, some 60 roundings."""
    x, labels = normal(3, 500, 24), np.random.default_rng(0).permutation(500) // 4
    for name in OF_PAIRS:
        loss, _ = LOSSES[name]
        value, gradient = with_gradient(lambda x, loss=loss: loss(labels, x))(x)
        with monkeypatch.context() as patch:
            for function in ("pair_reductions", "pair_sums"):
                patch.setattr(losses.pairs.ops, function, getattr(twins, function))
            of_twin, wanted = with_gradient(lambda x, loss=loss: loss(labels, x))(x)
        assert float(value) == pytest.approx(float(of_twin), rel=2**-18), name
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=np.abs(wanted).max() * 2**-17, err_msg=name)


def test_sums_are_the_same_without_a_tape_and_with_one_outside_of_a_graph():
    x = normal(0, 9, 4)
    for name in ("contrastive", "crossentropy, dot", "crossentropy, manhattan"):
        loss, _ = LOSSES[name]
        value, gradient = with_gradient(lambda x, loss=loss: loss(LABELS, x))(x)
        assert float(loss(LABELS, x)) == pytest.approx(float(value), rel=1e-6), name
        traced = tf.function(lambda x, loss=loss: loss(LABELS, x)).get_concrete_function(tf.constant(x))
        operations = {op.type for op in traced.graph.get_operations()}
        assert "FslcorePairReductions" in operations, name
        assert "FslcorePairSums" not in operations, name
        again, of_tape = with_gradient(traced)(x)
        assert float(again) == pytest.approx(float(value), rel=1e-6), name
        np.testing.assert_allclose(of_tape, gradient, rtol=1e-4, atol=1e-6, err_msg=name)


# TensorFlow Addons --------------------------------------------------------------------------------------


def test_the_losses_of_matrices_and_pairs_are_those_of_addons():
    x, y = normal(4, 6, 5), normal(5, 6, 5)
    labels = np.array([0, 1, 0, 2, 2, 2])
    want = oracles_pairs.npairs(x.astype(np.float64), y.astype(np.float64), labels)
    matrix = x @ y.T
    assert float(losses.NpairsLoss()(labels, matrix)) == pytest.approx(want, rel=1e-5)
    assert float(losses.npairs_embeddings_loss(labels, x, y)) == pytest.approx(want, rel=1e-5)
    # With one label for each sample the two are the same; here with several, by the shares of common labels.
    one_hot = np.eye(3)[labels]
    assert float(losses.NpairsMultilabelLoss()(one_hot, matrix)) == pytest.approx(want, rel=1e-5)
    several = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1]])
    scores, common = matrix.astype(np.float64), several @ several.T
    log_softmax = scores - np.log(np.sum(np.exp(scores), 1, keepdims=True))
    shares = common / common.sum(1, keepdims=True)
    want = -np.mean(np.sum(shares * log_softmax, 1))
    assert float(losses.npairs_multilabel_loss(several, matrix)) == pytest.approx(want, rel=1e-5)
    # The cases of Addons' own test of the contrastive loss, margin 1.
    distances = np.float32([0.1, 0.3, 1.3, 0.6, 0.8])
    matching = np.array([1, 0, 1, 0, 0])
    parts = [0.1**2, 0.7**2, 1.3**2, 0.4**2, 0.2**2]
    np.testing.assert_allclose(losses.contrastive_loss(matching, distances), parts, rtol=1e-5)
    column = distances[:, None]  # of a layer of one unit; Addons compares each pair with all labels
    np.testing.assert_allclose(losses.contrastive_loss(matching, column)[:, 0], parts, rtol=1e-5)
    np.testing.assert_allclose(losses.contrastive_loss(matching[:, None], distances), parts, rtol=1e-5)
    assert float(losses.ContrastiveLoss()(matching, distances)) == pytest.approx(np.mean(parts), rel=1e-5)


def test_the_triplet_losses_of_addons_in_three_precisions_and_distances():
    labels = np.repeat(np.arange(4), 3)  # where no sample is alone, as in Addons' own cases
    for dtype in ("float32", "float16", "bfloat16"):
        x = tf.cast(normal(9, 12, 6), dtype)
        wide = tf.cast(x, tf.float32).numpy()
        for name, metric in (("L2", "euclidean"), ("squared-L2", "sqeuclidean"), ("angular", "cosine")):
            for loss, want in (
                (losses.TripletSemiHardLoss(0.7, name), ("semihard", 0.7, metric)),
                (losses.TripletHardLoss(0.7, name), ("hard", 0.7, metric)),
                (losses.TripletHardLoss(0.7, name, soft=True), None),
            ):
                if want is None:
                    value = oracles.soft_triplet_loss(wide, labels, metric).loss
                else:
                    value = oracles.triplet_loss(wide, labels, *want).loss
                assert float(loss(labels, x)) == pytest.approx(value, rel=1e-5), (dtype, name)


def test_the_distances_of_addons():
    x = normal(6, 5, 3)
    for squared, metric in ((False, "euclidean"), (True, "sqeuclidean")):
        got = losses.metric_learning.pairwise_distance(x, squared)
        np.testing.assert_allclose(got, oracles.pairwise(x, metric=metric), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(np.diag(got), 0.0)
    got = losses.metric_learning.angular_distance(x)
    np.testing.assert_allclose(got, oracles.pairwise(x, metric="cosine"), atol=1e-6)


# Two sides, tables, memories ----------------------------------------------------------------------------


def test_siglip_and_its_parameters():
    x, y = normal(0, 6, 5), normal(1, 6, 5)
    want = oracles_pairs.siglip(x.astype(np.float64), y.astype(np.float64), 3.0, -1.5)
    sources = {k: tf.constant(v, tf.float32) for k, v in {"x": x, "y": y, "t": 3.0, "b": -1.5}.items()}
    with tf.GradientTape() as tape:
        tape.watch(list(sources.values()))
        loss = losses.siglip_loss(sources["x"], sources["y"], sources["t"], sources["b"])
    assert float(loss) == pytest.approx(want, rel=1e-5)
    gradients = tape.gradient(loss, sources)
    x, y = (array.astype(np.float64) for array in (x, y))
    for name, at, function in (
        ("x", x, lambda at: oracles_pairs.siglip(at, y, 3.0, -1.5)),
        ("y", y, lambda at: oracles_pairs.siglip(x, at, 3.0, -1.5)),
        ("t", np.array(3.0), lambda at: oracles_pairs.siglip(x, y, float(at), -1.5)),
        ("b", np.array(-1.5), lambda at: oracles_pairs.siglip(x, y, 3.0, float(at))),
    ):
        want = oracles_pairs.numerical_gradient(function, at)
        np.testing.assert_allclose(gradients[name], want, rtol=1e-3, atol=1e-4, err_msg=name)


def test_references_are_partners_that_have_no_loss_of_their_own():
    x, more = normal(0, 6, 4), normal(1, 5, 4)
    labels, more_labels = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 3, 3])
    loss = losses.BatchContrastiveLoss(1.5)
    rows, ids = np.concatenate([x, more]).astype(np.float64), np.concatenate([labels, more_labels])
    terms = []
    for i in range(6):
        for j, is_same in oracles_pairs.others(ids, i):
            d = oracles_pairs.metric_of(rows[i], rows[j], "euclidean")
            terms.append(d**2 if is_same else max(1.5 - d, 0.0) ** 2)
    got = loss.with_references(labels, x, References(tf.constant(more), tf.constant(more_labels)))
    assert float(got) == pytest.approx(np.mean(terms), rel=1e-5)


def table_model(layer):
    images, labels = keras.Input((4,)), keras.Input((), dtype="int64")
    return keras.Model([images, labels], layer([keras.layers.Dense(3)(images), labels]))


def test_layers_with_tables_and_memories_are_trained_and_saved(tmp_path):
    x, labels = normal(0, 16, 4), np.arange(16) % 4
    for layer, jit_compile in (
        (losses.ArcFace(4, 8.0, 0.2), False),
        (losses.ProxyAnchor(4), True),
        (losses.PairCrossentropy("weighted_manhattan", bias=1.0, balanced=True), False),
        (losses.CrossBatchMemory(losses.InfoNCELoss(0.5), 12), True),
    ):
        model = table_model(layer)
        model.compile(keras.optimizers.Adam(0.05), jit_compile=jit_compile)
        history = model.fit([x, labels], batch_size=8, epochs=6, shuffle=False, verbose=0).history["loss"]
        # The loss grows while the memory is being filled.
        assert history[-1] < history[2 if isinstance(layer, losses.CrossBatchMemory) else 0]
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        again.compile(jit_compile=False)
        got = [m.evaluate([x, labels], batch_size=16, verbose=0) for m in (again, model)]
        assert got[0] == pytest.approx(got[1], rel=1e-5)
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_layer_of_pairs_is_the_function_with_trained_numbers():
    x, labels = normal(3, 9, 4), LABELS
    for kernel, scale, weights in (("dot", 1.0, None), ("weighted_manhattan", -1.0, np.ones(4, np.float32))):
        layer = losses.PairCrossentropy(kernel, bias=0.5)
        with tf.GradientTape() as tape:
            assert layer([x, labels]) is not None
            (value,) = layer.losses
        want = losses.pair_crossentropy_loss(labels, x, kernel, weights=weights, scale=scale, bias=0.5)
        # Under a tape the sum is made with its gradient, in another order.
        assert float(value) == pytest.approx(float(want), rel=1e-6)
        gradients = tape.gradient(value, layer.trainable_weights)
        assert len(gradients) == (2 if weights is None else 3)
        assert all(np.any(np.asarray(gradient)) for gradient in gradients)
        assert losses.PairCrossentropy.from_config(layer.get_config()).get_config() == layer.get_config()
    with pytest.raises(ValueError, match="kernel must be one of dot, weighted_manhattan, received"):
        losses.PairCrossentropy("cosine")


def test_the_memory_keeps_the_last_embeddings_of_training_alone():
    layer = losses.CrossBatchMemory(losses.BatchContrastiveLoss(1.0), 5)
    batches = [normal(seed, 3, 2) for seed in range(3)]
    for number, batch in enumerate(batches):
        layer([tf.constant(batch), tf.fill([3], tf.constant(number, tf.int64))], training=True)
    kept, labels = (np.asarray(layer.embeddings), np.asarray(layer.labels))
    rows = np.concatenate(batches)
    np.testing.assert_array_equal(kept, rows[[5, 6, 7, 8, 4]])
    np.testing.assert_array_equal(labels, [1, 2, 2, 2, 1])
    layer([tf.constant(batches[0]), tf.zeros([3], tf.int64)], training=False)
    np.testing.assert_array_equal(np.asarray(layer.embeddings), kept)


def test_what_the_layers_do_not_support_is_refused():
    with pytest.raises(ValueError, match="loss must be a loss over pairs, such as InfoNCELoss, received"):
        losses.CrossBatchMemory(losses.TripletSemiHardLoss(), 8)
    with pytest.raises(ValueError, match="loss must compare samples with references one by one"):
        losses.CrossBatchMemory(losses.LiftedStructLoss(), 8)([normal(0, 3, 2), np.arange(3)])
    with pytest.raises(ValueError, match="size must be at least the number of samples of a batch"):
        losses.CrossBatchMemory(losses.InfoNCELoss(), 2)([normal(0, 3, 2), np.arange(3)], training=True)
    with pytest.raises(ValueError, match="positives must be at least 1, received"):
        losses.TripletBatchAllLoss(0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at most positives \+ 1 samples of a class"):
        losses.TripletBatchAllLoss(2)(np.zeros(4, int), normal(0, 4, 2))
    with pytest.raises(ValueError, match=r"margin must be from 0 to pi / 2, received margin=2\.0"):
        losses.arcface_loss([0], [[1.0]], [[1.0]], 4.0, 2.0)
    with pytest.raises(ValueError, match=r"temperature must be above 0, received temperature=0\.0"):
        losses.InfoNCELoss(0)
    for loss in (losses.arcface_loss, losses.proxy_anchor_loss):
        assert np.isnan(loss([0, 7], normal(0, 2, 4), PROXIES))
        assert loss([0.0, 2.0], normal(0, 2, 4), PROXIES) == loss([0, 2], normal(0, 2, 4), PROXIES)
        with pytest.raises(tf.errors.InvalidArgumentError, match="y_true must hold integers"):
            loss([0.0, 1.5], normal(0, 2, 4), PROXIES)
        compiled = tf.function(loss, jit_compile=True)
        assert np.isnan(compiled(tf.constant([0.0, 1.5]), normal(0, 2, 4), PROXIES))
    with pytest.raises(tf.errors.InvalidArgumentError, match="y_true must hold integers"):
        losses.CrossBatchMemory(losses.InfoNCELoss(), 8)([normal(0, 3, 2), np.array([0.0, 0.5, 1.0])])
    layer = losses.CrossBatchMemory(losses.InfoNCELoss(), 2)
    layer.build([(None, 2), (None,)])
    remember = tf.function(
        lambda x, y: layer([x, y], training=True),
        input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.int64)],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have at most `size` samples"):
        remember(normal(0, 3, 2), np.arange(3))
    with pytest.raises(ValueError, match="y_true must have the shape of y_pred"):
        losses.contrastive_loss([0, 1], [[0.5, 0.5], [0.5, 0.5]])
    of_any_number = tf.function(
        losses.contrastive_loss, input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="one for each distance"):
        of_any_number(np.float32([1]), np.float32([0.5, 0.5]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="y_true must be 1 for pairs of one class"):
        losses.contrastive_loss([0, 2], [0.5, 0.5])


@pytest.mark.parametrize("name", OF_PAIRS)
def test_configs_make_the_same_loss(name):
    loss, _ = LOSSES[name]
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    x = normal(0, 9, 4)
    assert float(again(LABELS, x)) == float(loss(LABELS, x))
    with pytest.raises(ValueError, match="sample_weight must be None"):
        loss(LABELS, x, np.ones(9))

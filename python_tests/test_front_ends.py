# SPDX-License-Identifier: MIT
"""What front ends of TensorFlow, losses and layers refuse or mark instead of computing something else."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from inputs import normal

from fslcore import kernels, layers, losses, metrics, ops, twins, xla

X, LABELS = normal(0, 6, 3), np.repeat(np.arange(3), 2)
STORE = np.zeros((4, 2, 2, 1), np.uint8)
KERNEL = np.ones((3, 3, 1, 2), np.float32)
ADAM = {"learning_rate": 0.1, "beta_2": 0.9, "epsilon": 1e-8}


def conv(module, **wrong):
    arguments = {"images": normal(0, 2, 16).reshape(2, 4, 4, 1), "kernel": KERNEL}
    arguments |= {"gamma": np.ones(2), "beta": np.ones(2)}
    return module.conv_block(**{name: wrong.get(name, lambda x: x)(x) for name, x in arguments.items()})


# By argument: a call of an op or twin, in which `wrong` replaces a good value by a bad one.
CALLS = {
    f"{module.__name__} {name}": call
    for module in (ops, twins)
    for name, call in {
        "x": lambda wrong, module=module: module.pairwise(wrong(X)),
        "y": lambda wrong, module=module: module.pairwise(X, wrong(X)),
        "weights": lambda wrong, module=module: module.pairwise(
            X, metric="weighted_manhattan", weights=wrong(np.ones(3))
        ),
        "x of triplets": lambda wrong, module=module: module.triplet_loss(wrong(X), LABELS),
        "queries": lambda wrong, module=module: module.nearest(wrong(X), X, 2),
        "rows": lambda wrong, module=module: module.nearest(X, wrong(X), 2),
        "x of mining": lambda wrong, module=module: module.mine_triplets(wrong(X), LABELS),
        "images": lambda wrong, module=module: conv(module, images=wrong),
        "kernel": lambda wrong, module=module: conv(module, kernel=wrong),
        "weights of Adam": lambda wrong, module=module: module.adam_step(
            [wrong(X)], [X], [X], tf.constant(1.0), **ADAM
        ),
        "power": lambda wrong, module=module: module.adam_step([X], [X], [X], wrong(np.ones(())), **ADAM),
    }.items()
} | {
    "ops.pairwise_grad grad": lambda wrong: ops.pairwise_grad(X, X, wrong(np.ones((6, 6)))),
    "y_pred": lambda wrong: losses.TripletSemiHardLoss()(LABELS, wrong(X)),
    "matrix": lambda wrong: losses.TripletLoss()(LABELS, wrong(np.ones((6, 6)))),
    "pairs": lambda wrong: losses.BinaryCrossentropy()(LABELS, wrong(np.ones((6, 6)))),
    "accuracy": lambda wrong: metrics.classification_accuracy()(LABELS, wrong(np.ones((6, 6)))),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_complex_numbers_and_masked_arrays_are_refused(call):
    call(np.asarray)
    with pytest.raises(ValueError, match="must hold real numbers, received complex"):
        call(lambda x: x.astype(np.complex64))
    with pytest.raises(ValueError, match="must hold a value for each element, received a masked array"):
        call(lambda x: np.ma.masked_array(x, np.zeros(x.shape, bool)))


def _of_jax():
    pytest.importorskip("jax", reason="JAX is not installed")
    import fslcore.jax

    return fslcore.jax


@pytest.mark.parametrize("front_end", [lambda: kernels, lambda: ops, _of_jax], ids=["numpy", "ops", "jax"])
def test_the_matrix_that_a_gradient_takes_has_a_number_for_each_pair(front_end):
    gradient, grad = front_end().pairwise_grad, np.ones((6, 6), np.float32)
    out = kernels.pairwise(X, metric="euclidean")
    wanted = gradient(X, None, grad, "euclidean")
    for one, other in zip(gradient(X, None, grad, "euclidean", out=out), wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.all(np.asarray(gradient(X, None, grad, "euclidean", out=np.zeros_like(out))[0]) == 0)
    message = r"out must be \[6, 6\], one number per pair of rows, received \[6, 5\]"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=message):
        gradient(X, None, grad, out=out[:, :5])


@pytest.mark.parametrize("seed", [1.7, tf.constant(1.7), np.float32(2), tf.constant(2.0)], ids=str)
def test_seeds_are_whole_numbers(seed):
    for call in (
        lambda: ops.sample_episodes(LABELS, 2, 1, 1, 1, seed),
        lambda: ops.sample_episodes(LABELS, 2, 1, 1, 1, 0, seed),
        lambda: ops.permutations(3, 1, seed),
        lambda: ops.permutations(3, 1, 0, seed),
    ):
        with pytest.raises(ValueError, match="must be a whole number"):
            call()


def test_masked_integers_are_refused():
    masked = np.ma.masked_array([0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1])
    for call in (
        lambda: ops.triplet_loss(X, masked),
        lambda: ops.gather_images(STORE, masked),
        lambda: losses.TripletHardLoss()(masked, X),
        lambda: losses.BinaryCrossentropy()(masked, np.ones((6, 6))),
    ):
        with pytest.raises(ValueError, match="received a masked array"):
            call()


WRONG_LABELS = {
    "fractions": np.float32([0, 0, 1, 1, 2, 2.5]),
    "beyond float32": np.float32([0, 0, 1, 1, 2**24, 2**24 + 2]),
}
ROWS = np.float32([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [0, 0]])
OF_LABELS = {
    "semihard": lambda y: losses.TripletSemiHardLoss()(y, X),
    "soft": lambda y: losses.TripletHardLoss(soft=True)(y, X),
    "mining": lambda y: losses.triplet_mining_loss(y, X, "easy_positive"),
    "matrix": lambda y: losses.TripletLoss()(y, ops.pairwise(X)),
    "pairs": lambda y: losses.BinaryCrossentropy(balanced=True)(y, ops.pairwise(X)),
    "accuracy": lambda y: tf.reduce_mean(metrics.classification_accuracy()(y, ops.pairwise(X))),
}


@pytest.mark.parametrize("name", OF_LABELS)
def test_wrong_labels_are_nan_in_xla_where_nothing_is_asserted(name):
    function = tf.function(OF_LABELS[name], jit_compile=True)
    assert np.isfinite(function(np.float32(LABELS)))
    for labels in WRONG_LABELS.values():
        assert np.isnan(function(labels))
        with pytest.raises(tf.errors.InvalidArgumentError):
            OF_LABELS[name](labels)
    if name in ("matrix", "pairs", "accuracy"):
        assert np.isnan(tf.function(OF_LABELS[name], jit_compile=True)(ROWS))


@pytest.fixture
def beside_a_gpu(monkeypatch):
    """As on a machine with a GPU, with a build for CPUs only."""
    gpu = types.SimpleNamespace(device_type="GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu])
    libraries = {"core": None}
    monkeypatch.setattr(ops, "native_libraries", lambda: libraries)
    return libraries


@pytest.mark.parametrize("layer", [layers.GramMatrix, layers.CentroidsMatrix])
def test_beside_a_gpu_layers_without_kernels_for_it_turn_xla_off(beside_a_gpu, layer):
    assert not layer("cosine").supports_jit
    beside_a_gpu["cuda"] = None
    assert layer("cosine").supports_jit


def test_beside_a_gpu_losses_without_kernels_for_it_say_so_in_xla(beside_a_gpu):
    for loss in (losses.TripletSemiHardLoss(), losses.TripletHardLoss(soft=True)):
        assert np.isfinite(loss(LABELS, X))  # the graph runs it on the CPU
        with pytest.raises(NotImplementedError, match=r"has no kernel for a GPU.*jit_compile=False"):
            tf.function(lambda x, loss=loss: loss(LABELS, x), jit_compile=True)(X)


def gram_model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), layers.GramMatrix("sqeuclidean")])


def centroids_model():
    x, labels = keras.Input((3,)), keras.Input((3,))
    return keras.Model([x, labels], layers.CentroidsMatrix("sqeuclidean")([x, labels]))


@pytest.mark.parametrize("make", [gram_model, centroids_model])
@pytest.mark.parametrize("steps", [1, 2])
def test_arrays_are_predicted_in_one_batch(make, steps):
    model = make()
    model.compile(steps_per_execution=steps)
    x = X if make is gram_model else [X, np.eye(3, dtype=np.float32)[LABELS]]
    np.testing.assert_allclose(model.predict(x, batch_size=4, verbose=0), model(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(model.predict(x, 2, 0, None, []), model(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [gram_model, centroids_model])
def test_a_dataset_of_several_batches_is_not_predicted(make):
    model = make()
    x = X if make is gram_model else ((X, np.eye(3, dtype=np.float32)[LABELS]),)
    batches = tf.data.Dataset.from_tensor_slices(x)
    assert len(model.predict(batches.batch(6), verbose=0)) == 6
    for size in (3, 4):
        with pytest.raises(ValueError, match=r"arrays or one batch.*embed.*class_scores.*several batches"):
            model.predict(batches.batch(size), verbose=0)


def test_other_models_are_predicted_as_before():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    batches = []
    callback = keras.callbacks.LambdaCallback(on_train_begin=None)
    callback.on_predict_batch_end = lambda batch, logs=None: batches.append(batch)
    model.predict(X, batch_size=2, verbose=0, callbacks=[callback])
    assert batches == [0, 1, 2]


def test_batches_that_teach_nothing_show_in_the_metrics():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(
        "sgd",
        losses.TripletSemiHardLoss(),
        metrics=[metrics.ActiveTriplets(), metrics.AnchorsWithoutPositive()],
    )

    def results(labels):
        found = model.evaluate(X, labels, batch_size=6, verbose=0, return_dict=True)
        return found["active_triplets"], found["anchors_without_positive"]

    assert results(np.arange(6)) == (0.0, 1.0)
    assert results(np.zeros(6, int)) == (0.0, 0.0)
    assert results(np.array([0, 0, 1, 1, 2, 3]))[1] == pytest.approx(1 / 3)


@pytest.mark.parametrize("mining", ["semihard", "hard", "easy_positive"])
def test_active_triplets_are_those_above_0(mining):
    import oracles

    distance = oracles.pairwise(X, metric="euclidean")
    triplets = oracles.mine_triplets(X, LABELS, mining, "euclidean")
    active = [distance[a, p] - distance[a, n] + 0.3 > 0 for a, p, n in zip(*triplets, strict=True)]
    metric = metrics.ActiveTriplets(0.3, mining)
    metric.update_state(LABELS, X)
    assert float(metric.result()) == pytest.approx(np.mean(active))
    again = metrics.ActiveTriplets.from_config(metric.get_config())
    assert again.get_config() == metric.get_config()


def test_names_in_errors_are_one_sentence():
    with pytest.raises(ValueError, match="sample_weight must be None, and so must class_weight of fit"):
        losses.TripletHardLoss()(LABELS, X, np.ones(6))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", losses.TripletHardLoss())
    with pytest.raises(ValueError, match="class_weight"):
        model.fit(X, LABELS, class_weight={0: 1.0, 1: 2.0, 2: 1.0}, verbose=0)


def test_kernels_exist_where_there_is_no_gpu():
    if not tf.config.list_physical_devices("GPU"):
        assert xla.has_kernels()

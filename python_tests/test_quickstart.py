# SPDX-License-Identifier: MIT
"""The quickstart that users of keras-fsl know, with other package names, on fewer batches of Omniglot."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

BESIDE_THE_CHECKOUT = pathlib.Path(__file__).parents[2] / "shared" / "tensorflow_datasets"
DATA_DIR = pathlib.Path(os.environ.get("TFDS_DATA_DIR", BESIDE_THE_CHECKOUT))

pytestmark = pytest.mark.skipif(
    not (DATA_DIR / "omniglot").is_dir(),
    reason=f"needs Omniglot as prepared by tensorflow_datasets, in TFDS_DATA_DIR or {BESIDE_THE_CHECKOUT}",
)


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # by Keras, of its own default
def test_quickstart(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(DATA_DIR))
    import tensorflow_datasets as tfds
    from tensorflow.keras.models import Sequential

    from fslcore.data import get_dummies
    from fslcore.encoders import BasicCNN
    from fslcore.layers import GramMatrix
    from fslcore.losses import BinaryCrossentropy
    from fslcore.metrics import classification_accuracy, min_eigenvalue

    train_dataset, val_dataset, test_dataset = [
        dataset.shuffle(1024)
        .batch(64)
        .map(lambda x, y: (tf.image.convert_image_dtype(x, tf.float32), get_dummies(y)[0]))
        .take(1)
        for dataset in tfds.load(
            name="omniglot",
            split=["train[:90%]", "train[90%:]", "test"],
            as_supervised=True,
            data_dir=str(DATA_DIR),
        )
    ]
    # iter() is new: what tfds.as_numpy returns has not been an iterator itself since TFDS 4.
    input_shape = next(iter(tfds.as_numpy(train_dataset.take(1))))[0].shape[1:]  # first shape is batch_size
    assert input_shape == (105, 105, 3)

    encoder = BasicCNN(input_shape=input_shape)
    support_layer = GramMatrix(kernel="DenseSigmoid")
    model = Sequential([encoder, support_layer])
    model.compile(
        optimizer="Adam", loss=BinaryCrossentropy(), metrics=[classification_accuracy(), min_eigenvalue]
    )
    history = model.fit(train_dataset, validation_data=val_dataset, epochs=1, verbose=0).history
    assert {"loss", "val_loss", "classification_accuracy", "min_eigenvalue"} <= set(history)
    assert np.isfinite(list(history.values())).all()
    assert 0 < history["loss"][0] < 15.5
    evaluation = model.evaluate(test_dataset, verbose=0, return_dict=True)
    assert set(evaluation) == {"loss", "classification_accuracy", "min_eigenvalue"}

# SPDX-License-Identifier: MIT
"""keras-fsl's modules and names, which `import fslcore.compat.keras_fsl` makes importable."""

import importlib
import subprocess
import sys

import pytest

from fslcore import compat

LOSSES = """
    BinaryCrossentropy ClassConsistencyLoss ClippedBinaryCrossentropy MaxBinaryCrossentropy
    MeanScoreClassificationLoss PercentileBinaryCrossentropy StdBinaryCrossentropy TripletLoss
    class_consistency_loss max_crossentropy std_crossentropy
"""
METRICS = """
    accuracy classification_accuracy mean_score_classification_accuracy min_eigenvalue same_image_score
"""
PAIRS = "BalancedPairsSequence RandomBalancedPairsSequence RandomPairsSequence RandomProductSequence"
# The modules of keras-fsl 0.2.0 and of its last commit, and their names.
MODULES = {
    "callbacks": "BinaryStatistics TensorBoardSaveFigures",
    "callbacks.binary_statistics": "BinaryStatistics",
    "callbacks.tensorboard_save_figures": "TensorBoardSaveFigures",
    "dataframe": "",
    "dataframe.operators": "NaiveMaxProba RandomAssignment ToKShotDataset",
    "dataframe.operators.abstract_operator": "AbstractOperator",
    "dataframe.operators.naive_max_proba": "NaiveMaxProba",
    "dataframe.operators.random_assignment": "RandomAssignment",
    "dataframe.operators.to_k_shot_dataset": "ToKShotDataset",
    "layers": "CenterSlicing2D CentroidsMatrix Classification GramMatrix",
    "layers.centroids_matrix": "CentroidsMatrix SupportLayer",
    "layers.classification": "Classification",
    "layers.gram_matrix": "GramMatrix SupportLayer",
    "layers.slicing": "CenterSlicing2D",
    "layers.support_layer": "SupportLayer",
    "losses": LOSSES,
    "losses.gram_matrix_losses": LOSSES,
    "metrics": METRICS,
    "metrics.gram_matrix_metrics": METRICS,
    "models": "SiameseNets",
    "models.encoders": "BasicCNN Darknet53 Darknet7 KochNet SingleConv2D VinyalsNet",
    "models.encoders.basic_cnn": "BasicCNN",
    "models.encoders.darknet": "Darknet53 Darknet7",
    "models.encoders.koch_net": "KochNet",
    "models.encoders.single_conv_2d": "SingleConv2D",
    "models.encoders.vinyals_net": "VinyalsNet",
    "models.head_models": "DenseSigmoid LearntNorms MixedNorms",
    "models.head_models.dense_sigmoid": "DenseSigmoid",
    "models.head_models.learnt_norms": "LearntNorms",
    "models.head_models.mixed_norms": "MixedNorms",
    "models.siamese_nets": "SiameseNets",
    "sequences": "",
    "sequences.prediction": "",
    "sequences.prediction.pairs": "ProductSequence",
    "sequences.prediction.pairs.product_sequence": "ProductSequence",
    "sequences.prediction.single": "DeterministicSequence",
    "sequences.prediction.single.deterministic_sequence": "DeterministicSequence",
    "sequences.training": "",
    "sequences.training.pairs": PAIRS,
    "sequences.training.pairs.balanced_pairs_sequence": "BalancedPairsSequence",
    "sequences.training.pairs.random_balanced_pairs_sequence": "RandomBalancedPairsSequence",
    "sequences.training.pairs.random_pairs_sequence": "RandomPairsSequence",
    "sequences.training.pairs.random_product_sequence": "RandomProductSequence",
    "sequences.training.single": "DeterministicSequence KShotNWaySequence",
    "sequences.training.single.deterministic_sequence": "DeterministicSequence",
    "sequences.training.single.k_shot_n_way_sequence": "KShotNWaySequence",
    "utils": "",
    "utils.datasets": """
        assign cache cache_with_tf_record clear_cache filter_items read_decode_and_crop_jpeg transform
    """,
    "utils.image_preprocessing": "add_field load_crop_as_uint8_tensor transform_field",
    "utils.tensors": "get_dummies",
    "utils.tfrecord_utils": """
        DTYPE_TO_PROTO_DTYPE build_tfrecord_encoder_decoder_from_spec clear_cache
        infer_tfrecord_encoder_decoder_from_sample
    """,
    "utils.training": "compose",
    "utils.types": """
        TENSOR_DTYPE_STR TENSOR_MAP TENSOR_NDIM TENSOR_SHAPE TENSOR_SPEC_MAP TF_TENSOR TF_TENSOR_SPEC
    """,
}


@pytest.fixture(autouse=True)
def keras_fsl():
    compat.install()
    yield
    compat.uninstall()


@pytest.mark.parametrize("path", MODULES)
def test_a_module_has_its_names(path):
    module = importlib.import_module(f"keras_fsl.{path}")
    names = sorted(MODULES[path].split())
    assert module.__all__ == names
    for name in names:
        value = getattr(module, name)
        assert value is getattr(module, name)
        assert name in dir(module)
        if name not in ("min_eigenvalue", "classification_accuracy") and not name.isupper():
            assert (getattr(value, "__module__", None) or "keras").startswith(("fslcore.", "keras"))
    parent, _, last = path.rpartition(".")
    assert getattr(importlib.import_module(f"keras_fsl.{parent}".rstrip(".")), last) is module


def test_the_table_names_nothing_else():
    from fslcore.compat.names import KERAS_FSL

    assert set(KERAS_FSL.names) == {"keras_fsl", *(f"keras_fsl.{path}" for path in MODULES)}
    # What is missing is not there, and its module is, or is missing itself.
    for what in KERAS_FSL.missing:
        module, _, name = what.partition(":")
        assert (module in KERAS_FSL.names) == bool(name)
        assert name not in KERAS_FSL.names.get(module, {})


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "from keras_fsl.utils.training import patch_len",
            "training.patch_len: Keras 3 has no fit_generator",
        ),
        ("from keras_fsl.losses import triplet_loss", "it is the class TripletLoss"),
        ("from keras_fsl.models.layers import GramMatrix", "fslcore has no keras_fsl.models.layers: since "),
        ("import keras_fsl.sequences.abstract_sequence", "derive your own from fslcore.data.sequences"),
        ("from keras_fsl.datasets import omniglot", r'use fslcore.data.load\("omniglot"\)'),
        ("from keras_fsl.imgaug.sequentials import YOLO", "use fslcore.augmentation.yolo, a Keras layer"),
        ("import keras_fsl.elsewhere", "the modules that are here are keras_fsl, keras_fsl.callbacks"),
        ("from keras_fsl.layers import Dense", "cannot import name 'Dense' from 'keras_fsl.layers'"),
    ],
    ids=lambda text: text.split()[1],
)
def test_what_is_missing_says_what_to_use(statement, said):
    with pytest.raises(ImportError, match=said):
        exec(statement, {})


def test_modules_are_reached_as_attributes_and_unknown_names_are_no_attributes():
    import keras_fsl
    from keras_fsl.sequences import training

    from fslcore import losses

    assert training.pairs.RandomPairsSequence.__name__ == "RandomPairsSequence"
    assert keras_fsl.losses.TripletLoss is losses.TripletLoss
    assert not hasattr(keras_fsl.layers, "Dense")
    names = {}
    exec("from keras_fsl.models import *", names)
    assert "SiameseNets" in names


def test_the_library_itself_is_not_replaced_unless_asked(tmp_path, monkeypatch):
    compat.uninstall()
    (tmp_path / "keras_fsl").mkdir()
    (tmp_path / "keras_fsl" / "__init__.py").write_text("own = True")
    (tmp_path / "keras_fsl" / "layers.py").write_text("GramMatrix = 'own'")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"is itself installed \(.*__init__\.py\): remove it"):
        compat.install()
    from keras_fsl.layers import GramMatrix

    assert GramMatrix == "own"
    with pytest.raises(ImportError, match=r"itself imported .*call fslcore\.compat\.install\(replace=True\)"):
        compat.install()
    compat.install(replace=True)
    compat.install()  # it is there
    from keras_fsl.layers import GramMatrix

    assert GramMatrix.__module__ == "fslcore.compat.adapted.layers"
    compat.uninstall()
    from keras_fsl.layers import GramMatrix

    assert GramMatrix == "own"
    del sys.modules["keras_fsl"], sys.modules["keras_fsl.layers"]


def test_one_line_is_enough_and_imports_no_framework():
    script = (
        "import sys, fslcore.compat.keras_fsl, keras_fsl.layers, keras_fsl.losses as losses;"
        "print(sorted({'tensorflow', 'keras', 'pandas'} & sys.modules.keys()), losses.__all__[0])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "BinaryCrossentropy"]

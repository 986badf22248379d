# SPDX-License-Identifier: MIT
"""The names of keras-fsl, of version 0.2.0 and of its last commit, and where each is found here."""

from __future__ import annotations

from fslcore.compat.hook import StandIn

_OURS = "fslcore.compat.adapted"

_LAYERS = {
    name: f"{_OURS}.layers:{name}"
    for name in ("CenterSlicing2D", "CentroidsMatrix", "Classification", "GramMatrix", "SupportLayer")
}
_HEADS = {name: f"{_OURS}.heads:{name}" for name in ("DenseSigmoid", "LearntNorms", "MixedNorms")}
_ENCODERS = {
    name: f"fslcore.encoders:{name}"
    for name in ("BasicCNN", "Darknet7", "Darknet53", "KochNet", "SingleConv2D", "VinyalsNet")
}
_LOSSES = {
    # Without bounds, the default, it is the cross-entropy of all pairs.
    "BinaryCrossentropy": "fslcore.losses:ClippedBinaryCrossentropy",
    "ClassConsistencyLoss": "fslcore.losses:ClassConsistencyLoss",
    "ClippedBinaryCrossentropy": "fslcore.losses:ClippedBinaryCrossentropy",
    "MaxBinaryCrossentropy": "fslcore.losses:MaxBinaryCrossentropy",
    "MeanScoreClassificationLoss": "fslcore.losses:MeanScoreClassificationLoss",
    "PercentileBinaryCrossentropy": "fslcore.losses:PercentileBinaryCrossentropy",
    "StdBinaryCrossentropy": "fslcore.losses:StdBinaryCrossentropy",
    "TripletLoss": "fslcore.losses:TripletLoss",
    "class_consistency_loss": "fslcore.losses:class_consistency_loss",
    "max_crossentropy": f"{_OURS}.losses:max_crossentropy",
    "std_crossentropy": f"{_OURS}.losses:std_crossentropy",
}
_METRICS = {
    "accuracy": f"{_OURS}.metrics:accuracy",
    "classification_accuracy": f"{_OURS}.metrics:classification_accuracy",
    "mean_score_classification_accuracy": f"{_OURS}.metrics:mean_score_classification_accuracy",
    "min_eigenvalue": "fslcore.metrics:min_eigenvalue",
    "same_image_score": f"{_OURS}.metrics:same_image_score",
}
_PAIRS = {
    name: f"{_OURS}.sequences:{name}"
    for name in (
        "BalancedPairsSequence",
        "RandomBalancedPairsSequence",
        "RandomPairsSequence",
        "RandomProductSequence",
    )
}
_TRAINING = f"{_OURS}.sequences:DeterministicSequence"
_PREDICTION = f"{_OURS}.sequences:PredictionSequence"
_K_SHOT = f"{_OURS}.sequences:KShotNWaySequence"
_PRODUCT = f"{_OURS}.sequences:ProductSequence"
_FRAMES = {name: f"{_OURS}.frames:{name}" for name in ("NaiveMaxProba", "RandomAssignment", "ToKShotDataset")}
_CALLBACKS = {name: f"{_OURS}.callbacks:{name}" for name in ("BinaryStatistics", "TensorBoardSaveFigures")}
_CACHES = {name: f"{_OURS}.datasets:{name}" for name in ("cache", "cache_with_tf_record", "clear_cache")}
_DATASETS = {
    **{name: f"fslcore.data.tensors:{name}" for name in ("assign", "filter_items", "transform")},
    "read_decode_and_crop_jpeg": "fslcore.data.tensors:read_decode_and_crop",
    **_CACHES,
}
_RECORDS = {
    name: f"{_OURS}.records:{name}"
    for name in (
        "DTYPE_TO_PROTO_DTYPE",
        "build_tfrecord_encoder_decoder_from_spec",
        "infer_tfrecord_encoder_decoder_from_sample",
    )
}
_TYPES = {
    name: f"{_OURS}.types:{name}"
    for name in (
        "TENSOR_DTYPE_STR",
        "TENSOR_MAP",
        "TENSOR_NDIM",
        "TENSOR_SHAPE",
        "TENSOR_SPEC_MAP",
        "TF_TENSOR",
        "TF_TENSOR_SPEC",
    )
}


def _chosen(table: dict[str, str], *names: str) -> dict[str, str]:
    return {name: table[name] for name in names}


_NAMES: dict[str, dict[str, str]] = {
    "keras_fsl": {},
    "keras_fsl.callbacks": _CALLBACKS,
    "keras_fsl.callbacks.binary_statistics": _chosen(_CALLBACKS, "BinaryStatistics"),
    "keras_fsl.callbacks.tensorboard_save_figures": _chosen(_CALLBACKS, "TensorBoardSaveFigures"),
    "keras_fsl.dataframe": {},
    "keras_fsl.dataframe.operators": _FRAMES,
    "keras_fsl.dataframe.operators.abstract_operator": {
        "AbstractOperator": f"{_OURS}.frames:AbstractOperator"
    },
    "keras_fsl.dataframe.operators.naive_max_proba": _chosen(_FRAMES, "NaiveMaxProba"),
    "keras_fsl.dataframe.operators.random_assignment": _chosen(_FRAMES, "RandomAssignment"),
    "keras_fsl.dataframe.operators.to_k_shot_dataset": _chosen(_FRAMES, "ToKShotDataset"),
    "keras_fsl.layers": _chosen(
        _LAYERS, "CenterSlicing2D", "CentroidsMatrix", "Classification", "GramMatrix"
    ),
    "keras_fsl.layers.centroids_matrix": _chosen(_LAYERS, "CentroidsMatrix", "SupportLayer"),
    "keras_fsl.layers.classification": _chosen(_LAYERS, "Classification"),
    "keras_fsl.layers.gram_matrix": _chosen(_LAYERS, "GramMatrix", "SupportLayer"),
    "keras_fsl.layers.slicing": _chosen(_LAYERS, "CenterSlicing2D"),
    "keras_fsl.layers.support_layer": _chosen(_LAYERS, "SupportLayer"),
    "keras_fsl.losses": _LOSSES,
    "keras_fsl.losses.gram_matrix_losses": _LOSSES,
    "keras_fsl.metrics": _METRICS,
    "keras_fsl.metrics.gram_matrix_metrics": _METRICS,
    "keras_fsl.models": {"SiameseNets": f"{_OURS}.models:SiameseNets"},
    "keras_fsl.models.encoders": _ENCODERS,
    "keras_fsl.models.encoders.basic_cnn": _chosen(_ENCODERS, "BasicCNN"),
    "keras_fsl.models.encoders.darknet": _chosen(_ENCODERS, "Darknet7", "Darknet53"),
    "keras_fsl.models.encoders.koch_net": _chosen(_ENCODERS, "KochNet"),
    "keras_fsl.models.encoders.single_conv_2d": _chosen(_ENCODERS, "SingleConv2D"),
    "keras_fsl.models.encoders.vinyals_net": _chosen(_ENCODERS, "VinyalsNet"),
    "keras_fsl.models.head_models": _HEADS,
    "keras_fsl.models.head_models.dense_sigmoid": _chosen(_HEADS, "DenseSigmoid"),
    "keras_fsl.models.head_models.learnt_norms": _chosen(_HEADS, "LearntNorms"),
    "keras_fsl.models.head_models.mixed_norms": _chosen(_HEADS, "MixedNorms"),
    "keras_fsl.models.siamese_nets": {"SiameseNets": f"{_OURS}.models:SiameseNets"},
    "keras_fsl.sequences": {},
    "keras_fsl.sequences.prediction": {},
    "keras_fsl.sequences.prediction.pairs": {"ProductSequence": _PRODUCT},
    "keras_fsl.sequences.prediction.pairs.product_sequence": {"ProductSequence": _PRODUCT},
    "keras_fsl.sequences.prediction.single": {"DeterministicSequence": _PREDICTION},
    "keras_fsl.sequences.prediction.single.deterministic_sequence": {"DeterministicSequence": _PREDICTION},
    "keras_fsl.sequences.training": {},
    "keras_fsl.sequences.training.pairs": _PAIRS,
    "keras_fsl.sequences.training.pairs.balanced_pairs_sequence": _chosen(_PAIRS, "BalancedPairsSequence"),
    "keras_fsl.sequences.training.pairs.random_balanced_pairs_sequence": _chosen(
        _PAIRS, "RandomBalancedPairsSequence"
    ),
    "keras_fsl.sequences.training.pairs.random_pairs_sequence": _chosen(_PAIRS, "RandomPairsSequence"),
    "keras_fsl.sequences.training.pairs.random_product_sequence": _chosen(_PAIRS, "RandomProductSequence"),
    "keras_fsl.sequences.training.single": {"DeterministicSequence": _TRAINING, "KShotNWaySequence": _K_SHOT},
    "keras_fsl.sequences.training.single.deterministic_sequence": {"DeterministicSequence": _TRAINING},
    "keras_fsl.sequences.training.single.k_shot_n_way_sequence": {"KShotNWaySequence": _K_SHOT},
    "keras_fsl.utils": {},
    "keras_fsl.utils.datasets": _DATASETS,
    "keras_fsl.utils.image_preprocessing": {
        name: f"{_OURS}.datasets:{name}"
        for name in ("add_field", "load_crop_as_uint8_tensor", "transform_field")
    },
    "keras_fsl.utils.tensors": {"get_dummies": "fslcore.data:get_dummies"},
    "keras_fsl.utils.tfrecord_utils": {**_RECORDS, "clear_cache": _CACHES["clear_cache"]},
    "keras_fsl.utils.training": {"compose": "fslcore.data.tensors:compose"},
    "keras_fsl.utils.types": _TYPES,
}

_NO_DETECTION = "detection within an image is not few-shot classification, and it is exported nowhere there"
_AUGMENTATION = "imgaug does not run on NumPy 2; use fslcore.augmentation.yolo, a Keras layer"
_OWN_SEQUENCE = (
    "any class of fslcore.data.sequences takes a DataFrame; derive your own from "
    "fslcore.data.sequences.RowSequence"
)
_NO_GENERATORS = (
    "Keras 3 has no fit_generator; call fit(sequence), and give `workers` to a sequence of "
    "fslcore.data.sequences"
)
_MISSING = {
    "keras_fsl.datasets": 'use fslcore.data.load("omniglot")',
    "keras_fsl.imgaug": _AUGMENTATION,
    "keras_fsl.imgaug.sequentials": _AUGMENTATION,
    "keras_fsl.imgaug.sequentials.yolo": _AUGMENTATION,
    "keras_fsl.models.branch_models": "since version 0.2 it is keras_fsl.models.encoders",
    "keras_fsl.models.layers": "since version 0.2 it is keras_fsl.layers",
    "keras_fsl.sequences.abstract_sequence": _OWN_SEQUENCE,
    "keras_fsl.sequences.training.pairs.abstract_pairs_sequence": _OWN_SEQUENCE,
    "keras_fsl.sequences.training.pairs.abstract_detector_pairs_sequence": _NO_DETECTION,
    "keras_fsl.sequences:AbstractSequence": _OWN_SEQUENCE,
    "keras_fsl.sequences:DeterministicSequence": (
        "since version 0.2 it is in keras_fsl.sequences.training.single"
    ),
    "keras_fsl.sequences:RandomBalancedPairsSequence": (
        "since version 0.2 it is in keras_fsl.sequences.training.pairs"
    ),
    **{
        f"{module}:{old}": f"since version 0.2 it is {new}"
        for module in ("keras_fsl.losses", "keras_fsl.losses.gram_matrix_losses")
        for old, new in (
            ("accuracy", "keras_fsl.metrics.accuracy"),
            ("binary_crossentropy", "the class BinaryCrossentropy"),
            ("mean_score_classification_loss", "the class MeanScoreClassificationLoss"),
            ("min_eigenvalue", "keras_fsl.metrics.min_eigenvalue"),
            ("triplet_loss", "the class TripletLoss"),
        )
    },
    "keras_fsl.models:SiameseDetector": _NO_DETECTION,
    "keras_fsl.models.head_models:ProtoNets": "use fslcore.Prototypical",
    "keras_fsl.models.head_models:TripletLoss": "use keras_fsl.losses.TripletLoss",
    "keras_fsl.utils:compose": "since version 0.2 it is in keras_fsl.utils.training",
    "keras_fsl.utils.training:default_workers": _NO_GENERATORS,
    "keras_fsl.utils.training:patch_len": _NO_GENERATORS,
}

KERAS_FSL = StandIn("keras_fsl", _NAMES, _MISSING)

# SPDX-License-Identifier: MIT
"""The public names: what each module exports at least, and that those of version 0.1.0 can be reached."""

import functools
import importlib

import pytest

EXPORTED = {
    "fslcore": """
        ImageStore MAML MetaGAN PixelNearestNeighbour Prototypical Report Reptile Siamese SupportSet
        accuracy_versus_way
        adversarial callbacks classifier data encoders evaluate evaluation experiments kernels layers learners
        losses metrics ops plots set_threads twins
    """,
    "fslcore.callbacks": """
        BinaryStatistics ConfusionMatrix DistanceMatrix EmbeddingMap EmbeddingProjector QueriesVersusSupport
        SaveFigures write_projector
    """,
    "fslcore.data": "ImageStore Preparation default_split get_dummies load load_records",
    "fslcore.data.sequences": """
        BalancedPairs ClassPairs Deterministic GroupPairs KShotNWay OneShotTasks Product RandomBalancedPairs
        RandomPairs RandomProduct RowSequence Samples frame_images
    """,
    "fslcore.data.tensors": """
        assign cache clear_cache compose filter_items fingerprint_of read_decode_and_crop transform
    """,
    "fslcore.encoders": """
        BasicCNN CifarCNN Darknet53 Darknet7 KochNet MnistCNN ReptileNet SingleConv2D VinyalsNet adversarial
        conv4 conv4_classifier resnet12 wide_resnet
    """,
    "fslcore.encoders.adversarial": "conditional_generator task_encoder",
    "fslcore.kernels": """
        Classes METRICS MININGS MIXED_NORMS NORMS NO_LABEL NearestResult NormsGradient PAIR_METRICS
        PairReductions PairSums PairTerm SEARCH_METRICS TRIPLET_METRICS TripletResult AFFINE_PARAMETERS
        affine_images affine_transforms gather_affine gather_images
        group_labels mine_hard mine_semihard mine_triplets nearest num_threads pair_reductions
        pair_reductions_grad pair_sums pairwise pairwise_grad pairwise_norms pairwise_norms_grad
        permutations sample_episodes set_num_threads simd_level triplet_hard triplet_loss triplet_semihard
    """,
    "fslcore.layers": """
        CentroidsMatrix ConvBlock DenseSigmoid DropBlock FusedBatchNormalization GramMatrix LearntNorms
        MixedNorms PairFunction UpsampledConv2D
    """,
    "fslcore.learners": """
        AdaptiveLearner EmbeddingLearner EpisodicLearner INNER_OPTIMIZERS InnerAdam InnerSGD MAML MetaGAN
        Prototypical REPTILE_PRESETS Reptile ReptilePreset Siamese
    """,
    "fslcore.losses": """
        ArcFace BatchContrastiveLoss BinaryCrossentropy CircleLoss ClassConsistencyLoss
        ClippedBinaryCrossentropy ContrastiveLoss CrossBatchMemory InfoNCELoss LiftedStructLoss
        MaxBinaryCrossentropy MeanScoreClassificationLoss MultiSimilarityLoss NpairsLoss
        NpairsMultilabelLoss PairCrossentropy Percentile PercentileBinaryCrossentropy ProxyAnchor
        SoftNearestNeighborLoss StdBinaryCrossentropy TripletBatchAllLoss TripletHardLoss
        TripletLoss TripletMiningLoss TripletSemiHardLoss arcface_loss batch_contrastive_loss
        binary_crossentropy circle_loss class_consistency_loss clipped_binary_crossentropy
        contrastive_loss info_nce_loss lifted_struct_loss mean_score_classification_loss
        metric_learning multi_similarity_loss npairs_embeddings_loss npairs_loss
        npairs_multilabel_loss pair_crossentropy_loss proxy_anchor_loss siglip_loss
        soft_nearest_neighbor_loss triplet_batch_all_loss triplet_hard_loss triplet_loss
        triplet_mining_loss triplet_semihard_loss
    """,
    "fslcore.metrics": """
        ActiveTriplets AnchorsWithoutPositive Collapse EffectiveDimensions MaxAsymmetry
        MeanAveragePrecisionAtR MinEigenvalue PrecisionAtK RPrecision RecallAtK Silhouette accuracy asymmetry
        classification_accuracy mean_score_classification_accuracy min_eigenvalue retrieval same_image_score
        silhouette
    """,
    "fslcore.ops": """
        AdamOptions AdamStepResult ConvBlockResult FitBlock FitResult PRECISIONS TripletResult adam_step
        conv_block fit_classifiers gather_images mine_hard mine_semihard mine_triplets native_libraries
        PairReductions PairSums PairTerm nearest pair_reductions pair_reductions_grad pair_sums pairwise
        pairwise_grad pairwise_norms pairwise_norms_grad permutations reference sample_episodes triplet_hard
        triplet_loss triplet_semihard
    """,
    "fslcore.twins": """
        AdamStepResult ConvBlockResult adam_step conv_block mine_hard mine_semihard mine_triplets nearest
        norms_of_pairs pair_reductions pair_sums pairwise pairwise_norms
        triplet_hard triplet_hard_of_distances triplet_loss triplet_loss_of_distances triplet_semihard
        triplet_semihard_of_distances
    """,
}

# By the object that holds them; what moved since then is reached in its old place too.
OF_VERSION_0_1_0 = {
    "fslcore": """
        ImageStore MAML MetaGAN PixelNearestNeighbour Prototypical Report Reptile Siamese accuracy_versus_way
        adversarial data encoders evaluate evaluation kernels layers learners losses metrics ops plots
        set_threads
    """,
    "fslcore.adversarial": "UpsampledConv2D conditional_generator task_encoder",
    "fslcore.callbacks": """
        BinaryStatistics ConfusionMatrix DistanceMatrix EmbeddingMap EmbeddingProjector QueriesVersusSupport
        SaveFigures write_projector
    """,
    "fslcore.data": "ImageStore default_split get_dummies load",
    "fslcore.encoders": "BasicCNN KochNet VinyalsNet conv4 conv4_classifier",
    "fslcore.evaluation": """
        Adapter Embedder PixelNearestNeighbour Report accuracy_versus_way evaluate paired_difference
    """,
    "fslcore.kernels": """
        Classes METRICS TRIPLET_METRICS TripletResult gather_images group_labels mine_hard mine_semihard
        num_threads pairwise pairwise_grad sample_episodes set_num_threads simd_level triplet_hard
        triplet_semihard
    """,
    "fslcore.layers": "CentroidsMatrix DenseSigmoid GramMatrix",
    "fslcore.learners": """
        Adam AdaptiveLearner INNER_OPTIMIZERS Learner MAML MetaGAN Prototypical REPTILE_PRESETS Reptile
        ReptilePreset SGD Siamese
    """,
    "fslcore.losses": """
        BinaryCrossentropy TripletHardLoss TripletLoss TripletSemiHardLoss binary_crossentropy
        triplet_hard_loss triplet_loss triplet_semihard_loss
    """,
    "fslcore.metrics": "MinEigenvalue classification_accuracy min_eigenvalue",
    "fslcore.ops": """
        AdamOptions AdamStepResult ConvBlockResult FitBlock FitResult PRECISIONS TripletResult adam_step
        conv_block fit_classifiers gather_images mine_hard mine_semihard native_libraries pairwise
        pairwise_grad sample_episodes triplet_hard triplet_semihard
    """,
    "fslcore.ops.reference": """
        AdamStepResult adam_step conv_block mine_hard mine_semihard pairwise triplet_hard
        triplet_hard_of_distances triplet_semihard triplet_semihard_of_distances
    """,
    "fslcore.plots": """
        accuracy_versus_way distance_matrix episode_with_predictions real_versus_generated training_curve
    """,
}

# Registered names, by which saved models find their classes and functions.
REGISTERED = """
    BinaryCrossentropy CentroidsMatrix ClassConsistencyLoss ClippedBinaryCrossentropy ConvBlock DenseSigmoid
    FusedBatchNormalization GramMatrix LearntNorms MaxBinaryCrossentropy MeanScoreClassificationLoss
    MinEigenvalue MixedNorms PairFunction Percentile PercentileBinaryCrossentropy StdBinaryCrossentropy
    class_consistency_loss clipped_binary_crossentropy mean_score_classification_loss
    TripletHardLoss TripletLoss TripletMiningLoss TripletSemiHardLoss UpsampledConv2D binary_crossentropy
    classification_accuracy classification_accuracy_ascending min_eigenvalue triplet_hard_loss triplet_loss
    triplet_mining_loss triplet_semihard_loss
"""


@pytest.mark.parametrize("module", EXPORTED)
def test_a_module_exports_these_names(module):
    exported = importlib.import_module(module)
    assert not set(EXPORTED[module].split()) - set(exported.__all__)
    assert len(set(exported.__all__)) == len(exported.__all__)
    assert all(hasattr(exported, name) for name in exported.__all__)


@pytest.mark.parametrize("path", OF_VERSION_0_1_0)
def test_names_of_version_0_1_0_can_be_reached(path):
    package, *attributes = path.split(".")
    holder = functools.reduce(getattr, attributes, importlib.import_module(package))
    assert not [name for name in OF_VERSION_0_1_0[path].split() if not hasattr(holder, name)]


def test_keras_finds_the_names_of_saved_models():
    import keras

    for module in ("layers", "losses", "metrics"):
        importlib.import_module(f"fslcore.{module}")
    missing = [
        name for name in REGISTERED.split() if keras.saving.get_registered_object(f"fslcore>{name}") is None
    ]
    assert not missing

# SPDX-License-Identifier: MIT
"""Losses over the pairs and triplets of a batch.

On a Gram matrix of match probabilities, or a matrix of distances or similarities, [batch, batch]:

    binary_crossentropy                BinaryCrossentropy, with `reduction=`
        MaxBinaryCrossentropy, StdBinaryCrossentropy, PercentileBinaryCrossentropy
    clipped_binary_crossentropy        ClippedBinaryCrossentropy: pairs neither almost right nor hopeless
    mean_score_classification_loss     MeanScoreClassificationLoss: samples classified by mean scores
    class_consistency_loss             ClassConsistencyLoss: the mean scores of classes are compared
    triplet_loss                       TripletLoss
    npairs_loss                        NpairsLoss
    npairs_multilabel_loss             NpairsMultilabelLoss

On embeddings, [batch, dim]; the matrix is never held:

    triplet_semihard_loss       TripletSemiHardLoss
    triplet_hard_loss           TripletHardLoss
    triplet_mining_loss         TripletMiningLoss
    triplet_batch_all_loss      TripletBatchAllLoss
    batch_contrastive_loss      BatchContrastiveLoss
    info_nce_loss               InfoNCELoss                  also NT-Xent and the supervised contrastive loss
    soft_nearest_neighbor_loss  SoftNearestNeighborLoss
    lifted_struct_loss          LiftedStructLoss
    multi_similarity_loss       MultiSimilarityLoss
    circle_loss                 CircleLoss
    pair_crossentropy_loss      PairCrossentropy, a layer
    npairs_embeddings_loss, siglip_loss                      of two sides
    proxy_anchor_loss           ProxyAnchor, a layer         with a row for each class
    arcface_loss                ArcFace, a layer
                                CrossBatchMemory, a layer    one of these with earlier batches

On pairs and their distances, [pairs]:

    contrastive_loss            ContrastiveLoss

`metric_learning` has the distances of TensorFlow Addons.

Labels are class ids [batch] or [batch, 1], or for losses of a matrix also one-hot rows. All arithmetic is
float32, whatever the policy of the model. A batch without a triplet has loss 0 and gradient 0, which teaches
nothing: `fslcore.metrics.ActiveTriplets` and `AnchorsWithoutPositive` show it.

Under a `tf.distribute` strategy the classes of losses on embeddings compare the whole batch, as on one
device; the losses of a matrix compare the samples of each replica, and are the mean over replicas. Functions
of embeddings refuse several replicas, as Keras would not scale what they return.
"""

from fslcore import _backend as _backend
from fslcore.losses import metric_learning
from fslcore.losses.addons import (
    TripletHardLoss,
    TripletSemiHardLoss,
    triplet_hard_loss,
    triplet_semihard_loss,
)
from fslcore.losses.batch_all import TripletBatchAllLoss, triplet_batch_all_loss
from fslcore.losses.contrastive import (
    BatchContrastiveLoss,
    ContrastiveLoss,
    batch_contrastive_loss,
    contrastive_loss,
)
from fslcore.losses.crossentropy import BinaryCrossentropy, binary_crossentropy
from fslcore.losses.gram_matrix import (
    ClassConsistencyLoss,
    ClippedBinaryCrossentropy,
    MaxBinaryCrossentropy,
    MeanScoreClassificationLoss,
    PercentileBinaryCrossentropy,
    StdBinaryCrossentropy,
    class_consistency_loss,
    clipped_binary_crossentropy,
    mean_score_classification_loss,
)
from fslcore.losses.info_nce import (
    InfoNCELoss,
    SoftNearestNeighborLoss,
    info_nce_loss,
    soft_nearest_neighbor_loss,
)
from fslcore.losses.lifted import LiftedStructLoss, lifted_struct_loss
from fslcore.losses.memory import CrossBatchMemory
from fslcore.losses.mining import TripletMiningLoss, triplet_mining_loss
from fslcore.losses.npairs import (
    NpairsLoss,
    NpairsMultilabelLoss,
    npairs_embeddings_loss,
    npairs_loss,
    npairs_multilabel_loss,
)
from fslcore.losses.pair_crossentropy import PairCrossentropy, pair_crossentropy_loss, siglip_loss
from fslcore.losses.reductions import Percentile
from fslcore.losses.similarities import (
    CircleLoss,
    MultiSimilarityLoss,
    circle_loss,
    multi_similarity_loss,
)
from fslcore.losses.tables import ArcFace, ProxyAnchor, arcface_loss, proxy_anchor_loss
from fslcore.losses.triplets import TripletLoss, triplet_loss

__all__ = [
    "ArcFace",
    "BatchContrastiveLoss",
    "BinaryCrossentropy",
    "CircleLoss",
    "ClassConsistencyLoss",
    "ClippedBinaryCrossentropy",
    "ContrastiveLoss",
    "CrossBatchMemory",
    "InfoNCELoss",
    "LiftedStructLoss",
    "MaxBinaryCrossentropy",
    "MeanScoreClassificationLoss",
    "MultiSimilarityLoss",
    "NpairsLoss",
    "NpairsMultilabelLoss",
    "PairCrossentropy",
    "Percentile",
    "PercentileBinaryCrossentropy",
    "ProxyAnchor",
    "SoftNearestNeighborLoss",
    "StdBinaryCrossentropy",
    "TripletBatchAllLoss",
    "TripletHardLoss",
    "TripletLoss",
    "TripletMiningLoss",
    "TripletSemiHardLoss",
    "arcface_loss",
    "batch_contrastive_loss",
    "binary_crossentropy",
    "circle_loss",
    "class_consistency_loss",
    "clipped_binary_crossentropy",
    "contrastive_loss",
    "info_nce_loss",
    "lifted_struct_loss",
    "mean_score_classification_loss",
    "metric_learning",
    "multi_similarity_loss",
    "npairs_embeddings_loss",
    "npairs_loss",
    "npairs_multilabel_loss",
    "pair_crossentropy_loss",
    "proxy_anchor_loss",
    "siglip_loss",
    "soft_nearest_neighbor_loss",
    "triplet_batch_all_loss",
    "triplet_hard_loss",
    "triplet_loss",
    "triplet_mining_loss",
    "triplet_semihard_loss",
]

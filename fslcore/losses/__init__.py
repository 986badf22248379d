# SPDX-License-Identifier: MIT
"""Losses over the pairs and triplets of a batch.

    binary_crossentropy    BinaryCrossentropy     on a Gram matrix of match probabilities, [batch, batch]
    clipped_binary_crossentropy                   the same of pairs neither almost right nor hopeless
        MaxBinaryCrossentropy, StdBinaryCrossentropy, PercentileBinaryCrossentropy, ClippedBinaryCrossentropy
    mean_score_classification_loss, MeanScoreClassificationLoss    samples are classified by their mean scores
    class_consistency_loss, ClassConsistencyLoss                   the mean scores of classes are compared
    triplet_loss           TripletLoss            on a matrix of distances, [batch, batch]
    triplet_semihard_loss  TripletSemiHardLoss    on embeddings, [batch, dim]; the matrix is never held
    triplet_hard_loss      TripletHardLoss        the same with the hardest triplets
    triplet_mining_loss    TripletMiningLoss      the same with the rule of mining as an argument

Labels are class ids [batch] or [batch, 1], or for a matrix also one-hot rows. All arithmetic is float32,
whatever the policy of the model. A batch without a triplet has loss 0 and gradient 0, which teaches nothing:
`fslcore.metrics.ActiveTriplets` and `AnchorsWithoutPositive` show it.

Under a `tf.distribute` strategy the last three classes compare the whole batch, as on one device; the losses
of a matrix compare the samples of each replica, and are the mean over replicas. The functions of triplets
refuse several replicas, as Keras would not scale what they return.
"""

from fslcore import _backend as _backend
from fslcore.losses.addons import (
    TripletHardLoss,
    TripletSemiHardLoss,
    triplet_hard_loss,
    triplet_semihard_loss,
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
from fslcore.losses.mining import TripletMiningLoss, triplet_mining_loss
from fslcore.losses.reductions import Percentile
from fslcore.losses.triplets import TripletLoss, triplet_loss

__all__ = [
    "BinaryCrossentropy",
    "ClassConsistencyLoss",
    "ClippedBinaryCrossentropy",
    "MaxBinaryCrossentropy",
    "MeanScoreClassificationLoss",
    "Percentile",
    "PercentileBinaryCrossentropy",
    "StdBinaryCrossentropy",
    "TripletHardLoss",
    "TripletLoss",
    "TripletMiningLoss",
    "TripletSemiHardLoss",
    "binary_crossentropy",
    "class_consistency_loss",
    "clipped_binary_crossentropy",
    "mean_score_classification_loss",
    "triplet_hard_loss",
    "triplet_loss",
    "triplet_mining_loss",
    "triplet_semihard_loss",
]

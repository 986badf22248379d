# SPDX-License-Identifier: MIT
"""Losses over the pairs and triplets of a batch.

    binary_crossentropy    BinaryCrossentropy     on a Gram matrix of match probabilities, [batch, batch]
    triplet_loss           TripletLoss            on a matrix of distances, [batch, batch]
    triplet_semihard_loss  TripletSemiHardLoss    on embeddings, [batch, dim]; the matrix is never held
    triplet_hard_loss      TripletHardLoss        the same with the hardest triplets
    triplet_mining_loss    TripletMiningLoss      the same with the rule of mining as an argument

Labels are class ids [batch] or [batch, 1], or for the first two also one-hot rows. All arithmetic is float32,
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
from fslcore.losses.mining import TripletMiningLoss, triplet_mining_loss
from fslcore.losses.triplets import TripletLoss, triplet_loss

__all__ = [
    "BinaryCrossentropy",
    "TripletHardLoss",
    "TripletLoss",
    "TripletMiningLoss",
    "TripletSemiHardLoss",
    "binary_crossentropy",
    "triplet_hard_loss",
    "triplet_loss",
    "triplet_mining_loss",
    "triplet_semihard_loss",
]

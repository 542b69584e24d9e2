"""The membrane potential rectify function (MPRF) of QSD-Transformer."""

from __future__ import annotations

from torch import nn


class MembraneRectifier(nn.BatchNorm2d):
    """Shifts and scales the current of the query, key and value neurons, learnably.

    phi(V) = gamma * (V - mu) / sqrt(var + eps) + beta per channel (QSD-Transformer eq. 12), so
    that the counts of an IE-LIF neuron, which sees no negative potential, use their levels. Being
    affine in evaluation mode it folds into the kernel before it (appendix D), and with the kernel
    into the neuron's thresholds.

    The paper prints no formula for mu and var and the authors' release has no MPRF at all; here
    they are the batch's statistics in training and running averages in evaluation.
    """

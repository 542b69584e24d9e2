"""The product that makes masks of queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskProduct(nn.Module):
    """Every query's mask: the product of its embedding with the features of every pixel.

    Where both are spikes, a mask counts the spikes that meet; so that it can say no, some channels
    inhibit: what meets in them is subtracted.

    Args:
        inhibitory: So many of the last channels are subtracted.
    """

    def __init__(self, inhibitory: int = 0) -> None:
        super().__init__()
        self.inhibitory = inhibitory

    def forward(self, embedding: Tensor, features: Tensor) -> Tensor:
        """Multiplies.

        Args:
            embedding: Spikes [N, C, 1, Q].
            features: Current or spikes [N, C, H, W].

        Returns:
            Mask logits [N, Q, H, W] (Spike2Former eq. 15).
        """
        return mask_product(embedding, features, self.inhibitory)

    def extra_repr(self) -> str:
        """Inhibitory channels."""
        return f"inhibitory={self.inhibitory}"


def mask_product(embedding: Tensor, features: Tensor, inhibitory: int = 0) -> Tensor:
    """What `MaskProduct` computes."""
    if inhibitory:
        excitatory, other = embedding.tensor_split([embedding.shape[1] - inhibitory], 1)
        embedding = torch.cat((excitatory, -other), 1)
    products = embedding.flatten(2).transpose(1, 2) @ features.flatten(2)
    masks: Tensor = products.unflatten(2, features.shape[-2:])
    return masks

"""The product that makes masks of queries."""

from __future__ import annotations

from torch import Tensor, nn


class MaskProduct(nn.Module):
    """Every query's mask: the product of its embedding with the features of every pixel."""

    def forward(self, embedding: Tensor, features: Tensor) -> Tensor:
        """Multiplies.

        Args:
            embedding: Spikes [N, C, 1, Q].
            features: Current [N, C, H, W].

        Returns:
            Mask logits [N, Q, H, W] (Spike2Former eq. 15).
        """
        return mask_product(embedding, features)


def mask_product(embedding: Tensor, features: Tensor) -> Tensor:
    """What `MaskProduct` computes."""
    products = embedding.flatten(2).transpose(1, 2) @ features.flatten(2)
    masks: Tensor = products.unflatten(2, features.shape[-2:])
    return masks

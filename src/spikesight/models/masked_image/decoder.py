"""The decoder of masked-image pre-training; it is thrown away afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchDecoder(nn.Module):
    """A small vision transformer that guesses the pixels of hidden patches (MAE, 2111.06377).

    It is no part of the spiking network: it reads real-valued tokens and attends with softmax.
    Visible patches enter at their own places and a learned mask token at all others, both with
    fixed sin-cos positions.

    Args:
        channels: Channels of a patch's token.
        values: Pixel values of a patch.
        width: Channels within the decoder; divisible by 4 and by `heads`.
        depth: Blocks.
        heads: Attention heads.
    """

    def __init__(self, channels: int, values: int, width: int, depth: int, heads: int) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(channels)
        self.embed = nn.Linear(channels, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
        self.last_norm = nn.LayerNorm(width)
        self.predict = nn.Linear(width, values)
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Pixel values [B, h*w, P] of all patches.

        Args:
            tokens: [B, h, w, C], row by row as in the image; hidden ones are not read.
            visible: Boolean [B, h, w].
        """
        from timm.layers import build_sincos2d_pos_embed

        size = [visible.shape[1], visible.shape[2]]
        embedded = self.embed(self.norm(tokens.flatten(1, 2)))
        mask_token = self.mask_token.to(embedded.dtype)
        x = torch.where(visible.flatten(1)[..., None], embedded, mask_token)
        position = build_sincos2d_pos_embed(size, self.width, device=x.device, dtype=x.dtype)
        patches: Tensor = self.predict(self.last_norm(self.blocks(x + position)))
        return patches

"""The attention of timm's models, read in the form of this library's."""

from __future__ import annotations

from collections.abc import Callable

from timm.models.metaformer import Attention as MetaFormerAttention
from timm.models.vision_transformer import Attention as VisionTransformerAttention
from torch import Tensor, nn

from spikesight.attention import AttentionTensors
from spikesight.errors import UserError


class TimmAttentionRecorder:
    """Records queries, keys and values of a timm model's attention layers.

    Known are the attention modules of the vision transformers (ViT, DeiT and their kin) and of the
    MetaFormers (CAFormer), which project all tokens of the image by one linear map `qkv`. Queries
    and keys are taken after their normalisation where there is one. Class and register tokens are
    left out; the others must fill a grid with the sides' ratio of the image.

    Args:
        model: A model of timm.
        name: What messages call it.

    Raises:
        UserError: If the model has no such module.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        known = (VisionTransformerAttention, MetaFormerAttention)
        layers = [module for module in model.modules() if isinstance(module, known)]
        if not layers:
            raise UserError(
                f"{name} has no attention that can be read: looked for the modules Attention of "
                "timm's vision_transformer and metaformer with their linear map qkv; pass a ViT, "
                "DeiT or CAFormer, or distillation.attention=false"
            )
        self._name = name
        self._prefix = int(getattr(model, "num_prefix_tokens", 0))
        self._image = (1, 1)
        self._recorded: list[tuple[nn.Module, Tensor]] = []
        self._handles = [model.register_forward_pre_hook(self._note_size)]
        self._handles += [
            layer.qkv.register_forward_hook(self._recording(layer)) for layer in layers
        ]

    def _note_size(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._image = (inputs[0].shape[-2], inputs[0].shape[-1])

    def _recording(self, layer: nn.Module) -> Callable[[nn.Module, object, Tensor], None]:
        def record(projection: nn.Module, inputs: object, output: Tensor) -> None:
            self._recorded.append((layer, output))

        return record

    def take(self) -> list[AttentionTensors]:
        """What was recorded since the last call, in the order of the layers, and forgets it.

        Raises:
            UserError: If the tokens do not form a grid.
        """
        recorded, self._recorded = self._recorded, []
        return [self._read(layer, output) for layer, output in recorded]

    def _read(self, layer: nn.Module, projected: Tensor) -> AttentionTensors:
        split = projected.unflatten(-1, (3, layer.num_heads, -1))  # [B, N, 3, heads, d]
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        query = getattr(layer, "q_norm", nn.Identity())(query)
        key = getattr(layer, "k_norm", nn.Identity())(key)
        grid = self._grid(projected.shape[1] - self._prefix)
        return AttentionTensors(
            *(
                x[:, :, self._prefix :].transpose(-1, -2).unflatten(-1, grid)
                for x in (query, key, value)
            )
        )

    def _grid(self, tokens: int) -> tuple[int, int]:
        height, width = self._image
        rows = max(round((tokens * height / width) ** 0.5), 1)
        if tokens % rows or abs(rows * width - tokens // rows * height) >= max(height, width):
            raise UserError(
                f"{self._name} has {tokens} tokens, which form no grid on an image of "
                f"{height}x{width} pixels; pass another teacher or distillation.attention=false"
            )
        return rows, tokens // rows

    def close(self) -> None:
        """Stops recording and leaves the model as it was."""
        for handle in self._handles:
            handle.remove()
        self._recorded = []

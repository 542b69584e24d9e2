"""What is read from timm's attention is what timm computes with."""

import pytest
import timm
import torch
from timm.models.metaformer import (
    Attention,
    LayerNorm2dNoBias,
    LayerNormNoBias,
    MetaFormer,
    SepConv,
)
from torch import Tensor, nn

from spikesight.interop.timm_attention import TimmAttentionRecorder


def check(model: nn.Module, layers: list[nn.Module], images: Tensor) -> list[tuple[int, ...]]:
    """Compares the recorded tensors with softmax attention's output; returns their shapes."""
    outputs: list[Tensor] = []
    handles = [
        layer.proj.register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0]))
        for layer in layers
    ]
    recorder = TimmAttentionRecorder(model.eval(), "teacher")
    with torch.no_grad():
        model(images)
    recorded = recorder.take()
    assert len(recorded) == len(layers)
    assert recorder.take() == []
    if not getattr(model, "num_prefix_tokens", 0):
        for tensors, layer, output in zip(recorded, layers, outputs, strict=True):
            query, key, value = (
                x.flatten(-2).transpose(-1, -2) for x in (tensors.query, tensors.key, tensors.value)
            )
            scores = (query @ key.transpose(-1, -2) * layer.scale).softmax(-1)
            expected = (scores @ value).transpose(1, 2).flatten(2)
            torch.testing.assert_close(output, expected)
    recorder.close()
    for handle in handles:
        handle.remove()
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    return [tuple(tensors.query.shape) for tensors in recorded]


def test_vision_transformer_without_its_class_token() -> None:
    model = timm.create_model("test_vit", img_size=(64, 32))
    shapes = check(model, [block.attn for block in model.blocks], torch.randn(2, 3, 64, 32))
    assert set(shapes) == {(2, model.blocks[0].attn.num_heads, 32, 4, 2)}


def test_vision_transformer_with_normalised_queries() -> None:
    model = timm.create_model(
        "test_vit", img_size=32, qk_norm=True, class_token=False, global_pool="avg"
    )
    for block in model.blocks:
        nn.init.normal_(block.attn.q_norm.weight)
    check(model, [block.attn for block in model.blocks], torch.randn(2, 3, 32, 32))


def test_metaformer_with_attention_at_two_resolutions() -> None:
    model = MetaFormer(
        depths=(1, 1, 2, 1),
        dims=(8, 16, 32, 64),
        token_mixers=[SepConv, SepConv, Attention, Attention],
        norm_layers=[LayerNorm2dNoBias, LayerNorm2dNoBias, LayerNormNoBias, LayerNormNoBias],
        num_classes=3,
    )
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    shapes = check(model, layers, torch.randn(2, 3, 64, 64))
    assert shapes == [(2, 1, 32, 4, 4), (2, 1, 32, 4, 4), (2, 2, 32, 2, 2)]


@pytest.mark.parametrize("name", ["test_resnet", "test_maxvit"])
def test_other_attention_is_refused(name: str) -> None:
    model = timm.create_model(name)
    with pytest.raises(ValueError, match=r"teacher has no attention that can be read: looked for"):
        TimmAttentionRecorder(model, "teacher")

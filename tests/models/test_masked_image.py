"""A trunk that works on visible patches only, and the decoder behind it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.models import MaskedAutoencoder, MaskedImageSizes
from spikesight.models.masked_image import draw_visible, run_visible
from spikesight.synapses import RepConv
from tests.conftest import wake

SMALL: dict[str, Any] = {"widths": (8, 8, 16, 16, 16), "heads": 2}
SPIKING: dict[str, Any] = {"width": 16, "heads": 2}
STAGES: dict[str, Any] = {"widths": (8, 8, 16), "heads": 2}
TRUNKS: list[tuple[str, dict[str, Any]]] = [
    ("metaspikformer_nano", SMALL),
    ("metaspikformer_nano", SMALL | {"neuron": "relu", "mprf": True}),
    ("metaspikformer_nano", SMALL | {"rep_conv": "spike_driven", "layer_scale": 0.5, "steps": 2}),
    ("metaspikformer_nano", SMALL | {"separable": "official", "attention_mean": True}),
    ("metaspikformer_tiny", SMALL | {"neuron": "lif", "steps": 2}),
    ("sdtv1_nano", {"width": 16}),
    ("qkformer_nano", {"width": 16, "depths": (1, 1)}),
    ("spikformer_nano", SPIKING | {"neuron": "lif", "steps": 2}),
    ("spikformer_nano", SPIKING | {"pool_of": "currents", "neuron": "ni_lif"}),
    ("spikformer_v2_nano", SPIKING | {"levels": 4}),
    ("spikformer_v2_nano", SPIKING | {"neuron": "relu"}),
    ("spikformer_v2_nano", SPIKING | {"stem": "plain", "attention": "softmax"}),
    ("espikeformer_nano", SMALL),
    ("espikeformer_nano", SMALL | {"mixer": "rep_conv", "projection": "rep_conv"}),
    ("maxformer_nano", STAGES | {"mixers": ("max_pool", "depthwise_3", "attention")}),
    ("ms_qkformer_nano", STAGES | {"neuron": "lif", "steps": 2}),
]


def build(name: str, options: dict[str, Any], **sizes: Any) -> MaskedAutoencoder:
    model = ss.create_model(name, num_classes=3, **options)
    return MaskedAutoencoder(model, MaskedImageSizes(width=16, depth=1, heads=2, **sizes))


def pixels(visible: Tensor, side: int) -> Tensor:
    """[B, 1, H, W] of a mask of patches."""
    return visible[:, None].repeat_interleave(side, 2).repeat_interleave(side, 3)


def outcome(
    model: MaskedAutoencoder, x: Tensor, visible: Tensor
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    model = copy.deepcopy(model).train()
    output = model(x, visible)
    output.patches.square().sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return output.patches.detach(), dict(model.named_buffers()), gradients


@pytest.mark.parametrize(("name", "options"), TRUNKS)
def test_hidden_pixels_reach_nothing(name: str, options: dict[str, Any]) -> None:
    model = build(name, options, ratio=0.5)
    side = 32 if name == "metaspikformer_tiny" else 16
    x = torch.rand(2, 3, side, side)
    hidden = model.sizes.hidden((side // model.patch) ** 2)
    visible = draw_visible(2, model.grid(x), hidden)
    shown = pixels(visible, model.patch)
    patches, buffers, gradients = outcome(model, x, visible)
    assert gradients.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(g.isfinite().all() for g in gradients.values())
    assert sum(bool(g.any()) for g in gradients.values()) > 0.9 * len(gradients)
    again = outcome(model, torch.where(shown, x, torch.nan), visible)
    assert torch.equal(again[0], patches)
    for before, after in ((buffers, again[1]), (gradients, again[2])):
        assert [n for n in before if not torch.equal(before[n], after[n])] == []
    changed = outcome(model, torch.where(shown, 1 - x, x), visible)
    assert not torch.equal(changed[0], patches)
    assert not all(torch.equal(buffers[n], changed[1][n]) for n in buffers)


@pytest.mark.parametrize(("name", "options"), TRUNKS)
def test_tokens_stay_in_place(name: str, options: dict[str, Any]) -> None:
    """A map is zero where it is hidden, and that of the plain trunk where nothing is."""
    model = build(name, options)
    wake(model, torch.rand(2, 3, 16, 16))
    model.double()
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    time_major = model.presentation(x)
    visible = draw_visible(2, model.grid(x), model.sizes.hidden(model.grid(x)[0] ** 2))
    tokens = run_visible(model.trunk, time_major, visible)
    there = visible.repeat(model.steps, 1, 1)
    assert not tokens.permute(0, 2, 3, 1)[~there].any()
    assert tokens.permute(0, 2, 3, 1)[there].any()
    everything = run_visible(model.trunk, time_major, torch.ones_like(visible))
    torch.testing.assert_close(everything, model.trunk(time_major), rtol=1e-9, atol=1e-9)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.trunk.modules())


def test_normalisations_see_active_positions_only() -> None:
    model = build("spikformer_v2_nano", SPIKING).double().train()
    stage = model.trunk[0]
    norm = stage.down.norm
    x = torch.rand(4, 3, 16, 16, dtype=torch.float64)
    visible = draw_visible(4, (4, 4), 12)
    shown = pixels(visible, 4)
    current = stage.down.conv(torch.where(shown, x, 0.0)).detach()
    active = current.permute(0, 2, 3, 1)[pixels(visible, 2)[:, 0]]
    assert len(active) == 4 * 4 * 4
    run_visible(model.trunk, x, visible)
    torch.testing.assert_close(norm.running_mean, 0.1 * active.mean(0), rtol=1e-12, atol=1e-12)
    expected = 0.9 + 0.1 * active.var(0)
    torch.testing.assert_close(norm.running_var, expected, rtol=1e-12, atol=1e-12)
    assert model.decoder.embed.weight.grad is None


def test_rep_conv_is_its_dense_kernel_at_the_edge_of_what_is_hidden() -> None:
    rep_conv = nn.Sequential(RepConv(3, 5)).double()
    for norm in rep_conv.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean)
            nn.init.normal_(norm.bias)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
    rep_conv.eval()
    spikes = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    visible = draw_visible(2, (4, 4), 8)
    shown = pixels(visible, 2)
    # In evaluation RepConv equals one zero-padded 3x3 convolution, so its plain call on spikes
    # that are zero where they are hidden is what a dense kernel gives.
    expected = rep_conv(spikes * shown) * shown
    torch.testing.assert_close(run_visible(rep_conv, spikes, visible), expected)


def test_sums_of_attention_keep_the_size_of_a_whole_image() -> None:
    from spikesight.attention import AttentionProduct

    for mean in (False, True):
        product = nn.Sequential(AttentionProduct(2, 0.5, mean=mean))
        wrapped = _SelfProduct(product)
        x = torch.rand(2, 4, 1, 1).expand(2, 4, 4, 4)  # all tokens alike
        visible = draw_visible(2, (4, 4), 12)
        whole = wrapped(x)
        part = run_visible(wrapped, x, visible)
        torch.testing.assert_close(part, whole * pixels(visible, 1))


class _SelfProduct(nn.Module):
    def __init__(self, product: nn.Sequential) -> None:
        super().__init__()
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.product[0](x, x, x)
        return result


def test_mask_tokens_stand_at_hidden_places() -> None:
    model = build("spikformer_v2_nano", SPIKING)
    x = torch.rand(2, 3, 16, 24)
    visible = draw_visible(2, model.grid(x), 18)
    caught: list[Tensor] = []
    maps: list[Tensor] = []
    model.decoder.blocks.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    model.trunk[-1].register_forward_hook(lambda *call: maps.append(call[2]))
    output = model(x, visible)
    assert output.patches.shape == (2, 24, 48)
    assert torch.equal(output.visible, visible)
    decoder = model.decoder
    # Two images of other content share the positions, which the mask token shows.
    flat = visible.flatten(1)
    places = [(b, i) for b in range(2) for i in range(24)]
    position: dict[int, Tensor] = {
        i: caught[0][b, i] - decoder.mask_token for b, i in places if not flat[b, i]
    }
    seen = 0
    for b, i in places:
        if flat[b, i] and i in position:
            token = maps[0][b, :, i // 6, i % 6]
            expected = decoder.embed(decoder.norm(token)) + position[i]
            torch.testing.assert_close(caught[0][b, i], expected)
            seen += 1
    assert seen > 0
    assert len({tuple(p.tolist()) for p in position.values()}) == len(position)


def test_larger_patches_join_their_tokens() -> None:
    model = build("spikformer_v2_nano", SPIKING, patch=8, ratio=0.5)
    x = torch.rand(2, 3, 16, 16)
    visible = draw_visible(2, (2, 2), 2)
    assert model(x, visible).patches.shape == (2, 4, 3 * 64)
    maps = run_visible(model.trunk, x, visible)
    tokens = model._patch_tokens(maps)
    assert torch.equal(tokens[0, 1, 0].view(-1, 2, 2), maps[0, :, 2:4, 0:2])
    with pytest.raises(ValueError, match="multiple of the stride of spikformer_v2_nano, 4"):
        build("spikformer_v2_nano", SPIKING, patch=6)


def test_time_steps_are_averaged() -> None:
    once = build("spikformer_v2_nano", SPIKING | {"neuron": "relu", "steps": 1}).eval()
    thrice = build("spikformer_v2_nano", SPIKING | {"neuron": "relu", "steps": 3}).eval()
    thrice.load_state_dict(once.state_dict())
    x = torch.rand(2, 3, 16, 16)
    visible = draw_visible(2, (4, 4), 12)
    torch.testing.assert_close(thrice(x, visible).patches, once(x, visible).patches)


@pytest.mark.parametrize(("ratio", "hidden"), [(0.75, 12), (0.6, 10), (0.1, 2)])
def test_the_ratio_is_honoured(ratio: float, hidden: int) -> None:
    model = build("spikformer_v2_nano", SPIKING, ratio=ratio)
    visible = model(torch.rand(8, 3, 16, 16)).visible
    assert (~visible).flatten(1).sum(1).tolist() == [hidden] * 8
    assert len({tuple(image.flatten().tolist()) for image in visible}) > 1


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="hides 4 of 4 patch"):
        build("spikformer_v2_nano", SPIKING, ratio=0.9)(torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"masked_image\.ratio is 1\.0"):
        MaskedImageSizes(ratio=1.0)
    with pytest.raises(ValueError, match="divisible by 4"):
        MaskedImageSizes(width=18)
    with pytest.raises(ValueError, match=r"depth is 0; pass 1"):
        MaskedImageSizes(depth=0)
    with pytest.raises(ValueError, match=r"pass model\.name of its trunk"):
        build("spike2former_nano", {})
    model = build("spikformer_v2_nano", SPIKING)
    with pytest.raises(ValueError, match="not sequences"):
        model(torch.rand(1, 1, 3, 16, 16))
    with pytest.raises(ValueError, match=r"pass one of \(1, 4, 4\)"):
        model(torch.rand(1, 3, 16, 16), torch.ones(1, 2, 2).bool())
    uneven = torch.zeros(2, 4, 4).bool()
    uneven[0, :3], uneven[1, :2] = True, True
    for visible in (uneven, torch.ones(2, 4, 4).bool(), torch.zeros(2, 4, 4).bool()):
        with pytest.raises(ValueError, match="of 16 patches; pass equally many of each image"):
            model(torch.rand(2, 3, 16, 16), visible)
    model.trunk.append(nn.AvgPool2d(3, 1, 1))
    with pytest.raises(ValueError, match="knows no visible part of 3, a AvgPool2d"):
        model(torch.rand(1, 3, 16, 16))


def test_saved_and_loaded(tmp_path: Any) -> None:
    model = build("metaspikformer_nano", SMALL, patch=8).eval()
    model.save_pretrained(tmp_path)
    loaded = ss.load(tmp_path)
    assert isinstance(loaded, MaskedAutoencoder)
    x = torch.rand(2, 3, 32, 32)
    visible = draw_visible(2, (4, 4), 12)
    assert torch.equal(loaded(x, visible).patches, model(x, visible).patches)
    assert loaded.stages()[-1] is loaded.decoder
    parameters = {id(p) for stage in loaded.stages() for p in stage.parameters()}
    assert parameters == {id(p) for p in loaded.parameters()}


@pytest.mark.parametrize(("name", "options"), [TRUNKS[0], TRUNKS[5], TRUNKS[7], TRUNKS[8]])
def test_hidden_patches_may_be_blank(name: str, options: dict[str, Any]) -> None:
    model = build(name, options, patch=8, ratio=0.5, hiding="blank").train()
    x, visible = torch.randn(2, 3, 32, 32), draw_visible(2, (4, 4), 8)
    wake(model, x)
    shown = pixels(visible, 8)
    patches, buffers, gradients = outcome(model, x, visible)
    again = outcome(model, torch.where(shown, x, torch.nan), visible)
    assert torch.equal(patches, again[0])
    assert all(torch.equal(tensor, again[1][name]) for name, tensor in buffers.items())
    assert all(torch.equal(tensor, again[2][name]) for name, tensor in gradients.items())
    assert not gradients["decoder.mask_token"].any()
    # The trunk works as in training with labels: its graph is known, so that its kernels fuse.
    copied = copy.deepcopy(model)
    x, whole = x.contiguous(memory_format=torch.channels_last), visible
    with ss.fused_kernels(copied) as fused:
        joined = copied(x, whole).patches
    # ReLU has no kernel of its own.
    assert bool(fused.pairs) == (options.get("neuron") != "relu")
    assert torch.allclose(joined, copy.deepcopy(model)(x, whole).patches, atol=1e-4)
    assert not ss.fused_kernels(build(name, options)).pairs


def test_gradients_are_guessed_in_cells() -> None:
    model = build("spikformer_v2_nano", SPIKING, patch=8, target="gradients")
    assert model(torch.rand(2, 3, 32, 32)).patches.shape == (2, 16, 3 * 9 * 4)
    with pytest.raises(ValueError, match=r"patch that is divisible by 4"):
        MaskedImageSizes(target="gradients").values(3, 6)


def test_features_are_those_of_the_classifier() -> None:
    classifier = ss.create_model("spikformer_v2_nano", steps=2, neuron="lif", **SPIKING).eval()
    x = torch.rand(3, 3, 32, 32)
    wake(classifier, x)
    pooled = classifier.forward_head(classifier.forward_features(x), pre_logits=True)
    found = MaskedAutoencoder(classifier, MaskedImageSizes()).eval().features(x)
    assert torch.allclose(found, pooled, atol=1e-6)

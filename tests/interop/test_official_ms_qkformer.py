"""MS-QKFormer's three forms, by their official names, beside what these say tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import spikesight as ss
from tests.interop.maxformer_by_hand import ByHand, RandomState, State, event_stem, pool
from tests.interop.released_modules import EXACT
from tests.interop.test_official_metaspikformer import relative_error

STEPS = 3
Embeddings = list[Callable[[Tensor], Tensor]]


def blocks(state: RandomState, widths: tuple[int, ...], ratio: int) -> None:
    """One block per stage, the last with SSA, and the classifier."""
    for stage, width in enumerate(widths, start=1):
        parts = "qkv" if stage == len(widths) else "qk"
        state.attention(f"stage{stage}.0.attn", width, parts)
        state.mlp(f"stage{stage}.0.mlp", width, ratio * width)
    state.head(5, widths[-1])


def imagenet() -> tuple[State, int, Callable[[ByHand], Embeddings]]:
    """The form that pools the currents of the first convolution."""
    state, widths = RandomState(), (16, 32, 64)
    state.synapse("patch_embed1.proj_conv", "patch_embed1.proj_bn", (8, 3, 3, 3))
    state.synapse("patch_embed1.proj_conv1", "patch_embed1.proj_bn1", (16, 8, 3, 3))
    state.synapse("patch_embed1.proj_conv2", "patch_embed1.proj_bn2", (16, 16, 3, 3))
    state.pair("patch_embed1.rpe", 16, 8, 1)
    for stage in (2, 3):
        before, width = widths[stage - 2 : stage]
        state.pair(f"patch_embed{stage}.proj3", width, before, 3)
        state.pair(f"patch_embed{stage}.proj4", width, width, 3)
        state.pair(f"patch_embed{stage}.proj_res", width, before, 1)
    blocks(state, widths, 4)

    def embeddings(net: ByHand) -> Embeddings:
        def stem(x: Tensor) -> Tensor:
            spikes = net.fire("stem1", pool(net.pair("patch_embed1.proj", x)))
            name = "patch_embed1.proj"
            path = net.fire("stem2", pool(net.synapse(f"{name}_conv1", f"{name}_bn1", spikes)))
            path = net.synapse(f"{name}_conv2", f"{name}_bn2", path)
            return path + net.pair("patch_embed1.rpe", spikes, 2)

        def halved(stage: int, x: Tensor) -> Tensor:
            name = f"patch_embed{stage}"
            spikes = net.fire(name, x)
            path = net.fire(f"{name}.path", pool(net.pair(f"{name}.proj3", spikes)))
            return net.pair(f"{name}.proj4", path) + net.pair(f"{name}.proj_res", spikes, 2)

        return [stem, lambda x: halved(2, x), lambda x: halved(3, x)]

    return state.tensors, 1, embeddings


def late_pool(net: ByHand, stage: int, x: Tensor) -> Tensor:
    """The embedding for small images, which pools the currents of the second convolution."""
    name = f"patch_embed{stage}"
    spikes = net.fire(name, x)
    path = net.fire(f"{name}.path", net.embed(f"{name}.embed1", spikes))
    return pool(net.embed(f"{name}.max_embed1", path)) + net.embed(f"{name}.embed2", spikes, 2)


def add_late_pool(state: RandomState, stage: int, before: int, width: int) -> None:
    """Its tensors."""
    state.embed(f"patch_embed{stage}.embed1", width, before)
    state.embed(f"patch_embed{stage}.max_embed1", width, width)
    state.embed(f"patch_embed{stage}.embed2", width, before, 1)


def cifar() -> tuple[State, int, Callable[[ByHand], Embeddings]]:
    """The form whose stem keeps the size of the image."""
    state, widths = RandomState(), (16, 32, 48)
    state.pair("patch_embed1.proj", 8, 3, 3)
    state.embed("patch_embed1.embed1", 16, 8)
    state.embed("patch_embed1.embed2", 16, 8, 1)
    for stage in (2, 3):
        add_late_pool(state, stage, *widths[stage - 2 : stage])
    blocks(state, widths, 2)

    def embeddings(net: ByHand) -> Embeddings:
        def stem(x: Tensor) -> Tensor:
            spikes = net.fire("stem", net.pair("patch_embed1.proj", x))
            path = net.embed("patch_embed1.embed1", spikes)
            return path + net.embed("patch_embed1.embed2", spikes)

        return [stem, lambda x: late_pool(net, 2, x), lambda x: late_pool(net, 3, x)]

    return state.tensors, 8, embeddings


def events() -> tuple[State, int, Callable[[ByHand], Embeddings]]:
    """The form for event frames, whose MLPs have a shortcut around each half."""
    state = RandomState()
    state.event_stem(32)
    add_late_pool(state, 2, 32, 48)
    blocks(state, (32, 48), 1)
    return (
        state.tensors,
        16,
        lambda net: [
            lambda x: event_stem(net, x),
            lambda x: late_pool(net, 2, x),
        ],
    )


@pytest.mark.parametrize("form", [imagenet, cifar, events])
def test_each_form_computes_what_its_names_say(
    form: Callable[[], tuple[State, int, Callable[[ByHand], Embeddings]]],
) -> None:
    state, heads, embeddings = form()
    channels = state["patch_embed1.proj_conv.weight"].shape[1]
    frames = torch.rand(2, STEPS, channels, 32, 48, generator=torch.Generator().manual_seed(5))
    frames = frames.double()
    # So that attention neurons fire on these few pixels.
    net = ByHand(state, heads, scale=1.0)
    expected = net.logits(list(frames.unbind(1)), embeddings(net))
    assert min(net.fired.values()) > 0, net.fired
    model = ss.load_official("ms_qkformer", state, steps=STEPS, attention_scale=1.0)
    with torch.no_grad():
        assert relative_error(model(frames), expected) < EXACT
        alone = torch.cat([model(one) for one in frames.split(1)])
    assert relative_error(alone, expected) < EXACT
    assert ss.audit(ss.deploy(model, frames[:1]), frames[:1]).spike_driven


def test_token_attention_alone_takes_the_authors_layout() -> None:
    state = RandomState()
    state.attention("stage1.0.attn", 16, "qk")
    x = torch.randn(2, 3, 16, 4, 5, generator=torch.Generator().manual_seed(5)).double() * 3
    net = ByHand(state.tensors, 4)
    expected = torch.stack([x_t + net.token_attention("stage1.0.attn", x_t) for x_t in x])
    lone = {n.removeprefix("stage1.0.attn."): t for n, t in state.tensors.items()}
    block = ss.load_official("ms_qkformer", lone, num_heads=4, steps=2)
    with torch.no_grad():
        assert relative_error(block(x), expected) < EXACT


def test_other_embeddings_are_refused() -> None:
    state, _, _ = imagenet()
    other = {n.replace("proj4", "proj5"): t for n, t in state.items()}
    with pytest.raises(ValueError, match="patch_embed2 is none of the known ones"):
        ss.load_official("ms_qkformer", other)

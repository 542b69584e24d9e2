"""Gates and sums of spikes give the authors' attention, spike by spike and gradient by gradient."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesight.attention import SpikeSum
from spikesight.neurons import LIF, Neuron
from tests.conftest import ReadOracle
from tests.deployment.gated_networks import MaskAttention, QueryKeyAttention

STEPS, CHANNELS, HEADS = 4, 16, 4
THEIR_NEURONS = {
    "neuron": "shortcut_lif",
    "query_neuron": "q_lif",
    "key_neuron": "k_lif",
    "value_neuron": "v_lif",
    "output_neuron": "proj_lif",
}


class _TokenAttention(QueryKeyAttention):
    """Reads spikes and gives spikes, as QKFormer's."""

    def __init__(self) -> None:
        mask_neuron = partial(LIF, STEPS, threshold=0.5)
        super().__init__(CHANNELS, SpikeSum("channels", HEADS), partial(LIF, STEPS), mask_neuron)
        self.neuron = nn.Identity()
        self.output_neuron = LIF(STEPS)

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.output_neuron(super().forward(x))
        return spikes


def _mask_attention() -> MaskAttention:
    return MaskAttention(CHANNELS, partial(LIF, STEPS), partial(LIF, STEPS, threshold=0.5))


def _our_name(name: str) -> str | None:
    """The name of one of the authors' tensors here; None of one that computes nothing."""
    module, _, field = name.partition(".")
    part, _, kind = module.partition("_")
    ours = {"q": "query", "k": "key", "v": "value", "proj": "project"}.get(part)
    return ours and f"{ours}.{'conv' if kind == 'conv' else 'norm'}.{field}"


@pytest.mark.parametrize(
    ("family", "case", "build", "their_mask"),
    [
        ("sdtv1", "attention_c16_h4_T4", _mask_attention, "talking_heads_lif"),
        ("qkformer", "token_qk_c16_h4_T4", _TokenAttention, "attn_lif"),
    ],
)
def test_the_authors_attention(
    family: str, case: str, build: Any, their_mask: str, read_oracle: ReadOracle
) -> None:
    oracle = read_oracle(family, case)
    model = build().double().eval()
    own = model.state_dict()
    state = {
        ours: tensor.view_as(own[ours])
        for name, tensor in oracle["state_dict"].items()
        if (ours := _our_name(name)) is not None
    }
    model.load_state_dict(state)
    spikes: dict[str, Tensor] = {}
    for name, module in model.named_children():
        if isinstance(module, Neuron):
            theirs = THEIR_NEURONS.get(name, their_mask)
            module.register_forward_hook(lambda _, __, y, key=theirs: spikes.__setitem__(key, y))
    x = oracle["io"]["x"].double()
    shortcut = x.flatten(0, 1) if family == "sdtv1" else 0
    output = model(x.flatten(0, 1)) + shortcut
    torch.testing.assert_close(output.view_as(x), oracle["io"]["y_eval"], rtol=0, atol=1e-12)
    assert set(spikes) == set(oracle["spikes"])
    assert oracle["io"]["ties"][their_mask] > 20
    for name, expected in oracle["spikes"].items():
        assert torch.equal(spikes[name].reshape(expected.shape), expected.double()), name
        assert 0 < float(expected.double().mean()) < 1
    model.train()
    cotangent = oracle["io"]["cot"].flatten(0, 1)
    ((model(x.flatten(0, 1)) + shortcut) * cotangent).sum().backward()
    gradients = {ours: p.grad for ours, p in model.named_parameters()}
    assert len(gradients) == len(oracle["train"]["grads"])
    for name, expected in oracle["train"]["grads"].items():
        ours = _our_name(name)
        assert ours is not None
        torch.testing.assert_close(
            gradients[ours], expected.view_as(own[ours]), rtol=1e-9, atol=1e-12
        )

"""The attention product, of values as wide as queries and of wider ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.attention.product import attention_product

HEADS, SCALE = 2, 0.25


def counts(channels: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 5, (3, channels, height, width)).double()


@pytest.mark.parametrize("values", [4, 8, 2])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mean", [False, True])
def test_each_head_is_the_product_of_its_matrices(
    values: int, memory: torch.memory_format, mean: bool
) -> None:
    torch.manual_seed(0)
    query, key, value = counts(4, 3, 5), counts(4, 2, 4), counts(values, 2, 4)
    inputs = (x.to(memory_format=memory) for x in (query, key, value))
    attended = attention_product(*inputs, heads=HEADS, scale=SCALE, mean=mean)
    q, k, v = (x.flatten(2).unflatten(1, (HEADS, -1)) for x in (query, key, value))
    similarity = torch.einsum("nhcq,nhck->nhqk", q, k)
    expected = torch.einsum("nhqk,nhck->nhcq", similarity, v) * SCALE / (8 if mean else 1)
    assert attended.shape == (3, values, 3, 5)
    assert torch.equal(attended.flatten(2), expected.flatten(1, 2))


class WideValues(nn.Module):
    """Attention with values four times as wide as its queries."""

    def __init__(self, steps: int, levels: int) -> None:
        super().__init__()
        self.presentation = ss.Presentation(steps, channels=3, stride=1)
        self.stem = ss.ConvNorm(3, 8, 3)
        neurons = [ss.create_neuron("i_lif", steps, levels) for _ in range(6)]
        self.neuron, self.query_neuron, self.key_neuron, self.value_neuron = neurons[:4]
        self.attention_neuron, self.head_neuron = neurons[4:]
        self.query, self.key = ss.ConvNorm(8, 8, 1), ss.ConvNorm(8, 8, 1)
        self.value = ss.ConvNorm(8, 32, 1)
        self.product = ss.AttentionProduct(HEADS, SCALE)
        self.project = ss.ConvNorm(32, 8, 1)
        self.pool, self.head, self.readout = ss.GlobalPool(), ss.Linear(8, 5), ss.Readout(steps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.presentation(x))
        seen = self.neuron(x)
        query, key = self.query_neuron(self.query(seen)), self.key_neuron(self.key(seen))
        attended = self.product(query, key, self.value_neuron(self.value(seen)))
        x = x + self.project(self.attention_neuron(attended))
        return self.readout(self.head(self.pool(self.head_neuron(x))))


@pytest.mark.parametrize(("steps", "levels"), [(1, 4), (2, 2), (4, 1)])
def test_wide_values_are_exact_in_every_form(steps: int, levels: int) -> None:
    torch.manual_seed(1)
    model, images = WideValues(steps, levels), torch.randn(4, 3, 6, 6)
    model.train()(images)
    deployed = ss.deploy(model.eval(), images)
    compared = deployed.verify(images, against=("spikes", "onnx", "openvino"))
    assert compared.mismatches == 0
    assert all(ss.energy(deployed, images).firing_rates.values())
    assert ss.verify(model, images).mismatches == 0


def test_each_spike_of_queries_and_keys_adds_a_row_of_a_heads_values() -> None:
    torch.manual_seed(1)
    model, images = WideValues(1, 4), torch.randn(4, 3, 6, 6)
    model.train()(images)
    report = ss.energy(model.eval(), images)
    (product,) = (layer for layer in report.layers if layer.kind == "attention product")
    assert product.macs == (8 + 8) * 36 * 32 / HEADS
    rates = [report.firing_rates[name] for name in ("query_neuron", "key_neuron")]
    assert product.accumulates == pytest.approx(sum(rates) * 4 * 8 * 36 * 32 / HEADS)

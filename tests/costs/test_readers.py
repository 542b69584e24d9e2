"""What counts cost their readers, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.costs.readers import reading_macs
from spikesight.graph import execute
from spikesight.passes.folding import fold
from tests.conftest import wake
from tests.registered_models import NANO

SIDE = 8


class Small(nn.Module):
    """A convolution that strides, a maximum, a sum of counts, a gate and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.presentation = ss.Presentation(steps=2, channels=3, stride=2)
        self.stem = ss.ConvNorm(3, 8, 3)
        self.first = ss.create_neuron("i_lif", steps=2)
        self.down = ss.ConvNorm(8, 16, 3, stride=2)
        self.second, self.third = (ss.create_neuron("i_lif", steps=2) for _ in range(2))
        self.maximum = nn.MaxPool2d(3, 1, 1)
        self.mix = ss.ConvNorm(16, 4, 1)
        self.query, self.key, self.value = (ss.create_neuron("i_lif", steps=2) for _ in range(3))
        self.attention = ss.AttentionProduct(heads=2, scale=0.5)
        self.gate, self.by = ss.Gate(), ss.create_neuron("lif", steps=2)
        self.last, self.unread = (ss.create_neuron("i_lif", steps=2) for _ in range(2))
        self.pool, self.head = ss.GlobalPool(), ss.Linear(4, 10)
        self.readout = ss.Readout(steps=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.first(self.stem(self.presentation(x))))
        x = self.mix(self.maximum(self.second(x)) + self.third(x))
        x = self.attention(self.query(x), self.key(x), self.value(x))
        x = self.gate(self.last(x), self.by(x))
        logits: Tensor = self.readout(self.head(self.pool(x)))
        return logits


def test_fan_out_by_hand() -> None:
    macs = reading_macs(fold(ss.trace(Small().eval())), (SIDE, SIDE))
    pixels = (SIDE // 2) ** 2
    assert macs == {
        "first": 8 * 16 * 9 * pixels,
        "second": 16 * 4 * pixels,  # through a maximum and a sum
        "third": 16 * 4 * pixels,
        "query": 4 * pixels * 2,  # each count meets a row of head_dim integers
        "key": 4 * pixels * 2,
        "value": 0,  # is added up, whatever it holds
        "last": 4 * pixels + 4 * 10,  # the gate, and through it and the mean the head
        "by": 4 * pixels + 4 * 10,
    }


def test_the_report_weighs_nonzero_counts_by_operations() -> None:
    images = torch.rand(3, 3, SIDE, SIDE)
    model = wake(Small().eval(), images)
    graph = fold(ss.trace(model))
    seen: dict[str, float] = {}

    def observe(node: object, inputs: object, output: Tensor) -> None:
        seen[node.name] = float(output.count_nonzero() / output.numel())  # type: ignore[attr-defined]

    execute(graph, images, observe)
    report = ss.energy(model, images)
    layers = {layer.name: layer for layer in report.layers}
    assert layers["stem"].nonzero is None
    assert layers["down"].nonzero == pytest.approx(seen["first"])
    assert layers["attention"].nonzero == pytest.approx((seen["query"] + seen["key"]) / 2)
    read = [layer for layer in report.layers if layer.nonzero is not None]
    expected = sum(layer.macs * (layer.nonzero or 0) for layer in read)
    expected /= sum(layer.macs for layer in read)
    assert report.nonzero_by_mac == pytest.approx(expected)
    (total,) = [line for line in report.table().splitlines() if line.startswith("total")]
    assert f"{report.nonzero_by_mac:.3f}" in total
    deployed = ss.energy(ss.deploy(model, images), images)
    assert deployed.nonzero_by_mac == pytest.approx(report.nonzero_by_mac, abs=0.05)


def test_nothing_of_an_ann_is_a_count() -> None:
    twin = ss.create_model("metaspikformer_nano", num_classes=10, in_channels=1, neuron="relu")
    assert ss.energy(twin, torch.rand(1, 1, 32, 32)).nonzero_by_mac is None


@pytest.mark.parametrize("name", [name for name in NANO if not name.startswith("mask_rcnn")])
def test_every_family_has_costs(name: str) -> None:
    model = ss.create_model(name, num_classes=3, in_channels=3, steps=2).eval()
    graph = fold(ss.trace(model))
    macs = reading_macs(graph, (64, 64))
    assert set(macs) == {neuron.name for neuron in graph.neurons}
    readers = {
        (type(reader).__name__, reader.inputs.index(name))
        for name, cost in macs.items()
        if cost == 0
        for reader in graph.consumers[name]
    }
    assert readers <= {("AttentionProduct", 2), ("SpikeSum", 0), ("Output", 0), ("Add", 0)}

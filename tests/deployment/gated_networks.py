"""A small network with gates, sums of spikes and maxima of currents where papers have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from spikesight.attention import Gate, SpikeSum
from spikesight.models.base import GlobalPool, Presentation, Readout, SpikingModel
from spikesight.neurons import create_neuron
from spikesight.synapses import ConvNorm, Linear

GateForm = Literal["mask", "token", "channel"]


class MaskAttention(nn.Module):
    """Spike-driven Transformer's: SN(sum over tokens of K * V) gates Q, channel by channel."""

    def __init__(
        self,
        channels: int,
        neuron: Callable[[], nn.Module],
        mask_neuron: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.neuron = neuron()
        self.query, self.key, self.value = (ConvNorm(channels, channels, 1) for _ in range(3))
        self.query_neuron, self.key_neuron, self.value_neuron = (neuron() for _ in range(3))
        self.meet = Gate()
        self.sum = SpikeSum("tokens")
        self.mask_neuron = (mask_neuron or neuron)()
        self.gate = Gate()
        self.project = ConvNorm(channels, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        query = self.query_neuron(self.query(spikes))
        key = self.key_neuron(self.key(spikes))
        value = self.value_neuron(self.value(spikes))
        mask = self.mask_neuron(self.sum(self.meet(key, value)))
        current: Tensor = self.project(self.gate(query, mask))
        return current


class QueryKeyAttention(nn.Module):
    """QKFormer's: SN(sum over each head's channels, or over tokens, of Q) gates K."""

    def __init__(
        self,
        channels: int,
        sums: SpikeSum,
        neuron: Callable[[], nn.Module],
        mask_neuron: Callable[[], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.neuron = neuron()
        self.query, self.key = (ConvNorm(channels, channels, 1) for _ in range(2))
        self.query_neuron, self.key_neuron = neuron(), neuron()
        self.sum = sums
        self.mask_neuron = (mask_neuron or neuron)()
        self.gate = Gate()
        self.project = ConvNorm(channels, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(x)
        query = self.query_neuron(self.query(spikes))
        key = self.key_neuron(self.key(spikes))
        current: Tensor = self.project(self.gate(key, self.mask_neuron(self.sum(query))))
        return current


class GatedNetwork(SpikingModel):
    """Stem, maxima of currents before a neuron and on the stream, one attention, classifier.

    Args:
        form: Which attention.
        neuron: Name of the neuron.
        steps: Time steps T.
        levels: Levels D.
        in_channels: Channels of the input.
        num_classes: Classes K.
        channels: Channels of the stream.
        heads: Heads of the token form.
    """

    def __init__(
        self,
        form: GateForm = "mask",
        *,
        neuron: str = "lif",
        steps: int = 1,
        levels: int = 1,
        in_channels: int = 3,
        num_classes: int = 5,
        channels: int = 8,
        heads: int = 2,
    ) -> None:
        super().__init__()
        self.steps, self.stride = steps, 4

        def spiking() -> nn.Module:
            return create_neuron(neuron, steps=steps, levels=levels)

        self.presentation = Presentation(steps, in_channels, self.stride)
        self.stem = ConvNorm(in_channels, channels, 3)
        self.stem_pool = nn.MaxPool2d(3, 2, 1)
        self.stem_neuron = spiking()
        self.main = ConvNorm(channels, channels, 3)
        self.main_pool = nn.MaxPool2d(3, 2, 1)
        self.shortcut = ConvNorm(channels, channels, 1)
        self.shortcut_pool = nn.MaxPool2d(3, 2, 1)
        if form == "mask":
            self.attention: nn.Module = MaskAttention(channels, spiking)
        else:
            sums = SpikeSum("channels", heads) if form == "token" else SpikeSum("tokens")
            self.attention = QueryKeyAttention(channels, sums, spiking)
        self.pool = GlobalPool()
        self.head_neuron = spiking()
        self.head = Linear(channels, num_classes)
        self.readout = Readout(steps)

    def stages(self) -> list[nn.Module]:
        return [self.stem, self.main, self.attention, self.head]

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.stem_neuron(self.stem_pool(self.stem(self.presentation(x))))
        stream = self.main_pool(self.main(spikes)) + self.shortcut_pool(self.shortcut(spikes))
        stream = stream + self.attention(stream)
        logits: Tensor = self.readout(self.head(self.head_neuron(self.pool(stream))))
        return logits

"""What the neurons of a converted network do on real inputs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from spikesight.neurons import Neuron
from spikesight.neurons.recording import NeuronRecorder
from spikesight.reports.text_table import text_table


@dataclass(frozen=True)
class ConvertedLayer:
    """One neuron layer.

    Attributes:
        neuron: Its path in the model.
        threshold: Membrane that one spike stands for.
        unit: What one spike is worth to those that read it.
        firing_rate: Mean count over D.
        silent: Share of the counts that are 0.
        saturated: Share of the counts that are D.
    """

    neuron: str
    threshold: float
    unit: float
    firing_rate: float
    silent: float
    saturated: float


@torch.no_grad()
def measure_layers(model: nn.Module, batches: Iterable[Tensor]) -> list[ConvertedLayer]:
    """Runs a spiking model and counts, in evaluation mode.

    Args:
        model: Any model with integer neurons.
        batches: Normalised inputs [B, C, H, W] (frames [B, T, C, H, W]).

    Returns:
        The neurons that were called, in the model's order.
    """
    sums: dict[str, Tensor] = {}

    def note(name: str, neuron: Neuron, output: Tensor) -> None:
        counts = (output / neuron.unit).round()
        found = (counts.mean() / neuron.levels, counts.eq(0).float().mean(),
                 counts.eq(neuron.levels).float().mean())  # fmt: skip
        now = torch.tensor([*map(float, found), 1.0], dtype=torch.float64) * len(output)
        sums[name] = sums.get(name, torch.zeros(4, dtype=torch.float64)) + now

    was_training = model.training
    example = next(model.parameters())
    with NeuronRecorder(model.eval(), note) as recorder:
        for batch in batches:
            model(batch.to(example.device, example.dtype))
    model.train(was_training)
    layers = []
    for name in recorder.names:
        if name not in sums:
            continue
        neuron = model.get_submodule(name)
        assert isinstance(neuron, Neuron)
        shares = (sums[name][:3] / sums[name][3]).tolist()
        layers.append(ConvertedLayer(name, neuron.threshold, neuron.unit, *shares))
    return layers


def layers_table(layers: list[ConvertedLayer]) -> str:
    """The layers as text."""
    rows = [
        (
            layer.neuron,
            f"{layer.threshold:.4g}",
            f"{layer.unit:.4g}",
            *(f"{v:.3f}" for v in (layer.firing_rate, layer.silent, layer.saturated)),
        )
        for layer in layers
    ]
    return text_table(("neuron", "threshold", "unit", "firing rate", "silent", "saturated"), rows)


def layers_csv(layers: list[ConvertedLayer]) -> str:
    """The layers as lines of comma-separated values, names first."""
    names = [field.name for field in fields(ConvertedLayer)]
    lines = (",".join(str(getattr(layer, name)) for name in names) for layer in layers)
    return "\n".join([",".join(names), *lines]) + "\n"

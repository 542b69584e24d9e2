"""A neuron behind a sigmoid."""

from __future__ import annotations

from torch import Tensor, nn


class SigmoidNeuron(nn.Module):
    """A neuron behind a sigmoid, as the authors' code of Spike2Former reads the queries.

    A sigmoid lies in (0, 1), so the neuron emits one spike where its input is positive and none
    elsewhere, whatever its levels.

    Args:
        channels: Channels C.
        neuron: The neuron.
        remedy: What does without the sigmoid, for those passes that cannot say or quantise it.
    """

    def __init__(self, channels: int, neuron: nn.Module, remedy: str) -> None:
        super().__init__()
        self.channels = channels
        self.neuron = neuron
        self.kernel_remedy = remedy

    def forward(self, current: Tensor) -> Tensor:
        """Spikes of current [N, C, H, W]."""
        spikes: Tensor = self.neuron(current.sigmoid())
        return spikes

"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from spikesight.neurons import Neuron

settings.register_profile("spikesight", deadline=None, derandomize=True)
settings.load_profile("spikesight")

ORACLES = Path(__file__).parents[2] / "shared" / "oracle"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def metaspikformer_oracles() -> Path:
    """Folder of the authors' modules' outputs; not part of the repository."""
    folder = ORACLES / "metaspikformer"
    if not folder.is_dir():
        pytest.skip("the authors' outputs are not beside this checkout")
    return folder


def wake(model: nn.Module, x: Tensor) -> nn.Module:
    """Gives a fresh model normalisations at which its neurons fire.

    They take random gains, positive shifts and the statistics of a few noisy batches.
    """
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 2.0, generator=generator)
            nn.init.uniform_(module.bias, 0.0, 0.8, generator=generator)
            module.momentum = 0.5
    model.train()
    with torch.no_grad():
        for _ in range(6):
            model(x + torch.randn_like(x) * 0.1)
    return model.eval()


def firing_rates(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Mean spike of every neuron."""
    rates: dict[str, float] = {}
    handles = [
        module.register_forward_hook(
            lambda neuron, _, output, name=name: rates.__setitem__(
                name, float(output.mean()) / neuron.unit / max(neuron.levels, 1)
            )
        )
        for name, module in model.named_modules()
        if isinstance(module, Neuron)
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return rates


@pytest.fixture
def spike2former_oracles() -> Path:
    """Folder of the authors' modules' outputs; not part of the repository."""
    folder = ORACLES / "spike2former"
    if not folder.is_dir():
        pytest.skip("the authors' outputs are not beside this checkout")
    return folder

"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from spikesight.neurons import Neuron
from tests import oracles
from tests.registered_models import told

settings.register_profile("spikesight", deadline=None, derandomize=True)
settings.load_profile("spikesight")

_PUBLISHED = "published oracle"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


ReadOracle = Callable[[str, str], dict[str, Any]]


@pytest.fixture
def read_oracle(request: pytest.FixtureRequest) -> ReadOracle:
    """Reads what the authors' modules returned, by family and case; skips where it is not here."""

    def read(family: str, case: str) -> dict[str, Any]:
        try:
            oracle, published = oracles.read(family, case)
        except FileNotFoundError:
            pytest.skip(oracles.NOT_HERE)
        if published:
            request.node.user_properties.append((_PUBLISHED, f"{family}/{case}"))
        return oracle

    return read


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which of the authors' outputs were compared to, where not all are here."""
    reports = [r for group in terminalreporter.stats.values() for r in group]
    reports = [r for r in reports if isinstance(r, pytest.TestReport)]
    skipped = sum(r.skipped and oracles.NOT_HERE in str(r.longrepr) for r in reports)
    ran = {value for r in reports for name, value in r.user_properties if name == _PUBLISHED}
    if skipped or ran:
        terminalreporter.write_line(
            f"{skipped} skipped: {oracles.NOT_HERE}; {len(ran)} published oracles ran"
        )


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
            model(x + torch.randn_like(x) * 0.1, *told(model, x))
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

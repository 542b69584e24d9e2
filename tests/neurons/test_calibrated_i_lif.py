"""The neuron whose threshold is measured or learned."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.errors import UserError
from spikesight.neurons import CalibratedILIF, use_kernels
from spikesight.neurons.native_norm import fire_normalised
from spikesight.synapses import ConvNorm


def currents(steps: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(steps * 4, 16, 5, 6, generator=generator, dtype=dtype)


def test_it_has_the_values_of_a_relu_up_to_rounding_and_its_topmost_level() -> None:
    neuron = CalibratedILIF(levels=10, threshold=0.2).double()
    x = currents()
    assert (neuron(x) - x.clamp(0, 2)).abs().max() <= 0.1 + 1e-9
    halved = CalibratedILIF(levels=10, threshold=0.2, gain=0.5).double()
    torch.testing.assert_close(halved(x), neuron(x) / 2)


@pytest.mark.parametrize("kernels", ["auto", "eager"])
def test_its_gradient_is_that_of_lsq(kernels: str) -> None:
    neuron = CalibratedILIF(levels=3, threshold=0.4, gain=0.5, learnable_threshold=True).double()
    x, weight = currents().requires_grad_(), currents().flip(0)
    with use_kernels(kernels):
        output = neuron(x)
        (output * weight).sum().backward()
    scaled = x.detach() / neuron.threshold
    inside = (scaled >= 0) & (scaled <= 3)
    count = scaled.clamp(0, 3).round()
    share = 0.5 / math.sqrt(x[0].numel() * 3)
    wanted = ((count - torch.where(inside, scaled, 0)) * weight).sum() * share
    torch.testing.assert_close(neuron.scale.grad, wanted)
    # In kernels the unit has few bits, so that float32 holds every multiple of it.
    torch.testing.assert_close(x.grad, weight * inside * 0.5, rtol=1e-6, atol=0)
    torch.testing.assert_close(output, count * neuron.unit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("steps", [1, 3])
def test_all_its_forms_agree(steps: int, dtype: torch.dtype) -> None:
    neuron = CalibratedILIF(steps, 4, threshold=0.375, gain=2.0, learnable_threshold=True)
    neuron = neuron.double() if dtype == torch.float64 else neuron
    x, weight = currents(steps, dtype), currents(steps, dtype).flip(0)
    membrane = x[:4].float().double() if dtype == torch.float64 else x[:4].float()
    found = []
    for kernels in ("auto", "eager"):
        own = x.clone().requires_grad_()
        start = membrane.clone().requires_grad_()
        neuron.zero_grad()
        with use_kernels(kernels):
            spikes, state = neuron.forward_with_state(own, start)
            ((spikes * weight).sum() + state.sum()).backward()
        found.append((spikes, state, own.grad, start.grad, neuron.scale.grad))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5,
                                   atol=1e-5)  # fmt: skip
    with torch.no_grad():
        assert torch.equal(neuron(x), CalibratedILIF(steps, 4, 0.375, 2.0).to(neuron.scale)(x))


def test_it_learns_behind_a_fused_normalisation_as_behind_the_module() -> None:
    neuron = CalibratedILIF(levels=4, threshold=0.3, learnable_threshold=True)
    norm = nn.BatchNorm2d(16).train()
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.bias)
    x = currents(dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    weight = x.flip(0)
    found = []
    for compute in (lambda: neuron(norm(x)), lambda: fire_normalised(x, norm, neuron)):
        neuron.zero_grad()
        norm.zero_grad()
        spikes = compute()
        (spikes * weight).sum().backward()
        found.append((spikes, neuron.scale.grad, norm.weight.grad, norm.bias.grad))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


def test_it_learns_alike_in_less_memory() -> None:
    def gradients(memory: str) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(
            ConvNorm(3, 16, 3),
            CalibratedILIF(levels=4, threshold=0.3, learnable_threshold=True),
            ConvNorm(16, 16, 3),
            CalibratedILIF(levels=4, threshold=0.7, learnable_threshold=True),
        ).train()
        with ss.low_memory(model, memory):
            loss = model(torch.rand(4, 3, 32, 32)).square().sum()
        loss.backward()
        return [parameter.grad for parameter in model.parameters()]

    for first, second in zip(gradients("normal"), gradients("lowest"), strict=True):
        assert torch.equal(first, second)


def test_thresholds_are_saved_with_the_weights(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3, neuron="calibrated_i_lif").eval()
    for number, neuron in enumerate(m for m in model.modules() if isinstance(m, CalibratedILIF)):
        neuron.set_threshold(0.5 + number / 10, 0.9)
    x = torch.rand(2, 3, 32, 32)
    model.save_pretrained(tmp_path)
    loaded = ss.load(tmp_path)
    assert torch.equal(loaded(x), model(x))
    assert ss.verify(loaded, x).mismatches == 0


def test_its_dynamics_are_the_numbers_that_it_has_now() -> None:
    neuron = CalibratedILIF(levels=2, threshold=0.3, gain=0.5)
    neuron.load_state_dict({"scale": torch.tensor(-4.0), "gain": torch.tensor(0.25)})
    dynamics = neuron.dynamics
    assert dynamics is not None
    assert (dynamics.threshold, dynamics.unit, neuron.threshold, neuron.unit) == (4, 1, 4, 1)
    with torch.device("meta"):
        assert "levels=2" in str(CalibratedILIF(levels=2))


@pytest.mark.parametrize("numbers", [{"threshold": 0.0}, {"gain": math.inf}, {"levels": 0}])
def test_numbers_that_cannot_be_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(numbers))):
        ss.create_neuron("calibrated_i_lif", **numbers)

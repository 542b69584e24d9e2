"""Cost models, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spikesight.costs.comparison import compare
from spikesight.costs.cost_models import (
    COST_MODELS,
    DataMovement,
    IntegerArithmetic,
    MemoryHierarchy,
    PaperConvention,
)
from spikesight.costs.forms import COUNTS, DENSE, EQUAL_BITS, FORMS, FP32, INT8, SPIKES
from spikesight.costs.price_files import find_cost_model
from spikesight.costs.work import Work
from spikesight.errors import UserError


def tensor(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


# A 3x3 convolution of 8 to 16 channels on 4 x 4 pixels, T = 2, D = 4, 4-bit weights; 40 spikes in
# 20 counts that reach 5,000 and 2,500 outputs, in 12 sub-steps' and 6 time steps' channels.
SYNAPSE = Work(
    "conv", "synapse", steps=2, levels=4, macs=18432.0, inputs=128.0, channels=8.0, outputs=256.0,
    weights=1152.0, weight_bits=4, is_matrix=False, leaks=False,
    spikes=tensor(40), events=tensor(20), spike_additions=tensor(5000),
    event_additions=tensor(2500),
    spike_fetches=tensor(12), event_fetches=tensor(6),
)  # fmt: skip
NONE = tensor(0)
SILENT: dict[str, Any] = {
    "spike_additions": NONE, "event_additions": NONE, "spike_fetches": NONE, "event_fetches": NONE
}  # fmt: skip
# 256 neurons that leak and emit 100 spikes in 60 counts.
NEURON = Work(
    "neuron", "neuron", steps=2, levels=4, macs=0.0, inputs=256.0, channels=1.0, outputs=256.0,
    weights=0.0, weight_bits=None, is_matrix=False, leaks=True,
    spikes=tensor(100), events=tensor(60), **SILENT,
)  # fmt: skip
SHORTCUT = replace(NEURON, name="add", kind="shortcut", levels=0, leaks=False, spikes=NONE)
FIRST = replace(
    SYNAPSE, name="stem", kind="first layer", levels=0, spikes=NONE, events=NONE, **SILENT
)


def test_bits_of_a_value() -> None:
    assert SPIKES.bits(SYNAPSE) == DENSE.bits(SYNAPSE) == 3  # 0..4
    assert EQUAL_BITS.bits(SYNAPSE) == 4  # 0..8
    assert (INT8.bits(SYNAPSE), FP32.bits(SYNAPSE)) == (8, 32)
    assert DENSE.bits(FIRST) == 8
    assert [form.stationary_bits(SYNAPSE) for form in FORMS] == [4, 4, 4, 4, 8, 32]


def test_rates() -> None:
    assert SYNAPSE.firing_rate == 40 / (128 * 2 * 4)
    assert SYNAPSE.nonzero == 20 / (128 * 2)
    assert FIRST.firing_rate is None


def test_the_papers_convention() -> None:
    model = PaperConvention()
    spikes, twin = model.cost(SYNAPSE, SPIKES), model.cost(SYNAPSE, FP32)
    assert spikes is not None
    assert twin is not None
    assert float(spikes.total) == pytest.approx(0.9 * 5000)
    assert float(twin.total) == pytest.approx(4.6 * 18432)
    first = model.cost(FIRST, SPIKES)
    assert first is not None
    assert float(first.total) == pytest.approx(4.6 * 2 * 18432)
    assert model.cost(SYNAPSE, COUNTS) is None
    neuron = model.cost(NEURON, SPIKES)
    assert neuron is not None
    assert float(neuron.total) == 0


def test_integer_arithmetic() -> None:
    model = IntegerArithmetic()

    def pj(work: Work, form: Any) -> float:
        cost = model.cost(work, form)
        assert cost is not None
        return float(cost.total)

    assert pj(SYNAPSE, SPIKES) == pytest.approx(0.1 * 5000)
    assert pj(SYNAPSE, COUNTS) == pytest.approx((0.1 + 0.2 / 64 * 3 * 4) * 2500)
    assert pj(SYNAPSE, DENSE) == pytest.approx((0.1 + 0.2 / 64 * 12) * 2 * 18432)
    assert pj(SYNAPSE, EQUAL_BITS) == pytest.approx((0.1 + 0.2 / 64 * 16) * 18432)
    assert pj(SYNAPSE, INT8) == pytest.approx((0.1 + 0.2) * 18432)
    assert pj(SYNAPSE, FP32) == pytest.approx(4.6 * 18432)
    # Two steps: charge and leak, four thresholds, and what spikes take.
    assert pj(NEURON, SPIKES) == pytest.approx(0.1 * (256 * 2 * (4 + 2) + 100))
    assert pj(NEURON, EQUAL_BITS) == pytest.approx(0.1 * 256 * 4)
    assert pj(SHORTCUT, SPIKES) == pytest.approx(0.1 * 256 * 2)
    assert pj(SHORTCUT, INT8) == pytest.approx(0.1 * 256)


def test_access_to_memory_lies_on_lines() -> None:
    model = MemoryHierarchy()
    assert [model.access(size) for size in (100, 8192, 32768, 1048576)] == [10, 10, 20, 100]
    assert model.access(20480) == pytest.approx(15)
    assert model.access(1048576 + 1015808) == pytest.approx(180)


def test_memory_hierarchy() -> None:
    """Everything here fits into the smallest memory, so 4 bytes cost 10 pJ."""
    model = MemoryHierarchy()
    spikes = model.cost(SYNAPSE, SPIKES)
    assert spikes is not None
    assert float(spikes.compute) == pytest.approx(0.1 * 5000)
    assert float(spikes.weights) == pytest.approx(5000 * 10 * 4 / 32)
    assert float(spikes.activations) == pytest.approx(40 * 10)
    assert float(spikes.membranes) == pytest.approx(5000 * 2 * 10)
    assert float(spikes.addressing) == pytest.approx(40 * 2 * 3.2 + 5000 * 0.1)
    assert float(spikes.total) == pytest.approx(500 + 6250 + 400 + 100000 + 756)
    equal = model.cost(SYNAPSE, EQUAL_BITS)
    assert equal is not None
    assert float(equal.compute) == pytest.approx((3.1 * 16 / 1024 + 0.1) * 18432)
    assert float(equal.weights) == pytest.approx(18432 * 10 * 4 / 32)
    assert float(equal.activations) == pytest.approx(18432 * 10 * 4 / 32)
    assert float(equal.membranes) == 0
    assert float(equal.addressing) == pytest.approx(0.1 * (128 + 256 + 144))
    neuron = model.cost(NEURON, SPIKES)
    assert neuron is not None
    assert float(neuron.activations) == pytest.approx(100 * 10)
    assert float(neuron.membranes) == pytest.approx(2 * 256 * 2 * 10)
    assert float(neuron.compute) == pytest.approx(0.1 * 3172 + 3.2 * 512)
    dense = model.cost(NEURON, DENSE)
    assert dense is not None
    assert float(dense.membranes) == float(neuron.membranes)  # they outlive the first step
    written = model.cost(NEURON, EQUAL_BITS)
    assert written is not None
    assert float(written.activations) == pytest.approx(256 * 10 * 4 / 32)
    assert float(written.membranes) == 0


def test_data_movement() -> None:
    model = DataMovement()
    spikes = model.cost(SYNAPSE, SPIKES)
    assert spikes is not None
    assert float(spikes.compute) == pytest.approx(0.05448 * 5000)
    assert float(spikes.weights) == pytest.approx(12 * 1152 / 8 * 4 * 0.25)
    assert float(spikes.routing) == pytest.approx(40 * 3.0)
    # As a bitmap 1,024 bits would cost 256 pJ; 100 spikes would be dearer than that.
    crowded = model.cost(replace(SYNAPSE, spikes=tensor(100)), SPIKES)
    assert crowded is not None
    assert float(crowded.routing) == pytest.approx(256)
    equal = model.cost(SYNAPSE, EQUAL_BITS)
    assert equal is not None
    product = 0.05448 * 0.2 / 0.03 / 64
    assert float(equal.compute) == pytest.approx((0.05448 + 16 * product) * 18432)
    assert float(equal.weights) == pytest.approx(1152 * 4 * 0.25)
    assert float(equal.routing) == pytest.approx(128 * 4 * 0.25)
    neuron, once = model.cost(NEURON, SPIKES), model.cost(NEURON, EQUAL_BITS)
    assert neuron is not None
    assert once is not None
    assert float(neuron.membranes) == pytest.approx(2 * 0.25 * 16 * 2 * 256)
    assert float(once.membranes) == 0


@pytest.mark.parametrize("key", ["integer", "memory", "movement"])
def test_at_the_break_even_rate_spikes_cost_as_much(key: str) -> None:
    model = COST_MODELS[key]
    (layer,) = compare([SYNAPSE], model).layers
    assert layer.break_even is not None
    rate = SYNAPSE.firing_rate
    assert rate is not None
    if 0 < layer.break_even < 1:
        cost = model.cost(SYNAPSE.scaled(layer.break_even / rate), SPIKES)
        assert cost is not None
        assert float(cost.total) == pytest.approx(float(layer.costs["equal_bits"].total))
    wins = float(layer.costs["spikes"].total) < float(layer.costs["equal_bits"].total)
    assert wins == (rate < layer.break_even)


def test_own_prices(tmp_path: Path) -> None:
    file = tmp_path / "chip.yaml"
    file.write_text("model: memory\nadd: 0.5\nsizes: [1, 2, 3]\n")
    model = find_cost_model(file)
    assert isinstance(model, MemoryHierarchy)
    assert (model.add, model.sizes, model.multiply) == (0.5, (1, 2, 3), 3.1)
    assert find_cost_model(model) is model
    assert find_cost_model("movement") is COST_MODELS["movement"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("add: 1", "says model: None"),
        ("model: chip", "pass one of paper, integer, memory, movement"),
        ("model: memory\nadd: -1", "pass a number of at least 0"),
        ("model: memory\nadd: true", "pass a number of at least 0"),
        ("model: memory\nhops: 1", "has a field 'hops', which memory does not"),
        ("model: memory\nsizes: [3, 2, 1]", "sizes, ascending"),
        ("model: memory\naccesses: 5", "pass a list of numbers"),
        ("model: memory\nsizes: [1, 2]", "as many accesses"),
    ],
)
def test_prices_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "chip.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        find_cost_model(file)


def test_unknown_prices() -> None:
    with pytest.raises(UserError, match="pass one of paper, integer, memory, movement"):
        find_cost_model("joules")

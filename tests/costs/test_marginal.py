"""What a count costs its readers, in picojoules."""

from __future__ import annotations

import pytest

import spikesight as ss
from spikesight.costs.cost_models import COST_MODELS
from spikesight.costs.forms import COUNTS, SPIKES
from spikesight.costs.marginal import reading_picojoules
from spikesight.costs.readers import reading_macs
from spikesight.passes.folding import fold
from tests.costs.test_readers import Small
from tests.registered_models import NANO


def test_without_memory_it_goes_with_the_operations() -> None:
    """Every addition costs the same; at the border a count reaches fewer outputs."""
    graph = fold(ss.trace(ss.create_model("metaspikformer_nano").eval()))
    macs = reading_macs(graph, (32, 32))
    paid = reading_picojoules(graph, (32, 32), COST_MODELS["integer"], SPIKES)
    assert paid.keys() == macs.keys()
    for name, cost in paid.items():
        assert cost == pytest.approx(0.1 * macs[name], rel=0.3)
        assert cost <= 0.1 * macs[name] * (1 + 1e-9)
    assert paid["head_neuron"] == pytest.approx(0.1 * macs["head_neuron"])


def test_prices_by_hand() -> None:
    graph = fold(ss.trace(Small().eval()))
    paid = reading_picojoules(graph, (8, 8), COST_MODELS["movement"], COUNTS)
    # 1x1, 16 to 4 channels of 32-bit weights, at 4 x 4 pixels; counts of up to 8 have 4 bits.
    product = 0.05448 + 0.05448 * 0.2 / 0.03 / 64 * 4 * 32
    read = 16 * 4 * 16 * product + 0.25 * 16 * 4 * 32 + 0.25 * 4 * 16 * 16
    assert paid["second"] == paid["third"] == pytest.approx(read)
    assert paid["value"] == 0


@pytest.mark.parametrize("name", NANO)
def test_every_model_has_prices(name: str) -> None:
    graph = fold(ss.trace(ss.create_model(name, num_classes=3).eval()))
    paid = reading_picojoules(graph, (32, 32), COST_MODELS["movement"], COUNTS)
    assert max(paid.values()) > 0
    assert min(paid.values()) >= 0

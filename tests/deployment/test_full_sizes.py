"""Networks of the papers' sizes: integers, spikes and runtimes agree in every count."""

from typing import Any

import pytest
import torch

import spikesight as ss
from tests.conftest import wake
from tests.deployment.native_forms import NATIVE


def _deployed(name: str, x: torch.Tensor, **options: Any) -> ss.Deployed:
    torch.manual_seed(0)
    model = ss.create_model(name, num_classes=1000, separable="spike_driven", **options)
    return ss.deploy(wake(model, x), x[:1])


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "neuron", "steps", "levels", "size"),
    [
        ("metaspikformer_15m", "i_lif", 1, 4, 224),
        ("metaspikformer_15m", "lif", 4, 1, 64),
        ("metaspikformer_15m", "i_lif", 2, 8, 96),
        ("metaspikformer_31m", "ni_lif", 1, 4, 96),
        ("metaspikformer_55m", "ie_lif", 1, 4, 96),
    ],
)
def test_integers_equal_spikes(name: str, neuron: str, steps: int, levels: int, size: int) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2
    net = _deployed(name, x, neuron=neuron, steps=steps, levels=levels)
    result = net.verify(x, against=("spikes", *NATIVE))
    assert result.equal, result.table()
    assert result.silent == []


@pytest.mark.nightly
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_runtimes_equal_integers(runtime: Any) -> None:
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2
    result = _deployed("metaspikformer_15m", x).verify(x, against=(runtime,))
    assert result.equal, result.table()
    assert result.silent == []


@pytest.mark.nightly
def test_a_network_whose_sums_need_a_coarser_stream() -> None:
    """At 196 tokens the authors' factor saturates attention, and normalising a constant is wide."""
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    net = _deployed("metaspikformer_15m", x, rep_conv="spike_driven")
    result = net.verify(x, against=("spikes", *NATIVE, "openvino"))
    assert result.equal, result.table()


@pytest.mark.nightly
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_runtimes_equal_integers_with_neurons_inside_rep_conv(runtime: Any) -> None:
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    net = _deployed("metaspikformer_15m", x, rep_conv="spike_driven", attention_scale=2.0**-9)
    result = net.verify(x, against=(runtime,))
    assert result.equal, result.table()
    assert result.silent == []

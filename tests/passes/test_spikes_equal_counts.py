"""The model, its folded graph and its binary spikes agree, over random networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

import spikesight as ss
from spikesight.graph.tracing import trace_parts
from spikesight.passes import SpikeNetwork, verification
from tests.conftest import wake
from tests.registered_models import SEGMENTERS, SMALL, without

SIZES = st.fixed_dictionaries(
    {
        "widths": st.sampled_from([(4, 8, 8, 12, 16), (8, 4, 12, 8, 8)]),
        "depths": st.sampled_from([(1, 0, 1, 1, 0), (0, 1, 0, 0, 1), (0, 0, 1, 1, 1)]),
        "strides": st.sampled_from([(2, 1, 2, 1, 1), (1, 2, 1, 2, 1)]),
        "stem_kernel": st.sampled_from([3, 7]),
        "heads": st.sampled_from([1, 4]),
        "separable": st.sampled_from(["official", "spike_driven"]),
        "rep_conv": st.sampled_from(["official", "spike_driven"]),
        "layer_scale": st.sampled_from([None, 0.7]),
        "attention_scale": st.sampled_from([0.125, None]),
    }
)
SPIKFORMERS = st.fixed_dictionaries(
    {
        "width": st.sampled_from([16, 32]),
        "depth": st.sampled_from([1, 2]),
        "heads": st.sampled_from([1, 4]),
        "strides": st.sampled_from([(2, 2), (1, 2), (2, 1, 2)]),
        "stem": st.sampled_from(["sps", "scs", "pooled", "plain"]),
        "expansion": st.sampled_from([1, 2]),
        "pool_of": st.sampled_from(["spikes", "currents"]),
        "attention_scale": st.sampled_from([1.0, None]),
        "qkv_bias": st.booleans(),
    }
)
MAX_FORMERS = st.fixed_dictionaries(
    {
        "widths": st.sampled_from([(8, 12, 16), (16, 8, 8)]),
        "depths": st.sampled_from([(1, 1, 1), (0, 1, 2), (1, 0, 1)]),
        "mixers": st.sampled_from(
            [
                ("none", "depthwise_3", "attention"),
                ("depthwise_7", "depthwise_5", "attention_depthwise"),
                ("max_pool", "attention", "depthwise_3"),
                ("token_attention", "token_attention", "attention"),
            ]
        ),
        "heads": st.sampled_from([1, 4]),
        "pools": st.sampled_from(["first_and_shortcut", "first", "second"]),
        "mlp_ratio": st.sampled_from([1, 2]),
        "attention_scale": st.sampled_from([1.0, None]),
    }
)
STRIDES = {4: {"strides": (1, 2, 2, 1)}, 5: {"strides": (2, 1, 2, 1, 1)}}
E_SPIKE_FORMERS = st.fixed_dictionaries(
    {
        "widths": st.sampled_from([(8, 8, 12, 16), (8, 8, 12, 16, 8)]),
        "heads": st.sampled_from([1, 4]),
        "separable": st.booleans(),
        "mixer": st.sampled_from(["separable", "rep_conv", "none"]),
        "projection": st.sampled_from(["pointwise", "rep_conv"]),
        "value_ratio": st.sampled_from([1, 2, 4]),
        "attention_scale": st.sampled_from(["head_dim", None]),
        "layer_scale": st.sampled_from([None, 0.7]),
    }
).map(lambda sizes: sizes | {"depths": (1,) * len(sizes["widths"])} | STRIDES[len(sizes["widths"])])
SDT_V1 = st.fixed_dictionaries(
    {
        "width": st.sampled_from([16, 32]),
        "depth": st.sampled_from([1, 2]),
        "strides": st.sampled_from([(2, 2), (1, 2), (2, 1, 2)]),
        "mlp_ratio": st.sampled_from([1, 2]),
        "attention_scale": st.sampled_from([1.0, None]),
    }
)
QK_FORMERS = st.fixed_dictionaries(
    {
        "width": st.sampled_from([16, 32]),
        "depths": st.sampled_from([(1, 1), (2, 0), (0, 1, 1)]),
        "heads": st.sampled_from([1, 4]),
        "form": st.just("cifar"),
        "mlp_ratio": st.sampled_from([1, 2]),
        "attention_scale": st.sampled_from([1.0, None]),
    }
)
FAMILIES = st.one_of(
    st.tuples(st.just("qkformer_nano"), QK_FORMERS),
    st.tuples(st.just("sdtv1_nano"), SDT_V1),
    st.tuples(st.just("espikeformer_nano"), E_SPIKE_FORMERS),
    st.tuples(st.just("maxformer_nano"), MAX_FORMERS),
    st.tuples(st.just("metaspikformer_nano"), SIZES),
    st.tuples(st.just("spikformer_nano"), SPIKFORMERS),
)


def most_silent(neuron: str, layers: int) -> int:
    """Random networks of few neurons may have silent layers, above all binary ones."""
    return layers // (2 if neuron == "lif" else 4)


@settings(max_examples=30)
@given(
    family=FAMILIES,
    neuron=st.sampled_from(
        ["lif", "i_lif", "ni_lif", "ie_lif", "qsd_classification", "spike2former"]
    ),
    steps=st.sampled_from([1, 2, 4]),
    levels=st.sampled_from([1, 2, 4, 8]),
    height=st.sampled_from([8, 12]),
    width=st.sampled_from([8, 16]),
    batch=st.integers(1, 3),
    frames=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_no_mismatch(
    family: tuple[str, dict[str, Any]],
    neuron: str,
    steps: int,
    levels: int,
    height: int,
    width: int,
    batch: int,
    frames: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    levels = 1 if neuron == "lif" else levels
    name, sizes = family
    model = ss.create_model(
        name,
        num_classes=5,
        in_channels=2,
        neuron=neuron,
        steps=steps,
        levels=levels,
        **sizes,
    )
    shape = (batch, steps, 2, height, width) if frames else (batch, 2, height, width)
    x = torch.randn(shape) * 2
    wake(model, x)
    result = ss.verify(model, x)
    assert result.mismatches == 0, result.table()
    assert result.output_error < 1e-9
    assert len(result.silent) <= most_silent(neuron, len(result.layers)), result.table()


@pytest.mark.parametrize("neuron", ["lif", "i_lif", "ni_lif"])
@pytest.mark.parametrize(
    "name",
    without(SMALL, SEGMENTERS | {"spikformer*_tiny": "the nano sizes have all its layers"}),
)
def test_no_mismatch_with_every_neuron_firing(name: str, neuron: str) -> None:
    by_rates = name.startswith("spikingresformer")  # scale its attention
    scale = {} if by_rates else {"attention_scale": 1.0}
    model = ss.create_model(name, num_classes=10, neuron=neuron, steps=4, **scale)
    x = torch.rand(4, 3, 32, 32) * 3
    result = ss.verify(wake(model, x), x)
    assert result.silent == []
    assert result.equal, result.table()


def test_a_broken_simulation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=10)
    x = torch.rand(4, 3, 32, 32) * 3
    wake(model, x)
    damaged = ss.fold(ss.trace(model)).to(torch.float64)
    damaged.by_name["trunk.1.1.mixer.expand"].factors[0].weight.mul_(1.01)
    monkeypatch.setattr(verification, "unroll", lambda graph: SpikeNetwork(damaged))
    result = ss.verify(model, x)
    first, *_ = [check.name for check in result.layers if check.spike_mismatches]
    assert not result.equal
    assert first == "trunk.1.1.mixer.neuron2"


def test_an_ann_has_no_spikes() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=10, neuron="relu")
    with pytest.raises(ValueError, match='neuron="i_lif"'):
        ss.verify(model, torch.rand(1, 3, 32, 32))


def test_the_table_names_every_neuron() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=10)
    result = ss.verify(model, torch.rand(2, 3, 28, 28))
    assert all(check.name in result.table() for check in result.layers)
    assert "0 mismatches in float64" in result.table()


def test_every_synapse_of_the_small_models_reads_spikes() -> None:
    for name in SMALL:
        for graph in trace_parts(ss.create_model(name)).values():
            nodes = ss.fold(graph).nodes
            synapses = [node for node in nodes if isinstance(node, ss.graph.Synapse)]
            assert all(len(node.factors) == 1 for node in synapses)

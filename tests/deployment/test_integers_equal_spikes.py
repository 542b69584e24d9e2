"""The integer network and its binary spikes agree in every element, over random networks."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st

import spikesight as ss
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.integerisation import NotDeployableError
from spikesight.passes.ranges import RangeError, prove_ranges
from spikesight.passes.thresholds import agrees
from tests.conftest import wake
from tests.deployment.native_forms import NATIVE
from tests.passes.test_spikes_equal_counts import FAMILIES, most_silent
from tests.registered_models import SEGMENTERS, SMALL, without


def _model(name: str = "metaspikformer_nano", **options: Any) -> torch.nn.Module:
    model: torch.nn.Module = ss.create_model(name, num_classes=5, in_channels=2, **options)
    return model


@settings(max_examples=50)
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
    weight_bits=st.sampled_from([2, 4, 8]),
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
    weight_bits: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    levels = 1 if neuron == "lif" else levels
    name, sizes = family
    model = _model(name, neuron=neuron, steps=steps, levels=levels, **sizes)
    shape = (batch, steps, 2, height, width) if frames else (batch, 2, height, width)
    x = torch.randn(shape) * 2
    wake(model, x)
    net = ss.deploy(model, x, weight_bits=weight_bits)
    result = net.verify(x, against=("spikes", *NATIVE, "training"))
    assert result.mismatches == 0, result.table()
    if sizes.get("rep_conv") != "spike_driven":
        # On these few pixels a chain of three neurons may fall silent; quantised networks of that
        # form, with none silent, are compared in tests/passes/test_quantization.py.
        assert len(result.silent) <= most_silent(neuron, len(result.layers)), result.table()
    assert torch.equal(net(x), net.spikes(x))


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("levels", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "name", without(SMALL, SEGMENTERS | {"spikformer*_tiny": "below, with one neuron"})
)
def test_no_mismatch_with_every_neuron_firing(name: str, levels: int, steps: int) -> None:
    model = ss.create_model(name, num_classes=10, neuron="i_lif", levels=levels, steps=steps)
    x = torch.rand(2, 3, 32, 32) * 3
    wake(model, x)
    net = ss.deploy(model, x)
    result = net.verify(x, against=("spikes", *NATIVE))
    assert result.silent == []
    assert result.equal, result.table()
    assert len(result.layers) == len(net.graph.neurons)


@pytest.mark.parametrize("name", fnmatch.filter(SMALL, "spikformer*_tiny"))
def test_the_tiny_spikformers_too(name: str) -> None:
    model = _model(name, neuron="lif", steps=2)
    x = torch.randn(2, 2, 32, 32) * 2
    wake(model, x)
    result = ss.deploy(model, x).verify(x, against=("spikes", *NATIVE))
    assert result.silent == []
    assert result.equal, result.table()


def test_logits_of_a_mean_over_pixels_have_the_scale_of_their_size() -> None:
    model = _model("spikformer_nano").double()
    x = torch.randn(4, 2, 16, 16).double()
    wake(model, x)
    net = ss.deploy(model, x, max_size=(32, 16))
    small = ss.deploy(model, x)
    assert net.scale_at((16, 16)) == 2 * net.scale
    assert net.scale_at((32, 16)) == net.scale
    # All spikes that the graph gives: a matter of rounding the classifier alone.
    logits, real = small(x) * small.scale, model(x).detach()
    assert float((logits - real).abs().mean()) < 0.2 * float(real.abs().mean())
    other = ss.create_model("metaspikformer_nano", num_classes=5, in_channels=2)
    net = ss.deploy(wake(other, x.float()), x.float(), max_size=(32, 16))
    assert net.scale_at((16, 16)) == net.scale


def test_a_sample_does_not_depend_on_its_batch_mates_or_on_the_largest_size() -> None:
    model = _model(neuron="lif", steps=2)
    x = torch.randn(4, 2, 16, 16) * 2
    wake(model, x)
    net = ss.deploy(model, x)
    assert torch.equal(net(x), torch.cat([net(one) for one in x.split(1)]))
    larger = ss.deploy(model, x, max_size=(64, 32))
    assert torch.equal(net(x), larger(x))
    assert larger(torch.randn(1, 2, 64, 32)).shape == (1, 5)


def test_rounding_and_thresholds_mean_the_same_for_every_integer() -> None:
    model = _model(neuron="qsd_classification")
    x = torch.randn(4, 2, 16, 16) * 2
    wake(model, x)
    net = ss.deploy(model, x)
    reaches = prove_ranges(net.graph)
    checked = 0
    for node in net.graph.neurons:
        if node.rounding is None:
            continue
        assert agrees(node, node.rounding)
        interval = reaches[node.inputs[0]].interval
        current = torch.arange(int(interval.low.min()), int(interval.high.max()) + 1)
        current = current[:: max(1, len(current) // 4096)]
        gain, offset = node.rounding.gain.view(-1, 1), node.rounding.offset.view(-1, 1)
        rounded = (current.float() * gain + offset).round().clamp(0, node.levels)
        compared = (current.view(1, -1, 1) >= node.thresholds[:, None, :]).sum(-1)
        assert torch.equal(rounded.long(), compared.expand_as(rounded))
        checked += 1
    assert checked > 10


def test_a_changed_threshold_is_caught() -> None:
    model = _model()
    x = torch.randn(4, 2, 16, 16) * 2
    wake(model, x)
    net = ss.deploy(model, x)
    node = next(n for n in net.graph.neurons if n.rounding is not None)
    node.thresholds.sub_(5)
    result = net.verify(x)
    assert not result.equal
    assert result.layers[0].name == node.name
    assert result.layers[0].mismatches["spikes"] > 0


def test_deployed_is_close_to_the_trained_network() -> None:
    model = _model()
    x = torch.randn(8, 2, 16, 16) * 2
    wake(model, x)
    first, *_ = ss.deploy(model, x).verify(x, against=("training",)).layers
    assert first.mismatches["training"] < 0.03 * first.elements


def test_calibration_takes_out_the_mean_error_of_few_bits() -> None:
    torch.manual_seed(0)
    model = _model(depths=(0, 0, 0, 0, 0))
    x = torch.randn(64, 2, 16, 16) * 2
    wake(model, x)
    plain = ss.deploy(model, x, weight_bits=3)
    tuned = ss.deploy(model, x, weight_bits=3, calibration=x.split(16))
    rates = [n.verify(x, against=("training",)).training_mismatch_rate for n in (plain, tuned)]
    assert rates[0] is not None
    assert rates[1] is not None
    assert rates[1] < rates[0]


def test_official_depthwise_then_pointwise_is_two_synapses_and_multiplies() -> None:
    model = _model(separable="official")
    x = torch.randn(2, 2, 16, 16) * 2
    wake(model, x)
    net = ss.deploy(model, x)
    assert net.verify(x).equal
    report = ss.audit(net, x)
    assert not report.spike_driven
    assert report.offenders == [n for n in net.graph.by_name if n.endswith("project.0")]


def test_a_stream_is_as_coarse_as_the_range_proof_asks() -> None:
    model = _model(depths=(0, 0, 0, 0, 0))
    x = torch.randn(4, 2, 16, 16) * 2
    wake(model, x)
    with torch.no_grad():
        *_, last = (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
        last.weight[0] *= 2.0**13
    with pytest.raises(RangeError, match="pool needs"):
        ss.deploy(model, x, stream_bits=10)
    net = ss.deploy(model, x)
    assert net.verify(x).equal
    fine = max(node.interval.bits for node in prove_ranges(net.graph).values())
    assert 30 <= fine <= 32


def test_two_products_of_a_pixel_and_a_weight_fit_into_16_bits() -> None:
    x = torch.randn(1, 2, 16, 16)
    first, second, *_ = (
        node for node in ss.deploy(_model(), x).graph.nodes if isinstance(node, integer.Synapse)
    )
    assert (first.bits, second.bits) == (7, 8)
    assert 2 * 255 * int(first.weight.abs().max()) < 2**15
    assert ss.deploy(_model(), x, weight_bits=4).graph.nodes[1].bits == 4  # type: ignore[union-attr]


@pytest.mark.parametrize("steps", [1, 4])
def test_a_channel_without_weights_is_a_constant(steps: int) -> None:
    model = _model(steps=steps)
    x = torch.randn(4, 2, 16, 16) * 2
    wake(model, x)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight[0] = 0
    assert ss.deploy(model, x).verify(x).equal


class TestErrors:
    def test_an_ann(self) -> None:
        with pytest.raises(NotDeployableError, match='neuron="i_lif"'):
            ss.deploy(_model(neuron="relu"), torch.randn(1, 2, 16, 16))

    def test_a_leak_that_no_shift_computes(self) -> None:
        model = _model(neuron="i_lif", steps=2)
        for module in model.modules():
            if isinstance(module, ss.neurons.Neuron):
                rule = module._rule
                break
        changed = replace(rule, dynamics=replace(rule.dynamics, retain=0.3))
        module._rule = module._eval_rule = changed
        with pytest.raises(NotDeployableError, match=r"retains 0\.3 .* train with 0\.25"):
            ss.deploy(model, torch.randn(1, 2, 16, 16))

    def test_a_branch_that_rounds_to_nothing(self) -> None:
        model = _model(layer_scale=1e-9)
        with pytest.raises(NotDeployableError, match="too small for the residual stream"):
            ss.deploy(model, torch.randn(1, 2, 16, 16))

    def test_too_large_inputs_for_32_bits(self) -> None:
        with pytest.raises(RangeError, match=r"needs \d+ bits for inputs of 65536x65536"):
            ss.deploy(_model(), torch.randn(1, 2, 16, 16), max_size=(65536, 65536))

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((2, 16, 16), "batch dimension"),
            ((1, 3, 16, 16), "3 channels"),
            ((1, 2, 15, 16), "stride"),
            ((1, 2, 32, 16), "larger max_size"),
            ((1, 3, 2, 16, 16), "3 time steps"),
        ],
    )
    def test_inputs(self, shape: tuple[int, ...], message: str) -> None:
        net = ss.deploy(_model(), torch.randn(1, 2, 16, 16))
        with pytest.raises(ValueError, match=message):
            net(torch.randn(shape))

    def test_unknown_form(self) -> None:
        net = ss.deploy(_model(), torch.randn(1, 2, 16, 16))
        with pytest.raises(ValueError, match="tflite"):
            net.verify(torch.randn(1, 2, 16, 16), against=("tflite",))

    def test_settings(self) -> None:
        with pytest.raises(ValueError, match="weight_bits"):
            ss.deploy(_model(), torch.randn(1, 2, 16, 16), weight_bits=9)


def test_the_table_names_every_neuron() -> None:
    net = ss.deploy(_model(), torch.randn(2, 2, 16, 16))
    table = net.verify(torch.randn(2, 2, 16, 16), against=("spikes", *NATIVE, "training")).table()
    assert all(node.name in table for node in net.graph.nodes if isinstance(node, integer.Neuron))
    assert f"integer == {' == '.join(('spikes', *NATIVE))}: 0 mismatches" in table

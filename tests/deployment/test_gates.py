"""Gates, sums of spikes and maxima of currents, from training to every runtime."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.attention import Gate, SpikeSum
from spikesight.attention.gate import gate, spike_sum
from spikesight.deployment.export.exporting import ExportError
from spikesight.deployment.export.nir import to_nir
from spikesight.deployment.runtime.integers import IntegerExecutor
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.deployment.spk.check import InvalidNetworkError, check_network
from spikesight.errors import UserError
from spikesight.graph import Graph, Neuron, Synapse, execute, integer_vocabulary as integer
from spikesight.graph.counts import Counts, counts_of
from spikesight.models.masked_image import run_visible
from spikesight.passes.calibration import Calibration
from spikesight.passes.integerisation import IntegerSettings, NotDeployableError, integerise
from spikesight.passes.ranges import RangeError, prove_ranges
from tests.conftest import wake
from tests.deployment.gated_networks import GatedNetwork, GateForm
from tests.deployment.native_forms import NATIVE

NEURONS = [("lif", 1), ("i_lif", 4), ("ni_lif", 4)]
FORMS: list[GateForm] = ["mask", "token", "channel"]


def _awake(
    form: GateForm, neuron: str, levels: int, steps: int, **options: Any
) -> tuple[GatedNetwork, Tensor]:
    torch.manual_seed(0)
    model = GatedNetwork(form, neuron=neuron, levels=levels, steps=steps, **options)
    x = torch.rand(4, 3, 16, 24) * 3
    wake(model, x)
    return model, x


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("neuron", "levels"), NEURONS)
@pytest.mark.parametrize("form", FORMS)
def test_a_whole_life(form: GateForm, neuron: str, levels: int, steps: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    model, x = _awake(form, neuron, levels, steps)
    if neuron != "ni_lif":
        ss.quantize(model, 4)
        wake(model, x)
    checked = ss.verify(model, x)
    assert checked.equal, checked.table()
    assert checked.silent == []
    net = ss.deploy(model, x)
    compared = net.verify(x, against=("spikes", *NATIVE, "onnx", "openvino", "training"))
    assert compared.mismatches == 0, compared.table()
    assert compared.silent == []
    assert not any(compared.shipped.values())
    audited = ss.audit(net, x)
    assert audited.spike_driven
    assert {"gate", "spike sum", "maximum"} <= {layer.kind for layer in audited.layers}
    for report in (ss.energy(model, x), ss.energy(net, x)):
        layers = {layer.name: layer for layer in report.layers}
        assert layers["attention.gate"].multiplies == 0
        assert layers["attention.gate"].twin_macs > 0
        assert layers["attention.sum"].accumulates > 0
    net.save(tmp_path / "net.spk")
    assert torch.equal(ss.Deployed.load(tmp_path / "net.spk")(x), net(x))


@pytest.mark.parametrize("form", FORMS)
def test_frames_and_streams(form: GateForm) -> None:
    model, _ = _awake(form, "lif", 1, 3)
    frames = torch.rand(2, 3, 3, 16, 16) * 3
    assert ss.verify(model, frames).equal
    net = ss.deploy(model, frames)
    assert net.verify(frames, against=("spikes", *NATIVE)).mismatches == 0
    going = ss.stream(model)
    for frame in frames.unbind(1):
        going(frame)
    with torch.no_grad():
        torch.testing.assert_close(going.average, model(frames))


def _on_a_grid(graph: Graph) -> Graph:
    """Weights and biases of few bits, so that the integers round nothing."""

    def rounded(node: Any) -> Any:
        if not isinstance(node, Synapse):
            return node
        factors = []
        for factor in node.factors:
            step = 2.0 ** -math.ceil(math.log2(7 / float(factor.weight.abs().max())))
            weight = (factor.weight / step).round().clamp(-8, 7) * step
            bias = None if factor.bias is None else (factor.bias / step).round() * step
            steps = torch.full((len(weight),), step, dtype=weight.dtype)
            factors.append(replace(factor, weight=weight, bias=bias, step=steps))
        return replace(node, factors=tuple(factors))

    return replace(graph, nodes=tuple(map(rounded, graph.nodes)))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(("neuron", "levels"), [*NEURONS, ("i_lif", 1)])
@pytest.mark.parametrize("form", FORMS)
def test_what_needs_no_rounding_deploys_as_trained(
    form: GateForm, neuron: str, levels: int, steps: int
) -> None:
    model, x = _awake(form, neuron, levels, steps)
    x = (x[..., :16] * 16).round() / 16
    graph = _on_a_grid(ss.fold(ss.trace(model.double())))
    integers = integerise(graph, IntegerSettings((16, 16)), Calibration(float(x.abs().max())))
    expected, _ = IntegerExecutor(integers).observe(x)
    counts: dict[str, Tensor] = {}

    def record(node: Any, _: object, output: Tensor) -> None:
        if isinstance(node, Neuron):
            counts[node.name] = output.float()

    logits = execute(graph, x.double(), record)
    for name, own in expected.items():
        assert torch.equal(own, counts[name]), name
        assert own.any()
        assert name == "head_neuron" or float(own.mean()) < levels
    assert torch.equal(IntegerExecutor(integers)(x) * integers.output.scale, logits)
    assert torch.equal(SpikeExecutor(integers)(x), IntegerExecutor(integers)(x))


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_learns(form: GateForm) -> None:
    model, x = _awake(form, "lif", 1, 2)
    model.train()
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_gate_of_heads_covers_their_channels() -> None:
    x, by = torch.rand(2, 6, 3, 4), torch.rand(2, 3, 3, 4)
    assert torch.equal(gate(x, by), x * by.repeat_interleave(2, 1))
    assert torch.equal(gate(x, by[..., :1, :1]), x * by[..., :1, :1].repeat_interleave(2, 1))
    assert torch.equal(gate(x, by[:, :1]), x * by[:, :1])
    assert torch.equal(spike_sum(x, "channels", 3), x.view(2, 3, 2, 3, 4).sum(2))
    assert torch.equal(spike_sum(x, "tokens"), x.sum((2, 3))[..., None, None])


@pytest.mark.parametrize("shape", [(2, 4, 3, 4), (2, 6, 3, 1), (2, 6, 4, 3), (2, 12, 3, 4), (2, 6)])
def test_a_gate_that_fits_not_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"a gate of shape .* fits no map of shape .*; pass"):
        Gate()(torch.rand(2, 6, 3, 4), torch.rand(shape))


def test_sums_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="over is 'pixels'; pass"):
        SpikeSum("pixels")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="heads is 2"):
        SpikeSum("tokens", 2)
    with pytest.raises(UserError, match="heads is 0"):
        SpikeSum("channels", 0)
    with pytest.raises(UserError, match="heads=4 does not divide the 6 channels"):
        SpikeSum("channels", 4)(torch.rand(1, 6, 2, 2))


def test_the_product_of_counts_is_each_sub_step_with_each() -> None:
    """Averaging k_d * v_d over d would be wrong."""
    generator = torch.Generator().manual_seed(0)
    keys, values = torch.randint(0, 5, (2, 3, 4, 5, 5), generator=generator).double()
    spikes = [[(count >= d).double() for d in range(1, 5)] for count in (keys, values)]
    met = torch.stack([gate(k, v) for k in spikes[0] for v in spikes[1]])
    assert bool(((met == 0) | (met == 1)).all())
    assert torch.equal(met.sum(0), keys * values)
    in_step = torch.stack([4 * gate(k, v) for k, v in zip(*spikes, strict=True)])
    assert not torch.equal(in_step.sum(0), keys * values)


def test_counts_of_gates() -> None:
    model = GatedNetwork("mask", neuron="ni_lif", levels=4)
    counts = counts_of(ss.trace(model))
    assert counts["attention.meet"] == Counts(16, 1 / 16, ordered=False)
    assert "attention.sum" not in counts
    assert Counts(1, 1.0, ordered=True) * Counts(4, 0.25, ordered=True) == Counts(
        4, 0.25, ordered=True
    )
    folded = ss.fold(ss.trace(model)).by_name
    assert folded["attention.sum"].scale == 1 / 16  # type: ignore[attr-defined]


def test_what_gates_and_sums_cost() -> None:
    """An AND costs a comparison; counts on both sides add; a sum adds its spikes."""
    values: dict[str, Tensor] = {}
    for levels in (1, 4):
        model, x = _awake("mask", "i_lif", levels, 1)
        net = ss.deploy(model, x)
        IntegerExecutor(net.graph)(x, lambda node, y: values.__setitem__(node.name, y))
        audited = {layer.name: layer.operations for layer in ss.audit(net, x).layers}
        meet, total = audited["attention.meet"], audited["attention.sum"]
        assert total.accumulates == float(values["attention.meet"].sum()) / len(x)
        expanded = float(values["attention.key_neuron"].sum()) / len(x)
        assert meet.accumulates == (expanded if levels > 1 else 0)
        assert meet.comparisons == (0 if levels > 1 else values["attention.meet"][0].numel())
        assert not any(part.multiplies for part in (meet, total))
        spiking = {layer.name: layer for layer in ss.energy(net, x).layers}["attention.meet"]
        assert spiking.accumulates == meet.accumulates
        assert spiking.macs == values["attention.meet"][0].numel()
    twin = GatedNetwork("mask", neuron="relu").eval()
    layers = {layer.name: layer for layer in ss.energy(twin, x).layers}
    assert layers["attention.meet"].multiplies == layers["attention.meet"].macs == 8 * 4 * 6
    assert layers["attention.sum"].multiplies == layers["attention.sum"].accumulates == 0


class _Changed(GatedNetwork):
    """Gates or sums what is no spikes, or pools a product."""

    def __init__(self, change: str, **options: Any) -> None:
        super().__init__("mask", **options)
        self.change = change
        self.extra_gate, self.extra_sum = Gate(), SpikeSum("tokens")
        self.extra_pool, self.extra_neuron = nn.MaxPool2d(3, 1, 1), self.stem_neuron

    def forward(self, x: Tensor) -> Tensor:
        current = self.stem_pool(self.stem(self.presentation(x)))
        spikes = self.stem_neuron(current)
        if self.change == "gate":
            spikes = self.extra_gate(current, spikes)
        elif self.change == "sum":
            spikes = self.extra_gate(spikes, self.extra_neuron(self.extra_sum(current)))
        else:
            spikes = self.extra_pool(self.extra_gate(spikes, spikes))
        stream = self.main_pool(self.main(spikes)) + self.shortcut_pool(self.shortcut(spikes))
        logits: Tensor = self.readout(self.head(self.head_neuron(self.pool(stream))))
        return logits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gate", "extra_gate reads stem_pool, which is not spikes"),
        ("sum", "extra_sum reads stem_pool, which is not spikes"),
        ("pool", "extra_pool takes the maximum of sums of counts or products"),
    ],
)
def test_what_has_no_integer_form_is_refused(change: str, message: str) -> None:
    model = _Changed(change, neuron="i_lif", levels=4)
    x = torch.rand(4, 3, 16, 16) * 3
    wake(model, x)
    with pytest.raises(NotDeployableError, match=message):
        ss.deploy(model, x)
    if change == "pool":
        with pytest.raises(UserError, match=message):
            ss.unroll(ss.trace(model))
    else:
        assert ss.verify(model, x).equal


def test_binary_products_may_be_pooled() -> None:
    model = _Changed("pool", neuron="lif", steps=2)
    x = torch.rand(4, 3, 16, 16) * 3
    wake(model, x)
    assert ss.verify(model, x).equal
    assert ss.deploy(model, x).verify(x).mismatches == 0


def _neuron(name: str, source: str, levels: int, steps: int = 1, **fields: Any) -> integer.Neuron:
    zero = torch.zeros(1, dtype=torch.int64)
    given: dict[str, Any] = {
        "thresholds": torch.arange(1, levels + 1)[None],
        "step": zero,
        "bias": zero,
        "shift": 0,
        "leak": integer.Leak("none"),
        "reset": "soft",
        "per_pixel": False,
    }
    return integer.Neuron(name, (source,), steps, levels, **(given | fields))


def _synapse(name: str, source: str, weight: Tensor) -> integer.Synapse:
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    kernel = weight.to(torch.int8)
    return integer.Synapse(name, (source,), kernel, 8, 1, kernel.shape[-1] // 2, 1, zeros, zeros)


def _graph(
    *middle: integer.Node, levels: int = 255, side: int = 8, steps: int = 1
) -> integer.Graph:
    """Image, synapse "current", neuron "counts", what is between, "last" pooled and put out."""
    return integer.Graph(
        (
            integer.Input("image", (), steps, 2, 1, 5, -128, 127),
            _synapse("current", "image", torch.tensor([[[[1]], [[2]]], [[[-1]], [[1]]]])),
            _neuron("counts", "current", levels, steps),
            *middle,
            integer.Pool("pool", ("last",)),
            integer.Output("out", ("pool",), steps, 1.0),
        ),
        (side, side),
    )


def test_ranges_bound_gates_and_sums() -> None:
    gated = integer.Gate("gate", ("counts", "counts"))
    total = integer.SpikeSum("sum", ("gate",), "tokens")
    graph = _graph(gated, total, _neuron("last", "sum", 2))
    reaches = prove_ranges(graph)
    assert reaches["gate"].interval.magnitude == 255**2
    assert reaches["sum"].interval.high.tolist() == [255**2 * 64] * 2
    per_head = integer.SpikeSum("sum", ("gate",), "channels", 1)
    by_channel = _graph(gated, per_head, _neuron("last", "sum", 2))
    assert prove_ranges(by_channel)["sum"].interval.high.tolist() == [255**2 * 2]
    x = torch.rand(2, 2, 8, 8) * 8 - 4
    for network in (graph, by_channel):
        check_network(network)
        assert torch.equal(IntegerExecutor(network)(x), SpikeExecutor(network)(x))
    with pytest.raises(RangeError, match="sum needs 33 bits for inputs of 256x256 pixels"):
        prove_ranges(replace(graph, max_size=(256, 256)))
    deeper = _graph(
        gated,
        integer.Gate("again", ("gate", "counts")),
        integer.SpikeSum("sum", ("again",), "channels"),
        _neuron("last", "sum", 2),
    )
    with pytest.raises(InvalidNetworkError, match="'again' sums more spikes per time step"):
        check_network(deeper)


def test_runtimes_that_cannot_be_exact_say_why() -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nir")
    from spikesight.deployment.export.openvino import to_openvino

    gated = integer.Gate("gate", ("counts", "counts"))
    total = integer.SpikeSum("sum", ("gate",), "tokens")
    graph = _graph(gated, total, _neuron("last", "sum", 2), side=32)
    with pytest.raises(ExportError, match="sum needs 27 bits, more than OpenVINO's float32 holds"):
        to_openvino(graph, (32, 32))
    with pytest.raises(ExportError, match=r"gate \(a product of spikes .* sum \(a sum of spikes"):
        to_nir(graph, (8, 8))


@pytest.mark.parametrize("levels", [8, 32])
def test_openvino_takes_long_chains_of_comparisons(levels: int) -> None:
    """Its compiler of elementwise operators runs out of registers where shapes are fixed."""
    pytest.importorskip("openvino")
    from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino

    graph = _graph(
        integer.SpikeSum("sum", ("counts",), "channels"),
        _neuron("gates", "sum", levels),
        integer.Gate("gate", ("counts", "gates")),
        integer.Add("both", ("gate", "counts")),
        _synapse("next", "both", torch.ones(2, 2, 3, 3)),
        _neuron("last", "next", 4),
        levels=3,
    )
    x = torch.rand(3, 2, 8, 8) * 8 - 4
    runtime = OpenVinoRuntime(to_openvino(graph, (8, 8)), 1, (3, 2, 8, 8))
    assert not runtime.fell_back
    assert torch.equal(runtime(x), IntegerExecutor(graph)(x))


@pytest.mark.parametrize("steps", [1, 2])
def test_the_maximum_of_currents_is_that_of_what_sub_steps_accumulate(steps: int) -> None:
    """Not the sum of the maxima of each sub-step."""
    weight = torch.randint(-9, 10, (2, 2, 3, 3), generator=torch.Generator().manual_seed(0))
    graph = _graph(
        _synapse("second", "counts", weight),
        integer.MaxPool("highest", ("second",), 3, 2, 1),
        _neuron("last", "highest", 4, steps, thresholds=torch.arange(10, 50, 10)[None]),
        levels=4,
        steps=steps,
    )
    x = torch.rand(3, 2, 8, 8) * 2 - 0.5
    values: dict[str, Tensor] = {}
    logits = IntegerExecutor(graph)(x, lambda node, y: values.__setitem__(node.name, y))
    assert torch.equal(SpikeExecutor(graph)(x), logits)
    assert 0 < float(values["last"].mean()) < 4
    counts = values["counts"]
    by_sub_step = sum(
        nn.functional.max_pool2d(
            nn.functional.conv2d((counts >= d).float(), weight.float(), padding=1), 3, 2, 1
        )
        for d in range(1, 5)
    )
    assert not torch.equal(by_sub_step, values["highest"])


def test_hidden_tokens_leave_a_sum_as_large() -> None:
    total = SpikeSum("tokens")
    visible = torch.zeros(1, 4, 4, dtype=torch.bool)
    visible[:, ::2] = True
    x = torch.ones(1, 3, 4, 4)
    assert torch.equal(run_visible(total, x, visible), total(x))


def test_files_without_these_nodes_are_as_before(tmp_path: Path) -> None:
    from tests.deployment.spk_files import least_file, take_apart

    assert take_apart(least_file(1)).description["vocabulary"] == 1
    assert take_apart(least_file("gates")).description["vocabulary"] == 2

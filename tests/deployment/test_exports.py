"""Exports compute every count and logit of the integer network, in their own runtimes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from spikesight.deployment.export.exactness import ExportError, refuse_difference
from spikesight.deployment.export.self_test import SelfTest
from spikesight.deployment.runtime.integers import Counts, IntegerExecutor
from spikesight.deployment.runtime.spikes import SpikeExecutor
from spikesight.graph import integer_vocabulary as integer
from spikesight.passes.ranges import EXACT_IN_FLOAT32, prove_ranges
from spikesight.passes.thresholds import agrees
from tests.deployment.small_networks import deployed

onnx = pytest.importorskip("onnx")
openvino = pytest.importorskip("openvino")

from spikesight.deployment.export.onnx import OnnxRuntime, to_onnx  # noqa: E402
from spikesight.deployment.export.openvino import OpenVinoRuntime, to_openvino  # noqa: E402

NETWORKS: dict[str, dict[str, Any]] = {
    "i_lif D=4": {"neuron": "i_lif", "levels": 4},
    "i_lif D=8 official": {"neuron": "i_lif", "levels": 8, "separable": "official"},
    "ie_lif D=4 neurons in RepConv": {
        "neuron": "ie_lif",
        "rep_conv": "spike_driven",
        "mprf": True,
    },
    "lif T=4 official": {"neuron": "lif", "steps": 4, "separable": "official"},
    "ni_lif T=2 D=3": {"neuron": "ni_lif", "steps": 2, "levels": 3},
    "spikformer lif T=4": {"name": "spikformer_nano", "neuron": "lif", "steps": 4},
    "spikformer_v2 D=4": {"name": "spikformer_v2_nano", "neuron": "i_lif", "levels": 4},
    "spikformer D=3 pools currents": {
        "name": "spikformer_nano",
        "neuron": "ni_lif",
        "levels": 3,
        "pool_of": "currents",
    },
}
RUNTIMES = ("onnx", "openvino", "openvino float32")


def _runtime(name: str, graph: integer.Graph, size: tuple[int, int], **options: Any) -> Any:
    if name == "onnx":
        return OnnxRuntime(to_onnx(graph, size, observe=True, **options), threads=1)
    fast = name == "openvino"
    return OpenVinoRuntime(to_openvino(graph, size, observe=True, fast=fast, **options), threads=1)


def _require_equal(graph: integer.Graph, name: str, runtime: Any, x: Tensor) -> Counts:
    counts, logits = runtime.observe(x)
    assert set(counts) == {neuron.name for neuron in graph.neurons}
    assert logits.dtype == torch.int32
    refuse_difference(graph, x, name, counts, logits)
    return dict(counts)


@pytest.mark.parametrize(
    ("size", "runtime"),
    [(28, "onnx"), (28, "openvino"), (28, "openvino float32"), (32, "onnx"), (32, "openvino")],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_count_and_logit_is_equal(name: str, size: int, runtime: str) -> None:
    graph = deployed(size, **NETWORKS[name])
    exported = _runtime(runtime, graph, (size, size))
    for batch in (1, 3):
        x = torch.rand(batch, 3, size, size) * 4 - 1
        counts = _require_equal(graph, runtime, exported, x)
        assert all(bool(count.any()) for count in counts.values())
    _require_equal(graph, runtime, exported, SelfTest.of(graph, (size, size)).inputs())


@pytest.mark.parametrize("runtime", RUNTIMES[:2])
def test_frames_and_sizes_that_are_not_square(runtime: str) -> None:
    graph = deployed(32, neuron="lif", steps=4)
    exported = _runtime(runtime, graph, (16, 28), frames=True)
    for batch in (1, 2):
        x = torch.rand(batch, 4, 3, 16, 28) * 4 - 1
        _require_equal(graph, runtime, exported, x)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_attention_whose_sums_exceed_float32(runtime: str) -> None:
    """Its projection is also where OpenVINO 2026.4 spoils an int8 convolution that two read."""
    graph = deployed(28, neuron="i_lif", levels=32)
    reach = prove_ranges(graph)["trunk.3.1.attention.product"].interval
    assert reach.magnitude > EXACT_IN_FLOAT32
    x = torch.rand(2, 3, 28, 28) * 4 - 1
    _require_equal(graph, runtime, _runtime(runtime, graph, (28, 28)), x)


def test_a_runtime_of_one_shape_and_keys_as_signed_bytes() -> None:
    graph = deployed(28, neuron="i_lif", levels=4)
    model = to_openvino(graph, (28, 28))
    runtime = OpenVinoRuntime(model, threads=1, shape=(2, 3, 28, 28))
    x = torch.rand(2, 3, 28, 28) * 4 - 1
    refuse_difference(graph, x, "OpenVINO", {}, runtime(x))
    assert model.inputs[0].partial_shape[0].is_dynamic
    low_ends = [
        float(op.input_value(1).get_node().data.item())
        for op in model.get_ops()
        if op.get_type_name() == "FakeQuantize" and op.get_friendly_name().endswith("key_neuron")
    ]
    attentions = sum(isinstance(node, integer.Attention) for node in graph.nodes)
    assert low_ends == [-128.0] * attentions
    assert attentions > 0


def _neuron(name: str, source: str, **changes: Any) -> integer.Neuron:
    neuron = integer.Neuron(
        name,
        (source,),
        steps=1,
        levels=1,
        thresholds=torch.tensor([[1]]),
        step=torch.tensor([0]),
        bias=torch.tensor([0]),
        shift=0,
        leak=integer.Leak("none"),
        reset="soft",
        per_pixel=False,
    )
    return replace(neuron, **changes)


def _synapse(name: str, source: str, weight: Tensor, **changes: Any) -> integer.Synapse:
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    synapse = integer.Synapse(
        name,
        (source,),
        weight=weight.to(torch.int8),
        bits=8,
        stride=1,
        padding=weight.shape[-1] // 2 if weight.ndim == 4 else 0,
        groups=1,
        shift=zeros,
        bias=zeros,
    )
    return replace(synapse, **changes)


def _wide_network(reset: str, leak: integer.Leak) -> integer.Graph:
    """Two time steps whose currents, membranes and sums need 26 to 32 bits, and reach them."""
    generator = torch.Generator().manual_seed(3)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    levels = 1 if reset == "hard" else 3
    first = _neuron(
        "first",
        "stem",
        steps=2,
        levels=100,
        thresholds=(torch.arange(100) * 40 - 3900)[None],
    )
    second = _neuron(
        "second",
        "sum",
        steps=2,
        levels=levels,
        thresholds=integers(2**22, 2**25, 4, levels).sort(1).values,
        step=integers(2**22, 2**24, 4),
        bias=integers(-(2**23), 2**23, 4),
        shift=1,
        leak=leak,
        reset=reset,
    )
    head = replace(
        second,
        name="head_neuron",
        inputs=("pool",),
        step=integers(2**20, 2**21, 4),
        shift=0,
        per_pixel=True,
    )
    return integer.Graph(
        (
            integer.Input("image", (), 2, 2, 1, 5, -128, 127),
            _synapse("stem", "image", integers(-20, 128, 2400, 2, 3, 3)),
            first,
            _synapse(
                "wide",
                "first",
                integers(100, 128, 4, 2400, 1, 1),
                shift=torch.tensor([-13, -1, 0, 1], dtype=torch.int8),
                bias=torch.tensor([4096, -5, 2**22 + 1, 0], dtype=torch.int32),
            ),
            integer.Add("sum", ("wide", "wide")),
            second,
            integer.Pool("pool", ("sum",)),
            head,
            _synapse("head", "head_neuron", integers(-127, 128, 5, 4)),
            integer.Output("logits!", ("head",), 2, 1.0),
        ),
        (3, 2),
    )


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("reset", "leak"),
    [
        ("soft", integer.Leak("none")),
        ("soft", integer.Leak("all")),
        ("soft", integer.Leak("rest", 14)),
        ("hard", integer.Leak("share", 2)),
        ("hard", integer.Leak("rest", 1)),
    ],
)
def test_values_beyond_float32(reset: str, leak: integer.Leak, runtime: str) -> None:
    graph = _wide_network(reset, leak)
    exported = _runtime(runtime, graph, (3, 2))
    largest: dict[str, float] = {}
    counts: Counts = {}
    for batch in (1, 3):
        x = torch.rand(batch, 2, 3, 2) * 6 - 2
        IntegerExecutor(graph)(
            x, lambda node, y: largest.__setitem__(node.name, float(y.abs().max()))
        )
        assert min(largest[name] for name in ("wide", "sum", "pool")) > EXACT_IN_FLOAT32
        counts = _require_equal(graph, runtime, exported, x)
    assert all(len(count.unique()) > 1 for count in counts.values())


@pytest.mark.parametrize("runtime", ["spikes", *RUNTIMES])
def test_wide_currents_whose_sum_is_short(runtime: str) -> None:
    ones = torch.ones(2, 2, 1, 1)
    bias = torch.tensor([2**25 + 1, -(2**26) - 3])
    graph = integer.Graph(
        (
            integer.Input("image", (), 1, 2, 1, 5, -128, 127),
            _synapse("up", "image", ones, bias=bias),
            _synapse("down", "image", ones, bias=-bias),
            integer.Add("sum", ("up", "down")),
            _neuron("neuron", "sum", levels=100, thresholds=torch.arange(-50, 50)[None]),
            integer.Pool("pool", ("neuron",)),
            _synapse("head", "pool", torch.ones(3, 2)),
            integer.Output("out", ("head",), 1, 1.0),
        ),
        (6, 5),
    )
    reaches = {name: reach.interval.magnitude for name, reach in prove_ranges(graph).items()}
    assert reaches["sum"] < EXACT_IN_FLOAT32 < min(reaches["up"], reaches["down"])
    x = torch.randn(3, 2, 6, 5)
    pixels = (x * 32).round().clamp(-128, 127).sum(1, keepdim=True)
    expected = (2 * pixels + 51).clamp(0, 100).expand(-1, 2, -1, -1)
    counts, logits = IntegerExecutor(graph).observe(x)
    assert torch.equal(counts["neuron"], expected)
    if runtime == "spikes":
        assert torch.equal(SpikeExecutor(graph)(x), logits)
    else:
        _require_equal(graph, runtime, _runtime(runtime, graph, (6, 5)), x)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("neuron", ["i_lif", "lif"])
def test_images_in_double_precision_are_read_as_runtimes_read_them(
    neuron: str, runtime: str
) -> None:
    """A double just above a tie is the tie in float32, which rounds to even."""
    graph = deployed(28, neuron=neuron, steps=2 if neuron == "lif" else 1)
    ties = torch.randint(-100, 100, (2, 3, 28, 28)) + 0.5
    x = (ties.double() + 1e-9) * 2.0**-graph.input.shift
    own, short = (IntegerExecutor(graph)(image) for image in (x, x.float()))
    assert torch.equal(own, short)
    assert torch.equal(SpikeExecutor(graph)(x), short)
    _require_equal(graph, runtime, _runtime(runtime, graph, (28, 28)), x)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_current_that_two_neurons_read(runtime: str) -> None:
    """Their gains cannot enter its kernel, one of them is none at all."""
    weight = torch.randint(-127, 128, (8, 2, 3, 3))
    halves, ties = torch.tensor([[1, 3, 5, 7]]), torch.tensor([[1, 0, 1, 0]])
    first, second = (
        _neuron(
            f"neuron{i}",
            "stem",
            levels=4,
            # Half a level, and one more where a tie rounds down.
            thresholds=halves * 2 ** (bits - 1) + ties,
            rounding=integer.Rounding(torch.tensor([2.0**-bits]), torch.tensor([0.0])),
        )
        for i, bits in enumerate((7, 10))
    )
    assert first.rounding is not None
    assert agrees(first, first.rounding)
    second = replace(second, rounding=None)
    graph = integer.Graph(
        (
            integer.Input("image", (), 1, 2, 1, 5, -128, 127),
            _synapse("to_counts", "image", weight),
            _neuron(
                "counts", "to_counts", levels=4, thresholds=torch.tensor([[1, 500, 900, 3000]])
            ),
            _synapse("stem", "counts", torch.randint(-127, 128, (8, 8, 3, 3))),
            first,
            second,
            _synapse("branch0", "neuron0", torch.randint(-127, 128, (8, 8, 1, 1))),
            _synapse("branch1", "neuron1", torch.randint(-127, 128, (8, 8, 1, 1))),
            integer.Add("sum", ("branch0", "branch1")),
            integer.Pool("pool", ("sum",)),
            _neuron("last", "pool", per_pixel=True),
            _synapse("head", "last", torch.randint(-127, 128, (5, 8))),
            integer.Output("out", ("head",), 1, 1.0),
        ),
        (6, 6),
    )
    x = torch.randn(3, 2, 6, 6)
    counts = _require_equal(graph, runtime, _runtime(runtime, graph, (6, 6)), x)
    assert not torch.equal(counts["neuron0"], counts["neuron1"])


def test_openvino_is_asked_to_multiply_in_int8() -> None:
    """Whether it does is the plugin's choice: that no pair of products overflows is not."""
    graph = deployed(28, neuron="i_lif", levels=4)
    ops = to_openvino(graph, (28, 28)).get_ops()
    synapses = [node for node in graph.nodes if isinstance(node, integer.Synapse)]
    kernels = [op for op in ops if op.get_element_type() == openvino.Type.i8]
    assert len(kernels) == len(synapses)
    for node, peak in zip(synapses, [255] + [4] * len(synapses), strict=False):
        assert 2 * peak * int(node.weight.long().abs().max()) < 2**15
    marks = [op for op in ops if op.get_type_name() == "FakeQuantize"]
    assert len(marks) >= len({node.inputs[0] for node in synapses})
    plain = to_openvino(graph, (28, 28), fast=False).get_ops()
    assert not any(op.get_type_name() == "FakeQuantize" for op in plain)


def test_image_weights_of_eight_bits_are_not_multiplied_in_int8() -> None:
    """Pairs of products would fill more than 16 bits, in which some processors add them."""
    graph = integer.Graph(
        (
            integer.Input("image", (), 1, 2, 1, 5, -128, 127),
            _synapse("stem", "image", torch.full((8, 2, 3, 3), 127)),
            integer.Pool("pool", ("stem",)),
            integer.Output("out", ("pool",), 1, 1.0),
        ),
        (6, 6),
    )
    ops = to_openvino(graph, (6, 6)).get_ops()
    assert not any(op.get_type_name() == "FakeQuantize" for op in ops)
    x = torch.full((2, 2, 6, 6), 1e3) * torch.tensor([1, -1]).view(2, 1, 1, 1)
    for threads in (1, 2):
        runtime = OpenVinoRuntime(to_openvino(graph, (6, 6)), threads, fall_back=False)
        assert torch.equal(runtime(x), IntegerExecutor(graph)(x))


def _rounding_ties(name: str, source: str) -> integer.Neuron:
    """Counts round(X / 2): every odd current is a tie."""
    return _neuron(
        name,
        source,
        levels=3,
        thresholds=torch.tensor([[2, 3, 6]]),
        rounding=integer.Rounding(torch.tensor([0.5]), torch.tensor([0.0])),
    )


def test_ties_of_a_neuron_whose_counts_are_added() -> None:
    """OpenVINO 2026.4 took the residual into the convolution and rounded their sum alone."""

    def weight(*shape: int) -> Tensor:
        return torch.randint(-1, 2, shape)

    graph = integer.Graph(
        (
            integer.Input("image", (), 1, 2, 1, 5, -128, 127),
            _synapse("stem", "image", weight(8, 2, 3, 3)),
            _rounding_ties("first", "stem"),
            _synapse("expand", "first", weight(8, 8, 1, 1)),
            _rounding_ties("inside", "expand"),
            _synapse("project", "inside", weight(8, 8, 1, 1)),
            _rounding_ties("second", "project"),
            integer.Add("sum", ("first", "second")),
            _synapse("head", "sum", torch.randint(-127, 128, (5, 8, 1, 1))),
            integer.Pool("pool", ("head",)),
            integer.Output("out", ("pool",), 1, 1.0),
        ),
        (6, 6),
    )
    x = torch.randn(7, 2, 6, 6)
    for threads in (1, 2):
        for shape in (None, tuple(x.shape)):
            runtime = OpenVinoRuntime(to_openvino(graph, (6, 6)), threads, shape, fall_back=False)
            assert torch.equal(runtime(x), IntegerExecutor(graph)(x))


def _counts_of(gain: float, offset: Tensor, levels: int) -> Tensor:
    """The thresholds [C, D] of clamp(round(gain * X + offset), 0, D), found by trying."""
    reached = torch.arange(-100, 101)
    counts = (reached.double() * gain + offset.double()[:, None]).round().clamp(0, levels)
    return torch.stack([reached[(counts < level).sum(1)] for level in range(1, levels + 1)], 1)


@pytest.mark.parametrize(
    ("source", "gain", "levels", "rounds"),
    [("stream", 0.1875, 8, True), ("stream", 0.25, 3, True), ("attention", 0.25, 1, False)],
)
def test_gains_and_offsets_behind_something_else_than_a_convolution(
    source: str, gain: float, levels: int, rounds: bool
) -> None:
    """OpenVINO 2026.4 divided the offset by the gain, and read offsets of other channels."""
    offset = torch.arange(-8, 24) / 8
    form = integer.Rounding(torch.tensor([gain]), offset)
    neuron = _neuron(
        "neuron", source, levels=levels, thresholds=_counts_of(gain, offset, levels), rounding=form
    )
    assert agrees(neuron, form)
    neuron = neuron if rounds else replace(neuron, rounding=None)
    shift = torch.arange(32) % 4 - 2
    graph = integer.Graph(
        (
            integer.Input("image", (), 1, 2, 1, 5, -128, 127),
            _synapse("stem", "image", torch.randint(-1, 2, (32, 2, 3, 3))),
            _rounding_ties("first", "stem"),
            _synapse("stream", "first", torch.randint(-3, 4, (32, 32, 3, 3)), shift=shift),
            integer.Attention("attention", ("first", "first", "first"), 2),
            neuron,
            _synapse("head", "neuron", torch.randint(-127, 128, (5, 32, 1, 1))),
            integer.Pool("pool", ("head",)),
            integer.Output("out", ("pool",), 1, 1.0),
        ),
        (2, 3),
    )
    x = torch.randn(30, 2, 2, 3)
    for shape in (None, tuple(x.shape)):
        runtime = OpenVinoRuntime(to_openvino(graph, (2, 3)), 1, shape, fall_back=False)
        assert torch.equal(runtime(x), IntegerExecutor(graph)(x))


def test_openvino_refuses_logits_beyond_float32() -> None:
    graph = _wide_network("soft", integer.Leak("none"))
    wide = graph.by_name["wide"]
    assert isinstance(wide, integer.Synapse)
    output = integer.Output("out", ("pool",), 2, 1.0)
    short = replace(graph, nodes=(*graph.nodes[:5], integer.Pool("pool", ("sum",)), output))
    with pytest.raises(ExportError, match=r"out needs \d+ bits"):
        to_openvino(short, (3, 2))
    x = torch.rand(2, 2, 3, 2)
    assert torch.equal(OnnxRuntime(to_onnx(short, (3, 2)))(x), IntegerExecutor(short)(x))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_strided_kernel_of_one_pixel(groups: int) -> None:
    """OpenVINO's own stride there is a race of two threads, seen in one of 25 networks built."""
    weight = torch.randint(-9, 10, (4, 4 // groups, 1, 1))
    graph = integer.Graph(
        (
            integer.Input("image", (), 1, 2, 1, 5, -128, 127),
            _synapse("stem", "image", torch.randint(-9, 10, (4, 2, 3, 3))),
            _neuron("stem_neuron", "stem", levels=3, thresholds=torch.arange(1, 300, 100)[None]),
            _synapse("down", "stem_neuron", weight, stride=2, groups=groups),
            _neuron("down_neuron", "down", levels=2, thresholds=torch.tensor([[1, 9]])),
            _synapse("head", "down_neuron", torch.randint(-9, 10, (5, 4, 1, 1))),
            integer.Pool("pool", ("head",)),
            integer.Output("logits", ("pool",), 1, 1.0),
        ),
        (7, 6),
    )
    for runtime in RUNTIMES:
        exported = _runtime(runtime, graph, (7, 6))
        counts = _require_equal(graph, runtime, exported, torch.rand(3, 2, 7, 6) * 6 - 2)
        assert all(len(count.unique()) > 1 for count in counts.values())
    for op in to_openvino(graph, (7, 6)).get_ops():
        if op.get_type_name() in ("Convolution", "GroupConvolution"):
            one_pixel = list(op.input_value(1).get_shape())[-2:] == [1, 1]
            assert not one_pixel or list(op.get_attributes()["strides"]) == [1, 1]

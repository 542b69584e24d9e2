"""A segmenter's .spk file gives it back; what is none is refused. Its ONNX model equals it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spikesight as ss
from spikesight.deployment.network import Deployed
from spikesight.deployment.runtime.sampling import resize
from spikesight.deployment.spk.check import InvalidNetworkError, check_network
from spikesight.graph import integer_vocabulary as integer
from tests.conftest import wake
from tests.deployment.spk_files import difference

SMALL: dict[str, Any] = {
    "trunk_options": {
        "widths": (4, 4, 8, 8, 8),
        "depths": (0, 1, 0, 1, 0),
        "heads": 2,
        "mlp_ratio": 1,
        "separable_kernel": 3,
        "separable": "spike_driven",
        "strides": (2, 2, 2, 1, 1),
        "attention_mean": True,
        "attention_scale": None,
        "norm_gain": None,
    },
    "width": 16,
    "heads": 2,
    "queries": 6,
    "encoder_layers": 1,
    "encoder_hidden": 16,
    "groups": 2,
    "decoder_layers": 2,
    "decoder_hidden": 16,
}


@cache
def network(**options: Any) -> Deployed:
    torch.manual_seed(0)
    model = ss.create_model("spike2former_nano", num_classes=5, **SMALL, **options)
    x = torch.rand(2, 3, 16, 24)
    return ss.deploy(wake(model, x), x)


@pytest.mark.parametrize("options", [{}, {"steps": 2}, {"multiplication_free": True}], ids=str)
def test_a_segmenter_comes_back(options: dict[str, Any], tmp_path: Path) -> None:
    net = network(**options)
    net.save(tmp_path / "net.spk")
    back = Deployed.load(tmp_path / "net.spk")
    assert difference(net.graph, back.graph) is None
    x = torch.rand(2, 3, 16, 24)
    for own, read, spikes in zip(
        net.outputs(x), back.outputs(x), back.spike_outputs(x), strict=True
    ):
        assert torch.equal(own, read)
        assert torch.equal(own, spikes)
    assert back.scales == net.scales
    back.save(tmp_path / "again.spk")
    assert (tmp_path / "again.spk").read_bytes() == (tmp_path / "net.spk").read_bytes()


@cache
def of_pixels() -> Deployed:
    options = {"trunk_options": SMALL["trunk_options"], "width": 8, "head_width": 8}
    model = ss.create_model("spike_fpn_nano", num_classes=5, **options)
    x = torch.rand(2, 3, 16, 24)
    return ss.deploy(wake(model, x), x)


def test_a_segmenter_of_pixels_comes_back(tmp_path: Path) -> None:
    net = of_pixels()
    x = torch.rand(2, 3, 16, 24)
    net.save(tmp_path / "net.spk")
    assert torch.equal(Deployed.load(tmp_path / "net.spk")(x), net(x))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"multiplication_free": True},
        pytest.param({"steps": 2}, marks=pytest.mark.nightly),
    ],
    ids=str,
)
def test_onnx_computes_the_same_counts_and_masks(options: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    net = network(**options)
    x = torch.rand(3, 3, 16, 24)
    report = net.verify(x, against=("onnx",))
    assert report.equal, report.table()
    path = net.export(tmp_path / "net.onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["class_logits", "mask_logits"]
    for own, other in zip(net.outputs(x), session.run(None, {"image": x.numpy()}), strict=True):
        assert torch.equal(own, torch.from_numpy(other))


def test_runtimes_and_a_class_for_every_pixel() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    net = of_pixels()
    report = net.verify(torch.rand(3, 3, 16, 24), against=("onnx", "openvino"))
    assert report.equal, report.table()


def test_openvino_computes_all_maps_of_a_detector_and_writes_them(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    options = {"trunk_options": SMALL["trunk_options"], "finest": 4, "width": 8, "depth": 1}
    model = ss.create_model("spike_det_nano", num_classes=3, **options)
    x = torch.rand(2, 3, 32, 48)
    net = ss.deploy(wake(model, x), x)
    report = net.verify(x, against=("onnx", "openvino"))
    assert report.equal, report.table()
    assert len(report.silent) < len(report.layers)
    path = net.export(tmp_path / "net.xml")
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [next(iter(output.get_names())) for output in compiled.outputs]
    assert names == [f"logits_{number}" for number in range(len(names))]
    outputs = net.outputs(x)
    assert len(names) == len(outputs)
    for own, other in zip(outputs, compiled(x.numpy()).values(), strict=True):
        assert torch.equal(own, torch.from_numpy(other))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
@pytest.mark.parametrize("bits", [18, 30])
def test_openvino_doubles_maps_of_32_bits_exactly(size: tuple[int, int], bits: int) -> None:
    openvino = pytest.importorskip("openvino")
    from spikesight.deployment.export.openvino_arithmetic import Arithmetic, Pair

    exact, shift = Arithmetic(), torch.tensor(bits - 18)
    image = exact.op.parameter([2, 3, *size], np.float32, name="image")
    value = exact.shifted_left(exact.pair(image), shift) if bits > 18 else image
    total = exact.plus(exact.sixteen_times_doubled(value, 3, size), torch.tensor([8]))
    result = exact.shifted_right(total, torch.tensor(4))
    digits = [result.high, result.low] if isinstance(result, Pair) else [result]
    compiled = openvino.compile_model(openvino.Model(digits, [image], "doubled"), "CPU")
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-(2**18), 2**18, (2, 3, *size), generator=generator)
    x[0, 0, 0, 0], x[0, 1, 0, 0] = 2**18, -(2**18)
    found = [torch.from_numpy(v).double() for v in compiled(x.float().numpy()).values()]
    node = integer.Resize("resize", ("x", "like"))
    expected = resize(node, x.double() * 2.0**shift, (2 * size[0], 2 * size[1]))
    joined = found[0] if len(found) == 1 else found[0] * 4096 + found[1]
    assert torch.equal(joined, expected)


def test_runtimes_without_an_exact_form_say_why(tmp_path: Path) -> None:
    for suffix, package, reason in ((".xml", "openvino", "float32 alone"), (".nir", "nir", "no p")):
        pytest.importorskip(package)
        with pytest.raises(ValueError, match=f"is a segmenter's: .*{reason}"):
            network().export(tmp_path / f"net{suffix}")


def changed(
    graph: integer.Graph, kind: type[integer.Node], change: Callable[[Any], integer.Node]
) -> integer.Graph:
    target = next(node for node in graph.nodes if isinstance(node, kind))
    nodes = tuple(change(node) if node is target else node for node in graph.nodes)
    return integer.Graph(nodes, graph.max_size)


WRONG: list[tuple[type[integer.Node], Callable[[Any], integer.Node], str]] = [
    (integer.Position, lambda n: replace(n, channels=18), "four do not divide"),
    (integer.Embedding, lambda n: replace(n, value=n.value.view(2, -1, 1, 1)), "its value is"),
    (integer.Sample, lambda n: replace(n, side=5), "its inputs are"),
    (integer.Sample, lambda n: replace(n, inputs=(*n.inputs[:2], n.inputs[1])), "its inputs are"),
    (integer.MaskProduct, lambda n: replace(n, inhibitory=17), "more channels inhibit"),
    (integer.MaskProduct, lambda n: replace(n, inputs=n.inputs[::-1]), "it reads no queries"),
    (integer.Attention, lambda n: replace(n, mean=False), "per_pixel"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: f"{case[0].__name__}, {case[2]}")
def test_what_is_no_segmenter_is_refused(case: tuple[Any, Any, str]) -> None:
    kind, change, message = case
    graph = network().graph
    check_network(graph)
    with pytest.raises(InvalidNetworkError, match=message):
        check_network(changed(graph, kind, change))

"""A segmenter's .spk file gives it back; what is none is refused. Its ONNX model equals it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import spikesight as ss
from spikesight.deployment.network import Deployed
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


def test_onnx_and_a_class_for_every_pixel() -> None:
    pytest.importorskip("onnxruntime")
    net = of_pixels()
    report = net.verify(torch.rand(3, 3, 16, 24), against=("onnx",))
    assert report.equal, report.table()


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

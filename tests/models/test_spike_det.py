from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.deployment.deployed_model import DeployedModel
from spikesight.detection_outputs import DenseDetection
from spikesight.graph import integer_vocabulary as integer
from spikesight.inference import decode_detections
from spikesight.losses import DetectionLoss
from spikesight.objects import Objects
from tests.conftest import firing_rates, wake
from tests.deployment.native_forms import NATIVE
from tests.models.test_spike_fpn import images
from tests.registered_models import tensors

CLASSES = 5
OPTIONS: list[dict[str, Any]] = [
    {},
    {"steps": 2},
    {"levels": 8},
    {"neuron": "lif", "steps": 4},
    {"coarser": 0, "finest": 4, "depth": 1},
]


def awake(size: tuple[int, int] = (64, 32), **options: Any) -> tuple[nn.Module, Tensor]:
    model = ss.create_model("spike_det_nano", num_classes=CLASSES, **options)
    x = torch.rand(2, 3, *size)
    return wake(model, x), x


@pytest.mark.parametrize(
    ("name", "options"), [*(("spike_det_nano", o) for o in OPTIONS), ("spike_det_tiny", {})]
)
def test_every_neuron_fires_at_the_start(name: str, options: dict[str, Any]) -> None:
    model = ss.create_model(name, num_classes=CLASSES, **options)
    rates = firing_rates(model.train(), images(128))
    assert all(0.003 < rate < 0.6 for rate in rates.values()), rates


@pytest.mark.parametrize("options", [{"steps": 2}, {"neuron": "relu"}], ids=str)
def test_learns_from_every_parameter(options: dict[str, Any]) -> None:
    model = ss.create_model("spike_det_nano", num_classes=CLASSES, **options).train()
    # A level whose pixels are no object's learns no boxes.
    boxes = torch.tensor([[0.0, 0.0, 64.0, 60.0], [3.0, 2.0, 30.0, 28.0], [40.0, 40.0, 52.0, 55.0]])
    truth = Objects(boxes, torch.tensor([0, 3, 4]), torch.zeros(3, dtype=torch.bool))
    loss = DetectionLoss(CLASSES, candidates=84, overlap_power=0.1)
    loss(model(images(64)), [truth] * 2, (64, 64))["total"].backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_any_trunk_will_do() -> None:
    model = ss.create_model("spike_det_nano", num_classes=2, trunk="spikformer_v2_nano", finest=4)
    output = model.eval()(torch.rand(1, 3, 32, 48))
    assert [tuple(m.shape[2:]) for m in output.classes] == [(8, 12), (4, 6)]
    assert ss.verify(model, torch.rand(1, 3, 32, 48)).equal


def test_levels_halve_and_the_finest_is_chosen() -> None:
    model, _ = awake((64, 64), finest=4, coarser=2)
    assert model.stride == 64
    output = model(torch.rand(1, 3, 64, 128))
    sizes = [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    for maps, channels in ((output.centres, 1), (output.distances, 4), (output.classes, CLASSES)):
        assert [tuple(m.shape) for m in maps] == [(1, channels, *size) for size in sizes]
    with pytest.raises(ValueError, match="divisible by the stride 64"):
        model(torch.rand(1, 3, 32, 64))
    with pytest.raises(ValueError, match="coarsest map of metaspikformer_nano has stride 16"):
        ss.create_model("spike_det_nano", num_classes=1, finest=32)


def test_it_starts_without_objects_and_two_strides_wide() -> None:
    model = ss.create_model("spike_det_nano", num_classes=CLASSES).eval()
    with torch.no_grad():
        output = model(images(64))
    classes = torch.cat([m.flatten() for m in output.classes]).sigmoid()
    assert 0.002 < classes.mean() < 0.05
    box = output.candidates((64, 64)).boxes[0, 0]
    assert 8 < box[2] - box[0] < 64


@pytest.mark.parametrize("options", [{}, {"neuron": "lif", "steps": 4}], ids=str)
def test_passes_and_integer_network(options: dict[str, Any], tmp_path: Path) -> None:
    model, x = awake(**options)
    result = ss.verify(model, x)
    assert result.equal, result.table()
    assert result.output_error < 1e-9
    assert result.silent == []
    net = ss.deploy(model, x)
    report = net.verify(x, against=("spikes", *NATIVE, "training"))
    assert report.equal, report.table()
    assert ss.audit(net, x).spike_driven
    net.save(tmp_path / "net.spk")
    back = ss.Deployed.load(tmp_path / "net.spk")
    own = net.outputs(x)
    assert [o.shape[1] for o in own] == [1, 1, 1, 4, 4, 4, CLASSES, CLASSES, CLASSES]
    assert all(torch.equal(a, b) for a, b in zip(own, back.outputs(x), strict=True))


def test_nothing_behind_the_first_layer_multiplies() -> None:
    model, x = awake()
    kinds = {layer.kind for layer in ss.energy(model, x).layers if layer.multiplies}
    assert kinds == {"first layer"}
    twin = ss.energy(*awake(neuron="relu"))
    # Which doubles by shifts as well.
    assert ss.energy(model, x).twin_picojoules == pytest.approx(twin.picojoules, rel=1e-3)


def test_onnx_has_every_map(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, x = awake()
    net = ss.deploy(model, x)
    report = net.verify(x, against=("onnx",))
    assert report.equal, report.table()
    path = net.export(tmp_path / "net.onnx", size=(64, 32))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == [f"logits_{i}" for i in range(9)]
    for own, other in zip(net.outputs(x), session.run(None, {"image": x.numpy()}), strict=True):
        assert torch.equal(own, torch.from_numpy(other))


def test_a_deployed_detector_gives_boxes_too() -> None:
    model, x = awake()
    deployed = DeployedModel(ss.deploy(model, x))
    assert deployed.gives == model.gives == "boxes"
    output = deployed(x)
    assert isinstance(output, DenseDetection)
    shapes = [tuple(m.shape) for m in tensors(model(x))]
    assert [tuple(m.shape) for m in tensors(output)] == shapes
    assert len(decode_detections(output, (64, 32))) == 2


def test_four_bits_are_the_integers_of_training() -> None:
    model, x = awake()
    model = ss.quantize(model, 4).eval()
    with torch.no_grad():
        model(x)
    net = ss.deploy(model, x)
    assert net.verify(x, against=("spikes", *NATIVE)).equal
    weights = [node for node in net.graph.nodes if isinstance(node, integer.Synapse)]
    bits = {node.name: node.bits for node in weights}
    outputs = [name for name in bits if name.endswith((".centre", ".distances", ".classes"))]
    assert {bits[name] for name in outputs} == {8}
    assert {b for name, b in bits.items() if name not in outputs} == {4, 7}


def test_a_saved_detector_comes_back(tmp_path: Path) -> None:
    model, x = awake(steps=2)
    model.save_pretrained(tmp_path)
    back = ss.load(tmp_path)
    assert back.recipe["arguments"]["trunk"] == "metaspikformer_nano"
    for own, other in zip(tensors(model(x)), tensors(back(x)), strict=True):
        assert torch.equal(own, other)
    with pytest.raises(ValueError, match="build its trunk"):
        ss.create_model("spike_det_nano", features_only=True)

"""Mask R-CNN: regions learned and found, batch-mates apart, the graphs around the host code."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spikesight as ss
from spikesight.errors import UserError
from spikesight.graph.tracing import image_part, trace_parts
from spikesight.models.mask_rcnn.heads import join_corners
from spikesight.neurons.recording import NeuronRecorder
from spikesight.objects import Objects
from spikesight.synapses import ConvNorm
from tests.conftest import wake
from tests.deployment.native_forms import NATIVE
from tests.registered_models import told

SIDE = 64


def _model(**arguments: Any) -> Any:
    arguments = {"num_classes": 2, "width": 16, "box_hidden": 32, "regions": 32, **arguments}
    return ss.create_model("mask_rcnn_nano", **{"proposals": 50, "mask_layers": 1, **arguments})


def _scene(number: int) -> tuple[Tensor, Objects]:
    """A red and a blue rectangle on noise."""
    generator = torch.Generator().manual_seed(number)
    image = torch.rand(3, SIDE, SIDE, generator=generator) * 0.2
    masks = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    boxes = []
    for kind in range(2):
        left, top = torch.randint(0, 16, (2,), generator=generator).tolist()
        left += 32 * kind
        width, height = torch.randint(12, 24, (2,), generator=generator).tolist()
        box = (left, top, min(left + width, SIDE), top + height)
        masks[kind, box[1] : box[3], box[0] : box[2]] = True
        image[2 * kind, masks[kind]] = 1.0
        boxes.append(box)
    kinds = torch.tensor([0, 1])
    return image, Objects(torch.tensor(boxes).float(), kinds, torch.zeros(2).bool(), masks)


def _batch(*numbers: int) -> tuple[Tensor, list[Objects]]:
    images, targets = zip(*map(_scene, numbers), strict=True)
    return torch.stack(images), list(targets)


@pytest.mark.parametrize(
    ("name", "parameters", "found"),
    [("mask_rcnn_15m", 34_870_232, 34_863_320), ("mask_rcnn_55m", 75_014_640, 75_007_728)],
)
def test_full_sizes_have_mmdetections_parameters_and_normalisations(
    name: str, parameters: int, found: int
) -> None:
    with torch.device("meta"):
        model = ss.create_model(name, num_classes=80)
    assert sum(p.numel() for p in model.parameters()) == parameters
    # A normalisation has a gain and a shift where a convolution has a bias; the doubling's
    # four 1x1 convolutions have one each where the deconvolution has one bias.
    added = [m for n, m in model.named_modules() if not n.startswith("trunk")]
    norms = [m.num_features for m in added if isinstance(m, nn.BatchNorm2d)]
    corners = 3 * model.sizes.width
    assert parameters - sum(norms) - corners == found


@pytest.mark.parametrize("neuron", ["lif", "i_lif", "ni_lif", "ie_lif"])
def test_every_neuron_fires_at_the_start(neuron: str) -> None:
    model = ss.create_model("mask_rcnn_nano", num_classes=2, neuron=neuron)
    images, targets = _batch(0, 1)
    rates: list[tuple[str, float]] = []

    def note(name: str, _: ss.neurons.Neuron, output: Tensor) -> None:
        rates.append((name, float(output.count_nonzero()) / output.numel()))

    with NeuronRecorder(model, note):
        model(images, targets)
    neurons = [name for name, m in model.named_modules() if isinstance(m, ss.neurons.Neuron)]
    assert {name for name, _ in rates} == set(neurons)
    assert all(0.001 < rate < 0.95 for _, rate in rates), rates


def test_layers_beside_the_trunk_start_as_xavier_said() -> None:
    model = _model(width=64)
    weight = model.mask_head.layers[0].synapse.conv.weight
    assert weight.abs().max() <= (6 / (2 * 64 * 9)) ** 0.5
    assert not model.proposal_head.hidden[0].bias.any()


@pytest.mark.parametrize("neuron", ["ni_lif", "relu"])
def test_it_learns_what_is_there_and_finds_it(neuron: str) -> None:
    torch.manual_seed(0)
    model = _model(neuron=neuron)
    images, targets = _batch(3)
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    losses = []
    for _ in range(80):
        terms = model(images, targets)
        assert set(terms) == {"objectness", "proposals", "classes", "boxes", "masks"}
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    (found,) = model.eval()(images)
    order = found.classes[:2].argsort()
    assert found.classes[:2][order].tolist() == [0, 1]
    assert (found.boxes[:2][order] - targets[0].boxes).abs().max() < 6
    assert found.masks[:2].mean() > 0.65
    assert found.scores.diff().le(0).all()
    assert len(model(images, most=1)[0].scores) == 1
    assert len(model(images, score_threshold=1.0)[0].scores) == 0


def test_the_same_seed_learns_from_the_same_regions() -> None:
    images, targets = _batch(0, 1)
    fresh = _model()
    terms = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        learned = copy.deepcopy(fresh)(images, targets)
        terms.append([float(term.detach()) for term in learned.values()])
    assert terms[0] == terms[1]
    assert terms[0] != terms[2]


def test_crowds_and_boxes_without_a_side_teach_nothing_and_nor_do_empty_images() -> None:
    model = _model()
    images, (target,) = _batch(4)
    boxes = torch.cat((target.boxes, torch.tensor([[0.0, 0, 60, 60], [8, 8, 8, 20]])))
    extended = Objects(
        boxes,
        torch.tensor([0, 1, 0, 0]),
        torch.tensor([False, False, True, False]),
        torch.cat((target.masks, torch.ones(2, SIDE, SIDE, dtype=torch.bool))),
    )
    results = []
    for targets in (target, extended):
        torch.manual_seed(0)
        terms = copy.deepcopy(model)(images, [targets])
        results.append([term.detach() for term in terms.values()])
    assert all(map(torch.equal, *results))
    terms = model(images, [Objects.none((SIDE, SIDE))])
    assert float(terms["masks"].detach()) == float(terms["boxes"].detach()) == 0
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_batch_mates_do_not_see_each_other() -> None:
    images, _ = _batch(0, 1, 2)
    model = wake(_model(steps=2), images).double()
    together = model(images.double(), score_threshold=0.0)
    for image, found in zip(images.double(), together, strict=True):
        (alone,) = model(image[None], score_threshold=0.0)
        assert torch.equal(alone.classes, found.classes)
        for part in ("boxes", "scores", "masks"):
            torch.testing.assert_close(getattr(alone, part), getattr(found, part))


def test_training_needs_objects_with_masks() -> None:
    model = _model()
    images, (target,) = _batch(0)
    with pytest.raises(UserError, match=r"model\(images, targets\)"):
        model(images)
    boxes = Objects(target.boxes, target.classes, target.crowd)
    with pytest.raises(UserError, match="have boxes alone"):
        model(images, [boxes])


def test_four_convolutions_are_a_deconvolution() -> None:
    x, kernel = torch.rand(2, 3, 5, 4), torch.rand(3, 6, 2, 2)
    corners = tuple(
        F.conv2d(x, kernel[:, :, row, column].t()[..., None, None])
        for row in range(2)
        for column in range(2)
    )
    torch.testing.assert_close(join_corners(corners), F.conv_transpose2d(x, kernel, stride=2))


def test_over_another_trunk() -> None:
    model = _model(trunk="spikformer_nano")
    images, targets = _batch(0, 1)
    assert len(model(images, targets)) == 5
    assert len(model.eval()(images)) == 2


@pytest.mark.parametrize("bits", [None, 4])
def test_it_comes_back_from_its_folder(tmp_path: Path, bits: int | None) -> None:
    images, targets = _batch(0, 1)
    model = wake(_model(), images)
    if bits is not None:
        ss.quantize(model, bits)
        assert not any(isinstance(module, ConvNorm) for module in model.modules())
        terms = model.train()(images, targets)
        torch.stack(list(terms.values())).sum().backward()
        model.eval()
        model.save_pretrained(tmp_path / "packed", packed=True)
    model.save_pretrained(tmp_path / "plain")
    for folder in tmp_path.iterdir():
        for one, other in zip(ss.load(folder)(images), model(images), strict=True):
            for part in ("boxes", "classes", "scores", "masks"):
                torch.testing.assert_close(getattr(one, part), getattr(other, part))


@pytest.mark.parametrize("steps", [1, 2])
def test_all_up_to_the_regions_is_proved_and_deployed(steps: int) -> None:
    images, _ = _batch(0, 1)
    model = wake(_model(steps=steps), images)
    checked = ss.verify(model, images)
    assert checked.equal, checked.table()
    assert checked.silent == []
    net = ss.deploy(model, images)
    compared = net.verify(images, against=("spikes", *NATIVE, "onnx"))
    assert compared.equal, compared.table()
    assert compared.silent == []
    with torch.no_grad():
        maps = image_part(model)(images)
    expected = [tuple(x.shape) for x in (*maps.objectness, *maps.deltas, *maps.levels)]
    assert [tuple(integers.shape) for integers in net.outputs(images)] == expected


def test_each_head_is_a_graph_of_its_own() -> None:
    images, _ = _batch(0, 1)
    model = wake(_model(), images)
    graphs = trace_parts(model)
    assert list(graphs) == ["", "box_head", "mask_head"]
    names = [node.name for graph in graphs.values() for node in graph.neurons]
    modules = dict(model.named_modules())
    assert all(name.partition("#")[0] in modules for name in names)
    for path, side in (("box_head", 7), ("mask_head", 14)):
        head = model.get_submodule(path)
        regions = torch.randn(4, 16, side, side)
        checked = ss.verify(head, regions)
        assert checked.equal, checked.table()
        compared = ss.deploy(head, regions).verify(regions)
        assert compared.equal, compared.table()


def test_what_it_is_told_reaches_it() -> None:
    images, _ = _batch(0, 1)
    model = _model()
    assert all(term.isfinite() for term in model(images, *told(model, images)).values())


def test_energy_counts_a_head_as_often_as_there_are_regions() -> None:
    images, _ = _batch(0, 1)
    model = wake(_model(), images)
    shown: dict[str, int] = {"box_head": 0, "mask_head": 0}
    for path in shown:
        model.get_submodule(path).register_forward_pre_hook(
            lambda _, args, path=path: shown.__setitem__(path, len(args[0]))
        )
    model(images)
    assert 0 < shown["mask_head"] <= 200
    assert shown["box_head"] <= 100
    report = ss.energy(model, images)
    layers = {layer.name: layer for layer in report.layers}
    first, mask = layers["box_head.first"], layers["mask_head.masks"]
    assert first.twin_macs == first.macs == 16 * 32 * 49 * shown["box_head"] / 2
    assert mask.macs == 16 * 2 * 14 * 14 * shown["mask_head"] / 2
    assert 0 < first.accumulates < 4 * first.macs
    assert layers["proposal_head.hidden"].twin_macs == 16 * 16 * 9 * 16 * 16
    assert set(report.firing_rates) >= {
        "box_head.neuron",
        "mask_head.neuron",
        "pyramid.outputs.0.neuron",
    }
    assert "nor host code: region proposals, RoIAlign" in report.table()
    silent = ss.energy(model, torch.zeros_like(images))
    assert all(layer.accumulates >= 0 for layer in silent.layers)
    twin = ss.energy(_model(neuron="relu"), images)
    assert twin.firing_rates == {}

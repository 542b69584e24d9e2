from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import spikesight as ss
from spikesight.attention.deformable_sampling import deformable_sample
from spikesight.attention.embedding import sine_position
from spikesight.interop.blocks import Settings
from spikesight.interop.filling import rename
from spikesight.interop.spike2former import as_embeddings, build_spike2former
from spikesight.losses import SegmentationLoss, Segments
from spikesight.losses.segmentation import resized
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.segmentation_outputs import Segmentation
from tests.conftest import ReadOracle, firing_rates

MODULES = [
    "bb_attention",
    "bb_downsample",
    "bb_downsample_first",
    "bb_mlp",
    "bb_ms_block",
    "bb_ms_convblock",
    "bb_repconv",
    "bb_sepconv",
    "dec_ffn",
    "enc_ms_mlp",
    "esc_sepconv_spike",
    "mask_mlp",
    "sdca",
    "sdsa",
    "sdte_encoder",
    "sdte_layer",
]
STRIDES = {"bb_downsample": 2}


class Oracle:
    """One file of recorded tensors, in float64."""

    def __init__(self, groups: dict[str, Any]) -> None:
        self.groups = groups
        self.meta: dict[str, Any] = groups["meta"]

    def __getitem__(self, name: str) -> Tensor:
        group, _, inner = name.partition("::")
        return _double(self.groups[group][inner])

    def group(self, prefix: str) -> dict[str, Tensor]:
        group, _, start = prefix.partition("::")
        found = self.groups.get(group, {})
        return {n[len(start) :]: _double(t) for n, t in found.items() if n.startswith(start)}


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.abs().max().clamp_min(1e-300))


def renamed(
    oracle: Oracle,
    tensors: dict[str, Tensor],
    num_heads: int = 8,
    groups: int | None = None,
    stride: int | None = None,
) -> dict[str, Tensor]:
    """Gradients, say, by the names that they have in our part."""
    choice = NeuronChoice.resolve("spike2former", 1, None)
    settings = Settings(choice, num_heads, stride=stride, groups=groups)
    _, names = build_spike2former(oracle.group("sd::"), settings, (2, 2, 2, 2, 1))
    return rename(as_embeddings(tensors), names)


@pytest.mark.parametrize("case", MODULES)
def test_matches_the_authors_module(case: str, read_oracle: ReadOracle) -> None:
    oracle = Oracle(read_oracle("spike2former", case))
    options = {"num_heads": oracle.meta.get("heads", 8), "stride": STRIDES.get(case)}
    module = ss.load_official("spike2former", oracle.group("sd::"), **options)
    inputs = {n: x for n, x in oracle.group("in::").items() if not n.startswith("loss_weight")}
    assert relative_error(module(**inputs), oracle["out::y"]) < 1e-9

    spikes = {f"{name}": value for name, value in oracle.meta["spike_mean_int"].items()}
    counts = [8 * rate for rate in rates_of(module, inputs).values()]
    assert sorted(counts) == pytest.approx(sorted(spikes.values()), abs=1e-6)

    module.train()
    leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    y = module(**leaves)
    (y * oracle["in::loss_weight_train"]).sum().backward()
    assert relative_error(y, oracle["out::y_train"]) < 1e-9
    for name, leaf in leaves.items():
        assert relative_error(leaf.grad, oracle[f"grad::in.{name}"]) < 1e-9
    part = getattr(module, "part", module)
    gradients = renamed(oracle, oracle.group("grad::p."), **options)
    parameters = dict(part.named_parameters())
    assert set(gradients) == set(parameters)
    largest = max(float(g.abs().max()) for g in gradients.values())
    for name, theirs in gradients.items():
        # Biases before a normalisation have no gradient but rounding errors.
        ours = parameters[name].grad.view_as(theirs)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12 * largest)
    buffers = dict(part.named_buffers())
    for name, theirs in renamed(oracle, oracle.group("out::after_train."), **options).items():
        assert relative_error(buffers[name], theirs) < 1e-9


def rates_of(module: nn.Module, inputs: dict[str, Tensor]) -> dict[str, float]:
    class Call(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, _: Tensor) -> Tensor:
            return self.module(**inputs)

    return firing_rates(Call(), torch.zeros(1))


def test_matches_the_authors_trunk(read_oracle: ReadOracle) -> None:
    oracle = Oracle(read_oracle("spike2former", "backbone_small"))
    trunk = ss.load_official("spike2former", oracle.group("sd::"))
    maps, membranes = ss.run_with_state(trunk, oracle["in::img"])
    # The authors' code keeps its membranes from call to call.
    later, _ = ss.run_with_state(trunk, oracle["in::img"], membranes)
    for index, (first, second) in enumerate(zip(maps, later, strict=True), start=1):
        assert relative_error(first, oracle[f"out::x{index}"][0]) < 1e-9
        carried = oracle[f"out::x{index}_second_call_no_reset"][0]
        assert relative_error(second, carried) < 1e-9
    assert trunk.feature_info.reduction() == [2, 4, 8, 16]


def test_matches_the_authors_pixel_decoder(read_oracle: ReadOracle) -> None:
    oracle = Oracle(read_oracle("spike2former", "pixel_decoder"))
    decoder = ss.load_official("spike2former", oracle.group("sd::"), groups=4)
    features, memories = decoder([oracle[f"in::x{i}"] for i in (1, 2, 3, 4)])
    assert relative_error(features, oracle["out::mask_features"]) < 1e-9
    for index, memory in enumerate(memories):
        assert relative_error(memory, oracle[f"out::ms{index}"]) < 1e-9


def test_matches_the_authors_model_and_loss(read_oracle: ReadOracle, tmp_path: Path) -> None:
    oracle = Oracle(read_oracle("spike2former", "model_small"))
    model = ss.load_official("spike2former", oracle.group("sd::"), groups=4)
    image = oracle["in::img"]
    classes, masks = oracle["out::all_cls_scores"], oracle["out::all_mask_preds"]
    segmentation = model(image)
    assert relative_error(segmentation.class_logits, classes[-1]) < 1e-9
    assert relative_error(segmentation.mask_logits, masks[-1]) < 1e-9
    assert segmentation.auxiliary == ()

    model.training = True  # all layers' outputs, with the statistics of evaluation
    output = model(image)
    for index, layer in enumerate((*output.auxiliary, output)):
        assert relative_error(layer.class_logits, classes[index]) < 1e-9
        assert relative_error(layer.mask_logits, masks[index]) < 1e-9

    expected = Oracle(read_oracle("spike2former", "loss_eval"))
    targets = [Segments.from_label_map(labels, 5) for labels in expected["in::gt"]]
    terms = SegmentationLoss(5)(output, targets)
    theirs = expected.meta["losses"]
    # Their losses were computed in float32.
    for ours, name in (("classes", "cls"), ("masks", "mask"), ("dice", "dice")):
        total = sum(value for key, value in theirs.items() if key.endswith(f"loss_{name}"))
        assert float(terms[ours].detach()) == pytest.approx(total, rel=1e-6)
    terms["total"].backward()
    parameters = dict(model.named_parameters())
    gradients = renamed(oracle, expected.group("grad::"), groups=4)
    assert len(gradients) == 9
    for name, gradient in gradients.items():
        assert relative_error(parameters[name].grad.view_as(gradient), gradient) < 1e-6

    model.eval().save_pretrained(tmp_path)
    again = ss.load(tmp_path, dtype=torch.float64)(image)
    assert torch.equal(again.mask_logits, segmentation.mask_logits)


def test_matches_the_authors_matching(read_oracle: ReadOracle) -> None:
    oracle = Oracle(read_oracle("spike2former", "loss_eval"))
    output = Segmentation(oracle["out::cls_last"], oracle["out::mask_last"])
    targets = [Segments.from_label_map(labels, 5) for labels in oracle["in::gt"]]
    masks = [resized(target.masks, output.mask_logits) for target in targets]
    loss = SegmentationLoss(5)
    for image, (queries, segments) in enumerate(
        loss.assign(output, [target.labels for target in targets], masks)
    ):
        assert torch.equal(queries, oracle[f"out::pos_inds_img{image}"])
        assert torch.equal(segments, oracle[f"out::pos_gt_img{image}"])
    terms = loss(output, targets)
    for ours, theirs in (("classes", "loss_cls"), ("masks", "loss_mask"), ("dice", "loss_dice")):
        assert float(terms[ours]) == pytest.approx(oracle.meta["losses"][theirs], rel=1e-6)


def test_matches_the_authors_sampling_and_positions(read_oracle: ReadOracle) -> None:
    oracle = Oracle(read_oracle("spike2former", "dcnv3_core"))
    value, offset, weight = (
        oracle[f"in::{name}"].permute(0, 3, 1, 2) for name in ("input", "offset", "mask")
    )
    theirs = oracle["out::y"].permute(0, 3, 1, 2)
    rounded = deformable_sample(value, offset, weight, 3, 3, single_precision_grid=True)
    assert relative_error(rounded, theirs) < 1e-9
    exact = deformable_sample(value, offset, weight, 3, 3)
    assert relative_error(exact, theirs) < 1e-5

    positions = read_oracle("spike2former", "sine_pe")["out"]["y"]
    ours = sine_position(32, 4, 6, torch.zeros(()))
    assert torch.equal(ours.expand(2, -1, -1, -1), positions)


def test_official_sizes_have_the_official_parameters() -> None:
    with torch.device("meta"):
        model = ss.create_model("spike2former_15m", num_classes=150, official=True)
    assert sum(p.numel() for p in model.parameters()) == 34_361_112
    assert sum(p.numel() for p in model.trunk.parameters()) == 14_751_208
    assert sum(p.numel() for p in model.pixel_decoder.encoder.parameters()) == 9_503_424
    assert sum(p.numel() for p in model.decoder.parameters()) == 9_515_520


def test_what_does_not_fit_is_named(read_oracle: ReadOracle) -> None:
    state = Oracle(read_oracle("spike2former", "sdte_layer")).group("sd::")
    with pytest.raises(ValueError, match=r"groups=\.\.\."):
        ss.load_official("spike2former", state, groups=16)
    del state["dcn.offset.1.bias"]
    with pytest.raises(ValueError, match=r"attention\.offset\.norm\.bias"):
        ss.load_official("spike2former", state)
    with pytest.raises(ValueError, match="not Spike2Former's"):
        ss.load_official("spike2former", {"layer1.weight": torch.zeros(3, 3)})


def test_a_checkpoint_loads_without_the_slips_too(read_oracle: ReadOracle) -> None:
    oracle = Oracle(read_oracle("spike2former", "model_small"))
    model = ss.load_official("spike2former", oracle.group("sd::"), groups=4, official=False)
    with torch.no_grad():
        output = model(oracle["in::img"])
    assert output.class_logits.isfinite().all()
    assert not torch.equal(output.class_logits, oracle["out::all_cls_scores"][-1])

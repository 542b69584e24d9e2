from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import spikesight as ss
from spikesight.attention import DeformableSampling
from spikesight.graph import trace
from spikesight.losses import SegmentationLoss, Segments
from spikesight.models.spike2former import ABLATIONS, Segmentation
from spikesight.models.spike2former.denoising import SegmentNoise
from spikesight.training.neuron_checks import find_silent_neurons
from tests.conftest import firing_rates

CLASSES = 5


def images(size: int, batch: int = 2) -> Tensor:
    coarse = torch.randn(batch, 3, 6, 6)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return smooth + 0.5 * torch.randn(batch, 3, size, size)


def targets(size: int, batch: int = 2) -> list[Segments]:
    half = torch.zeros(size, size, dtype=torch.int64)
    half[:, size // 2 :] = 3
    half[: size // 4] = 255
    return [Segments.from_label_map(half, CLASSES)] * batch


def train_one_step(model: Any, size: int = 64) -> tuple[dict[str, float], float]:
    """Firing rates and the gradients' norm; every parameter must have a gradient."""
    x = images(size)
    rates = firing_rates(model.train(), x)
    SegmentationLoss(CLASSES)(model(x), targets(size))["total"].backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    return rates, float(torch.stack([p.grad.norm() for p in model.parameters()]).norm())


@pytest.mark.parametrize("size", [64, 96, 192])
@pytest.mark.parametrize("name", ["spike2former_nano", "spike2former_tiny"])
def test_every_neuron_fires_at_the_start(name: str, size: int) -> None:
    model = ss.create_model(name, num_classes=CLASSES)
    x = images(size)
    assert find_silent_neurons(model, x) == []
    rates = firing_rates(model.train(), x)
    assert all(0.02 < rate < 0.5 for rate in rates.values()), rates


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_every_ablation_trains(ablation: str) -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, ablation=ablation)
    rates, norm = train_one_step(model)
    assert min(rates.values()) > 0
    assert norm < 1e4


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 2},
        {"levels": 2},
        {"levels": 8},
        {"pixel_positions": True, "query_anchors": True},
        {"neuron": "relu"},
    ],
    ids=str,
)
def test_every_option_trains(options: dict[str, Any]) -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, **options)
    rates, norm = train_one_step(model)
    assert min(rates.values()) > 0
    assert norm < (1e4 if options.get("neuron") != "relu" else float("inf"))


def test_the_me_shortcut_keeps_the_last_neuron_firing() -> None:
    """The paper's point: without it the embeddings lose their spikes (table 3, figure 3)."""
    rates = {}
    for ablation in ("baseline", "vanilla_mask_embedding"):
        torch.manual_seed(0)
        model = ss.create_model("spike2former_nano", num_classes=CLASSES, ablation=ablation)
        rates[ablation] = firing_rates(model.train(), images(64))["mask_embedding.embedding_neuron"]
    assert rates["baseline"] > 3 * rates["vanilla_mask_embedding"]


def test_shapes_and_auxiliary_outputs() -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, queries=7)
    output = model.train()(images(64))
    assert isinstance(output, Segmentation)
    assert output.class_logits.shape == (2, 7, CLASSES + 1)
    assert output.mask_logits.shape == (2, 7, 32, 32)
    assert [layer.mask_logits.shape for layer in output.auxiliary] == [(2, 7, 32, 32)] * 2
    assert model.eval()(images(64)).auxiliary == ()


@pytest.mark.parametrize("options", [{"steps": 2}, {"masked_attention": True}], ids=str)
def test_masks_do_not_depend_on_batch_mates(options: dict[str, Any]) -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, **options)
    x = images(64, 3).double()
    model.double().eval()
    with torch.no_grad():
        together = model(x)
        alone = [model(x[i : i + 1]) for i in range(3)]
        again = model(x)
    masks = torch.cat([output.mask_logits for output in alone])
    torch.testing.assert_close(masks, together.mask_logits, rtol=1e-9, atol=1e-9)
    assert torch.equal(again.mask_logits, together.mask_logits)


def test_pixel_heads_are_there_in_training_alone() -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, pixel_heads=True)
    logits = model.train()(images(64)).pixel_logits
    assert [tuple(x.shape) for x in logits] == [(2, CLASSES, n, n) for n in (4, 8, 32)]
    torch.stack([x.square().sum() for x in logits]).sum().backward()
    (features,) = model.pixel_decoder.mask_features.children()
    assert features.weight.grad.abs().sum() > 0
    assert model.eval()(images(64)).pixel_logits == ()
    assert not [n.name for n in trace(model).nodes if "pixel_head" in n.name]


def test_denoised_queries_are_there_in_training_alone() -> None:
    models = []
    for count in (0, 5):
        torch.manual_seed(0)
        options = {"num_classes": CLASSES, "denoised_queries": count}
        models.append(ss.create_model("spike2former_nano", **options).double())
    plain, told = models
    x = images(64).double()
    assert set(told.state_dict()) - set(plain.state_dict()) == {"noise.classes.weight"}
    with torch.no_grad():
        same, output = plain.train()(x), told.train()(x, targets(64))
    assert torch.equal(output.mask_logits, same.mask_logits)
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, told.get_buffer(name)), name
    assert [o.mask_logits.shape for o in output.denoised.outputs] == [(2, 5, 32, 32)] * 2
    assert output.denoised.segments.tolist() == [[0, 1, 0, 1, 0]] * 2
    assert told(x).denoised is None
    assert told.eval()(x, targets(64)).denoised is None
    graphs = [[node.name for node in trace(model).nodes] for model in models]
    assert graphs[0] == graphs[1]


def test_denoised_queries_are_not_mixed_with_the_others() -> None:
    options = {"num_classes": CLASSES, "denoised_queries": 2}
    with pytest.raises(ValueError, match="denoised_queries=2 are no queries that the ME-Shortcut"):
        ss.create_model("spike2former_nano", official=True, **options)


def test_denoised_queries_teach_the_decoder() -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, denoised_queries=4, steps=2)
    nothing = Segments(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 64, 64, dtype=torch.bool))
    wanted = [*targets(64, 1), nothing]
    output = model.train()(images(64), wanted)
    assert output.denoised.segments.tolist() == [[0, 1, 0, 1], [-1] * 4]
    terms = SegmentationLoss(CLASSES)(output, wanted)
    terms["denoised"].backward()
    own = ("query_feature", "query_position", "pixel_heads")
    without = [
        name
        for name, parameter in model.named_parameters()
        if not name.startswith(own) and (parameter.grad is None or not parameter.grad.any())
    ]
    assert without == []


def test_noise_loses_a_fifth_of_a_mask_and_finds_as_much_elsewhere() -> None:
    torch.manual_seed(0)
    noise = SegmentNoise(8, CLASSES, 200)
    masks = torch.zeros(1, 200, 40, 40, dtype=torch.bool)
    masks[..., :10] = True
    seen = noise.visible(masks, torch.zeros(1, 8, 20, 20)).unflatten(-1, (20, 20))
    assert 0.78 < float(seen[..., :5].mean()) < 0.82
    assert 0.05 < float(seen[..., 5:].mean()) < 0.08
    assert float(noise.visible(torch.zeros_like(masks), torch.zeros(1, 8, 20, 20)).min()) == 1
    left = noise.located(
        torch.cat([torch.ones(1, 1, 1), torch.zeros(1, 1, 3)], -1), torch.zeros(1, 8, 2, 2)
    )
    torch.testing.assert_close(
        left[0, :, 0, 0], noise.position(torch.zeros(1, 8, 2, 2))[0, :, 0, 0]
    )


def test_some_denoised_queries_begin_as_another_class() -> None:
    torch.manual_seed(0)
    noise = SegmentNoise(8, CLASSES, 400)
    noised = noise(targets(64, 1))
    own = noise.classes.weight[0, :, 0, 3]
    share = (noised.queries[0, :, 0, 1::2] == own[:, None]).all(0).double().mean()
    assert 0.78 < float(share) < 0.9  # of those that change, one in five comes out the same


def test_queries_start_on_a_grid_if_asked() -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, queries=6, query_anchors=True)
    cells = model.position(torch.zeros(1, 64, 2, 3))
    torch.testing.assert_close(model.query_position.weight[:, :, 0], cells.flatten(2))


def test_the_encoder_knows_where_a_pixel_is_if_told() -> None:
    """Features of a photo without contents differ by position alone."""
    spread = {}
    for told in (False, True):
        torch.manual_seed(0)
        model = ss.create_model("spike2former_nano", num_classes=CLASSES, pixel_positions=told)
        with torch.no_grad():
            empty = [torch.zeros_like(x) for x in model.train().trunk.stage_maps(images(96))]
            features = model.pixel_decoder(empty).mask_features
        spread[told] = float(features.std((2, 3)).max())
    assert spread[False] == 0 < spread[True]


@pytest.mark.parametrize("name", ["spike2former_15m", "spike2former_31m", "spike2former_55m"])
def test_full_sizes_are_built(name: str) -> None:
    with torch.device("meta"):
        model = ss.create_model(name, num_classes=150).eval()
        assert model(torch.empty(1, 3, 64, 64)).mask_logits.shape == (1, 100, 32, 32)


def test_any_trunk_carries_the_head() -> None:
    model = ss.create_model(
        "spike2former_15m",
        num_classes=CLASSES,
        trunk="metaspikformer_nano",
        trunk_options={},
        width=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_hidden=32,
        decoder_hidden=32,
    ).eval()
    assert model.trunk.feature_info.reduction() == [2, 4]
    assert model(images(32)).mask_logits.shape == (2, 100, 16, 16)


def test_a_saved_segmenter_comes_back(tmp_path: Path) -> None:
    options = {"ablation": "norm_in_cross_attention", "steps": 2}
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, **options).eval()
    model.save_pretrained(tmp_path)
    x = images(64)
    assert torch.equal(ss.load(tmp_path)(x).mask_logits, model(x).mask_logits)


def test_errors_say_what_to_do() -> None:
    for options, message in (
        ({"ablation": "no_such"}, "without_sdte"),
        ({"fpn": "sparse"}, "depthwise, dense"),
        ({"normalisation": "none", "neuron": "lif"}, "leave one of them out"),
        ({"groups": 5}, "must divide width"),
        ({"features_only": True}, "build its trunk"),
    ):
        with pytest.raises(ValueError, match=message):
            ss.create_model("spike2former_nano", **options)


def test_embeddings_have_no_weight_decay() -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES)
    levels = {f"levels.{i}.weight" for i in range(2)}
    assert model.no_weight_decay() == levels | {"query_feature.weight", "query_position.weight"}


def test_undisplaced_sampling_is_a_sum_over_the_kernel() -> None:
    value = torch.rand(2, 4, 5, 6, dtype=torch.float64)
    sampling = DeformableSampling(groups=2)
    offset = torch.zeros(2, 2 * 9 * 2, 5, 6, dtype=torch.float64)
    weight = torch.ones(2, 2 * 9, 5, 6, dtype=torch.float64)
    box = 9 * torch.nn.functional.avg_pool2d(value, 3, 1, 1)
    torch.testing.assert_close(sampling(value, offset, weight), box)
    # One pixel to the right, every point reads what its right neighbour read.
    offset[:, 0::2] = 1
    moved = sampling(value, offset, weight)
    torch.testing.assert_close(moved[..., :-1], box[..., 1:])


def test_sampling_positions_are_exact_in_half_precision() -> None:
    torch.manual_seed(0)
    value = torch.rand(1, 4, 4, 200).bfloat16()
    offset, weight = torch.zeros(1, 2 * 9 * 2, 4, 200).bfloat16(), torch.zeros(1, 2 * 9, 4, 200)
    weight[:, 4::9] = 1  # the point in the middle
    sampled = DeformableSampling(2, 3)(value, offset, weight.bfloat16())
    assert sampled.dtype == torch.bfloat16
    assert torch.equal(sampled, value)


def test_masked_attention_updates_running_statistics_once() -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, masked_attention=True)
    model.train()(images(64))
    tracked = [b for n, b in model.named_buffers() if n.endswith("num_batches_tracked")]
    assert {int(count) for count in tracked} == {1}


def test_another_trunk_starts_as_in_its_own_segmenter() -> None:
    swapped = ss.create_model("spike2former_nano", num_classes=CLASSES, trunk="metaspikformer_tiny")
    own = ss.create_model("spike2former_tiny", num_classes=CLASSES)
    options = [model.recipe["arguments"]["trunk_options"] for model in (swapped, own)]
    assert options[0] == options[1]
    rates = firing_rates(swapped.train(), images(192))
    attention = [rate for name, rate in rates.items() if name.endswith("attention_neuron")]
    assert len(attention) > 2
    assert all(0.02 < rate < 0.5 for rate in attention), rates


def test_recipes_outlive_the_defaults_of_the_trunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spikesight.models import metaspikformer

    model = ss.create_model("spike2former_nano", num_classes=CLASSES)
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(metaspikformer, "mean_attention_scale", lambda *_: 1.0)
    again = ss.load(tmp_path)
    assert again.trunk.resolved["attention_scale"] == model.trunk.resolved["attention_scale"] != 1.0


@pytest.mark.parametrize("trunk", ["metaspikformer_nano", "spikformer_nano", "spikformer_v2_nano"])
def test_a_trunk_has_the_stages_of_its_classifier(trunk: str) -> None:
    model = ss.create_model("spike2former_nano", num_classes=CLASSES, trunk=trunk)
    classifier = ss.create_model(trunk)
    kinds = [type(stage) for stage in classifier.stages()[:-1]]
    assert [type(stage) for stage in model.stages()[: len(kinds)]] == kinds


def test_official_form_of_a_normalisation() -> None:
    options = {"num_classes": CLASSES, "official": True, "ablation": "constant_8"}
    assert ss.create_model("spike2former_nano", **options).sizes.query_gate == "sigmoid"
    with pytest.raises(ValueError, match="contradict each other"):
        ss.create_model("spike2former_nano", ablation="constant_8", neuron="lif")


def test_no_map_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"out_indices=\(\), but the trunk has maps 0 to 1"):
        ss.create_model("metaspikformer_nano", features_only=True, out_indices=())

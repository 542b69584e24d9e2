from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import spikesight as ss
from spikesight.errors import UserError
from spikesight.graph.tracing import image_part
from tests.conftest import firing_rates
from tests.registered_models import MODELS, NANO, SEGMENTERS, SMALL, tensors, told, without

FIRING = without(SMALL, SEGMENTERS)  # which ask it on photos of 64 pixels and more
FORMS = [
    *((name, neuron, {}) for name in FIRING for neuron in ("lif", "i_lif", "ni_lif", "ie_lif")),
    *(
        (name, neuron, {"rep_conv": "spike_driven"})
        for name in fnmatch.filter(SMALL, "metaspikformer_*")
        for neuron in ("i_lif", "ni_lif", "ie_lif")
    ),
]
PARAMETERS = {
    "espikeformer_2_7m": 2_702_048,
    "espikeformer_5m": 5_105_608,
    "espikeformer_10m": 10_023_112,
    "espikeformer_19m": 18_987_504,
    "espikeformer_83m": 82_502_952,
    "espikeformer_171m": 170_810_824,
    "maxformer_10_384": 16_237_240,
    "maxformer_10_512": 28_653_480,
    "maxformer_10_768": 63_992_200,
    "metaspikformer_15m": 15_112_208,
    "metaspikformer_31m": 31_333_864,
    "metaspikformer_55m": 55_350_248,
    "ms_qkformer_10_384": 16_473_688,
    "ms_qkformer_10_512": 29_079_336,
    "ms_qkformer_10_768": 64_962_760,
    "qkformer_10_384": 16_473_688,
    "qkformer_10_512": 29_079_336,
    "qkformer_10_768": 64_962_760,
    # Without the map of heads that every released attention holds and never reads.
    "sdtv1_6_512": 23_373_736 - 384,
    "sdtv1_8_384": 16_816_536 - 512,
    "sdtv1_8_512": 29_689_896 - 512,
    "sdtv1_8_768": 66_339_144 - 512,
    "sdtv1_10_512": 36_006_056 - 640,
    "spikformer_8_384": 16_816_024,
    "spikformer_8_512": 29_689_384,
    "spikformer_8_768": 66_338_632,
    "spikformer_v2_8_384": 29_111_272,
    "spikformer_v2_8_512": 51_545_064,
    "spikformer_v2_8_768": 115_508_200,
    "spikformer_v2_16_768": 172_278_760,
    "spikingresformer_ti": 11_180_992,
    "spikingresformer_s": 17_813_824,
    "spikingresformer_m": 35_601_472,
    "spikingresformer_l": 60_375_680,
}


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_full_sizes_have_the_official_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = ss.create_model(name)
        assert sum(p.numel() for p in model.parameters()) == parameters
        assert model(torch.empty(1, 3, 224, 224)).shape == (1, 1000)


def test_no_model_is_forgotten() -> None:
    families = tuple(name.removesuffix("nano") for name in NANO)
    assert [name for name in MODELS if not name.startswith(families)] == []
    small_images = {
        "maxformer_2_256": "of events, with its parameters in test_maxformer.py",
        "maxformer_4_384": "of CIFAR, likewise",
        "ms_qkformer_2_256": "of events, likewise",
        "ms_qkformer_4_384": "of CIFAR, likewise",
        "qkformer_2_*": "of events, with the released modules in test_qkformer.py",
        "qkformer_4_384": "of CIFAR, likewise",
        "sdtv1_2_*": "of CIFAR and events, with the released modules in test_sdtv1.py",
        "spikformer_2_256": "of CIFAR10-DVS, with the released modules in test_spikformer.py",
        "spikformer_4_384": "of CIFAR10, likewise",
        "spikingresformer_cifar": "with its parameters in test_spikingresformer.py",
        "spikingresformer_dvsg": "of events, likewise",
    }
    assert set(without(MODELS, SEGMENTERS | small_images)) == {*PARAMETERS, *FIRING}


@pytest.mark.parametrize("neuron", ["lif", "i_lif", "ni_lif", "ie_lif", "relu"])
@pytest.mark.parametrize("name", SMALL)
def test_learns_from_every_parameter(name: str, neuron: str) -> None:
    model = ss.create_model(name, num_classes=5, in_channels=2, neuron=neuron, steps=2)
    x = torch.rand(4, 2, 32, 32)
    outputs = tensors(model(x, *told(model, x)))
    torch.stack([output.square().sum() for output in outputs]).sum().backward()
    still = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert still == []


@pytest.mark.parametrize(("name", "neuron", "options"), FORMS)
def test_every_neuron_fires_at_the_start(name: str, neuron: str, options: dict[str, str]) -> None:
    model = ss.create_model(name, num_classes=10, neuron=neuron, **options).train()
    rates = firing_rates(model, torch.rand(32, 3, 32, 32))
    assert all(0.001 < rate < 0.9 for rate in rates.values()), rates


@pytest.mark.parametrize("neuron", ["lif", "i_lif", "relu"])
@pytest.mark.parametrize("name", SMALL)
def test_logits_do_not_depend_on_batch_mates(name: str, neuron: str) -> None:
    model = ss.create_model(name, num_classes=10, neuron=neuron, steps=3).double().eval()
    model = image_part(model)
    x = torch.rand(4, 3, 32, 32, dtype=torch.float64) * 4
    alone = zip(*(tensors(model(x[i : i + 1])) for i in range(4)), strict=True)
    for together, each in zip(tensors(model(x)), alone, strict=True):
        torch.testing.assert_close(torch.cat(each), together, rtol=1e-12, atol=1e-12)


def test_event_frames_are_shown_one_by_one() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3, in_channels=2, steps=4).eval()
    image = torch.rand(2, 2, 16, 16)
    frames = image[:, None].expand(2, 4, 2, 16, 16)
    torch.testing.assert_close(model(frames), model(image))
    with pytest.raises(ValueError, match="steps=3"):
        model(frames[:, :3])


def test_unfit_inputs_say_what_to_do() -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=3)
    with pytest.raises(ValueError, match=r"pad it with .*\(0, 2, 0, 1\)"):
        model(torch.rand(1, 3, 31, 30))
    with pytest.raises(ValueError, match="in_channels=1"):
        model(torch.rand(1, 1, 32, 32))
    with pytest.raises(ValueError, match=r"x\[None\]"):
        model(torch.rand(3, 32, 32))
    with pytest.raises(ValueError, match="metaspikformer_nano"):
        ss.create_model("metaspikformer_small")
    with pytest.raises(ValueError, match="widht"):
        ss.create_model("metaspikformer_nano", widht=3)
    with pytest.raises(ValueError, match="rep_conv='folded'; pass one of official, spike_driven"):
        ss.create_model("metaspikformer_nano", rep_conv="folded")
    with pytest.raises(ValueError, match="5 entries"):
        ss.create_model("metaspikformer_nano", widths=(8, 8))


def test_drop_path_drops_a_sample_at_all_time_steps() -> None:
    from spikesight.models.base import DropPath

    drop = DropPath(0.5, steps=3).train()
    kept = drop(torch.ones(3 * 64, 2, 4, 4)).view(3, 64, -1)
    assert torch.equal(kept[0], kept[1])
    assert torch.equal(kept[0], kept[2])
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(drop.eval()(torch.ones(6, 1)), torch.ones(6, 1))


def test_drop_path_rate_reaches_the_blocks() -> None:
    model = ss.create_model("metaspikformer_nano", drop_path_rate=0.3)
    rates = [m.rate for m in model.modules() if type(m).__name__ == "DropPath"]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_features_are_those_of_timm() -> None:
    ours = ss.create_model("metaspikformer_15m", features_only=True)
    assert ours.feature_info.channels() == [32, 64, 128, 360]
    assert ours.feature_info.reduction() == [2, 4, 8, 16]
    tiny = timm.create_model("metaspikformer_tiny", features_only=True, out_indices=(1, -1))
    maps = tiny(torch.rand(2, 3, 32, 32))
    assert [tuple(m.shape) for m in maps] == [
        (2, c, 32 // r, 32 // r)
        for c, r in zip(tiny.feature_info.channels(), tiny.feature_info.reduction(), strict=True)
    ]
    timed = ss.create_model("metaspikformer_nano", features_only=True, steps=2)
    assert timed(torch.rand(3, 3, 16, 16))[-1].shape[:2] == (3, 2)
    with pytest.raises(ValueError, match="out_indices"):
        ss.create_model("metaspikformer_nano", features_only=True, out_indices=(7,))


def test_timm_builds_our_models() -> None:
    model = timm.create_model("metaspikformer_nano", num_classes=7, in_chans=1, steps=2)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 7)
    with pytest.raises(ValueError, match=r"spikesight\.load"):
        timm.create_model("metaspikformer_nano", pretrained=True)


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = ss.create_model("metaspikformer_nano", num_classes=4, neuron="ni_lif", steps=2).eval()
    x = torch.rand(2, 3, 28, 28)
    model.save_pretrained(tmp_path / "full")
    assert torch.equal(ss.load(tmp_path / "full")(x), model(x))
    model.save_pretrained(tmp_path / "half", half=True)
    sizes = [(tmp_path / k / "model.safetensors").stat().st_size for k in ("full", "half")]
    assert sizes[1] < 0.55 * sizes[0]
    assert next(ss.load(tmp_path / "half").parameters()).dtype == torch.float32


def test_loading_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        ss.load(tmp_path)
    ss.create_model("metaspikformer_nano", num_classes=4).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_classes": 4', '"num_classes": 5'))
    with pytest.raises(ValueError, match="does not fit"):
        ss.load(tmp_path)
    config.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        ss.load(tmp_path)


def test_binary_neurons_have_one_level() -> None:
    with pytest.warns(UserWarning, match="binary"):
        model = ss.create_model("metaspikformer_nano", neuron="lif", levels=4)
    assert {m.levels for m in model.modules() if isinstance(m, ss.neurons.Neuron)} == {1}


@pytest.mark.parametrize("build", [ss.create_model, timm.create_model])
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"num_classes": 0}, "num_classes is 0.*features_only"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"num_classes": 2.5}, "num_classes is 2.5"),
        ({"features_only": True, "num_classes": -1}, "num_classes is -1"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"levels": 0}, "levels is 0"),
        ({"drop_path_rate": float("nan")}, "drop_path_rate is nan"),
    ],
)
def test_numbers_that_build_no_model_are_refused(
    build: Any, arguments: dict[str, Any], named: str
) -> None:
    for name in NANO:
        with pytest.raises(UserError, match=named):
            build(name, **arguments)


def test_a_trunk_needs_no_classes() -> None:
    trunk = timm.create_model("spikformer_nano", features_only=True, num_classes=0).eval()
    assert all(x.shape[0] == 2 for x in trunk(torch.rand(2, 3, 32, 32)))


@pytest.mark.parametrize("name", ["metaspikformer_nano", "qkformer_nano", "sdtv1_nano"])
def test_an_attention_scale_of_zero_is_no_omitted_one(name: str) -> None:
    with pytest.raises(UserError, match="attention_scale"):
        ss.create_model(name, attention_scale=0.0)
